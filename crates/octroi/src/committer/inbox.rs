//! What sessions, relays and the server hand to the journal's owner, and where it waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use octroi_journal::{Chunk, TargetBit};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Acked;
use crate::ledger::Tally;
use crate::record::RecordKind;

/// A chunk on its way to disk.
#[derive(Debug)]
pub struct Append {
    /// The records.
    pub chunk: Chunk,
    /// What they are, as counted by their writer.
    pub tally: Tally,
    /// The sender's identity; `None`: the hub itself, which is never asked to wait for its share.
    pub by: Option<Arc<str>>,
    /// What of the byte budgets, its sender's and everybody's, they hold until they are written.
    pub budget: Option<[OwnedSemaphorePermit; 2]>,
    /// Told after the sync; dropped when there will be none.
    pub done: oneshot::Sender<Acked>,
}

/// What relays and the server tell the journal's owner.
#[derive(Debug)]
pub enum Control {
    /// A target's records below `cursor` are done with.
    Advance {
        /// Whose.
        target: TargetBit,
        /// Everything below is done.
        cursor: u64,
        /// More delivered since the last time.
        delivered: u64,
        /// More withheld since the last time.
        withheld: u64,
    },
    /// A target's records below `cursor` are in its backlog: the journal need not keep them for it, and they are
    /// not done with.
    Aside {
        /// Whose.
        target: TargetBit,
        /// Everything below is there, if it was not done with before.
        cursor: u64,
    },
    /// A record of the hub's own.
    Note {
        /// Its kind.
        kind: RecordKind,
        /// Its bytes.
        bytes: Vec<u8>,
        /// Told after the sync.
        done: Option<oneshot::Sender<Acked>>,
    },
    /// Gives each name its bit; a new one starts at the journal's head.
    Register {
        /// Ids of targets.
        names: Vec<String>,
        /// The bits, in the same order, on disk.
        reply: oneshot::Sender<Vec<TargetBit>>,
    },
    /// Answers in its turn: after the sync of everything handed over before.
    Barrier {
        /// Told after that sync.
        done: oneshot::Sender<Acked>,
    },
    /// Answers in its turn, as a barrier does: the session's open QoS 2 packet identifiers. Asked while no
    /// connection uses the session; what it handed over is on record by then, or is dropped.
    Exchanges {
        /// As it stands on record.
        session: String,
        /// Told after the sync of everything handed over before.
        reply: oneshot::Sender<Vec<u16>>,
    },
    /// Finish what was handed over, seal and end the thread.
    Stop,
}

/// Where sessions and relays put their work. One short lock per chunk, so that
/// the owner takes everything that gathered in one swap; a channel would hand
/// it over piece by piece. Bounded by the byte budget (chunks) and by one
/// outstanding control per relay.
#[derive(Debug, Default)]
pub struct Inbox {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) chunks: VecDeque<Append>,
    pub(super) controls: VecDeque<Control>,
    pub(super) closed: bool,
    /// The owner sleeps until something arrives. A notification costs a system call also where nobody waits.
    asleep: bool,
}

impl Inbox {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a chunk. After the owner ended it is dropped, unacknowledged.
    pub fn append(&self, append: Append) {
        self.put(|queue| queue.chunks.push_back(append));
    }

    /// Hands over a control.
    pub fn control(&self, control: Control) {
        self.put(|queue| queue.controls.push_back(control));
    }

    fn put(&self, push: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        push(&mut queue);
        let wakes = std::mem::take(&mut queue.asleep);
        // The owner, awake, finds the lock free.
        drop(queue);
        if wakes {
            self.arrived.notify_one();
        }
    }

    /// Takes what has gathered; waits for the first at most `wait`. Chunks stay where they are when `full`.
    pub(super) fn take(&self, full: bool, wait: Duration) -> (VecDeque<Append>, VecDeque<Control>) {
        let mut queue = self.lock();
        let nothing = |queue: &mut Queue| queue.controls.is_empty() && (full || queue.chunks.is_empty());
        if nothing(&mut queue) {
            (queue, _) = self
                .arrived
                .wait_timeout_while(queue, wait, |queue| {
                    queue.asleep = nothing(queue);
                    queue.asleep
                })
                .unwrap_or_else(PoisonError::into_inner);
            queue.asleep = false;
        }
        let chunks = if full { VecDeque::new() } else { std::mem::take(&mut queue.chunks) };
        (chunks, std::mem::take(&mut queue.controls))
    }

    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.chunks.clear();
        queue.controls.clear();
    }
}
