//! The format on disk, version 1, byte by byte. Every integer is little endian.
//!
//! # Directory
//!
//! | file | what it is |
//! | --- | --- |
//! | `{base_seq:020}.log` | a segment; `base_seq` is the sequence number of its first record |
//! | `{base_seq:020}.new` | a segment in the making; nothing in it was ever acknowledged; removed at open |
//! | `{n:06}-{base_seq:020}-{offset}.torn` | bytes that were cut off a torn tail; the newest 8 are kept |
//! | `{base_seq:020}-{from}-{to}.damaged` | a repair's copy of bytes that were not as they were written; never removed by this crate |
//! | `reserve` | blocks held for cursors and trimming; its content means nothing |
//! | `lock` | locked by the one owner; empty |
//!
//! # Segment
//!
//! The header sector twice (at 0 and at 512), then the state frame twice (from 1024), then groups of
//! frames, then zeros up to `segment_bytes`. What cannot be rebuilt is there twice, in different
//! sectors: one flipped bit never takes the salt, the target registry or the owner's snapshot.
//! A segment gets its `.log` name only after its header and state frames were synced.
//!
//! ## Header sector, 512 bytes
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `OCTROIJ\n` (in every version) |
//! | 8 | 4 | version, 1 (in every version) |
//! | 12 | 4 | zero |
//! | 16 | 8 | generation: random, one per journal |
//! | 24 | 8 | `base_seq` |
//! | 32 | 8 | salt: random, one per segment |
//! | 40 | 8 | `segment_bytes`: the size of this file |
//! | 48 | 32 | hub id, ASCII, padded with zeros |
//! | 80 | 428 | zero |
//! | 508 | 4 | CRC32C of bytes 0..508 (in every version) |
//!
//! ## Frame: a header of 48 bytes, then its body
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | marker: the high half of the salt |
//! | 4 | 4 | header CRC: CRC32C of bytes 8..48, seeded with the CRC32C of (low half of the salt, 4 bytes; offset of this frame in the file, 8 bytes) |
//! | 8 | 4 | body length |
//! | 12 | 4 | body CRC: CRC32C of the body |
//! | 16 | 8 | `first_seq`: sequence number of the first record |
//! | 24 | 8 | targets: union of the records' bitmaps |
//! | 32 | 8 | `group_start`: offset of the first frame of the commit group |
//! | 40 | 4 | count of records (0 in a state frame) |
//! | 44 | 1 | kind: 1 data, 2 control, 3 state |
//! | 45 | 3 | zero |
//!
//! The marker and the header CRC carry the salt and the place, so no byte that was left by another
//! segment, or that a publisher put in a payload, validates. The body CRC is not salted, so that it
//! can be computed before the segment is known, on the thread that built the chunk; it reaches the file
//! only under the header CRC, which is.
//!
//! ## Body of a data or control frame: `count` records, one after the other
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | length of the content |
//! | 4 | 1 | kind: below `0xF0` the owner's, from `0xF0` on this crate's |
//! | 5 | 8 | targets, one bit each |
//! | 13 | – | content |
//!
//! A control record, kind `0xF0` (targets) or `0xF1` (seal), holds the whole target table, so that the
//! last one read wins and a lost one is healed by the next: next free bit (1), number of live targets
//! (1), and for each: bit (1), cursor (8), length of the name (1), name.
//!
//! ## Body of a state frame
//!
//! Length of the target table (4), the target table, the owner's snapshot as of `base_seq`.

use crc32c::{crc32c, crc32c_append};

/// The version this crate writes; it reads this one and every older one.
pub const VERSION: u32 = 1;

pub(crate) const MAGIC: [u8; 8] = *b"OCTROIJ\n";
pub(crate) const SECTOR: usize = 512;
/// Offset of the first frame.
pub(crate) const FRAMES_AT: u64 = 1024;
pub(crate) const FRAME_HEAD: usize = 48;
pub(crate) const RECORD_HEAD: usize = 13;
pub(crate) const HUB_BYTES: usize = 32;
const CRC_AT: usize = SECTOR - 4;

/// First of the record kinds that this crate keeps for itself.
pub const RESERVED_KINDS: u8 = 0xF0;
pub(crate) const KIND_TARGETS: u8 = 0xF0;
pub(crate) const KIND_SEAL: u8 = 0xF1;

pub(crate) const LOCK: &str = "lock";
pub(crate) const RESERVE: &str = "reserve";

pub(crate) fn segment_name(base_seq: u64) -> String {
    format!("{base_seq:020}.log")
}

pub(crate) fn new_segment_name(base_seq: u64) -> String {
    format!("{base_seq:020}.new")
}

pub(crate) fn segment_base(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// What the header sector of a segment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Format version.
    pub version: u32,
    /// Hub that wrote the journal.
    pub hub: String,
    /// Random number of the journal.
    pub generation: u64,
    /// Sequence number of the segment's first record.
    pub base_seq: u64,
    /// Size of the file, preallocated.
    pub segment_bytes: u64,
    pub(crate) salt: u64,
}

/// Why a header sector is not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Damaged,
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        put(&mut out, 0, &MAGIC);
        put(&mut out, 8, &self.version.to_le_bytes());
        put(&mut out, 16, &self.generation.to_le_bytes());
        put(&mut out, 24, &self.base_seq.to_le_bytes());
        put(&mut out, 32, &self.salt.to_le_bytes());
        put(&mut out, 40, &self.segment_bytes.to_le_bytes());
        put(&mut out, 48, self.hub.as_bytes());
        let crc = crc32c(out.get(..CRC_AT).unwrap_or_default());
        put(&mut out, CRC_AT, &crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(sector: &[u8]) -> Result<SegmentHeader, HeaderError> {
        Self::fields(sector).unwrap_or(Err(HeaderError::Damaged))
    }

    fn fields(sector: &[u8]) -> Option<Result<SegmentHeader, HeaderError>> {
        if sector.get(..8)? != MAGIC || u32_at(sector, CRC_AT)? != crc32c(sector.get(..CRC_AT)?) {
            return None;
        }
        let version = u32_at(sector, 8)?;
        if version > VERSION {
            return Some(Err(HeaderError::Newer(version)));
        }
        let hub = sector.get(48..48 + HUB_BYTES)?;
        let end = hub.iter().position(|b| *b == 0).unwrap_or(HUB_BYTES);
        Some(Ok(SegmentHeader {
            version,
            hub: std::str::from_utf8(hub.get(..end)?).ok()?.to_owned(),
            generation: u64_at(sector, 16)?,
            base_seq: u64_at(sector, 24)?,
            salt: u64_at(sector, 32)?,
            segment_bytes: u64_at(sector, 40)?,
        }))
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The owner's records.
    Data,
    /// A record of this crate: the target table or a seal.
    Control,
    /// Target table and owner's snapshot, at the start of a segment.
    State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) body_len: u32,
    pub(crate) body_crc: u32,
    pub(crate) first_seq: u64,
    pub(crate) count: u32,
    pub(crate) targets: u64,
    pub(crate) group_start: u64,
}

impl FrameHeader {
    pub(crate) fn encode(&self, salt: u64, offset: u64) -> [u8; FRAME_HEAD] {
        let mut out = [0; FRAME_HEAD];
        put(&mut out, 0, &marker(salt));
        put(&mut out, 8, &self.body_len.to_le_bytes());
        put(&mut out, 12, &self.body_crc.to_le_bytes());
        put(&mut out, 16, &self.first_seq.to_le_bytes());
        put(&mut out, 24, &self.targets.to_le_bytes());
        put(&mut out, 32, &self.group_start.to_le_bytes());
        put(&mut out, 40, &self.count.to_le_bytes());
        let kind = match self.kind {
            FrameKind::Data => 1,
            FrameKind::Control => 2,
            FrameKind::State => 3,
        };
        put(&mut out, 44, &[kind]);
        let crc = header_crc(&out, salt, offset);
        put(&mut out, 4, &crc.to_le_bytes());
        out
    }

    /// `None`: these bytes are not the header of a frame that was written here.
    pub(crate) fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<FrameHeader> {
        let bytes: &[u8; FRAME_HEAD] = bytes.first_chunk()?;
        if bytes.get(..4)? != marker(salt) || u32_at(bytes, 4)? != header_crc(bytes, salt, offset) {
            return None;
        }
        let kind = match bytes.get(44..)? {
            [1, 0, 0, 0] => FrameKind::Data,
            [2, 0, 0, 0] => FrameKind::Control,
            [3, 0, 0, 0] => FrameKind::State,
            _ => return None,
        };
        let header = FrameHeader {
            kind,
            body_len: u32_at(bytes, 8)?,
            body_crc: u32_at(bytes, 12)?,
            first_seq: u64_at(bytes, 16)?,
            targets: u64_at(bytes, 24)?,
            group_start: u64_at(bytes, 32)?,
            count: u32_at(bytes, 40)?,
        };
        header.first_seq.checked_add(u64::from(header.count))?;
        (header.group_start <= offset).then_some(header)
    }

    /// Bytes in the file, header and body.
    pub(crate) fn frame_len(&self) -> u64 {
        FRAME_HEAD as u64 + u64::from(self.body_len)
    }

    /// Sequence number after the last record.
    pub(crate) fn end_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }
}

/// The word that opens every frame of a segment.
pub(crate) fn marker(salt: u64) -> [u8; 4] {
    let [.., a, b, c, d] = salt.to_le_bytes();
    [a, b, c, d]
}

fn header_crc(frame: &[u8; FRAME_HEAD], salt: u64, offset: u64) -> u32 {
    let [low @ .., _, _, _, _] = salt.to_le_bytes();
    let seed = crc32c_append(crc32c(&low), &offset.to_le_bytes());
    crc32c_append(seed, frame.get(8..).unwrap_or_default())
}

pub(crate) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = out.get_mut(at..at.saturating_add(bytes.len())) {
        slot.copy_from_slice(bytes);
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FrameHeader = FrameHeader {
        kind: FrameKind::Data,
        body_len: 7,
        body_crc: 9,
        first_seq: 41,
        count: 3,
        targets: 0b101,
        group_start: 1024,
    };

    #[test]
    fn a_frame_header_is_read_back_only_with_its_salt_and_at_its_place() {
        let salt = 0x1122_3344_5566_7788;
        let bytes = HEADER.encode(salt, 2000);
        assert_eq!(FrameHeader::decode(&bytes, salt, 2000), Some(HEADER));
        assert_eq!(FrameHeader::decode(&bytes, salt, 2001), None);
        for bit in 0..64 {
            assert_eq!(FrameHeader::decode(&bytes, salt ^ (1 << bit), 2000), None, "salt bit {bit}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_frame_header_is_found() {
        let bytes = HEADER.encode(77 << 32, 1024);
        for bit in 0..FRAME_HEAD * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&flipped, 77 << 32, 1024), None, "bit {bit}");
        }
    }

    #[test]
    fn only_twenty_digits_and_log_name_a_segment() {
        assert_eq!(segment_base(&segment_name(17)), Some(17));
        for other in ["17.log", "0000000000000000001x.log", "00000000000000000017.new", "lock", ""] {
            assert_eq!(segment_base(other), None, "{other}");
        }
    }
}
