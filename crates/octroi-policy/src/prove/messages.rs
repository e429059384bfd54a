//! From what a proof found to a message that shows it: the rules that give a
//! label, asked for a message that they all match, which is decided before it
//! is shown.
//!
//! INVARIANT: what comes from here was decided as the finding says. Where
//! nothing does, the finding speaks of a label and not of a message.

use super::{Reach, classes};
use crate::ast::{Given, OneOrMany, When};
use crate::engine::Gate;
use crate::witness::Order;
use crate::{CommuneIx, Decision, Label, Policy};

/// How many communes, and messages in each, are tried for one witness.
const COMMUNES: usize = 64;
const PROPOSALS: usize = 32;

/// A message that gets that label by those rules, meets `also`, and whose decision `shows` what it should.
pub(super) fn message(
    policy: &Policy,
    (label, reach): (Label, &Reach),
    also: Option<&When>,
    shows: impl Fn(&Decision<'_>) -> bool,
) -> Option<Given> {
    let document = policy.document();
    let source = document.source.get(reach.source.index())?;
    let gate = policy.gates.get(reach.source.index())?;
    let domain = policy.domains().get(reach.domain.index())?;
    let rules = reach.rules.iter().filter_map(|rule| document.classify.get(usize::from(*rule)));
    let conditions: Vec<&When> = rules.map(|rule| &rule.when).chain(also).collect();
    let communes = communes(policy, reach, gate, &conditions);
    let received = document.policy.valid_from;
    communes.into_iter().take(COMMUNES).find_map(|commune| {
        let order = Order {
            source,
            filters: &source.topics,
            domain: &domain.id,
            commune: policy.cog().code(commune),
            conditions: conditions.clone(),
            fields: Vec::new(),
            declared: reach.by_word.then_some(label.level),
        };
        let shown = |given: &Given| {
            let decision = policy.decide_given(given, received);
            decision.is_some_and(|decision| decision.label == label && shows(&decision))
        };
        order.proposals().take(PROPOSALS).find(shown)
    })
}

/// Where to look: those that the rules name, then one of each set of covering spaces.
fn communes(policy: &Policy, reach: &Reach, gate: &Gate, conditions: &[&When]) -> Vec<CommuneIx> {
    let codes = conditions.iter().filter_map(|when| when.commune.as_ref()).flat_map(OneOrMany::as_slice);
    let mut found: Vec<CommuneIx> = codes.filter_map(|code| policy.cog().commune(code)).collect();
    for id in conditions.iter().filter_map(|when| when.perimeter.as_ref()).flat_map(OneOrMany::as_slice) {
        let named = policy.document().perimeter.iter().find(|perimeter| perimeter.id == *id);
        let inside = named.map(|named| policy.cog().perimeter(named).intersection(&gate.perimeter));
        found.extend(inside.and_then(|inside| inside.first()));
    }
    found.extend(classes(policy, reach.source, reach.domain).into_values());
    found
}
