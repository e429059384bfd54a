//! The seam to hosting targets. One outlet serves one target: it is offered
//! records in journal order, delivers them in that order, and says from which
//! record on nothing is acknowledged yet.
//!
//! An outlet decides nothing: whether a record may leave, and as what, was
//! settled by the gate that made its [`Outgoing`].
//!
//! INVARIANT: nothing reaches an outlet without a permit (`gate.rs` makes them).

pub mod archive;
pub mod check;
mod cloudevents;
pub mod kafka;
pub mod switch;

use std::time::Duration;

use octroi_policy::{Level, Text, Timestamp};

pub use crate::gate::Outgoing;
use crate::status::OutletState;

/// CloudEvents `type` of every event that leaves.
pub const EVENT_TYPE: &str = "octroi.message.v1";

/// What an outlet writes: one CloudEvents 1.0 event. All of it is borrowed:
/// an outlet copies what it must keep.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Position in the journal.
    pub seq: u64,
    /// `hub/generation/seq`, or a transformed copy's own keyed id. The same at every retry.
    pub id: &'a str,
    /// CloudEvents `source`: the policy's source id.
    pub source: &'a str,
    /// The MQTT topic (rewritten for a transformed copy): CloudEvents `subject`.
    pub topic: &'a str,
    /// CloudEvents `time`: of the measure, else of arrival.
    pub time: Timestamp,
    /// When the hub received it (archive partitions go by it).
    pub received: Timestamp,
    /// The device, which is the Kafka key.
    pub device: Option<&'a str>,
    /// `application/json` or `application/octet-stream`.
    pub content_type: &'static str,
    /// The label's level for this copy.
    pub level: Level,
    /// The label's markings, comma separated; empty: none.
    pub markings: &'a str,
    /// Version of the policy that let it out.
    pub policy_version: &'a str,
    /// The space's id (a copy's own id for a copy).
    pub space: &'a str,
    /// The namespace of Kafka topics (default: `space`).
    pub namespace: &'a str,
    /// The domain's id.
    pub domain: &'a str,
    /// INSEE code.
    pub commune: Option<&'a str>,
    /// SIREN of the producer.
    pub producer: &'a str,
    /// `hub/generation/seq` of the decision on record; absent for transformed copies (it would link back).
    pub decision: Option<&'a str>,
    /// Exactly what leaves.
    pub payload: &'a [u8],
}

/// The bounds of a batch, inclusive sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// First record.
    pub first: u64,
    /// Last record.
    pub last: u64,
}

/// What `poll` learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The lowest sequence number offered and not yet acknowledged; `None`: all are.
    pub unacked_from: Option<u64>,
    /// Bounds that must be on record in the journal before the outlet writes (see [`Outlet::intended`]).
    pub intend: Option<Bounds>,
    /// Records and payload bytes acknowledged since the last poll, by level.
    pub delivered: [Delivered; Level::ALL.len()],
    /// What the outlet is doing.
    pub state: OutletState,
    /// Why it is down or blocked, and what to do; empty: neither.
    pub reason: Text,
}

impl Progress {
    /// Whether there is something the relay must act on or count.
    #[must_use]
    pub fn tells(&self) -> bool {
        self.intend.is_some() || self.delivered.iter().any(|count| count.records > 0)
    }
}

/// A count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Records.
    pub records: u64,
    /// Payload bytes.
    pub bytes: u64,
}

/// Why an outlet does not take or deliver a record.
///
/// After `Reject` the relay rewinds to just behind that record; after
/// `Rewind`, `Blocked` and `Fatal` to the lowest record that is not
/// acknowledged; after `Full` and `Retry` not at all. Waiting between two
/// tries is the outlet's: until then it answers `Full` and polls tell its state.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// No room now: poll, then offer the same record again.
    #[error("the outlet's window is full")]
    Full,
    /// What is not acknowledged was given up so that it can be sent again in order: rewind, then offer.
    #[error("sent again from the lowest record that is not acknowledged: {reason}")]
    Rewind {
        /// Why.
        reason: String,
    },
    /// Passing: the outlet goes on trying; nothing to do but wait.
    #[error("{}; retried in {} s", reason.en, retry_in.as_secs())]
    Retry {
        /// What failed.
        reason: Text,
        /// When the outlet tries again.
        retry_in: Duration,
    },
    /// This record alone cannot be delivered: to quarantine. Everything before it is acknowledged, nothing
    /// after it is in flight; the relay rewinds to just behind it.
    #[error("record {seq} cannot be delivered: {reason}")]
    Reject {
        /// Which.
        seq: u64,
        /// Why, as a stable name (`too_large`, `invalid_record`, …).
        reason: &'static str,
    },
    /// The outlet's fault, not a message's (authorisation, missing topic, TLS): retried for ever, shown.
    #[error("{}; {}", reason.en, mend.en)]
    Blocked {
        /// What is wrong.
        reason: Text,
        /// What to do.
        mend: Text,
    },
    /// The outlet must be made anew; the relay rewinds to its cursor.
    #[error("the outlet failed and is made anew: {reason}")]
    Fatal {
        /// What failed.
        reason: String,
    },
}

/// A way to one hosting target. Called from one thread, the target's relay.
pub trait Outlet: Send {
    /// Offers the next record, in journal order.
    ///
    /// # Errors
    /// Whatever it returns, the record was not taken.
    fn offer(&mut self, record: &Outgoing<'_>) -> Result<(), DeliverError>;

    /// Drives delivery for at most `wait` and says how far it is; sooner only if it has something to tell,
    /// so that a relay may loop on it. `now` is the wall clock.
    ///
    /// # Errors
    /// See [`DeliverError`]; progress made before is told by the next call.
    fn poll(&mut self, wait: Duration, now: Timestamp) -> Result<Progress, DeliverError>;

    /// The bounds asked for by [`Progress::intend`] are on disk: the batch may be written.
    fn intended(&mut self, bounds: Bounds);

    /// Forgets what was offered and is not acknowledged; the next offer is the first record at or after
    /// `to`. `intents` are the bounds on record from there on, oldest first: batches are cut at them again,
    /// so that a retry writes the same files. The first call, before any offer, says where to start.
    fn rewind(&mut self, to: u64, intents: &[Bounds]);

    /// Every record up to `through` was offered or withheld, and nothing more comes for now (shutdown, or the
    /// relay is idle): batches need not wait to fill.
    fn flush(&mut self, through: u64);
}
