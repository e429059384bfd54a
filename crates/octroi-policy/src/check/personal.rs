//! Data about persons. C12: it is processed for a purpose on record. C13: that
//! record has what RGPD art. 30 and 35 ask for. C40: health data has an HDS host.
//!
//! About a person: the level `personal` itself, and every marking that only a
//! person can have, `pseudonymised` among them (RGPD recital 26). A level above
//! with none of these markings is a secret of something else.
//!
//! C40 looks at spaces and copies by domain and leaves dates aside: an HDS
//! certificate that lapses is C21's.

use super::approval::says_something;
use super::rules::{self, orders};
use super::{Report, Said};
use crate::ast::{Block, Classify, Document, Processing, Requirement, RuleLevel, Target};
use crate::text::text;
use crate::witness::Order;
use crate::{Code, Cog, Label, Level, Location, Marking, Markings, Text, Witness};

const PERSON: [Marking; 8] = [
    Marking::Personal,
    Marking::Pseudonymised,
    Marking::Art9,
    Marking::Offence,
    Marking::Health,
    Marking::Biometric,
    Marking::LocationTrace,
    Marking::Minor,
];

/// Markings for which an impact assessment is due (RGPD art. 9, 10 and 35).
const GRAVE: [Marking; 5] =
    [Marking::Art9, Marking::Offence, Marking::Health, Marking::Biometric, Marking::Minor];

/// The scheme of a certified host of health data (CSP L.1111-8).
const HDS: &str = "hds";

pub(super) fn check(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for rule in &document.classify {
        without_processing(rule, document, cog, report);
        if rule.markings.contains(&Marking::Health) {
            health(rule, document, cog, report);
        }
    }
    document.processing.iter().for_each(|processing| record(processing, document, cog, report));
}

/// Whether a message with that label is about a person.
pub(super) fn about_a_person(label: Label) -> bool {
    label.level == Level::Personal || PERSON.iter().any(|marking| label.markings.contains(*marking))
}

/// Whether that marking says that a message is about a person.
pub(super) fn is_of_a_person(marking: Marking) -> bool {
    PERSON.contains(&marking)
}

/// What a rule gives; of the sender's word, only the markings.
pub(super) fn label_of(rule: &Classify) -> Label {
    let markings: Markings = rule.markings.iter().copied().collect();
    Label { level: rules::level_of(rule.level), markings }
}

/// A message that the rule matches, with the rule's name.
pub(super) fn shown_by(rule: &Classify, document: &Document, cog: Option<&Cog>, report: &Report) -> Witness {
    let id = &rule.id;
    let text = text!("a message that rule `{id}` matches", "un message que la règle `{id}` reconnaît");
    let messages = orders(document, cog, rule).flat_map(Order::proposals);
    let given = report.replayed(document, messages, |_, decision| {
        decision.is_labelled() && decision.label.dominates(label_of(rule))
    });
    Witness { text, given, at: None }
}

fn without_processing(rule: &Block<Classify>, document: &Document, cog: Option<&Cog>, report: &mut Report) {
    if rule.processing.is_some() || !about_a_person(label_of(rule)) {
        return;
    }
    let marking = rule.markings.iter().position(|marking| is_of_a_person(*marking));
    let (id, label) = (&rule.id, label_of(rule));
    report.error(
        Code::C12,
        Said {
            subject: id,
            at: rule.at_key(&marking.map_or("level".to_owned(), |ix| format!("markings.{ix}"))),
            message: text!(
                "rule `{id}` finds data about persons, {label}, and names no processing",
                "la règle `{id}` reconnaît des données sur des personnes, {label}, et ne nomme aucun traitement"
            ),
            why: text!(
                "data about persons is processed for a purpose on record, or not at all (RGPD art. 5 and 30)",
                "une donnée sur une personne se traite pour une finalité inscrite au registre, ou ne se traite pas (RGPD art. 5 et 30)"
            ),
            fix: text!(
                "write processing = \"…\" in the rule, and its [[processing]] block",
                "écrire processing = \"…\" dans la règle, et son bloc [[processing]]"
            ),
            witness: Some(shown_by(rule, document, cog, report)),
        },
    );
}

fn record(processing: &Block<Processing>, document: &Document, cog: Option<&Cog>, report: &mut Report) {
    let id = &processing.id;
    let users = || document.classify.iter().filter(|rule| rule.processing.as_ref() == Some(id));
    let mut missing = |at: Location, Text { en, fr }: Text, why: Text, rule: Option<&Block<Classify>>| {
        report.error(
            Code::C13,
            Said {
                subject: id,
                at,
                message: text!("the processing `{id}` has no {en}", "le traitement `{id}` n'a pas {fr}"),
                why,
                fix: text!(
                    "complete the record, or take the processing and what uses it away",
                    "compléter la fiche, ou retirer le traitement et ce qui s'en sert"
                ),
                witness: rule.map(|rule| shown_by(rule, document, cog, report)),
            },
        );
    };
    let first = users().next();
    if !says_something(&processing.legal_basis) {
        let what = text!("legal basis", "de base légale");
        let why = text!(
            "without one of the six legal bases a processing is not lawful (RGPD art. 6)",
            "sans l'une des six bases légales, un traitement n'est pas licite (RGPD art. 6)"
        );
        missing(processing.at_key("legal_basis"), what, why, first);
    }
    if !says_something(&processing.retention) {
        let what = text!("retention period", "de durée de conservation");
        let why = text!(
            "what has no end is kept for ever (RGPD art. 5, 1 e)",
            "ce qui n'a pas de terme est conservé pour toujours (RGPD art. 5, 1 e)"
        );
        missing(processing.at_key("retention"), what, why, first);
    }
    let grave = |rule: &&Block<Classify>| {
        label_of(rule).level >= Level::Sensitive
            || rule.markings.iter().any(|marking| GRAVE.contains(marking))
    };
    let grave = users().find(grave).filter(|_| !processing.dpia.as_deref().is_some_and(says_something));
    if let Some(rule) = grave {
        let what = text!("impact assessment", "d'analyse d'impact");
        let why = text!(
            "rule `{rule}` uses it for {label}: a high risk to persons is assessed beforehand (RGPD art. 35)",
            "la règle `{rule}` s'en sert pour {label} : un risque élevé pour les personnes s'évalue au préalable (RGPD art. 35)",
            rule = rule.id,
            label = label_of(rule),
        );
        missing(processing.at_key("dpia"), what, why, Some(rule));
    }
}

/// C40: no space of its domains is on an HDS target, or one that is not could be chosen.
fn health(rule: &Block<Classify>, document: &Document, cog: Option<&Cog>, report: &mut Report) {
    let plain = Classify { level: RuleLevel::Sensitive, ..rule.value.clone() };
    let domains: Vec<&str> = orders(document, cog, &plain).map(|order| order.domain).collect();
    let concerns = |of: &[String]| of.iter().any(|id| domains.contains(&id.as_str()));
    let spaces = document.space.iter().filter(|space| concerns(&space.domains)).map(|space| &space.target);
    let level = label_of(rule).level;
    let copies = document.copy.iter().filter(|copy| concerns(&copy.domains) && copy.max_level >= level);
    let target = |id: &&String| document.target.iter().find(|target| target.id == **id);
    let guarded = document.requirement.iter().any(|requirement| guards_health(requirement));
    let (good, bad): (Vec<_>, Vec<_>) =
        spaces.clone().filter_map(|id| target(&id)).partition(|target| is_hds(target));
    let copied = copies.filter_map(|copy| target(&&copy.to)).filter(|target| !is_hds(target));
    let loose = bad.into_iter().chain(copied).next().filter(|_| !guarded || good.is_empty());
    let Some(target) = loose else { return };
    let ix = rule.markings.iter().position(|marking| *marking == Marking::Health).unwrap_or_default();
    let (id, host) = (&rule.id, &target.id);
    report.error(
        Code::C40,
        Said {
            subject: id,
            at: rule.at_key(&format!("markings.{ix}")),
            message: text!(
                "rule `{id}` finds health data, and `{host}`, where its domain is hosted, has no `hds` certificate",
                "la règle `{id}` reconnaît des données de santé, et `{host}`, où son métier est hébergé, n'a pas de certificat `hds`"
            ),
            why: text!(
                "health data is hosted by a certified host only (CSP L.1111-8)",
                "les données de santé ne sont confiées qu'à un hébergeur certifié (CSP L.1111-8)"
            ),
            fix: text!(
                "host a space of the domain on a target with the qualification `hds`, and require it: when = {{ marking = \"health\" }}, must = {{ one_of = [\"hds>=2024\"] }}",
                "héberger un espace du métier chez une cible qualifiée `hds`, et l'exiger : when = {{ marking = \"health\" }}, must = {{ one_of = [\"hds>=2024\"] }}"
            ),
            witness: Some(shown_by(rule, document, cog, report)),
        },
    );
}

fn is_hds(target: &Target) -> bool {
    target.qualifications.iter().any(|record| record.scheme == HDS)
}

/// Whether a requirement lets health data go to HDS targets only.
fn guards_health(requirement: &Requirement) -> bool {
    let when = &requirement.when;
    let hds = |option: &String| option.split('+').any(|part| part.split(">=").next() == Some(HDS));
    when.marking == Some(Marking::Health)
        && when.min_level.is_none_or(|level| level <= Marking::Health.least_level())
        && when.target_kind.is_none()
        && requirement.must.one_of.as_ref().is_some_and(|options| options.iter().all(hds))
}
