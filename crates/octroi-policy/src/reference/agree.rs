//! The engine beside the reference: the same messages to both, one memory for
//! the engine from message to message, and another time with none. Where they
//! differ, the policy is cut down to what the difference needs.

use super::generate::Dice;
use super::generate::message::{self, Message};
use super::{Verdict, decide, generate};
use crate::ast::Document;
use crate::engine::reason_of;
use crate::format::FORMATS;
use crate::json::Scratch;
use crate::{Decision, Facts, Kind, Outcome, Policy};

/// A policy and messages as a fuzzer's bytes choose them: the engine must say what the reference says.
///
/// # Panics
///
/// Where it does not.
pub fn exercise(bytes: &[u8]) {
    let (head, rest) = bytes.split_at(bytes.len().min(1024));
    let document = generate::policy::document(&mut Dice::chosen(head));
    let dice = &mut Dice::chosen(rest);
    let mut pair = Pair::new(document);
    let mut last = message::message(dice, &pair.document);
    for _ in 0..4 {
        pair.agree(last.clone());
        last = message::alike(dice, &last, &pair.document);
    }
}

/// A policy, compiled and as written, and what it was asked.
pub(super) struct Pair {
    pub(super) document: Document,
    pub(super) policy: Policy,
    scratch: Scratch,
    asked: Vec<Message>,
}

impl Pair {
    pub(super) fn new(document: Document) -> Self {
        let policy = Policy::compile(&document, [0; 32]).unwrap();
        Self { document, policy, scratch: Scratch::default(), asked: vec![] }
    }

    /// With the memory of another pair: nothing of that may reach this one.
    #[cfg(test)]
    pub(super) fn after(other: Self, document: Document) -> Self {
        Self { scratch: other.scratch, ..Self::new(document) }
    }

    /// What both say, which must be the same.
    pub(super) fn agree(&mut self, message: Message) -> Verdict {
        let expected = expected(&self.document, &message);
        let (plain, remembering) = engine(&self.policy, &message, &mut self.scratch);
        self.asked.push(message);
        let agrees = plain == expected && remembering == expected;
        assert!(agrees, "{}", shown(&self.document, &self.asked));
        expected
    }
}

/// The reference's verdict, from what the format reads.
fn expected(document: &Document, message: &Message) -> Verdict {
    let (input, source) = (message.input(), &document.source[message.source.index()]);
    let read = match &message.facts {
        Some(facts) => Ok(facts.clone()),
        None => crate::read(source.format, input.topic, input.payload),
    };
    match read {
        Ok(facts) => decide(document, source, &input, &facts),
        // Who may not publish there is told so, whatever the payload.
        Err(error) => match decide(document, source, &input, &Facts::default()) {
            refused @ ("refused", "unknown_source" | "topic_not_allowed", ..) => refused,
            _ => ("quarantined", reason_of(&error).name(), None, None, vec![]),
        },
    }
}

/// The engine's verdict, without memory and with it.
fn engine(policy: &Policy, message: &Message, scratch: &mut Scratch) -> (Verdict, Verdict) {
    let input = message.input();
    if let Some(facts) = &message.facts {
        let verdict = verdict(policy, &policy.decide_facts(&input, facts.clone()));
        return (verdict.clone(), verdict);
    }
    let plain = policy.decide(&input);
    let remembering = policy.decide_with(&input, scratch);
    assert_eq!(plain, remembering, "of {input:?}");
    (verdict(policy, &plain), verdict(policy, &remembering))
}

/// The engine's decision in the reference's words.
fn verdict(policy: &Policy, decision: &Decision<'_>) -> Verdict {
    let reason = decision.outcome.reason().map_or("", |reason| reason.name());
    // A command by its kind has no label of rules.
    let by_kind = decision.kind == Kind::Command;
    let label = (decision.is_labelled() && !by_kind).then_some(decision.label);
    let space = match &decision.outcome {
        Outcome::Routed { space, .. } => Some(*space),
        Outcome::Held { space, .. } => *space,
        Outcome::Quarantined(_) | Outcome::Refused(_) => None,
    };
    let copies = decision.copies().iter().map(|copy| policy.copies()[copy.index()].id.clone());
    (
        decision.outcome.name(),
        reason,
        label,
        space.map(|space| policy.spaces()[space.index()].id.clone()),
        copies.collect(),
    )
}

/// Whether the two differ at the last of these messages.
fn differ(document: &Document, asked: &[Message]) -> bool {
    let Ok(policy) = Policy::compile(document, [0; 32]) else { return false };
    let mut scratch = Scratch::default();
    let Some((last, before)) = asked.split_last() else { return false };
    for message in before {
        if message.facts.is_none() {
            std::hint::black_box(policy.decide_with(&message.input(), &mut scratch));
        }
    }
    let expected = expected(document, last);
    let (plain, remembering) = match &last.facts {
        Some(_) => engine(&policy, last, &mut scratch),
        None => (
            verdict(&policy, &policy.decide(&last.input())),
            verdict(&policy, &policy.decide_with(&last.input(), &mut scratch)),
        ),
    };
    plain != expected || remembering != expected
}

macro_rules! without_each {
    ($document:ident, $asked:ident: $($blocks:ident)*) => { $(
        for n in (0..$document.$blocks.len()).rev() {
            let block = $document.$blocks.remove(n);
            if !differ(&$document, $asked) {
                $document.$blocks.insert(n, block);
            }
        }
    )* };
}

/// The least policy and the fewest messages that still differ.
fn shown(document: &Document, asked: &[Message]) -> String {
    let mut document = document.clone();
    let shorter = |from: &usize| differ(&document, &asked[*from..]);
    let first = (0..asked.len()).rev().find(shorter);
    let Some(first) = first else {
        return format!("a memory of another policy: {:#?}\n{document:#?}", asked.last());
    };
    let asked = &asked[first..];
    without_each!(document, asked: classify copy transform derogation requirement space target perimeter domain producer);
    for rule in 0..document.classify.len() {
        let markings = std::mem::take(&mut document.classify[rule].value.markings);
        if !differ(&document, asked) {
            document.classify[rule].value.markings = markings;
        }
    }
    let last = asked.last().unwrap();
    let source = &document.source[last.source.index()].value;
    let values =
        |text: String| text.lines().filter(|line| !line.ends_with("None,")).collect::<Vec<_>>().join("\n");
    let engine =
        Policy::compile(&document, [0; 32]).map(|policy| verdict(&policy, &policy.decide(&last.input())));
    format!(
        "they differ.\nreference: {:?}\nengine: {engine:?}\n{} messages, the last: {:?}\npayload: {}\nsource: {source:?}\n{}",
        expected(&document, last),
        asked.len(),
        last,
        String::from_utf8_lossy(&last.payload),
        values(format!("{document:#?}")),
    )
}

/// Any bytes: each format gives facts or a reason, the same with memory as without; and the strict reader
/// takes nothing that `serde_json` refuses, and finds as many leaves. How many they are chooses the topic.
///
/// # Panics
///
/// Where it is not so.
pub fn read_any(payload: &[u8]) {
    const TOPICS: [&str; 6] = [
        "a/b",
        "application/a/device/d/event/up",
        "application/a/device/d/command/down",
        "v3/app@t/devices/d/up",
        "spBv1.0/g/DDATA/n/d",
        "$sys//\u{e9}",
    ];
    let topic = TOPICS[payload.len() % TOPICS.len()];
    let mut scratch = Scratch::default();
    for format in FORMATS {
        let plain = crate::read(format, topic, payload);
        for _ in 0..2 {
            // Facts of abstract tests hold a NaN; those of payloads hold none, and so compare.
            assert_eq!(crate::read_with(format, topic, payload, &mut scratch), plain, "{format:?}");
        }
    }
    let mut facts = Facts::default();
    if crate::json::read_into(payload, &mut facts, &mut scratch).is_ok() {
        let value: serde_json::Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(facts.leaves.len(), leaves(&value));
    }
}

/// An empty container is a leaf.
fn leaves(value: &serde_json::Value) -> usize {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    match value {
        Array(all) => all.iter().map(leaves).sum::<usize>().max(1),
        Object(all) => all.values().map(leaves).sum::<usize>().max(1),
        Null | Bool(_) | Number(_) | String(_) => 1,
    }
}
