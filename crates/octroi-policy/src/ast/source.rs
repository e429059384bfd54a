//! Who sends, bound by an authenticated identity, and for what processing.
//! Types only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Date, Level};

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
pub struct Quota {
    /// Messages a second.
    pub messages_per_second: Option<u32>,
    /// Bytes a second.
    pub bytes_per_second: Option<u64>,
    /// Bytes in the journal.
    pub journal_bytes: Option<u64>,
}

/// `[[source]]`: an authenticated identity and what it is bound to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name.
    pub id: String,
    /// What the connection proves: `cert:CN=…`, `cert:URI=…` or `user:…`; or `broker:…`, the hub's own connection to a
    /// broker, which answers for who publishes there.
    pub identity: String,
    /// The SIREN of the producer its messages belong to.
    pub producer: String,
    /// The format of its payloads.
    pub format: Format,
    /// The MQTT filters it may publish to.
    pub topics: Vec<String>,
    /// The domains its messages may be of.
    pub domains: Vec<String>,
    /// Where the sender writes the domain: `tag:<name>` or `topic:<level>`, counted from 0.
    pub domain_from: Option<String>,
    /// The INSEE code of all its messages.
    pub commune: Option<String>,
    /// Where the sender writes the commune: `tag:<name>` or `topic:<level>`, counted from 0.
    pub commune_from: Option<String>,
    /// Where the device's identifier stands: `topic:<level>` or `field:<path>`.
    pub device_from: Option<String>,
    /// The perimeter its messages must be of.
    pub perimeter: String,
    /// The least level of all that it sends.
    pub floor: Option<Level>,
    /// How much it may send.
    pub quota: Option<Quota>,
    /// The last day on which it may publish.
    pub expires: Option<Date>,
}

/// `[[processing]]`: a processing of personal data (RGPD art. 30).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Processing {
    /// Its name in the register.
    pub id: String,
    /// What the data is processed for.
    pub purpose: String,
    /// The controller: a SIREN, or `producer`.
    pub controller: String,
    /// The legal basis.
    pub legal_basis: String,
    /// Whose data it is.
    pub data_subjects: Vec<String>,
    /// What data it is.
    pub data_categories: Vec<String>,
    /// How long it is kept (ISO 8601 duration).
    pub retention: String,
    /// The reference of the impact assessment.
    pub dpia: Option<String>,
}
