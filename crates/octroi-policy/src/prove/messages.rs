//! From what a proof found to a message that shows it: the rules that give a
//! label, asked for a message that they all match, which is decided before it
//! is shown.
//!
//! INVARIANT: what comes out of [`message`] was decided as the finding says.
//! Where nothing does, the finding speaks of a label and not of a message.

use super::{Arrival, Reach, classes};
use crate::ast::{Given, Via, When};
use crate::witness::Order;
use crate::{CommuneIx, Decision, Label, Outcome, Policy};

/// How many communes, and messages in each, are tried for one witness.
const COMMUNES: usize = 64;
const PROPOSALS: usize = 32;

/// A message that gets that label by those rules, meets `also`, and in whose decision `look` sees what it
/// should; of the commune `first` if that does.
pub(crate) fn message<R>(
    policy: &Policy,
    (label, reach): (Label, &Reach),
    first: Option<CommuneIx>,
    also: Option<&When>,
    look: impl Fn(&Decision<'_>) -> Option<R>,
) -> Option<(Given, R)> {
    let received = policy.document().policy.valid_from;
    candidates(policy, (label, reach), first, also).find_map(|given| {
        let decision = policy.decide_given(&given, received).filter(|decision| decision.label == label)?;
        Some((given, look(&decision)?))
    })
}

/// A message that goes that way, and the space or copy that takes it.
pub(super) fn along(policy: &Policy, way: &Arrival<'_>, reach: &Reach) -> Option<(Given, String)> {
    let copy = policy.document().copy.iter().find(|copy| way.via == Via::Copy && copy.id == way.name);
    let when = copy.and_then(|copy| copy.when.as_ref());
    message(policy, (way.label, reach), None, when, |decision| takes(policy, way, decision))
}

/// The space or copy by which a decision goes that way, if it does.
fn takes(policy: &Policy, way: &Arrival<'_>, decision: &Decision<'_>) -> Option<String> {
    let Outcome::Routed { space, copies } = &decision.outcome else { return None };
    if way.via == Via::Copy {
        let mut ids = copies.iter().filter_map(|copy| policy.copies().get(copy.index())).map(|copy| &copy.id);
        return ids.find(|id| *id == way.name).cloned();
    }
    let space = policy.spaces().get(space.index()).filter(|space| space.target == way.target);
    space.map(|space| space.id.clone())
}

/// Messages that may get the label by those rules, not decided yet.
pub(crate) fn candidates<'p>(
    policy: &'p Policy,
    (label, reach): (Label, &Reach),
    first: Option<CommuneIx>,
    also: Option<&'p When>,
) -> impl Iterator<Item = Given> + use<'p> {
    let cog = policy.cog();
    let order = order(policy, (label, reach)).map(|mut order| {
        order.conditions.extend(also);
        order
    });
    let mut communes: Vec<&str> = first.map(|commune| cog.code(commune)).into_iter().collect();
    if let Some(order) = &order {
        communes.extend(order.communes());
        let left = order.reach();
        let classes = classes(policy, reach.source, reach.domain).into_values();
        // One of each set of covering spaces.
        let of_each = classes.filter_map(|class| class.intersection(&left).first());
        communes.extend(of_each.map(|commune| cog.code(commune)));
    }
    communes.into_iter().take(COMMUNES).flat_map(move |commune| {
        let proposals = order.clone().into_iter().flat_map(move |order| order.proposals_in(commune));
        proposals.take(PROPOSALS)
    })
}

/// The message that the rules of a label ask for.
pub(crate) fn order<'p>(policy: &'p Policy, (label, reach): (Label, &Reach)) -> Option<Order<'p>> {
    let document = policy.document();
    let source = document.source.get(reach.source.index())?;
    let domain = policy.domains().get(reach.domain.index())?;
    let rules = reach.rules.iter().filter_map(|rule| document.classify.get(usize::from(*rule)));
    let conditions = rules.map(|rule| &rule.when).collect();
    let declared = reach.by_word.then_some(label.level);
    Some(Order { declared, ..Order::new(document, Some(policy.cog()), source, &domain.id, conditions) })
}
