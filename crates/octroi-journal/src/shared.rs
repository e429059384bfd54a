//! What the owner publishes to its readers: the list of segments and the durable end.
//!
//! INVARIANT: nothing is published before the sync that makes it durable has returned.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A position in the journal that is on disk: every record below it was synced.
///
/// Only this crate makes one, after the sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durable(pub(crate) u64);

impl Durable {
    /// The record with this sequence number is durable.
    pub fn covers(self, seq: u64) -> bool {
        seq < self.0
    }

    /// The first sequence number that is not durable.
    pub fn end(self) -> u64 {
        self.0
    }
}

#[derive(Debug, Clone)]
pub(crate) struct View {
    /// First sequence number of every segment, oldest first.
    pub(crate) segments: Arc<[u64]>,
    pub(crate) durable: u64,
    /// Offset of the durable end in the last segment.
    pub(crate) end: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    durable: AtomicU64,
    // A lock and not a message: readers come and go, and each needs the newest view when it asks, not
    // every view there was. It is held for the clone of one `Arc` and two numbers.
    view: Mutex<View>,
}

impl Shared {
    pub(crate) fn new(view: View) -> Shared {
        Shared { durable: AtomicU64::new(view.durable), view: Mutex::new(view) }
    }

    pub(crate) fn durable(&self) -> Durable {
        Durable(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn publish(&self, view: View) {
        let durable = view.durable;
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
        self.durable.store(durable, Ordering::Release);
    }
}
