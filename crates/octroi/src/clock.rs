//! The wall clock, which exists once, and the policy's time, which never goes
//! back. Everything else takes the time as an argument; async waits use
//! `tokio::time`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use octroi_policy::Timestamp;

/// Where the time of day comes from.
pub trait Clock: Send + Sync {
    /// Now, UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one clock that the ban refers to")]
        let now = SystemTime::now();
        let micros = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// Policy time: the wall clock, or the latest time on record where that is
/// later. A clock set back does not revive a lapsed qualification.
pub struct PolicyClock {
    wall: Arc<dyn Clock>,
    latest: AtomicI64,
}

impl PolicyClock {
    /// From this wall clock, never before `latest`.
    #[must_use]
    pub fn new(wall: Arc<dyn Clock>, latest: Timestamp) -> Self {
        Self { wall, latest: AtomicI64::new(latest.0) }
    }

    /// Now, for decisions.
    pub fn now(&self) -> Timestamp {
        let wall = self.wall.now().0;
        Timestamp(self.latest.fetch_max(wall, Ordering::Relaxed).max(wall))
    }
}
