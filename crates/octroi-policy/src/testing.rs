//! The tests that a policy carries (C34): each message is decided, and what
//! comes is compared with what is expected, no more than the test names.
//!
//! A test in the abstract gives facts, not bytes. Its fields without value
//! have every type a rule could list; the format adapter takes no part.

use std::borrow::Cow;

use crate::ast::{Block, Document, Expect, Given, GivenFields, OneOrMany, Test, Value};
use crate::engine::From;
use crate::engine::condition::UNKNOWN;
use crate::{
    Decision, Facts, Input, Leaf, LeafRole, Location, Markings, Node, Outcome, Policy, Scalar, SourceIx,
};

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TestResult {
    /// As the policy names it.
    pub name: String,
    /// Whether all that it expects came.
    pub passed: bool,
    /// What was expected and what came; empty if it passed.
    pub why: String,
    /// Where it stands.
    pub location: Location,
}

/// Runs every `[[test]]` of the document the policy was compiled from.
#[must_use]
pub fn run_tests(policy: &Policy, document: &Document) -> Vec<TestResult> {
    let one = |test: &Block<Test>| {
        let differences = run_test(policy, document, test);
        TestResult {
            name: test.name.clone(),
            passed: differences.is_empty(),
            why: differences.join("; "),
            location: test.at.clone(),
        }
    };
    document.test.iter().map(one).collect()
}

fn run_test(policy: &Policy, document: &Document, test: &Test) -> Vec<String> {
    play(policy, document, test, |_, decision| differences(policy, &test.expect, decision))
        .unwrap_or_else(|why| vec![why])
}

/// Decides a test's message, and shows it with its decision.
pub(crate) fn play<R>(
    policy: &Policy,
    document: &Document,
    test: &Test,
    look: impl FnOnce(&Input<'_>, &Decision<'_>) -> R,
) -> Result<R, String> {
    let Some(source) = policy.sources().iter().position(|source| source.id == test.given.source) else {
        return Err(format!("there is no source `{}`", test.given.source));
    };
    let Some(source) = SourceIx::from_index(source) else { return Err("too many sources".to_owned()) };
    let received = test.at.map_or(document.policy.valid_from, |date| date.start());
    let payload = test.given.payload.as_deref().unwrap_or_default().as_bytes();
    let properties: Vec<(&str, &str)> = match (&test.given.payload, &test.given.declared) {
        (Some(_), Some(word)) => vec![("sensitivity", word)],
        _ => Vec::new(),
    };
    let input = Input { source, topic: &test.given.topic, payload, user_properties: &properties, received };
    let decision = match test.given.payload {
        Some(_) => policy.decide(&input),
        None => policy.decide_facts(&input, facts_of(policy, source, &test.given)),
    };
    Ok(look(&input, &decision))
}

/// The facts of a test in the abstract.
pub(crate) fn facts_of<'g>(policy: &Policy, source: SourceIx, given: &'g Given) -> Facts<'g> {
    let mut facts = Facts { device: Some(Cow::Borrowed(given.topic.as_str())), ..Facts::default() };
    let tags = given.tags.iter().flatten();
    facts.tags = tags.map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(&**value))).collect();
    facts.measures = given.measures.iter().flatten().map(|name| Cow::Borrowed(&**name)).collect();
    facts.types =
        given.kind.iter().flat_map(OneOrMany::as_slice).map(|kind| Cow::Borrowed(&**kind)).collect();
    facts.declared = given.declared.as_deref().map(Cow::Borrowed);
    facts.commune = given.commune.as_deref().map(Cow::Borrowed);
    let commune_from = policy.gates.get(source.index()).and_then(|gate| gate.commune_from.as_ref());
    if let (Some(From::Tag(name)), Some(code)) = (commune_from, given.commune.as_deref()) {
        facts.tags.push((Cow::Owned(name.clone()), Cow::Borrowed(code)));
    }
    match &given.fields {
        Some(GivenFields::Names(names)) => names.iter().for_each(|name| add_field(&mut facts, name, UNKNOWN)),
        Some(GivenFields::Values(values)) => {
            values.iter().for_each(|(name, value)| add_field(&mut facts, name, scalar_of(value)));
        }
        None => {}
    }
    facts
}

fn add_field<'g>(facts: &mut Facts<'g>, name: &'g str, value: Scalar<'g>) {
    let mut parent = None;
    for key in name.split('.') {
        let node = u32::try_from(facts.nodes.len()).ok();
        facts.nodes.push(Node { key: Cow::Borrowed(key), parent });
        parent = node;
    }
    facts.leaves.push(Leaf { node: parent, value, role: LeafRole::Data { root: 0 } });
}

fn scalar_of(value: &Value) -> Scalar<'_> {
    match value {
        Value::Boolean(value) => Scalar::Boolean(*value),
        // The text of a number serves transforms only, and a test runs none.
        Value::Integer(value) => Scalar::Number(*value as f64, "0"),
        Value::Number(value) => Scalar::Number(*value, "0"),
        Value::Text(value) => Scalar::Text(Cow::Borrowed(value)),
    }
}

fn differences(policy: &Policy, expect: &Expect, decision: &Decision<'_>) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, expected: Option<String>, came: String| {
        if let Some(expected) = expected.filter(|expected| *expected != came) {
            differences.push(format!("{what}: expected `{expected}`, came `{came}`"));
        }
    };
    let none = || "none".to_owned();
    let reached: Vec<&str> =
        decision.targets(policy).map(|target| target_id(policy, target.index())).collect();
    let level = if decision.is_labelled() { decision.label.level.name() } else { "none" };
    let (space, target) = place_of(policy, decision);

    compare("outcome", expect.outcome.clone(), decision.outcome.name().to_owned());
    let reason = decision.outcome.reason().map_or_else(none, |reason| reason.name().to_owned());
    compare("reason", expect.reason.clone(), reason);
    compare("level", expect.level.map(|level| level.name().to_owned()), level.to_owned());
    let markings = expect.markings.as_ref().map(|markings| names_of(markings.iter().copied().collect()));
    compare("markings", markings, names_of(decision.label.markings));
    compare("space", expect.space.clone(), space.map_or_else(none, str::to_owned));
    compare("target", expect.target.clone(), target.map_or_else(none, str::to_owned));
    let copies = decision.copies().iter().filter_map(|copy| policy.copies().get(copy.index()));
    let mut copies: Vec<&str> = copies.map(|copy| copy.id.as_str()).collect();
    copies.sort_unstable();
    let expected = expect.copies.as_ref().map(|copies| {
        let mut copies: Vec<&str> = copies.iter().map(String::as_str).collect();
        copies.sort_unstable();
        copies.join(", ")
    });
    compare("copies", expected, copies.join(", "));
    for target in &expect.must_not_reach {
        if reached.contains(&target.as_str()) {
            differences.push(format!("it reaches `{target}`, which it must not"));
        }
    }
    differences
}

/// The space and target it goes to, or waits for.
fn place_of<'p>(policy: &'p Policy, decision: &Decision<'_>) -> (Option<&'p str>, Option<&'p str>) {
    let space = match &decision.outcome {
        Outcome::Routed { space, .. } => Some(*space),
        Outcome::Held { space, .. } => *space,
        Outcome::Quarantined(_) | Outcome::Refused(_) => None,
    };
    let space = space.and_then(|space| policy.spaces().get(space.index()));
    (space.map(|space| space.id.as_str()), space.map(|space| target_id(policy, space.target.index())))
}

fn target_id(policy: &Policy, target: usize) -> &str {
    policy.targets().get(target).map_or("", |target| &target.id)
}

fn names_of(markings: Markings) -> String {
    markings.iter().map(|marking| marking.name()).collect::<Vec<_>>().join(", ")
}
