//! From what a proof found to a message that shows it: the rules that give a
//! label, asked for a message that they all match, which is decided before it
//! is shown.
//!
//! INVARIANT: what comes from here was decided as the finding says. Where
//! nothing does, the finding speaks of a label and not of a message.

use super::{Reach, classes};
use crate::ast::{Given, OneOrMany, When};
use crate::engine::{From, Gate};
use crate::witness::Order;
use crate::{CommuneIx, Decision, Label, Policy};

/// How many communes, and messages in each, are tried for one witness.
const COMMUNES: usize = 64;
const PROPOSALS: usize = 32;

/// A message that gets that label by those rules, meets `also`, and whose decision `shows` what it should;
/// of the commune `first` if that does.
pub(super) fn message(
    policy: &Policy,
    (label, reach): (Label, &Reach),
    first: Option<CommuneIx>,
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
    first.into_iter().chain(communes).take(COMMUNES).find_map(|commune| {
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

/// Where to look: those that the conditions name, then one of each set of covering spaces.
fn communes(policy: &Policy, reach: &Reach, gate: &Gate, conditions: &[&When]) -> Vec<CommuneIx> {
    let cog = policy.cog();
    let mut found = Vec::new();
    for when in conditions {
        let mut codes: Vec<&str> =
            when.commune.iter().flat_map(OneOrMany::as_slice).map(String::as_str).collect();
        let filters = when.topic.iter().flat_map(OneOrMany::as_slice);
        match &gate.commune_from {
            Some(From::Tag(name)) => {
                let values = when.tags.iter().filter_map(|tags| tags.get(name));
                codes.extend(values.flat_map(OneOrMany::as_slice).map(String::as_str));
            }
            Some(From::Topic(level)) => {
                codes.extend(filters.filter_map(|filter| filter.split('/').nth(*level)));
            }
            None => {}
        }
        found.extend(codes.into_iter().filter_map(|code| cog.commune(code)));
        for id in when.perimeter.iter().flat_map(OneOrMany::as_slice) {
            let named = policy.document().perimeter.iter().find(|perimeter| perimeter.id == *id);
            found.extend(named.and_then(|named| cog.perimeter(named).intersection(&gate.perimeter).first()));
        }
    }
    found.extend(classes(policy, reach.source, reach.domain).into_values().filter_map(|set| set.first()));
    found
}
