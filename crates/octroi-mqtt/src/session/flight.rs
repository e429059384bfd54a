//! Publishes received and not yet acknowledged, oldest first. It knows packet identifiers, not messages.
//!
//! INVARIANT: `first` is the number of the oldest; numbers are never used twice in a session.

use std::collections::VecDeque;
use std::num::NonZeroU64;

/// QoS 2 will add to each entry whether PUBACK or PUBREC answers it.
#[derive(Debug)]
pub(super) struct Flight {
    maximum: u16,
    first: NonZeroU64,
    packet_ids: VecDeque<u16>,
}

impl Flight {
    pub(super) fn new(maximum: u16) -> Self {
        Self { maximum, first: NonZeroU64::MIN, packet_ids: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.packet_ids.len()
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.packet_ids.len() >= usize::from(self.maximum)
    }

    /// The number of a publish just received.
    #[inline]
    pub(super) fn launch(&mut self, packet_id: u16) -> NonZeroU64 {
        let number = self.first.saturating_add(self.packet_ids.len() as u64);
        self.packet_ids.push_back(packet_id);
        number
    }

    /// The packet identifier of the oldest publish, if that is the one meant.
    #[inline]
    pub(super) fn land(&mut self, number: NonZeroU64) -> Option<u16> {
        if number != self.first {
            return None;
        }
        let packet_id = self.packet_ids.pop_front()?;
        self.first = self.first.saturating_add(1);
        Some(packet_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_lands_and_only_once() {
        let mut flight = Flight::new(2);
        let (a, b) = (flight.launch(7), flight.launch(7));
        assert!(flight.is_full());
        assert_eq!(flight.land(b), None);
        assert_eq!(flight.land(a), Some(7));
        assert_eq!(flight.land(a), None);
        assert_eq!(flight.land(b), Some(7));
        assert_eq!(flight.land(b), None);
        assert_eq!(flight.launch(9).get(), 3);
    }
}
