//! Reads durable records, for one target or for all, beside the owner.
//!
//! It never waits and never writes; the owner tells relays by other means that there is more.
//! INVARIANT: nothing beyond the published durable end is looked at, and damage is reported as a range
//! of lost sequence numbers, never skipped in silence.

use crate::chunk::record_at;
use crate::disk::{Disk, DiskFile, read_full};
use crate::error::ReadError;
use crate::format::{FRAME_HEAD, FRAMES_AT, FrameHeader, FrameKind, segment_name};
use crate::scan::{Scanner, Step, read_header};
use crate::shared::{Durable, Shared, View};
use crate::targets::TargetBit;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Bytes read ahead while frames are small.
const AHEAD: usize = 256 << 10;
/// Bytes read to look at the header of a frame whose body will be skipped, or read apart.
const PEEK: usize = 4 << 10;
/// Frames that one call may pass over, so that it returns in bounded time. Those that a seek walks over on its
/// way are not among them: they are one segment's at most.
const MAX_FRAMES: u32 = 16_384;

/// A position in the journal, and the means to read on from it. Any number, on any thread.
pub struct Reader {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    seq: u64,
    place: Option<Place>,
    scanner: Scanner,
    ahead: usize,
}

struct Place {
    base: u64,
    file: Box<dyn DiskFile>,
    size: u64,
    salt: u64,
    at: u64,
    /// Sequence number of the first record at `at`.
    expected: u64,
}

/// Records of one read; reuse it, its buffers stay.
#[derive(Debug, Default)]
pub struct Batch {
    buf: Vec<u8>,
    used: usize,
    entries: Vec<Slot>,
    lost: Vec<Range<u64>>,
    end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    seq: u64,
    kind: u8,
    targets: u64,
    start: usize,
    end: usize,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its sequence number.
    pub seq: u64,
    /// Its kind, as it was pushed.
    pub kind: u8,
    /// Its targets, one bit each.
    pub targets: u64,
    /// Its content.
    pub bytes: &'a [u8],
}

impl Batch {
    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries.iter().map(|slot| Entry {
            seq: slot.seq,
            kind: slot.kind,
            targets: slot.targets,
            bytes: self.buf.get(slot.start..slot.end).unwrap_or_default(),
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No records: nothing for this target below [`Batch::end`].
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every sequence number below this was looked at: records for others were passed over.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Sequence numbers that cannot be read any more: damage on disk, fenced. For all targets, since
    /// damage hides whose they were.
    pub fn lost(&self) -> &[Range<u64>] {
        &self.lost
    }

    fn clear(&mut self) {
        self.used = 0;
        self.entries.clear();
        self.lost.clear();
    }
}

impl Reader {
    /// Another reader of the same journal, at `seq`.
    #[must_use]
    pub fn at(&self, seq: u64) -> Reader {
        Reader::new(Arc::clone(&self.disk), Arc::clone(&self.shared), seq)
    }

    pub(crate) fn new(disk: Arc<dyn Disk>, shared: Arc<Shared>, seq: u64) -> Reader {
        Reader { disk, shared, seq, place: None, scanner: Scanner::default(), ahead: AHEAD }
    }

    /// Goes to `seq`: the next read starts there. Costs a walk over one segment's frame headers.
    pub fn seek(&mut self, seq: u64) {
        self.seq = seq;
        self.place = None;
    }

    /// The durable end, without a lock: there is more to read while it is beyond [`Batch::end`].
    pub fn durable(&self) -> Durable {
        self.shared.durable()
    }

    /// Records that are lost to damage, as far as the opening or any reader of this journal has found it.
    pub fn fenced(&self) -> Vec<Range<u64>> {
        self.shared.fenced()
    }

    /// Reads on: records for `target` (`None`: all) in whole frames, at least one frame if there is
    /// any, else at most `max_bytes` of frames. A batch may be empty and yet have moved on; it has always moved
    /// on if there is anything durable, so that after a seek to a record for `target` that record is in it, or
    /// is lost.
    pub fn next(
        &mut self,
        target: Option<TargetBit>,
        max_bytes: usize,
        batch: &mut Batch,
    ) -> Result<(), ReadError> {
        batch.clear();
        batch.end = self.seq;
        if !self.shared.durable().covers(self.seq) {
            return Ok(());
        }
        let view = self.shared.view();
        let mask = target.map_or(u64::MAX, TargetBit::mask);
        let mut frames = 0;
        while frames < MAX_FRAMES && self.seq < view.durable {
            let before = self.seq;
            if !self.turn(&view, target.is_none(), mask, max_bytes, batch)? {
                break;
            }
            frames += u32::from(self.seq > before);
        }
        batch.end = self.seq;
        Ok(())
    }

    /// Looks at one frame or one piece of damage; false: the batch is full.
    fn turn(
        &mut self,
        view: &View,
        all: bool,
        mask: u64,
        max_bytes: usize,
        batch: &mut Batch,
    ) -> Result<bool, ReadError> {
        let index = view.segments.partition_point(|base| *base <= self.seq);
        let Some(base) = index.checked_sub(1).and_then(|index| view.segments.get(index)).copied() else {
            let first_seq = view.segments.first().copied().unwrap_or(0);
            return Err(ReadError::Trimmed { seq: self.seq, first_seq });
        };
        // The sequence number after this segment's last.
        let next_base = view.segments.get(index).copied();
        let end_seq = next_base.unwrap_or(view.durable);
        let io = |source| ReadError::Io { file: segment_name(base), source };

        if self.place.as_ref().is_none_or(|place| place.base != base) && !self.enter(base).map_err(io)? {
            let now = self.shared.view();
            if now.segments.first().is_some_and(|first| *first > base) {
                let first_seq = now.segments.first().copied().unwrap_or(0);
                return Err(ReadError::Trimmed { seq: self.seq, first_seq });
            }
            // Gone, or without a readable header: all of it is lost, and its neighbours are not.
            self.lose(self.seq, end_seq, batch);
            return Ok(true);
        }
        let Some(place) = self.place.as_mut() else { return Ok(false) };
        let limit = if next_base.is_some() { place.size } else { view.end };

        let at = place.at;
        let step = self.scanner.step(&*place.file, place.salt, at, limit, self.ahead).map_err(io)?;
        let header = match step {
            Step::Frame(header) if header.first_seq >= place.expected && header.end_seq() <= end_seq => {
                header
            }
            Step::Gap { to, next } if next.first_seq >= place.expected && next.end_seq() <= end_seq => {
                place.at = to;
                let from = std::mem::replace(&mut place.expected, next.first_seq);
                self.lose(from, next.first_seq, batch);
                return Ok(true);
            }
            // Nothing more that belongs here: the rest of the segment is lost. There is a rest, since
            // the position is below the segment's end.
            Step::Frame(_) | Step::Gap { .. } | Step::End => {
                place.at = limit;
                let from = std::mem::replace(&mut place.expected, end_seq);
                self.lose(from, end_seq, batch);
                return Ok(true);
            }
        };
        let (first, end) = (header.first_seq, header.end_seq());
        let before = place.expected;
        let wanted = header.kind == FrameKind::Data && end > self.seq && (all || header.targets & mask != 0);
        if wanted {
            let body_len = usize::try_from(header.body_len).unwrap_or(usize::MAX);
            if batch.used > 0 && batch.used.saturating_add(body_len) > max_bytes {
                return Ok(false);
            }
            let range = read_body(&mut self.scanner, &*place.file, at, &header, batch).map_err(io)?;
            place.at = at.saturating_add(header.frame_len());
            place.expected = end;
            self.ahead = if body_len > AHEAD / 2 { PEEK } else { AHEAD };
            self.lose(before, first, batch);
            let from = self.seq;
            let sound = range.is_some_and(|range| index_records(batch, range, &header, from, all, mask));
            if sound {
                self.seq = self.seq.max(end);
            } else {
                self.lose(first, end, batch);
            }
        } else {
            place.at = at.saturating_add(header.frame_len());
            place.expected = end;
            self.ahead = if header.frame_len() > PEEK as u64 { PEEK } else { AHEAD };
            self.lose(before, first, batch);
            self.seq = self.seq.max(end);
        }
        Ok(true)
    }

    /// Opens a segment at its first frame; false: it is gone or its header is.
    fn enter(&mut self, base: u64) -> io::Result<bool> {
        self.place = None;
        self.scanner.reset();
        let file = match self.disk.open(&segment_name(base)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let Ok(header) = read_header(&*file)?.header else { return Ok(false) };
        let size = file.size()?;
        self.place = Some(Place { base, file, size, salt: header.salt, at: FRAMES_AT, expected: base });
        Ok(true)
    }

    /// Reports what is lost of `from..to` beyond the position, and moves past it.
    fn lose(&mut self, from: u64, to: u64, batch: &mut Batch) {
        let from = from.max(self.seq);
        if from < to {
            batch.lost.push(from..to);
            self.shared.fence(from..to);
            self.seq = to;
        }
    }
}

/// Puts a frame's body into the batch; `None` if it is not as it was written.
fn read_body(
    scanner: &mut Scanner,
    file: &dyn DiskFile,
    at: u64,
    header: &FrameHeader,
    batch: &mut Batch,
) -> io::Result<Option<Range<usize>>> {
    let len = usize::try_from(header.body_len).unwrap_or(usize::MAX);
    let range = batch.used..batch.used.saturating_add(len);
    if batch.buf.len() < range.end {
        batch.buf.resize(range.end, 0);
    }
    let slot = batch.buf.get_mut(range.clone()).unwrap_or_default();
    let from = at.saturating_add(FRAME_HEAD as u64);
    if len <= AHEAD / 2 {
        let limit = at.saturating_add(header.frame_len());
        let bytes = scanner.bytes(file, from, len, len, limit)?;
        if bytes.len() < len {
            return Ok(None);
        }
        slot.copy_from_slice(bytes.get(..len).unwrap_or_default());
    } else if read_full(file, slot, from)? < len {
        return Ok(None);
    }
    if crc32c::crc32c(slot) != header.body_crc {
        return Ok(None);
    }
    batch.used = range.end;
    Ok(Some(range))
}

/// Notes the records from sequence number `from` on that are wanted; false: the body is not `count`
/// records, and nothing is noted.
fn index_records(
    batch: &mut Batch,
    range: Range<usize>,
    header: &FrameHeader,
    from: u64,
    all: bool,
    mask: u64,
) -> bool {
    let kept = batch.entries.len();
    let Some(body) = batch.buf.get(range.clone()) else { return false };
    let mut at = 0;
    for seq in header.first_seq..header.end_seq() {
        let Some(record) = record_at(body, at) else {
            batch.entries.truncate(kept);
            return false;
        };
        at = record.end;
        if seq >= from && (all || record.targets & mask != 0) {
            batch.entries.push(Slot {
                seq,
                kind: record.kind,
                targets: record.targets,
                start: range.start.saturating_add(record.start),
                end: range.start.saturating_add(record.end),
            });
        }
    }
    true
}
