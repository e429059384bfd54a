//! The gate of aggregates, both sides: what a message may add to one, and
//! whether one may leave. A message adds only while the copy is open to it,
//! then and now; an aggregate leaves only if the policy in force still makes
//! that copy in the same way, and allows its target for what the contributors
//! were together.

use octroi_policy::aggregate::{Contribution, Contributor};
use octroi_policy::{CopyInfo, CopyIx, Policy, TransformInput};

use super::{Gate, Outgoing, Permit, Way, Ways, Withheld, markings};
use crate::outlet::Event;
use crate::record::{Aggregate, Message, StoredOutcome};

impl Gate<'_> {
    /// The aggregating copies that a message may add to.
    ///
    /// # Errors
    /// Why there is none.
    pub fn aggregating(&self, message: &Message<'_>) -> Result<Ways, Withheld> {
        self.open(message, |policy, outcome| {
            let StoredOutcome::Routed { copies, .. } = outcome else { return Vec::new() };
            let aggregates = |copy: &CopyIx| {
                policy.copies().get(copy.index()).is_some_and(|rule| rule.aggregate().is_some())
            };
            copies.iter().copied().filter(aggregates).map(Way::Copy).collect()
        })
    }

    /// What a message adds by one of those copies.
    ///
    /// # Errors
    /// Why it adds nothing.
    pub fn contribution(
        &self,
        message: &Message<'_>,
        ways: &Ways,
        rule: &CopyInfo,
    ) -> Result<Contribution, Withheld> {
        let plan = rule.aggregate().ok_or(Withheld::NotAllowed)?;
        let source = self.source(message).and_then(|source| self.active.policy.sources().get(source.index()));
        let source = source.ok_or(Withheld::NotAllowed)?;
        let (domain, space) = self.decided(message).ok_or(Withheld::PolicyUnknown)?;
        let facts = self.read(source.format, message)?;
        let input = TransformInput {
            facts: &facts,
            payload: message.payload,
            topic: message.topic,
            device: Some(message.device).filter(|device| !device.is_empty()),
            domain: &domain,
            commune: Some(message.commune).filter(|commune| !commune.is_empty()),
            producer: &source.producer,
            purpose: &rule.purpose,
            copy: &rule.id,
            received: message.received,
            record_id: "",
        };
        let contributor =
            Contributor { message: input, source: &source.id, space: &space, label: ways.label };
        plan.contribution(&contributor, self.keys).map_err(|_| Withheld::TransformRefused)
    }

    /// The ids of domain and primary space, by the policy that decided.
    fn decided(&self, message: &Message<'_>) -> Option<(String, String)> {
        let StoredOutcome::Routed { space, .. } = &message.outcome else { return None };
        let ids = |policy: &Policy| {
            let domain = policy.domains().get(message.domain?.index())?;
            Some((domain.id.clone(), policy.spaces().get(space.index())?.id.clone()))
        };
        if message.policy == self.active.policy64 {
            ids(&self.active.policy)
        } else {
            ids(self.policies.version(message.policy)?.as_ref())
        }
    }

    /// Hands an aggregate to `leave`, if it may leave now.
    ///
    /// # Errors
    /// It may not.
    pub fn pass_aggregate<R>(
        &self,
        seq: u64,
        aggregate: &Aggregate<'_>,
        leave: impl FnOnce(&Outgoing<'_>) -> R,
    ) -> Result<R, Withheld> {
        let policy = &self.active.policy;
        let place = policy.copies().iter().position(|rule| rule.id == aggregate.copy);
        let copy = place.and_then(CopyIx::from_index).ok_or(Withheld::NotAllowed)?;
        let rule = policy.copies().get(copy.index()).ok_or(Withheld::NotAllowed)?;
        let made_so = rule.aggregate().is_some_and(|plan| plan.fingerprint() == aggregate.plan);
        let target = policy.targets().get(rule.to.index());
        if !made_so || target.is_none_or(|target| target.id != self.target) {
            return Err(Withheld::NotAllowed);
        }
        let label = policy.admit_aggregate(copy, aggregate.label, self.now.date());
        let label = label.ok_or(Withheld::NotAllowed)?;
        let event = Event {
            seq,
            id: aggregate.id,
            // It has many sources: the copy stands for them.
            source: &rule.id,
            topic: aggregate.topic,
            time: aggregate.end,
            received: aggregate.end,
            device: None,
            content_type: "application/json",
            level: label.level,
            markings: &markings(label),
            policy_version: policy.version(),
            space: &rule.id,
            namespace: &rule.namespace,
            domain: aggregate.domain,
            commune: Some(aggregate.commune).filter(|commune| !commune.is_empty()),
            producer: aggregate.producer,
            decision: None,
            payload: aggregate.payload,
        };
        let outgoing = Outgoing::new(Permit { seq }, event).ok_or(Withheld::Unreadable)?;
        Ok(leave(&outgoing))
    }
}
