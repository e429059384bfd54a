//! Conditions, and the rules that give a label where they hold. Types only.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Format, OneOrMany};
use crate::Marking;

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
pub struct Comparison {
    /// Equal to that value.
    pub eq: Option<Value>,
    /// Equal to one of these values.
    #[serde(rename = "in")]
    pub one_of: Option<Vec<Value>>,
    /// Less than that number.
    pub lt: Option<f64>,
    /// At most that number.
    pub lte: Option<f64>,
    /// More than that number.
    pub gt: Option<f64>,
    /// At least that number.
    pub gte: Option<f64>,
    /// Whether the field is there at all.
    pub exists: Option<bool>,
    /// Text that begins so.
    pub starts_with: Option<String>,
    /// Text that contains that.
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
pub struct When {
    /// The source is one of these.
    pub source: Option<OneOrMany<String>>,
    /// The producer's SIREN is one of these.
    pub producer: Option<OneOrMany<String>>,
    /// The domain is one of these.
    pub domain: Option<OneOrMany<String>>,
    /// The format is one of these.
    pub format: Option<OneOrMany<Format>>,
    /// The commune's INSEE code is one of these.
    pub commune: Option<OneOrMany<String>>,
    /// The commune lies in one of these perimeters.
    pub perimeter: Option<OneOrMany<String>>,
    /// The topic matches one of these MQTT filters.
    pub topic: Option<OneOrMany<String>>,
    /// It has one of these types.
    pub type_any: Option<Vec<String>>,
    /// It has one of these measures.
    pub measure_any: Option<Vec<String>>,
    /// One of these names stands on the path of a field.
    pub field_any: Option<Vec<String>>,
    /// None of these names stands on the path of a field.
    pub field_absent: Option<Vec<String>>,
    /// A closed schema: every field is listed here, with its type.
    pub fields_within: Option<BTreeMap<String, LeafType>>,
    /// Each tag has that value, or one of those.
    pub tags: Option<BTreeMap<String, OneOrMany<String>>>,
    /// Each field compares as said.
    pub field: Option<BTreeMap<String, Comparison>>,
    /// Each MQTT 5 user property has that value, or one of those.
    pub user_property: Option<BTreeMap<String, OneOrMany<String>>>,
    /// The payload has more bytes than that.
    pub payload_larger_than: Option<u64>,
    /// Whether the sender declares a sensitivity.
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
pub struct Classify {
    /// Its name.
    pub id: String,
    /// Which messages it classifies.
    pub when: When,
    /// The level it gives; `declared`: the sender's own word, which only raises.
    pub level: RuleLevel,
    /// The markings it gives.
    #[serde(default)]
    pub markings: Vec<Marking>,
    /// The processing the data belongs to.
    pub processing: Option<String>,
    /// Why, for those who ask.
    pub because: Option<String>,
}
