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
    /// The call answers ENOSPC and does nothing; at a sync or a read, which have no such answer before
    /// the data is at stake, EIO.
    Full,
    /// A write takes half of the bytes and then answers ENOSPC; other calls are not touched.
    ShortThenFull,
    /// Power is lost: this call and every later one answers EIO.
    Crash,
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
    fault_at_call: Option<(u64, Fault)>,
    fault_at_sync: Option<(u64, Fault)>,
    full_next: bool,
    dead: bool,
    capacity: Option<u64>,
    sync_lies: bool,
}

#[derive(Default, Clone)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    allocated: u64,
}

#[derive(Clone)]
enum NameChange {
    Link(String, u64),
    Rename(String, String),
    Unlink(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
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

    /// The n-th call that changes something or reads, counted from 0 and from now, fails.
    pub fn fail_at_call(&self, n: u64, fault: Fault) {
        let mut state = self.lock_state();
        state.fault_at_call = Some((state.calls.saturating_add(n), fault));
    }

    /// The n-th sync of a file or the directory, counted from 0 and from now, fails.
    pub fn fail_at_sync(&self, n: u64, fault: Fault) {
        let mut state = self.lock_state();
        state.fault_at_sync = Some((state.syncs.saturating_add(n), fault));
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
        state.inodes.get(inode).map(|inode| inode.seen.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.lock_state();
        let id = state.new_inode();
        let inode = Inode {
            seen: bytes.to_vec(),
            durable: bytes.to_vec(),
            dirty: BTreeSet::new(),
            allocated: bytes.len() as u64,
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
            copy.put(name, state.inodes.get(inode).map(|inode| &inode.seen[..]).unwrap_or_default());
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
            crashed.put(&name, &inode.crashed(&mut keep));
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
    fn crashed(&self, keep: &mut dyn FnMut() -> bool) -> Vec<u8> {
        let size = if self.seen.len() != self.durable.len() && keep() {
            self.seen.len()
        } else {
            self.durable.len()
        };
        let mut bytes = self.durable.clone();
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
        bytes
    }

    /// Some of what waits becomes durable, without a sync.
    fn write_back(&mut self, mut random: Random) {
        if random.next().is_multiple_of(2) {
            return;
        }
        let (seen, durable) = (&self.seen, &mut self.durable);
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
        self.seen.resize(size, 0);
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
    fn call(&mut self, is_sync: bool) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(io::Error::other("no power"));
        }
        if std::mem::take(&mut self.full_next) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let due = |at: Option<(u64, Fault)>, now: u64| at.filter(|(n, _)| *n == now).map(|(_, fault)| fault);
        let mut fault = due(self.fault_at_call, self.calls);
        self.calls = self.calls.saturating_add(1);
        if is_sync {
            fault = fault.or(due(self.fault_at_sync, self.syncs));
            self.syncs = self.syncs.saturating_add(1);
        }
        match fault {
            Some(Fault::Crash) => {
                self.dead = true;
                Err(io::Error::other("no power"))
            }
            Some(Fault::Io) => Err(io::Error::other("simulated EIO")),
            Some(Fault::Full) if is_sync => Err(io::Error::other("simulated EIO")),
            other => Ok(other),
        }
    }

    /// A call that needs `more` bytes.
    fn call_for_room(&mut self, more: u64) -> io::Result<Option<Fault>> {
        let fault = self.call(false)?;
        let full = self.capacity.is_some_and(|capacity| self.allocated().saturating_add(more) > capacity);
        if full || fault == Some(Fault::Full) {
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
        state.call(false)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock_state();
        let room = state.call_for_room(size);
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
        state.call(false)?;
        let inode = state.inode_of(name)?;
        drop(state);
        Ok(self.handle(inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        state.call(false)?;
        state.inode_of(name)?;
        state.rename(NameChange::Unlink(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        state.call(false)?;
        state.inode_of(from)?;
        state.rename(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock_state();
        state.call(true)?;
        if !state.sync_lies {
            state.durable_names = state.names.clone();
            state.pending_names.clear();
        }
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock_state();
        state.call(false)?;
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
        state.call(false)?;
        self.with(&mut state, |inode| inode.seen.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock_state();
        state.call(false)?;
        self.with(&mut state, |inode| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.seen.len());
            let bytes = inode.seen.get(from..).unwrap_or_default();
            let len = bytes.len().min(buf.len());
            if let (Some(slot), Some(bytes)) = (buf.get_mut(..len), bytes.get(..len)) {
                slot.copy_from_slice(bytes);
            }
            len
        })
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock_state();
        let mut bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = offset.saturating_add(bytes.len() as u64);
        let more = self.with(&mut state, |inode| end.saturating_sub(inode.allocated))?;
        if state.call_for_room(more)? == Some(Fault::ShortThenFull) {
            state.full_next = true;
            bytes.truncate(bytes.len() / 2);
        }
        let to = from.saturating_add(bytes.len());
        let random = state.fork_random();
        self.with(&mut state, |inode| {
            inode.write_back(random);
            if inode.seen.len() < to {
                inode.resize(to);
            }
            inode.allocated = inode.allocated.max(to as u64);
            if let Some(slot) = inode.seen.get_mut(from..to) {
                slot.copy_from_slice(&bytes);
            }
            inode.touch(from, to);
            bytes.len()
        })
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        state.call(false)?;
        let random = state.fork_random();
        self.with(&mut state, |inode| {
            inode.write_back(random);
            inode.allocated = inode.allocated.min(size);
            inode.resize(usize::try_from(size).unwrap_or(usize::MAX));
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock_state();
        state.call(true)?;
        if state.sync_lies {
            return Ok(());
        }
        self.with(&mut state, |inode| {
            inode.durable.resize(inode.seen.len(), 0);
            for sector in std::mem::take(&mut inode.dirty) {
                let from = sector.saturating_mul(SECTOR);
                let to = from.saturating_add(SECTOR).min(inode.seen.len());
                if let (Some(slot), Some(new)) = (inode.durable.get_mut(from..to), inode.seen.get(from..to)) {
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
