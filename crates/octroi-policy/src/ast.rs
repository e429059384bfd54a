//! The policy as written: one type per block, keys as in the files. No meaning
//! here beyond types; `deny_unknown_fields` everywhere, so that a misspelt
//! protection is an error and never an absent one.
//!
//! The JSON Schema that editors use is generated from these types.

mod transform;

use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Date, Level, Location, Marking, Timestamp};
pub use transform::{
    AppliesTo, Declassification, GeoGrain, OldKeys, PseudonymScope, Step, Transform, TransformResult,
};

/// One block with where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block<T> {
    /// The keys.
    pub value: T,
    /// The block's header.
    pub at: Location,
    /// Where each dotted key (`when.min_level`, `steps.0.op`, `domains.1`) has its value.
    pub keys: BTreeMap<String, Location>,
}

impl<T> Deref for Block<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Block<T> {
    /// Where that key's value stands, else the block.
    #[must_use]
    pub fn at_key(&self, dotted: &str) -> Location {
        self.keys.get(dotted).unwrap_or(&self.at).clone()
    }
}

/// A whole policy: every block of its files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// `[policy]`
    pub policy: Block<PolicyMeta>,
    /// `[defaults]`
    pub defaults: Block<Defaults>,
    /// `[[acknowledge]]`
    pub acknowledge: Vec<Block<Acknowledge>>,
    /// `[[producer]]`
    pub producer: Vec<Block<Producer>>,
    /// `[[perimeter]]`
    pub perimeter: Vec<Block<Perimeter>>,
    /// `[[domain]]`
    pub domain: Vec<Block<Domain>>,
    /// `[[target]]`
    pub target: Vec<Block<Target>>,
    /// `[[space]]`
    pub space: Vec<Block<Space>>,
    /// `[[source]]`
    pub source: Vec<Block<Source>>,
    /// `[[processing]]`
    pub processing: Vec<Block<Processing>>,
    /// `[[classify]]`
    pub classify: Vec<Block<Classify>>,
    /// `[[requirement]]`
    pub requirement: Vec<Block<Requirement>>,
    /// `[[transform]]`
    pub transform: Vec<Block<Transform>>,
    /// `[[copy]]`
    pub copy: Vec<Block<Copy>>,
    /// `[[derogation]]`
    pub derogation: Vec<Block<Derogation>>,
    /// `[[invariant]]`
    pub invariant: Vec<Block<Invariant>>,
    /// `[[test]]`
    pub test: Vec<Block<Test>>,
    /// Blocks with faults of their own: nothing of them stands above, but what
    /// names them is no undefined reference.
    pub unread: Vec<Unread>,
}

/// A block that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// `target`, `space`, …, or [`Unread::UNKNOWN`].
    pub block: &'static str,
    /// Its `id` (of a producer, its `siren`), where that much could be read.
    pub id: Option<String>,
}

impl Unread {
    /// Of a block whose header could not be read.
    pub const UNKNOWN: &'static str = "?";
}

/// One value or a list of them: any of them will do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// `"a"`
    One(T),
    /// `["a", "b"]`
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// `[policy]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct PolicyMeta {
    pub id: String,
    /// Dotted integers, increasing.
    pub version: String,
    pub title: String,
    /// INSEE code of the region.
    pub region: String,
    /// Vintage of the official geographic code.
    pub cog: u16,
    pub adopted_by: String,
    pub valid_from: Timestamp,
    pub review_before: Option<Date>,
    pub dpo: String,
    pub rssi: String,
    pub approvals_required: u8,
    /// Least number of distinct devices in an aggregate.
    pub k_min: u32,
}

/// `[[acknowledge]]`: a warning accepted on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Acknowledge {
    pub code: String,
    pub subject: String,
    pub by: String,
    pub because: String,
    pub expires: Date,
}

/// What happens to a doubt: quarantine is the only value below refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDoubt {
    /// Kept on the hub's own disk, treated as restricted.
    #[default]
    Quarantine,
}

/// What happens to a labelled message without an allowed target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNoTarget {
    /// Kept until a policy allows a target.
    #[default]
    Hold,
}

/// What happens to commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCommand {
    /// Not taken at all.
    #[default]
    Refuse,
}

/// `[defaults]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Defaults {
    #[serde(default)]
    pub no_rule_matches: OnDoubt,
    #[serde(default)]
    pub cannot_decode: OnDoubt,
    #[serde(default)]
    pub unknown_territory: OnDoubt,
    #[serde(default)]
    pub outside_perimeter: OnDoubt,
    #[serde(default)]
    pub no_allowed_target: OnNoTarget,
    /// ISO 8601 duration.
    pub hold_max: Option<String>,
    /// The target on whose premises the hub and its quarantine live.
    pub quarantine_target: String,
    /// ISO 8601 duration; absent: kept.
    pub quarantine_keep: Option<String>,
    #[serde(default)]
    pub commands_outbound: OnCommand,
}

/// The nature of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "administrative terms")]
pub enum ProducerKind {
    Commune,
    Epci,
    Metropole,
    Departement,
    Region,
    Syndicat,
    Prive,
}

/// `[[producer]]`: the public body a message belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Producer {
    pub siren: String,
    pub name: String,
    pub kind: ProducerKind,
    pub dpo: String,
    pub floor: Option<Level>,
}

/// The type of a perimeter, which is also a scale of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "administrative terms")]
pub enum Scale {
    Commune,
    Epci,
    Metropole,
    BassinMobilite,
    BassinVie,
    Departement,
    Region,
    Syndicat,
    Custom,
}

/// `[[perimeter]]`: the union of what its lists name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Perimeter {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: Scale,
    #[serde(default)]
    pub commune: Vec<String>,
    #[serde(default)]
    pub epci: Vec<String>,
    #[serde(default)]
    pub departement: Vec<String>,
    #[serde(default)]
    pub region: Vec<String>,
}

/// `[[domain]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Domain {
    pub id: String,
    pub label: String,
    /// In order of preference.
    pub scales: Vec<Scale>,
    #[serde(default)]
    pub essential_service: bool,
}

/// The kind of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum TargetKind {
    LocalRoom,
    PublicDc,
    TrustedCloud,
    CommercialCloud,
    OpenDataPortal,
}

/// Public or private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum Nature {
    Public,
    Private,
}

/// Who runs a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Operator {
    pub name: String,
    pub nature: Nature,
}

/// Exposure to law from outside the EU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum ExtraEuLaw {
    Immune,
    Exposed,
    /// Counts as exposed (C22).
    Unknown,
}

/// Shared with others, or dedicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum Tenancy {
    Shared,
    Dedicated,
}

/// An accreditation decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Homologation {
    /// Inclusive, UTC.
    pub until: Date,
    /// For restricted distribution.
    pub dr: bool,
}

/// A dated qualification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Qualification {
    pub scheme: String,
    /// Dotted integers.
    pub version: String,
    pub service: Option<String>,
    pub reference: String,
    /// Inclusive, UTC.
    pub valid_until: Date,
}

/// How to know that a target is itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Authenticity {
    pub ca: Option<String>,
    pub cluster_id: Option<String>,
    #[serde(default)]
    pub brokers: Vec<String>,
}

/// What hosting costs the climate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Sobriety {
    pub pue: Option<f64>,
    pub renewable: Option<f64>,
}

/// `[[target]]`: a place data can live, as legal facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Target {
    pub id: String,
    pub label: String,
    pub kind: TargetKind,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    pub operator: Operator,
    pub extra_eu_law: Option<ExtraEuLaw>,
    pub tenancy: Tenancy,
    pub processor_contract: Option<String>,
    pub homologation: Option<Homologation>,
    #[serde(default)]
    pub qualifications: Vec<Qualification>,
    /// May only lower what the requirements allow.
    pub max_level: Option<Level>,
    pub authenticity: Option<Authenticity>,
    pub reversibility: Option<String>,
    pub sobriety: Option<Sobriety>,
}

/// `[[space]]`: perimeter + domains, hosted on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Space {
    pub id: String,
    pub perimeter: String,
    pub domains: Vec<String>,
    pub target: String,
    pub managed_by: String,
    /// Default: the id.
    pub namespace: Option<String>,
}

/// The payload formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum Format {
    Json,
    #[serde(rename = "chirpstack-v4")]
    ChirpstackV4,
    #[serde(rename = "tts-v3")]
    TtsV3,
    Senml,
    NgsiLd,
    SparkplugB,
    Zigbee2mqtt,
    Tasmota,
    Shelly,
    Opaque,
}

/// A source's quota.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Quota {
    pub messages_per_second: Option<u32>,
    pub bytes_per_second: Option<u64>,
    pub journal_bytes: Option<u64>,
}

/// `[[source]]`: an authenticated identity and what it is bound to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Source {
    pub id: String,
    /// `cert:CN=…`, `cert:URI=…`, `user:…`
    pub identity: String,
    pub producer: String,
    pub format: Format,
    /// MQTT filters.
    pub topics: Vec<String>,
    pub domains: Vec<String>,
    /// `tag:<name>` or `topic:<level>`
    pub domain_from: Option<String>,
    pub commune: Option<String>,
    /// `tag:<name>` or `topic:<level>`
    pub commune_from: Option<String>,
    /// `topic:<level>` or `field:<path>`
    pub device_from: Option<String>,
    pub perimeter: String,
    pub floor: Option<Level>,
    pub quota: Option<Quota>,
    pub expires: Option<Date>,
}

/// `[[processing]]`: a processing of personal data (RGPD art. 30).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Processing {
    pub id: String,
    pub purpose: String,
    /// A SIREN, or `producer`.
    pub controller: String,
    pub legal_basis: String,
    pub data_subjects: Vec<String>,
    pub data_categories: Vec<String>,
    /// ISO 8601 duration.
    pub retention: String,
    pub dpia: Option<String>,
}

/// A scalar of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(missing_docs, reason = "as their names say")]
pub enum Value {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

/// Comparisons with one field; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "as their names say")]
pub struct Comparison {
    pub eq: Option<Value>,
    #[serde(rename = "in")]
    pub one_of: Option<Vec<Value>>,
    pub lt: Option<f64>,
    pub lte: Option<f64>,
    pub gt: Option<f64>,
    pub gte: Option<f64>,
    pub exists: Option<bool>,
    pub starts_with: Option<String>,
    pub contains: Option<String>,
}

/// The type of a leaf in a closed schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum LeafType {
    /// By name.
    Named(LeafTypeName),
    /// One of these words.
    In {
        /// The words.
        #[serde(rename = "in")]
        one_of: Vec<String>,
    },
}

/// The named types of a closed schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeafTypeName {
    /// A finite number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// RFC 3339 text, or a number of seconds or milliseconds.
    Time,
    /// At most 64 of `A-Za-z0-9._:+/-`.
    Token,
    /// The undecoded frame of a LoRaWAN uplink.
    Raw,
    /// Any text (never in a rule at `open`: C28).
    Text,
}

/// A condition: all keys must hold; a list is any-of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct When {
    pub source: Option<OneOrMany<String>>,
    pub producer: Option<OneOrMany<String>>,
    pub domain: Option<OneOrMany<String>>,
    pub format: Option<OneOrMany<Format>>,
    pub commune: Option<OneOrMany<String>>,
    pub perimeter: Option<OneOrMany<String>>,
    /// MQTT filters.
    pub topic: Option<OneOrMany<String>>,
    pub type_any: Option<Vec<String>>,
    pub measure_any: Option<Vec<String>>,
    pub field_any: Option<Vec<String>>,
    pub field_absent: Option<Vec<String>>,
    pub fields_within: Option<BTreeMap<String, LeafType>>,
    pub tags: Option<BTreeMap<String, OneOrMany<String>>>,
    pub field: Option<BTreeMap<String, Comparison>>,
    pub user_property: Option<BTreeMap<String, OneOrMany<String>>>,
    /// Bytes.
    pub payload_larger_than: Option<u64>,
    pub declared_sensitivity: Option<bool>,
}

/// The level a rule gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum RuleLevel {
    Open,
    Internal,
    Personal,
    Sensitive,
    Restricted,
    /// The sender's own word.
    Declared,
}

/// `[[classify]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Classify {
    pub id: String,
    pub when: When,
    pub level: RuleLevel,
    #[serde(default)]
    pub markings: Vec<Marking>,
    pub processing: Option<String>,
    pub because: Option<String>,
}

/// Which labels and targets a requirement concerns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct RequirementWhen {
    pub min_level: Option<Level>,
    pub marking: Option<Marking>,
    pub target_kind: Option<Vec<TargetKind>>,
}

/// What a target must be; all keys must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Must {
    pub processor_contract: Option<bool>,
    /// `"EEA"` or a list of countries.
    pub country_in: Option<OneOrMany<String>>,
    pub extra_eu_law: Option<ExtraEuLaw>,
    pub operator: Option<Nature>,
    pub tenancy: Option<Tenancy>,
    pub homologation_dr: Option<bool>,
    pub transformed: Option<bool>,
    /// `operator:public+homologation`, `secnumcloud>=3.2`, `hds>=2024`, …
    pub one_of: Option<Vec<String>>,
}

/// What stands behind a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum LegalStatus {
    Obligation,
    Pending,
    Doctrine,
}

/// `[[requirement]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Requirement {
    pub id: String,
    pub when: RequirementWhen,
    pub must: Must,
    pub because: String,
    pub legal_status: LegalStatus,
    pub from: Option<Date>,
    pub pending_from: Option<Date>,
}

/// `[[copy]]`: a second destination beside the primary space, never instead of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Copy {
    pub id: String,
    pub domains: Vec<String>,
    pub when: Option<When>,
    pub to: String,
    pub transform: Option<String>,
    pub max_level: Level,
    pub purpose: String,
    pub processing: Option<String>,
}

/// Where a derogation acts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct DerogationScope {
    pub source: Option<String>,
    pub space: Option<String>,
}

/// `[[derogation]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Derogation {
    pub requirement: String,
    pub scope: DerogationScope,
    pub reason: String,
    pub evidence: String,
    pub approved_by: Vec<String>,
    pub expires: Date,
}

/// How a message gets to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum Via {
    Primary,
    Copy,
    #[default]
    Any,
}

/// What must never be possible; all keys together describe it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Never {
    pub min_level: Option<Level>,
    pub marking: Option<Marking>,
    pub target: Option<OneOrMany<String>>,
    pub target_kind: Option<Vec<TargetKind>>,
    pub operator: Option<Nature>,
    /// `"EEA"` or a list of countries.
    pub country_not_in: Option<OneOrMany<String>>,
    pub transformed: Option<bool>,
    #[serde(default)]
    pub via: Via,
}

/// `[[invariant]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Invariant {
    pub id: String,
    pub never: Never,
}

/// Field names, or names with values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum GivenFields {
    /// Each taken to have the type that a rule lists.
    Names(Vec<String>),
    /// With their values.
    Values(BTreeMap<String, Value>),
}

/// What a test sends: abstract facts, or a payload's bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Given {
    pub source: String,
    pub topic: String,
    pub payload: Option<String>,
    pub tags: Option<BTreeMap<String, String>>,
    pub measures: Option<Vec<String>>,
    pub fields: Option<GivenFields>,
    #[serde(rename = "type")]
    pub kind: Option<OneOrMany<String>>,
    pub commune: Option<String>,
    pub declared: Option<String>,
}

/// What a test expects; only what is named is compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Expect {
    /// `routed`, `quarantined`, `held`, `refused`
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub level: Option<Level>,
    pub markings: Option<Vec<Marking>>,
    pub space: Option<String>,
    pub target: Option<String>,
    pub copies: Option<Vec<String>>,
    #[serde(default)]
    pub must_not_reach: Vec<String>,
}

/// `[[test]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Test {
    pub name: String,
    pub given: Given,
    pub expect: Expect,
    /// Default: `valid_from`.
    pub at: Option<Date>,
}
