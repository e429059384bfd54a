//! Walks the frames of one segment, past damage.
//!
//! Recovery, readers and the inspector share it. It judges headers and CRCs only: what damage *means*
//! is for them to say. INVARIANT: memory is bounded, whatever the segment holds.

use crate::disk::{DiskFile, read_full};
use crate::format::{FRAME_HEAD, FRAMES_AT, FrameHeader, HeaderError, SECTOR, SegmentHeader, marker};
use std::io;

/// Bytes read at once while searching or checking.
const STRIDE: usize = 64 << 10;

/// The header of a segment, from whichever copy is sound.
pub(crate) struct HeaderRead {
    pub(crate) header: Result<SegmentHeader, HeaderError>,
    /// Copies that are not sound, where at least one is.
    pub(crate) lost_copies: u32,
}

pub(crate) fn read_header(file: &dyn DiskFile) -> io::Result<HeaderRead> {
    let mut sectors = [0; 2 * SECTOR];
    let read = read_full(file, &mut sectors, 0)?;
    let (first, second) = sectors.get(..read).unwrap_or_default().split_at(read.min(SECTOR));
    Ok(match (SegmentHeader::decode(first), SegmentHeader::decode(second)) {
        (Ok(header), Ok(copy)) => HeaderRead { lost_copies: u32::from(header != copy), header: Ok(header) },
        (Err(HeaderError::Newer(version)), _) | (_, Err(HeaderError::Newer(version))) => {
            HeaderRead { header: Err(HeaderError::Newer(version)), lost_copies: 0 }
        }
        (Ok(header), Err(_)) | (Err(_), Ok(header)) => HeaderRead { header: Ok(header), lost_copies: 1 },
        (Err(error), Err(_)) => HeaderRead { header: Err(error), lost_copies: 0 },
    })
}

/// What lies at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A frame with a sound header; its body was not looked at.
    Frame(FrameHeader),
    /// No sound header here; the next one is at `to`.
    Gap { to: u64, next: FrameHeader },
    /// No sound header here or after.
    End,
}

/// A buffered view of one file.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    buf: Vec<u8>,
    start: u64,
    len: usize,
}

impl Scanner {
    /// Forgets what was read: the file is another, or has changed.
    pub(crate) fn reset(&mut self) {
        self.len = 0;
    }

    /// The step at `at`; `limit` is the end of what may be looked at; reads `ahead` bytes at least.
    pub(crate) fn step(
        &mut self,
        file: &dyn DiskFile,
        salt: u64,
        at: u64,
        limit: u64,
        ahead: usize,
    ) -> io::Result<Step> {
        let bytes = self.bytes(file, at, FRAME_HEAD, ahead, limit)?;
        if let Some(header) = decode(bytes, salt, at, limit) {
            return Ok(Step::Frame(header));
        }
        let mark = marker(salt);
        let mut from = at.saturating_add(1);
        loop {
            let bytes = self.bytes(file, from, FRAME_HEAD, STRIDE, limit)?;
            if bytes.len() < FRAME_HEAD {
                return Ok(Step::End);
            }
            // A header that starts in the last bytes is looked at whole in the next round.
            let starts = bytes.len().saturating_sub(FRAME_HEAD).saturating_add(1);
            let mut next = 0;
            while let Some(found) = find(bytes.get(next..).unwrap_or_default(), mark) {
                let place = next.saturating_add(found);
                if place >= starts {
                    break;
                }
                let to = from.saturating_add(place as u64);
                if let Some(header) = decode(bytes.get(place..).unwrap_or_default(), salt, to, limit) {
                    return Ok(Step::Gap { to, next: header });
                }
                next = place.saturating_add(1);
            }
            from = from.saturating_add(starts as u64);
        }
    }

    /// Whether the body of the frame at `at` is as it was written.
    pub(crate) fn body_is_sound(
        &mut self,
        file: &dyn DiskFile,
        at: u64,
        header: &FrameHeader,
    ) -> io::Result<bool> {
        let end = at.saturating_add(header.frame_len());
        let mut from = at.saturating_add(FRAME_HEAD as u64);
        let mut crc = 0;
        while from < end {
            let bytes = self.bytes(file, from, 1, STRIDE, end)?;
            if bytes.is_empty() {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, bytes);
            from = from.saturating_add(bytes.len() as u64);
        }
        Ok(crc == header.body_crc)
    }

    /// The body of the frame at `at`, if it is as it was written.
    pub(crate) fn body(
        &mut self,
        file: &dyn DiskFile,
        at: u64,
        header: &FrameHeader,
    ) -> io::Result<Option<&[u8]>> {
        let len = usize::try_from(header.body_len).unwrap_or(usize::MAX);
        let from = at.saturating_add(FRAME_HEAD as u64);
        let limit = at.saturating_add(header.frame_len());
        let body = self.bytes(file, from, len, len, limit)?;
        Ok((body.len() == len && crc32c::crc32c(body) == header.body_crc).then_some(body))
    }

    /// The first byte after the last that is not zero in `from..limit`; `from` if all are.
    pub(crate) fn end_of_bytes(&mut self, file: &dyn DiskFile, from: u64, limit: u64) -> io::Result<u64> {
        let (mut at, mut end) = (from, from);
        while at < limit {
            let bytes = self.bytes(file, at, 1, STRIDE, limit)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(last) = bytes.iter().rposition(|b| *b != 0) {
                end = at.saturating_add(last as u64).saturating_add(1);
            }
            at = at.saturating_add(bytes.len() as u64);
        }
        Ok(end)
    }

    /// What is buffered at `at`, at least `want` bytes of it unless `limit` or the file ends before.
    pub(crate) fn bytes(
        &mut self,
        file: &dyn DiskFile,
        at: u64,
        want: usize,
        ahead: usize,
        limit: u64,
    ) -> io::Result<&[u8]> {
        let room = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(room);
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let held = skip.filter(|skip| skip.saturating_add(want) <= self.len);
        let skip = if let Some(skip) = held {
            skip
        } else {
            let size = want.max(ahead).min(room);
            if self.buf.len() < size {
                self.buf.resize(size, 0);
            }
            self.len = 0;
            self.len = read_full(file, self.buf.get_mut(..size).unwrap_or_default(), at)?;
            self.start = at;
            0
        };
        let bytes = self.buf.get(skip..self.len).unwrap_or_default();
        Ok(bytes.get(..room.min(bytes.len())).unwrap_or_default())
    }
}

fn decode(bytes: &[u8], salt: u64, at: u64, limit: u64) -> Option<FrameHeader> {
    let header = FrameHeader::decode(bytes, salt, at)?;
    let inside = at.saturating_add(header.frame_len()) <= limit && header.group_start >= FRAMES_AT;
    inside.then_some(header)
}

fn find(bytes: &[u8], mark: [u8; 4]) -> Option<usize> {
    let [first, ..] = mark;
    let mut from = 0;
    loop {
        let found = bytes.get(from..)?.iter().position(|b| *b == first)?;
        let place = from.saturating_add(found);
        if bytes.get(place..)?.starts_with(&mark) {
            return Some(place);
        }
        from = place.saturating_add(1);
    }
}
