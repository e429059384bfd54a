//! What of a policy its own tests reach: each rule that matched, each
//! requirement that was asked, each copy that went, and so on; and what no
//! test ever reaches.
//!
//! It says nothing of whether a test would notice a change there: that is
//! `mutants.rs`. Of the table and the flows only what can happen counts: labels
//! that rules give without the sender's own word, at the place they would have.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::ast::{Block, Document, Test};
use crate::engine::condition::View;
use crate::prove::{classes, label_of, reached};
use crate::testing::{facts_of, play};
use crate::text::text;
use crate::{
    CommuneIx, CopyIx, Decision, DomainIx, Facts, Input, Label, Marking, Outcome, Policy, SpaceIx, TargetIx,
    Text,
};

/// What of one kind the tests reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// `source`, `classify`, `requirement`, `space`, `copy`, `transform`, `cell`, `flow`.
    pub kind: &'static str,
    /// How much of it is reached, rounded down; 100 where there is none.
    pub percent: usize,
    /// What at least one test reaches.
    pub hit: Vec<String>,
    /// What none does.
    pub missed: Vec<String>,
}

/// Everything that tests can reach, and whether one does.
type Reach = BTreeMap<&'static str, BTreeMap<String, bool>>;

/// The kinds, in the order they are shown.
const KINDS: [&str; 8] = ["source", "classify", "requirement", "space", "copy", "transform", "cell", "flow"];

/// Runs the policy's tests and tells what they reach, kind by kind.
#[must_use]
pub fn coverage(policy: &Policy, document: &Document) -> Vec<Coverage> {
    let mut reach = all(policy, document);
    for test in &document.test {
        for (kind, id) in of_test(policy, document, test) {
            // A declared sensitivity can give labels that are not counted.
            reach.entry(kind).or_default().entry(id).and_modify(|hit| *hit = true);
        }
    }
    KINDS.iter().map(|kind| Coverage::of(kind, reach.remove(kind).unwrap_or_default())).collect()
}

impl Coverage {
    fn of(kind: &'static str, reach: BTreeMap<String, bool>) -> Self {
        let all = reach.len();
        let (hit, missed): (Vec<_>, Vec<_>) = reach.into_iter().partition(|(_, hit)| *hit);
        let names = |list: Vec<(String, bool)>| list.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        let percent = (hit.len() * 100).checked_div(all).unwrap_or(100);
        Self { kind, percent, hit: names(hit), missed: names(missed) }
    }

    /// One line, with at most so many names of what is never reached.
    #[must_use]
    pub fn in_words(&self, shown: usize) -> Text {
        let (kind, percent, hit) = (self.kind, self.percent, self.hit.len());
        let all = hit + self.missed.len();
        let mut line =
            text!("{kind:<12} {percent:>3} %  {hit} of {all}", "{kind:<12} {percent:>3} %  {hit} sur {all}");
        if !self.missed.is_empty() {
            let names: Vec<&str> = self.missed.iter().take(shown).map(String::as_str).collect();
            let names = names.join(", ");
            let more = self.missed.len().saturating_sub(shown);
            let rest = if more == 0 { String::new() } else { format!(", … (+{more})") };
            line.en.push_str(&format!("; never: {names}{rest}"));
            line.fr.push_str(&format!(" ; jamais : {names}{rest}"));
        }
        line
    }
}

fn all(policy: &Policy, document: &Document) -> Reach {
    fn ids<T>(blocks: &[Block<T>], id: fn(&T) -> &String) -> BTreeMap<String, bool> {
        blocks.iter().map(|block| (id(&block.value).clone(), false)).collect()
    }
    let (cells, flows) = possible(policy, document);
    let unseen = |names: BTreeSet<String>| names.into_iter().map(|name| (name, false)).collect();
    BTreeMap::from([
        ("source", ids(&document.source, |source| &source.id)),
        ("classify", ids(&document.classify, |rule| &rule.id)),
        ("requirement", ids(&document.requirement, |requirement| &requirement.id)),
        ("space", ids(&document.space, |space| &space.id)),
        ("copy", ids(&document.copy, |copy| &copy.id)),
        ("transform", ids(&document.transform, |transform| &transform.id)),
        ("cell", unseen(cells)),
        ("flow", unseen(flows)),
    ])
}

/// The cells and flows that a message can come by.
fn possible(policy: &Policy, document: &Document) -> (BTreeSet<String>, BTreeSet<String>) {
    let today = document.policy.valid_from.date();
    let (mut cells, mut flows) = (BTreeSet::new(), BTreeSet::new());
    for ((source, domain), labels) in reached(policy, document) {
        let communes: Vec<CommuneIx> =
            classes(policy, source, domain).into_values().filter_map(|set| set.first()).collect();
        for label in labels.by_key.iter().filter(|(_, reach)| !reach.by_word).map(|(key, _)| label_of(*key)) {
            if label.markings.contains(Marking::Command) {
                continue;
            }
            let placed = communes.iter().filter_map(|at| policy.place(source, domain, *at, label, today));
            cells.extend(placed.map(|placed| cell(policy, label, placed.space)));
            let copies = policy.copies_of.get(domain.index()).into_iter().flatten();
            flows.extend(copies.map(|copy| flow(policy, label, usize::from(*copy))));
        }
    }
    (cells, flows)
}

fn cell(policy: &Policy, label: Label, space: SpaceIx) -> String {
    format!("{label} → {}", policy.spaces().get(space.index()).map_or("", |space| &space.id))
}

fn flow(policy: &Policy, label: Label, copy: usize) -> String {
    format!("{label} → {}", policy.copies().get(copy).map_or("", |copy| &copy.id))
}

/// What one test reaches.
fn of_test(policy: &Policy, document: &Document, test: &Test) -> Vec<(&'static str, String)> {
    let reached = play(policy, document, test, |input, decision| {
        let mut reached = vec![("source", test.given.source.clone())];
        let facts = match &test.given.payload {
            None => Some(facts_of(policy, input.source, &test.given)),
            Some(_) => policy
                .admit(input)
                .ok()
                .and_then(|gate| crate::read(gate.format, input.topic, input.payload).ok()),
        };
        if let (Some(facts), Some(commune), Some(domain)) = (facts, decision.commune, decision.domain) {
            at_place(policy, (input, &facts), decision, (commune, domain), &mut reached);
        }
        reached
    });
    reached.unwrap_or_default()
}

/// The rules that match; the space, the requirements it was asked, and the copies.
fn at_place(
    policy: &Policy,
    (input, facts): (&Input<'_>, &Facts<'_>),
    decision: &Decision<'_>,
    (commune, domain): (CommuneIx, DomainIx),
    reached: &mut Vec<(&'static str, String)>,
) {
    let Ok(gate) = policy.admit(input) else { return };
    let document = policy.document();
    let sight = policy.sight_of(gate, input, facts, commune, domain);
    let view = View { facts, payload: input.payload.len() as u64, sight: &sight };
    let rules = policy.rules.iter().zip(&document.classify);
    let matching = rules.filter(|(rule, _)| policy.program.holds(rule.condition, &view, true));
    reached.extend(matching.map(|(_, block)| ("classify", block.id.clone())));
    let label = decision.label;
    let space = match decision.outcome {
        Outcome::Routed { space, .. } => space,
        Outcome::Held { space: Some(space), .. } => space,
        Outcome::Held { space: None, .. } | Outcome::Quarantined(_) | Outcome::Refused(_) => return,
    };
    if let Some(info) = policy.spaces().get(space.index()) {
        reached.push(("space", info.id.clone()));
        reached.push(("cell", cell(policy, label, space)));
        asked(policy, info.target, label, reached);
    }
    for copy in policy.applying(domain, &view) {
        let CopyIx(n) = copy.copy;
        reached.push(("flow", flow(policy, label, usize::from(n))));
        let (Some(info), Some(written)) =
            (policy.copies().get(usize::from(n)), document.copy.get(usize::from(n)))
        else {
            continue;
        };
        let on = input.received.date();
        let (Ok(out) | Err((out, _))) = policy.admit_copy(copy, input.source, label, on);
        asked(policy, info.to, out, reached);
        if decision.copies().contains(&copy.copy) {
            reached.push(("copy", info.id.clone()));
            reached.extend(written.transform.iter().map(|transform| ("transform", transform.clone())));
        }
    }
}

/// The requirements that a target is asked for that label.
fn asked(policy: &Policy, target: TargetIx, label: Label, reached: &mut Vec<(&'static str, String)>) {
    let duties = policy.duties.get(target.index()).into_iter().flat_map(|duties| &duties.duties);
    let concerned = duties.filter(|duty| duty.concerns(label));
    let written = concerned.filter_map(|duty| policy.document().requirement.get(duty.requirement));
    reached.extend(written.map(|requirement| ("requirement", requirement.id.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceFile, parse};

    const EXAMPLE: &str = include_str!("../../../policies/bretagne-exemple.toml");

    fn of(text: &str) -> BTreeMap<&'static str, Coverage> {
        let parsed = parse(&[SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }]);
        let policy = Policy::compile(&parsed.document, [0; 32]).unwrap();
        coverage(&policy, &parsed.document).into_iter().map(|kind| (kind.kind, kind)).collect()
    }

    #[test]
    fn what_no_test_of_the_example_reaches_is_named() {
        let coverage = of(EXAMPLE);
        assert_eq!(coverage.keys().copied().collect::<BTreeSet<_>>(), KINDS.into_iter().collect());
        assert_eq!(coverage["source"].percent, 100);
        let missed = |kind: &str, id: &str| coverage[kind].missed.iter().any(|missed| missed == id);
        assert!(missed("classify", "air-station-fixe") && !missed("classify", "mobilite-plaques"));
        assert!(missed("copy", "dechets-vers-cloud") && !missed("copy", "mobilite-vers-cloud"));
        assert!(missed("requirement", "E4-sante") && !missed("requirement", "E2-sensible"));
        assert!(missed("space", "mobilite-vannes") && !missed("space", "commun-redon"));
        assert_eq!(coverage["transform"].missed, [""; 0]);
        let is_hit = |kind: &str, id: &str| coverage[kind].hit.iter().any(|hit| hit == id);
        assert!(is_hit("cell", "internal → energie-rennes"), "{:?}", coverage["cell"]);
        assert!(is_hit("flow", "personal (personal, essential_service) → eau-agregats-vers-cloud"));
        let words = coverage["classify"].in_words(2);
        assert!(words.en.contains("never: ") && words.fr.contains("jamais : "), "{words:?}");
    }

    #[test]
    fn a_policy_without_tests_reaches_nothing_and_a_test_of_bytes_reaches_as_facts_do() {
        let (bare, _) = EXAMPLE.split_once("[[test]]").unwrap();
        assert!(of(bare).values().all(|kind| kind.hit.is_empty() && kind.percent == 0));
        let test = "[[test]]\nname = \"a\"\ngiven = { source = \"ville-mobilite\", topic = \"ville/mobilite/c7/count\", payload = '{\"count\":1}' }\nexpect = { level = \"open\" }\n";
        let coverage = of(&format!("{bare}{test}"));
        assert_eq!(coverage["classify"].hit, ["mobilite-comptage"]);
        assert_eq!(coverage["copy"].hit, ["mobilite-vers-cloud"]);
        assert_eq!(coverage["space"].hit, ["mobilite-rennes"]);
    }
}
