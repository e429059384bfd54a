//! The side logs: what may not go out now and must not pin the journal. Two
//! more journals, `quarantine` and `hold`, owned by one thread.
//!
//! What was decided on arrival is read from the journal by its own bits and
//! copied here; what a relay withholds is handed over. Either way: copy, sync,
//! and only then does a cursor pass. Copying again after a crash is idempotent:
//! origins are handed over in order, so each feeder's last one is remembered in
//! the side log itself.
//!
//! INVARIANT: nothing here is ever sent to a target.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use octroi_journal::{
    AppendError, AppendRefusal, Batch, Chunk, ChunkBuilder, CommitError, Journal, ReadError, Reader,
    TargetBit,
};
use octroi_policy::Reason;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::committer::{Control, Inbox, Watermark};
use crate::limits;
use crate::policies::Policies;
use crate::record::{Kept, Message, RecordError, RecordKind, StoredOutcome};
use crate::state::{Entry, State};

/// Which side log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Log {
    /// Doubts, and what a target refuses.
    Quarantine,
    /// Labelled, but not allowed out now.
    Hold,
}

impl Log {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Quarantine, Self::Hold];

    /// Its directory and its name in the index.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Hold => "hold",
        }
    }
}

/// A message on its way into a side log.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Its sequence number in the journal.
    pub origin: u64,
    by: String,
    target: String,
    reason: String,
    message: Vec<u8>,
}

impl Keep {
    /// Withheld by the relay of `target`.
    #[must_use]
    pub fn new(target: &str, reason: &str, origin: u64, message: &[u8]) -> Self {
        Self {
            origin,
            by: target.to_owned(),
            target: target.to_owned(),
            reason: reason.to_owned(),
            message: message.to_vec(),
        }
    }
}

/// What a side log adds up to; its snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Summary {
    /// The last origin of each feeder.
    last: BTreeMap<String, u64>,
}

/// One side log.
pub struct SideLog {
    log: Log,
    journal: Journal,
    summary: Summary,
    /// Whether it was said that there is no room.
    is_full: bool,
}

/// A side log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The disk failed it.
    #[error("the `{log}` log cannot be written; what waits for it stays in the journal")]
    Write {
        /// Which.
        log: &'static str,
        /// Why.
        #[source]
        source: CommitError,
    },
    /// It cannot be read back.
    #[error("the `{log}` log cannot be read")]
    Read {
        /// Which.
        log: &'static str,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// Its snapshot or a record is none of ours.
    #[error("the `{log}` log holds what is none of ours: {reason}")]
    Foreign {
        /// Which.
        log: &'static str,
        /// What.
        reason: String,
    },
    /// The journal cannot be read.
    #[error("the journal cannot be read for the side logs")]
    Journal(#[source] ReadError),
}

impl SideLog {
    /// Over an opened journal, whose snapshot and tail say which origins it holds.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn recover(
        log: Log,
        journal: Journal,
        recovery: &octroi_journal::Recovery,
    ) -> Result<Self, KeeperError> {
        let foreign = |reason: String| KeeperError::Foreign { log: log.name(), reason };
        let mut summary = match recovery.snapshot.as_slice() {
            [] => Summary::default(),
            snapshot => serde_json::from_slice(snapshot).map_err(|error| foreign(error.to_string()))?,
        };
        let mut reader = journal.reader(recovery.snapshot_seq);
        let mut batch = Batch::default();
        let end = journal.next_seq();
        let mut at = recovery.snapshot_seq;
        while at < end {
            reader
                .next(None, limits::RELAY_READ_BYTES, &mut batch)
                .map_err(|source| KeeperError::Read { log: log.name(), source })?;
            for entry in batch.iter().filter(|entry| entry.kind == RecordKind::Kept as u8) {
                let kept =
                    Kept::read(entry.bytes).map_err(|error: RecordError| foreign(error.to_string()))?;
                summary.last.insert(kept.by.to_owned(), kept.origin);
            }
            if batch.end() <= at {
                break;
            }
            at = batch.end();
        }
        Ok(Self { log, journal, summary, is_full: false })
    }

    /// Copies and syncs, leaving out what it holds already. `false`: there is no room for all of them; what
    /// is kept is left out the next time.
    fn keep(&mut self, keeps: &[Keep], state: &State) -> Result<bool, KeeperError> {
        let mut builder = ChunkBuilder::new(limits::CHUNK_BYTES);
        let mut in_chunk: Vec<&Keep> = Vec::new();
        for keep in keeps {
            if self.summary.last.get(&keep.by).is_some_and(|last| *last >= keep.origin) {
                continue;
            }
            let Keep { origin, by, target, reason, message } = keep;
            let mut header = Vec::new();
            Kept { origin: *origin, by, target, reason, message }.write_header(&mut header);
            builder
                .push(RecordKind::Kept as u8, 0, &[&header, message])
                .map_err(|error| self.foreign(error.to_string()))?;
            in_chunk.push(keep);
            if builder.len() >= limits::CHUNK_BYTES
                && !self.put(builder.finish(), &std::mem::take(&mut in_chunk), state)?
            {
                return Ok(false);
            }
        }
        Ok(in_chunk.is_empty() || self.put(builder.finish(), &in_chunk, state)?)
    }

    /// Writes and syncs one chunk. `false`: there is no room, and nothing of it is kept.
    fn put(&mut self, chunk: Chunk, keeps: &[&Keep], state: &State) -> Result<bool, KeeperError> {
        let first = match self.journal.append(chunk) {
            Ok(seqs) => seqs.start,
            Err(AppendError { reason: AppendRefusal::Full { .. }, .. }) => return Ok(self.full()),
            Err(AppendError { reason, .. }) => return Err(self.foreign(reason.to_string())),
        };
        let summary = &self.summary;
        let snapshot = &mut |out: &mut Vec<u8>| {
            out.extend_from_slice(&serde_json::to_vec(summary).unwrap_or_default());
        };
        match self.journal.commit(snapshot) {
            Ok(_) => {}
            Err(CommitError::Full { .. }) => return Ok(self.full()),
            Err(source) => return Err(KeeperError::Write { log: self.log.name(), source }),
        }
        for (seq, keep) in (first..).zip(keeps) {
            self.summary.last.insert(keep.by.clone(), keep.origin);
            state.insert(self.log, seq, &entry(self.journal.generation(), seq, keep));
        }
        state.indexed(self.log, self.journal.generation(), self.journal.next_seq());
        self.is_full = false;
        Ok(true)
    }

    fn full(&mut self) -> bool {
        let log = self.log.name();
        if !std::mem::replace(&mut self.is_full, true) {
            tracing::error!(
                log,
                "the side log is full: what belongs there stays in the journal; raise `journal.limit`"
            );
        }
        false
    }

    fn foreign(&self, reason: String) -> KeeperError {
        KeeperError::Foreign { log: self.log.name(), reason }
    }

    /// Puts into the index what it does not have: everything, if it is new or was lost.
    fn reindex(&self, state: &State) -> Result<(), KeeperError> {
        let from = state.indexed_upto(self.log, self.journal.generation());
        let mut reader = self.journal.reader(from);
        let (mut batch, mut at, end) = (Batch::default(), from, self.journal.next_seq());
        while at < end {
            reader
                .next(None, limits::RELAY_READ_BYTES, &mut batch)
                .map_err(|source| KeeperError::Read { log: self.log.name(), source })?;
            for read in batch.iter().filter(|read| read.kind == RecordKind::Kept as u8) {
                if let Ok(kept) = Kept::read(read.bytes) {
                    let keep = Keep {
                        origin: kept.origin,
                        by: kept.by.to_owned(),
                        target: kept.target.to_owned(),
                        reason: kept.reason.to_owned(),
                        message: kept.message.to_vec(),
                    };
                    state.insert(self.log, read.seq, &entry(self.journal.generation(), read.seq, &keep));
                }
            }
            if batch.end() <= at {
                break;
            }
            at = batch.end();
        }
        state.indexed(self.log, self.journal.generation(), end);
        Ok(())
    }
}

/// What the index says of a kept message.
fn entry(generation: u64, seq: u64, keep: &Keep) -> Entry {
    let message = Message::read(&keep.message).ok();
    let of = |part: &dyn Fn(&Message<'_>) -> String| message.as_ref().map(part).unwrap_or_default();
    Entry {
        id: format!("{generation:016x}/{seq}"),
        origin: keep.origin,
        source: of(&|message| {
            message.identity.split_once(':').map_or(message.identity, |(_, id)| id).to_owned()
        }),
        topic: of(&|message| message.topic.to_owned()),
        reason: keep.reason.clone(),
        target: keep.target.clone(),
        received: of(&|message| message.received.to_string()),
        bytes: message.as_ref().map_or(0, |message| message.payload.len() as u64),
    }
}

/// The keeper is gone: the hub stops.
#[derive(Debug)]
pub struct Gone;

struct Request {
    log: Log,
    keeps: Vec<Keep>,
    /// Told whether they are kept and synced; `false`: the side log is full.
    done: oneshot::Sender<bool>,
}

/// How relays reach the keeper.
#[derive(Debug)]
pub struct Keeper {
    requests: SyncSender<Request>,
}

impl Keeper {
    /// A keeper and what its thread runs.
    #[must_use]
    pub fn new() -> (Self, Requests) {
        let (requests, received) = sync_channel(limits::TARGETS);
        (Self { requests }, Requests(received))
    }

    /// Keeps messages; returns after their sync. `false`: the side log is full, and nothing is kept.
    ///
    /// # Errors
    /// The keeper's thread ended.
    pub fn keep(&self, log: Log, keeps: Vec<Keep>) -> Result<bool, Gone> {
        let (done, told) = oneshot::channel();
        self.requests.send(Request { log, keeps, done }).map_err(|_| Gone)?;
        told.blocking_recv().map_err(|_| Gone)
    }
}

/// What relays asked for.
pub struct Requests(Receiver<Request>);

/// What the keeper's thread owns.
pub struct Keeping {
    /// What relays ask for.
    pub requests: Requests,
    /// The quarantine.
    pub quarantine: SideLog,
    /// The hold log.
    pub hold: SideLog,
    /// Where each side log reads the journal: its bit, a reader, its cursor.
    pub feeds: [(TargetBit, Reader, u64); 2],
    /// The journal's owner.
    pub inbox: Arc<Inbox>,
    /// How far the journal is on disk.
    pub watermark: Arc<Watermark>,
    /// The policies, for the names of targets.
    pub policies: Arc<Policies>,
    /// The index.
    pub state: Arc<State>,
    /// Set when the hub stops.
    pub stop: Arc<AtomicBool>,
}

impl Keeping {
    /// Runs until the hub stops and every relay has ended.
    ///
    /// # Errors
    /// A side log cannot be read or written: the hub stops, nothing is lost.
    pub fn run(mut self) -> Result<(), KeeperError> {
        self.quarantine.reindex(&self.state)?;
        self.hold.reindex(&self.state)?;
        let mut batch = Batch::default();
        loop {
            let moved = self.copy(0, &mut batch)? | self.copy(1, &mut batch)?;
            let wait = if moved { std::time::Duration::ZERO } else { limits::RELAY_POLL };
            match self.requests.0.recv_timeout(wait) {
                Ok(request) => {
                    let state = Arc::clone(&self.state);
                    let kept = self.side_log(request.log).keep(&request.keeps, &state)?;
                    // A relay that is gone needs no answer.
                    request.done.send(kept).ok();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if !moved && self.stop.load(Ordering::Acquire) => break,
                Err(RecvTimeoutError::Disconnected) => self.watermark.wait_past(self.watermark.get(), wait),
            }
        }
        for log in Log::ALL {
            let (name, side) = (log.name(), self.side_log(log));
            let summary = side.summary.clone();
            side.journal
                .seal(&mut |out| out.extend_from_slice(&serde_json::to_vec(&summary).unwrap_or_default()))
                .map_err(|source| KeeperError::Write { log: name, source })?;
        }
        self.state.flush();
        Ok(())
    }

    fn side_log(&mut self, log: Log) -> &mut SideLog {
        match log {
            Log::Quarantine => &mut self.quarantine,
            Log::Hold => &mut self.hold,
        }
    }

    /// Copies one batch of what was quarantined or held on arrival. Says whether there may be more.
    fn copy(&mut self, feed: usize, batch: &mut Batch) -> Result<bool, KeeperError> {
        let Some((bit, reader, cursor)) = self.feeds.get_mut(feed) else { return Ok(false) };
        if *cursor >= self.watermark.get() {
            return Ok(false);
        }
        reader.next(Some(*bit), limits::RELAY_READ_BYTES, batch).map_err(KeeperError::Journal)?;
        let mut keeps = Vec::new();
        let mut assigned = 0;
        for entry in batch.iter().filter(|entry| entry.kind == RecordKind::Message as u8) {
            assigned += 1;
            keeps.push(kept_on_arrival(entry.seq, entry.bytes, &self.policies));
        }
        let (bit, end) = (*bit, batch.end());
        if end <= *cursor {
            return Ok(false);
        }
        let side = if feed == 0 { &mut self.quarantine } else { &mut self.hold };
        if !side.keep(&keeps, &self.state)? {
            // What the side log does not hold stays in the journal; tried again, not at once.
            reader.seek(*cursor);
            return Ok(false);
        }
        *cursor = end;
        // A cursor alone is a record too: it is written only where it passed something.
        if assigned > 0 {
            self.inbox.control(Control::Advance {
                target: bit,
                cursor: end,
                delivered: assigned,
                withheld: 0,
            });
        }
        Ok(true)
    }
}

fn kept_on_arrival(seq: u64, bytes: &[u8], policies: &Policies) -> Keep {
    let (reason, target) = match Message::read(bytes) {
        Ok(Message { outcome: StoredOutcome::Quarantined(reason), .. }) => (reason, String::new()),
        Ok(Message { outcome: StoredOutcome::Held(reason, Some(target)), policy, .. }) => {
            let policy = policies.version(policy);
            let id = policy.as_ref().and_then(|policy| policy.targets().get(target.index()));
            (reason, id.map(|target| target.id.clone()).unwrap_or_default())
        }
        Ok(Message { outcome: StoredOutcome::Held(reason, None), .. }) => (reason, String::new()),
        Ok(Message { outcome: StoredOutcome::Routed { .. }, .. }) | Err(_) => {
            (Reason::CannotDecode, String::new())
        }
    };
    Keep { origin: seq, by: String::new(), target, reason: reason.name().to_owned(), message: bytes.to_vec() }
}
