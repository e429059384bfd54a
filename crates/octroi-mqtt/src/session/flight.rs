//! What awaits an answer, oldest first, and how much of its receive maximum the client has used. It knows
//! packet identifiers and kinds of answers, not messages.
//!
//! INVARIANT: `first` is the number of the oldest; numbers are never used twice in a session.
//! INVARIANT: once settled, the oldest is one that the hub answers: whoever waits for it does not wait
//! in vain.

use std::collections::VecDeque;
use std::num::NonZeroU64;

/// The packet that answers, in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// For a QoS 1 publish, on the hub's word.
    Ack,
    /// For a QoS 2 publish, on the hub's word.
    Rec,
    /// For one that came again: its turn is all it waits for.
    RecAgain,
    /// For a PUBREL, on the hub's word.
    Comp {
        /// Whether its publish used up some of the receive maximum of this connection.
        counted: bool,
    },
    /// For a PUBREL of an identifier that is not known: its turn is all it waits for.
    CompUnknown,
}

impl Due {
    fn needs_the_hub(self) -> bool {
        match self {
            Self::Ack | Self::Rec | Self::Comp { .. } => true,
            Self::RecAgain | Self::CompUnknown => false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Flight {
    maximum: u16,
    /// Publishes of this connection that used up some of the maximum and did not give it back.
    used: usize,
    first: NonZeroU64,
    queue: VecDeque<(u16, Due)>,
}

impl Flight {
    pub(crate) fn new(maximum: u16) -> Self {
        Self { maximum, used: 0, first: NonZeroU64::MIN, queue: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// As many await an answer as may.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= usize::from(self.maximum)
    }

    /// The client's receive maximum is used up (MQTT 5 section 4.9).
    #[inline]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.used >= usize::from(self.maximum)
    }

    /// What the receive maximum does not bound (resent publishes, PUBRELs) is bounded by this: then the
    /// hub's turn comes first.
    pub(crate) fn is_crowded(&self) -> bool {
        self.queue.len() >= 4 * usize::from(self.maximum)
    }

    /// How many QoS 2 exchanges may be open: those of earlier connections come on top of this one's.
    pub(crate) fn most_open(&self) -> usize {
        2 * usize::from(self.maximum)
    }

    /// The number of what was just received.
    #[inline]
    pub(crate) fn launch(&mut self, packet_id: u16, due: Due) -> NonZeroU64 {
        let number = self.first.saturating_add(self.queue.len() as u64);
        self.queue.push_back((packet_id, due));
        number
    }

    /// A publish uses up some of the receive maximum.
    #[inline]
    pub(crate) fn take(&mut self) {
        self.used += 1;
    }

    /// PUBACK, PUBCOMP, or a refusing PUBREC gives it back.
    #[inline]
    pub(crate) fn give_back(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    /// The oldest, if that is the one meant.
    #[inline]
    pub(crate) fn land(&mut self, number: NonZeroU64) -> Option<(u16, Due)> {
        if number != self.first {
            return None;
        }
        self.pop()
    }

    /// The oldest, if it waits for nothing but its turn.
    #[inline]
    pub(crate) fn settle(&mut self) -> Option<(u16, Due)> {
        match self.queue.front() {
            Some((_, due)) if !due.needs_the_hub() => self.pop(),
            Some(_) | None => None,
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<(u16, Due)> {
        let oldest = self.queue.pop_front()?;
        self.first = self.first.saturating_add(1);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_lands_and_only_once() {
        let mut flight = Flight::new(2);
        let (a, b) = (flight.launch(7, Due::Ack), flight.launch(7, Due::Rec));
        assert!(flight.is_full());
        assert_eq!(flight.land(b), None);
        assert_eq!(flight.land(a), Some((7, Due::Ack)));
        assert_eq!(flight.land(a), None);
        assert_eq!(flight.land(b), Some((7, Due::Rec)));
        assert_eq!(flight.land(b), None);
        assert_eq!(flight.launch(9, Due::Ack).get(), 3);
    }

    #[test]
    fn what_needs_no_word_of_the_hub_waits_for_its_turn_alone() {
        let mut flight = Flight::new(2);
        let first = flight.launch(1, Due::Rec);
        flight.launch(1, Due::RecAgain);
        flight.launch(9, Due::CompUnknown);
        let last = flight.launch(2, Due::Comp { counted: true });
        assert_eq!(flight.settle(), None, "not before the first");
        assert_eq!(flight.land(first), Some((1, Due::Rec)));
        assert_eq!(flight.settle(), Some((1, Due::RecAgain)));
        assert_eq!(flight.settle(), Some((9, Due::CompUnknown)));
        assert_eq!(flight.settle(), None, "the hub's word first");
        assert_eq!(flight.land(last), Some((2, Due::Comp { counted: true })));
    }

    #[test]
    fn the_receive_maximum_is_used_up_and_given_back() {
        let mut flight = Flight::new(2);
        flight.take();
        flight.take();
        assert!(flight.is_exhausted());
        flight.give_back();
        assert!(!flight.is_exhausted());
    }
}
