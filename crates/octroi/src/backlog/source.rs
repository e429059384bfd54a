//! Where a relay reads: its target's backlog first, then the journal. Either
//! way records have the numbers that the journal gave them.
//!
//! INVARIANT: below what is shown as moved, the journal is not read: its
//! segments may be gone. Above, the backlog is not: it may be given back, and
//! another stand in its place.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use octroi_journal::{Batch, Entry, Journal, ReadError, Reader, TargetBit};

/// What mover, relay and status share of a backlog.
#[derive(Default)]
pub struct Shelf {
    /// Everything of the target's below is in the backlog, synced, or done with.
    moved: AtomicU64,
    bytes: AtomicU64,
    log: ArcSwapOption<Reader>,
    /// Where reads of the backlog began: number in the journal, place in the backlog. A lock for a push per
    /// read and a look per cursor on record; bounded by what an outlet has in flight.
    marks: Mutex<VecDeque<(u64, u64)>>,
}

impl Shelf {
    /// See the field.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Acquire)
    }

    pub(super) fn moved_to(&self, moved: u64) {
        self.moved.fetch_max(moved, Ordering::Release);
    }

    /// The backlog is there.
    pub(super) fn hold(&self, log: &Journal) {
        self.log.store(Some(Arc::new(log.reader(0))));
        self.has_bytes(log.stats().bytes_on_disk);
    }

    /// It is not there any more: its target is done with all that was moved. Another begins anew.
    pub(super) fn let_go(&self) {
        self.log.store(None);
        self.has_bytes(0);
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn has_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// What it takes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn mark(&self, origin: u64, place: u64) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.back().is_none_or(|(last, _)| *last < origin) {
            marks.push_back((origin, place));
        }
    }

    /// Up to where the backlog is done with, if its target is done with everything below `served`.
    pub(super) fn passed(&self, served: u64) -> Option<u64> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        while marks.get(1).is_some_and(|(origin, _)| *origin <= served) {
            marks.pop_front();
        }
        marks.front().filter(|(origin, _)| *origin <= served).map(|(_, place)| *place)
    }
}

/// A record of a backlog: its number in the journal, then the record as it was.
fn unshelved<'a>(entry: &Entry<'a>) -> Option<Entry<'a>> {
    let (origin, bytes) = entry.bytes.split_first_chunk()?;
    Some(Entry { seq: u64::from_le_bytes(*origin), bytes, ..*entry })
}

/// The number in the journal of a backlog's record.
pub(super) fn origin(entry: &Entry<'_>) -> Option<u64> {
    unshelved(entry).map(|entry| entry.seq)
}

/// Records of one read.
#[derive(Debug, Default)]
pub struct Reading {
    batch: Batch,
    from_backlog: bool,
    end: u64,
}

impl Reading {
    /// The records, in order, with their numbers in the journal.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let from_backlog = self.from_backlog;
        self.batch.iter().filter_map(move |entry| if from_backlog { unshelved(&entry) } else { Some(entry) })
    }

    /// Every number below was looked at.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Numbers of the journal that cannot be read any more.
    #[must_use]
    pub fn lost(&self) -> &[Range<u64>] {
        if self.from_backlog { &[] } else { self.batch.lost() }
    }
}

/// Where one target's relay reads.
pub struct Source {
    bit: TargetBit,
    journal: Reader,
    shelf: Arc<Shelf>,
    /// The next number to read.
    next: u64,
    /// The backlog, while there is more to read of it: what is at the end of one holds no file of it open, and
    /// does not read on in the next.
    log: Option<Reader>,
}

impl Source {
    /// From `next` on, where `journal` is already.
    pub(super) fn new(bit: TargetBit, journal: Reader, next: u64, shelf: Arc<Shelf>) -> Self {
        Self { bit, journal, shelf, next, log: None }
    }

    /// Goes to `seq`: the next read starts there.
    pub fn seek(&mut self, seq: u64) {
        self.next = seq;
        self.log = None;
        self.journal.seek(seq);
    }

    /// Everything below was moved, or is done with.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.shelf.moved()
    }

    /// Reads on: at most `max_bytes` of frames, at least one record if there is any in the backlog.
    ///
    /// # Errors
    /// Backlog or journal cannot be read.
    pub fn next(&mut self, max_bytes: usize, reading: &mut Reading) -> Result<(), ReadError> {
        loop {
            let moved = self.shelf.moved();
            if self.next < moved {
                let read = self.read_backlog(max_bytes, reading)?;
                if !read || self.next >= moved {
                    // All that was moved was read by now.
                    self.seek(self.next.max(moved));
                }
                if read {
                    return Ok(());
                }
            }
            match self.journal.next(Some(self.bit), max_bytes, &mut reading.batch) {
                // It was moved between the look and the read.
                Err(ReadError::Trimmed { .. }) if self.next < self.shelf.moved() => {}
                read => {
                    read?;
                    self.next = reading.batch.end();
                    (reading.from_backlog, reading.end) = (false, self.next);
                    return Ok(());
                }
            }
        }
    }

    /// The next read of the backlog that has a record from `next` on. `false`: there is none.
    fn read_backlog(&mut self, max_bytes: usize, reading: &mut Reading) -> Result<bool, ReadError> {
        let Some(shelved) = self.shelf.log.load_full() else { return Ok(false) };
        // Its place is not known: from its first record on, which is a segment at most before it.
        let log = self.log.get_or_insert_with(|| shelved.at(0));
        reading.from_backlog = true;
        loop {
            match log.next(None, max_bytes, &mut reading.batch) {
                Ok(()) => {}
                Err(ReadError::Trimmed { first_seq, .. }) => {
                    log.seek(first_seq);
                    continue;
                }
                Err(error) => return Err(error),
            }
            for lost in reading.batch.lost() {
                tracing::error!(
                    first = lost.start,
                    end = lost.end,
                    "records of a backlog are damaged and fenced; their neighbours are delivered"
                );
            }
            if let Some(first) = reading.batch.iter().next()
                && let Some(origin) = origin(&first)
            {
                self.shelf.mark(origin, first.seq);
            }
            let last = reading.batch.iter().filter_map(|entry| origin(&entry)).last();
            if let Some(last) = last.filter(|last| *last >= self.next) {
                self.next = last + 1;
                reading.end = self.next;
                return Ok(true);
            }
            if !log.durable().covers(reading.batch.end()) {
                return Ok(false);
            }
        }
    }
}
