//! Backlogs: what waits for a target that lags behind the others, moved out of
//! the shared journal, so that a dead target does not hold everybody's segments.
//!
//! A backlog is a further journal of the same crate, one a target, made when it
//! is first needed. Its records are the target's own and no other's, as they
//! were, each behind its number in the journal: to the relay nothing changes
//! but where it reads ([`Source`]), so order, ids, gate and counts stay.
//!
//! copy → sync → show to the relay → only then does the journal's cursor pass.
//! How far the target is really done stands in the ledger (`served`). A backlog
//! whose target is done with all that was moved is given back to the disk.
//! INVARIANT: what is below the journal's cursor and not below `served` is in
//! the backlog, synced. So one whose `served` is at the cursor or above may go,
//! whatever is in it: what it holds beyond is still in the journal.
//! INVARIANT: copying again after a crash adds nothing: records are moved in
//! order, and the last that a backlog holds is read back from it.

mod source;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use octroi_journal::{
    AppendError, AppendRefusal, Batch, Chunk, ChunkBuilder, CommitError, Journal, ReadError, Reader,
    Recovery, TargetBit,
};
use tokio::time::Instant;

use crate::committer::{Control, Inbox, JournalView, Watermark};
use crate::fail_point;
use crate::limits;
use crate::pipeline::RelayView;
use crate::status::OutletState;

use source::origin;
pub use source::{Reading, Shelf, Source};

/// A backlog cannot be moved into: the hub stops, nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum BacklogError {
    /// The disk failed it.
    #[error("the backlog of `{target}` cannot be written; what it does not hold is still in the journal")]
    Write {
        /// Whose.
        target: String,
        /// Why.
        #[source]
        source: CommitError,
    },
    /// It cannot be read back at a start.
    #[error("the backlog of `{target}` cannot be read")]
    Recover {
        /// Whose.
        target: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// Whether there is one cannot be told.
    #[error("it cannot be told whether there is a backlog of `{target}`")]
    Look {
        /// Whose.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be read.
    #[error("the journal cannot be read for the backlog of `{target}`")]
    Journal {
        /// Whose.
        target: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A record that the journal took is too large for a backlog.
    #[error("the backlog of `{target}` does not take a record: {reason}")]
    Refused {
        /// Whose.
        target: String,
        /// What.
        reason: String,
    },
}

/// Where a backlog lives, which need not be there.
pub trait Home: Send {
    /// Whether there is one.
    ///
    /// # Errors
    /// Nobody can tell.
    fn is_there(&self) -> io::Result<bool>;
    /// Opens its journal, or makes it.
    ///
    /// # Errors
    /// It is damaged, or the disk fails it.
    fn open(&self) -> anyhow::Result<(Journal, Recovery)>;
    /// Removes it, in any order, and whether or not that is on disk when power goes: nothing of it is needed, and
    /// nothing that stays of it is read.
    ///
    /// # Errors
    /// The disk fails it.
    fn remove(&self) -> io::Result<()>;
}

/// A backlog in a directory of its own.
pub struct Directory<O> {
    /// Where.
    pub path: PathBuf,
    /// Opens its journal, or makes it.
    pub open: O,
}

impl<O: Fn() -> anyhow::Result<(Journal, Recovery)> + Send> Home for Directory<O> {
    fn is_there(&self) -> io::Result<bool> {
        self.path.try_exists()
    }

    fn open(&self) -> anyhow::Result<(Journal, Recovery)> {
        (self.open)()
    }

    fn remove(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.path)
    }
}

/// Whose backlog, and where it is.
pub struct Place {
    /// The target's id.
    pub target: String,
    /// Its bit in the journal.
    pub bit: TargetBit,
    /// Where it lives.
    pub home: Box<dyn Home>,
}

impl Place {
    /// Makes a backlog. What stays of an earlier one, which has its last records maybe and not those before, goes
    /// first.
    fn make(&self) -> anyhow::Result<Log> {
        if self.home.is_there()? {
            self.home.remove().context("what is left of an earlier backlog cannot be removed")?;
        }
        Log::recover(self)
    }

    /// Removes a backlog that nobody needs any more.
    fn clear(&self) {
        fail_point::reached("backlog.is_done_with");
        match self.home.remove() {
            Ok(()) => tracing::info!(target = %self.target, "the target's backlog is empty and given back"),
            Err(error) => tracing::warn!(%error, target = %self.target,
                "the target's backlog is empty and cannot be removed; tried again before another is made, or \
                 at the next start"),
        }
        fail_point::reached("backlog.is_given_back");
    }
}

/// One target's backlog, as its mover sees it.
pub struct Lane {
    place: Place,
    /// The journal, at `at`.
    reader: Reader,
    /// Everything of the target's below is in the backlog, or done with.
    at: u64,
    log: Option<Log>,
    shelf: Arc<Shelf>,
    relay: Arc<ArcSwap<RelayView>>,
    /// The journal's cursor.
    cursor: u64,
    /// What the target is done with, and since when.
    served: (u64, Instant),
    /// Whether it was said that nothing can be moved.
    is_full: bool,
}

struct Log {
    journal: Journal,
    /// The number in the shared journal of its last record.
    last: Option<u64>,
    /// Since when the target is done with all that was moved.
    empty: Option<Instant>,
}

impl Lane {
    /// At a start: the lane, and where its target's relay begins to read, and from what. A backlog that is
    /// done with is removed.
    ///
    /// # Errors
    /// There is one that cannot be read.
    pub fn recover(
        place: Place,
        journal: &Reader,
        view: &JournalView,
        relay: Arc<ArcSwap<RelayView>>,
        now: Instant,
    ) -> anyhow::Result<(Self, Source, u64)> {
        let cursor = view.cursor(place.bit);
        let served = view.served(place.bit, cursor);
        let mut log = None;
        let is_there = place.home.is_there();
        if is_there.map_err(|source| BacklogError::Look { target: place.target.clone(), source })? {
            if served < cursor {
                log = Some(Log::recover(&place)?);
            } else {
                place.clear();
            }
        }
        // Without a backlog what is below the cursor is done with, and may be gone.
        let start = if log.is_some() { served } else { served.max(cursor) };
        let shelf = Arc::new(Shelf::default());
        if let Some(log) = &log {
            shelf.hold(&log.journal);
            shelf.moved_to(cursor);
        }
        let source = Source::new(place.bit, journal.at(start), start, Arc::clone(&shelf));
        let (reader, served, is_full) = (journal.at(cursor), (start, now), false);
        Ok((Self { place, reader, at: cursor, log, shelf, relay, cursor, served, is_full }, source, start))
    }

    /// What others see of the backlog.
    #[must_use]
    pub fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// Takes in where the target is by now, and lets go of what it is done with.
    fn see(&mut self, view: &JournalView, now: Instant) {
        let bit = self.place.bit;
        let Some((_, _, cursor)) = view.targets.iter().find(|(_, known, _)| *known == bit) else { return };
        self.cursor = *cursor;
        if self.at < self.cursor {
            self.at = self.cursor;
            self.reader.seek(self.at);
        }
        let served = view.served(bit, *cursor);
        if served > self.served.0 {
            self.served = (served, now);
            self.trim();
        }
        self.give_back(now);
    }

    /// Gives back a backlog that is empty for [`limits::BACKLOG_KEPT`], so that a target that lags now and then
    /// does not have one made and removed each time.
    ///
    /// INVARIANT: the relay reads nothing of it any more: it is never behind what is on record as served.
    fn give_back(&mut self, now: Instant) {
        let Some(log) = &mut self.log else { return };
        if self.served.0 < self.shelf.moved() {
            log.empty = None;
            return;
        }
        let since = *log.empty.get_or_insert(now);
        if now.saturating_duration_since(since) >= limits::BACKLOG_KEPT {
            self.shelf.let_go();
            self.log = None;
            self.place.clear();
        }
    }

    /// Whether the target holds old segments back, and will for some time. One that is only behind catches up
    /// from the journal itself; one that is busy with its backlog has what follows moved there too.
    fn lags(&self, segment: u64, crowded: bool, now: Instant) -> bool {
        let (served, since) = self.served;
        let is_down =
            matches!(self.relay.load().state, OutletState::Down | OutletState::Blocked | OutletState::Paused);
        let is_stuck = now.saturating_duration_since(since) >= limits::LAGGARD_AFTER;
        let is_busy = served < self.shelf.moved();
        self.at < segment && served < segment && (is_down || is_stuck || is_busy || crowded)
    }

    /// Moves one read of the journal's. Says whether it did; `false`: there is no room.
    fn move_on(&mut self, batch: &mut Batch) -> Result<bool, BacklogError> {
        let target = || self.place.target.clone();
        match self.reader.next(Some(self.place.bit), limits::RELAY_READ_BYTES, batch) {
            Ok(()) => {}
            Err(ReadError::Trimmed { first_seq, .. }) => {
                // The target went on by itself, and its cursor with it.
                self.at = first_seq;
                self.reader.seek(first_seq);
                return Ok(true);
            }
            Err(source) => return Err(BacklogError::Journal { target: target(), source }),
        }
        for lost in batch.lost() {
            tracing::error!(target = %self.place.target, first = lost.start, end = lost.end,
                "records of the journal are damaged and fenced; their neighbours go to the backlog");
        }
        if !self.copy(batch)? {
            self.reader.seek(self.at);
            return Ok(false);
        }
        (self.at, self.is_full) = (batch.end(), false);
        self.shelf.moved_to(self.at);
        Ok(true)
    }

    /// Copies and syncs what is not there already. `false`: there is no room for all of it.
    fn copy(&mut self, batch: &Batch) -> Result<bool, BacklogError> {
        let mut records = ChunkBuilder::new(limits::BACKLOG_CHUNK_BYTES);
        let mut last = self.log.as_ref().and_then(|log| log.last);
        for entry in batch.iter() {
            if last.is_some_and(|last| entry.seq <= last) {
                continue;
            }
            let full = records.len() + entry.bytes.len() > limits::BACKLOG_CHUNK_BYTES;
            if full && !records.is_empty() && !self.put(records.finish(), last)? {
                return Ok(false);
            }
            records
                .push(entry.kind, 0, &[&entry.seq.to_le_bytes(), entry.bytes])
                .map_err(|error| self.refused(&error.to_string()))?;
            last = Some(entry.seq);
        }
        Ok(records.is_empty() || self.put(records.finish(), last)?)
    }

    /// Writes and syncs one chunk, whose last record is `last`. `false`: there is no room.
    fn put(&mut self, chunk: Chunk, last: Option<u64>) -> Result<bool, BacklogError> {
        if self.log.is_none() {
            match self.place.make() {
                Ok(log) => {
                    tracing::warn!(target = %self.place.target,
                        "the target lags behind: what waits for it is moved to a backlog of its own");
                    self.shelf.hold(&log.journal);
                    self.log = Some(log);
                }
                Err(error) => return Ok(self.full(&format!("{error:#}"))),
            }
        }
        let Some(log) = &mut self.log else { return Ok(false) };
        match log.journal.append(chunk) {
            Ok(_) => {}
            Err(AppendError { reason: reason @ AppendRefusal::Full { .. }, .. }) => {
                return Ok(self.full(&reason.to_string()));
            }
            Err(AppendError { reason, .. }) => return Err(self.refused(&reason.to_string())),
        }
        let before = log.last;
        match log.journal.commit(&mut |out| write_snapshot(before, out)) {
            Ok(_) => {
                log.last = last;
                self.shelf.has_bytes(log.journal.stats().bytes_on_disk);
                Ok(true)
            }
            Err(CommitError::Full { source, .. }) => Ok(self.full(&source.to_string())),
            Err(source) => Err(BacklogError::Write { target: self.place.target.clone(), source }),
        }
    }

    fn full(&mut self, reason: &str) -> bool {
        if !std::mem::replace(&mut self.is_full, true) {
            tracing::error!(target = %self.place.target, reason,
                "nothing more is moved to the target's backlog, and what waits stays in the journal, which takes \
                 no messages once it is full: mend the target, or raise `journal.backlog_limit`");
        }
        false
    }

    fn refused(&self, reason: &str) -> BacklogError {
        BacklogError::Refused { target: self.place.target.clone(), reason: reason.to_owned() }
    }

    /// Lets go of the backlog's segments that the target is done with, durably.
    fn trim(&mut self) {
        let Some(log) = &mut self.log else { return };
        let served = self.served.0;
        let passed = match log.last {
            Some(last) if served <= last => self.shelf.passed(served),
            Some(_) | None => Some(log.journal.durable().end()),
        };
        let Some(passed) = passed else { return };
        log.journal.retain_from(passed);
        if let Err(error) = log.journal.trim() {
            tracing::warn!(%error, target = %self.place.target,
                "old segments of a backlog could not be removed; tried again with the next cursor");
        }
        self.shelf.has_bytes(log.journal.stats().bytes_on_disk);
    }

    fn seal(&mut self) -> Result<(), BacklogError> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let last = log.last;
        let sealed = log.journal.seal(&mut |out| write_snapshot(last, out));
        sealed.map(drop).map_err(|source| BacklogError::Write { target: self.place.target.clone(), source })
    }
}

impl Log {
    /// Opens it, and reads back which record is its last.
    fn recover(place: &Place) -> anyhow::Result<Self> {
        let (journal, recovery) = place.home.open()?;
        let mut last = recovery.snapshot.first_chunk().copied().map(u64::from_le_bytes);
        let (mut reader, mut batch) = (journal.reader(recovery.snapshot_seq), Batch::default());
        while reader.durable().covers(batch.end().max(recovery.snapshot_seq)) {
            let read = reader.next(None, limits::RELAY_READ_BYTES, &mut batch);
            read.map_err(|source| BacklogError::Recover { target: place.target.clone(), source })?;
            last = batch.iter().filter_map(|entry| origin(&entry)).last().or(last);
        }
        Ok(Self { journal, last, empty: None })
    }
}

/// The number of the last record, for whoever recovers from here.
fn write_snapshot(last: Option<u64>, out: &mut Vec<u8>) {
    out.extend(last.into_iter().flat_map(u64::to_le_bytes));
}

/// What the mover's thread owns.
pub struct Backlogs {
    /// By target.
    pub lanes: Vec<Lane>,
    /// The journal's owner.
    pub inbox: Arc<Inbox>,
    /// How far the journal is on disk.
    pub watermark: Arc<Watermark>,
    /// What the journal adds up to.
    pub journal: Arc<ArcSwap<JournalView>>,
    /// Bytes at which the journal is crowded: from there on whoever holds segments back is moved, down or not.
    pub crowded: u64,
    /// Set when the hub stops.
    pub stop: Arc<AtomicBool>,
}

impl Backlogs {
    /// Runs until the hub stops.
    ///
    /// # Errors
    /// See [`BacklogError`].
    pub fn run(mut self, now: impl Fn() -> Instant) -> Result<(), BacklogError> {
        let mut batch = Batch::default();
        while !self.stop.load(Ordering::Acquire) {
            let moved = self.turn(&mut batch, now())?;
            let wait = match (moved, self.watermark.pressed()) {
                (false, _) => limits::RELAY_IDLE,
                // Publishers first.
                (true, true) => limits::RELAY_POLL,
                (true, false) => Duration::ZERO,
            };
            if !wait.is_zero() {
                // No wait for the watermark, which would wake it for each group of the journal.
                std::thread::park_timeout(wait);
            }
        }
        self.lanes.iter_mut().try_for_each(Lane::seal)
    }

    /// One read for each target that lags. Says whether there may be more to move at once.
    ///
    /// # Errors
    /// See [`BacklogError`].
    pub fn turn(&mut self, batch: &mut Batch, now: Instant) -> Result<bool, BacklogError> {
        let view = self.journal.load_full();
        let segment = self.watermark.segment();
        for lane in &mut self.lanes {
            lane.see(&view, now);
        }
        // While every target is behind, the journal itself is their backlog: to move would free nothing.
        let one_is_ahead = self.lanes.iter().any(|lane| lane.served.0 >= segment);
        let mut moved = false;
        for lane in &mut self.lanes {
            let moves = one_is_ahead && lane.lags(segment, view.bytes >= self.crowded, now);
            let moves = moves && lane.move_on(batch)?;
            if lane.shelf.moved() > lane.cursor {
                let (target, cursor) = (lane.place.bit, lane.shelf.moved());
                self.inbox.control(Control::Aside { target, cursor });
            }
            moved |= moves;
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests;
