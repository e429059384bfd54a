//! What the owner publishes to its readers: the list of segments and the durable end.
//!
//! INVARIANT: nothing is published before the sync that makes it durable has returned.

use std::ops::Range;
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

/// Ranges of lost records that are remembered: enough for an alarm, which is not an inventory.
const MAX_FENCED: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Shared {
    durable: AtomicU64,
    // A lock and not a message: readers come and go, and each needs the newest view when it asks, not
    // every view there was. It is held for the clone of one `Arc` and two numbers.
    view: Mutex<View>,
    // Disjoint, in order. A lock: readers find damage, each on its own thread, and hardly ever.
    fenced: Mutex<Vec<Range<u64>>>,
}

impl Shared {
    pub(crate) fn new(view: View, fenced: &[Range<u64>]) -> Shared {
        let shared = Shared {
            durable: AtomicU64::new(view.durable),
            view: Mutex::new(view),
            fenced: Mutex::default(),
        };
        for range in fenced {
            shared.fence(range.clone());
        }
        shared
    }

    /// Remembers that these records are lost.
    pub(crate) fn fence(&self, range: Range<u64>) {
        let mut fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        let first = fenced.partition_point(|known| known.end < range.start);
        let end = fenced.partition_point(|known| known.start <= range.end);
        // Those that it overlaps or touches become one with it.
        let joined = fenced
            .get(first..end)
            .unwrap_or_default()
            .iter()
            .fold(range, |sum, known| sum.start.min(known.start)..sum.end.max(known.end));
        if first < end || fenced.len() < MAX_FENCED {
            fenced.splice(first..end, [joined]);
        }
    }

    /// The ranges of lost records that were found since the journal was opened.
    pub(crate) fn fenced(&self) -> Vec<Range<u64>> {
        self.fenced.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one_and_their_number_is_bounded() {
        let view = View { segments: [0].into(), durable: 0, end: 0 };
        let shared = Shared::new(view, &[10..20, 30..40]);
        for range in [5..6, 20..25, 41..42, 12..13] {
            shared.fence(range);
        }
        assert_eq!(shared.fenced(), [5..6, 10..25, 30..40, 41..42]);
        shared.fence(6..41);
        assert_eq!((shared.fenced().len(), shared.fenced().pop()), (1, Some(5..42)));
        for n in 0..2_000 {
            shared.fence(100 + 2 * n..101 + 2 * n);
        }
        assert_eq!(shared.fenced().len(), MAX_FENCED);
    }
}
