//! An honest publisher that measures: one message at a time, at a steady rate.
//! An acknowledgement that took longer than the pause between two messages
//! stands for those that would have been sent meanwhile, too: each of them
//! would have waited for what was left of it.
//!
//! It fails its test if a message is not acknowledged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::load::wire::{self, Answer, Wire};
use crate::load::{ID, Qos, Stream, Version};

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A publisher under way.
pub struct Probe {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    took: Mutex<Vec<Duration>>,
}

impl Probe {
    /// Connects and publishes a message of this stream `every` so often.
    pub fn start(hub: SocketAddr, stream: &Stream, version: Version, every: Duration) -> Self {
        let (shared, stream) = (Arc::<Shared>::default(), stream.clone());
        let client = format!("probe-{version:?}");
        let wire = Wire::connect(hub, version, &client, stream.user).expect("an honest client is let in");
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || publish(wire, &stream, every, &of_thread));
        Self { shared, thread: Some(thread) }
    }

    /// What was acknowledged while `work` ran.
    #[track_caller]
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Latencies) {
        self.taken();
        let done = work();
        let running = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        assert!(running, "the probe's connection broke, or an acknowledgement did not come");
        (done, self.taken())
    }

    fn taken(&self) -> Latencies {
        let mut took = self.shared.took.lock().unwrap_or_else(PoisonError::into_inner);
        Latencies::of(std::mem::take(&mut took))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Its panic has been printed, and whoever measures has seen that it ended.
        self.thread.take().map(JoinHandle::join);
    }
}

fn publish(mut wire: Wire, stream: &Stream, every: Duration, shared: &Shared) {
    let (topic, template) = (stream.topic.replace("%N%", "9"), stream.payload.replace("%N%", "9"));
    for number in 0_u64.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let mut packet = Vec::new();
        let payload = template.replace(ID, &(770_099_000_000_000 + number).to_string());
        let as_sent = (wire.version(), Qos::AtLeastOnce);
        wire::publish(as_sent, 1, false, &topic, payload.as_bytes(), &mut packet);
        let since = Instant::now();
        wire.send(&packet).expect("the hub reads");
        let answer = wire.answer(PATIENCE).expect("the connection stays");
        assert_eq!(answer, Some(Answer::Ack { packet: 1, reason: 0 }), "message {number}");
        let took = since.elapsed();
        shared.took.lock().unwrap_or_else(PoisonError::into_inner).extend(with_those_unsent(took, every));
        sleep(every.saturating_sub(took));
    }
}

/// A latency, and those of the messages that would have been sent while it lasted.
fn with_those_unsent(took: Duration, every: Duration) -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(took), move |left| left.checked_sub(every).filter(|left| !left.is_zero()))
}

/// How long acknowledgements took.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort();
        Self(took)
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::of([self.0, other.0].concat())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What `percent` of them are within.
    #[track_caller]
    pub fn within(&self, percent: usize) -> Duration {
        assert!(!self.0.is_empty(), "nothing was acknowledged");
        self.0[(self.0.len() - 1) * percent / 100]
    }

    /// `median, p99, most` of so many.
    pub fn said(&self) -> String {
        let millis = |percent| self.within(percent).as_secs_f64() * 1e3;
        format!(
            "median {:.1} ms, p99 {:.1} ms, most {:.1} ms of {}",
            millis(50),
            millis(99),
            millis(100),
            self.count()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_for_all_that_would_have_waited_for_it() {
        let millis = |took| {
            let all = with_those_unsent(Duration::from_millis(took), Duration::from_millis(10));
            all.map(|took| took.as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(millis(4), [4]);
        assert_eq!(millis(10), [10]);
        assert_eq!(millis(35), [35, 25, 15, 5]);
    }

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let one_to_200 = Latencies::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(one_to_200.within(50), Duration::from_millis(100));
        assert_eq!(one_to_200.within(99), Duration::from_millis(198));
        let both = one_to_200.clone().and(one_to_200);
        assert_eq!((both.count(), both.within(50)), (400, Duration::from_millis(100)));
    }
}
