//! The second gate: may this record leave for this target, now, and as what?
//!
//! A message can wait for days. Within the policy epoch of its decision the
//! stored decision stands. In a later one the policy in force decides again
//! from the same inputs, and a way out is open only if it was open then AND is
//! open now: a tightening acts on what waits, a loosening does not.
//!
//! Pure: no I/O but the key source's, no clock.
//!
//! INVARIANT: an [`Outgoing`] is made here and nowhere else, and only with the
//! permit for its own record and target.

mod aggregate;

use std::cell::RefCell;
use std::fmt::Write as _;

use octroi_policy::ast::Format;
use octroi_policy::json::Scratch;
use octroi_policy::{
    CopyInfo, CopyIx, Decision, Facts, KeySource, Label, Policy, SourceIx, SpaceIx, TargetIx, Timestamp,
    TransformInput, TransformPlan, Transformed, read_with,
};

use crate::outlet::Event;
use crate::policies::{Active, Policies};
use crate::record::{Message, Origin, StoredOutcome};

/// The right to hand one record to one target.
/// INVARIANT: made only by the gate, from a decision. No `Clone`, no `Deserialize`.
///
/// ```compile_fail
/// let permit = octroi::gate::Permit { seq: 1 };
/// ```
#[derive(Debug)]
pub struct Permit {
    seq: u64,
}

/// A record that passed the gate.
#[derive(Debug)]
pub struct Outgoing<'a> {
    permit: Permit,
    event: Event<'a>,
}

impl<'a> Outgoing<'a> {
    fn new(permit: Permit, event: Event<'a>) -> Option<Self> {
        (permit.seq == event.seq).then_some(Self { permit, event })
    }

    /// What leaves.
    #[must_use]
    pub fn event(&self) -> &Event<'a> {
        &self.event
    }

    /// Whose permit it carries.
    #[must_use]
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// A record as if it had passed the gate.
    #[cfg(test)]
    pub(crate) fn for_tests(event: Event<'a>) -> Self {
        Self { permit: Permit { seq: event.seq }, event }
    }
}

/// Why a record may not leave. Stable names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The policy in force no longer allows this target for it.
    NotAllowed,
    /// The policy in force no longer names the target.
    TargetRemoved,
    /// The version that decided is not stored any more, so nothing can be compared.
    PolicyUnknown,
    /// The transform refused this message.
    TransformRefused,
    /// The record could not be read.
    Unreadable,
}

impl Withheld {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::TargetRemoved => "target_removed",
            Self::PolicyUnknown => "policy_unknown",
            Self::TransformRefused => "transform_refused",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether the message waits in the hold log until a policy allows it. What a transform could not make
    /// is no message: its original went its own way.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::NotAllowed | Self::TargetRemoved | Self::PolicyUnknown | Self::Unreadable)
    }
}

/// One way out of a message to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it is, to its primary space.
    Primary(SpaceIx),
    /// By a copy rule.
    Copy(CopyIx),
}

/// What one relay needs to gate: its target, and the hub's names.
pub struct Gate<'a> {
    /// All policies of the hub.
    pub policies: &'a Policies,
    /// The one in force, taken once for the batch.
    pub active: &'a Active,
    /// The target's id.
    pub target: &'a str,
    /// `hub/generation`.
    pub origin: &'a str,
    /// Policy time.
    pub now: Timestamp,
    /// Pseudonymisation keys.
    pub keys: &'a dyn KeySource,
    /// Memory from one message to the next.
    pub scratch: RefCell<Scratch>,
}

/// The ways out of one record, and the label that they were allowed for.
#[derive(Debug, PartialEq)]
pub struct Ways {
    /// Open now.
    pub open: Vec<Way>,
    /// What the message is, then and now joined.
    pub label: Label,
}

impl Gate<'_> {
    /// The ways of a message to this target that are open.
    ///
    /// # Errors
    /// Why none is.
    pub fn ways(&self, message: &Message<'_>) -> Result<Ways, Withheld> {
        if !self.stands(message) && target_of(&self.active.policy, self.target).is_none() {
            return Err(Withheld::TargetRemoved);
        }
        self.open(message, |policy, outcome| ways_to(policy, self.target, outcome))
    }

    /// Whether the decision on record is one of today's policy epoch.
    fn stands(&self, message: &Message<'_>) -> bool {
        self.active.epoch(message.decided().date()) == self.active.epoch(self.now.date())
            && self.active.policy64 == message.policy
    }

    /// Of the ways that `among` finds in an outcome, those that are open.
    fn open(
        &self,
        message: &Message<'_>,
        among: impl Fn(&Policy, &StoredOutcome) -> Vec<Way>,
    ) -> Result<Ways, Withheld> {
        if self.stands(message) {
            return Ok(Ways { open: among(&self.active.policy, &message.outcome), label: message.label });
        }
        let then_policy = self.policies.version(message.policy).ok_or(Withheld::PolicyUnknown)?;
        let then = among(&then_policy, &message.outcome);
        let now = self.decide_again(message).ok_or(Withheld::NotAllowed)?;
        let outcome = crate::ledger::stored(now.outcome).ok_or(Withheld::NotAllowed)?;
        let now_policy = &self.active.policy;
        let was_open = |way: &Way| match way {
            // The space may have another name now: what counts is that the original itself may live there.
            Way::Primary(_) => then.iter().any(|then| matches!(then, Way::Primary(_))),
            Way::Copy(copy) => then.iter().any(|then| match then {
                Way::Primary(_) => false,
                Way::Copy(then) => covers(&then_policy, *then, now_policy, *copy),
            }),
        };
        let open: Vec<Way> = among(now_policy, &outcome).into_iter().filter(was_open).collect();
        if open.is_empty() {
            return Err(Withheld::NotAllowed);
        }
        Ok(Ways { open, label: message.label.join(now.label) })
    }

    fn source(&self, message: &Message<'_>) -> Option<SourceIx> {
        self.active.source(message.identity)
    }

    fn decide_again<'m>(&self, message: &Message<'m>) -> Option<Decision<'m>>
    where
        Self: 'm,
    {
        let source = self.source(message)?;
        let input = message.input(source, self.now);
        // The decision's borrowed parts (device, time) are the record's own; only outcome and label matter here.
        let decision = self.active.policy.decide_with(&input, &mut self.scratch.borrow_mut());
        Some(Decision {
            outcome: decision.outcome,
            label: decision.label,
            domain: decision.domain,
            commune: decision.commune,
            device: None,
            time: decision.time,
            kind: decision.kind,
        })
    }

    /// Makes what leaves by one way and hands it to `leave`.
    ///
    /// # Errors
    /// The transform cannot run, or refused.
    pub fn pass<R>(
        &self,
        seq: u64,
        message: &Message<'_>,
        ways: &Ways,
        way: Way,
        leave: impl FnOnce(&Outgoing<'_>) -> R,
    ) -> Result<R, Withheld> {
        let policy = &self.active.policy;
        let source = self.source(message).and_then(|source| policy.sources().get(source.index()));
        let source = source.ok_or(Withheld::NotAllowed)?;
        let domain = message.domain.and_then(|domain| policy.domains().get(domain.index()));
        let domain = domain.map_or("", |domain| domain.id.as_str());
        let decision = self.id(seq);
        // Whatever was kept and released is the same message, and has the id of its first record.
        let first = message.origin.map(|origin| self.first_id(origin));
        let id = first.as_deref().unwrap_or(&decision);
        let commune = Some(message.commune).filter(|commune| !commune.is_empty());
        let device = Some(message.device).filter(|device| !device.is_empty());
        let mut event = Event {
            seq,
            id,
            source: &source.id,
            topic: message.topic,
            time: message.time.unwrap_or(message.received),
            received: message.received,
            device,
            content_type: content_type(source.format, message.payload),
            level: ways.label.level,
            markings: "",
            policy_version: policy.version(),
            space: "",
            namespace: "",
            domain,
            commune,
            producer: &source.producer,
            decision: Some(&decision),
            payload: message.payload,
        };
        let leave = |event: Event<'_>| {
            Outgoing::new(Permit { seq }, event)
                .map_or(Err(Withheld::Unreadable), |outgoing| Ok(leave(&outgoing)))
        };
        match way {
            Way::Primary(space) => {
                let space = policy.spaces().get(space.index()).ok_or(Withheld::Unreadable)?;
                let markings = markings(ways.label);
                (event.space, event.namespace, event.markings) = (&space.id, &space.namespace, &markings);
                leave(event)
            }
            Way::Copy(copy) => {
                let rule = policy.copies().get(copy.index()).ok_or(Withheld::Unreadable)?;
                let label = policy.copy_label(copy, ways.label);
                let markings = markings(label);
                (event.space, event.namespace, event.markings) = (&rule.id, &rule.id, &markings);
                event.level = label.level;
                let Some(plan) = &rule.transform else {
                    let copy_id = format!("{id}/{}", rule.id);
                    event.id = &copy_id;
                    return leave(event);
                };
                let made = self.make(message, source.format, &event, rule, plan)?;
                leave(transformed(event, &made))
            }
        }
    }

    /// The id of a record of this journal.
    fn id(&self, seq: u64) -> String {
        let mut id = String::with_capacity(self.origin.len() + 21);
        id.push_str(self.origin);
        // Writing to a `String` cannot fail.
        write!(id, "/{seq}").unwrap_or_default();
        id
    }

    /// The id of a message's first record, which may be of an earlier journal.
    fn first_id(&self, Origin { generation, seq, .. }: Origin) -> String {
        let hub = self.origin.rsplit_once('/').map_or(self.origin, |(hub, _)| hub);
        format!("{hub}/{generation:016x}/{seq}")
    }

    /// What a message's payload holds.
    fn read<'m>(&self, format: Format, message: &Message<'m>) -> Result<Facts<'m>, Withheld> {
        read_with(format, message.topic, message.payload, &mut self.scratch.borrow_mut())
            .map_err(|_| Withheld::TransformRefused)
    }

    /// The transformed copy of a message; `event` is the original as it would leave.
    fn make(
        &self,
        message: &Message<'_>,
        format: Format,
        event: &Event<'_>,
        rule: &CopyInfo,
        plan: &TransformPlan,
    ) -> Result<Transformed, Withheld> {
        let facts = self.read(format, message)?;
        let input = TransformInput {
            facts: &facts,
            payload: message.payload,
            topic: message.topic,
            device: event.device,
            domain: event.domain,
            commune: event.commune,
            producer: event.producer,
            purpose: &rule.purpose,
            copy: &rule.id,
            received: message.received,
            record_id: event.id,
        };
        plan.apply(&input, self.keys).map_err(|_| Withheld::TransformRefused)
    }
}

/// The envelope of a transformed copy is made of transformed facts alone: what the transform did not make is
/// absent, or the copy would link back to the original.
fn transformed<'a>(event: Event<'a>, made: &'a Transformed) -> Event<'a> {
    // Without a step for it, the day is all that is told of the time.
    let time = made.time.unwrap_or_else(|| event.received.date().start());
    Event {
        id: &made.id,
        topic: &made.topic,
        time,
        received: time,
        device: made.device.as_deref(),
        commune: made.commune.as_deref(),
        decision: None,
        payload: &made.payload,
        content_type: "application/json",
        ..event
    }
}

fn target_of(policy: &Policy, id: &str) -> Option<TargetIx> {
    policy.targets().iter().position(|target| target.id == id).and_then(TargetIx::from_index)
}

fn ways_to(policy: &Policy, target: &str, outcome: &StoredOutcome) -> Vec<Way> {
    let StoredOutcome::Routed { space, copies } = outcome else { return Vec::new() };
    let target = target_of(policy, target);
    let primary = policy.spaces().get(space.index()).filter(|space| Some(space.target) == target);
    let primary = primary.map(|_| Way::Primary(*space));
    let copies = copies.iter().copied();
    // What a copy aggregates does not leave as a message.
    let to_target = |copy: &CopyIx| {
        let rule = policy.copies().get(copy.index());
        rule.is_some_and(|rule| Some(rule.to) == target && rule.aggregate().is_none())
    };
    primary.into_iter().chain(copies.filter(to_target).map(Way::Copy)).collect()
}

/// Whether a copy of then allows that copy now: the same one, and not raw where it was transformed.
fn covers(then_policy: &Policy, then: CopyIx, now_policy: &Policy, now: CopyIx) -> bool {
    let then = then_policy.copies().get(then.index());
    let now = now_policy.copies().get(now.index());
    then.zip(now)
        .is_some_and(|(then, now)| then.id == now.id && (then.transform.is_none() || now.transform.is_some()))
}

fn markings(label: Label) -> String {
    let mut text = String::new();
    for marking in label.markings.iter() {
        if text.is_empty() {
            text.reserve(64);
        } else {
            text.push(',');
        }
        text.push_str(marking.name());
    }
    text
}

/// What the payload is, as the decision read it: two formats send bare words beside their JSON, and in one a
/// payload is protobuf or JSON.
fn content_type(format: Format, payload: &[u8]) -> &'static str {
    let json = matches!(payload.first(), Some(b'{' | b'[' | b' ' | b'\t' | b'\n' | b'\r'));
    match format {
        Format::Opaque => "application/octet-stream",
        Format::SparkplugB if !json => "application/octet-stream",
        Format::Zigbee2mqtt | Format::Tasmota if !json => "text/plain; charset=utf-8",
        Format::Senml => "application/senml+json",
        Format::NgsiLd => "application/ld+json",
        Format::Json
        | Format::ChirpstackV4
        | Format::TtsV3
        | Format::SparkplugB
        | Format::Zigbee2mqtt
        | Format::Tasmota
        | Format::Shelly => "application/json",
    }
}

#[cfg(test)]
pub(crate) mod tests;
