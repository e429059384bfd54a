//! The side logs: what may not go out now and must not pin the journal. Two
//! more journals, `quarantine` and `hold`, owned by one thread.
//!
//! In: what was decided on arrival is read from the journal by its own bits and
//! copied here; what a relay withholds is handed over. Either way: copy, sync,
//! and only then does a cursor pass. Copying again after a crash is idempotent:
//! origins are handed over in order, so each feeder's last one is remembered in
//! the side log itself.
//!
//! Out (`keeper/leave.rs`): in each policy epoch the hold log is walked once,
//! and what the policy in force allows by then goes; what is in quarantine goes
//! on an operator's word alone, and by the policy all the same.
//!
//! INVARIANT: nothing goes from here to a target: what is released becomes a
//! record of the journal, and passes the gate like every other.

mod errand;
mod leave;
mod side_log;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use octroi_journal::{Batch, CommitError, ReadError, Reader, TargetBit};
use octroi_policy::{Reason, Timestamp};
use tokio::sync::oneshot;

use crate::clock::PolicyClock;
use crate::committer::{Control, Inbox, Watermark};
use crate::fail_point;
use crate::limits;
use crate::patience::Patience;
use crate::policies::Policies;
use crate::record::{Kept, Log, Message, RecordKind, StoredOutcome};
use crate::state::State;

pub use errand::{Errand, Pick, Report};
pub use leave::Leaving;
pub use side_log::SideLog;

/// A message on its way into a side log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Generation of the journal that it comes from.
    pub generation: u64,
    /// Its sequence number there.
    pub origin: u64,
    /// Policy time since when it is kept.
    pub since: Timestamp,
    /// The policy that keeps it.
    pub policy: u64,
    /// See [`Kept::by`].
    pub by: String,
    /// The target it is kept for; empty: none in particular.
    pub target: String,
    /// Stable name of why.
    pub reason: String,
    /// Its record.
    pub message: Vec<u8>,
}

impl Keep {
    /// As it will stand in the side log.
    fn kept(&self) -> Kept<'_> {
        let Self { generation, origin, since, policy, by, target, reason, message } = self;
        Kept {
            generation: *generation,
            origin: *origin,
            since: *since,
            policy: *policy,
            by,
            target,
            reason,
            message,
        }
    }

    fn feeder(&self) -> String {
        side_log::feeder(self.generation, &self.by)
    }
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

/// The keeper is gone: the hub stops.
#[derive(Debug)]
pub struct Gone;

struct Request {
    log: Log,
    keeps: Vec<Keep>,
    /// Told how many of them, from the first on, are kept and synced; fewer than all: the side log is full.
    done: oneshot::Sender<usize>,
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

    /// Asks for messages to be kept, and is told after their sync. `false`: the side log is full, and nothing
    /// is kept.
    ///
    /// # Errors
    /// The keeper's thread ended.
    pub fn keep(&self, log: Log, keeps: Vec<Keep>) -> Result<oneshot::Receiver<usize>, Gone> {
        let (done, told) = oneshot::channel();
        // There is room: each target's relay waits for one answer before it asks for the next.
        self.requests.send(Request { log, keeps, done }).map_err(|_| Gone)?;
        Ok(told)
    }
}

/// What relays asked for.
pub struct Requests(Receiver<Request>);

/// Where a side log reads the journal.
pub struct Feed {
    bit: TargetBit,
    reader: Reader,
    /// Everything below is in the side log, or not for it.
    cursor: u64,
    /// The cursor as last handed over.
    handed: u64,
    /// Copied since.
    copied: u64,
}

impl Feed {
    /// For what carries this bit, from where the journal says that the side log is.
    #[must_use]
    pub fn new(bit: TargetBit, reader: Reader, cursor: u64) -> Self {
        Self { bit, reader, cursor, handed: cursor, copied: 0 }
    }
}

/// What the keeper's thread owns.
pub struct Keeping {
    /// What relays ask for.
    pub requests: Requests,
    /// What operators ask for.
    pub errands: Receiver<Errand>,
    /// The quarantine.
    pub quarantine: SideLog,
    /// The hold log.
    pub hold: SideLog,
    /// Where each side log reads the journal: its bit, a reader, its cursor.
    pub feeds: [Feed; 2],
    /// The journal's generation.
    pub generation: u64,
    /// The journal's owner.
    pub inbox: Arc<Inbox>,
    /// How far the journal is on disk.
    pub watermark: Arc<Watermark>,
    /// The policies.
    pub policies: Arc<Policies>,
    /// Policy time.
    pub clock: Arc<PolicyClock>,
    /// The index.
    pub state: Arc<State>,
    /// Set when the hub stops.
    pub stop: Arc<AtomicBool>,
    /// What is on its way out.
    pub leaving: Leaving,
}

impl Keeping {
    /// Runs until the hub stops and every relay has ended.
    ///
    /// # Errors
    /// A side log cannot be read or written: the hub stops, nothing is lost.
    pub fn run(mut self) -> Result<(), KeeperError> {
        let mut batch = Batch::default();
        while self.step(&mut batch, Patience::Waits)? {}
        self.quarantine.seal()?;
        self.hold.seal()?;
        self.state.flush();
        Ok(())
    }

    /// One turn, and what one relay asks. Says whether there is another.
    ///
    /// # Errors
    /// A side log cannot be read or written: the hub stops, nothing is lost.
    pub fn step(&mut self, batch: &mut Batch, patience: Patience) -> Result<bool, KeeperError> {
        let moved = self.turn(batch)?;
        let wait = if moved { Duration::ZERO } else { patience.at_most(limits::RELAY_POLL) };
        match self.requests.0.recv_timeout(wait) {
            Ok(request) => self.serve(request)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if !moved && self.stop.load(Ordering::Acquire) => {
                return Ok(false);
            }
            Err(RecvTimeoutError::Disconnected) => self.watermark.wait_past(self.watermark.get(), wait),
        }
        Ok(true)
    }

    /// One turn of everything but what relays ask. Says whether there may be more to do at once.
    fn turn(&mut self, batch: &mut Batch) -> Result<bool, KeeperError> {
        self.quarantine.reindex(&self.state)?;
        self.hold.reindex(&self.state)?;
        let copied = self.copy(0, batch)? | self.copy(1, batch)?;
        self.hand_over();
        Ok(copied | self.leave(batch)?)
    }

    fn serve(&mut self, request: Request) -> Result<(), KeeperError> {
        let Request { log, keeps, done } = request;
        let (side, state) = self.side_log(log);
        let kept = side.keep(&keeps, state)?;
        fail_point::reached("keeper.kept");
        // A relay that is gone needs no answer.
        done.send(kept).ok();
        Ok(())
    }

    fn side_log(&mut self, log: Log) -> (&mut SideLog, &State) {
        let side = match log {
            Log::Quarantine => &mut self.quarantine,
            Log::Hold => &mut self.hold,
        };
        (side, &self.state)
    }

    /// Copies one batch of what was quarantined or held on arrival. Says whether there may be more.
    fn copy(&mut self, feed: usize, batch: &mut Batch) -> Result<bool, KeeperError> {
        let log = feed;
        let Some(feed) = self.feeds.get_mut(log) else { return Ok(false) };
        if feed.cursor >= self.watermark.get() {
            return Ok(false);
        }
        feed.reader.next(Some(feed.bit), limits::RELAY_READ_BYTES, batch).map_err(KeeperError::Journal)?;
        let mut keeps = Vec::new();
        for entry in batch.iter().filter(|entry| entry.kind == RecordKind::Message as u8) {
            keeps.push(kept_on_arrival(self.generation, entry.seq, entry.bytes, &self.policies));
        }
        let end = batch.end();
        if end <= feed.cursor {
            return Ok(false);
        }
        let side = if log == 0 { &mut self.quarantine } else { &mut self.hold };
        if side.keep(&keeps, &self.state)? < keeps.len() {
            // What the side log does not hold stays in the journal; tried again, not at once.
            feed.reader.seek(feed.cursor);
            return Ok(false);
        }
        fail_point::reached("keeper.copied");
        feed.cursor = end;
        feed.copied += keeps.len() as u64;
        Ok(true)
    }

    /// Hands over the cursors that passed something, or hold a segment back: each is a record too.
    fn hand_over(&mut self) {
        let segment = self.watermark.segment();
        for feed in &mut self.feeds {
            if feed.cursor > feed.handed && (feed.copied > 0 || feed.handed < segment) {
                self.inbox.control(Control::Advance {
                    target: feed.bit,
                    cursor: feed.cursor,
                    delivered: std::mem::take(&mut feed.copied),
                    withheld: 0,
                });
                feed.handed = feed.cursor;
            }
        }
    }
}

fn kept_on_arrival(generation: u64, seq: u64, bytes: &[u8], policies: &Policies) -> Keep {
    let message = Message::read(bytes).ok();
    let (reason, held_for) = match message.as_ref().map(|message| &message.outcome) {
        Some(StoredOutcome::Quarantined(reason)) => (*reason, None),
        Some(StoredOutcome::Held(reason, target)) => (*reason, *target),
        Some(StoredOutcome::Routed { .. }) | None => (Reason::CannotDecode, None),
    };
    let policy = message.as_ref().map_or(0, |message| message.policy);
    let target = held_for.and_then(|target| {
        let policy = policies.version(policy)?;
        policy.targets().get(target.index()).map(|target| target.id.clone())
    });
    Keep {
        generation,
        origin: seq,
        since: message.as_ref().map_or(Timestamp(0), Message::decided),
        policy,
        by: String::new(),
        target: target.unwrap_or_default(),
        reason: reason.name().to_owned(),
        message: bytes.to_vec(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
