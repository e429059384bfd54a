//! A candidate against the policy in force. C35: its version is higher. C36:
//! its blast radius, how many decision cells change.
//!
//! A cell is one message: what a rule of either policy matches, from a source
//! and domain that can send it, in a commune where the domain has a space. Both
//! policies decide it on the same day, and the cell changes if level, markings,
//! outcome, space, target or copies do. What no rule names is quarantined by
//! both and counts for nothing; a change that shows only in some communes of a
//! perimeter, or only where rules come together, can be missed: the figure says
//! how far a change reaches, the proofs say what can happen.

use std::collections::BTreeMap;

use super::rules::orders;
use super::{Report, Said};
use crate::ast::{Document, Given};
use crate::text::text;
use crate::{Code, Cog, Date, Finding, Policy, Witness};

/// Cells looked at; a policy with more is compared by its first ones, and says so.
const CELLS: usize = 50_000;

/// What is to be said of a candidate that would replace `active`, as of `today`.
#[must_use]
pub fn against(active: &Policy, candidate: &Policy, today: Date) -> Vec<Finding> {
    let mut report = Report::default();
    version(active, candidate, &mut report);
    blast_radius(active, candidate, today, &mut report);
    report.acknowledge(candidate.document(), &[], today);
    report.findings()
}

fn version(active: &Policy, candidate: &Policy, report: &mut Report) {
    let same = active.hash() == candidate.hash() || active.id() != candidate.id();
    if same || numbers(candidate.version()) > numbers(active.version()) {
        return;
    }
    let (id, new, old) = (candidate.id(), candidate.version(), active.version());
    report.error(
        Code::C35,
        Said {
            subject: id,
            at: candidate.document().policy.at_key("version"),
            message: text!(
                "version {new} of `{id}` does not follow {old}, which is in force",
                "la version {new} de `{id}` ne suit pas {old}, qui est en vigueur"
            ),
            why: text!(
                "two policies of one version cannot be told apart in a report or a council resolution",
                "deux politiques d'une même version ne se distinguent ni dans un rapport ni dans une délibération"
            ),
            fix: text!("write a version above {old}", "écrire une version supérieure à {old}"),
            witness: Some(Witness::from(text!("{new} ≤ {old}", "{new} ≤ {old}"))),
        },
    );
}

/// Dotted integers; `1.2` is `1.2.0`.
fn numbers(version: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

fn blast_radius(active: &Policy, candidate: &Policy, today: Date, report: &mut Report) {
    let cells = cells(&[candidate, active]);
    let mut changed = 0_usize;
    let (mut first, mut widens): (Option<Change<'_>>, Option<Change<'_>>) = (None, None);
    for given in cells.values() {
        let (before, after) = (end(active, given, today), end(candidate, given, today));
        if before == after {
            continue;
        }
        changed += 1;
        let reaches = after.targets.iter().any(|target| !before.targets.contains(target));
        let slot = if reaches { &mut widens } else { &mut first };
        slot.get_or_insert(Change { given, before, after });
    }
    let Some(shown) = widens.as_ref().or(first.as_ref()) else { return };
    let (all, more) = (cells.len(), if cells.len() >= CELLS { "+" } else { "" });
    let why = match &widens {
        Some(_) => text!(
            "some messages will reach a target that they do not reach today",
            "des messages atteindront une cible qu'ils n'atteignent pas aujourd'hui"
        ),
        None => text!(
            "no message will reach a target that it does not reach today",
            "aucun message n'atteindra une cible qu'il n'atteint pas aujourd'hui"
        ),
    };
    let (source, topic) = (&shown.given.source, &shown.given.topic);
    report.warning(
        Code::C36,
        Said {
            subject: candidate.id(),
            at: candidate.document().policy.at_key("version"),
            message: text!(
                "{changed} of {all}{more} decision cells change against version {version}",
                "{changed} cellules de décision sur {all}{more} changent par rapport à la version {version}",
                version = active.version(),
            ),
            why,
            fix: text!(
                "read what changes, then acknowledge it with C36 and `{id}`",
                "lire ce qui change, puis l'accepter avec C36 et `{id}`",
                id = candidate.id(),
            ),
            witness: Some(Witness {
                text: text!(
                    "`{source}`, `{topic}`: {before}; then {after}",
                    "`{source}`, `{topic}` : {before} ; puis {after}",
                    before = shown.before.words,
                    after = shown.after.words,
                ),
                given: Some(shown.given.clone()),
                at: Some(today),
            }),
        },
    );
}

struct Change<'g> {
    given: &'g Given,
    before: End,
    after: End,
}

/// What becomes of a message, in names that two policies share.
#[derive(PartialEq)]
struct End {
    /// Level, markings, outcome, space, copies.
    words: String,
    targets: Vec<String>,
}

fn end(policy: &Policy, given: &Given, day: Date) -> End {
    let Some(decision) = policy.decide_given(given, day.start()) else {
        return End { words: "unknown_source".to_owned(), targets: Vec::new() };
    };
    let name = |target: crate::TargetIx| policy.targets().get(target.index()).map(|target| target.id.clone());
    let mut targets: Vec<String> = decision.targets(policy).filter_map(name).collect();
    let mut words = decision.outcome.name().to_owned();
    if let Some(reason) = decision.outcome.reason() {
        words = format!("{words} ({reason})");
    }
    if decision.is_labelled() {
        words = format!("{}, {words}", decision.label);
    }
    if let crate::Outcome::Routed { space, copies } = &decision.outcome {
        let space = policy.spaces().get(space.index()).map(|space| space.id.as_str());
        let copies = copies.iter().filter_map(|copy| policy.copies().get(copy.index()));
        let ways = space.into_iter().chain(copies.map(|copy| copy.id.as_str()));
        words = format!("{words}: `{}`", ways.collect::<Vec<_>>().join("`, `"));
        words = format!("{words} → `{}`", targets.join("`, `"));
    }
    targets.sort_unstable();
    End { words, targets }
}

/// The messages to compare, each once.
fn cells(policies: &[&Policy]) -> BTreeMap<String, Given> {
    let mut cells = BTreeMap::new();
    for policy in policies {
        let (document, cog): (&Document, &Cog) = (policy.document(), policy.cog());
        let messages = document
            .classify
            .iter()
            .flat_map(|rule| orders(document, Some(cog), rule).filter_map(|order| order.proposals().next()));
        for given in messages {
            if cells.len() >= CELLS {
                return cells;
            }
            cells.insert(format!("{given:?}"), given);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_follow_as_dotted_integers() {
        assert!(numbers("2026.11.10") > numbers("2026.11.9"));
        assert!(numbers("1.2.1") > numbers("1.2"));
        assert_eq!(numbers("1.2.0"), numbers("1.2"));
    }
}
