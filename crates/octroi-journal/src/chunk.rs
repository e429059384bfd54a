//! A chunk: records already encoded, on their way to become one frame.
//!
//! Sessions build chunks on their own threads, body CRC included, so that the owner of the journal does
//! no work per record. A chunk knows no sequence number, segment or salt.
//! INVARIANT: the buffer opens with room for the frame's header, so a frame is written without a copy.

use crate::format::{FRAME_HEAD, FrameHeader, FrameKind, RECORD_HEAD, RESERVED_KINDS, u32_at, u64_at};
use thiserror::Error;

/// The largest body of a chunk, in bytes; a journal with small segments takes less
/// (a quarter of a segment).
pub const MAX_CHUNK_BYTES: usize = 16 << 20;

/// Records that become one frame: whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Room for the header, then the body.
    frame: Vec<u8>,
    kind: FrameKind,
    count: u32,
    targets: u64,
    body_crc: u32,
}

impl Chunk {
    /// Number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Union of the records' target bitmaps.
    pub fn targets(&self) -> u64 {
        self.targets
    }

    /// Bytes that this chunk takes in a segment.
    pub fn frame_bytes(&self) -> u64 {
        self.frame.len() as u64
    }

    pub(crate) fn kind(&self) -> FrameKind {
        self.kind
    }

    pub(crate) fn control(kind: u8, content: &[u8]) -> Chunk {
        let mut chunk = Chunk::of(FrameKind::Control, Vec::new());
        push_record(&mut chunk.frame, kind, 0, &[content]);
        chunk.count = 1;
        chunk.seal_body();
        chunk
    }

    pub(crate) fn state(body: &[u8]) -> Chunk {
        let mut chunk = Chunk::of(FrameKind::State, Vec::new());
        chunk.frame.extend_from_slice(body);
        chunk.seal_body();
        chunk
    }

    fn of(kind: FrameKind, mut frame: Vec<u8>) -> Chunk {
        frame.clear();
        frame.resize(FRAME_HEAD, 0);
        Chunk { frame, kind, count: 0, targets: 0, body_crc: 0 }
    }

    fn seal_body(&mut self) {
        self.body_crc = crc32c::crc32c(self.frame.get(FRAME_HEAD..).unwrap_or_default());
    }

    /// The frame's bytes, for this one place.
    pub(crate) fn place(&mut self, salt: u64, offset: u64, group_start: u64, first_seq: u64) -> &[u8] {
        let header = FrameHeader {
            kind: self.kind,
            // The builder keeps the body below MAX_CHUNK_BYTES, and a state frame is an eighth of a
            // segment, which is below 4 GiB.
            body_len: u32::try_from(self.frame.len().saturating_sub(FRAME_HEAD)).unwrap_or(u32::MAX),
            body_crc: self.body_crc,
            first_seq,
            count: self.count,
            targets: self.targets,
            group_start,
        };
        if let Some(head) = self.frame.first_chunk_mut() {
            *head = header.encode(salt, offset);
        }
        &self.frame
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.frame
    }
}

/// Gathers records into chunks; one allocation per chunk, once chunks are about as large as those before.
#[derive(Debug)]
pub struct ChunkBuilder {
    chunk: Chunk,
    /// Bytes of the next chunk, as far as one can tell; nothing is allocated before its first record.
    expected: usize,
}

/// A record that no chunk takes.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PushError {
    /// The kind belongs to the journal.
    #[error("record kind `{0:#x}` is reserved for the journal; use one below 0xf0")]
    ReservedKind(u8),
    /// The chunk has no room: finish it and push again; if it was empty, the record is too large.
    #[error("a chunk holds at most {MAX_CHUNK_BYTES} bytes; this record would make it {0}")]
    TooLarge(usize),
}

impl ChunkBuilder {
    /// `expected`: bytes that the first chunk may hold; each later one is expected to be like the last.
    pub fn new(expected: usize) -> ChunkBuilder {
        ChunkBuilder {
            chunk: Chunk::of(FrameKind::Data, Vec::new()),
            expected: expected.min(MAX_CHUNK_BYTES),
        }
    }

    /// Adds a record whose content is `parts`, one after the other; bit n of `targets` is target n's.
    pub fn push(&mut self, kind: u8, targets: u64, parts: &[&[u8]]) -> Result<(), PushError> {
        if kind >= RESERVED_KINDS {
            return Err(PushError::ReservedKind(kind));
        }
        let content = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()));
        let body = self.len().saturating_add(RECORD_HEAD).saturating_add(content);
        if body > MAX_CHUNK_BYTES {
            return Err(PushError::TooLarge(body));
        }
        if self.is_empty() {
            self.chunk.frame.reserve(self.expected);
        }
        push_record(&mut self.chunk.frame, kind, targets, parts);
        self.chunk.count = self.chunk.count.saturating_add(1);
        self.chunk.targets |= targets;
        Ok(())
    }

    /// Bytes gathered.
    pub fn len(&self) -> usize {
        self.chunk.frame.len().saturating_sub(FRAME_HEAD)
    }

    /// Nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.chunk.count == 0
    }

    /// Gives the chunk, CRC computed, and starts the next.
    pub fn finish(&mut self) -> Chunk {
        let mut chunk = std::mem::replace(&mut self.chunk, Chunk::of(FrameKind::Data, Vec::new()));
        self.expected = chunk.frame.len();
        chunk.seal_body();
        chunk
    }
}

fn push_record(frame: &mut Vec<u8>, kind: u8, targets: u64, parts: &[&[u8]]) {
    let content = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()));
    frame.extend_from_slice(&u32::try_from(content).unwrap_or(u32::MAX).to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(&targets.to_le_bytes());
    for part in parts {
        frame.extend_from_slice(part);
    }
}

/// One record in a body: where its content lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRecord {
    pub(crate) kind: u8,
    pub(crate) targets: u64,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Reads the record at `at`, if it is there whole.
pub(crate) fn record_at(body: &[u8], at: usize) -> Option<RawRecord> {
    let len = usize::try_from(u32_at(body, at)?).ok()?;
    let kind = *body.get(at.checked_add(4)?)?;
    let targets = u64_at(body, at.checked_add(5)?)?;
    let start = at.checked_add(RECORD_HEAD)?;
    let end = start.checked_add(len)?;
    (end <= body.len()).then_some(RawRecord { kind, targets, start, end })
}
