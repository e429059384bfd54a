//! What the hub counts, and how a scraper reads it.
//!
//! One [`Metrics`], passed to whoever counts. Counts are plain atomics in a
//! [`SourceMetrics`] or [`TargetMetrics`] that a session or relay holds and
//! adds to once per chunk; what is a state and not a count (backlog, journal,
//! balance) is read from [`Status`] at the scrape and kept nowhere else.
//!
//! It does not know what a message is, and makes no decision.
//!
//! INVARIANT: series come from the policy, the configured listeners and brokers
//! and the constants below only. No topic, client, device or payload can make
//! one: an unknown source or target counts under [`OTHER`].

mod histogram;
mod table;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use octroi_policy::Level;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};
use tokio::time::Instant;

use crate::status::Status;

pub use histogram::Histogram;
pub use table::{Described, Kind, TABLE};

/// The `source`, `target`, `stage` or `reason` of what has no series of its own.
pub const OTHER: &str = "other";

/// How long a rendered answer is served again.
pub const CACHED: Duration = Duration::from_secs(1);

/// Where a message or a connection was turned away, and why: the whole list, so
/// that each has its series from the start. Stage `connection` has the names of
/// `octroi_mqtt::CloseReason`, stage `publish` those of the policy's refusals.
pub const REJECTIONS: &[(&str, &[&str])] = &[
    ("accept", &["address_connections", "tls_handshake", "too_many_connections", "websocket_handshake"]),
    (
        "connection",
        &[
            "client_disconnect_with_will",
            "client_reported_error",
            "connect_timeout",
            "connection_lost",
            "hub_administrative_action",
            "hub_message_rate_too_high",
            "hub_not_authorized",
            "hub_quota_exceeded",
            "hub_server_busy",
            "hub_session_taken_over",
            "hub_shutting_down",
            "hub_unspecified",
            "internal_error",
            "keep_alive_timeout",
            "malformed_packet",
            "not_connect",
            "packet_too_large",
            "protocol_error",
            "quota_exceeded",
            "receive_maximum_exceeded",
            "refused_bad_authentication_method",
            "refused_bad_credentials",
            "refused_banned",
            "refused_client_id_invalid",
            "refused_connection_rate_exceeded",
            "refused_not_authorized",
            "refused_quota_exceeded",
            "refused_server_busy",
            "refused_server_unavailable",
            "refused_topic_name_invalid",
            "topic_alias_invalid",
            "topic_name_invalid",
            "unsupported_version",
        ],
    ),
    (
        "publish",
        &[
            "command",
            "identity_lapsed",
            "payload_format_invalid",
            "too_large",
            "topic_name_invalid",
            "topic_not_allowed",
        ],
    ),
    (OTHER, &[OTHER]),
];

/// Why messages are in quarantine: the policy's reasons, and an outlet's refusal of one record.
pub const QUARANTINE_REASONS: &[&str] = &[
    "ambiguous_payload",
    "cannot_decode",
    "domain_not_allowed",
    "hold_max",
    "invalid_record",
    "no_allowed_target",
    "no_rule_matches",
    OTHER,
    "outside_perimeter",
    "too_large",
    "unknown_source",
    "unknown_territory",
];

/// What was decided for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To a primary space (and its copies).
    Routed,
    /// Kept: a doubt.
    Quarantined,
    /// Kept: no allowed target today.
    Held,
    /// Not kept; the refusal is on record.
    Refused,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Routed, Self::Quarantined, Self::Held, Self::Refused];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Quarantined => "quarantined",
            Self::Held => "held",
            Self::Refused => "refused",
        }
    }
}

/// Why an outlet did not deliver: the cases of `DeliverError` that are failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutletError {
    /// Passing; retried.
    Retry,
    /// One record could not be delivered.
    Reject,
    /// Somebody must act.
    Blocked,
    /// The outlet was made anew.
    Fatal,
}

impl OutletError {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Retry, Self::Reject, Self::Blocked, Self::Fatal];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Blocked => "blocked",
            Self::Fatal => "fatal",
        }
    }
}

/// What a policy names: its series exist from its activation on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyNames {
    /// The policy's version.
    pub version: String,
    /// Ids of its sources.
    pub sources: Vec<String>,
    /// Ids of its targets.
    pub targets: Vec<String>,
    /// The qualifications of its targets.
    pub qualifications: Vec<Qualification>,
}

/// Until when a target's qualification holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qualification {
    /// Target id.
    pub target: String,
    /// `secnumcloud`, `hds`, …
    pub scheme: String,
    /// The end of its last day, in seconds since 1970-01-01T00:00:00Z.
    pub valid_until: i64,
}

/// Counts of one source.
#[derive(Debug, Default)]
pub struct SourceMetrics {
    received: [AtomicU64; 3],
    received_bytes: AtomicU64,
    slowed_micros: AtomicU64,
    decisions: [[AtomicU64; Level::ALL.len()]; Outcome::ALL.len()],
}

impl SourceMetrics {
    /// Messages received, by QoS, and their payload bytes.
    pub fn received(&self, by_qos: [u64; 3], bytes: u64) {
        for (count, messages) in self.received.iter().zip(by_qos).filter(|(_, messages)| *messages > 0) {
            count.fetch_add(messages, Ordering::Relaxed);
        }
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A connection was not read for so long, because its source was over its quota.
    pub fn slowed(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.slowed_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How long that was, over all of its connections, in microseconds.
    #[must_use]
    pub fn slowed_micros(&self) -> u64 {
        self.slowed_micros.load(Ordering::Relaxed)
    }

    /// Messages decided alike.
    pub fn decided(&self, outcome: Outcome, level: Level, messages: u64) {
        let of_outcome = self.decisions.get(outcome as usize);
        if let Some(count) = of_outcome.and_then(|levels| levels.get(level as usize)) {
            count.fetch_add(messages, Ordering::Relaxed);
        }
    }
}

/// Counts of one target.
#[derive(Debug, Default)]
pub struct TargetMetrics {
    delivered: [AtomicU64; Level::ALL.len()],
    delivered_bytes: [AtomicU64; Level::ALL.len()],
    gate_blocked: AtomicU64,
    aggregates_late: AtomicU64,
    aggregates_suppressed: AtomicU64,
    errors: [AtomicU64; OutletError::ALL.len()],
}

impl TargetMetrics {
    /// Records of a level that the target has acknowledged, and their payload bytes.
    pub fn delivered(&self, level: Level, records: u64, bytes: u64) {
        if let Some(count) = self.delivered.get(level as usize) {
            count.fetch_add(records, Ordering::Relaxed);
        }
        if let Some(count) = self.delivered_bytes.get(level as usize) {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Records that the second gate did not let out to this target.
    pub fn gate_blocked(&self, records: u64) {
        self.gate_blocked.fetch_add(records, Ordering::Relaxed);
    }

    /// Messages that came after what they belong to was published to this target.
    pub fn aggregates_late(&self, messages: u64) {
        self.aggregates_late.fetch_add(messages, Ordering::Relaxed);
    }

    /// Groups of aggregates that are not published to this target.
    pub fn aggregates_suppressed(&self, groups: u64) {
        self.aggregates_suppressed.fetch_add(groups, Ordering::Relaxed);
    }

    /// The outlet failed once.
    pub fn outlet_failed(&self, kind: OutletError) {
        if let Some(count) = self.errors.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All counts of the hub.
#[derive(Debug)]
pub struct Metrics {
    series: Arc<Series>,
    registry: Registry,
    rendered: Mutex<Option<(Instant, Arc<str>)>>,
}

/// What the collector reads.
#[derive(Debug)]
pub(crate) struct Series {
    program: String,
    by_policy: Mutex<ByPolicy>,
    other_source: Arc<SourceMetrics>,
    other_target: Arc<TargetMetrics>,
    /// One count per row and reason of [`REJECTIONS`].
    rejected: Vec<Vec<AtomicU64>>,
    policy_load_failures: AtomicU64,
    journal_sync: Histogram,
    ack: Histogram,
    descriptions: Vec<Desc>,
}

#[derive(Debug, Default)]
pub(crate) struct ByPolicy {
    version: String,
    sources: BTreeMap<String, Arc<SourceMetrics>>,
    targets: BTreeMap<String, Arc<TargetMetrics>>,
    qualifications: BTreeMap<(String, String), i64>,
    status: Arc<Status>,
}

impl Metrics {
    /// No policy yet. `program` is the program's version.
    ///
    /// # Errors
    /// If the table of metrics contradicts itself.
    pub fn new(program: &str) -> prometheus::Result<Self> {
        let descriptions = TABLE.iter().map(Described::desc).collect::<Result<Vec<_>, _>>()?;
        let series = Arc::new(Series {
            program: program.to_owned(),
            by_policy: Mutex::default(),
            other_source: Arc::default(),
            other_target: Arc::default(),
            rejected: REJECTIONS
                .iter()
                .map(|(_, reasons)| reasons.iter().map(|_| AtomicU64::new(0)).collect())
                .collect(),
            policy_load_failures: AtomicU64::new(0),
            journal_sync: Histogram::default(),
            ack: Histogram::default(),
            descriptions,
        });
        let registry = Registry::new();
        registry.register(Box::new(Exported(Arc::clone(&series))))?;
        Ok(Self { series, registry, rendered: Mutex::default() })
    }

    /// A policy is in force: its series exist, at 0 where they are new. Series of an earlier policy go,
    /// unless a session or relay still counts in them.
    pub fn policy_activated(&self, names: &PolicyNames) {
        {
            let mut by_policy = lock(&self.series.by_policy);
            by_policy.version.clone_from(&names.version);
            replace(&mut by_policy.sources, &names.sources);
            replace(&mut by_policy.targets, &names.targets);
        }
        self.qualifications(&names.qualifications);
    }

    /// Until when every qualification holds. Of several of one scheme, the longest counts.
    fn qualifications(&self, qualifications: &[Qualification]) {
        let mut ends = BTreeMap::new();
        for Qualification { target, scheme, valid_until } in qualifications {
            let longest = ends.entry((target.clone(), scheme.clone())).or_insert(*valid_until);
            *longest = (*longest).max(*valid_until);
        }
        lock(&self.series.by_policy).qualifications = ends;
    }

    /// A policy could not be loaded or was refused; the one in force stays.
    pub fn policy_load_failed(&self) {
        self.series.policy_load_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of a source: looked up once per session. Unknown to the policy: those of [`OTHER`].
    #[must_use]
    pub fn source(&self, id: &str) -> Arc<SourceMetrics> {
        let by_policy = lock(&self.series.by_policy);
        Arc::clone(by_policy.sources.get(id).unwrap_or(&self.series.other_source))
    }

    /// The counts of a target. Unknown to the policy: those of [`OTHER`].
    #[must_use]
    pub fn target(&self, id: &str) -> Arc<TargetMetrics> {
        let by_policy = lock(&self.series.by_policy);
        Arc::clone(by_policy.targets.get(id).unwrap_or(&self.series.other_target))
    }

    /// A connection or a message was turned away. What is not in [`REJECTIONS`] counts under [`OTHER`].
    pub fn rejected(&self, stage: &str, reason: &str) {
        let place = |stage: &str, reason: &str| {
            REJECTIONS.iter().zip(&self.series.rejected).find_map(|((of_stage, reasons), counts)| {
                let n = reasons.iter().position(|known| *of_stage == stage && *known == reason)?;
                counts.get(n)
            })
        };
        if let Some(count) = place(stage, reason).or_else(|| place(OTHER, OTHER)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The journal was synced once.
    pub fn journal_synced(&self, took: Duration) {
        self.series.journal_sync.observe(took, 1);
    }

    /// Messages were acknowledged, each this long after its last byte was read.
    pub fn acknowledged(&self, after: Duration, messages: u64) {
        self.series.ack.observe(after, messages);
    }

    /// The text of `/metrics`, at most [`CACHED`] old: counts as they are, states as `status` has them.
    ///
    /// # Errors
    /// If the encoder refuses a family.
    pub fn text(&self, status: &Arc<Status>, now: Instant) -> prometheus::Result<Arc<str>> {
        // Held while rendering, so that many scrapers cost one rendering.
        let mut rendered = lock(&self.rendered);
        if let Some((at, text)) = rendered.as_ref()
            && now.saturating_duration_since(*at) < CACHED
        {
            return Ok(Arc::clone(text));
        }
        lock(&self.series.by_policy).status = Arc::clone(status);
        let text: Arc<str> = TextEncoder::new().encode_to_string(&self.registry.gather())?.into();
        *rendered = Some((now, Arc::clone(&text)));
        Ok(text)
    }
}

/// Keeps what is named or still counted in, and makes what is new.
fn replace<T: Default>(map: &mut BTreeMap<String, Arc<T>>, names: &[String]) {
    for name in names {
        map.entry(name.clone()).or_default();
    }
    map.retain(|id, counts| Arc::strong_count(counts) > 1 || names.contains(id));
}

/// Counts stay true whoever panicked while reading them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The collector: the library's own counters hash labels in a way that merges `("a","bc")` and `("ab","c")`.
struct Exported(Arc<Series>);

impl Collector for Exported {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let by_policy = lock(&self.0.by_policy);
        TABLE.iter().map(|described| described.family(&self.0, &by_policy)).collect()
    }
}

#[cfg(test)]
mod tests;
