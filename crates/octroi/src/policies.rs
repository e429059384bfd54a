//! The policies of a hub: the one in force, the versions it has known, and the
//! only way to change it: check, tests, invariants (`review`), then
//! [`Policies::put_in_force`], one atomic swap.
//!
//! Versions live in `data_dir/policies/<hash>/`; `history.jsonl` beside them
//! says which was activated when. Its last line is the policy in force: there
//! is no second place that says so.
//!
//! INVARIANT: a policy that does not pass never replaces one that did
//! (`a_bad_policy_never_replaces_a_good_one`).

mod review;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use octroi_journal::TargetBit;
use octroi_policy::{CopyIx, Date, Finding, Policy, SourceFile, SourceIx, TargetIx, Timestamp};

pub use review::{Review, compiled, read_policy, review, review_at, toml_files};
pub use store::{Activation, Store, StoreError};

use crate::fail_point;
use crate::flows::Flows;
use crate::keys::KeyError;
use crate::metrics::{Metrics, Qualification, SourceMetrics};
use crate::quota::Rates;
use crate::record::StoredOutcome;

/// The names of the journal's bits that are no target's: ids cannot begin with `#`.
pub const QUARANTINE: &str = "#quarantine";
/// See [`QUARANTINE`].
pub const HOLD: &str = "#hold";
/// See [`QUARANTINE`]: what aggregates are made of.
pub const AGGREGATES: &str = "#aggregate";

/// The journal's bits of a policy.
#[derive(Clone, Debug)]
pub struct Bits {
    /// Of each target, by [`TargetIx`].
    pub targets: Vec<TargetBit>,
    /// Of the quarantine.
    pub quarantine: TargetBit,
    /// Of what is held.
    pub hold: TargetBit,
    /// Of what aggregates are made of.
    pub aggregates: TargetBit,
}

impl Bits {
    /// The names to register, in order.
    pub fn names(targets: &[String]) -> impl Iterator<Item = String> + use<'_> {
        targets.iter().cloned().chain([QUARANTINE, HOLD, AGGREGATES].map(str::to_owned))
    }

    /// From what the journal gave for [`Bits::names`].
    #[must_use]
    pub fn from_list(mut bits: Vec<TargetBit>) -> Option<Self> {
        let aggregates = bits.pop()?;
        let hold = bits.pop()?;
        let quarantine = bits.pop()?;
        Some(Self { targets: bits, quarantine, hold, aggregates })
    }
}

/// The policy in force, with what the data path needs beside it. Swapped whole:
/// a message sees one version of it.
#[derive(Debug)]
pub struct Active {
    /// The policy.
    pub policy: Policy,
    /// The first eight bytes of its hash: what records name it by.
    pub policy64: u64,
    /// When it was activated.
    pub since: Timestamp,
    /// How many tests it passed.
    pub tests: u64,
    /// The journal's bits.
    pub bits: Bits,
    /// Counters of each source, by [`SourceIx`].
    pub sources: Vec<Arc<SourceMetrics>>,
    /// Those of a sender that the policy does not know.
    pub other: Arc<SourceMetrics>,
    /// Sources by their id.
    pub ids: BTreeMap<String, SourceIx>,
    /// Where messages go, counted.
    pub flows: Arc<Flows>,
}

impl Active {
    /// Everything the data path needs of a policy that was accepted; its series exist from here on.
    #[must_use]
    pub fn new(policy: Policy, tests: u64, since: Timestamp, bits: Bits, metrics: &Metrics) -> Self {
        metrics.policy_activated(&names(&policy));
        let ids = policy.sources().iter().enumerate();
        let ids = ids.filter_map(|(n, source)| Some((source.id.clone(), SourceIx::from_index(n)?))).collect();
        Self {
            policy64: policy64(&policy),
            since,
            tests,
            bits,
            sources: policy.sources().iter().map(|source| metrics.source(&source.id)).collect(),
            other: metrics.source(crate::metrics::OTHER),
            ids,
            flows: Arc::new(Flows::new(&policy)),
            policy,
        }
    }

    /// The source with that authenticated identity; `id:…` names a source itself.
    #[must_use]
    pub fn source(&self, identity: &str) -> Option<SourceIx> {
        match identity.strip_prefix("id:") {
            Some(id) => self.ids.get(id).copied(),
            None => self.policy.source(identity),
        }
    }

    /// What a source may send in a second; `None`: its quota does not say.
    #[must_use]
    pub fn rates(&self, source: SourceIx) -> Option<Rates> {
        Rates::of(self.policy.sources().get(source.index())?.quota.as_ref())
    }

    /// What a sender's messages may take of the journal by its source's quota, bytes.
    #[must_use]
    pub fn journal_bytes(&self, identity: &str) -> u64 {
        let source = self.source(identity).and_then(|source| self.policy.sources().get(source.index()));
        source.and_then(|source| source.quota.as_ref()?.journal_bytes).unwrap_or(u64::MAX)
    }

    /// The journal's bit of a target.
    #[must_use]
    pub fn bit(&self, target: TargetIx) -> Option<TargetBit> {
        self.bits.targets.get(target.index()).copied()
    }

    /// The same, by its id.
    #[must_use]
    pub fn bit_of(&self, target: &str) -> Option<TargetBit> {
        let place = self.policy.targets().iter().position(|known| known.id == target)?;
        self.bits.targets.get(place).copied()
    }

    /// The bitmap of a target.
    #[must_use]
    pub fn mask(&self, target: TargetIx) -> u64 {
        self.bit(target).map_or(0, TargetBit::mask)
    }

    /// The bits of the targets that a decision of this policy sends a message to.
    #[must_use]
    pub fn targets(&self, outcome: &StoredOutcome) -> u64 {
        let StoredOutcome::Routed { space, copies } = outcome else { return 0 };
        let space = self.policy.spaces().get(space.index()).map_or(0, |space| self.mask(space.target));
        copies.iter().fold(space, |bits, copy| bits | self.copy_mask(*copy))
    }

    /// The bitmap of a copy: its target's, or that of the aggregates if it is made of many messages.
    #[must_use]
    pub fn copy_mask(&self, copy: CopyIx) -> u64 {
        match self.policy.copies().get(copy.index()) {
            Some(rule) if rule.aggregate().is_some() => self.bits.aggregates.mask(),
            Some(rule) => self.mask(rule.to),
            None => 0,
        }
    }

    /// The policy epoch of a day: the policy and the last dated boundary before it.
    #[must_use]
    pub fn epoch(&self, day: Date) -> (u64, Date) {
        (self.policy64, self.policy.epoch_of(day))
    }
}

/// The first eight bytes of a hash, big endian, so that it reads like the hash's hex.
#[must_use]
pub fn policy64(policy: &Policy) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(policy.hash().0) {
        *to = from;
    }
    u64::from_be_bytes(first)
}

/// Why a policy was not activated.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// It has findings that refuse it.
    #[error("the policy is refused: {} finding(s); the one in force stays", findings.len())]
    Refused {
        /// Those that refuse.
        findings: Vec<Finding>,
    },
    /// A target has no outlet.
    #[error(
        "the policy names the target `{target}`, and the configuration has no `[outlet.{target}]`: \
         the policy in force stays"
    )]
    NoOutlet {
        /// Which.
        target: String,
    },
    /// A key that a transform names is missing.
    #[error("a key that the policy needs: {0}; the policy in force stays")]
    NoKey(KeyError),
    /// The journal did not take it.
    #[error("the journal has no room for the policy's targets or stopped; the policy in force stays")]
    Journal,
    /// The version could not be kept.
    #[error("the policy could not be stored; the one in force stays")]
    Store(#[from] StoreError),
}

/// The policies of a hub.
#[derive(Debug)]
pub struct Policies {
    active: ArcSwap<Active>,
    store: Store,
    /// Compiled versions that waiting records name. A lock, because a miss reads the disk and a message
    /// would make every relay wait for one task; held by relays only, at a change of epoch.
    known: Mutex<BTreeMap<u64, Option<Arc<Policy>>>>,
}

impl Policies {
    /// With this one in force.
    #[must_use]
    pub fn new(active: Active, store: Store) -> Self {
        Self { active: ArcSwap::from_pointee(active), store, known: Mutex::default() }
    }

    /// The policy in force. Take it once for a message.
    #[must_use]
    pub fn current(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// The version with that hash, as records name it; `None` when it is not stored or cannot be read:
    /// then nothing that it decided may leave.
    #[must_use]
    pub fn version(&self, policy64: u64) -> Option<Arc<Policy>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let load = || {
            let files = self.store.files_of(policy64)?;
            review::compile(&files).map(Arc::new)
        };
        known.entry(policy64).or_insert_with(load).clone()
    }

    /// The versions the hub has known.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Puts a policy in force that [`review`] accepted and whose targets are registered: keeps the version,
    /// writes the history, swaps.
    ///
    /// # Errors
    /// The version could not be stored; the policy in force stays.
    pub fn put_in_force(&self, active: Active, files: &[SourceFile]) -> Result<(), StoreError> {
        Self::keep(&self.store, &active, files)?;
        fail_point::reached("policy.history_is_written");
        self.active.store(Arc::new(active));
        fail_point::reached("policy.is_in_force");
        Ok(())
    }

    /// Keeps a version and writes it into the history.
    ///
    /// # Errors
    /// The disk.
    pub fn keep(store: &Store, active: &Active, files: &[SourceFile]) -> Result<(), StoreError> {
        store.keep(active.policy.hash(), files)?;
        fail_point::reached("policy.version_is_kept");
        store.record(&Activation {
            hash: active.policy.hash().full(),
            id: active.policy.id().to_owned(),
            version: active.policy.version().to_owned(),
            title: active.policy.title().to_owned(),
            at: active.since.to_string(),
        })
    }
}

/// The names that label a policy's series.
fn names(policy: &Policy) -> crate::metrics::PolicyNames {
    let days = |target: &octroi_policy::TargetInfo| {
        let id = target.id.clone();
        let of = move |qualification: &octroi_policy::ast::Qualification| Qualification {
            target: id.clone(),
            scheme: qualification.scheme.clone(),
            valid_until: (i64::from(qualification.valid_until.0) + 1) * 86_400,
        };
        target.qualifications.iter().map(of).collect::<Vec<_>>()
    };
    crate::metrics::PolicyNames {
        version: policy.version().to_owned(),
        sources: policy.sources().iter().map(|source| source.id.clone()).collect(),
        targets: policy.targets().iter().map(|target| target.id.clone()).collect(),
        qualifications: policy.targets().iter().flat_map(days).collect(),
    }
}

/// What reading a policy from disk needs to say when it cannot.
#[derive(Debug, thiserror::Error)]
pub enum ReadPolicyError {
    /// A file or directory cannot be read.
    #[error("cannot read the policy at `{}`", path.display())]
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no `*.toml`.
    #[error("`{}` holds no `*.toml`: a policy is one file or a directory of them", path.display())]
    Empty {
        /// Which.
        path: std::path::PathBuf,
    },
    /// It is larger than a policy may be.
    #[error("the policy at `{}` is over {} MiB or {} files", path.display(), crate::limits::POLICY_BYTES >> 20,
        crate::limits::POLICY_FILES)]
    TooLarge {
        /// Which.
        path: std::path::PathBuf,
    },
    /// An `include` leads outside or in a circle.
    #[error("`{}` includes `{include}`, which {reason}", path.display())]
    Include {
        /// The file that includes.
        path: std::path::PathBuf,
        /// As written.
        include: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl ReadPolicyError {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_path_buf(), source }
    }
}
