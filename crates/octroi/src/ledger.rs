//! What the journal adds up to: totals, the policy in force, batch intents and
//! persistent MQTT sessions. It is never stored on its own: the journal keeps
//! it as the opaque snapshot at the head of each segment, and recovery applies
//! the records behind that snapshot again.
//!
//! INVARIANT: `apply` over a record's bytes and `add` of the tally that its
//! writer counted come to the same (`a_tally_counted_by_the_writer_is_the_one_read_back`).

mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use octroi_policy::{Outcome, Timestamp};
use serde::{Deserialize, Serialize};

use crate::outlet::Bounds;
use crate::record::{
    Aggregate, Exchanges, Fate, Input, Intent, Log, Message, Pause, Progress, RecordError, RecordKind,
    Refusal, StoredOutcome, What, WindowClosed, put_text,
};
use crate::snapshot::{self, SnapshotError};
use crate::usage::Usage;

/// The journal's bits.
pub const BITS: usize = 64;

/// What left a side log in one of the ways there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Messages: these moved in the balance.
    pub messages: u64,
    /// All that was kept, one target's share of a routed message included.
    pub entries: u64,
}

/// What a chunk of records, or a whole journal, holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tally {
    /// Publishes taken in: counted before they are decided, and again when records are read back.
    pub received: u64,
    /// To a primary space, on arrival.
    pub routed: u64,
    /// Kept, on arrival: a doubt.
    pub quarantined: u64,
    /// Kept, on arrival: no allowed target on that day.
    pub held: u64,
    /// Refused, on record.
    pub refused: u64,
    /// What left the side logs since.
    pub left: BTreeMap<Log, BTreeMap<What, Left>>,
    /// What the chunk announces: at most one fate.
    #[serde(skip)]
    pub fate: Option<Fate>,
    /// Bytes of its records, for the account of whoever wrote them: a chunk is of one sender.
    #[serde(skip)]
    pub bytes: u64,
    /// What the chunk says of its session's QoS 2 publishes.
    #[serde(skip)]
    pub exchanges: Option<Exchanges>,
    /// Records assigned, by the journal's bit.
    pub assigned: Vec<u64>,
    /// The latest policy time, microseconds.
    pub latest: i64,
    /// By copy: up to when its windows are published, microseconds.
    pub closed: BTreeMap<String, i64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            received: 0,
            routed: 0,
            quarantined: 0,
            held: 0,
            refused: 0,
            left: BTreeMap::new(),
            fate: None,
            bytes: 0,
            exchanges: None,
            assigned: vec![0; BITS],
            latest: i64::MIN,
            closed: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Counts one message, but for `received`.
    pub fn message(&mut self, outcome: &StoredOutcome, targets: u64, received: Timestamp) {
        match outcome {
            StoredOutcome::Routed { .. } => self.routed += 1,
            StoredOutcome::Quarantined(_) => self.quarantined += 1,
            StoredOutcome::Held(..) => self.held += 1,
        }
        self.assign(targets, received);
    }

    /// Counts a record's targets; all there is to count for a message that has an origin: where that moved
    /// in the balance, the fate beside it says.
    pub fn assign(&mut self, targets: u64, received: Timestamp) {
        for bit in bits_of(targets) {
            if let Some(assigned) = self.assigned.get_mut(usize::from(bit)) {
                *assigned += 1;
            }
        }
        self.latest = self.latest.max(received.0);
    }

    /// A window of a copy is published.
    pub fn close(&mut self, copy: &str, end: Timestamp) {
        let closed = self.closed.entry(copy.to_owned()).or_insert(end.0);
        *closed = end.0.max(*closed);
        self.latest = self.latest.max(end.0);
    }

    /// Counts one refusal, but for `received`.
    pub fn refusal(&mut self, received: Timestamp) {
        self.refused += 1;
        self.latest = self.latest.max(received.0);
    }

    /// Counts what becomes of kept messages.
    pub fn fate(&mut self, fate: &Fate) {
        let left = self.left.entry(fate.log).or_default().entry(fate.what).or_default();
        left.messages += fate.messages;
        left.entries += fate.seqs.len() as u64;
        self.latest = self.latest.max(fate.at);
    }

    /// Whose QoS 2 publishes the chunk speaks of.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.exchanges.as_ref().map(|exchanges| exchanges.session.as_str())
    }

    /// What left a side log in that way.
    #[must_use]
    pub fn left(&self, log: Log, what: What) -> Left {
        self.left.get(&log).and_then(|left| left.get(&what)).copied().unwrap_or_default()
    }

    /// Where the messages are by now.
    #[must_use]
    pub fn balance(&self) -> Balance {
        let messages = |log, what| signed(self.left(log, what).messages);
        let of_both = |what| Log::ALL.map(|log| messages(log, what)).iter().sum::<i64>();
        let released = Log::ALL.map(|log| messages(log, What::Released));
        let purged = Log::ALL.map(|log| messages(log, What::Purged));
        let expired = messages(Log::Hold, What::Expired);
        let [from_quarantine, from_hold] = released;
        let [quarantine_purged, hold_purged] = purged;
        Balance {
            routed: signed(self.routed) + of_both(What::Released),
            quarantined: signed(self.quarantined) + expired - from_quarantine - quarantine_purged,
            held: signed(self.held) - expired - from_hold - hold_purged,
            purged: of_both(What::Purged),
        }
    }

    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.routed += other.routed;
        self.quarantined += other.quarantined;
        self.held += other.held;
        self.refused += other.refused;
        for (log, ways) in &other.left {
            for (what, theirs) in ways {
                let mine = self.left.entry(*log).or_default().entry(*what).or_default();
                mine.messages += theirs.messages;
                mine.entries += theirs.entries;
            }
        }
        for (mine, theirs) in self.assigned.iter_mut().zip(&other.assigned) {
            *mine += theirs;
        }
        self.latest = self.latest.max(other.latest);
        for (copy, end) in &other.closed {
            self.close(copy, Timestamp(*end));
        }
    }
}

/// Where the messages of a tally are by now. Signed: below 0 something was done twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// To a primary space, those included that were released.
    pub routed: i64,
    /// In quarantine.
    pub quarantined: i64,
    /// In the hold log.
    pub held: i64,
    /// Gone from the side logs for good.
    pub purged: i64,
}

/// What became of a target's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Delivered.
    pub delivered: u64,
    /// Withheld at the second gate.
    pub withheld: u64,
}

/// The policy in force, as the journal knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochNote {
    /// Hex of the policy's hash.
    pub policy: String,
    /// Since when, microseconds.
    pub since: i64,
}

/// Since when, and why, a target gets nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Policy time, microseconds.
    pub since: i64,
    /// Why.
    pub why: String,
}

/// What the journal adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// Everything received.
    pub tally: Tally,
    /// By the journal's bit.
    pub done: BTreeMap<u8, Done>,
    /// By the journal's bit: everything below is delivered or in a side log. The journal's cursor is there too,
    /// or above, where what lies between is in the target's backlog.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub served: BTreeMap<u8, u64>,
    /// By the journal's bit: every record assigned to it stands below.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub assigned_below: BTreeMap<u8, u64>,
    /// By the sender's identity: what its messages take in the journal.
    #[serde(skip_serializing_if = "Usage::is_empty")]
    pub usage: Usage,
    /// The policy in force.
    pub epoch: EpochNote,
    /// Batches that may be on a target and are not below its cursor.
    pub intents: BTreeMap<u8, Vec<(u64, u64)>>,
    /// What was last announced for kept messages. The next is announced only after the tombstones of this one
    /// are synced, so this one alone may have to be finished after a crash.
    pub fate: Option<Fate>,
    /// Targets whose way is paused, by the journal's bit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<u8, Paused>,
    /// Persistent sessions: identity and client id, with their expiry in seconds.
    pub sessions: BTreeMap<String, u32>,
    /// Of those sessions: packet identifiers of QoS 2 publishes that were not released.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exchanges: BTreeMap<String, BTreeSet<u16>>,
    /// What both take of the snapshot.
    #[serde(skip)]
    session_bytes: u64,
}

impl Ledger {
    /// From the snapshot at the head of a segment; an empty one is a new journal's.
    ///
    /// # Errors
    /// It is of a later release, or none.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut ledger: Self = snapshot::read(bytes)?;
        ledger.count_sessions();
        Ok(ledger)
    }

    /// Appends the snapshot.
    pub fn write_snapshot(&self, out: &mut Vec<u8>) {
        snapshot::write(self, out);
    }

    /// Adds what a writer counted; `by`: the sender's identity, unless it was the hub.
    pub fn add(&mut self, tally: &Tally, by: Option<&str>) {
        self.tally.add(tally);
        if let Some(by) = by {
            self.usage.add(by, tally.bytes);
        }
        if let Some(fate) = &tally.fate {
            self.announced(fate.clone());
        }
        if let Some(exchanges) = &tally.exchanges {
            self.exchange(exchanges);
        }
    }

    fn announced(&mut self, fate: Fate) {
        self.tally.fate(&fate);
        self.fate = Some(fate);
    }

    /// Applies one record, as read back.
    ///
    /// # Errors
    /// The bytes are no record of that kind.
    pub fn apply(&mut self, kind: RecordKind, targets: u64, bytes: &[u8]) -> Result<(), RecordError> {
        match kind {
            RecordKind::Message => {
                let message = Message::read(bytes)?;
                if message.origin.is_some() {
                    self.tally.assign(targets, message.decided());
                } else {
                    self.tally.received += 1;
                    self.tally.message(&message.outcome, targets, message.received);
                    self.usage.add(message.identity, bytes.len() as u64);
                }
            }
            RecordKind::Refusal => {
                let refusal = Refusal::read(bytes)?;
                self.tally.received += 1;
                self.tally.refusal(refusal.received);
                self.usage.add(refusal.identity, bytes.len() as u64);
            }
            RecordKind::Progress => {
                let Progress { target, delivered, withheld, upto } = Progress::read(bytes)?;
                self.progressed(target, Done { delivered, withheld }, upto);
            }
            RecordKind::Intent => {
                let Intent { target, first, last } = Intent::read(bytes)?;
                self.intents.entry(target).or_default().push((first, last));
            }
            RecordKind::Epoch => {
                let mut input = Input(bytes);
                let since = input.i64("since")?;
                self.epoch = EpochNote { policy: input.text("policy")?.to_owned(), since };
                self.tally.latest = self.tally.latest.max(since);
            }
            RecordKind::SessionOpened | RecordKind::SessionExpiry | RecordKind::SessionEnded => {
                self.session(kind, bytes)?;
            }
            RecordKind::Exchanges => {
                let exchanges = Exchanges::read(bytes)?;
                self.exchange(&exchanges);
                self.usage.add(exchanges.identity(), bytes.len() as u64);
            }
            RecordKind::Fate => self.announced(Fate::read(bytes)?),
            RecordKind::Boundary => self.tally.latest = self.tally.latest.max(Input(bytes).i64("time")?),
            RecordKind::Aggregate => self.tally.assign(targets, Aggregate::read(bytes)?.end),
            RecordKind::WindowClosed => {
                let closed = WindowClosed::read(bytes)?;
                self.tally.close(closed.copy, closed.end);
            }
            RecordKind::Pause => {
                let Pause { target, paused, at, why } = Pause::read(bytes)?;
                if paused {
                    self.paused.insert(target, Paused { since: at.0, why: why.to_owned() });
                } else {
                    self.paused.remove(&target);
                }
            }
            RecordKind::Kept => {}
        }
        Ok(())
    }

    /// Records below `end` were assigned to these targets.
    pub fn assigned(&mut self, targets: u64, end: u64) {
        self.assigned_below.extend(bits_of(targets).map(|bit| (bit, end)));
    }

    /// A target's totals, and everything below `upto` is among them, the batches there too.
    pub fn progressed(&mut self, target: u8, done: Done, upto: Option<u64>) {
        self.done.insert(target, done);
        let Some(upto) = upto else { return };
        self.served.insert(target, upto);
        if let Some(intents) = self.intents.get_mut(&target) {
            intents.retain(|(_, last)| *last >= upto);
        }
    }

    /// The batches on record at or after `from`, oldest first.
    #[must_use]
    pub fn intents_from(&self, target: u8, from: u64) -> Vec<Bounds> {
        let intents = self.intents.get(&target).map(Vec::as_slice).unwrap_or_default();
        let mut bounds: Vec<Bounds> = intents
            .iter()
            .filter(|(_, last)| *last >= from)
            .map(|(first, last)| Bounds { first: *first, last: *last })
            .collect();
        bounds.sort_by_key(|bounds| bounds.first);
        bounds.dedup();
        bounds
    }

    /// What does not balance; 0 unless something was lost, counted twice, or left a side log twice.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let Balance { routed, quarantined, held, purged } = self.tally.balance();
        let placed = routed + quarantined + held + purged + signed(self.tally.refused);
        let twice = quarantined.min(0) + held.min(0);
        signed(self.tally.received) - placed + twice
    }

    /// Records assigned to a target and neither delivered nor withheld yet.
    #[must_use]
    pub fn pending(&self, target: u8) -> i64 {
        let assigned = self.tally.assigned.get(usize::from(target)).copied().unwrap_or(0);
        let done = self.done.get(&target).copied().unwrap_or_default();
        signed(assigned) - signed(done.delivered) - signed(done.withheld)
    }

    /// Of a target's records, those that were done with twice, or that are passed (everything below `served` is
    /// done with) though they were neither delivered nor withheld: the latter can be told once all are passed.
    #[must_use]
    pub fn unaccounted_of(&self, target: u8, served: u64) -> i64 {
        let pending = self.pending(target);
        let passed_all = self.assigned_below.get(&target).is_some_and(|end| served >= *end);
        if passed_all { pending.abs() } else { pending.min(0).abs() }
    }
}

/// The bits of a record's or a chunk's targets, lowest first.
fn bits_of(targets: u64) -> impl Iterator<Item = u8> {
    let mut rest = targets;
    std::iter::from_fn(move || {
        let below = rest.checked_sub(1)?;
        let bit = rest.trailing_zeros();
        rest &= below;
        u8::try_from(bit).ok()
    })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The bytes of an epoch record.
#[must_use]
pub fn epoch_record(policy_hex: &str, since: Timestamp) -> Vec<u8> {
    let mut out = since.0.to_le_bytes().to_vec();
    put_text(&mut out, policy_hex);
    out
}

/// The bytes of a session record (opened, or another expiry).
#[must_use]
pub fn session_record(session: &str, expiry_seconds: u32) -> Vec<u8> {
    let mut out = expiry_seconds.to_le_bytes().to_vec();
    put_text(&mut out, session);
    out
}

/// The bytes of a session record (ended).
#[must_use]
pub fn session_ended_record(session: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, session);
    out
}

/// How a decision is stored; a refusal is no message.
#[must_use]
pub fn stored(outcome: Outcome) -> Option<StoredOutcome> {
    Some(match outcome {
        Outcome::Routed { space, copies } => StoredOutcome::Routed { space, copies },
        Outcome::Quarantined(reason) => StoredOutcome::Quarantined(reason),
        Outcome::Held { reason, target, .. } => StoredOutcome::Held(reason, target),
        Outcome::Refused(_) => return None,
    })
}

#[cfg(test)]
mod tests;
