//! The archive: a directory of compressed CloudEvents lines that a datacenter
//! can serve, scan or mount.
//!
//! Records gather into a batch; when it is full, old enough or flushed, its
//! bounds are put on record in the journal and only then is it written. So a
//! crash or a retry cuts the same batch again and writes the same files with
//! the same bytes: never a double, a tear or an overlap.
//!
//! INVARIANT: a file's name is bounds on record; no batch is written under
//! bounds of which a part was delivered before.

mod batch;
mod check;
mod store;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::path::PathBuf;
use std::time::Duration;

use octroi_policy::{Level, Text, Timestamp, text};

use self::batch::{Batch, Sorter};
pub use self::check::check;
use self::store::{Store, StoreError};
use super::{Bounds, DeliverError, Delivered, Outgoing, Outlet, Progress};
use crate::status::OutletState;

/// Where an archive is and how its batches are cut.
#[derive(Clone, Debug)]
pub struct ArchiveConfig {
    /// The archive's directory, which must exist.
    pub directory: PathBuf,
    /// The hub's id.
    pub hub: String,
    /// The journal's generation.
    pub generation: u64,
    /// When a batch is cut.
    pub batch: BatchLimits,
}

/// A batch is cut when the first of these is reached.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Records.
    pub records: usize,
    /// Bytes of lines, which is also what an archive keeps in memory.
    pub bytes: usize,
    /// Since its first record.
    pub age: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 100_000, bytes: 16 << 20, age: Duration::from_secs(10) }
    }
}

/// What is wrong with an archive's configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A relative path means another place in another working directory.
    #[error("archive directory `{}` is relative; write an absolute path", .0.display())]
    RelativeDirectory(PathBuf),
    /// The hub's id begins each file's name.
    #[error(
        "hub id `{0}` cannot begin a file name; use 1 to 64 of `a-z A-Z 0-9 . _ -`, a letter or digit first"
    )]
    HubId(String),
}

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// An open archive.
pub struct Archive {
    store: Store,
    limits: BatchLimits,
    sorter: Sorter,
    filling: Batch,
    /// When the first record of `filling` was there, as polls saw it.
    since: Option<Timestamp>,
    /// Bounds on record that are still to be cut, oldest first.
    planned: VecDeque<Bounds>,
    cut: Option<Cut>,
    delivered: [Delivered; Level::ALL.len()],
    health: Health,
}

/// A batch that waits to be written, and its bounds.
struct Cut {
    batch: Batch,
    bounds: Bounds,
    intent: Intent,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    ToTell,
    OnRecord,
}

#[derive(Default)]
struct Health {
    state: OutletState,
    reason: Text,
    failures: u32,
    retry_at: Option<Timestamp>,
    /// What failed is not a batch but reaching the directory.
    unprepared: bool,
}

impl ArchiveConfig {
    /// What can be said without touching the directory.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), OpenError> {
        if !self.directory.is_absolute() {
            return Err(OpenError::RelativeDirectory(self.directory.clone()));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let starts_well = self.hub.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !starts_well || self.hub.len() > 64 || !self.hub.bytes().all(plain) {
            return Err(OpenError::HubId(self.hub.clone()));
        }
        Ok(())
    }
}

impl Archive {
    /// Opens the archive. A directory that is missing or cannot be written does
    /// not fail: polls tell it, and try again.
    ///
    /// # Errors
    /// What [`ArchiveConfig::check`] says.
    pub fn open(config: ArchiveConfig) -> Result<Self, OpenError> {
        config.check()?;
        let mut archive = Self {
            store: Store::new(config.directory, &config.hub, config.generation),
            limits: config.batch,
            sorter: Sorter::default(),
            filling: Batch::default(),
            since: None,
            planned: VecDeque::new(),
            cut: None,
            delivered: Default::default(),
            health: Health::default(),
        };
        // What fails now is told by polls.
        drop(archive.prepare(None));
        Ok(archive)
    }

    fn cut(&mut self, bounds: Bounds, intent: Intent) {
        self.since = None;
        self.cut = Some(Cut { batch: mem::take(&mut self.filling), bounds, intent });
    }

    /// The bounds on record that the batch being filled belongs to.
    fn plan(&self) -> Option<Bounds> {
        let (plan, filled) = (*self.planned.front()?, self.filling.bounds?);
        (plan.first <= filled.first).then_some(plan)
    }

    /// Cuts before `seq` is taken, if the batch must end there.
    fn cut_before(&mut self, seq: u64) {
        if let Some(plan) = self.plan() {
            if plan.last < seq {
                self.planned.pop_front();
                self.cut(plan, Intent::OnRecord);
            }
        } else if let Some(bounds) = self.filling.bounds {
            if self.planned.front().is_some_and(|plan| plan.first <= seq) {
                self.cut(bounds, Intent::ToTell);
            }
        } else {
            // Every record of these bounds was withheld this time.
            while self.planned.front().is_some_and(|plan| plan.last < seq) {
                self.planned.pop_front();
            }
        }
    }

    fn cut_if_due(&mut self, now: Timestamp) {
        if self.cut.is_some() || self.plan().is_some() {
            return;
        }
        let Some(bounds) = self.filling.bounds else { return };
        let since = *self.since.get_or_insert(now);
        let old = micros(self.limits.age) <= now.0.saturating_sub(since.0);
        let full = self.filling.records >= self.limits.records || self.filling.bytes >= self.limits.bytes;
        if old || full {
            self.cut(bounds, Intent::ToTell);
        }
    }

    fn write_if_due(&mut self, now: Timestamp) -> Result<(), DeliverError> {
        if self.health.retry_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let Some(cut) = self.cut.as_ref().filter(|cut| cut.intent == Intent::OnRecord) else {
            // Nothing to write: after a failure to reach the directory, look whether it is there now.
            return if self.health.unprepared { self.prepare(Some(now)) } else { Ok(()) };
        };
        if let Err(error) = self.store.write(&cut.batch, cut.bounds) {
            return Err(self.health.fail(&error, Some(now)));
        }
        for (sum, count) in self.delivered.iter_mut().zip(cut.batch.delivered) {
            sum.records += count.records;
            sum.bytes += count.bytes;
        }
        if let Some(cut) = self.cut.take() {
            self.sorter.recycle(cut.batch);
        }
        self.health = Health { state: OutletState::Up, ..Health::default() };
        Ok(())
    }

    fn prepare(&mut self, now: Option<Timestamp>) -> Result<(), DeliverError> {
        if let Err(error) = self.store.prepare() {
            self.health.unprepared = true;
            return Err(self.health.fail(&error, now));
        }
        self.health = Health { state: OutletState::Up, ..Health::default() };
        Ok(())
    }
}

impl Outlet for Archive {
    fn offer(&mut self, record: &Outgoing<'_>) -> Result<(), DeliverError> {
        let event = record.event();
        if self.cut.is_none() {
            self.cut_before(event.seq);
        }
        if self.cut.is_some() {
            return Err(DeliverError::Full);
        }
        self.sorter.push(event, &mut self.filling);
        if let Some(plan) = self.plan() {
            if plan.last == event.seq {
                self.planned.pop_front();
                self.cut(plan, Intent::OnRecord);
            }
        } else if let Some(bounds) = self.filling.bounds
            && (self.filling.records >= self.limits.records || self.filling.bytes >= self.limits.bytes)
        {
            self.cut(bounds, Intent::ToTell);
        }
        Ok(())
    }

    fn poll(&mut self, wait: Duration, now: Timestamp) -> Result<Progress, DeliverError> {
        self.write_if_due(now)?;
        self.cut_if_due(now);
        // Until it is answered there is no poll: whoever polls again was told of no room.
        let intend = self.cut.as_ref().filter(|cut| cut.intent == Intent::ToTell).map(|cut| cut.bounds);
        let waiting = self.cut.as_ref().map_or(&self.filling, |cut| &cut.batch);
        let progress = Progress {
            unacked_from: waiting.bounds.map(|bounds| bounds.first),
            intend,
            delivered: mem::take(&mut self.delivered),
            state: self.health.state,
            reason: self.health.reason.clone(),
        };
        if !progress.tells() {
            pause(wait);
        }
        Ok(progress)
    }

    fn intended(&mut self, bounds: Bounds) {
        if let Some(cut) = self.cut.as_mut().filter(|cut| cut.bounds == bounds) {
            cut.intent = Intent::OnRecord;
        }
    }

    fn rewind(&mut self, to: u64, intents: &[Bounds]) {
        self.filling = Batch::default();
        self.since = None;
        self.cut = None;
        // Bounds that begin before `to` would replace a file by a part of itself: a record among them was
        // withheld, and the cursor stopped or went on there. The rest is cut anew: at worst the same ids twice,
        // never fewer.
        let mut next = to;
        self.planned.clear();
        for bounds in intents {
            if bounds.first >= next && bounds.last >= bounds.first {
                self.planned.push_back(*bounds);
                next = bounds.last.saturating_add(1);
            }
        }
    }

    fn flush(&mut self, through: u64) {
        if self.cut.is_some() {
            return;
        }
        match (self.plan(), self.filling.bounds) {
            (Some(plan), _) if plan.last <= through => {
                self.planned.pop_front();
                self.cut(plan, Intent::OnRecord);
            }
            // The rest of the planned batch is still to be offered.
            (Some(_), _) | (None, None) => {}
            (None, Some(bounds)) => self.cut(bounds, Intent::ToTell),
        }
    }
}

impl Health {
    /// Notes the failure and when to try again, and says it.
    fn fail(&mut self, error: &StoreError, now: Option<Timestamp>) -> DeliverError {
        let retry_in = RETRY_MIN.saturating_mul(1 << self.failures.min(5)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.map(|now| Timestamp(now.0.saturating_add(micros(retry_in))));
        let reason = error.reason();
        if let Some(mend) = error.mend() {
            self.state = OutletState::Blocked;
            self.reason = Text::join(&[reason.clone(), mend.clone()], "; ", " ; ");
            return DeliverError::Blocked { reason, mend };
        }
        let (Text { en, fr }, seconds) = (&reason, retry_in.as_secs());
        self.state = OutletState::Down;
        self.reason = text!("{en}; retried in {seconds} s", "{fr} ; nouvel essai dans {seconds} s");
        DeliverError::Retry { reason, retry_in }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "on the relay's own thread, and only as long as it asked for")]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("limits", &self.limits).finish_non_exhaustive()
    }
}
