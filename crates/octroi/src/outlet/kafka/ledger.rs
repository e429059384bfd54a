//! What is in flight: one slot per record handed to the client library, in
//! order, found again by its ticket when its delivery report comes.
//!
//! Tickets are never used twice, so a report of a record that was given up in
//! the meantime has a ticket below the first slot and marks nothing.
//!
//! INVARIANT: a record counts as delivered only when it and all before it are.

use std::collections::VecDeque;

use octroi_policy::Level;
use rdkafka::error::RDKafkaErrorCode;

use crate::outlet::Delivered;

/// What a record in flight takes beside its payload: fourteen headers, each an allocation, and the library's own
/// (1.6 KiB a record of 100 bytes, measured on a hub whose target took nothing).
pub(super) const RECORD_BYTES: u64 = 1_536;

/// The window.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    first_ticket: usize,
    slots: VecDeque<Slot>,
    /// Of their payloads.
    bytes: u64,
    /// Delivered since they were last taken.
    pub(super) delivered: [Delivered; Level::ALL.len()],
    /// Records that failed since the last clear, the first of each kind kept.
    pub(super) failures: Failures,
}

#[derive(Debug)]
struct Slot {
    seq: u64,
    bytes: u64,
    level: Level,
    acked: bool,
}

/// What reports said, by what must be done.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The target refuses: code and topic.
    pub(super) refused: Option<(RDKafkaErrorCode, String)>,
    /// A record may be at fault: code, and how many failed so.
    pub(super) poison: Option<(RDKafkaErrorCode, usize)>,
    /// Neither: to be sent again.
    pub(super) other: Option<RDKafkaErrorCode>,
}

impl Failures {
    pub(super) fn any(&self) -> bool {
        self.refused.is_some() || self.poison.is_some() || self.other.is_some()
    }
}

impl Ledger {
    /// The ticket that the next record will have.
    pub(super) fn next_ticket(&self) -> usize {
        self.first_ticket.wrapping_add(self.slots.len())
    }

    pub(super) fn push(&mut self, seq: u64, level: Level, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        self.slots.push_back(Slot { seq, bytes, level, acked: false });
    }

    /// The slot behind the ticket, unless it was given up.
    fn slot(&mut self, ticket: usize) -> Option<&mut Slot> {
        self.slots.get_mut(ticket.wrapping_sub(self.first_ticket))
    }

    pub(super) fn acked(&mut self, ticket: usize) {
        if let Some(slot) = self.slot(ticket) {
            slot.acked = true;
        }
    }

    pub(super) fn failed(&mut self, ticket: usize, code: RDKafkaErrorCode, topic: &str) {
        if self.slot(ticket).is_none() {
            return;
        }
        let failures = &mut self.failures;
        if is_poison(code) {
            failures.poison.get_or_insert((code, 0)).1 += 1;
        } else if is_passing(code) {
            failures.other.get_or_insert(code);
        } else {
            failures.refused.get_or_insert_with(|| (code, topic.to_owned()));
        }
    }

    /// Takes what is delivered off the front; how many that were.
    pub(super) fn settle(&mut self) -> usize {
        let mut settled = 0;
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.acked) {
            self.first_ticket = self.first_ticket.wrapping_add(1);
            self.bytes = self.bytes.saturating_sub(slot.bytes);
            settled += 1;
            if let Some(count) = self.delivered.get_mut(slot.level as usize) {
                count.records += 1;
                count.bytes = count.bytes.saturating_add(slot.bytes);
            }
        }
        settled
    }

    /// Gives up all that is in flight.
    pub(super) fn clear(&mut self) {
        self.first_ticket = self.next_ticket();
        self.slots.clear();
        self.bytes = 0;
        self.failures = Failures::default();
    }

    /// The lowest record that is not delivered.
    pub(super) fn front(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.seq)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Records in flight, and what they take in memory.
    pub(super) fn in_flight(&self) -> (usize, u64) {
        let beside = (self.slots.len() as u64).saturating_mul(RECORD_BYTES);
        (self.slots.len(), self.bytes.saturating_add(beside))
    }
}

/// Errors that one record can bring on its whole batch.
pub(super) fn is_poison(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidMessage
    )
}

/// Errors after which the same records can simply be sent again.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        // Purged: our own doing, after another failure.
        Code::PurgeQueue
            | Code::PurgeInflight
            | Code::Fatal
            | Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::RequestTimedOut
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::NetworkException
            | Code::OutOfOrderSequenceNumber
            | Code::UnknownProducerId
            | Code::InvalidProducerEpoch
    )
}

/// A poison's stable name, as in quarantine.
pub(super) fn poison_name(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode as Code;
    if matches!(code, Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) {
        "too_large"
    } else if code == Code::InvalidTimestamp {
        "invalid_timestamp"
    } else {
        "invalid_record"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_the_lowest_contiguous_ack() {
        let mut ledger = Ledger::default();
        for seq in [10, 12, 15] {
            ledger.push(seq, Level::Open, 100);
        }
        ledger.acked(1);
        assert_eq!((ledger.settle(), ledger.front()), (0, Some(10)));
        ledger.acked(0);
        assert_eq!((ledger.settle(), ledger.front()), (2, Some(15)));
        assert_eq!(ledger.delivered[0], Delivered { records: 2, bytes: 200 });
    }

    #[test]
    fn what_is_in_flight_is_what_was_pushed_and_neither_settled_nor_given_up() {
        let mut ledger = Ledger::default();
        for seq in [10, 12, 15] {
            ledger.push(seq, Level::Open, 100);
        }
        assert_eq!(ledger.in_flight(), (3, 3 * (100 + RECORD_BYTES)));
        ledger.acked(0);
        ledger.settle();
        assert_eq!(ledger.in_flight(), (2, 2 * (100 + RECORD_BYTES)));
        ledger.clear();
        assert_eq!(ledger.in_flight(), (0, 0));
    }

    #[test]
    fn a_report_from_before_a_rewind_marks_nothing() {
        let mut ledger = Ledger::default();
        ledger.push(10, Level::Open, 1);
        let stale = ledger.next_ticket() - 1;
        ledger.clear();
        ledger.push(10, Level::Open, 1);
        ledger.acked(stale);
        ledger.failed(stale, RDKafkaErrorCode::MessageSizeTooLarge, "t");
        assert_eq!((ledger.settle(), ledger.front()), (0, Some(10)));
        assert!(!ledger.failures.any());
    }
}
