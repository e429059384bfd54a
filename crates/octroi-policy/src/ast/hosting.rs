//! Where data may live: targets as legal facts, spaces hosted on them. Types
//! only: what a target must be is in `duties.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Date, Level};

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
pub struct Operator {
    /// Its name.
    pub name: String,
    /// Public or private.
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
    /// The last day it holds (UTC).
    pub until: Date,
    /// Whether it covers restricted distribution.
    pub dr: bool,
}

/// A dated qualification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Qualification {
    /// The scheme, in lower case: `secnumcloud`, `hds`, `iso27001`.
    pub scheme: String,
    /// Its version, in dotted integers.
    pub version: String,
    /// The service it covers.
    pub service: Option<String>,
    /// The certificate's reference.
    pub reference: String,
    /// The last day it holds (UTC).
    pub valid_until: Date,
}

/// How to know that a target is itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authenticity {
    /// The certification authority of its brokers.
    pub ca: Option<String>,
    /// The identifier of its Kafka cluster.
    pub cluster_id: Option<String>,
    /// Its brokers, `host:port`.
    #[serde(default)]
    pub brokers: Vec<String>,
}

/// What hosting costs the climate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sobriety {
    /// Power usage effectiveness.
    pub pue: Option<f64>,
    /// Share of renewable energy, from 0 to 1.
    pub renewable: Option<f64>,
}

/// `[[target]]`: a place data can live, as legal facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name, as the configuration's `[outlet.<id>]` has it.
    pub id: String,
    /// What people call it.
    pub label: String,
    /// What kind of hosting it is.
    pub kind: TargetKind,
    /// The country it stands in, ISO 3166-1 alpha-2.
    pub country: String,
    /// Who runs it.
    pub operator: Operator,
    /// Exposure to law from outside the EU; absent or unknown counts as exposed.
    pub extra_eu_law: Option<ExtraEuLaw>,
    /// Shared with others, or dedicated.
    pub tenancy: Tenancy,
    /// The reference of the contract with the processor (RGPD art. 28).
    pub processor_contract: Option<String>,
    /// The accreditation of the premises.
    pub homologation: Option<Homologation>,
    /// Dated qualifications; one past its date does not count.
    #[serde(default)]
    pub qualifications: Vec<Qualification>,
    /// The highest level it may get: may only lower what the requirements allow.
    pub max_level: Option<Level>,
    /// How to know that it is itself.
    pub authenticity: Option<Authenticity>,
    /// The clause by which data can be had back.
    pub reversibility: Option<String>,
    /// What it costs the climate.
    pub sobriety: Option<Sobriety>,
}

/// `[[space]]`: perimeter + domains, hosted on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Its name.
    pub id: String,
    /// The perimeter it covers.
    pub perimeter: String,
    /// The domains it serves.
    pub domains: Vec<String>,
    /// The one target it is hosted on.
    pub target: String,
    /// The SIREN of the body that governs it.
    pub managed_by: String,
    /// The prefix of its topics; default: the id.
    pub namespace: Option<String>,
}
