//! The engine's answers beside these, asked directly: every target and copy of
//! generated policies, labels and days that no message need have.

use std::collections::BTreeMap;

use super::super::generate::Dice;
use super::super::generate::policy::document;
use super::*;
use crate::{Policy, SourceIx, SpaceIx, place};

const POLICIES: u64 = 4_000;
const QUESTIONS: usize = 50;

/// How often each answer came about.
type Counts = BTreeMap<&'static str, u32>;

fn label(dice: &mut Dice<'_>) -> Label {
    Label { level: dice.level(), markings: dice.markings().into_iter().collect() }
}

/// Counts an answer, and whether a day changes it.
fn count(counts: &mut Counts, yes: bool, dates_aside: bool) {
    let answer = match (dates_aside, yes) {
        (true, true) => "yes",
        (true, false) => "lapsed",
        (false, true) => "only on a day",
        (false, false) => "no",
    };
    *counts.entry(answer).or_default() += 1;
}

fn every_answer_came(counts: &Counts) {
    for answer in ["yes", "no", "lapsed", "only on a day"] {
        let count = counts.get(answer).copied().unwrap_or_default();
        assert!(count >= 200, "too few of `{answer}`: {counts:?}");
    }
}

#[test]
fn the_engine_lets_a_label_to_a_target_exactly_where_the_reference_does() {
    let (mut counts, mut lifted) = (Counts::new(), 0);
    for seed in 0..POLICIES {
        let dice = &mut Dice::seeded(seed ^ 0x0905);
        let d = document(dice);
        let bare = Document { derogation: vec![], ..d.clone() };
        let policy = Policy::compile(&d, [0; 32]).unwrap();
        for _ in 0..QUESTIONS {
            let (label, day, target) = (label(dice), dice.date(), dice.below(d.target.len()));
            let (source, space) = (dice.below(d.source.len()), dice.below(d.space.len() + 1));
            let block = d.space.get(space);
            let way = Way {
                source: &d.source[source].id,
                space: block.map(|block| block.id.as_str()),
                transformed: dice.one_in(2),
            };
            let engines = place::Way {
                source: SourceIx::from_index(source),
                space: block.and_then(|_| SpaceIx::from_index(space)),
                transformed: way.transformed,
            };
            let ask = |on| {
                let expected = allowed(&d, label, &d.target[target].id, way, on);
                let obstacle = policy.duties[target].obstacle(label, engines, on, &policy.lifted);
                let shown = || format!("seed {seed}: {label:?} to t{target} by {way:?} on {on:?}");
                assert_eq!(obstacle.is_none(), expected, "{}: {obstacle:?}", shown());
                expected
            };
            let yes = ask(Some(day));
            count(&mut counts, yes, ask(None));
            lifted += u32::from(yes && !allowed(&bare, label, &d.target[target].id, way, Some(day)));
        }
    }
    every_answer_came(&counts);
    assert!(lifted >= 200, "derogations act {lifted} times");
}

#[test]
fn the_engine_lets_a_copy_leave_with_the_label_that_the_reference_gives_it() {
    let (mut counts, mut lowered) = (Counts::new(), 0);
    for seed in 0..POLICIES {
        let dice = &mut Dice::seeded(seed ^ 0xc0b1);
        let d = document(dice);
        let policy = Policy::compile(&d, [0; 32]).unwrap();
        for (copy, (rule, _)) in d.copy.iter().zip(&policy.copy_rules) {
            let to = &policy.duties[policy.copies()[rule.copy.index()].to.index()];
            for _ in 0..QUESTIONS / 2 {
                let (label, day, source) = (label(dice), dice.date(), dice.below(d.source.len()));
                let ask = |on| {
                    let expected = copied(&d, copy, label, &d.source[source].id, on);
                    let leaves = rule.admit(label, to, SourceIx::from_index(source), on, &policy.lifted);
                    let shown = || format!("seed {seed}: {label:?} of s{source} as {copy:?} on {on:?}");
                    assert_eq!(leaves.ok(), expected, "{}: {leaves:?}", shown());
                    expected
                };
                let out = ask(Some(day));
                count(&mut counts, out.is_some(), ask(None).is_some());
                lowered += u32::from(out.is_some_and(|out| out.level < label.level));
            }
        }
    }
    every_answer_came(&counts);
    assert!(lowered >= 200, "{lowered} copies were lowered");
}
