//! C22: exposure to law from outside the EU is stated. C30: a source is an
//! authenticated identity, and an identity is one source.

use std::collections::BTreeMap;

use super::{Report, Said};
use crate::Code;
use crate::ast::{Block, Document, ExtraEuLaw, Source};

pub(super) fn check(document: &Document, report: &mut Report) {
    exposure(document, report);
    let mut seen: BTreeMap<&str, &Block<Source>> = BTreeMap::new();
    for source in &document.source {
        if let Err(fault) = identity(&source.identity) {
            report.error(
                Code::C30,
                Said {
                    subject: &source.id,
                    at: source.at_key("identity"),
                    message: format!("`{}` is no authenticated identity: {fault}", source.identity),
                    why: "producer, perimeter and topics follow from the identity alone",
                    fix: "write cert:CN=…, cert:URI=… or user:…".to_owned(),
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
                message: format!(
                    "sources `{}` ({}) and `{}` have one identity",
                    first.id, first.at, source.id
                ),
                why: "whose data a message is could not be told",
                fix: "give each its own certificate or user".to_owned(),
                witness: Some(format!("a connection as `{}`", source.identity)),
            },
        );
    }
}

fn exposure(document: &Document, report: &mut Report) {
    for target in &document.target {
        let why = "it is treated as exposed, so nothing that must be immune may go there";
        let fix = "write extra_eu_law = \"immune\" or \"exposed\", from the provider's contract";
        let said = |what: &str, at| Said {
            subject: &target.id,
            at,
            message: format!("target `{}` {what} to law from outside the EU", target.id),
            why,
            fix: fix.to_owned(),
            witness: None,
        };
        match target.extra_eu_law {
            None => report.error(Code::C22, said("does not state its exposure", target.at.clone())),
            Some(ExtraEuLaw::Unknown) => {
                report.warning(Code::C22, said("has an unknown exposure", target.at_key("extra_eu_law")));
            }
            Some(ExtraEuLaw::Immune | ExtraEuLaw::Exposed) => {}
        }
    }
}

/// `cert:CN=…`, `cert:URI=…`, `user:…`, each with a name.
fn identity(text: &str) -> Result<(), &'static str> {
    let (kind, rest) = text.split_once(':').ok_or("it names no kind")?;
    let name = match kind {
        "cert" => rest
            .strip_prefix("CN=")
            .or_else(|| rest.strip_prefix("URI="))
            .ok_or("it is neither CN nor URI")?,
        "user" => rest,
        _ => return Err("its kind is neither `cert` nor `user`"),
    };
    match name {
        "" => Err("it names nobody"),
        name if name.trim() != name || name.contains(char::is_control) => {
            Err("it holds spaces around or controls")
        }
        name if name.contains('*') => Err("a wildcard names nobody"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_certificate_or_a_user() {
        for good in ["cert:CN=lns.rennes.example", "cert:URI=spiffe://a/b", "user:scada"] {
            assert_eq!(identity(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "lns",
            "cert:",
            "cert:lns",
            "cert:CN=",
            "user:",
            "ip:10.0.0.1",
            "cert:CN=*.example",
            "user: a",
        ] {
            assert!(identity(bad).is_err(), "{bad}");
        }
    }
}
