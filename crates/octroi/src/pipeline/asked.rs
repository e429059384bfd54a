//! What a relay asks of the hub's other parts: to put a batch's bounds on
//! record, to hold what was withheld, to quarantine what its target refuses.
//! One question at a time; until it is answered the relay does nothing else.
//!
//! INVARIANT: a record counts as withheld once a side log has synced it. One
//! that cannot be read for that is no exception: it is met again where records
//! are read, and passed, if at all, as any that is damaged.

use octroi_policy::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Position, Relay, RelayError, Turn, lowest};
use crate::backlog::Reading;
use crate::committer::{Acked, Control};
use crate::fail_point;
use crate::keeper::Keep;
use crate::limits;
use crate::outlet::Bounds;
use crate::patience::Patience;
use crate::record::{Intent, Log, RecordKind};

/// A question whose answer is awaited.
pub(super) enum Asked {
    /// Are these bounds on record?
    Intent(Bounds, oneshot::Receiver<Acked>),
    /// How much of what was withheld is in the hold log?
    Hold(oneshot::Receiver<usize>),
    /// Is the record that its target refuses in the quarantine?
    Quarantine(u64, oneshot::Receiver<usize>),
}

/// What was withheld and is on its way to a side log, in order.
#[derive(Default)]
pub(super) struct Withholding {
    keeps: Vec<Keep>,
    bytes: usize,
}

impl Withholding {
    pub(super) fn push(&mut self, keep: Keep) {
        self.bytes += keep.message.len();
        self.keeps.push(keep);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keeps.is_empty()
    }

    /// As much as a relay withholds before it waits for the side log.
    pub(super) fn is_full(&self) -> bool {
        self.keeps.len() >= limits::WITHHELD || self.bytes >= limits::WITHHELD_BYTES
    }

    /// The first record of it.
    pub(super) fn first(&self) -> Option<u64> {
        self.keeps.first().map(|keep| keep.origin)
    }

    /// From `to` on the relay reads again.
    pub(super) fn rewind(&mut self, to: u64) {
        self.keeps.retain(|keep| keep.origin < to);
        self.count();
    }

    /// So many from the first on are kept: their numbers.
    fn kept(&mut self, kept: usize) -> Vec<u64> {
        let kept = self.keeps.drain(..kept.min(self.keeps.len())).map(|keep| keep.origin).collect();
        self.count();
        kept
    }

    fn count(&mut self) {
        self.bytes = self.keeps.iter().map(|keep| keep.message.len()).sum();
    }
}

impl Relay {
    /// Acts on the answer, if it is there.
    pub(super) fn heard(
        &mut self,
        asked: Asked,
        at: &mut Position,
        (patience, now): (Patience, Instant),
    ) -> Result<Turn, RelayError> {
        let gone = || RelayError::Gone { target: self.target.clone() };
        match asked {
            Asked::Intent(bounds, told) => match patience.hear(told) {
                Err(told) => at.asked = Some(Asked::Intent(bounds, told)),
                Ok(Some(_)) => {
                    fail_point::reached("relay.intent_is_on_record");
                    self.outlet.intended(bounds);
                }
                // No room for the note, or the hub stops: the outlet asks again.
                Ok(None) => self.pause(patience),
            },
            Asked::Hold(told) => match patience.hear(told) {
                Err(told) => at.asked = Some(Asked::Hold(told)),
                Ok(kept) => {
                    let kept = at.withheld.kept(kept.ok_or_else(gone)?);
                    if !kept.is_empty() {
                        fail_point::reached("relay.withheld_is_kept");
                    }
                    at.kept.extend(kept);
                    // What the hold log has no room for stays in the journal.
                    at.hold_again = (!at.withheld.is_empty()).then(|| now + limits::FULL_RETRY);
                }
            },
            Asked::Quarantine(seq, told) => match patience.hear(told) {
                Err(told) => at.asked = Some(Asked::Quarantine(seq, told)),
                Ok(kept) if kept.ok_or_else(gone)? > 0 => return Ok(self.rejected(seq, at)),
                Ok(_) => {
                    self.pause(patience);
                    return Ok(Turn::Rewind(lowest(at)));
                }
            },
        }
        Ok(Turn::Done)
    }

    /// Before the same is asked again.
    fn pause(&self, patience: Patience) {
        self.watermark.wait_past(u64::MAX - 1, patience.at_most(limits::RELAY_IDLE));
    }

    /// Asks for a batch's bounds to be put on record.
    pub(super) fn ask_intent(&self, bounds: Bounds) -> Asked {
        let intent = Intent { target: self.bit.index(), first: bounds.first, last: bounds.last };
        let (done, told) = oneshot::channel();
        self.inbox.control(Control::Note {
            kind: RecordKind::Intent,
            bytes: intent.to_bytes(),
            done: Some(done),
        });
        Asked::Intent(bounds, told)
    }

    /// Asks for what was withheld to be held.
    pub(super) fn ask_hold(&self, at: &Position) -> Result<Asked, RelayError> {
        self.ask_keeper(Log::Hold, at.withheld.keeps.clone()).map(Asked::Hold)
    }

    /// Asks for the record that its target refuses to be quarantined.
    pub(super) fn ask_quarantine(
        &mut self,
        seq: u64,
        reason: &'static str,
        at: &mut Position,
    ) -> Result<Turn, RelayError> {
        let failed = |source| RelayError::Read { target: self.target.clone(), source };
        let mut batch = Reading::default();
        self.reader.seek(seq);
        self.reader.next(1, &mut batch).map_err(failed)?;
        let Some(entry) = batch.iter().find(|entry| entry.seq == seq) else {
            tracing::error!(target = %self.target, seq,
                "the record that the target refuses cannot be read again: it is not in quarantine");
            return Ok(Turn::Rewind(seq));
        };
        let judged = (self.policies.current().policy64, self.clock.now());
        let keep = vec![self.withheld(reason, seq, entry.bytes, judged)];
        at.asked = Some(Asked::Quarantine(seq, self.ask_keeper(Log::Quarantine, keep)?));
        Ok(Turn::Asked)
    }

    fn ask_keeper(&self, log: Log, keeps: Vec<Keep>) -> Result<oneshot::Receiver<usize>, RelayError> {
        self.keeper.keep(log, keeps).map_err(|_| RelayError::Gone { target: self.target.clone() })
    }

    /// What its target refuses counts as withheld; what is before it was acknowledged.
    fn rejected(&self, seq: u64, at: &mut Position) -> Turn {
        match at.open.iter_mut().find(|(open, _, _)| *open == seq) {
            Some(open) => open.1 = true,
            // Refused before it was taken.
            None => at.open.push_back((seq, true, self.clock.now())),
        }
        self.advance(at, seq + 1);
        Turn::Rewind(seq + 1)
    }

    /// A record that does not go to this target, by the policy and at the time that said so.
    pub(super) fn withheld(&self, reason: &str, seq: u64, bytes: &[u8], judged: (u64, Timestamp)) -> Keep {
        let (policy, since) = judged;
        Keep {
            generation: self.generation,
            origin: seq,
            since,
            policy,
            by: self.target.clone(),
            target: self.target.clone(),
            reason: reason.to_owned(),
            message: bytes.to_vec(),
        }
    }
}
