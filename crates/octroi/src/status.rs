//! How the hub is, as one value: the console, `octroi status`, `/api/v1/status`
//! and the demo's table all render this and nothing else.

use octroi_policy::Text;
use serde::{Deserialize, Serialize};

/// How the hub is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The hub's id.
    pub hub: String,
    /// Version of the program.
    pub program: String,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339: when this status was taken.
    pub now: String,
    /// Whether it accepts messages.
    pub ready: bool,
    /// The policy in force.
    pub policy: PolicyStatus,
    /// The journal.
    pub journal: JournalStatus,
    /// MQTT connections.
    pub connections: u64,
    /// Messages received per second, over the last 10 s.
    pub received_per_second: f64,
    /// Where messages go, by source, level and target.
    pub flows: Vec<Flow>,
    /// Sources that their quota slowed within the last 10 s.
    #[serde(default)]
    pub slowed: Vec<SlowedStatus>,
    /// The policy's targets.
    pub targets: Vec<TargetStatus>,
    /// Existing brokers that the hub takes messages from.
    #[serde(default)]
    pub brokers: Vec<BrokerStatus>,
    /// What is in quarantine, by reason.
    pub quarantine: Vec<KeptStatus>,
    /// The balance.
    pub conservation: Conservation,
    /// What left the side logs.
    #[serde(default)]
    pub left: LeftStatus,
    /// Why the index of the side logs was made anew at this start; empty: it was not.
    #[serde(default)]
    pub index_rebuilt: String,
    /// Certificates, authorities, revocation lists and passwords of the listeners.
    #[serde(default)]
    pub credentials: Vec<CredentialStatus>,
}

/// How files of credentials stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    /// What is on disk is in force.
    #[default]
    InForce,
    /// What is on disk cannot be used: what was read before is in force.
    Refused,
    /// What is in force has expired.
    Expired,
    /// Nothing is in force, as the time is against what is on disk: the listener is shut.
    Shut,
}

/// What a listener goes by to tell who is at the other end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialStatus {
    /// Its address, as configured.
    pub listener: String,
    /// `certificate` (with its key), `client_ca` (with the revocation lists), `passwords`.
    pub part: String,
    /// How it stands.
    pub state: CredentialState,
    /// Why not as it should, and what to do.
    pub reason: Text,
    /// RFC 3339: when the first of it ends; empty: nothing ends.
    pub valid_until: String,
}

/// The policy in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its version.
    pub version: String,
    /// Hex, 64 digits.
    pub hash: String,
    /// RFC 3339: since when.
    pub activated: String,
    /// Tests it carries, all of which passed at activation.
    pub tests: u64,
    /// Invariants proved.
    pub invariants: u64,
}

/// The journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// On disk.
    pub bytes: u64,
    /// The most it may take.
    pub limit_bytes: u64,
    /// Records so far, control records included.
    pub records: u64,
    /// Whether it refuses messages because it is full.
    pub full: bool,
    /// Sequence ranges lost to damage (fenced, every byte kept), as `first-last`; of a side log, with its name
    /// before them. What the start found, and what was found at reading since.
    pub fenced: Vec<String>,
}

/// One flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Source id.
    pub source: String,
    /// Name of the producing authority.
    pub producer: String,
    /// Level name: of a copy, what its transform makes of it.
    pub level: String,
    /// Target id; `quarantine`, `hold` or `refused` for what goes nowhere, `aggregated` for what goes into the
    /// aggregates of a copy.
    pub target: String,
    /// Copy id; empty: the primary space.
    pub copy: String,
    /// Messages since the start of the process.
    pub messages: u64,
    /// Messages per second, over the last 10 s.
    pub per_second: f64,
}

/// A source that sends more than its quota: it is slowed, and nothing of it is dropped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowedStatus {
    /// Source id.
    pub source: String,
    /// Its connections that were not read, on average over the last 10 s.
    pub connections: f64,
}

/// What an outlet is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutletState {
    /// Nothing was tried yet.
    #[default]
    Starting,
    /// Delivering, or idle after a success.
    Up,
    /// Not reachable; retried.
    Down,
    /// Refused by the target (authorisation, missing topic, TLS): somebody must act.
    Blocked,
    /// An operator's word: nothing is handed over until it is resumed.
    Paused,
}

impl OutletState {
    /// All.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Up, Self::Down, Self::Blocked, Self::Paused];

    /// Stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Down => "down",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
        }
    }
}

/// One target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its id.
    pub id: String,
    /// Its label, in the policy's language.
    pub label: String,
    /// `public_dc`, `trusted_cloud`, …
    pub kind: String,
    /// `archive`, `kafka`.
    pub outlet: String,
    /// Its state.
    pub state: OutletState,
    /// Why it is down, blocked or paused, and what to do.
    pub reason: Text,
    /// RFC 3339: since when in this state.
    pub since: String,
    /// Records assigned and not delivered.
    pub pending: u64,
    /// Age of the oldest of them.
    pub oldest_seconds: f64,
    /// What its backlog takes on disk: what waits for it there holds no segment of the journal back.
    #[serde(default)]
    pub backlog_bytes: u64,
    /// Delivered since the start of the journal.
    pub delivered: u64,
    /// Withheld at the second gate since the start of the journal.
    pub withheld: u64,
    /// Of these, and of what was held on arrival: messages in the hold log.
    pub held: u64,
    /// Records delivered per second, over the last 10 s.
    pub per_second: f64,
}

/// How the hub stands with a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokerState {
    /// Nothing was tried yet.
    #[default]
    Starting,
    /// Subscribed.
    Up,
    /// Not reachable; tried again.
    Down,
    /// Refused, by the broker or by the policy: somebody must act.
    Refused,
}

/// One broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its state.
    pub state: BrokerState,
    /// Why nothing comes, and what to do.
    pub reason: Text,
    /// RFC 3339: since when in this state.
    pub since: String,
    /// Messages taken, since the start of the process.
    pub received: u64,
    /// Of these, acknowledged (QoS 0 ones: on record).
    pub acknowledged: u64,
    /// Connections after the first.
    pub reconnects: u64,
}

/// Messages kept on the hub, by reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptStatus {
    /// Stable name.
    pub reason: String,
    /// How many.
    pub messages: u64,
}

/// What left the side logs since the start of the journal, one target's share of a message included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftStatus {
    /// From the quarantine, on an operator's word and by the policy.
    pub quarantine_released: u64,
    /// From the quarantine, for good.
    pub quarantine_purged: u64,
    /// From the hold log, as soon as a policy allowed it.
    pub hold_released: u64,
    /// From the hold log to the quarantine, after `hold_max`.
    pub hold_expired: u64,
}

/// The law: `received = routed + quarantined + held + refused + purged`, and for
/// each target `assigned = delivered + pending + withheld`. Since the start of the
/// journal; what was released moved from quarantined or held to routed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conservation {
    /// Acknowledged, and refusals on record.
    pub received: u64,
    /// To a primary space, those included that were released.
    pub routed: u64,
    /// In quarantine.
    pub quarantined: u64,
    /// Held: no target was allowed for them yet.
    pub held: u64,
    /// Refused, on record.
    pub refused: u64,
    /// Purged from the quarantine: gone for good.
    #[serde(default)]
    pub purged: u64,
    /// What does not balance, over everything: must be 0.
    pub unaccounted: i64,
}
