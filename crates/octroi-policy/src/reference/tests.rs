//! Properties of the engine over generated policies and messages.
//!
//! `OCTROI_SEED` takes another seed than 0.

use std::collections::BTreeMap;

use super::agree::Pair;
use super::generate::Dice;
use super::generate::message::{Message, alike, message};
use super::generate::policy::{document, rule};
use crate::{Decision, Label, Level, Outcome, Policy, Reason};

const POLICIES: u64 = 5_000;
const MESSAGES: u64 = 200;

#[expect(clippy::disallowed_methods, reason = "the seed of a test")]
fn seed() -> u64 {
    std::env::var("OCTROI_SEED").map_or(0, |seed| seed.parse().expect("OCTROI_SEED is a number"))
}

/// How often each thing came about.
#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn add(&mut self, what: String) {
        *self.0.entry(what).or_default() += 1;
    }

    fn at_least(&self, least: u64, whats: &[&str]) {
        for what in whats {
            let count = self.0.get(*what).copied().unwrap_or_default();
            assert!(count >= least, "the generator gives {count} of `{what}`: {:#?}", self.0);
        }
    }
}

/// A message of any shape, or one alike to the last: every other policy has
/// senders that repeat their keys, not their values.
fn next(dice: &mut Dice<'_>, last: Option<Message>, n: u64, seed: u64, pair: &Pair) -> Message {
    match last {
        Some(last) if seed % 2 == 1 && !n.is_multiple_of(20) => alike(dice, &last, &pair.document),
        Some(_) | None => message(dice, &pair.document),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "what was tried, for who asks with --nocapture")]
fn the_engine_decides_as_the_reference_does() {
    let (first, mut counts) = (seed(), Counts::default());
    let mut pair = Pair::new(document(&mut Dice::seeded(first)));
    for seed in (0..POLICIES).map(|n| first.wrapping_add(n)) {
        let dice = &mut Dice::seeded(seed);
        // One memory for all policies: nothing of one may reach another.
        pair = Pair::after(pair, document(dice));
        let mut last = None;
        for n in 0..MESSAGES {
            let message = next(dice, last.take(), n, seed, &pair);
            let (outcome, reason, label, _, copies) = pair.agree(message.clone());
            counts.add(if reason.is_empty() { outcome.to_owned() } else { format!("{outcome} {reason}") });
            if let Some(Label { level, .. }) = label {
                counts.add(format!("at {level}"));
            }
            counts.add(format!("{} copies", copies.len()));
            if n.is_multiple_of(16) && message.facts.is_none() {
                counts.add(format!("{} rules", pair.policy.explain(&message.input()).rules.len()));
            }
            last = Some(message);
        }
    }
    println!("{} pairs, seed {first}: {:#?}", POLICIES * MESSAGES, counts.0);
    counts.at_least(50_000, &["routed", "held no_allowed_target", "quarantined no_rule_matches"]);
    counts.at_least(2_000, &["1 copies", "2 copies", "0 rules", "1 rules", "2 rules", "3 rules"]);
    let of_reason = |reason: &Reason| match reason {
        Reason::UnknownSource | Reason::TopicNotAllowed | Reason::Command | Reason::IdentityLapsed => {
            format!("refused {reason}")
        }
        Reason::NoAllowedTarget => format!("held {reason}"),
        Reason::CannotDecode
        | Reason::AmbiguousPayload
        | Reason::UnknownTerritory
        | Reason::OutsidePerimeter
        | Reason::DomainNotAllowed
        | Reason::NoRuleMatches
        | Reason::TooLarge => format!("quarantined {reason}"),
    };
    let by_the_hub = [Reason::TooLarge, Reason::IdentityLapsed];
    for reason in Reason::ALL.iter().filter(|reason| !by_the_hub.contains(reason)) {
        counts.at_least(10_000, &[&of_reason(reason)]);
    }
    for level in Level::ALL {
        counts.at_least(20_000, &[&format!("at {level}")]);
    }
}

/// The label that rules gave, if they gave one.
fn label_of(decision: &Decision<'_>) -> Option<Label> {
    decision.is_labelled().then_some(decision.label)
}

#[test]
fn one_more_rule_lowers_no_label_and_turns_no_doubt_but_its_own() {
    let (first, mut counts) = (seed(), Counts::default());
    for seed in (0..2_000).map(|n| first.wrapping_add(n)) {
        let dice = &mut Dice::seeded(seed ^ 0x5eed);
        let before = Pair::new(document(dice));
        let mut more = before.document.clone();
        let one = crate::ast::Block { value: rule(dice, 99), ..crate::ast::Block::clone(&more.classify[0]) };
        more.classify.insert(dice.below(more.classify.len() + 1), one);
        let after = Policy::compile(&more, [0; 32]).unwrap();
        for _ in 0..30 {
            let message = message(dice, &before.document);
            let decide = |policy: &Policy| match &message.facts {
                Some(facts) => {
                    let decision = policy.decide_facts(&message.input(), facts.clone());
                    (label_of(&decision), decision.outcome)
                }
                None => {
                    let decision = policy.decide(&message.input());
                    (label_of(&decision), decision.outcome)
                }
            };
            let ((was, outcome), (is, came)) = (decide(&before.policy), decide(&after));
            let shown = || format!("seed {seed}: {was:?} {outcome:?}, then {is:?} {came:?}, of {message:?}");
            match (was, is) {
                (Some(was), Some(is)) => {
                    assert!(is.dominates(was), "{}", shown());
                    counts.add(if is == was { "as before" } else { "raised" }.to_owned());
                }
                // What no rule knew may now be known: from doubt, which counts as restricted, to a label.
                (None, Some(_)) => {
                    assert_eq!(outcome, Outcome::Quarantined(Reason::NoRuleMatches), "{}", shown());
                    counts.add("known now".to_owned());
                }
                (Some(_), None) => panic!("a label lost: {}", shown()),
                (None, None) => assert_eq!(outcome, came, "{}", shown()),
            }
        }
    }
    counts.at_least(1_000, &["as before", "raised", "known now"]);
}
