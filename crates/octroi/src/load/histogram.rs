//! Latencies, counted.

use std::time::Duration;

/// Latencies in buckets of 1/16 octave: 6 % wide, from 1 µs to hours.
#[derive(Clone, Debug)]
pub struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; 16 * 32])
    }
}

impl Histogram {
    pub(super) fn record(&mut self, latency: Duration, messages: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let octave = u64::from(63 - micros.leading_zeros());
        let within = if octave >= 4 { (micros >> (octave - 4)) & 15 } else { (micros << (4 - octave)) & 15 };
        let last = self.0.len() - 1;
        let bucket = usize::try_from(octave * 16 + within).unwrap_or(last).min(last);
        if let Some(count) = self.0.get_mut(bucket) {
            *count += messages;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// The latency that so many of a thousand messages did not exceed, to 6 %.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Duration {
        let rank = self.0.iter().sum::<u64>().saturating_mul(per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, count) in (0u32..).zip(&self.0) {
            seen += count;
            if seen >= rank {
                let octave = f64::from(1u32.checked_shl(bucket / 16).unwrap_or(u32::MAX));
                return Duration::from_secs_f64(octave * (1.0 + f64::from(bucket % 16 + 1) / 16.0) / 1e6);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        for micros in 1..=1_000 {
            histogram.record(Duration::from_micros(micros), 1);
        }
        for (share, micros) in [(500, 500.0), (990, 990.0), (1_000, 1_000.0)] {
            let found = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((found / micros - 1.0).abs() < 0.07, "{share}: {found}");
        }
    }
}
