//! The aggregates: a reader of the journal beside the relays, a thread of its
//! own. It gathers the messages of copies that aggregate, window by window,
//! and writes what a window publishes into the journal as records for the
//! copy's target; the relay of that target takes it from there, by the gate.
//!
//! `consume` → `close` → `store`: read and gather; publish the windows that are
//! over; put what was gathered and the cursor on disk together, and only then
//! let the journal's cursor follow.
//!
//! A publication is one chunk that begins with the note that its window is
//! closed. After a crash between `close` and `store` the stored windows are
//! older than the journal: the ledger knows what is closed, so that what is
//! gathered again is not published again.
//!
//! INVARIANT: a window of a copy is published once, or not at all.
//! INVARIANT: the journal's cursor passes a record only when the stored book holds it.

mod book;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use octroi_journal::{Batch, Chunk, ChunkBuilder, ReadError, Reader, TargetBit};
use octroi_policy::aggregate::{Aggregate as Made, AggregatePlan, Publication, Taken, Windows};
use octroi_policy::{CopyInfo, KeySource, Timestamp};
use tokio::sync::oneshot;

use crate::clock::PolicyClock;
use crate::committer::{Acked, Append, Control, Inbox, JournalView, Watermark};
use crate::fail_point;
use crate::gate::{Gate, Way};
use crate::ledger::{Done, Tally};
use crate::limits;
use crate::metrics::{Metrics, OTHER, TargetMetrics};
use crate::patience::Patience;
use crate::policies::{Active, Policies};
use crate::record::{Aggregate, Message, RecordKind, WindowClosed};
use book::{Book, BookError, Place};

/// What the aggregates' thread owns.
pub struct Aggregator {
    /// Its bit in the journal.
    pub bit: TargetBit,
    /// Where it reads.
    pub reader: Reader,
    /// Where what it has gathered is stored.
    pub path: PathBuf,
    /// The policies.
    pub policies: Arc<Policies>,
    /// Policy time.
    pub clock: Arc<PolicyClock>,
    /// The key of identifiers.
    pub keys: Arc<dyn KeySource + Send + Sync>,
    /// The journal's owner.
    pub inbox: Arc<Inbox>,
    /// How far the journal is on disk.
    pub watermark: Arc<Watermark>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set when the hub stops.
    pub stop: Arc<AtomicBool>,
}

/// The aggregates' thread cannot go on; the hub stops.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// The journal cannot be read.
    #[error("the journal cannot be read for the aggregates")]
    Journal(#[source] ReadError),
    /// What was stored is a later release's: it stays as it is.
    #[error("`{}` cannot be taken up: {reason}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// An aggregator at work.
pub struct Work {
    of: Aggregator,
    book: Book,
    /// By copy: up to when its windows are published, microseconds.
    closed: BTreeMap<String, i64>,
    /// What the journal's owner was told.
    told: (u64, Done),
    /// The publication that is on its way to disk.
    pending: Option<Pending>,
    /// The latest arrival that was read.
    latest: Timestamp,
    /// When the book was stored, and whether it has changed since.
    stored: Timestamp,
    changed: bool,
    /// Whether it was said that the book cannot be stored.
    is_failing: bool,
}

/// A publication that was handed to the journal's owner. Until it is on disk, its window stays as it is.
struct Pending {
    copy: String,
    end: Timestamp,
    suppressed: u64,
    metrics: Arc<TargetMetrics>,
    told: oneshot::Receiver<Acked>,
}

impl Aggregator {
    /// Runs until the hub stops. `view` and `generation` are the journal's, as recovered.
    ///
    /// # Errors
    /// See [`AggregatorError`].
    pub fn run(self, view: &JournalView, generation: u64) -> Result<(), AggregatorError> {
        let mut work = self.start(view, generation)?;
        let mut batch = Batch::default();
        while work.step(&mut batch, Patience::Waits)? {}
        Ok(())
    }

    /// Takes up what was stored. `view` and `generation` are the journal's, as recovered.
    ///
    /// # Errors
    /// See [`AggregatorError`].
    pub fn start(self, view: &JournalView, generation: u64) -> Result<Work, AggregatorError> {
        Work::open(self, view, generation)
    }
}

impl Work {
    /// Takes up what was stored.
    fn open(of: Aggregator, view: &JournalView, generation: u64) -> Result<Self, AggregatorError> {
        let place = Place {
            generation,
            cursor: view.position(of.bit),
            end: view.next_seq,
            done: view.ledger.done.get(&of.bit.index()).copied().unwrap_or_default(),
        };
        let closed = view.ledger.tally.closed.clone();
        let (now, active) = (of.clock.now(), of.policies.current());
        let read = match Book::read(&of.path, &place) {
            Err(error @ BookError::Newer(_)) => {
                return Err(AggregatorError::Newer { path: of.path, reason: error.to_string() });
            }
            other => other,
        };
        let mut book = read.unwrap_or_else(|error| {
            tracing::error!(error = %anyhow::Error::from(error), path = %of.path.display(),
                "what was gathered for aggregates is lost: windows that have begun will not be published");
            let mut book = Book::at(&place);
            for rule in active.policy.copies() {
                if let Some(plan) = rule.aggregate() {
                    book.copies
                        .insert(rule.id.clone(), Windows::after(plan, closed_of(&closed, &rule.id), now));
                }
            }
            book
        });
        for (copy, windows) in &mut book.copies {
            windows.retire(closed_of(&closed, copy));
        }
        let mut work = Self {
            told: (place.cursor, place.done),
            pending: None,
            latest: Timestamp(i64::MIN),
            stored: now,
            changed: true,
            is_failing: false,
            book,
            closed,
            of,
        };
        work.of.reader.seek(work.book.cursor);
        Ok(work)
    }

    /// Gathers what there is, publishes what is over, stores it if it is time. Says whether there is another.
    ///
    /// # Errors
    /// See [`AggregatorError`].
    pub fn step(&mut self, batch: &mut Batch, patience: Patience) -> Result<bool, AggregatorError> {
        let stopping = self.of.stop.load(Ordering::Acquire);
        // Taken before the watermark: what arrived up to here is on disk by then, lateness aside.
        let now = self.of.clock.now();
        let seen = self.of.watermark.get();
        while self.consume(seen, batch)? {
            // Behind: time goes by what was read, so that no window stays open for want of its end.
            let latest = self.latest;
            self.close(latest, Duration::ZERO);
            self.store(false);
        }
        self.close(now, patience.at_most(if stopping { limits::ACK_GRACE } else { limits::RELAY_IDLE }));
        self.store(stopping);
        if !stopping {
            self.of.watermark.wait_past(seen, patience.at_most(limits::RELAY_IDLE));
        }
        Ok(!stopping)
    }

    /// Reads and gathers one batch. Says whether there may be more before `seen`.
    fn consume(&mut self, seen: u64, batch: &mut Batch) -> Result<bool, AggregatorError> {
        if self.book.cursor >= seen {
            return Ok(false);
        }
        self.of
            .reader
            .next(Some(self.of.bit), limits::RELAY_READ_BYTES, batch)
            .map_err(AggregatorError::Journal)?;
        let (policies, keys) = (Arc::clone(&self.of.policies), Arc::clone(&self.of.keys));
        let active = policies.current();
        let now = self.of.clock.now();
        let gate = Gate {
            policies: &policies,
            active: &active,
            target: "",
            origin: "",
            now,
            keys: &*keys,
            scratch: RefCell::default(),
        };
        for entry in batch.iter().filter(|entry| entry.kind == RecordKind::Message as u8) {
            if entry.seq < self.book.cursor {
                continue;
            }
            // A record that cannot be read adds nothing; the relay of its primary space says so.
            let counted = Message::read(entry.bytes).is_ok_and(|message| self.take(&gate, &message));
            *if counted { &mut self.book.counted } else { &mut self.book.left_out } += 1;
            self.changed = true;
        }
        for lost in batch.lost() {
            tracing::error!(
                first = lost.start,
                end = lost.end,
                "damaged records are fenced; they are in no aggregate"
            );
        }
        fail_point::reached("aggregates.gathered");
        let moved = batch.end() > self.book.cursor;
        self.book.cursor = self.book.cursor.max(batch.end());
        Ok(moved)
    }

    /// Gathers one message. Says whether it went into a window.
    fn take(&mut self, gate: &Gate<'_>, message: &Message<'_>) -> bool {
        self.latest = self.latest.max(message.received);
        let Ok(ways) = gate.aggregating(message) else { return false };
        let mut counted = false;
        for way in &ways.open {
            let Way::Copy(copy) = way else { continue };
            let Some(rule) = gate.active.policy.copies().get(copy.index()) else { continue };
            let Some(plan) = rule.aggregate() else { continue };
            let metrics = self.metrics_of(gate.active, rule);
            let Ok(contribution) = gate.contribution(message, &ways, rule) else {
                metrics.gate_blocked(1);
                continue;
            };
            let closed = closed_of(&self.closed, &rule.id);
            let windows = self.book.copies.entry(rule.id.clone());
            let windows = windows.or_insert_with(|| Windows::new(plan, closed));
            begin_anew(windows, plan, gate.now, &metrics);
            match windows.take(plan, contribution, &limits::AGGREGATE) {
                Taken::Counted | Taken::Overgrown => counted = true,
                Taken::Late => metrics.aggregates_late(1),
            }
        }
        counted
    }

    fn metrics_of(&self, active: &Active, rule: &CopyInfo) -> Arc<TargetMetrics> {
        let target = active.policy.targets().get(rule.to.index());
        self.of.metrics.target(target.map_or(OTHER, |target| target.id.as_str()))
    }

    /// Publishes every window that is over at `now`, lateness included, one after another. `patience`: how
    /// long to wait for each to be on disk; what takes longer is asked about at the next call.
    fn close(&mut self, now: Timestamp, patience: Duration) {
        let lateness = i64::try_from(limits::AGGREGATE_LATENESS.as_micros()).unwrap_or(i64::MAX);
        let by = Timestamp(now.0.saturating_sub(lateness));
        let active = self.of.policies.current();
        while self.settle(patience) {
            let Some(copy) = self.over(&active, by) else { return };
            if !self.publish(&active, copy, by) {
                return;
            }
        }
    }

    /// A copy with a window that is over. What the policy in force does not make any more is given up.
    fn over<'a>(&mut self, active: &'a Active, by: Timestamp) -> Option<&'a CopyInfo> {
        let now = self.of.clock.now();
        let copies: Vec<String> = self.book.copies.keys().cloned().collect();
        for copy in copies {
            let rule = active.policy.copies().iter().find(|rule| rule.id == copy);
            let plan = rule.and_then(|rule| Some((rule, rule.aggregate()?)));
            let Some((rule, plan)) = plan else {
                if let Some(windows) = self.book.copies.remove(&copy) {
                    self.of.metrics.target(OTHER).aggregates_suppressed(windows.groups());
                    self.changed = true;
                }
                continue;
            };
            let metrics = self.metrics_of(active, rule);
            let Some(windows) = self.book.copies.get_mut(&copy) else { continue };
            self.changed |= begin_anew(windows, plan, now, &metrics);
            if windows.is_over(by) {
                return Some(rule);
            }
        }
        None
    }

    /// Hands what the oldest window of a copy publishes to the journal's owner. Says whether it did.
    fn publish(&mut self, active: &Active, rule: &CopyInfo, by: Timestamp) -> bool {
        let windows = self.book.copies.get(&rule.id);
        let (Some(windows), Some(plan)) = (windows, rule.aggregate()) else { return false };
        let due = match windows.due(plan, &rule.id, &rule.purpose, by, &*self.of.keys) {
            Ok(Some(due)) => due,
            Ok(None) => return false,
            Err(error) => {
                // The plan has a topic for every group: it is the hub's own key that fails.
                tracing::error!(copy = rule.id, %error, "aggregates cannot be made: what was gathered is given up");
                self.metrics_of(active, rule).aggregates_suppressed(windows.groups());
                self.book.copies.remove(&rule.id);
                self.changed = true;
                return false;
            }
        };
        let (chunk, tally, suppressed) = on_record(rule, plan.fingerprint(), active.mask(rule.to), &due);
        let (done, told) = oneshot::channel();
        let metrics = self.metrics_of(active, rule);
        self.pending = Some(Pending { copy: rule.id.clone(), end: due.end, suppressed, metrics, told });
        self.of.inbox.append(Append { chunk, tally, by: None, budget: None, done });
        fail_point::reached("aggregates.announced");
        true
    }

    /// Whether nothing is on its way to disk any more. What arrived there is closed; what the journal did not
    /// take is published again.
    fn settle(&mut self, patience: Duration) -> bool {
        let mut waited = Duration::ZERO;
        loop {
            let Some(pending) = &mut self.pending else { return true };
            match pending.told.try_recv() {
                Ok(_) => {
                    fail_point::reached("aggregates.closed");
                    pending.metrics.aggregates_suppressed(pending.suppressed);
                    let end = pending.end;
                    self.closed.insert(pending.copy.clone(), end.0);
                    if let Some(windows) = self.book.copies.get_mut(&pending.copy) {
                        windows.retire(end);
                    }
                    (self.pending, self.changed) = (None, true);
                    return true;
                }
                Err(oneshot::error::TryRecvError::Closed) => {
                    self.pending = None;
                    return false;
                }
                Err(oneshot::error::TryRecvError::Empty) if waited >= patience => return false,
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.of.watermark.wait_past(self.of.watermark.get(), limits::RELAY_POLL);
                    waited += limits::RELAY_POLL;
                }
            }
        }
    }

    /// Puts the book on disk, if it is time, and lets the journal's cursor follow.
    fn store(&mut self, last: bool) {
        let now = self.of.clock.now();
        let every = i64::try_from(limits::AGGREGATE_STORED_EVERY.as_micros()).unwrap_or(i64::MAX);
        let (cursor, done) = self.told;
        // A cursor alone is a record too: it is written only where it passed something, or holds a segment back.
        let worth = self.changed || cursor < self.of.watermark.segment();
        if !worth || !(last || now.0 - self.stored.0 >= every) {
            return;
        }
        self.stored = now;
        if let Err(error) = self.book.store(&self.of.path) {
            if !std::mem::replace(&mut self.is_failing, true) {
                tracing::error!(%error, path = %self.of.path.display(),
                    "what is gathered for aggregates cannot be stored; the journal keeps its messages meanwhile");
            }
            return;
        }
        fail_point::reached("aggregates.stored");
        (self.is_failing, self.changed) = (false, false);
        if self.book.cursor > cursor {
            self.of.inbox.control(Control::Advance {
                target: self.of.bit,
                cursor: self.book.cursor,
                delivered: self.book.counted.saturating_sub(done.delivered),
                withheld: self.book.left_out.saturating_sub(done.withheld),
            });
            let done = Done { delivered: self.book.counted, withheld: self.book.left_out };
            self.told = (self.book.cursor, done);
        }
    }
}

fn closed_of(closed: &BTreeMap<String, i64>, copy: &str) -> Timestamp {
    Timestamp(closed.get(copy).copied().unwrap_or(i64::MIN))
}

/// Windows of another plan are given up, and those of this one begin with the next that is whole.
fn begin_anew(windows: &mut Windows, plan: &AggregatePlan, now: Timestamp, metrics: &TargetMetrics) -> bool {
    if windows.is_of(plan) {
        return false;
    }
    metrics.aggregates_suppressed(windows.groups());
    *windows = Windows::after(plan, windows.closed(), now);
    true
}

/// A publication as one chunk, its counts, and how many groups are left out.
fn on_record(rule: &CopyInfo, plan: u64, targets: u64, due: &Publication) -> (Chunk, Tally, u64) {
    let mut chunk = ChunkBuilder::new(limits::CHUNK_HINT_BYTES);
    let (mut tally, mut suppressed) = (Tally::default(), due.suppressed);
    let closed = WindowClosed { copy: &rule.id, end: due.end };
    let mut put = |kind: RecordKind, targets: u64, parts: &[&[u8]]| {
        let room = chunk.len() < limits::PUBLICATION_BYTES;
        room && chunk.push(kind as u8, targets, parts).is_ok()
    };
    put(RecordKind::WindowClosed, 0, &[&closed.to_bytes()]);
    tally.close(&rule.id, due.end);
    for made in &due.aggregates {
        let record = as_record(rule, plan, due, made);
        let mut header = Vec::new();
        record.write_header(&mut header);
        if put(RecordKind::Aggregate, targets, &[&header, record.payload]) {
            tally.assign(targets, due.end);
        } else {
            suppressed += 1;
        }
    }
    if suppressed > due.suppressed {
        let groups = suppressed - due.suppressed;
        tracing::error!(copy = rule.id, groups, "a window has more groups than are published at once");
    }
    (chunk.finish(), tally, suppressed)
}

fn as_record<'a>(rule: &'a CopyInfo, plan: u64, due: &Publication, made: &'a Made) -> Aggregate<'a> {
    Aggregate {
        plan,
        end: due.end,
        label: made.label,
        copy: &rule.id,
        producer: &made.group.producer,
        domain: &made.group.domain,
        commune: made.group.commune.as_deref().unwrap_or_default(),
        id: &made.id,
        topic: &made.topic,
        payload: &made.payload,
    }
}

#[cfg(test)]
mod tests;
