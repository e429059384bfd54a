//! Reads the last segment after a stop of any kind, and mends its tail.
//!
//! It changes nothing before it knows what it will change. A bad frame before the start of the last
//! group was synced and is corruption: it is fenced and stays. A bad frame in the last group is a torn
//! tail that nobody was told of: it is copied to a file of its own, then cut.
//! INVARIANT: what recovery hands on was synced again first.

use crate::chunk::record_at;
use crate::disk::{Disk, DiskFile, is_full, read_full, write_all};
use crate::error::OpenError;
use crate::format::{
    FRAMES_AT, FrameKind, HeaderError, KIND_SEAL, RESERVE, SegmentHeader, segment_name, u32_at,
};
use crate::scan::{Scanner, Step, read_header};
use crate::targets::Targets;
use std::io::{self, IoSlice};
use std::ops::Range;

/// Torn tails that are kept; of an endless crash loop, the newest.
const TORN_KEPT: usize = 8;

/// What opening found: log it, raise the alarm if [`Recovery::is_damaged`], and replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "recovery says what was lost, and what to replay"]
pub struct Recovery {
    /// A new journal was made, with a new generation.
    pub opened_new: bool,
    /// Bytes of a torn tail that were cut off: a group that nobody was told of.
    pub torn_bytes: u64,
    /// The file that keeps them.
    pub set_aside: Option<String>,
    /// Bytes that the last segment is too short by: somebody cut the file, or power was lost in the
    /// moment in which a full disk was dealt with.
    pub missing_bytes: u64,
    /// Acknowledged records of the last segment that are lost to damage, by sequence number. Damage in
    /// older segments shows when they are read.
    pub fenced: Vec<Range<u64>>,
    /// Damaged copies of what is there twice (headers, state). Nothing is lost, but look at the disk.
    pub lost_copies: u32,
    /// The owner's state as of `snapshot_seq`.
    pub snapshot: Vec<u8>,
    /// Replay the records from here on.
    pub snapshot_seq: u64,
}

impl Recovery {
    /// The disk did not keep what it had synced.
    pub fn is_damaged(&self) -> bool {
        self.missing_bytes > 0 || !self.fenced.is_empty() || self.lost_copies > 0
    }
}

/// The last segment, ready to be written on.
pub(crate) struct Recovered {
    pub(crate) header: SegmentHeader,
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) end: u64,
    pub(crate) next_seq: u64,
    pub(crate) targets: Targets,
    pub(crate) sealed: bool,
    pub(crate) report: Recovery,
}

/// An error while opening, told with its place.
pub(crate) fn io_at<'a>(what: &'static str, file: &'a str) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { what, file: file.to_owned(), source }
}

pub(crate) fn recover(
    disk: &dyn Disk,
    names: &[String],
    base: u64,
    hub: &str,
) -> Result<Recovered, OpenError> {
    let name = segment_name(base);
    let file = disk.open(&name).map_err(io_at("open", &name))?;
    let read = read_header(&*file).map_err(io_at("read", &name))?;
    let header = match read.header {
        Ok(header) if header.base_seq == base => header,
        Err(HeaderError::Newer(version)) => return Err(OpenError::NewerFormat { file: name, version }),
        Ok(_) => {
            return Err(OpenError::Damaged { file: name, what: "its header belongs to another segment" });
        }
        Err(HeaderError::Damaged) => {
            return Err(OpenError::Damaged { file: name, what: "both copies of its header are bad" });
        }
    };
    if header.hub != hub {
        return Err(OpenError::ForeignHub { file: name, found: header.hub, expected: hub.to_owned() });
    }
    let size = file.size().map_err(io_at("measure", &name))?;
    let walk = walk(&*file, &header, size).map_err(io_at("read", &name))?;
    let Some(state) = &walk.state else {
        return Err(OpenError::Damaged { file: name, what: "both copies of its state frame are bad" });
    };
    let Some((_, snapshot)) = split_state(state) else {
        return Err(OpenError::Damaged { file: name, what: "its state frame cannot be read" });
    };
    let Some(targets) = walk.targets() else {
        return Err(OpenError::Damaged { file: name, what: "its target table cannot be read" });
    };
    let snapshot = snapshot.to_vec();

    let mut report = Recovery {
        torn_bytes: walk.dirty_end.saturating_sub(walk.end),
        missing_bytes: header.segment_bytes.saturating_sub(size),
        fenced: walk.fenced,
        lost_copies: walk.lost_copies.saturating_add(read.lost_copies),
        snapshot,
        snapshot_seq: base,
        ..Recovery::default()
    };
    if report.torn_bytes > 0 {
        report.set_aside = Some(set_aside(disk, names, &*file, base, walk.end..walk.dirty_end)?);
    }
    if report.missing_bytes > 0 {
        file.truncate(header.segment_bytes).map_err(io_at("extend", &name))?;
    }
    clear(&*file, walk.end..walk.dirty_end, header.segment_bytes)
        .map_err(io_at("clear the tail of", &name))?;
    file.sync().map_err(io_at("sync", &name))?;
    Ok(Recovered {
        header,
        file,
        end: walk.end,
        next_seq: walk.next_seq,
        targets,
        sealed: walk.sealed && report.torn_bytes == 0,
        report,
    })
}

/// What the last segment holds.
#[derive(Default)]
pub(crate) struct Walk {
    /// Where the log ends: sound frames, or fenced ones, lie before.
    pub(crate) end: u64,
    /// The first byte after which all are zero.
    pub(crate) dirty_end: u64,
    pub(crate) next_seq: u64,
    fenced: Vec<Range<u64>>,
    lost_copies: u32,
    pub(crate) state: Option<Vec<u8>>,
    table: Option<Vec<u8>>,
    seen: u64,
    sealed: bool,
}

/// Two passes over the frames: where the last group starts, then what is sound.
pub(crate) fn walk(file: &dyn DiskFile, header: &SegmentHeader, size: u64) -> io::Result<Walk> {
    const AHEAD: usize = 64 << 10;
    let mut scanner = Scanner::default();
    let mut last_group = 0;
    let mut at = FRAMES_AT;
    loop {
        match scanner.step(file, header.salt, at, size, AHEAD)? {
            Step::Frame(frame) => {
                last_group = last_group.max(frame.group_start);
                at = at.saturating_add(frame.frame_len());
            }
            Step::Gap { to, .. } => at = to,
            Step::End => break,
        }
    }

    let mut walk = Walk { next_seq: header.base_seq, ..Walk::default() };
    let mut at = FRAMES_AT;
    loop {
        let frame = match scanner.step(file, header.salt, at, size, AHEAD)? {
            Step::Frame(frame) => frame,
            Step::Gap { to, next } if at < last_group => {
                walk.fence(next.first_seq);
                at = to;
                continue;
            }
            Step::Gap { .. } | Step::End => break,
        };
        let body = match frame.kind {
            FrameKind::Data => scanner.body_is_sound(file, at, &frame)?.then_some(&[][..]),
            FrameKind::Control | FrameKind::State => scanner.body(file, at, &frame)?,
        };
        if body.is_none() && at >= last_group {
            break;
        }
        if frame.first_seq > walk.next_seq {
            walk.fence(frame.first_seq);
        }
        match (frame.kind, body) {
            (_, None) => walk.fence(frame.end_seq()),
            (FrameKind::State, Some(body)) => walk.state = Some(body.to_vec()),
            (FrameKind::Control, Some(body)) => {
                if let Some(record) = record_at(body, 0) {
                    walk.table = body.get(record.start..record.end).map(<[u8]>::to_vec);
                    walk.sealed = record.kind == KIND_SEAL;
                }
            }
            (FrameKind::Data, Some(_)) => walk.sealed = false,
        }
        walk.seen |= frame.targets;
        walk.next_seq = walk.next_seq.max(frame.end_seq());
        at = at.saturating_add(frame.frame_len());
    }
    walk.end = at.min(size.max(FRAMES_AT));
    walk.dirty_end = scanner.end_of_bytes(file, walk.end, size)?;
    Ok(walk)
}

impl Walk {
    /// The newest table of targets, and no bit free that is seen in a record.
    pub(crate) fn targets(&self) -> Option<Targets> {
        let (table, _) = split_state(self.state.as_deref()?)?;
        let mut targets = Targets::decode(self.table.as_deref().unwrap_or(table))?;
        targets.burn(self.seen);
        Some(targets)
    }

    /// Damage up to the record `upto`; where that is no record, one of two copies was hit.
    fn fence(&mut self, upto: u64) {
        if upto > self.next_seq {
            self.fenced.push(self.next_seq..upto);
            self.next_seq = upto;
        } else {
            self.lost_copies = self.lost_copies.saturating_add(1);
        }
    }
}

fn split_state(state: &[u8]) -> Option<(&[u8], &[u8])> {
    let table = usize::try_from(u32_at(state, 0)?).ok()?;
    state.get(4..)?.split_at_checked(table)
}

/// Copies a torn tail to a file of its own, durably, and drops the oldest of such files.
fn set_aside(
    disk: &dyn Disk,
    names: &[String],
    from: &dyn DiskFile,
    base: u64,
    range: Range<u64>,
) -> Result<String, OpenError> {
    let mut torn: Vec<&String> = names.iter().filter(|name| torn_number(name).is_some()).collect();
    torn.sort();
    let name = torn_name(names, base, range.start);
    match copy(disk, from, &name, range.clone()) {
        Err(error) if is_full(&error) && names.iter().any(|name| name == RESERVE) => {
            // What the reserve is for; it is made again when there is room.
            disk.remove(RESERVE).map_err(io_at("remove", RESERVE))?;
            disk.sync_dir().map_err(io_at("sync", "."))?;
            copy(disk, from, &name, range).map_err(io_at("write", &name))?;
        }
        other => other.map_err(io_at("write", &name))?,
    }
    for old in torn.iter().take(torn.len().saturating_add(1).saturating_sub(TORN_KEPT)) {
        disk.remove(old).map_err(io_at("remove", old))?;
    }
    disk.sync_dir().map_err(io_at("sync", "."))?;
    Ok(name)
}

/// Puts zeros over what was never acknowledged. Not by cutting: after a crash half way a short file would
/// look as if somebody had cut it.
pub(crate) fn clear(file: &dyn DiskFile, range: Range<u64>, size: u64) -> io::Result<()> {
    const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end.saturating_sub(at)).unwrap_or(usize::MAX).min(ZEROS.len());
        match write_all(file, &mut [IoSlice::new(ZEROS.get(..len).unwrap_or_default())], at) {
            Ok(()) => at = at.saturating_add(len as u64),
            // A file system that never writes in place, and is full.
            Err(error) if is_full(&error) => {
                file.truncate(range.start)?;
                return file.truncate(size);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The name for a torn tail of the segment `base` from `offset` on, after those that are there.
pub(crate) fn torn_name(names: &[String], base: u64, offset: u64) -> String {
    let number = names.iter().filter_map(|name| torn_number(name)).max().unwrap_or(0).saturating_add(1);
    format!("{number:06}-{base:020}-{offset}.torn")
}

fn torn_number(name: &str) -> Option<u64> {
    name.strip_suffix(".torn")?.split('-').next()?.parse().ok()
}

/// Copies a range to a file of its own and syncs that; its name is for the caller to sync.
pub(crate) fn copy(disk: &dyn Disk, from: &dyn DiskFile, name: &str, range: Range<u64>) -> io::Result<()> {
    let file = disk.create(name, 0)?;
    let mut buf = vec![0; 64 << 10];
    let mut at = range.start;
    while at < range.end {
        let want = usize::try_from(range.end.saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
        let read = read_full(from, buf.get_mut(..want).unwrap_or_default(), at)?;
        if read == 0 {
            break;
        }
        let bytes = buf.get(..read).unwrap_or_default();
        write_all(&*file, &mut [IoSlice::new(bytes)], at.saturating_sub(range.start))?;
        at = at.saturating_add(read as u64);
    }
    file.sync()
}
