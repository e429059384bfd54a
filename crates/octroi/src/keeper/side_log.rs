//! One side log: a journal of kept messages and of their fates.
//!
//! INVARIANT: a segment goes only when no message in it is kept any more, and
//! only while the index is known to be whole.

use std::collections::{BTreeMap, BTreeSet};

use octroi_journal::{
    AppendError, AppendRefusal, Batch, Chunk, ChunkBuilder, CommitError, Journal, PushError, ReadError,
    Reader, Recovery,
};
use serde::{Deserialize, Serialize};

use super::{Keep, KeeperError};
use crate::fail_point;
use crate::limits;
use crate::record::{Fate, Kept, Log, Message, RecordError, RecordKind, What};
use crate::snapshot;
use crate::state::{Change, Entry, State};

/// What a side log adds up to; its snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Summary {
    /// The last origin of each feeder (see [`Keep::feeder`]), which hands them over in order.
    last: BTreeMap<String, u64>,
    /// The last message of what was last taken over from the other side log: its generation and number there.
    taken: Option<(u64, u64)>,
}

/// One side log.
pub struct SideLog {
    log: Log,
    journal: Journal,
    reader: Reader,
    summary: Summary,
    /// Whether it was said that there is no room.
    is_full: bool,
    /// The index missed a change: it is brought up to date before it is relied on.
    stale: bool,
}

impl SideLog {
    /// Over an opened journal, whose snapshot and tail say which origins it holds.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn recover(log: Log, journal: Journal, recovery: &Recovery) -> Result<Self, KeeperError> {
        let summary = snapshot::read(&recovery.snapshot)
            .map_err(|error| KeeperError::Foreign { log: log.name(), reason: error.to_string() })?;
        let reader = journal.reader(recovery.snapshot_seq);
        let mut side = Self { log, journal, reader, summary, is_full: false, stale: true };
        let mut summary = std::mem::take(&mut side.summary);
        side.walk(recovery.snapshot_seq, &mut |read| {
            for entry in read.iter() {
                match Record::read(entry)? {
                    Some(Record::Kept(kept)) if kept.by == TAKEN_OVER => {}
                    Some(Record::Kept(kept)) => {
                        let last = summary.last.entry(feeder(kept.generation, kept.by)).or_default();
                        *last = kept.origin.max(*last);
                    }
                    Some(Record::Fate(fate)) if fate.log != log => summary.taken = mark(&fate),
                    Some(Record::Fate(_)) | None => {}
                }
            }
            Ok(())
        })?;
        side.summary = summary;
        Ok(side)
    }

    /// Its generation, part of the ids of what it keeps.
    pub fn generation(&self) -> u64 {
        self.journal.generation()
    }

    /// A reader of it, for other threads.
    pub fn reader(&self) -> Reader {
        self.journal.reader(0)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.journal.stats().bytes_on_disk
    }

    /// Whether it takes more messages. A fifth of it is left for tombstones: without them nothing ever goes.
    pub fn has_room(&self) -> bool {
        let stats = self.journal.stats();
        stats.bytes_on_disk <= stats.limit / 5 * 4
    }

    /// Copies and syncs, leaving out what it holds already. Gives how many of them, from the first on, it holds
    /// by then: fewer than all where there is no room.
    pub fn keep(&mut self, keeps: &[Keep], state: &State) -> Result<usize, KeeperError> {
        let mut builder = ChunkBuilder::new(limits::CHUNK_BYTES);
        let mut in_chunk: Vec<(usize, &Keep)> = Vec::new();
        // What is copied on arrival comes in order. A relay goes back when the policy changes: what passed the
        // gate then, and is withheld now, was never kept, though something behind it was.
        let goes_back = keeps.iter().any(|keep| !keep.by.is_empty() && self.was_passed(keep));
        let held = if goes_back { state.origins(self.log) } else { BTreeSet::new() };
        for (n, keep) in keeps.iter().enumerate() {
            let is_held = || keep.by.is_empty() || held.contains(&(keep.by.clone(), keep.origin));
            if !(self.was_passed(keep) && is_held()) {
                self.push(&mut builder, keep)?;
                in_chunk.push((n, keep));
            }
            if builder.len() < limits::CHUNK_BYTES && n + 1 < keeps.len() {
                continue;
            }
            if let Some((first, _)) = in_chunk.first().copied()
                && !self.put(builder.finish(), in_chunk.iter().map(|(_, keep)| *keep), state)?
            {
                return Ok(first);
            }
            in_chunk.clear();
        }
        Ok(keeps.len())
    }

    /// Whether its feeder has handed over this one, or one behind it.
    fn was_passed(&self, keep: &Keep) -> bool {
        self.summary.last.get(&keep.feeder()).is_some_and(|last| *last >= keep.origin)
    }

    /// Writes and syncs one chunk of messages. `false`: there is no room, and nothing of it is kept.
    fn put<'a>(
        &mut self,
        chunk: Chunk,
        keeps: impl Iterator<Item = &'a Keep> + Clone,
        state: &State,
    ) -> Result<bool, KeeperError> {
        let first = if self.has_room() { self.write(chunk)? } else { None };
        let Some(first) = first else { return Ok(self.full()) };
        for keep in keeps.clone() {
            let last = self.summary.last.entry(keep.feeder()).or_insert(keep.origin);
            *last = keep.origin.max(*last);
        }
        self.index(&self.entered(first, keeps), state);
        Ok(true)
    }

    /// Takes over what the other side log no longer keeps, all of it in one group with the fate that says
    /// so: doing it again after a crash adds nothing. Into the room for tombstones too: it has nowhere else
    /// to go any more. `false`: there is no room, and nothing of it is kept.
    pub fn take_over(&mut self, keeps: &[Keep], fate: &Fate, state: &State) -> Result<bool, KeeperError> {
        if self.summary.taken == mark(fate) {
            return Ok(true);
        }
        let mut builder = ChunkBuilder::new(limits::CHUNK_BYTES);
        for keep in keeps {
            self.push(&mut builder, keep)?;
        }
        let pushed = builder.push(RecordKind::Fate as u8, 0, &[&fate.to_bytes()]);
        pushed.map_err(|error| self.foreign(&error))?;
        let Some(first) = self.write(builder.finish())? else { return Ok(self.full()) };
        self.summary.taken = mark(fate);
        self.index(&self.entered(first, keeps.iter()), state);
        Ok(true)
    }

    fn push(&self, builder: &mut ChunkBuilder, keep: &Keep) -> Result<(), KeeperError> {
        let mut header = Vec::new();
        keep.kept().write_header(&mut header);
        let pushed = builder.push(RecordKind::Kept as u8, 0, &[&header, &keep.message]);
        pushed.map_err(|error| self.foreign(&error))
    }

    fn entered<'a>(&self, first: u64, keeps: impl Iterator<Item = &'a Keep>) -> Vec<Change> {
        let generation = self.generation();
        (first..)
            .zip(keeps)
            .map(|(seq, keep)| Change::In(seq, entry(generation, seq, &keep.kept())))
            .collect()
    }

    /// Writes and syncs what became of messages: a tombstone, or another reason. `false`: there is no room.
    pub fn settle(&mut self, fate: &Fate, state: &State) -> Result<bool, KeeperError> {
        let mut builder = ChunkBuilder::new(limits::CHUNK_HINT_BYTES);
        let pushed = builder.push(RecordKind::Fate as u8, 0, &[&fate.to_bytes()]);
        pushed.map_err(|error| self.foreign(&error))?;
        if self.write(builder.finish())?.is_none() {
            return Ok(self.full());
        }
        self.index(&changes(fate), state);
        if fate.what != What::Stays {
            self.trim(state);
        }
        Ok(true)
    }

    /// One group, synced; the sequence number of its first record. `None`: there is no room.
    fn write(&mut self, chunk: Chunk) -> Result<Option<u64>, KeeperError> {
        let first = match self.journal.append(chunk) {
            Ok(seqs) => seqs.start,
            Err(AppendError { reason: AppendRefusal::Full { .. }, .. }) => return Ok(None),
            Err(AppendError { reason, .. }) => {
                return Err(KeeperError::Foreign { log: self.log.name(), reason: reason.to_string() });
            }
        };
        let summary = &self.summary;
        match self.journal.commit(&mut |out| snapshot::write(summary, out)) {
            Ok(_) => {
                fail_point::reached("side_log.synced");
                self.is_full = false;
                Ok(Some(first))
            }
            Err(CommitError::Full { .. }) => Ok(None),
            Err(source) => Err(KeeperError::Write { log: self.log.name(), source }),
        }
    }

    /// Ends in a state from which a torn tail is told apart.
    pub fn seal(&mut self) -> Result<(), KeeperError> {
        let summary = &self.summary;
        let sealed = self.journal.seal(&mut |out| snapshot::write(summary, out));
        sealed.map(drop).map_err(|source| KeeperError::Write { log: self.log.name(), source })
    }

    fn full(&mut self) -> bool {
        let log = self.log.name();
        if !std::mem::replace(&mut self.is_full, true) {
            tracing::error!(
                log,
                "the side log is full: what belongs there stays in the journal; release or purge what is in \
                 quarantine, or raise `journal.limit`"
            );
        }
        false
    }

    fn foreign(&self, error: &PushError) -> KeeperError {
        KeeperError::Foreign { log: self.log.name(), reason: error.to_string() }
    }

    fn index(&mut self, changes: &[Change], state: &State) {
        // What comes after a change that was missed must not move the mark past it.
        self.stale =
            self.stale || !state.apply(self.log, self.generation(), self.journal.next_seq(), changes);
        fail_point::reached("side_log.indexed");
    }

    /// Brings the index up to date, where it is not: at the start, and after it missed a change.
    pub fn reindex(&mut self, state: &State) -> Result<(), KeeperError> {
        if !self.stale {
            return Ok(());
        }
        let (log, generation) = (self.log, self.generation());
        let from = state.indexed_upto(log, generation).max(self.journal.stats().first_seq);
        let mut whole = true;
        self.walk(from, &mut |read| {
            let mut seen = Vec::new();
            for at in read.iter() {
                match Record::read(at)? {
                    Some(Record::Kept(kept)) => {
                        seen.push(Change::In(at.seq, entry(generation, at.seq, &kept)))
                    }
                    Some(Record::Fate(fate)) if fate.log == log => seen.extend(changes(&fate)),
                    Some(Record::Fate(_)) | None => {}
                }
            }
            whole = whole && state.apply(log, generation, read.end(), &seen);
            Ok(())
        })?;
        self.stale = !whole;
        Ok(())
    }

    /// Whether the index is whole, as far as anybody knows.
    pub fn is_indexed(&self) -> bool {
        !self.stale
    }

    /// Lets segments go in which nothing is kept any more.
    fn trim(&mut self, state: &State) {
        if self.stale {
            return;
        }
        let Some(lowest) = state.lowest(self.log, self.journal.durable().end()) else { return };
        self.journal.retain_from(lowest);
        if let Err(error) = self.journal.trim() {
            tracing::warn!(%error, log = self.log.name(), "old segments could not be removed");
        }
    }

    /// What stands from `from` on, one read of it.
    pub fn read(&mut self, from: u64, batch: &mut Batch) -> Result<(), KeeperError> {
        self.reader.seek(from);
        let read = self.reader.next(None, limits::RELAY_READ_BYTES, batch);
        read.map_err(|source: ReadError| KeeperError::Read { log: self.log.name(), source })
    }

    /// Everything from `from` on, read by read.
    fn walk(
        &mut self,
        from: u64,
        visit: &mut dyn FnMut(&Batch) -> Result<(), RecordError>,
    ) -> Result<(), KeeperError> {
        let (mut batch, mut at, end) = (Batch::default(), from, self.journal.next_seq());
        while at < end {
            self.read(at, &mut batch)?;
            let visited = visit(&batch);
            visited
                .map_err(|error| KeeperError::Foreign { log: self.log.name(), reason: error.to_string() })?;
            if batch.end() <= at {
                break;
            }
            at = batch.end();
        }
        Ok(())
    }
}

/// A record of a side log.
enum Record<'a> {
    Kept(Kept<'a>),
    Fate(Fate),
}

impl<'a> Record<'a> {
    fn read(read: octroi_journal::Entry<'a>) -> Result<Option<Self>, RecordError> {
        let kind = RecordKind::of(read.kind)?;
        Ok(if kind == RecordKind::Kept {
            Some(Self::Kept(Kept::read(read.bytes)?))
        } else if kind == RecordKind::Fate {
            Some(Self::Fate(Fate::read(read.bytes)?))
        } else {
            None
        })
    }
}

/// Who put a message into the quarantine that was held for too long.
pub(super) const TAKEN_OVER: &str = "#hold";

/// What tells a fate of the other side log from the one before it.
fn mark(fate: &Fate) -> Option<(u64, u64)> {
    fate.seqs.last().map(|last| (fate.generation, *last))
}

/// Who hands messages over in order: somebody, out of one journal.
pub(super) fn feeder(generation: u64, by: &str) -> String {
    format!("{generation:016x} {by}")
}

/// What a fate changes in the index.
fn changes(fate: &Fate) -> Vec<Change> {
    let change = |seq: &u64| match fate.what {
        What::Stays => Change::Reason(*seq, fate.why.clone()),
        What::Released | What::Purged | What::Expired => Change::Out(*seq),
    };
    fate.seqs.iter().map(change).collect()
}

/// What the index says of a kept message.
fn entry(generation: u64, seq: u64, kept: &Kept<'_>) -> Entry {
    let message = Message::read(kept.message).ok();
    let of = |part: &dyn Fn(&Message<'_>) -> String| message.as_ref().map(part).unwrap_or_default();
    Entry {
        id: format!("{generation:016x}/{seq}"),
        origin: kept.origin,
        source: of(&|message| {
            message.identity.split_once(':').map_or(message.identity, |(_, id)| id).to_owned()
        }),
        topic: of(&|message| message.topic.to_owned()),
        reason: kept.reason.to_owned(),
        target: kept.target.to_owned(),
        received: of(&|message| message.received.to_string()),
        since: kept.since.0,
        bytes: message.as_ref().map_or(0, |message| message.payload.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_side_log_adds_up_to_is_stored_as_it_was_and_stays_readable() {
        let golden = include_bytes!("../../golden/side-log-1.snapshot");
        let last = BTreeMap::from([(feeder(7, ""), 41), (feeder(7, "dc-rennes"), 39)]);
        let summary = Summary { last, taken: Some((8, 3)) };
        assert_eq!(snapshot::read::<Summary>(golden).unwrap(), summary);
        let mut bytes = Vec::new();
        snapshot::write(&summary, &mut bytes);
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(golden));
    }

    #[test]
    fn a_record_of_a_kind_that_a_later_release_writes_is_refused() {
        let read = |kind| Record::read(octroi_journal::Entry { seq: 1, kind, targets: 0, bytes: b"" });
        assert!(read(0x7F).is_err(), "passed over, it would be lost");
        assert!(matches!(read(RecordKind::Progress as u8), Ok(None)));
    }
}
