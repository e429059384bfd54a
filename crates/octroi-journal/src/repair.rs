//! What an opening does to a journal that is not as it was written, by itself and told beforehand.
//!
//! Recovery, run by hand on a journal that nobody owns: a torn tail is put into a file of its own and cleared,
//! a segment that is too short gets its length back. Beyond that, every damaged range, in old segments too,
//! is copied to a file of its own, so that its bytes outlive the segment when that is trimmed. A fenced range
//! stays where it is, and lost: nothing is invented for it.
//! INVARIANT: no byte that is not in another file first is changed, and no file is removed.

use crate::disk::{Disk, DiskFile};
use crate::format::LOCK;
use crate::inspect::{Finding, InspectError, Inspector, SegmentFacts};
use crate::recover::{clear, copy, torn_name, walk};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// One thing that is not as it was written, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// The segment.
    pub segment: String,
    /// Where in it.
    pub bytes: Range<u64>,
    /// Records that are lost with it.
    pub lost: Range<u64>,
    /// What it is.
    pub what: Flaw,
    /// The file that keeps its bytes; `None`: there are none.
    pub kept_in: Option<String>,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A group that nobody was told of: put aside and cleared.
    TornTail,
    /// Bytes that are not as they were written: copied, and fenced where they are.
    Damage,
    /// The end of the file is missing: it gets its length back.
    Short,
}

/// A repair that did not take place, or not to the end; what it did not come to is as it was.
#[derive(Debug, Error)]
pub enum RepairError {
    /// The caller exits with 75.
    #[error("the journal is in use by another process (lock file `lock`); stop that one first")]
    Locked,
    /// Nothing that a repair could start from.
    #[error(
        "`{file}` is beyond what this program can repair: {what}; nothing was changed; restore it from a copy, or use the release that wrote it"
    )]
    Beyond {
        /// The last segment.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The disk.
    #[error(transparent)]
    Io(#[from] InspectError),
}

fn at<'a>(what: &'static str, file: &'a str) -> impl FnOnce(io::Error) -> InspectError + 'a {
    move |source| InspectError { what, file: file.to_owned(), source }
}

/// Takes the journal's lock: while the file lives, nobody else owns the journal.
pub fn lock(disk: &dyn Disk) -> Result<Box<dyn DiskFile>, RepairError> {
    disk.lock(LOCK).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            RepairError::Locked
        } else {
            at("lock", LOCK)(error).into()
        }
    })
}

/// Mends the journal in `disk`, or, on a dry run, only says what would be done; in the order of the segments.
pub fn repair(disk: &Arc<dyn Disk>, dry_run: bool) -> Result<Vec<Mend>, RepairError> {
    let _lock = lock(&**disk)?;
    let inspector = Inspector::new(Arc::clone(disk));
    let segments = inspector.segments()?;
    let Some((last, old)) = segments.split_last() else { return Ok(Vec::new()) };
    let mut mends = Vec::new();
    for (segment, next) in old.iter().zip(segments.iter().skip(1)) {
        mends.extend(damage(&inspector, segment, Some(next.base_seq), u64::MAX)?);
    }
    mends.extend(mends_of_last(&**disk, &inspector, last)?);
    if !dry_run {
        for mend in &mends {
            make(&**disk, mend, mend.segment == last.name).map_err(at("mend", &mend.segment))?;
        }
    }
    Ok(mends)
}

/// Damaged ranges that start before `end`.
fn damage(
    inspector: &Inspector,
    segment: &SegmentFacts,
    next: Option<u64>,
    end: u64,
) -> Result<Vec<Mend>, InspectError> {
    let mut found = Vec::new();
    inspector.walk(segment, next, &mut |finding| {
        let Finding::Damage { offset, bytes, lost } = finding else { return };
        if offset >= end {
            return;
        }
        let short = offset >= segment.bytes;
        let bytes = offset..offset.saturating_add(bytes);
        let file = format!("{:020}-{}-{}.damaged", segment.base_seq, bytes.start, bytes.end);
        found.push(Mend {
            segment: segment.name.clone(),
            kept_in: (!short && !bytes.is_empty()).then_some(file),
            bytes,
            lost,
            what: if short { Flaw::Short } else { Flaw::Damage },
        });
    })?;
    Ok(found)
}

/// The last segment, as recovery sees it: what lies behind the last group that was acknowledged is no damage.
fn mends_of_last(
    disk: &dyn Disk,
    inspector: &Inspector,
    last: &SegmentFacts,
) -> Result<Vec<Mend>, RepairError> {
    let beyond = |what: &str| RepairError::Beyond { file: last.name.clone(), what: what.to_owned() };
    let header = last.header.as_ref().map_err(|what| beyond(what))?;
    if header.base_seq != last.base_seq {
        return Err(beyond("its header belongs to another segment"));
    }
    let file = disk.open(&last.name).map_err(at("open", &last.name))?;
    let seen = walk(&*file, header, last.bytes).map_err(at("read", &last.name))?;
    if seen.state.is_none() {
        return Err(beyond("both copies of its state frame are bad"));
    }
    let mut mends = damage(inspector, last, None, seen.end)?;
    let nothing = seen.next_seq..seen.next_seq;
    if seen.dirty_end > seen.end {
        let names = disk.list().map_err(at("list", "."))?;
        mends.push(Mend {
            segment: last.name.clone(),
            bytes: seen.end..seen.dirty_end,
            lost: nothing.clone(),
            what: Flaw::TornTail,
            kept_in: Some(torn_name(&names, last.base_seq, seen.end)),
        });
    }
    if header.segment_bytes > last.bytes {
        mends.push(Mend {
            segment: last.name.clone(),
            bytes: last.bytes..header.segment_bytes,
            lost: nothing,
            what: Flaw::Short,
            kept_in: None,
        });
    }
    Ok(mends)
}

/// Keeps the bytes, durably; only then touches the segment.
fn make(disk: &dyn Disk, mend: &Mend, is_last: bool) -> io::Result<()> {
    let file = disk.open(&mend.segment)?;
    if let Some(name) = &mend.kept_in {
        // What an earlier repair kept is nearer to what was written.
        let kept = disk.open(name).and_then(|kept| kept.size());
        if kept.map_or(true, |size| size < mend.bytes.end.saturating_sub(mend.bytes.start)) {
            copy(disk, &*file, name, mend.bytes.clone())?;
        }
        disk.sync_dir()?;
    }
    match mend.what {
        Flaw::Damage => Ok(()),
        Flaw::TornTail => {
            clear(&*file, mend.bytes.clone(), file.size()?)?;
            file.sync()
        }
        // An old segment is as long as it is: readers know that what is missing is lost.
        Flaw::Short if !is_last => Ok(()),
        Flaw::Short => {
            file.truncate(mend.bytes.end)?;
            file.sync()
        }
    }
}
