//! When to connect again: later each time, and never at the moment when other
//! hubs do.

use std::time::Duration;

use crate::limits;

/// The waits so far.
#[derive(Debug)]
pub(super) struct Retry {
    next: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { next: limits::BROKER_RETRY }
    }
}

impl Retry {
    /// How long to wait after a connection that lasted so long. Two hubs with one client id end each other's
    /// connections: one that ended soon was no success.
    pub(super) fn after(&mut self, lasted: Duration) -> Duration {
        if lasted > limits::BROKER_RETRY_MOST {
            *self = Self::default();
        }
        let wait = self.next;
        self.next = (self.next * 2).min(limits::BROKER_RETRY_MOST);
        let mut random = [0; 1];
        // Without randomness hubs that lost their broker together come back together.
        getrandom::fill(&mut random).ok();
        let [random] = random;
        wait / 2 + wait * u32::from(random) / 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew_after_a_connection_that_lasted() {
        let mut retry = Retry::default();
        let mut expected = limits::BROKER_RETRY;
        for _ in 0..20 {
            let wait = retry.after(Duration::ZERO);
            assert!(wait >= expected / 2 && wait <= expected, "{wait:?} of {expected:?}");
            expected = (expected * 2).min(limits::BROKER_RETRY_MOST);
        }
        assert_eq!(expected, limits::BROKER_RETRY_MOST);
        assert!(retry.after(limits::BROKER_RETRY_MOST * 2) <= limits::BROKER_RETRY);
    }
}
