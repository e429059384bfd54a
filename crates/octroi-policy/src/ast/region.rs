//! Who and where: the policy itself, what a doubt becomes, producers,
//! perimeters, domains. Types only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Date, Level, Timestamp};

/// `[policy]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyMeta {
    /// The policy's name, in records and headers.
    pub id: String,
    /// Dotted integers, increasing.
    pub version: String,
    /// What people call it.
    pub title: String,
    /// INSEE code of the region.
    pub region: String,
    /// Vintage of the official geographic code.
    pub cog: u16,
    /// The decision that adopted it.
    pub adopted_by: String,
    /// From when on it holds; tests without a day of their own run then.
    pub valid_from: Timestamp,
    /// When it must be looked at again.
    pub review_before: Option<Date>,
    /// Data protection officer.
    pub dpo: String,
    /// Information security officer.
    pub rssi: String,
    /// How many must approve a change, its author aside.
    pub approvals_required: u8,
    /// Least number of distinct devices in an aggregate.
    pub k_min: u32,
}

/// `[[acknowledge]]`: a warning accepted on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The code that the warning carries, as `C27`.
    pub code: String,
    /// What the warning is about: the id it names.
    pub subject: String,
    /// Who accepts it.
    pub by: String,
    /// Why.
    pub because: String,
    /// The last day it counts.
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
pub struct Defaults {
    /// A message that no rule classifies.
    #[serde(default)]
    pub no_rule_matches: OnDoubt,
    /// A payload that cannot be read.
    #[serde(default)]
    pub cannot_decode: OnDoubt,
    /// A message whose commune is unknown.
    #[serde(default)]
    pub unknown_territory: OnDoubt,
    /// A commune outside the source's perimeter.
    #[serde(default)]
    pub outside_perimeter: OnDoubt,
    /// A labelled message that no target may have.
    #[serde(default)]
    pub no_allowed_target: OnNoTarget,
    /// How long a message is held before it goes to quarantine (ISO 8601 duration).
    pub hold_max: Option<String>,
    /// The target on whose premises the hub and its quarantine live.
    pub quarantine_target: String,
    /// How long quarantine is kept before it is purged (ISO 8601 duration); absent: kept.
    pub quarantine_keep: Option<String>,
    /// Commands towards devices.
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
pub struct Producer {
    /// Its SIREN, nine digits in quotes.
    pub siren: String,
    /// Its name.
    pub name: String,
    /// What body it is.
    pub kind: ProducerKind,
    /// Its data protection officer.
    pub dpo: String,
    /// The least level of all that it produces.
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
pub struct Perimeter {
    /// Its name.
    pub id: String,
    /// Its type, which is the scale of its spaces.
    #[serde(rename = "type")]
    pub kind: Scale,
    /// INSEE codes of communes.
    #[serde(default)]
    pub commune: Vec<String>,
    /// SIRENs of EPCIs.
    #[serde(default)]
    pub epci: Vec<String>,
    /// Codes of départements.
    #[serde(default)]
    pub departement: Vec<String>,
    /// INSEE codes of regions.
    #[serde(default)]
    pub region: Vec<String>,
}

/// `[[domain]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Its name.
    pub id: String,
    /// What people call it.
    pub label: String,
    /// Types of perimeter on which it is shared, in order of preference.
    pub scales: Vec<Scale>,
    /// Whether all its messages carry the marking `essential_service`.
    #[serde(default)]
    pub essential_service: bool,
}
