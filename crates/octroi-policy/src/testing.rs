//! The tests that a policy carries (C34): each message is decided, and what
//! comes is compared with what is expected, no more than the test names.
//!
//! A test in the abstract gives facts, not bytes. Its fields without value
//! have every type a rule could list; the format adapter takes no part.

use std::borrow::Cow;

use serde::Serialize;

use crate::ast::{Block, Document, Expect, Given, GivenFields, OneOrMany, Test, Value};
use crate::engine::From;
use crate::engine::condition::UNKNOWN;
use crate::text::text;
use crate::{
    Decision, Explanation, Facts, Input, Leaf, LeafRole, Location, Markings, Node, Outcome, Policy, Scalar,
    SourceIx, Text, Timestamp,
};

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// As the policy names it.
    pub name: String,
    /// Whether all that it expects came.
    pub passed: bool,
    /// What was expected and what came; empty if it passed.
    pub why: Text,
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
            why: Text::join(&differences, "; ", " ; "),
            location: test.at.clone(),
        }
    };
    document.test.iter().map(one).collect()
}

fn run_test(policy: &Policy, document: &Document, test: &Test) -> Vec<Text> {
    let played = play(policy, document, test, |_, decision| differences(policy, &test.expect, decision));
    played.unwrap_or_else(|| {
        let source = &test.given.source;
        vec![text!("there is no source `{source}`", "il n'y a pas de source `{source}`")]
    })
}

/// Decides a test's message, and shows it with its decision; `None`: the policy does not know its source.
pub(crate) fn play<R>(
    policy: &Policy,
    document: &Document,
    test: &Test,
    look: impl FnOnce(&Input<'_>, &Decision<'_>) -> R,
) -> Option<R> {
    let received = test.at.map_or(document.policy.valid_from, |date| date.start());
    policy.with_given(&test.given, received, |input, decision| look(input, &decision))
}

impl Policy {
    /// Decides the message of a test or a witness; `None`: it names a source that the policy does not know.
    #[must_use]
    pub fn decide_given(&self, given: &Given, received: Timestamp) -> Option<Decision<'static>> {
        self.with_given(given, received, |_, decision| decision.into_owned())
    }

    fn with_given<R>(
        &self,
        given: &Given,
        received: Timestamp,
        look: impl FnOnce(&Input<'_>, Decision<'_>) -> R,
    ) -> Option<R> {
        let properties = given.properties();
        let input = self.input_of(given, &properties, received)?;
        let decision = match given.payload {
            Some(_) => self.decide(&input),
            None => self.decide_facts(&input, facts_of(self, input.source, given)),
        };
        Some(look(&input, decision))
    }

    /// [`Self::decide_given`], with its reasons.
    #[must_use]
    pub fn explain_given(&self, given: &Given, received: Timestamp) -> Option<Explanation> {
        let properties = given.properties();
        let input = self.input_of(given, &properties, received)?;
        Some(match given.payload {
            Some(_) => self.explain(&input),
            None => self.explain_facts(&input, &facts_of(self, input.source, given)),
        })
    }

    fn input_of<'g>(
        &self,
        given: &'g Given,
        user_properties: &'g [(&'g str, &'g str)],
        received: Timestamp,
    ) -> Option<Input<'g>> {
        let source = self.sources().iter().position(|source| source.id == given.source)?;
        let source = SourceIx::from_index(source)?;
        let payload = given.payload.as_deref().unwrap_or_default().as_bytes();
        Some(Input { source, topic: &given.topic, payload, user_properties, received })
    }
}

impl Given {
    /// With a payload the sender's word comes beside it; abstract facts hold it themselves.
    fn properties(&self) -> Vec<(&str, &str)> {
        let word = self.declared.as_deref().filter(|_| self.payload.is_some());
        word.map(|word| ("sensitivity", word)).into_iter().collect()
    }
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

fn differences(policy: &Policy, expect: &Expect, decision: &Decision<'_>) -> Vec<Text> {
    let mut differences = Vec::new();
    let mut compare = |key: &str, expected: Option<String>, came: String| {
        if let Some(expected) = expected.filter(|expected| *expected != came) {
            differences.push(text!(
                "`{key}`: expected `{expected}`, came `{came}`",
                "`{key}` : attendu `{expected}`, obtenu `{came}`",
            ));
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
            differences.push(text!(
                "it reaches `{target}`, which it must not",
                "il atteint `{target}`, ce qui ne doit pas être",
            ));
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
