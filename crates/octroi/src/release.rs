//! What a kept message comes to now: whether the policy in force lets it go,
//! and as what record.
//!
//! A whole message (kept on arrival) is decided again from its recorded inputs,
//! as if it had come today. One target's share of a routed message (withheld at
//! the gate, or refused by the target) goes through the gate's own question:
//! was the target in the decision then, and is it now? Its record stays as it
//! was, so that the gate asks again when it leaves. An aggregate is such a share.
//!
//! Pure: no I/O, no clock.
//!
//! INVARIANT: nothing goes that the policy in force does not route.

use std::cell::RefCell;

use octroi_policy::{KeySource, Outcome, PseudonymKey, Reason, Timestamp};

use crate::gate::{Gate, Withheld};
use crate::ledger::stored;
use crate::policies::{Active, Policies};
use crate::record::{Aggregate, Kept, Message, Origin, RecordKind, StoredOutcome};

/// What a kept message comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It goes.
    Goes(Going<'a>),
    /// It stays, for this reason.
    Stays(&'static str),
}

/// A kept message on its way again.
#[derive(Debug, PartialEq, Eq)]
pub struct Going<'a> {
    /// What its new record is.
    pub kind: RecordKind,
    /// The header of its new record.
    pub header: Vec<u8>,
    /// What follows it: as it was.
    pub payload: &'a [u8],
    /// The bits of the targets that it goes to.
    pub targets: u64,
}

/// Judging needs no key: pseudonyms are made when a copy leaves.
struct NoKeys;

impl KeySource for NoKeys {
    fn key(&self, _: &str, _: &str) -> Option<PseudonymKey> {
        None
    }
}

/// Judges a kept message by the policy in force.
#[must_use]
pub fn judge<'a>(kept: &Kept<'a>, policies: &Policies, active: &Active, now: Timestamp) -> Verdict<'a> {
    let Ok(message) = Message::read(kept.message) else { return aggregate(kept, policies, active, now) };
    match message.outcome {
        StoredOutcome::Routed { .. } => share(kept, &message, policies, active, now),
        StoredOutcome::Quarantined(_) | StoredOutcome::Held(..) => whole(kept, &message, active, now),
    }
}

/// Whether a kept record is a whole message, and not one target's share of a message that was routed.
#[must_use]
pub fn is_whole(message: &[u8]) -> bool {
    Message::read(message).is_ok_and(|message| !matches!(message.outcome, StoredOutcome::Routed { .. }))
}

/// What was kept in the epoch of now was judged by it already: no need to ask again before the next.
#[must_use]
pub fn was_judged(kept: &Kept<'_>, active: &Active, now: Timestamp) -> bool {
    kept.policy == active.policy64 && active.epoch(kept.since.date()) == active.epoch(now.date())
}

/// The gate of a target, to ask and not to pass.
fn gate<'a>(target: &'a str, policies: &'a Policies, active: &'a Active, now: Timestamp) -> Gate<'a> {
    Gate { policies, active, target, origin: "", now, keys: &NoKeys, scratch: RefCell::default() }
}

fn share<'a>(
    kept: &Kept<'_>,
    message: &Message<'a>,
    policies: &Policies,
    active: &Active,
    now: Timestamp,
) -> Verdict<'a> {
    let gate = gate(kept.target, policies, active, now);
    match gate.ways(message) {
        Err(withheld) => Verdict::Stays(withheld.name()),
        Ok(ways) if ways.open.is_empty() => Verdict::Stays(Withheld::NotAllowed.name()),
        Ok(_) => match active.bit_of(kept.target) {
            None => Verdict::Stays(Withheld::TargetRemoved.name()),
            Some(bit) => {
                let decided = message.decided();
                let record = Message { origin: origin(kept, message, decided), ..message.clone() };
                going(&record, message.payload, bit.mask())
            }
        },
    }
}

/// An aggregate that its target's gate withheld: what it says now.
fn aggregate<'a>(kept: &Kept<'a>, policies: &Policies, active: &Active, now: Timestamp) -> Verdict<'a> {
    let Ok(made) = Aggregate::read(kept.message) else { return Verdict::Stays(Withheld::Unreadable.name()) };
    let gate = gate(kept.target, policies, active, now);
    match (gate.pass_aggregate(kept.origin, &made, |_| ()), active.bit_of(kept.target)) {
        (Err(withheld), _) => Verdict::Stays(withheld.name()),
        (Ok(()), None) => Verdict::Stays(Withheld::TargetRemoved.name()),
        (Ok(()), Some(bit)) => Verdict::Goes(Going {
            kind: RecordKind::Aggregate,
            header: Vec::new(),
            payload: kept.message,
            targets: bit.mask(),
        }),
    }
}

fn whole<'a>(kept: &Kept<'_>, message: &Message<'a>, active: &Active, now: Timestamp) -> Verdict<'a> {
    let Some(source) = active.source(message.identity) else {
        return Verdict::Stays(Reason::UnknownSource.name());
    };
    let input = message.input(source, now);
    let decision = active.policy.decide(&input);
    let routed = match &decision.outcome {
        Outcome::Routed { .. } => stored(decision.outcome.clone()),
        Outcome::Quarantined(_) | Outcome::Held { .. } | Outcome::Refused(_) => None,
    };
    let Some(outcome) = routed else {
        return Verdict::Stays(decision.outcome.reason().map_or("", Reason::name));
    };
    let targets = active.targets(&outcome);
    let record = Message {
        policy: active.policy64,
        origin: origin(kept, message, now),
        time: decision.time,
        outcome,
        label: decision.label,
        domain: decision.domain,
        commune: decision.commune.map_or("", |commune| active.policy.cog().code(commune)),
        device: decision.device.as_deref().unwrap_or_default(),
        ..message.clone()
    };
    going(&record, message.payload, targets)
}

/// The first record of the message: its id for whoever receives it, however often it was kept.
fn origin(kept: &Kept<'_>, message: &Message<'_>, decided: Timestamp) -> Option<Origin> {
    let first = message.origin.map_or((kept.generation, kept.origin), |first| (first.generation, first.seq));
    let (generation, seq) = first;
    Some(Origin { generation, seq, decided })
}

fn going<'a>(record: &Message<'_>, payload: &'a [u8], targets: u64) -> Verdict<'a> {
    let mut header = Vec::new();
    record.write_header(&mut header);
    Verdict::Goes(Going { kind: RecordKind::Message, header, payload, targets })
}
