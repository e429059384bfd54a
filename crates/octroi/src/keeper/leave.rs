//! The way out of the side logs, for one bounded batch at a time:
//!
//! gather → announce (the new records and their fate, one frame of the journal)
//! → (synced) → settle (tombstones in the side log, synced) → the next
//!
//! Who begins a batch: an operator's errand, a policy that lets go of what is
//! kept for too long, or the walk through the hold log that each policy epoch
//! makes once. Nothing here waits: relays need the keeper while the journal
//! is full.
//!
//! INVARIANT: a batch is announced only after the tombstones of the one before
//! are synced. The ledger remembers the last; after a crash it is settled
//! before anything else, so nothing leaves twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use octroi_journal::{Batch, ChunkBuilder, PushError};
use octroi_policy::{Date, Timestamp, duration_micros};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::errand::{Errand, Report};
use super::side_log::TAKEN_OVER;
use super::{Keep, KeeperError, Keeping};
use crate::committer::{Acked, Append, Control};
use crate::fail_point;
use crate::ledger::Tally;
use crate::limits;
use crate::policies::Active;
use crate::record::{Fate, Kept, Log, RecordKind, What};
use crate::release::{self, Verdict};
use crate::state::Entry;

/// The policy and the last dated boundary.
type Epoch = (u64, Date);

/// What is on its way out.
pub struct Leaving {
    stage: Stage,
    errand: Option<Running>,
    /// Up to where the hold log was walked in this epoch, and which that is.
    walked: u64,
    epoch: Option<Epoch>,
    /// The epoch that policy time on record is of, and the note on its way that brings it up to date.
    on_record: Epoch,
    noting: Option<(Epoch, oneshot::Receiver<Acked>)>,
}

enum Stage {
    Idle,
    /// On its way into the journal.
    Announced(Fate, oneshot::Receiver<Acked>),
    /// On record there, not in the side log.
    Unsettled(Fate),
}

/// An errand under way.
struct Running {
    errand: Errand,
    report: Report,
    reads: u32,
    /// Ids of the batch under way.
    leaving: Vec<String>,
}

/// Whether a kept message is of a batch.
enum Want {
    Take,
    Pass,
    /// Nor is any after it.
    End,
}

/// What one read of a side log came to.
struct Gathered {
    records: ChunkBuilder,
    tally: Tally,
    fate: Fate,
    bytes: usize,
    /// Those that stay, by the reason of now.
    stays: BTreeMap<&'static str, Vec<u64>>,
    /// Of these, those whose reason is another than before.
    changed: BTreeMap<&'static str, Vec<u64>>,
    /// Where to go on; `None`: that was all.
    next: Option<u64>,
}

impl Leaving {
    /// At a start: what the ledger says was last announced, and the epoch of the latest time on record.
    #[must_use]
    pub fn new(last: Option<Fate>, on_record: Epoch) -> Self {
        Self {
            stage: last.map_or(Stage::Idle, Stage::Unsettled),
            errand: None,
            walked: 0,
            epoch: None,
            on_record,
            noting: None,
        }
    }

    #[cfg(test)]
    pub(super) fn unsettled(&self) -> Option<Fate> {
        match &self.stage {
            Stage::Unsettled(fate) => Some(fate.clone()),
            Stage::Idle | Stage::Announced(..) => None,
        }
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle) && self.errand.is_none() && self.noting.is_none()
    }
}

impl Gathered {
    fn new(log: Log, generation: u64, what: What, at: Timestamp) -> Self {
        Self {
            records: ChunkBuilder::new(limits::CHUNK_HINT_BYTES),
            tally: Tally::default(),
            fate: Fate { log, generation, what, at: at.0, why: String::new(), messages: 0, seqs: Vec::new() },
            bytes: 0,
            stays: BTreeMap::new(),
            changed: BTreeMap::new(),
            next: None,
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= limits::CHUNK_BYTES || self.fate.seqs.len() >= limits::LEAVING
    }

    /// Takes one message, as far as `verdict` lets it go; what is not released needs none. `counts`: it is in
    /// the balance of this journal.
    fn take(
        &mut self,
        (seq, counts): (u64, bool),
        kept: &Kept<'_>,
        entry: &Entry,
        verdict: Option<Verdict<'_>>,
    ) {
        let reason = match verdict {
            None => None,
            Some(Verdict::Stays(reason)) => Some(reason),
            Some(Verdict::Goes(going)) => {
                let parts: [&[u8]; 2] = [&going.header, going.payload];
                match self.records.push(going.kind as u8, going.targets, &parts) {
                    Ok(()) => {
                        self.tally.assign(going.targets, Timestamp(self.fate.at));
                        None
                    }
                    // A chunk has room for sixty-four of the largest.
                    Err(PushError::TooLarge(_) | PushError::ReservedKind(_)) => Some("too_large"),
                }
            }
        };
        match reason {
            Some(reason) => {
                self.stays.entry(reason).or_default().push(seq);
                if entry.reason != reason {
                    self.changed.entry(reason).or_default().push(seq);
                }
            }
            None => {
                self.fate.seqs.push(seq);
                self.fate.messages += u64::from(counts && release::is_whole(kept.message));
                self.bytes += kept.message.len();
            }
        }
    }
}

impl Keeping {
    /// One step of what leaves. Says whether there may be another at once.
    pub(super) fn leave(&mut self, batch: &mut Batch) -> Result<bool, KeeperError> {
        let active = self.policies.current();
        let now = self.clock.now();
        self.turn_epoch(&active, now);
        if !self.quarantine.is_indexed() || !self.hold.is_indexed() {
            return Ok(false);
        }
        match std::mem::replace(&mut self.leaving.stage, Stage::Idle) {
            Stage::Announced(fate, mut told) => {
                match told.try_recv() {
                    Ok(_) => {
                        fail_point::reached("keeper.fate_is_on_record");
                        self.leaving.stage = Stage::Unsettled(fate);
                    }
                    Err(TryRecvError::Empty) => self.leaving.stage = Stage::Announced(fate, told),
                    // The journal took nothing of it. Whoever asked is told so by the end of the channel.
                    Err(TryRecvError::Closed) => (self.leaving.errand, self.leaving.walked) = (None, 0),
                }
                Ok(matches!(self.leaving.stage, Stage::Unsettled(_)))
            }
            Stage::Unsettled(fate) => {
                let settled = self.settle(&fate, batch)?;
                if settled {
                    fail_point::reached("keeper.settled");
                    self.errand_settled();
                } else {
                    self.leaving.stage = Stage::Unsettled(fate);
                }
                Ok(settled)
            }
            Stage::Idle if self.stop.load(Ordering::Acquire) => Ok(false),
            Stage::Idle => Ok(self.run_errand(&active, now, batch)?
                || self.expire(&active, now, batch)?
                || self.walk(&active, now, batch)?),
        }
    }

    /// A new epoch: the hold log is walked again, and policy time goes on record, so that a clock set back
    /// does not revive what lapsed, over a restart too.
    fn turn_epoch(&mut self, active: &Active, now: Timestamp) {
        let epoch = active.epoch(now.date());
        let leaving = &mut self.leaving;
        if leaving.epoch.replace(epoch) != Some(epoch) {
            leaving.walked = 0;
        }
        if let Some((noted, mut told)) = leaving.noting.take() {
            match told.try_recv() {
                Ok(_) => leaving.on_record = noted,
                Err(TryRecvError::Empty) => leaving.noting = Some((noted, told)),
                // There was no room for it: again.
                Err(TryRecvError::Closed) => {}
            }
        }
        if leaving.on_record != epoch && leaving.noting.is_none() {
            let (done, told) = oneshot::channel();
            let (kind, bytes) = (RecordKind::Boundary, now.0.to_le_bytes().to_vec());
            self.inbox.control(Control::Note { kind, bytes, done: Some(done) });
            leaving.noting = Some((epoch, told));
        }
    }

    /// The tombstones of a fate on record; what expired goes into the quarantine first. `false`: no room.
    fn settle(&mut self, fate: &Fate, batch: &mut Batch) -> Result<bool, KeeperError> {
        let log = fate.log;
        let (side, state) = self.side_log(log);
        if side.generation() != fate.generation {
            return Ok(true);
        }
        let mut left = Vec::new();
        for seq in &fate.seqs {
            match state.contains(log, *seq) {
                Ok(true) => left.push(*seq),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the index cannot be read; tried again");
                    return Ok(false);
                }
            }
        }
        if left.is_empty() {
            return Ok(true);
        }
        if fate.what == What::Expired && !self.hand_to_quarantine(fate, batch)? {
            return Ok(false);
        }
        let (side, state) = self.side_log(log);
        side.settle(&Fate { seqs: left, ..fate.clone() }, state)
    }

    /// What expired, into the quarantine; synced when this returns `true`. `false`: there is no room.
    pub(super) fn hand_to_quarantine(&mut self, fate: &Fate, batch: &mut Batch) -> Result<bool, KeeperError> {
        let mut keeps = Vec::new();
        let mut wanted = fate.seqs.as_slice();
        while let [first, ..] = wanted {
            self.hold.read(*first, batch)?;
            for read in batch.iter().filter(|read| wanted.binary_search(&read.seq).is_ok()) {
                if let Ok(kept) = Kept::read(read.bytes) {
                    keeps.push(Keep {
                        generation: kept.generation,
                        origin: kept.origin,
                        since: Timestamp(fate.at),
                        policy: kept.policy,
                        by: TAKEN_OVER.to_owned(),
                        target: kept.target.to_owned(),
                        reason: fate.why.clone(),
                        message: kept.message.to_vec(),
                    });
                }
            }
            let end = batch.end().max(*first + 1);
            wanted = wanted.get(wanted.partition_point(|seq| *seq < end)..).unwrap_or_default();
        }
        self.quarantine.take_over(&keeps, fate, &self.state)
    }

    /// One read of a side log from `from` on: what is wanted of it, judged by the policy in force.
    fn gather(
        &mut self,
        (log, what, from): (Log, What, u64),
        (active, now): (&Active, Timestamp),
        batch: &mut Batch,
        want: &dyn Fn(u64, &Kept<'_>, &Entry) -> Want,
    ) -> Result<Gathered, KeeperError> {
        let (policies, journal) = (Arc::clone(&self.policies), self.generation);
        let (side, state) = self.side_log(log);
        let mut gathered = Gathered::new(log, side.generation(), what, now);
        let Some((first, _)) = state.from(log, from, 1).pop() else { return Ok(gathered) };
        side.read(first, batch)?;
        gathered.next = Some(batch.end().max(first + 1));
        for read in batch.iter().filter(|read| read.kind == RecordKind::Kept as u8 && read.seq >= first) {
            let (Some(entry), Ok(kept)) = (state.get(log, read.seq), Kept::read(read.bytes)) else {
                continue;
            };
            match want(read.seq, &kept, &entry) {
                Want::Take => {}
                Want::Pass => continue,
                Want::End => {
                    gathered.next = None;
                    break;
                }
            }
            let verdict = (what == What::Released).then(|| release::judge(&kept, &policies, active, now));
            // What an earlier journal received was never in the balance of this one.
            gathered.take((read.seq, kept.generation == journal), &kept, &entry, verdict);
            if gathered.is_full() {
                gathered.next = Some(read.seq + 1);
                break;
            }
        }
        Ok(gathered)
    }

    /// Notes other reasons, and hands what goes to the journal's owner.
    fn announce(&mut self, gathered: Gathered, why: &str) -> Result<(), KeeperError> {
        let Gathered { mut records, mut tally, fate, changed, .. } = gathered;
        let (side, state) = self.side_log(fate.log);
        for (reason, seqs) in changed {
            if side.has_room() {
                let (what, why) = (What::Stays, reason.to_owned());
                side.settle(&Fate { what, why, messages: 0, seqs, ..fate.clone() }, state)?;
            }
        }
        if fate.seqs.is_empty() {
            return Ok(());
        }
        let fate = Fate { why: why.to_owned(), ..fate };
        if let Err(error) = records.push(RecordKind::Fate as u8, 0, &[&fate.to_bytes()]) {
            // INVARIANT: a batch is a small part of what a chunk holds.
            tracing::error!(%error, "a fate does not fit into its chunk; nothing is done");
            return Ok(());
        }
        tally.fate = Some(fate.clone());
        let (done, told) = oneshot::channel();
        self.inbox.append(Append { chunk: records.finish(), tally, by: None, budget: None, done });
        fail_point::reached("keeper.announced");
        self.leaving.stage = Stage::Announced(fate, told);
        Ok(())
    }

    /// One read of the hold log for what the policy in force lets go by now.
    fn walk(&mut self, active: &Active, now: Timestamp, batch: &mut Batch) -> Result<bool, KeeperError> {
        let want = |_: u64, kept: &Kept<'_>, _: &Entry| {
            if release::was_judged(kept, active, now) { Want::Pass } else { Want::Take }
        };
        let from = (Log::Hold, What::Released, self.leaving.walked);
        let gathered = self.gather(from, (active, now), batch, &want)?;
        let Some(next) = gathered.next else { return Ok(false) };
        self.leaving.walked = next;
        self.announce(gathered, "allowed by the policy in force")?;
        Ok(true)
    }

    /// What is kept for longer than the policy wants it kept.
    fn expire(&mut self, active: &Active, now: Timestamp, batch: &mut Batch) -> Result<bool, KeeperError> {
        let defaults = &active.policy.document().defaults;
        let longest = [
            (Log::Hold, What::Expired, "hold_max", &defaults.hold_max),
            (Log::Quarantine, What::Purged, "quarantine_keep", &defaults.quarantine_keep),
        ];
        for (log, what, why, longest) in longest {
            let Some(longest) = longest.as_deref().and_then(duration_micros) else { continue };
            let until = now.0.saturating_sub(longest);
            let is_over = |entry: &Entry| entry.since <= until;
            let due = self.state.from(log, 0, 1).first().is_some_and(|(_, entry)| is_over(entry));
            if !due || (what == What::Expired && !self.quarantine.has_room()) {
                continue;
            }
            let want =
                |_: u64, _: &Kept<'_>, entry: &Entry| if is_over(entry) { Want::Take } else { Want::End };
            let gathered = self.gather((log, what, 0), (active, now), batch, &want)?;
            let messages = gathered.fate.seqs.len();
            if messages > 0 {
                tracing::warn!(
                    log = log.name(),
                    messages,
                    because = why,
                    "kept for longer than the policy says"
                );
                self.announce(gathered, why)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One read for the errand under way, or the next that waits.
    fn run_errand(
        &mut self,
        active: &Active,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<bool, KeeperError> {
        let waiting = || {
            let errand = self.errands.try_recv().ok()?;
            Some(Running { errand, report: Report::default(), reads: 0, leaving: Vec::new() })
        };
        let Some(mut running) = self.leaving.errand.take().or_else(waiting) else { return Ok(false) };
        let Errand { log, what, from, dry_run, .. } = running.errand;
        let pick = running.errand.pick.clone();
        let want = |seq: u64, _: &Kept<'_>, entry: &Entry| {
            if pick.is_passed(seq) {
                Want::End
            } else if pick.takes(seq, entry) {
                Want::Take
            } else {
                Want::Pass
            }
        };
        let gathered = self.gather((log, what, from), (active, now), batch, &want)?;
        let id = |seq: &u64| format!("{:016x}/{seq}", gathered.fate.generation);
        for (reason, seqs) in &gathered.stays {
            running.report.stays.entry((*reason).to_owned()).or_default().extend(seqs.iter().map(id));
        }
        running.leaving = gathered.fate.seqs.iter().map(id).collect();
        running.reads += 1;
        running.report.next = gathered.next;
        running.errand.from = gathered.next.unwrap_or(from);
        let why = running.errand.why.clone();
        self.leaving.errand = Some(running);
        if !dry_run {
            self.announce(gathered, &why)?;
        }
        if matches!(self.leaving.stage, Stage::Idle) {
            self.errand_settled();
        }
        Ok(true)
    }

    /// What an errand's batch did is done. Tells whoever asked, once there is no more to do or enough to tell.
    fn errand_settled(&mut self) {
        let Some(mut running) = self.leaving.errand.take() else { return };
        running.report.done.append(&mut running.leaving);
        let stays: usize = running.report.stays.values().map(Vec::len).sum();
        let enough =
            running.report.done.len() + stays >= limits::ERRAND_IDS || running.reads >= limits::ERRAND_READS;
        if running.report.next.is_none() || enough {
            // Whoever asked may have gone: what is done is done.
            running.errand.reply.send(running.report).ok();
        } else {
            self.leaving.errand = Some(running);
        }
    }
}
