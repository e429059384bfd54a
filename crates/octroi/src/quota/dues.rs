//! One connection's part in what its source owes: whether it is read. The same
//! for a client's connection and for the hub's own to a broker.
//!
//! It reads and closes nothing: whoever has the connection does not read while
//! it is held back, and asks again when [`Dues::held_until`] says.

use tokio::time::Instant;

use super::{Mark, Rates};
use crate::intake::Sender;
use crate::limits;
use crate::policies::Policies;

/// Where a connection stands with its source's meter.
#[derive(Debug)]
pub struct Dues {
    /// Up to where it took.
    mark: Mark,
    held: Option<Held>,
}

/// It is held back.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: Instant,
    /// When to look again.
    until: Instant,
}

impl Dues {
    /// A connection begins. It waits for what all of its source's connections owe: to connect again is no way
    /// round.
    #[must_use]
    pub fn new(sender: &Sender, policies: &Policies, now: Instant) -> Self {
        let held = Some(Held { since: now, until: now });
        let mut dues = Self { mark: sender.share.meter.mark(), held };
        dues.look(sender, policies, now);
        dues
    }

    /// How many messages the next batch may have.
    #[must_use]
    pub fn room(sender: &Sender, rates: Option<Rates>, now: Instant) -> usize {
        rates.map_or(limits::EVENTS, |rates| sender.share.meter.room(rates, now).min(limits::EVENTS))
    }

    /// A batch of so many messages and bytes was read: it is paid for before the next one.
    pub fn take(
        &mut self,
        sender: &Sender,
        rates: Option<Rates>,
        (messages, bytes): (usize, usize),
        now: Instant,
    ) {
        let Some(rates) = rates else { return };
        self.mark = sender.share.meter.take(rates, messages, bytes, now);
        let wait = sender.share.meter.wait(rates, self.mark, now);
        self.held = wait.map(|wait| Held { since: now, until: now + wait });
    }

    /// Looks, if it is time to, whether the quota of the policy in force still holds the connection back.
    pub fn look(&mut self, sender: &Sender, policies: &Policies, now: Instant) {
        let Some(held) = self.held.filter(|held| held.until <= now) else { return };
        let active = policies.current();
        let source = active.source(&sender.identity);
        if let Some(source) = source.and_then(|source| active.sources.get(source.index())) {
            source.slowed(now.saturating_duration_since(held.since));
        }
        let rates = source.and_then(|source| active.rates(source));
        let wait = rates.and_then(|rates| sender.share.meter.wait(rates, self.mark, now));
        self.held = wait.map(|wait| Held { since: now, until: now + wait });
    }

    /// When to look again; `None`: the connection is read.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        self.held.map(|held| held.until)
    }
}
