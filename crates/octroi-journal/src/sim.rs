//! A disk in memory that can lose power, fail, fill up and lie.
//!
//! Every file has two halves: what is seen, and what would be there after a power loss. A sync copies
//! the first to the second. At a crash each 512-byte sector that was written and not synced is kept or
//! lost on its own, and so is each creation, renaming and removal since the last directory sync; a
//! size that was not synced is the old one or the new one. Before a write or a cut, some of the sectors
//! that wait may go to the durable half, as a kernel writes back when it likes. Which, the seed says.
//! INVARIANT: the same seed and the same calls give the same bytes.

use crate::disk::{Disk, DiskFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call answers EIO and does nothing.
    Io,
    /// The call answers ENOSPC and does nothing; where it changes neither bytes nor names, or is a sync, which
    /// has no such answer before the data is at stake, EIO.
    Full,
    /// A write takes half of the bytes and then answers ENOSPC; other calls are not touched.
    ShortThenFull,
    /// A read or write moves half of the bytes; other calls are not touched.
    Short,
    /// A read or write answers EINTR and does nothing; other calls are not touched.
    Interrupted,
    /// Power is lost: this call and every later one answers EIO.
    Crash,
}

/// What a call asks of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the call of its name")]
pub enum Op {
    List,
    Create,
    Open,
    Remove,
    Rename,
    SyncDir,
    Lock,
    Size,
    Read,
    Write,
    Truncate,
    Sync,
}

impl Op {
    /// All of them.
    pub const ALL: [Op; 12] = [
        Op::List,
        Op::Create,
        Op::Open,
        Op::Remove,
        Op::Rename,
        Op::SyncDir,
        Op::Lock,
        Op::Size,
        Op::Read,
        Op::Write,
        Op::Truncate,
        Op::Sync,
    ];

    fn is_sync(self) -> bool {
        self == Op::Sync || self == Op::SyncDir
    }

    /// It may need room.
    fn may_be_full(self) -> bool {
        matches!(self, Op::Create | Op::Remove | Op::Rename | Op::Write | Op::Truncate)
    }
}

/// A simulated disk; clones of the handle share the one disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    next_inode: u64,
    locked: bool,
    seed: u64,
    calls: u64,
    syncs: u64,
    faults_at_call: BTreeMap<u64, Fault>,
    faults_at_sync: BTreeMap<u64, Fault>,
    hits: Vec<Op>,
    full_next: bool,
    dead: bool,
    capacity: Option<u64>,
    sync_lies: bool,
}

/// Its bytes are shared with copies of the disk until either is written to.
#[derive(Default)]
struct Inode {
    seen: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    dirty: BTreeSet<usize>,
    allocated: u64,
}

#[derive(Clone)]
enum NameChange {
    Link(String, u64),
    /// It moves a file, and not whatever bore its name before: a name that survives leads to that file.
    Rename(String, String, u64),
    Unlink(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            NameChange::Unlink(name) => {
                names.remove(name);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk; `seed` decides what its crashes keep.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(State { seed, ..State::default() })) }
    }

    /// The n-th call that changes something or reads, counted from 0 and from now, fails too.
    pub fn fail_at_call(&self, n: u64, fault: Fault) {
        let mut state = self.lock_state();
        let at = state.calls.saturating_add(n);
        state.faults_at_call.insert(at, fault);
    }

    /// The n-th sync of a file or the directory, counted from 0 and from now, fails too.
    pub fn fail_at_sync(&self, n: u64, fault: Fault) {
        let mut state = self.lock_state();
        let at = state.syncs.saturating_add(n);
        state.faults_at_sync.insert(at, fault);
    }

    /// The calls that a fault fell on, in order.
    pub fn hits(&self) -> Vec<Op> {
        self.lock_state().hits.clone()
    }

    /// Bytes that all files together may have allocated; `None`: no end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock_state().capacity = bytes;
    }

    /// A disk whose syncs answer `Ok` and do nothing: a check that passes on it checks nothing.
    pub fn set_sync_lies(&self, lies: bool) {
        self.lock_state().sync_lies = lies;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.lock_state().calls
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.lock_state().syncs
    }

    /// Bytes allocated by all files.
    pub fn allocated(&self) -> u64 {
        self.lock_state().allocated()
    }

    /// The content of a file as it is seen.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock_state();
        let inode = state.names.get(name)?;
        state.inodes.get(inode).map(|inode| inode.seen.to_vec())
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.put_shared(name, Arc::new(bytes.to_vec()));
    }

    fn put_shared(&self, name: &str, bytes: Arc<Vec<u8>>) {
        let mut state = self.lock_state();
        let id = state.new_inode();
        let inode = Inode {
            allocated: bytes.len() as u64,
            seen: Arc::clone(&bytes),
            durable: bytes,
            dirty: BTreeSet::new(),
        };
        state.inodes.insert(id, inode);
        state.names.insert(name.to_owned(), id);
        state.durable_names.insert(name.to_owned(), id);
    }

    /// A copy as it is, with everything synced, unlocked and without faults.
    pub fn copy(&self) -> SimDisk {
        let state = self.lock_state();
        let copy = SimDisk::new(state.seed);
        for (name, inode) in &state.names {
            copy.put_shared(
                name,
                state.inodes.get(inode).map(|inode| Arc::clone(&inode.seen)).unwrap_or_default(),
            );
        }
        copy
    }

    /// The disk as a power loss now would leave it; what `seed` says of the rest is kept.
    pub fn after_crash(&self, seed: u64) -> SimDisk {
        let state = self.lock_state();
        let mut random = Random(state.seed ^ seed.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        // Everything, nothing, and three mixtures.
        let keep_of_four = random.next() % 5;
        let mut keep = move || random.next() % 4 < keep_of_four;

        let mut names = state.durable_names.clone();
        for change in &state.pending_names {
            if keep() {
                change.apply(&mut names);
            }
        }
        let crashed = SimDisk::new(state.seed.wrapping_add(1));
        for (name, id) in names {
            let Some(inode) = state.inodes.get(&id) else { continue };
            crashed.put_shared(&name, inode.crashed(&mut keep));
        }
        crashed
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, inode: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), inode, is_lock: false })
    }
}

impl Inode {
    fn crashed(&self, keep: &mut dyn FnMut() -> bool) -> Arc<Vec<u8>> {
        let mut shared = Arc::clone(&self.durable);
        if self.dirty.is_empty() && self.seen.len() == self.durable.len() {
            return shared;
        }
        let size = if self.seen.len() != self.durable.len() && keep() {
            self.seen.len()
        } else {
            self.durable.len()
        };
        let bytes = Arc::make_mut(&mut shared);
        bytes.resize(size, 0);
        for sector in &self.dirty {
            if !keep() {
                continue;
            }
            let from = sector.saturating_mul(SECTOR);
            let to = from.saturating_add(SECTOR).min(size).min(self.seen.len());
            if let (Some(slot), Some(new)) = (bytes.get_mut(from..to), self.seen.get(from..to)) {
                slot.copy_from_slice(new);
            }
        }
        shared
    }

    /// Some of what waits becomes durable, without a sync.
    fn write_back(&mut self, mut random: Random) {
        if self.dirty.is_empty() || random.next().is_multiple_of(2) {
            return;
        }
        let (seen, durable) = (&self.seen, Arc::make_mut(&mut self.durable));
        self.dirty.retain(|sector| {
            let from = sector.saturating_mul(SECTOR);
            let to = from.saturating_add(SECTOR).min(seen.len());
            let Some(new) = seen.get(from..to).filter(|_| random.next().is_multiple_of(2)) else {
                return true;
            };
            durable.resize(durable.len().max(to), 0);
            if let Some(slot) = durable.get_mut(from..to) {
                slot.copy_from_slice(new);
            }
            false
        });
    }

    fn resize(&mut self, size: usize) {
        let (from, to) = (self.seen.len().min(size), self.seen.len().max(size));
        Arc::make_mut(&mut self.seen).resize(size, 0);
        self.touch(from, to);
    }

    fn touch(&mut self, from: usize, to: usize) {
        if from < to {
            self.dirty.extend(from / SECTOR..=to.saturating_sub(1) / SECTOR);
        }
    }
}

impl State {
    fn new_inode(&mut self) -> u64 {
        self.next_inode = self.next_inode.saturating_add(1);
        self.next_inode
    }

    fn fork_random(&self) -> Random {
        Random(self.seed ^ self.calls.wrapping_mul(0xA24B_AED4_963E_E407))
    }

    fn allocated(&self) -> u64 {
        self.names.values().filter_map(|id| self.inodes.get(id)).map(|inode| inode.allocated).sum()
    }

    /// Counts a call, and fails it if that is due.
    fn call(&mut self, op: Op) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(io::Error::other("no power"));
        }
        if std::mem::take(&mut self.full_next) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut fault = self.faults_at_call.remove(&self.calls);
        self.calls = self.calls.saturating_add(1);
        if op.is_sync() {
            fault = fault.or(self.faults_at_sync.remove(&self.syncs));
            self.syncs = self.syncs.saturating_add(1);
        }
        if fault.is_some() {
            self.hits.push(op);
        }
        match fault {
            Some(Fault::Crash) => {
                self.dead = true;
                Err(io::Error::other("no power"))
            }
            Some(Fault::Full) if op.may_be_full() => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Io | Fault::Full) => Err(io::Error::other("simulated EIO")),
            Some(Fault::Interrupted) if op == Op::Read || op == Op::Write => {
                Err(io::ErrorKind::Interrupted.into())
            }
            other => Ok(other),
        }
    }

    /// A call that needs `more` bytes.
    fn call_for_room(&mut self, op: Op, more: u64) -> io::Result<Option<Fault>> {
        let fault = self.call(op)?;
        if self.capacity.is_some_and(|capacity| self.allocated().saturating_add(more) > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(fault)
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn inode_of(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.lock_state();
        state.call(Op::List)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock_state();
        let room = state.call_for_room(Op::Create, size);
        let full = room.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        if !full {
            room?;
        }
        // As on a file system, the name is there before the blocks are refused.
        let id = state.new_inode();
        let mut inode = Inode { allocated: if full { 0 } else { size }, ..Inode::default() };
        if !full {
            inode.resize(usize::try_from(size).unwrap_or(usize::MAX));
        }
        state.inodes.insert(id, inode);
        state.rename(NameChange::Link(name.to_owned(), id));
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        drop(state);
        Ok(self.handle(id))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock_state();
        state.call(Op::Open)?;
        let inode = state.inode_of(name)?;
        drop(state);
        Ok(self.handle(inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        state.call(Op::Remove)?;
        state.inode_of(name)?;
        state.rename(NameChange::Unlink(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        state.call(Op::Rename)?;
        let inode = state.inode_of(from)?;
        state.rename(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock_state();
        state.call(Op::SyncDir)?;
        if !state.sync_lies {
            state.durable_names = state.names.clone();
            state.pending_names.clear();
        }
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock_state();
        state.call(Op::Lock)?;
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        Ok(Box::new(SimFile { disk: self.clone(), inode: 0, is_lock: true }))
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
    is_lock: bool,
}

impl SimFile {
    fn with<T>(&self, state: &mut State, act: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        state.inodes.get_mut(&self.inode).map(act).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.lock_state();
        state.call(Op::Size)?;
        self.with(&mut state, |inode| inode.seen.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock_state();
        let short = state.call(Op::Read)? == Some(Fault::Short);
        self.with(&mut state, |inode| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.seen.len());
            let bytes = inode.seen.get(from..).unwrap_or_default();
            let len = bytes.len().min(buf.len());
            // Never to nothing: that would say that the file ends here.
            let len = if short { len.div_ceil(2) } else { len };
            if let (Some(slot), Some(bytes)) = (buf.get_mut(..len), bytes.get(..len)) {
                slot.copy_from_slice(bytes);
            }
            len
        })
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock_state();
        let mut bytes = bufs.iter().fold(Vec::new(), |mut bytes, buf| {
            bytes.extend_from_slice(buf);
            bytes
        });
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = offset.saturating_add(bytes.len() as u64);
        let more = self.with(&mut state, |inode| end.saturating_sub(inode.allocated))?;
        match state.call_for_room(Op::Write, more)? {
            Some(Fault::ShortThenFull) => {
                state.full_next = true;
                bytes.truncate(bytes.len() / 2);
            }
            Some(Fault::Short) => bytes.truncate(bytes.len().div_ceil(2)),
            _ => {}
        }
        let to = from.saturating_add(bytes.len());
        let random = state.fork_random();
        self.with(&mut state, |inode| {
            inode.write_back(random);
            if inode.seen.len() < to {
                inode.resize(to);
            }
            inode.allocated = inode.allocated.max(to as u64);
            if let Some(slot) = Arc::make_mut(&mut inode.seen).get_mut(from..to) {
                slot.copy_from_slice(&bytes);
            }
            inode.touch(from, to);
            bytes.len()
        })
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        state.call(Op::Truncate)?;
        let random = state.fork_random();
        self.with(&mut state, |inode| {
            inode.write_back(random);
            inode.allocated = inode.allocated.min(size);
            inode.resize(usize::try_from(size).unwrap_or(usize::MAX));
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        state.call(Op::Sync)?;
        if state.sync_lies {
            return Ok(());
        }
        self.with(&mut state, |inode| {
            if inode.dirty.is_empty() && inode.durable.len() == inode.seen.len() {
                return;
            }
            let durable = Arc::make_mut(&mut inode.durable);
            durable.resize(inode.seen.len(), 0);
            for sector in std::mem::take(&mut inode.dirty) {
                let from = sector.saturating_mul(SECTOR);
                let to = from.saturating_add(SECTOR).min(inode.seen.len());
                if let (Some(slot), Some(new)) = (durable.get_mut(from..to), inode.seen.get(from..to)) {
                    slot.copy_from_slice(new);
                }
            }
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.is_lock {
            self.disk.lock_state().locked = false;
        }
    }
}

/// SplitMix64: small, seeded, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it is a generator without an end, not an iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
