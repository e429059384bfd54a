//! C22: exposure to law from outside the EU is stated. C30: a source is an
//! authenticated identity, and an identity is one source.

use std::collections::BTreeMap;

use super::{Report, Said};
use crate::ast::{Block, Document, ExtraEuLaw, Source};
use crate::text::text;
use crate::{Code, Text};

pub(super) fn check(document: &Document, report: &mut Report) {
    exposure(document, report);
    let mut seen: BTreeMap<&str, &Block<Source>> = BTreeMap::new();
    for source in &document.source {
        if let Err(Text { en, fr }) = identity(&source.identity) {
            report.error(
                Code::C30,
                Said {
                    subject: &source.id,
                    at: source.at_key("identity"),
                    message: text!(
                        "`{identity}` is no authenticated identity: {en}",
                        "`{identity}` n'est pas une identité authentifiée : {fr}",
                        identity = source.identity,
                    ),
                    why: text!(
                        "producer, perimeter and topics follow from the identity alone",
                        "la collectivité productrice, le périmètre et les sujets découlent de l'identité seule",
                    ),
                    fix: text!(
                        "write `cert:CN=…`, `cert:URI=…`, `user:…` or `broker:…`",
                        "écrire `cert:CN=…`, `cert:URI=…`, `user:…` ou `broker:…`",
                    ),
                    witness: None,
                },
            );
        }
        let Some(first) = seen.get(source.identity.as_str()) else {
            seen.insert(&source.identity, source);
            continue;
        };
        report.error(
            Code::C30,
            Said {
                subject: &source.id,
                at: source.at_key("identity"),
                message: text!(
                    "sources `{first}` ({place}) and `{id}` have one identity",
                    "les sources `{first}` ({place}) et `{id}` ont la même identité",
                    first = first.id,
                    place = first.at,
                    id = source.id,
                ),
                why: text!(
                    "whose data a message is could not be told",
                    "on ne pourrait dire à qui appartiennent les données d'un message",
                ),
                fix: text!(
                    "give each its own certificate or user",
                    "donner à chacune son certificat ou son utilisateur",
                ),
                witness: Some(
                    text!(
                        "a connection as `{identity}`",
                        "une connexion sous l'identité `{identity}`",
                        identity = source.identity,
                    )
                    .into(),
                ),
            },
        );
    }
}

fn exposure(document: &Document, report: &mut Report) {
    for target in &document.target {
        let id = &target.id;
        let said = |message: Text, at| Said {
            subject: id,
            at,
            message,
            why: text!(
                "it is treated as exposed, so nothing that must be immune may go there",
                "il est tenu pour exposé : rien de ce qui doit être à l'abri ne peut y aller",
            ),
            fix: text!(
                "write `extra_eu_law = \"immune\"` or `\"exposed\"`, from the provider's contract",
                "écrire `extra_eu_law = \"immune\"` ou `\"exposed\"`, d'après le contrat du prestataire",
            ),
            witness: None,
        };
        match target.extra_eu_law {
            None => {
                let message = text!(
                    "target `{id}` does not state its exposure to law from outside the EU",
                    "l'hébergement `{id}` ne déclare pas son exposition à un droit extra-européen",
                );
                report.error(Code::C22, said(message, target.at.clone()));
            }
            Some(ExtraEuLaw::Unknown) => {
                let message = text!(
                    "target `{id}` has an unknown exposure to law from outside the EU",
                    "l'exposition de l'hébergement `{id}` à un droit extra-européen est inconnue",
                );
                report.warning(Code::C22, said(message, target.at_key("extra_eu_law")));
            }
            Some(ExtraEuLaw::Immune | ExtraEuLaw::Exposed) => {}
        }
    }
}

/// `cert:CN=…`, `cert:URI=…`, `user:…`, `broker:…`, each with a name.
fn identity(text: &str) -> Result<(), Text> {
    let no_kind = || text!("it names no kind", "elle ne dit pas de quelle sorte elle est");
    let (kind, rest) = text.split_once(':').ok_or_else(no_kind)?;
    let name = match kind {
        "cert" => rest
            .strip_prefix("CN=")
            .or_else(|| rest.strip_prefix("URI="))
            .ok_or_else(|| text!("it is neither `CN` nor `URI`", "elle n'est ni `CN` ni `URI`"))?,
        "user" | "broker" => rest,
        _ => {
            return Err(text!(
                "its kind is none of `cert`, `user` and `broker`",
                "sa sorte n'est ni `cert`, ni `user`, ni `broker`",
            ));
        }
    };
    match name {
        "" => Err(text!("it names nobody", "elle ne nomme personne")),
        name if name.trim() != name || name.contains(char::is_control) => Err(text!(
            "it holds spaces around or controls",
            "elle contient des espaces autour ou des caractères de commande",
        )),
        name if name.contains('*') => Err(text!("a wildcard names nobody", "un joker ne nomme personne")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_certificate_a_user_or_a_broker() {
        for good in ["cert:CN=lns.rennes.example", "cert:URI=spiffe://a/b", "user:scada", "broker:ville"] {
            assert_eq!(identity(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "lns",
            "cert:",
            "cert:lns",
            "cert:CN=",
            "user:",
            "broker:",
            "ip:10.0.0.1",
            "cert:CN=*.example",
            "user: a",
        ] {
            assert!(identity(bad).is_err(), "{bad}");
        }
    }
}
