//! One session's chunk on its way to the journal: decided publishes become
//! records, answers and counts. What is decided, and when a chunk is handed
//! over, is the pipeline's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use octroi_journal::{Chunk, ChunkBuilder};
use octroi_mqtt::{
    Inadmissible, Message as MqttMessage, Publish, Receipt, Refusal as MqttRefusal, Release, Version,
};
use octroi_policy::json::Scratch;
use octroi_policy::{DomainIx, Label, Level, Markings, Reason, SourceIx, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::flows::{Destination, FlowCounts};
use crate::ledger::Tally;
use crate::limits;
use crate::metrics::{self, SourceMetrics};
use crate::policies::Active;
use crate::quota::Meter;
use crate::record::{Exchanges, Message, RecordKind, Refusal, Step, StoredOutcome};

/// Who publishes: settled at CONNECT, from the connection's identity alone.
#[derive(Clone, Debug)]
pub struct Sender {
    /// `id:…`, `user:…`, `cert:…`, `broker:…`.
    pub identity: Arc<str>,
    /// What the client speaks.
    pub version: Version,
    /// Its session as it stands on record; `None`: it ends with its connection.
    pub session: Option<String>,
    /// What it may have of the hub, over all of its connections.
    pub share: Arc<Share>,
}

/// What one sender may have, over all of its connections.
#[derive(Debug)]
pub struct Share {
    /// Of the byte budget.
    pub bytes: Arc<Semaphore>,
    /// What it took of its quota.
    pub meter: Meter,
}

/// The senders' shares, by identity: as many as policies name sources. A lock for a look per connection.
#[derive(Debug)]
pub struct Shares {
    bytes: usize,
    by: Mutex<BTreeMap<String, Arc<Share>>>,
}

impl Shares {
    /// Each of `bytes` of the byte budget, a few chunks at least.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { bytes: bytes.max(limits::CHUNK_BYTES * 4), by: Mutex::default() }
    }

    /// That sender's.
    pub fn of(&self, identity: &str) -> Arc<Share> {
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Share { bytes: Arc::new(Semaphore::new(self.bytes)), meter: Meter::default() };
        Arc::clone(by.entry(identity.to_owned()).or_insert_with(|| Arc::new(new())))
    }
}

/// One publish, as it arrived.
#[derive(Clone, Copy)]
pub struct Arrived<'a> {
    /// By whom.
    pub sender: &'a Sender,
    /// What.
    pub message: &'a MqttMessage,
    /// How it was published; `None`: a will.
    pub publish: Option<&'a Publish>,
    /// When its last byte was read.
    pub at: Instant,
    /// The same, as policy time.
    pub received: Timestamp,
    /// The sender, as the policy in force knows it.
    pub source: Option<SourceIx>,
}

impl<'a> Arrived<'a> {
    /// A message as it was published: there is one who waits to be told.
    #[must_use]
    pub fn publish(
        sender: &'a Sender,
        publish: &'a Publish,
        at: Instant,
        received: Timestamp,
        source: Option<SourceIx>,
    ) -> Self {
        Self { sender, message: &publish.message, publish: Some(publish), at, received, source }
    }
}

/// Why a publish is refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// The code that an MQTT 5 client gets.
    pub code: MqttRefusal,
    /// What stands on record.
    pub reason: Reason,
    /// What an MQTT 5 client reads beside the code: the reason or limit that spoke.
    pub said: &'static str,
}

impl Refused {
    /// For a reason of the policy's.
    #[must_use]
    pub fn by(reason: Reason, code: MqttRefusal) -> Self {
        Self { code, reason, said: reason.name() }
    }
}

impl From<Inadmissible> for Refused {
    fn from(why: Inadmissible) -> Self {
        Self { code: why.refusal(), reason: Reason::TopicNotAllowed, said: why.name() }
    }
}

/// What a publisher is told once its message is on disk.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Which publish; `None`: a will's.
    pub receipt: Option<Receipt>,
    /// Why it is refused; `None`: it is kept.
    pub refused: Option<Refused>,
}

/// What was decided for one publish, beside the bytes it came with.
pub struct Decided<'a> {
    /// Policy time.
    pub received: Timestamp,
    /// The source; `None`: the policy in force no longer knows the sender.
    pub source: Option<SourceIx>,
    /// Where to.
    pub outcome: StoredOutcome,
    /// How sensitive.
    pub label: Label,
    /// Of what domain.
    pub domain: Option<DomainIx>,
    /// INSEE code; empty: none.
    pub commune: &'a str,
    /// The device; empty: none.
    pub device: &'a str,
    /// When it was measured.
    pub time: Option<Timestamp>,
}

impl Decided<'static> {
    /// A message that is kept without a label of its own.
    #[must_use]
    pub fn doubt(received: Timestamp, reason: Reason) -> Self {
        Self {
            received,
            source: None,
            outcome: StoredOutcome::Quarantined(reason),
            label: Label { level: Level::Restricted, markings: Markings::EMPTY },
            domain: None,
            commune: "",
            device: "",
            time: None,
        }
    }
}

/// A chunk that is ready for the journal.
pub struct Handed {
    /// The records; `None`: answers alone.
    pub chunk: Option<Chunk>,
    /// What they are.
    pub tally: Tally,
    /// Whom to tell, in the order received.
    pub answers: Vec<Answer>,
    /// When the first of them was read.
    pub since: Instant,
}

/// One session's messages since its last hand-over.
pub struct Intake {
    records: ChunkBuilder,
    tally: Tally,
    answers: Vec<Answer>,
    /// What becomes of packet identifiers of a session on record.
    steps: Vec<Step>,
    counts: Counts,
    flows: FlowCounts,
    since: Option<Instant>,
    /// Reused from message to message.
    pub scratch: Scratch,
    header: Vec<u8>,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            records: ChunkBuilder::new(limits::CHUNK_HINT_BYTES),
            tally: Tally::default(),
            answers: Vec::new(),
            steps: Vec::new(),
            counts: Counts::default(),
            flows: FlowCounts::default(),
            since: None,
            scratch: Scratch::default(),
            header: Vec::new(),
        }
    }
}

/// Counts for the metrics, added once per hand-over.
#[derive(Default)]
struct Counts {
    received: [u64; 3],
    bytes: u64,
    decided: [[u64; Level::ALL.len()]; metrics::Outcome::ALL.len()],
}

impl Intake {
    /// Whether it is time to hand over.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.records.len() >= limits::CHUNK_BYTES
    }

    /// A publish that is acknowledged in its turn and is no message (a bridge's state).
    pub fn note(&mut self, sender: &Sender, publish: &Publish, at: Instant) {
        self.since.get_or_insert(at);
        self.answer(sender, Some(publish), None);
    }

    /// A packet identifier is free again: on record, where its session is, before PUBCOMP.
    pub fn release(&mut self, sender: &Sender, release: Release, at: Instant) {
        self.since.get_or_insert(at);
        self.answers.push(Answer { receipt: Some(release.receipt), refused: None });
        if sender.session.is_some() {
            self.steps.push(Step::Released(release.packet_id));
        }
    }

    fn answer(&mut self, sender: &Sender, publish: Option<&Publish>, refused: Option<Refused>) {
        self.answers.push(Answer { receipt: publish.map(|publish| publish.receipt), refused });
        let opens = publish.and_then(|publish| publish.opens(sender.version, refused.is_some()));
        if let Some(packet_id) = opens.filter(|_| sender.session.is_some()) {
            self.steps.push(Step::Opened(packet_id));
        }
    }

    /// Counts a publish, before anything is decided.
    pub fn count(&mut self, arrived: &Arrived<'_>) {
        self.tally.received += 1;
        self.since.get_or_insert(arrived.at);
        if let Some(count) = self.counts.received.get_mut(arrived.message.qos as usize) {
            *count += 1;
        }
        self.counts.bytes += arrived.message.payload().len() as u64;
    }

    /// Puts a message and its decision on record.
    pub fn keep(&mut self, active: &Active, arrived: &Arrived<'_>, decided: Decided<'_>) {
        let Decided { received, source, outcome, label, domain, commune, device, time } = decided;
        let mut targets = active.targets(&outcome);
        let mut count = |destination| {
            if let Some(source) = source {
                self.flows.count(active.flows.at(source, label.level, destination));
            }
        };
        let counted = match &outcome {
            StoredOutcome::Routed { space, copies } => {
                if let Some(space) = active.policy.spaces().get(space.index()) {
                    count(Destination::Target(space.target.index()));
                }
                for copy in copies {
                    count(Destination::Copy(copy.index()));
                }
                metrics::Outcome::Routed
            }
            StoredOutcome::Quarantined(_) => {
                targets |= active.bits.quarantine.mask();
                count(Destination::Quarantine);
                metrics::Outcome::Quarantined
            }
            StoredOutcome::Held(..) => {
                targets |= active.bits.hold.mask();
                count(Destination::Hold);
                metrics::Outcome::Held
            }
        };
        self.counts.decided(counted, label.level);
        self.tally.message(&outcome, targets, received);
        let Arrived { sender, message, .. } = *arrived;
        let record = Message {
            policy: active.policy64,
            received,
            origin: None,
            time,
            outcome,
            label,
            domain,
            commune,
            identity: &sender.identity,
            device,
            topic: message.topic(),
            retain: message.retain,
            user_properties: message
                .user_properties()
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect(),
            payload: message.payload(),
        };
        let mut header = std::mem::take(&mut self.header);
        header.clear();
        record.write_header(&mut header);
        self.put(RecordKind::Message, targets, &[&header, message.payload()], arrived, None);
        self.header = header;
    }

    /// Puts a refusal on record: nothing of what the publish held.
    pub fn refuse(&mut self, active: &Active, arrived: &Arrived<'_>, refused: Refused) {
        let Arrived { sender, message, received, source, .. } = *arrived;
        if let Some(source) = source {
            self.flows.count(active.flows.at(source, Level::Restricted, Destination::Refused));
        }
        self.counts.decided(metrics::Outcome::Refused, Level::Restricted);
        self.tally.refusal(received);
        let refusal = Refusal {
            received,
            reason: refused.reason,
            identity: &sender.identity,
            topic: message.topic(),
            digest: blake3::hash(message.payload()).into(),
        };
        self.put(RecordKind::Refusal, 0, &[&refusal.to_bytes()], arrived, Some(refused));
    }

    fn put(
        &mut self,
        kind: RecordKind,
        targets: u64,
        parts: &[&[u8]],
        arrived: &Arrived<'_>,
        refused: Option<Refused>,
    ) {
        match self.records.push(kind as u8, targets, parts) {
            Ok(()) => {
                self.tally.bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
                self.answer(arrived.sender, arrived.publish, refused);
            }
            // INVARIANT: chunks are handed over long before they are full. Without a record there is no
            // answer: the session's order closes it, and its publisher keeps the message.
            Err(error) => tracing::error!(%error, "a record does not fit into its chunk"),
        }
    }

    /// Takes what has gathered, and adds its counts to the hub's.
    pub fn finish(&mut self, active: &Active, sender: &Sender) -> Option<Handed> {
        let since = self.since.take()?;
        if let Some(session) = &sender.session
            && !self.steps.is_empty()
        {
            let steps = std::mem::take(&mut self.steps);
            let exchanges = Exchanges { session: session.clone(), steps };
            let bytes = exchanges.to_bytes();
            self.tally.bytes += bytes.len() as u64;
            if let Err(error) = self.records.push(RecordKind::Exchanges as u8, 0, &[&bytes]) {
                // INVARIANT: chunks are handed over long before they are full. Messages without their packet
                // identifiers could come twice: none is handed over, and none is answered.
                tracing::error!(%error, "a record does not fit into its chunk");
                *self = Self::default();
                return None;
            }
            self.tally.exchanges = Some(exchanges);
        }
        let source = active.source(&sender.identity).and_then(|source| active.sources.get(source.index()));
        std::mem::take(&mut self.counts).flush(source.unwrap_or(&active.other));
        self.flows.flush(&active.flows);
        // The next hand-over is expected to be like this one.
        let next = Vec::with_capacity(self.answers.len());
        Some(Handed {
            chunk: (!self.records.is_empty()).then(|| self.records.finish()),
            tally: std::mem::take(&mut self.tally),
            answers: std::mem::replace(&mut self.answers, next),
            since,
        })
    }
}

impl Counts {
    fn decided(&mut self, outcome: metrics::Outcome, level: Level) {
        let of_outcome = self.decided.get_mut(outcome as usize);
        if let Some(count) = of_outcome.and_then(|levels| levels.get_mut(level as usize)) {
            *count += 1;
        }
    }

    fn flush(self, source: &SourceMetrics) {
        source.received(self.received, self.bytes);
        for (outcome, levels) in metrics::Outcome::ALL.iter().zip(&self.decided) {
            for (level, messages) in Level::ALL.iter().zip(levels).filter(|(_, messages)| **messages > 0) {
                source.decided(*outcome, *level, *messages);
            }
        }
    }
}
