//! What must never be possible, and the tests a policy carries. Types only.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Nature, OneOrMany, TargetKind, Value};
use crate::{Date, Level, Marking};

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
pub struct Never {
    /// Arriving at or above that level.
    pub min_level: Option<Level>,
    /// Arriving with that marking.
    pub marking: Option<Marking>,
    /// At one of these targets.
    pub target: Option<OneOrMany<String>>,
    /// At a target of one of these kinds.
    pub target_kind: Option<Vec<TargetKind>>,
    /// At a target whose operator is of that nature.
    pub operator: Option<Nature>,
    /// At a target outside these countries; `EEA` is a list.
    pub country_not_in: Option<OneOrMany<String>>,
    /// Transformed, or as it is.
    pub transformed: Option<bool>,
    /// As the primary, as a copy, or any way.
    #[serde(default)]
    pub via: Via,
}

/// `[[invariant]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Invariant {
    /// Its name.
    pub id: String,
    /// What must never be possible; all keys together describe it.
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
pub struct Given {
    /// The source that sends.
    pub source: String,
    /// The topic it sends to.
    pub topic: String,
    /// The payload's bytes; excludes the keys below but `declared`.
    pub payload: Option<String>,
    /// Its tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// Its measures.
    pub measures: Option<Vec<String>>,
    /// Its fields: names, or names with values.
    pub fields: Option<GivenFields>,
    /// Its type, or types.
    #[serde(rename = "type")]
    pub kind: Option<OneOrMany<String>>,
    /// Its commune, where the source reads it from a tag.
    pub commune: Option<String>,
    /// The sensitivity that the sender declares.
    pub declared: Option<String>,
}

/// What a test expects; only what is named is compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// `routed`, `quarantined`, `held` or `refused`.
    pub outcome: Option<String>,
    /// The reason of what is not routed.
    pub reason: Option<String>,
    /// The level.
    pub level: Option<Level>,
    /// All the markings.
    pub markings: Option<Vec<Marking>>,
    /// The space it goes to, or waits for.
    pub space: Option<String>,
    /// The space's target.
    pub target: Option<String>,
    /// All the copies that go.
    pub copies: Option<Vec<String>>,
    /// Targets that it must not reach, in whatever way.
    #[serde(default)]
    pub must_not_reach: Vec<String>,
}

/// `[[test]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What it shows, in a sentence.
    pub name: String,
    /// What is sent.
    pub given: Given,
    /// What must come; only what is named is compared.
    pub expect: Expect,
    /// The day on which it runs; default: `valid_from`.
    pub at: Option<Date>,
}
