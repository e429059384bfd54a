//! What an outlet reports of what it was given, and what the relay makes of it.
//!
//! INVARIANT: an error of an outlet is its relay's affair alone, and no error passes a record: what is not
//! acknowledged is offered again, or goes to quarantine.

use std::sync::Arc;

use octroi_policy::{Level, Text, Timestamp};

use super::{Position, Relay, RelayError, RelayView, Turn, lowest};
use crate::fail_point;
use crate::metrics::OutletError;
use crate::outlet::{DeliverError, Progress};
use crate::status::OutletState;

impl Relay {
    /// Takes in what is acknowledged, and how the outlet is.
    pub(super) fn progressed(
        &mut self,
        progress: Progress,
        at: &mut Position,
        now: Timestamp,
    ) -> Result<Turn, RelayError> {
        let mut delivered = 0;
        for (level, count) in Level::ALL.iter().zip(progress.delivered) {
            self.metrics.delivered(*level, count.records, count.bytes);
            delivered += count.records;
        }
        if delivered > 0 {
            fail_point::reached("relay.acknowledged");
        }
        at.asked = progress.intend.map(|bounds| self.ask_intent(bounds));
        let seen = self.view.load();
        let oldest = at.open.front().map(|(_, _, received)| *received);
        if seen.state != progress.state
            || seen.reason != progress.reason
            || delivered > 0
            || seen.oldest != oldest
        {
            let since = if seen.state == progress.state { seen.since } else { now };
            self.view.store(Arc::new(RelayView {
                state: progress.state,
                reason: progress.reason,
                since,
                oldest,
                delivered: seen.delivered + delivered,
            }));
        }
        at.acked = progress.unacked_from.unwrap_or(at.next);
        self.advance(at, at.acked.min(at.next));
        Ok(Turn::Done)
    }

    /// What an outlet's error means for the record and those behind it.
    pub(super) fn failed(&mut self, error: DeliverError, at: &mut Position) -> Result<Turn, RelayError> {
        let lowest = lowest(at);
        let kind = match &error {
            DeliverError::Full => return Ok(Turn::Done),
            DeliverError::Retry { .. } | DeliverError::Rewind { .. } => OutletError::Retry,
            DeliverError::Reject { .. } => OutletError::Reject,
            DeliverError::Blocked { .. } => OutletError::Blocked,
            DeliverError::Fatal { .. } => OutletError::Fatal,
        };
        self.metrics.outlet_failed(kind);
        match error {
            DeliverError::Full | DeliverError::Retry { .. } => Ok(Turn::Done),
            DeliverError::Reject { seq, reason } => {
                tracing::error!(target = %self.target, seq, reason, "the target refuses this record alone: to quarantine");
                self.ask_quarantine(seq, reason, at)
            }
            DeliverError::Rewind { reason } | DeliverError::Fatal { reason } => {
                tracing::warn!(target = %self.target, %reason, from = lowest, "records are sent again");
                Ok(Turn::Rewind(lowest))
            }
            DeliverError::Blocked { reason, mend } => {
                let seen = self.view.load();
                let since = if seen.state == OutletState::Blocked { seen.since } else { self.clock.now() };
                if seen.state != OutletState::Blocked {
                    tracing::error!(target = %self.target, reason = reason.en, mend = mend.en, "the target refuses the hub");
                }
                let reason = Text::join(&[reason, mend], "; ", " ; ");
                self.view.store(Arc::new(RelayView {
                    state: OutletState::Blocked,
                    reason,
                    since,
                    ..(**seen).clone()
                }));
                Ok(Turn::Rewind(lowest))
            }
        }
    }
}
