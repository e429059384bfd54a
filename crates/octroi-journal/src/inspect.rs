//! Looks at a journal without owning it: no lock, no write, every CRC.
//!
//! Beside a live owner the end of the last segment may be in flux, and shows as a tail; a segment that the
//! owner trims meanwhile is passed over.

use crate::chunk::record_at;
use crate::disk::{Disk, DiskFile};
use crate::format::{
    FRAMES_AT, FrameHeader, FrameKind, HeaderError, SegmentHeader, segment_base, segment_name,
};
use crate::reader::Entry;
use crate::recover;
use crate::scan::{Scanner, Step, read_header};
use crate::targets::Target;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// A read-only look at a journal's directory.
pub struct Inspector {
    disk: Arc<dyn Disk>,
}

/// One segment, as its header tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFacts {
    /// File name.
    pub name: String,
    /// From the name.
    pub base_seq: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The header, or why there is none.
    pub header: Result<SegmentHeader, String>,
    /// Copies of the header that are bad, where one is good.
    pub lost_copies: u32,
}

/// What a walk over a segment meets, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding<'a> {
    /// A sound frame; its records follow.
    Frame {
        /// Where in the file.
        offset: u64,
        /// Header and body.
        bytes: u64,
        /// What it holds.
        kind: FrameKind,
        /// First sequence number.
        first_seq: u64,
        /// Records.
        count: u32,
        /// Union of their targets.
        targets: u64,
    },
    /// A record of the frame before; kinds from `0xF0` on are the journal's own.
    Record(Entry<'a>),
    /// Bytes that are not as they were written.
    Damage {
        /// Where in the file.
        offset: u64,
        /// How many.
        bytes: u64,
        /// The records that were there; empty where a second copy exists.
        lost: Range<u64>,
    },
    /// Bytes after the last frame that are not zero: a torn tail, or a group being written.
    Tail {
        /// Where in the file.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file.
    pub bytes: Range<u64>,
    /// The records that were there; empty where a second copy exists.
    pub lost: Range<u64>,
}

/// What is in a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentSummary {
    /// File name.
    pub name: String,
    /// Sound frames.
    pub frames: u64,
    /// Their records.
    pub records: u64,
    /// What is not as it was written.
    pub damage: Vec<Damage>,
    /// Bytes after the last frame: a torn tail, or a group being written.
    pub tail_bytes: u64,
}

/// What is in a journal, by segment, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The segments.
    pub segments: Vec<SegmentSummary>,
}

impl Summary {
    /// Nothing is damaged. A tail is no damage: recovery deals with it.
    pub fn is_sound(&self) -> bool {
        self.segments.iter().all(|segment| segment.damage.is_empty())
    }

    /// Sound frames of all segments.
    pub fn frames(&self) -> u64 {
        self.segments.iter().map(|segment| segment.frames).sum()
    }

    /// Their records.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    /// Bytes after the last frames.
    pub fn tail_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.tail_bytes).sum()
    }
}

/// A look that failed.
#[derive(Debug, Error)]
#[error("failed to {what} `{file}`; check the disk and the directory's rights")]
pub struct InspectError {
    /// What was tried.
    pub what: &'static str,
    /// On which file (`.` is the directory).
    pub file: String,
    /// Why it failed.
    pub source: io::Error,
}

fn at<'a>(what: &'static str, file: &'a str) -> impl FnOnce(io::Error) -> InspectError + 'a {
    move |source| InspectError { what, file: file.to_owned(), source }
}

impl Inspector {
    /// Looks at `disk`.
    pub fn new(disk: Arc<dyn Disk>) -> Inspector {
        Inspector { disk }
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Result<Vec<SegmentFacts>, InspectError> {
        let mut bases: Vec<u64> =
            self.disk.list().map_err(at("list", "."))?.iter().filter_map(|name| segment_base(name)).collect();
        bases.sort_unstable();
        let mut all = Vec::with_capacity(bases.len());
        for base_seq in bases {
            let name = segment_name(base_seq);
            let Some(file) = self.open(&name)? else { continue };
            let bytes = file.size().map_err(at("measure", &name))?;
            let read = read_header(&*file).map_err(at("read", &name))?;
            let header = read.header.map_err(|error| match error {
                HeaderError::Damaged => "both copies of the header are bad".to_owned(),
                HeaderError::Newer(version) => format!("format version {version} is newer than this program"),
            });
            all.push(SegmentFacts { name, base_seq, bytes, header, lost_copies: read.lost_copies });
        }
        Ok(all)
    }

    /// `None`: its owner has trimmed it.
    fn open(&self, name: &str) -> Result<Option<Box<dyn DiskFile>>, InspectError> {
        match self.disk.open(name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("open", name)(error)),
        }
    }

    /// Walks a segment; `end_seq` is the base of the next one, `None` for the last.
    pub fn walk(
        &self,
        segment: &SegmentFacts,
        end_seq: Option<u64>,
        visit: &mut dyn FnMut(Finding<'_>),
    ) -> Result<(), InspectError> {
        let name = &segment.name;
        let Ok(header) = &segment.header else {
            let lost = segment.base_seq..end_seq.unwrap_or(segment.base_seq);
            visit(Finding::Damage { offset: 0, bytes: segment.bytes, lost });
            return Ok(());
        };
        let Some(file) = self.open(name)? else { return Ok(()) };
        if segment.lost_copies > 0 {
            visit(Finding::Damage { offset: 0, bytes: FRAMES_AT, lost: segment.base_seq..segment.base_seq });
        }
        let mut scanner = Scanner::default();
        let mut expected = segment.base_seq;
        let mut offset = FRAMES_AT;
        loop {
            let step = scanner.step(&*file, header.salt, offset, segment.bytes, 256 << 10);
            let frame = match step.map_err(at("read", name))? {
                Step::Frame(frame) => frame,
                Step::Gap { to, next } => {
                    let lost = expected..next.first_seq.max(expected);
                    visit(Finding::Damage { offset, bytes: to.saturating_sub(offset), lost });
                    expected = expected.max(next.first_seq);
                    offset = to;
                    continue;
                }
                Step::End => break,
            };
            if frame.first_seq > expected {
                visit(Finding::Damage { offset, bytes: 0, lost: expected..frame.first_seq });
            }
            match scanner.body(&*file, offset, &frame).map_err(at("read", name))? {
                Some(body) => frame_found(offset, &frame, body, visit),
                None => visit(Finding::Damage {
                    offset,
                    bytes: frame.frame_len(),
                    lost: frame.first_seq..frame.end_seq(),
                }),
            }
            expected = expected.max(frame.end_seq());
            offset = offset.saturating_add(frame.frame_len());
        }
        let end = scanner.end_of_bytes(&*file, offset, segment.bytes).map_err(at("read", name))?;
        if end_seq.is_some_and(|end_seq| end_seq > expected) {
            let lost = expected..end_seq.unwrap_or(expected);
            visit(Finding::Damage { offset, bytes: end.saturating_sub(offset), lost });
        } else if end > offset {
            visit(Finding::Tail { offset, bytes: end.saturating_sub(offset) });
        }
        let missing = header.segment_bytes.saturating_sub(segment.bytes);
        if missing > 0 {
            visit(Finding::Damage { offset: segment.bytes, bytes: missing, lost: expected..expected });
        }
        Ok(())
    }

    /// The live targets, by bit, with the cursors that the last segment holds; none where it cannot be read.
    pub fn targets(&self) -> Result<Vec<Target>, InspectError> {
        let Some(last) = self.segments()?.pop() else { return Ok(Vec::new()) };
        let Ok(header) = &last.header else { return Ok(Vec::new()) };
        let file = self.disk.open(&last.name).map_err(at("open", &last.name))?;
        let seen = recover::walk(&*file, header, last.bytes).map_err(at("read", &last.name))?;
        Ok(seen.targets().map(|targets| targets.list()).unwrap_or_default())
    }

    /// Reads everything and checks every CRC.
    pub fn verify(&self) -> Result<Summary, InspectError> {
        let segments = self.segments()?;
        let nexts = segments.iter().skip(1).map(|next| Some(next.base_seq)).chain([None]);
        let mut summary = Summary::default();
        for (segment, next) in segments.iter().zip(nexts) {
            let mut of = SegmentSummary { name: segment.name.clone(), ..SegmentSummary::default() };
            self.walk(segment, next, &mut |finding| match finding {
                Finding::Frame { .. } => of.frames = of.frames.saturating_add(1),
                Finding::Record(_) => of.records = of.records.saturating_add(1),
                Finding::Damage { offset, bytes, lost } => {
                    of.damage.push(Damage { bytes: offset..offset.saturating_add(bytes), lost });
                }
                Finding::Tail { bytes, .. } => of.tail_bytes = of.tail_bytes.saturating_add(bytes),
            })?;
            summary.segments.push(of);
        }
        Ok(summary)
    }
}

fn frame_found(offset: u64, frame: &FrameHeader, body: &[u8], visit: &mut dyn FnMut(Finding<'_>)) {
    visit(Finding::Frame {
        offset,
        bytes: frame.frame_len(),
        kind: frame.kind,
        first_seq: frame.first_seq,
        count: frame.count,
        targets: frame.targets,
    });
    let mut at = 0;
    for seq in frame.first_seq..frame.end_seq() {
        let Some(record) = record_at(body, at) else { break };
        at = record.end;
        let bytes = body.get(record.start..record.end).unwrap_or_default();
        visit(Finding::Record(Entry { seq, kind: record.kind, targets: record.targets, bytes }));
    }
}
