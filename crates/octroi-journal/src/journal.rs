//! The owner of a journal: stages chunks, commits groups, rolls segments, trims.
//!
//! It does not read records (`reader.rs`) and does not judge damage (`recover.rs`). One sync per group,
//! and one write; a new segment costs two syncs more.
//! INVARIANT: a `Durable` is published only after the sync that covers it returned; after a failed
//! operation whose outcome is unknown, nothing is answered any more.

use crate::chunk::{Chunk, MAX_CHUNK_BYTES};
use crate::disk::{Disk, DiskFile, is_full, write_all};
use crate::error::{
    AdvanceError, AppendError, AppendRefusal, CommitError, Failed, OpenError, RegisterError, TrimError,
};
use crate::format::{
    FRAME_HEAD, FRAMES_AT, FrameKind, KIND_SEAL, KIND_TARGETS, LOCK, RECORD_HEAD, RESERVE, SECTOR,
    SegmentHeader, VERSION, new_segment_name, segment_base, segment_name,
};
use crate::options::Options;
use crate::reader::Reader;
use crate::recover::{Recovered, Recovery, clear, io_at, recover};
use crate::shared::{Durable, Shared, View};
use crate::targets::{Target, TargetBit, Targets};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

/// The one owner of a journal.
pub struct Journal {
    disk: Arc<dyn Disk>,
    options: Options,
    generation: u64,
    salt_seed: u64,
    shared: Arc<Shared>,
    /// First sequence numbers and sizes, oldest first; the last is the active segment's.
    segments: VecDeque<(u64, u64)>,
    active: Active,
    staged: Staged,
    targets: Targets,
    retain_from: Option<u64>,
    sealed: bool,
    reserve_held: bool,
    poisoned: bool,
    /// Held, not used: dropping it lets the next owner in.
    _lock: Box<dyn DiskFile>,
}

struct Active {
    base: u64,
    salt: u64,
    size: u64,
    file: Box<dyn DiskFile>,
    /// Where the next group goes: all before was synced.
    end: u64,
}

/// The group that the next commit writes.
#[derive(Default)]
struct Staged {
    chunks: Vec<Chunk>,
    bytes: u64,
    records: u64,
    /// It holds records of the owner, not control records alone.
    data: bool,
    /// The target table is in it, ahead of the records that use its bits.
    registry: bool,
    /// Bytes that the segment must have left after it.
    headroom: u64,
    /// It is the seal, for which the group before left room.
    seal: bool,
}

/// Figures of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes that segments and reserve take.
    pub bytes_on_disk: u64,
    /// The quota for them.
    pub limit: u64,
    /// Number of segments.
    pub segments: usize,
    /// Oldest sequence number that can be read.
    pub first_seq: u64,
    /// First sequence number of the segment that is being written: what is below stands in older ones.
    pub active_seq: u64,
    /// Sequence number of the next record.
    pub next_seq: u64,
    /// Everything below is durable.
    pub durable: u64,
    /// The last group is a seal.
    pub sealed: bool,
    /// The reserve file is there.
    pub reserve_held: bool,
}

enum Failure {
    /// No room; the disk is as before.
    Full(io::Error),
    SnapshotTooLarge {
        bytes: u64,
        max: u64,
    },
    Final(Failed),
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        Failure::Final(failed)
    }
}

fn failed<'a>(what: &'static str, file: &'a str) -> impl FnOnce(io::Error) -> Failed + 'a {
    move |source| Failed { what, file: file.to_owned(), source }
}

impl Journal {
    /// Opens the journal in `disk`, or makes a new one if there is none. `entropy` gives random numbers:
    /// the generation of a new journal, and the seed of this opening's salts.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Result<(Journal, Recovery), OpenError> {
        let options = options.checked()?;
        let lock = disk.lock(LOCK).map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                OpenError::Locked
            } else {
                io_at("lock", LOCK)(error)
            }
        })?;
        let names = disk.list().map_err(io_at("list", "."))?;
        let mut segments: Vec<u64> = names.iter().filter_map(|name| segment_base(name)).collect();
        segments.sort_unstable();
        let salt_seed = entropy();

        let found = match segments.last() {
            Some(base) => {
                let found = recover(&*disk, &names, *base, &options.hub)?;
                remove_unfinished(&*disk, &names)?;
                found
            }
            None => {
                segments.push(0);
                remove_unfinished(&*disk, &names)?;
                make_first(&*disk, &options, entropy(), salt(salt_seed, 0))?
            }
        };
        // Names that the last owner did not sync are made durable before they are served.
        disk.sync_dir().map_err(io_at("sync", "."))?;

        let mut sized = VecDeque::with_capacity(segments.len());
        for base in &segments {
            let name = segment_name(*base);
            let size = disk.open(&name).and_then(|file| file.size()).map_err(io_at("measure", &name))?;
            sized.push_back((*base, size));
        }
        let view = View { segments: segments.into(), durable: found.next_seq, end: found.end };
        let mut journal = Journal {
            generation: found.header.generation,
            salt_seed,
            shared: Arc::new(Shared::new(view, &found.report.fenced)),
            segments: sized,
            active: Active {
                base: found.header.base_seq,
                salt: found.header.salt,
                size: found.header.segment_bytes,
                file: found.file,
                end: found.end,
            },
            staged: Staged::default(),
            targets: found.targets,
            retain_from: None,
            sealed: found.sealed,
            reserve_held: false,
            poisoned: false,
            _lock: lock,
            options,
            disk,
        };
        journal.hold_reserve().map_err(|Failed { what, file, source }| OpenError::Io {
            what,
            file,
            source,
        })?;
        Ok((journal, found.report))
    }

    /// The journal's random number, part of every message id: a journal made anew never repeats one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Sequence number that the next appended record gets, unless the group is handed back.
    pub fn next_seq(&self) -> u64 {
        let table = u64::from(self.targets.registry_dirty() && !self.staged.registry);
        self.end_seq().saturating_add(table)
    }

    /// How far the journal is durable.
    pub fn durable(&self) -> Durable {
        self.shared.durable()
    }

    /// Stages a chunk as one frame of the next commit; gives the sequence numbers of its records, which
    /// hold once that commit succeeds. An empty chunk is dropped.
    pub fn append(&mut self, chunk: Chunk) -> Result<Range<u64>, AppendError> {
        self.append_leaving(chunk, 0)
    }

    /// The same, for a chunk that may wait: after its group the segment has `headroom` bytes left (an eighth
    /// of it at most), or another is begun. Where there is no room for another, what may not wait still
    /// finds some.
    pub fn append_leaving(&mut self, chunk: Chunk, headroom: u64) -> Result<Range<u64>, AppendError> {
        let headroom = headroom.min(self.options.segment_bytes / 8);
        let admitted = self.admit(&chunk).and_then(|group| self.quota(group.saturating_add(headroom)));
        if let Err(reason) = admitted {
            return Err(AppendError { reason, chunk });
        }
        if chunk.count() > 0 {
            self.staged.data = true;
            self.staged.headroom = self.staged.headroom.max(headroom);
        }
        Ok(self.stage_records(chunk))
    }

    /// The same, for what the owner keeps of its cursors: where cursors go it goes too, in one frame group,
    /// so that neither is on disk without the other. No quota refuses it, and in a group with nothing else
    /// but cursors it may use the reserve; so it is short, and written for cursors alone.
    pub fn append_with_cursors(&mut self, chunk: Chunk) -> Result<Range<u64>, AppendError> {
        match self.admit(&chunk) {
            Ok(_) => Ok(self.stage_records(chunk)),
            Err(reason) => Err(AppendError { reason, chunk }),
        }
    }

    /// Writes what is staged, and cursors that moved, in one write; syncs once; publishes. `snapshot` is
    /// called when a new segment starts, and gives the owner's state as of before this group.
    pub fn commit(&mut self, snapshot: &mut dyn FnMut(&mut Vec<u8>)) -> Result<Durable, CommitError> {
        if self.poisoned {
            return Err(CommitError::Poisoned);
        }
        self.stage_registry();
        if self.targets.dirty() {
            // After the records: it says what is done, and what it says is of no use to them. After a
            // change of the registry it is the second copy, and one flipped bit cannot take both.
            self.stage(Chunk::control(KIND_TARGETS, &self.targets.encode()));
        }
        if self.staged.chunks.is_empty() {
            return Ok(self.durable());
        }
        self.flush(snapshot)?;
        self.sealed = false;
        Ok(self.durable())
    }

    /// Commits, then marks the end as one that was acknowledged: damage to the last group can then be
    /// told from a torn tail. For an idle journal, and an orderly stop. Does nothing if it is sealed.
    pub fn seal(&mut self, snapshot: &mut dyn FnMut(&mut Vec<u8>)) -> Result<Durable, CommitError> {
        self.commit(snapshot)?;
        // Every group left room for this. Where there is none (the segment is of an owner with a smaller
        // table) it goes unsealed: a new segment would call for a state that `snapshot` may not have.
        if !self.sealed && self.fits(0) {
            self.staged.seal = true;
            self.stage(Chunk::control(KIND_SEAL, &self.targets.encode()));
            self.flush(snapshot)?;
            self.sealed = true;
        }
        Ok(self.durable())
    }

    /// Gives `name` a bit, and a cursor at `start`; a name that is live keeps its own. The table rides
    /// in the next commit, ahead of its records.
    pub fn register_target(&mut self, name: &str, start: u64) -> Result<TargetBit, RegisterError> {
        let max_table = usize::try_from(self.options.segment_bytes / 16).unwrap_or(usize::MAX);
        let known = self.targets.known_bits();
        let bit = self.targets.register(name, start, max_table)?;
        // A table that was staged before does not have it.
        self.staged.registry &= self.targets.known_bits() == known;
        Ok(bit)
    }

    /// Ends a target: once the next commit succeeds it holds no segment back. Its bit is not used again.
    /// False: there is no such live target.
    pub fn retire_target(&mut self, target: TargetBit) -> bool {
        let retired = self.targets.retire(target);
        self.staged.registry &= !retired;
        retired
    }

    /// The live targets, by bit, with their durable cursors.
    pub fn targets(&self) -> Vec<Target> {
        self.targets.list()
    }

    /// Everything below `upto` is done for `target`: durable with the next commit. A cursor that would
    /// go back stays.
    pub fn advance(&mut self, target: TargetBit, upto: u64) -> Result<(), AdvanceError> {
        self.targets.advance(target, upto, self.shared.durable().end())
    }

    /// The owner itself needs nothing below `seq`; for a journal without targets, what lets it trim.
    /// Not kept over a restart.
    pub fn retain_from(&mut self, seq: u64) {
        self.retain_from = Some(self.retain_from.unwrap_or(0).max(seq));
    }

    /// Removes the segments that every target has passed, durably, and makes the reserve again; gives
    /// the number of segments removed.
    pub fn trim(&mut self) -> Result<usize, TrimError> {
        if self.poisoned {
            return Err(TrimError::Poisoned);
        }
        let removed = self.remove_passed().and_then(|removed| {
            self.hold_reserve()?;
            Ok(removed)
        });
        self.poisoned = removed.is_err();
        Ok(removed?)
    }

    /// A reader that starts at `from`.
    pub fn reader(&self, from: u64) -> Reader {
        Reader::new(Arc::clone(&self.disk), Arc::clone(&self.shared), from)
    }

    /// The most bytes that a snapshot may have, the target table and its frame among them.
    pub fn snapshot_most(&self) -> u64 {
        state_most(self.options.segment_bytes)
    }

    /// Figures, for metrics and status.
    pub fn stats(&self) -> Stats {
        Stats {
            bytes_on_disk: self.bytes_on_disk(),
            limit: self.options.limit_bytes,
            segments: self.segments.len(),
            first_seq: self.segments.front().map_or(0, |(base, _)| *base),
            active_seq: self.active.base,
            next_seq: self.next_seq(),
            durable: self.durable().end(),
            sealed: self.sealed,
            reserve_held: self.reserve_held,
        }
    }

    /// Whether the group takes it; how many bytes it then has.
    fn admit(&self, chunk: &Chunk) -> Result<u64, AppendRefusal> {
        if self.poisoned {
            return Err(AppendRefusal::Poisoned);
        }
        let bytes = chunk.frame_bytes();
        let max = (self.options.segment_bytes / 4).min(MAX_CHUNK_BYTES as u64);
        if bytes > max {
            return Err(AppendRefusal::TooLarge { bytes, max });
        }
        let unknown = chunk.targets() & !self.targets.known_bits();
        if unknown != 0 {
            return Err(AppendRefusal::UnknownTarget { unknown });
        }
        // The table ahead of the group and the one after it.
        let group =
            self.staged.bytes.saturating_add(bytes).saturating_add(self.control_bytes().saturating_mul(2));
        if group > self.options.segment_bytes / 2 {
            return Err(AppendRefusal::GroupFull);
        }
        Ok(group)
    }

    /// Whether so many bytes find room in this segment, or another may be begun for them.
    fn quota(&self, bytes: u64) -> Result<(), AppendRefusal> {
        let (used, limit) = (self.bytes_on_disk(), self.options.limit_bytes);
        if !self.fits(bytes) && used.saturating_add(self.options.segment_bytes) > limit {
            return Err(AppendRefusal::Full { used, limit });
        }
        Ok(())
    }

    fn stage_records(&mut self, chunk: Chunk) -> Range<u64> {
        if chunk.count() == 0 {
            return self.next_seq()..self.next_seq();
        }
        self.stage_registry();
        self.stage(chunk)
    }

    fn stage_registry(&mut self) {
        if self.targets.registry_dirty() && !self.staged.registry {
            self.stage(Chunk::control(KIND_TARGETS, &self.targets.encode()));
            self.staged.registry = true;
        }
    }

    fn stage(&mut self, chunk: Chunk) -> Range<u64> {
        let first = self.end_seq();
        self.staged.bytes = self.staged.bytes.saturating_add(chunk.frame_bytes());
        self.staged.records = self.staged.records.saturating_add(u64::from(chunk.count()));
        self.staged.chunks.push(chunk);
        first..self.end_seq()
    }

    fn end_seq(&self) -> u64 {
        self.shared.durable().end().saturating_add(self.staged.records)
    }

    /// Bytes of a frame with the target table.
    fn control_bytes(&self) -> u64 {
        (FRAME_HEAD + RECORD_HEAD) as u64 + self.targets.encode().len() as u64
    }

    /// The active segment takes a group of this size, and a seal after it.
    fn fits(&self, group: u64) -> bool {
        let end = self.active.end.saturating_add(group).saturating_add(self.control_bytes());
        end <= self.active.size
    }

    fn bases(&self) -> Arc<[u64]> {
        self.segments.iter().map(|(base, _)| *base).collect()
    }

    fn bytes_on_disk(&self) -> u64 {
        let reserve = self.options.reserve_bytes;
        self.segments.iter().fold(reserve, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// Writes the staged group; on any failure nothing stays staged.
    fn flush(&mut self, snapshot: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), CommitError> {
        let mut outcome = self.try_flush(snapshot);
        if matches!(outcome, Err(Failure::Full(_))) && !self.staged.data && self.reserve_held {
            // What the reserve is for: a cursor that cannot move keeps segments that could go.
            outcome = match self.release_reserve() {
                Ok(()) => self.try_flush(snapshot),
                Err(failed) => Err(Failure::Final(failed)),
            };
        }
        let mut chunks = std::mem::take(&mut self.staged).chunks;
        let failure = match outcome {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        chunks.retain(|chunk| chunk.kind() == FrameKind::Data);
        Err(match failure {
            Failure::Full(source) => CommitError::Full { chunks, source },
            Failure::SnapshotTooLarge { bytes, max } => CommitError::SnapshotTooLarge { chunks, bytes, max },
            Failure::Final(failed) => {
                self.poisoned = true;
                CommitError::Failed(failed)
            }
        })
    }

    fn try_flush(&mut self, snapshot: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
        if !self.staged.seal && !self.fits(self.staged.bytes.saturating_add(self.staged.headroom)) {
            self.roll(snapshot)?;
        }
        let name = segment_name(self.active.base);
        let start = self.active.end;
        let end_seq = self.end_seq();
        let mut seq = self.shared.durable().end();
        let mut at = start;
        for chunk in &mut self.staged.chunks {
            chunk.place(self.active.salt, at, start, seq);
            seq = seq.saturating_add(u64::from(chunk.count()));
            at = at.saturating_add(chunk.frame_bytes());
        }
        let mut slices: Vec<IoSlice<'_>> =
            self.staged.chunks.iter().map(|chunk| IoSlice::new(chunk.bytes())).collect();
        match write_all(&*self.active.file, &mut slices, start) {
            Ok(()) => {}
            Err(error) if is_full(&error) => {
                // A frame of this group that reached the disk would validate after a crash, and under
                // numbers that are given again: it must be gone, durably, before anything follows.
                clear(&*self.active.file, start..at, self.active.size).map_err(failed("clear", &name))?;
                self.active.file.sync().map_err(failed("sync", &name))?;
                return Err(Failure::Full(error));
            }
            Err(error) => return Err(failed("write", &name)(error).into()),
        }
        self.active.file.sync().map_err(failed("sync", &name))?;
        self.active.end = at;
        if self.targets.dirty() {
            self.targets.mark_durable();
        }
        let view = self.shared.view();
        self.shared.publish(View { durable: end_seq, end: at, ..view });
        Ok(())
    }

    /// Starts a segment whose first record is the staged group's.
    fn roll(&mut self, snapshot: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
        let size = self.options.segment_bytes;
        if self.staged.data {
            // The quota is for records. Cursors are never refused for it: one that cannot move keeps
            // segments that could go, and the journal would never take records again.
            if self.bytes_on_disk().saturating_add(size) > self.options.limit_bytes {
                return Err(Failure::Full(io::ErrorKind::QuotaExceeded.into()));
            }
            self.hold_reserve()?;
            if !self.reserve_held {
                return Err(Failure::Full(io::ErrorKind::StorageFull.into()));
            }
        }
        let base = self.shared.durable().end();
        let header = SegmentHeader {
            version: VERSION,
            hub: self.options.hub.clone(),
            generation: self.generation,
            base_seq: base,
            segment_bytes: size,
            salt: salt(self.salt_seed, base),
        };
        let mut opaque = Vec::new();
        snapshot(&mut opaque);
        let (file, end) = make_segment(&*self.disk, &header, &state_body(&self.targets, &opaque))?;
        self.active = Active { base, salt: header.salt, size, file, end };
        self.segments.push_back((base, size));
        self.shared.publish(View { segments: self.bases(), durable: base, end });
        if !self.fits(self.staged.bytes) {
            // Only when targets were registered by the dozen in one group of a tiny segment.
            return Err(Failure::Full(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(())
    }

    fn remove_passed(&mut self) -> Result<usize, Failed> {
        let floor = match (self.targets.floor(), self.retain_from) {
            (Some(cursor), Some(own)) => cursor.min(own),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => 0,
        };
        let mut removed: usize = 0;
        while self.segments.get(1).is_some_and(|(next, _)| *next <= floor) {
            let Some((base, _)) = self.segments.front().copied() else { break };
            let name = segment_name(base);
            self.segments.pop_front();
            // Before the file goes: a reader that does not find it is to know that it was trimmed, not lost.
            let view = self.shared.view();
            self.shared.publish(View { segments: self.bases(), ..view });
            self.disk.remove(&name).map_err(failed("remove", &name))?;
            // One at a time, so that a crash leaves no hole between segments that came back.
            self.disk.sync_dir().map_err(failed("sync", "."))?;
            removed = removed.saturating_add(1);
        }
        Ok(removed)
    }

    /// Makes the reserve if it is not there; without room for it, goes on without.
    fn hold_reserve(&mut self) -> Result<(), Failed> {
        if self.reserve_held {
            return Ok(());
        }
        match self.disk.create(RESERVE, self.options.reserve_bytes) {
            Ok(file) => {
                file.sync().map_err(failed("sync", RESERVE))?;
                self.reserve_held = true;
            }
            Err(error) if is_full(&error) => {
                // Whatever part of it was made.
                match self.disk.remove(RESERVE) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed("remove", RESERVE)(error));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
            Err(error) => return Err(failed("make", RESERVE)(error)),
        }
        self.disk.sync_dir().map_err(failed("sync", "."))
    }

    fn release_reserve(&mut self) -> Result<(), Failed> {
        self.reserve_held = false;
        self.disk.remove(RESERVE).map_err(failed("remove", RESERVE))?;
        self.disk.sync_dir().map_err(failed("sync", "."))
    }
}

/// Segments in the making when the last owner stopped: nothing in them was acknowledged.
fn remove_unfinished(disk: &dyn Disk, names: &[String]) -> Result<(), OpenError> {
    for name in names.iter().filter(|name| name.ends_with(".new")) {
        disk.remove(name).map_err(io_at("remove", name))?;
    }
    Ok(())
}

fn make_first(
    disk: &dyn Disk,
    options: &Options,
    generation: u64,
    salt: u64,
) -> Result<Recovered, OpenError> {
    let header = SegmentHeader {
        version: VERSION,
        hub: options.hub.clone(),
        generation,
        base_seq: 0,
        segment_bytes: options.segment_bytes,
        salt,
    };
    let targets = Targets::default();
    let at = io_at("make", "the first segment");
    match make_segment(disk, &header, &state_body(&targets, &[])) {
        Ok((file, end)) => Ok(Recovered {
            header,
            file,
            end,
            next_seq: 0,
            targets,
            sealed: false,
            report: Recovery { opened_new: true, ..Recovery::default() },
        }),
        Err(Failure::Final(Failed { what, file, source })) => Err(OpenError::Io { what, file, source }),
        Err(Failure::Full(source)) => Err(at(source)),
        Err(Failure::SnapshotTooLarge { .. }) => Err(at(io::ErrorKind::FileTooLarge.into())),
    }
}

/// The salts of one opening: all different, none guessable without the seed.
fn salt(seed: u64, base_seq: u64) -> u64 {
    // The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    let mut z = seed.wrapping_add(base_seq.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    // The high half marks frames, and preallocated zeros must not look like a mark.
    (z ^ (z >> 31)) | (1 << 32)
}

/// The most that a segment holds of state at its head, where it stands twice.
fn state_most(segment_bytes: u64) -> u64 {
    segment_bytes / 8
}

/// Both as of before the group that the segment is made for: that group may never come to be.
fn state_body(targets: &Targets, snapshot: &[u8]) -> Vec<u8> {
    let table = targets.encode_durable();
    let mut body = u32::try_from(table.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    body.extend_from_slice(&table);
    body.extend_from_slice(snapshot);
    body
}

/// Makes a segment with its header and state frames, durably; gives it with the offset for its first
/// group.
fn make_segment(
    disk: &dyn Disk,
    header: &SegmentHeader,
    state: &[u8],
) -> Result<(Box<dyn DiskFile>, u64), Failure> {
    let max = state_most(header.segment_bytes);
    let mut first = Chunk::state(state);
    if first.frame_bytes() > max {
        return Err(Failure::SnapshotTooLarge { bytes: first.frame_bytes(), max });
    }
    let mut second = first.clone();
    let second_at = FRAMES_AT.saturating_add(first.frame_bytes());
    first.place(header.salt, FRAMES_AT, FRAMES_AT, header.base_seq);
    second.place(header.salt, second_at, second_at, header.base_seq);
    let sector: [u8; SECTOR] = header.encode();

    let making = new_segment_name(header.base_seq);
    let written = disk.create(&making, header.segment_bytes).and_then(|file| {
        let mut slices = [&sector[..], &sector, first.bytes(), second.bytes()].map(IoSlice::new);
        write_all(&*file, &mut slices, 0)?;
        Ok(file)
    });
    let file = match written {
        Ok(file) => file,
        Err(error) if is_full(&error) => match disk.remove(&making) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &making)(error).into());
            }
            Ok(()) | Err(_) => return Err(Failure::Full(error)),
        },
        Err(error) => return Err(failed("make", &making)(error).into()),
    };
    file.sync().map_err(failed("sync", &making))?;
    disk.rename(&making, &segment_name(header.base_seq)).map_err(failed("rename", &making))?;
    disk.sync_dir().map_err(failed("sync", "."))?;
    Ok((file, second_at.saturating_add(second.frame_bytes())))
}
