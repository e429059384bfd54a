//! What others see of the journal: how far it is on disk, and what it adds up to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use octroi_journal::TargetBit;

use crate::ledger::Ledger;
use crate::limits;

/// How far the journal is on disk: relays wait for it.
#[derive(Debug, Default)]
pub struct Watermark {
    next: AtomicU64,
    segment: AtomicU64,
    pub(super) pressed: AtomicBool,
    /// Whether anybody waits: a notification costs a system call also where nobody does.
    waiters: Mutex<bool>,
    moved: Condvar,
}

impl Watermark {
    /// The first sequence number that is not on disk.
    pub fn get(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// The first sequence number of the segment that is being written: a cursor below holds an older one back.
    pub fn segment(&self) -> u64 {
        self.segment.load(Ordering::Acquire)
    }

    /// `segment` first: whoever sees the records of a new segment sees that it began.
    pub(super) fn publish(&self, segment: u64, next: u64) {
        self.segment.store(segment, Ordering::Release);
        self.next.store(next, Ordering::Release);
        // Taken so that a waiter between its check and its sleep is not missed.
        if std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.moved.notify_all();
        }
    }

    /// Whether publishers keep the journal as busy as it can be.
    pub fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Wakes every waiter, moved or not.
    pub fn nudge(&self) {
        self.moved.notify_all();
    }

    /// Waits until the watermark is past `seen`, at most `wait`; then a moment longer, for what comes with it:
    /// a reader that woke for each group would cost publishers more than it reads.
    #[expect(
        clippy::disallowed_methods,
        reason = "on the reader's own thread, and only as long as it asked for"
    )]
    pub fn wait_past(&self, seen: u64, wait: Duration) {
        let guard = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, timed_out) = self
            .moved
            .wait_timeout_while(guard, wait, |waits| {
                let is_early = self.get() <= seen;
                *waits |= is_early;
                is_early
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        if !timed_out.timed_out() {
            std::thread::sleep(wait.min(limits::GATHER));
        }
    }
}

/// What others see of the owner's state; swapped whole after each commit.
#[derive(Clone, Debug, Default)]
pub struct JournalView {
    /// What the journal adds up to, without its sessions.
    pub ledger: Ledger,
    /// Name, bit and cursor of each target.
    pub targets: Vec<(String, TargetBit, u64)>,
    /// On disk.
    pub bytes: u64,
    /// First sequence number that does not exist yet.
    pub next_seq: u64,
    /// Whether it refuses chunks for want of room.
    pub full: bool,
}

impl JournalView {
    /// Where the journal's cursor of a target is; 0: there is no such target.
    #[must_use]
    pub fn cursor(&self, bit: TargetBit) -> u64 {
        self.targets.iter().find(|(_, known, _)| *known == bit).map_or(0, |(_, _, cursor)| *cursor)
    }

    /// Where a reader of the journal takes up at a start: everything below is done with, and counted. A torn
    /// group may have kept the totals and not the cursor.
    #[must_use]
    pub fn position(&self, bit: TargetBit) -> u64 {
        let cursor = self.cursor(bit);
        cursor.max(self.served(bit, cursor))
    }

    /// What a target is done with: everything below. Its cursor is there or above, where the rest is in its
    /// backlog.
    #[must_use]
    pub fn served(&self, bit: TargetBit, cursor: u64) -> u64 {
        self.ledger.served.get(&bit.index()).copied().unwrap_or(cursor)
    }
}
