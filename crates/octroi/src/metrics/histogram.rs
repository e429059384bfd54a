//! A histogram of durations over fixed buckets, as plain atomics.
//!
//! Reading it while it counts may miss what is being added, never tear a value.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::proto;

/// Upper bounds, in microseconds: from a fast disk's sync to a stall that an operator must see.
const BOUNDS_MICROS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// How long something took, how often.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative; what is above the last bound is in `above`.
    buckets: [AtomicU64; BOUNDS_MICROS.len()],
    above: AtomicU64,
    sum_micros: AtomicU64,
}

impl Histogram {
    /// `times` events took `took` each.
    pub fn observe(&self, took: Duration, times: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.iter().position(|bound| micros <= *bound);
        let count = bucket.and_then(|n| self.buckets.get(n)).unwrap_or(&self.above);
        count.fetch_add(times, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros.saturating_mul(times), Ordering::Relaxed);
    }

    pub(super) fn proto(&self) -> proto::Histogram {
        let mut cumulative = 0;
        let buckets = BOUNDS_MICROS
            .iter()
            .zip(&self.buckets)
            .map(|(bound, count)| {
                cumulative += count.load(Ordering::Relaxed);
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(seconds(*bound));
                bucket.set_cumulative_count(cumulative);
                bucket
            })
            .collect();
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(cumulative + self.above.load(Ordering::Relaxed));
        histogram.set_sample_sum(seconds(self.sum_micros.load(Ordering::Relaxed)));
        histogram
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
