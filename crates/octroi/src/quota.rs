//! What a source may send in a second, by its `quota` in the policy: token
//! buckets, as values. A source over its rate is slowed, and nothing of it is
//! dropped: its connections are not read until what they took is paid for.
//!
//! Tokens are taken after a batch was read, so a bucket may go into debt by a
//! batch of each connection. Who took waits until its own part of the debt is
//! paid, so that the connections of a source take turns; who comes new waits
//! for all of it, so that to connect again is no way round. The rate is an
//! argument: what was taken stays taken when the policy changes.
//!
//! What a connection owes of it, and whether it is read, is `quota/dues.rs`.
//!
//! INVARIANT: over any time, what a source's connections take is at most their
//! burst, what the rate gives in that time, and the last batch of each.

mod dues;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use octroi_policy::ast::Quota;
use tokio::time::Instant;

use crate::limits;
pub use dues::Dues;

/// A token in the unit that buckets count in: a rate is one of them per nanosecond.
const TOKEN: u128 = 1_000_000_000;

/// What a policy lets a source send in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    messages: Option<u64>,
    bytes: Option<u64>,
}

impl Rates {
    /// Of a source; `None`: it has no rate.
    #[must_use]
    pub fn of(quota: Option<&Quota>) -> Option<Self> {
        let Quota { messages_per_second, bytes_per_second, .. } = quota?;
        let rates = Self { messages: messages_per_second.map(u64::from), bytes: *bytes_per_second };
        (rates.messages.is_some() || rates.bytes.is_some()).then_some(rates)
    }
}

/// One kind of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    /// What the rate gave so far, of [`TOKEN`] a token: at most the burst more than was taken.
    given: u128,
    taken: u128,
    at: Option<Instant>,
}

impl Bucket {
    /// Time passes.
    fn turn(&mut self, per_second: u64, now: Instant) {
        let most = self.taken + u128::from(per_second) * limits::QUOTA_BURST.as_nanos();
        let since = self.at.map(|at| now.saturating_duration_since(at));
        let more = since.map_or(most, |since| u128::from(per_second) * since.as_nanos());
        self.given = self.given.saturating_add(more).min(most);
        // Connections look in any order, with the time at which each began to.
        self.at = self.at.max(Some(now));
    }

    /// How long until one token more than `mark` was given; `None`: no time will do.
    fn wait(&self, per_second: u64, mark: u128) -> Option<Duration> {
        let missing = (mark + TOKEN).saturating_sub(self.given);
        if missing == 0 {
            return Some(Duration::ZERO);
        }
        let nanos = missing.div_ceil(Some(u128::from(per_second)).filter(|rate| *rate > 0)?);
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// Up to where a connection, or all of them, took tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    messages: u128,
    bytes: u128,
}

/// What the connections of one source took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Buckets {
    messages: Bucket,
    bytes: Bucket,
}

impl Buckets {
    fn turn(&mut self, rates: Rates, now: Instant) {
        for (bucket, rate) in [(&mut self.messages, rates.messages), (&mut self.bytes, rates.bytes)] {
            if let Some(rate) = rate {
                bucket.turn(rate, now);
            }
        }
    }

    fn room(&self, rates: Rates) -> usize {
        let tokens = self.messages.given.saturating_sub(self.messages.taken) / TOKEN;
        let most = rates.messages.map_or(u128::MAX, |_| tokens);
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    fn take(&mut self, rates: Rates, messages: usize, bytes: usize) -> Mark {
        // What nothing limits is not counted: a limit that comes later begins with its burst.
        if rates.messages.is_some() {
            self.messages.taken += messages as u128 * TOKEN;
        }
        if rates.bytes.is_some() {
            self.bytes.taken += bytes as u128 * TOKEN;
        }
        self.mark()
    }

    fn mark(&self) -> Mark {
        Mark { messages: self.messages.taken, bytes: self.bytes.taken }
    }

    fn wait(&self, rates: Rates, mark: Mark) -> Option<Duration> {
        let messages = rates.messages.map(|rate| self.messages.wait(rate, mark.messages));
        let bytes = rates.bytes.map(|rate| self.bytes.wait(rate, mark.bytes));
        let wait = [messages, bytes]
            .into_iter()
            .flatten()
            .try_fold(Duration::ZERO, |longest, wait| Some(longest.max(wait?)));
        // However long it is: the policy may have changed by then.
        let wait = wait.unwrap_or(Duration::MAX).min(limits::QUOTA_LOOK);
        (!wait.is_zero()).then_some(wait)
    }
}

/// The buckets of one source. A lock, for a look or two per batch: its connections share them.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Buckets>);

impl Meter {
    fn at<T>(&self, rates: Rates, now: Instant, look: impl FnOnce(&mut Buckets) -> T) -> T {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.turn(rates, now);
        look(&mut buckets)
    }

    /// How many messages the next batch may have: one at least, for whoever need not wait.
    pub fn room(&self, rates: Rates, now: Instant) -> usize {
        self.at(rates, now, |buckets| buckets.room(rates)).max(1)
    }

    /// A batch was read; up to where its connection has taken by now.
    pub fn take(&self, rates: Rates, messages: usize, bytes: usize, now: Instant) -> Mark {
        self.at(rates, now, |buckets| buckets.take(rates, messages, bytes))
    }

    /// Up to where all connections have taken: where a new one begins.
    pub fn mark(&self) -> Mark {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).mark()
    }

    /// How long a connection that took up to `mark` is not read, or until it is to look again.
    pub fn wait(&self, rates: Rates, mark: Mark, now: Instant) -> Option<Duration> {
        self.at(rates, now, |buckets| buckets.wait(rates, mark))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In seconds.
    const BURST: usize = 5;
    const _: () = assert!(BURST as u64 == limits::QUOTA_BURST.as_secs());

    fn rates(messages: impl Into<Option<u32>>, bytes: impl Into<Option<u64>>) -> Rates {
        let quota = Quota {
            messages_per_second: messages.into(),
            bytes_per_second: bytes.into(),
            journal_bytes: None,
        };
        Rates::of(Some(&quota)).unwrap()
    }

    /// How long a connection would wait, with all of its looks.
    fn waits(meter: &Meter, rates: Rates, mark: Mark, mut now: Instant) -> Duration {
        let (meter, began) = (Meter(Mutex::new(*meter.0.lock().unwrap())), now);
        while let Some(wait) = meter.wait(rates, mark, now) {
            now += wait;
        }
        now - began
    }

    #[test]
    fn a_source_without_rates_has_none() {
        assert_eq!(Rates::of(None), None);
        let journal = Quota { messages_per_second: None, bytes_per_second: None, journal_bytes: Some(1) };
        assert_eq!(Rates::of(Some(&journal)), None);
    }

    #[test]
    fn a_burst_passes_and_what_is_beyond_it_waits_for_the_rate() {
        let (meter, rates, now) = (Meter::default(), rates(10, None), Instant::now());
        assert_eq!(meter.room(rates, now), 10 * BURST);
        let mark = meter.take(rates, 10 * BURST - 1, 1 << 40, now);
        assert_eq!(meter.wait(rates, mark, now), None, "one is left, and bytes are not limited");
        let mark = meter.take(rates, 21, 0, now);
        assert_eq!(meter.room(rates, now), 1, "whoever need not wait may always take one");
        assert_eq!(waits(&meter, rates, mark, now), Duration::from_millis(2_100));
        let later = now + Duration::from_secs(3_600);
        assert_eq!(meter.room(rates, later), 10 * BURST, "and no more than a burst gathers");
    }

    #[test]
    fn the_scarcer_of_messages_and_bytes_decides() {
        let (meter, rates, now) = (Meter::default(), rates(1_000, 100), Instant::now());
        let mark = meter.take(rates, 1, 100 * BURST + 299, now);
        assert_eq!(waits(&meter, rates, mark, now), Duration::from_secs(3));
    }

    #[test]
    fn connections_take_turns_and_a_new_one_waits_for_what_all_took() {
        let (meter, rates, now) = (Meter::default(), rates(10, None), Instant::now());
        let first = meter.take(rates, 10 * BURST + 9, 0, now);
        let second = meter.take(rates, 10, 0, now);
        assert_eq!(waits(&meter, rates, first, now), Duration::from_secs(1));
        assert_eq!(waits(&meter, rates, second, now), Duration::from_secs(2));
        assert_eq!(waits(&meter, rates, meter.mark(), now), Duration::from_secs(2));
    }

    #[test]
    fn a_changed_rate_holds_for_what_was_taken_before() {
        let now = Instant::now();
        for (then, seconds) in [(10, 60), (600, 1)] {
            let meter = Meter::default();
            let mark = meter.take(rates(10, None), 10 * BURST + 599, 0, now);
            assert_eq!(waits(&meter, rates(then, None), mark, now), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn a_rate_of_nothing_is_waited_for_and_looked_at_again() {
        let (meter, rates, now) = (Meter::default(), rates(0, None), Instant::now());
        for later in [0, 1, 86_400] {
            let now = now + Duration::from_secs(later);
            assert_eq!(meter.wait(rates, meter.mark(), now), Some(limits::QUOTA_LOOK));
        }
    }

    proptest! {
        /// Connections that wait as they are told, at any rates, with batches of any size.
        #[test]
        fn over_any_time_a_source_takes_its_burst_its_rate_and_a_batch_of_each_connection(
            rate in 1_u32..5_000,
            connections in 1_usize..6,
            batches in proptest::collection::vec((0_usize..6, 1_usize..600), 1..120),
        ) {
            let (meter, rates, began) = (Meter::default(), rates(rate, None), Instant::now());
            let mut may = vec![(began, Mark::default()); connections];
            let (mut now, mut taken) = (began, 0_usize);
            for (connection, batch) in batches {
                let (at, mark) = &mut may[connection % connections];
                now = now.max(*at);
                while let Some(wait) = meter.wait(rates, *mark, now) {
                    now += wait;
                }
                let batch = batch.min(meter.room(rates, now));
                *mark = meter.take(rates, batch, 0, now);
                taken += batch;
                *at = now + meter.wait(rates, *mark, now).unwrap_or_default();
                let given = (now - began).as_secs_f64() * f64::from(rate);
                let most = given + f64::from(rate) * BURST as f64 + connections as f64 + 1.0;
                prop_assert!(taken as f64 <= most, "{taken} in {:?}", now - began);
            }
        }

        /// One that never stops gets what the rate says, and not less.
        #[test]
        fn who_waits_as_told_gets_the_whole_rate(rate in 1_u32..500, batch in 1_usize..600) {
            let (meter, rates, began) = (Meter::default(), rates(rate, None), Instant::now());
            let (mut now, mut taken) = (began, 0);
            while now < began + Duration::from_secs(20) {
                let batch = batch.min(meter.room(rates, now));
                let mark = meter.take(rates, batch, 0, now);
                taken += batch;
                now += waits(&meter, rates, mark, now);
            }
            prop_assert!(taken as f64 >= 20.0 * f64::from(rate), "{taken} messages in 20 s");
        }
    }
}
