//! The owner of the journal: one thread that writes what has gathered, syncs
//! once, publishes the durable watermark and only then tells the sessions.
//!
//! Sessions hand over chunks of records they have decided and encoded; relays
//! hand over cursors and notes. Nothing here knows what a message is, beyond
//! the tally its writer counted.
//!
//! INVARIANT: [`Acked`] is built only from a position the disk has confirmed.
//! INVARIANT: after a sync that failed nothing is acknowledged; the hub stops.

mod inbox;
mod parked;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use octroi_journal::{
    AppendError, AppendRefusal, Chunk, ChunkBuilder, CommitError, Durable, Journal, Target, TargetBit,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::fail_point;
use crate::ledger::{Done, Ledger, Tally};
use crate::limits;
use crate::metrics::Metrics;
use crate::patience::Patience;
use crate::record::{Progress, RecordKind};
pub use inbox::{Append, Control, Inbox};
pub use parked::Most;
use parked::Parked;
pub use view::{JournalView, Watermark};

/// A chunk is on disk: its publishers may be told.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    durable: Durable,
}

impl Acked {
    fn at(durable: Durable) -> Self {
        Self { durable }
    }

    /// How far the journal was on disk.
    #[must_use]
    pub fn durable(self) -> Durable {
        self.durable
    }
}

/// How the owner's thread ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to; everything is sealed.
    Stopped,
    /// The disk failed a sync: recover at the next start.
    Failed(CommitError),
}

/// The owner of the journal.
pub struct Committer {
    journal: Journal,
    ledger: Ledger,
    inbox: Arc<Inbox>,
    watermark: Arc<Watermark>,
    view: Arc<arc_swap::ArcSwap<JournalView>>,
    metrics: Arc<Metrics>,
    /// Chunks that found no room, oldest first.
    waiting: VecDeque<Append>,
    /// Something that waited was let go since new chunks were last taken.
    let_go: bool,
    /// Chunks of senders whose messages take their share of the journal.
    parked: Parked,
    /// What a full disk put off.
    deferred: VecDeque<Control>,
    /// By target, what is not on record yet: its totals, and everything below is among them.
    owed: BTreeMap<u8, (Done, u64)>,
    /// What sessions may take of a snapshot.
    sessions_most: u64,
    /// They take that, and it has been said.
    sessions_full: bool,
    sealed: bool,
    /// When others were last shown the state, and whether it has moved since.
    shown: Duration,
    moved: bool,
}

/// What is staged in the group that is about to be synced.
#[derive(Default)]
struct Group {
    staged: Vec<Staged>,
    bytes: u64,
    notes: Vec<(RecordKind, Vec<u8>, Option<oneshot::Sender<Acked>>)>,
    /// What is owed is the group's first chunk.
    progressed: bool,
    /// The notes are the next.
    noted: bool,
    registered: Vec<Vec<TargetBit>>,
    /// Who asked for them, and for what.
    asked: Vec<(Vec<String>, oneshot::Sender<Vec<TargetBit>>)>,
    barriers: Vec<oneshot::Sender<Acked>>,
    /// Whose open packet identifiers are asked for.
    sessions: Vec<(String, oneshot::Sender<Vec<u16>>)>,
    /// By how much it lets sessions grow.
    sessions_grow: u64,
    advanced: bool,
    stop: bool,
}

struct Staged {
    tally: Tally,
    /// The targets of its records, and the sequence number behind the last.
    assigned: (u64, u64),
    by: Option<Arc<str>>,
    budget: Option<[OwnedSemaphorePermit; 2]>,
    done: oneshot::Sender<Acked>,
}

impl Committer {
    /// Owns `journal`, which has been recovered into `ledger`; a sender's messages take no more of it than
    /// `most` says.
    pub fn new(
        (journal, most): (Journal, Most),
        ledger: Ledger,
        inbox: Arc<Inbox>,
        watermark: Arc<Watermark>,
        view: Arc<arc_swap::ArcSwap<JournalView>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut committer = Self {
            sessions_most: journal.snapshot_most() / limits::SESSIONS_FRACTION,
            sessions_full: false,
            journal,
            ledger,
            inbox,
            watermark,
            view,
            metrics,
            waiting: VecDeque::new(),
            let_go: false,
            parked: Parked::new(most),
            deferred: VecDeque::new(),
            owed: BTreeMap::new(),
            sealed: false,
            shown: Duration::ZERO,
            moved: false,
        };
        committer.publish(committer.journal.durable());
        committer.show();
        committer
    }

    /// Runs until it is told to stop, or the disk fails. `now` measures syncs for the metrics.
    pub fn run(mut self, now: impl Fn() -> Duration) -> Ended {
        loop {
            if let Some(ended) = self.step(Patience::Waits, &now) {
                return ended;
            }
        }
    }

    /// Commits what has gathered; when nothing has, shows the state, or seals. Says how it ended, if it did:
    /// nothing more is taken then.
    pub fn step(&mut self, patience: Patience, now: &impl Fn() -> Duration) -> Option<Ended> {
        let ended = match self.gathered(patience, now) {
            Ok(false) => return None,
            Ok(true) => self.seal().map_or_else(Ended::Failed, |()| Ended::Stopped),
            Err(error) => Ended::Failed(error),
        };
        self.inbox.close();
        self.watermark.nudge();
        Some(ended)
    }

    /// Says whether it was told to stop.
    fn gathered(&mut self, patience: Patience, now: &impl Fn() -> Duration) -> Result<bool, CommitError> {
        let full = !self.waiting.is_empty() || !self.deferred.is_empty();
        let again = full || !self.owed.is_empty() || !self.parked.is_empty();
        let wait = match (again, self.moved) {
            (true, _) => limits::FULL_RETRY,
            (false, true) => limits::SHOW_EVERY,
            (false, false) => limits::SEAL_AFTER,
        };
        // While publishers press, what is being decided joins the group: fewer syncs, and fewer answers to read.
        if self.watermark.pressed() {
            std::thread::yield_now();
        }
        let (chunks, controls) = self.inbox.take(full, patience.at_most(wait));
        if chunks.is_empty() {
            self.watermark.pressed.store(false, Ordering::Relaxed);
        }
        if !chunks.is_empty() || !controls.is_empty() || again {
            return self.turn(chunks, controls, now);
        }
        if self.moved {
            self.show();
            return Ok(false);
        }
        self.seal().map(|()| false)
    }

    /// One commit group: stage, sync, tell. Says whether it was told to stop.
    fn turn(
        &mut self,
        chunks: VecDeque<Append>,
        controls: VecDeque<Control>,
        now: &impl Fn() -> Duration,
    ) -> Result<bool, CommitError> {
        let mut group = Group::default();
        let deferred = std::mem::take(&mut self.deferred);
        for control in deferred.into_iter().chain(controls) {
            self.stage_control(control, &mut group);
        }
        self.stage_progress(&mut group);
        self.stage_notes(&mut group);
        // What waited for room and whose publisher was told to keep it, or is gone, comes again by itself. A new
        // chunk is written whoever is left to be told, unless it came behind such a one: it would overtake what
        // comes again.
        let waited = self.waiting.len();
        self.waiting.retain(|append| !append.done.is_closed());
        self.let_go |= self.waiting.len() < waited;
        let behind = self.let_go && !chunks.is_empty();
        self.waiting.extend(chunks.into_iter().filter(|append| !behind || !append.done.is_closed()));
        self.let_go &= !behind;
        self.parked.give_back(&self.ledger.usage, &mut self.waiting, now());
        self.stage_chunks(&mut group);

        fail_point::reached("committer.staged");
        let before = now();
        let ledger = &self.ledger;
        match self.journal.commit(&mut |out| ledger.write_snapshot(out)) {
            Ok(durable) => {
                fail_point::reached("committer.synced");
                self.metrics.journal_synced(now().saturating_sub(before));
                self.finish(group, durable, now())
            }
            Err(CommitError::Full { chunks, .. }) => self.commit_own(group, chunks, now),
            Err(error) => Err(error),
        }
    }

    /// On a full disk: nothing of the group is on disk. Publishers' chunks go back to the head of the queue, in
    /// order. The hub's own notes may fit into what was left for them (an archive writes no batch without one),
    /// else they are lost with their senders, and whoever wrote them writes them again. Cursors and what is said
    /// of them have a reserve, and what they pass gives room.
    fn commit_own(
        &mut self,
        mut group: Group,
        chunks: Vec<Chunk>,
        now: &impl Fn() -> Duration,
    ) -> Result<bool, CommitError> {
        let mut chunks = chunks.into_iter();
        let progress = if group.progressed { chunks.next() } else { None };
        let notes = if group.noted { chunks.next() } else { None };
        let staged = std::mem::take(&mut group.staged).into_iter().zip(chunks);
        for (Staged { tally, by, budget, done, .. }, chunk) in staged.collect::<Vec<_>>().into_iter().rev() {
            self.waiting.push_front(Append { chunk, tally, by, budget, done });
        }
        // What waits is not synced: a barrier behind it waits too.
        self.deferred.extend(group.barriers.drain(..).map(|done| Control::Barrier { done }));
        group.bytes = 0;
        for notes in [notes, None] {
            group.progressed =
                progress.clone().is_some_and(|owed| self.journal.append_with_cursors(owed).is_ok());
            group.noted = notes.is_some_and(|notes| self.journal.append(notes).is_ok());
            if !group.noted {
                group.notes = Vec::new();
            }
            let ledger = &self.ledger;
            match self.journal.commit(&mut |out| ledger.write_snapshot(out)) {
                Ok(durable) => {
                    group.advanced = true;
                    return self.finish(group, durable, now());
                }
                Err(CommitError::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // Registrations and questions wait for the group that succeeds.
        let sessions = group.sessions.into_iter();
        self.deferred.extend(sessions.map(|(session, reply)| Control::Exchanges { session, reply }));
        let names = group.asked.into_iter().map(|(names, reply)| Control::Register { names, reply });
        self.deferred.extend(names);
        self.show();
        Ok(group.stop)
    }

    fn stage_control(&mut self, control: Control, group: &mut Group) {
        match control {
            Control::Advance { target, cursor, delivered, withheld } => {
                if let Err(error) = self.journal.advance(target, cursor) {
                    tracing::error!(%error, "a cursor was not taken");
                    return;
                }
                let (done, upto) = self.owe(target.index(), cursor);
                *done = Done { delivered: done.delivered + delivered, withheld: done.withheld + withheld };
                *upto = cursor.max(*upto);
                group.advanced = true;
            }
            Control::Aside { target, cursor } => self.stage_aside(target, cursor, group),
            Control::Note { kind, bytes, done } => {
                // Without a note the session is not promised.
                let grows = self.ledger.grows_by_note(kind, &bytes);
                if self.sessions_find_room(grows, group) {
                    group.notes.push((kind, bytes, done));
                }
            }
            Control::Register { names, reply } => {
                let head = self.journal.next_seq();
                let bits = names.iter().map(|name| self.journal.register_target(name, head));
                match bits.collect::<Result<Vec<_>, _>>() {
                    Ok(bits) => {
                        group.registered.push(bits);
                        group.asked.push((names, reply));
                    }
                    // Dropping `reply` tells the caller; the log says why.
                    Err(error) => tracing::error!(%error, "the journal takes no more targets"),
                }
            }
            Control::Barrier { done } => group.barriers.push(done),
            Control::Exchanges { session, reply } => group.sessions.push((session, reply)),
            Control::Stop => group.stop = true,
        }
    }

    /// INVARIANT: a cursor goes ahead of what its target is done with only once that is on record: a start
    /// would otherwise begin behind what waits in the backlog.
    fn stage_aside(&mut self, target: TargetBit, cursor: u64, group: &mut Group) {
        let number = target.index();
        if self.ledger.served.contains_key(&number) {
            match self.journal.advance(target, cursor) {
                Ok(()) => group.advanced = true,
                Err(error) => tracing::error!(%error, "a cursor was not taken"),
            }
        } else if let Some(known) = self.journal.targets().iter().find(|known| known.bit == target) {
            // The mover asks again until the cursor has moved.
            self.owe(number, known.cursor);
        }
    }

    /// What is owed of a target; where that is nothing yet, what is on record, and `upto`.
    fn owe(&mut self, target: u8, upto: u64) -> &mut (Done, u64) {
        let known = self.ledger.done.get(&target).copied().unwrap_or_default();
        self.owed.entry(target).or_insert((known, upto))
    }

    /// INVARIANT: a cursor and the totals of what it passed are on record together, or neither is: the ledger
    /// counts nothing before, and a start that reads again what it read before counts it once.
    fn stage_progress(&mut self, group: &mut Group) {
        let mut builder = ChunkBuilder::new(64 * self.owed.len());
        for (target, (Done { delivered, withheld }, upto)) in &self.owed {
            let progress =
                Progress { target: *target, delivered: *delivered, withheld: *withheld, upto: Some(*upto) };
            if let Err(error) = builder.push(RecordKind::Progress as u8, 0, &[&progress.to_bytes()]) {
                tracing::error!(%error, "the totals of a target are not noted");
            }
        }
        match self.journal.append_with_cursors(builder.finish()) {
            Ok(_) => group.progressed = !self.owed.is_empty(),
            Err(error) => tracing::error!(%error, "the totals of the targets are not noted"),
        }
    }

    fn stage_notes(&mut self, group: &mut Group) {
        if group.notes.is_empty() {
            return;
        }
        let mut builder = ChunkBuilder::new(1024);
        for (kind, bytes, _) in &group.notes {
            if let Err(error) = builder.push(*kind as u8, 0, &[bytes]) {
                tracing::error!(%error, "a note is too large");
            }
        }
        if let Err(error) = self.journal.append(builder.finish()) {
            tracing::warn!(%error, "notes found no room; they are written again later");
            group.notes.clear();
        } else {
            group.noted = true;
        }
    }

    /// Whether the group may let sessions grow by so much. Said once, until an eighth is free again.
    fn sessions_find_room(&mut self, bytes: u64, group: &mut Group) -> bool {
        let (taken, most) = (self.ledger.session_bytes() + group.sessions_grow, self.sessions_most);
        let fits = bytes == 0 || taken + bytes <= most;
        if fits {
            group.sessions_grow += bytes;
            self.sessions_full &= taken > most / 8 * 7;
        } else if !std::mem::replace(&mut self.sessions_full, true) {
            tracing::warn!(
                most,
                "persistent sessions and their open QoS 2 packet identifiers take what they may of the journal's \
                 state: no new session is promised, and QoS 2 messages of those that are wait; let clients ask \
                 for a shorter session expiry, or raise `journal.limit`"
            );
        }
        fits
    }

    fn stage_chunks(&mut self, group: &mut Group) {
        while let Some(append) = self.waiting.pop_front() {
            let grows = self.ledger.grows_by_chunk(&append.tally);
            let fits = self.sessions_find_room(grows, group);
            let Some(append) = self.parked.keep(append, &self.ledger.usage, fits) else { continue };
            let Append { chunk, tally, by, budget, done } = append;
            let (bytes, targets) = (chunk.frame_bytes(), chunk.targets());
            match self.journal.append_leaving(chunk, limits::OWN_RECORDS_BYTES) {
                Ok(seqs) => {
                    group.bytes += bytes;
                    group.staged.push(Staged { tally, assigned: (targets, seqs.end), by, budget, done });
                }
                Err(AppendError { reason: AppendRefusal::Full { .. } | AppendRefusal::GroupFull, chunk }) => {
                    self.waiting.push_front(Append { chunk, tally, by, budget, done });
                    break;
                }
                // Dropped without an ack: the publisher keeps its message.
                Err(AppendError { reason, .. }) => tracing::error!(%reason, "a chunk was not taken"),
            }
        }
    }

    fn finish(&mut self, group: Group, durable: Durable, now: Duration) -> Result<bool, CommitError> {
        self.sealed = false;
        self.moved = true;
        // Intents and registrations are read back by relays: shown at once. Sessions are not shown.
        let read_back = group.notes.iter().any(|(kind, ..)| !kind.is_of_sessions());
        let show = group.progressed || read_back || !group.registered.is_empty();
        self.watermark.pressed.store(group.bytes >= limits::PRESSED_GROUP_BYTES, Ordering::Relaxed);
        let acked = Acked::at(durable);
        if group.progressed {
            for (target, (done, upto)) in std::mem::take(&mut self.owed) {
                self.ledger.progressed(target, done, Some(upto));
            }
        }
        let mut noted = Vec::new();
        for (kind, bytes, done) in group.notes {
            if let Err(error) = self.ledger.apply(kind, 0, &bytes) {
                tracing::error!(%error, "the hub wrote a note that it cannot read");
            }
            noted.extend(done);
        }
        for staged in group.staged {
            self.ledger.add(&staged.tally, staged.by.as_deref());
            self.ledger.assigned(staged.assigned.0, staged.assigned.1);
            drop(staged.budget);
            // A session that is gone needs no ack.
            staged.done.send(acked).ok();
        }
        for done in group.barriers {
            done.send(acked).ok();
        }
        for (session, reply) in group.sessions {
            // What of it found no room never will: its connection is gone, and its publisher sends it again.
            let others = |append: &Append| append.tally.session() != Some(session.as_str());
            self.waiting.retain(others);
            self.parked.retain(others);
            self.inbox.lock().chunks.retain(others);
            reply.send(self.ledger.open_exchanges(&session)).ok();
        }
        fail_point::reached("committer.acked");
        if group.advanced {
            self.trim();
        }
        if show || now.saturating_sub(self.shown) >= limits::SHOW_EVERY {
            self.shown = now;
            self.show();
        }
        // INVARIANT: who is told that a note or a registration is on record sees it there.
        for done in noted {
            done.send(acked).ok();
        }
        for (bits, (_, reply)) in group.registered.into_iter().zip(group.asked) {
            reply.send(bits).ok();
        }
        self.publish(durable);
        Ok(group.stop)
    }

    fn trim(&mut self) {
        if let Err(error) = self.journal.trim() {
            tracing::warn!(%error, "old segments could not be removed; tried again with the next cursor");
        }
    }

    fn publish(&mut self, durable: Durable) {
        let stats = self.journal.stats();
        let ends = (self.waited_for(durable.end()), durable.end());
        self.ledger.usage.turn(ends, stats.limit, self.parked.senders());
        self.watermark.publish(stats.active_seq, durable.end());
    }

    /// The first record that some target is not done with; `end`: there is none.
    fn waited_for(&self, end: u64) -> u64 {
        let waits = |target: &Target| {
            let assigned = self.ledger.assigned_below.get(&target.bit.index());
            assigned.is_some_and(|assigned| target.cursor < *assigned)
        };
        let targets = self.journal.targets();
        targets.iter().filter(|target| waits(target)).map(|target| target.cursor).min().unwrap_or(end)
    }

    fn seal(&mut self) -> Result<(), CommitError> {
        if !self.sealed {
            fail_point::reached("committer.seals");
            let mut group = Group::default();
            self.stage_progress(&mut group);
            let ledger = &self.ledger;
            self.journal.seal(&mut |out| ledger.write_snapshot(out))?;
            self.sealed = true;
        }
        Ok(())
    }

    fn show(&mut self) {
        self.moved = false;
        let stats = self.journal.stats();
        let targets = self.journal.targets().into_iter();
        self.view.store(Arc::new(JournalView {
            ledger: self.ledger.without_sessions(),
            targets: targets.map(|target| (target.name, target.bit, target.cursor)).collect(),
            bytes: stats.bytes_on_disk,
            next_seq: self.journal.next_seq(),
            full: !self.waiting.is_empty(),
        }));
    }
}

#[cfg(test)]
mod tests;
