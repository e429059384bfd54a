//! The configuration as typed. Every key is optional here, so that each file
//! and each variable can give a part; `config.rs` says what must be there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::broker::RawBroker;
use super::{ConfigError, Environment};
use crate::outlet::kafka::{Compression, Headers, SaslMechanism};

/// `octroi.toml`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// The hub itself.
    pub hub: Option<RawHub>,
    /// MQTT listeners; those of a later file replace those of an earlier one.
    pub listener: Option<Vec<RawListener>>,
    /// Existing brokers to take messages from, by a name of the hub's own.
    pub broker: Option<BTreeMap<String, RawBroker>>,
    /// How many may be connected.
    pub connections: Option<RawConnections>,
    /// The journal.
    pub journal: Option<RawJournal>,
    /// Metrics, health, API, console.
    pub http: Option<RawHttp>,
    /// How to reach each target of the policy, by its id.
    pub outlet: Option<BTreeMap<String, RawOutlet>>,
    /// The log.
    pub log: Option<RawLog>,
}

/// `[hub]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHub {
    /// Part of every message id.
    pub id: Option<String>,
    /// Journal, state, side logs, policy versions.
    pub data_dir: Option<String>,
    /// A directory of `*.toml`, or one file.
    pub policy: Option<String>,
    /// Pseudonymisation keys that the policy names; default `keys/`.
    pub keys_dir: Option<String>,
}

/// `[[listener]]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawListener {
    /// Address and port.
    pub bind: Option<String>,
    /// Default `tcp`.
    pub transport: Option<Carrier>,
    /// Web pages that may connect by `websocket`, as their `Origin`; default none.
    pub origins: Option<Vec<String>>,
    /// Who a client is.
    pub identify_by: Option<Identify>,
    /// `file:` with a line `user:$argon2id$…` each, for `password`.
    pub passwords: Option<String>,
    /// TLS.
    pub tls: Option<RawTls>,
}

/// What carries MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// The connection itself.
    Tcp,
    /// WebSocket, subprotocol `mqtt`.
    WebSocket,
}

/// Where an identity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identify {
    /// The client certificate.
    Certificate,
    /// User name and password.
    Password,
    /// The user name is the source's id: loopback only.
    UsernameOnly,
}

/// `tls = { … }` of a listener.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// PEM chain.
    pub certificate: Option<String>,
    /// PEM key.
    pub key: Option<String>,
    /// PEM authorities of client certificates.
    pub client_ca: Option<String>,
    /// PEM revocation lists.
    pub crl: Option<String>,
}

/// `[connections]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConnections {
    /// The most in all; default 20,000.
    pub limit: Option<u64>,
    /// The most of one source; default 12,000.
    pub per_source: Option<u64>,
    /// The most of one address; default 2,000.
    pub per_address: Option<u64>,
}

/// `[journal]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawJournal {
    /// The most it may take, `20 GiB`; default `10 GiB`.
    pub limit: Option<String>,
    /// The most the quarantine may take; default an eighth of `limit`, at least `64 MiB`.
    pub quarantine_limit: Option<String>,
    /// The most the hold log may take; default an eighth of `limit`, at least `64 MiB`.
    pub hold_limit: Option<String>,
    /// The most the backlog of each target may take; default half of `limit`, at least `64 MiB`.
    pub backlog_limit: Option<String>,
    /// The most percent of `limit` that the messages of one source may take; default 50.
    pub source_share: Option<u64>,
}

/// `[http]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHttp {
    /// Default `127.0.0.1:9464`.
    pub bind: Option<String>,
}

/// `[log]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLog {
    /// `error`, `warn`, `info` (default), `debug`, `trace`, or a filter.
    pub level: Option<String>,
    /// `text` (default) or `json`.
    pub format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// `[outlet.<target>]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "there are as many as targets, for the moment of a start")]
pub enum RawOutlet {
    /// Files in a directory.
    Archive {
        /// Where.
        directory: String,
        /// How long a batch may wait to fill; default 5,000, at most 10,000.
        linger_ms: Option<u32>,
    },
    /// A Kafka cluster.
    Kafka {
        /// `host:port` of at least one broker.
        brokers: Vec<String>,
        /// What CloudEvents attributes ride along.
        headers: Option<Headers>,
        /// Template; default `{namespace}.{domain}.{level}.v1`.
        topic: Option<String>,
        /// Default `lz4`.
        compression: Option<Compression>,
        /// How long a batch may wait to fill; default 20, for a far cloud 50 to 100.
        linger_ms: Option<u32>,
        /// TLS; without it, plain text, which is for loopback only.
        tls: Option<RawClientTls>,
        /// SASL.
        sasl: Option<RawSasl>,
        /// Allows plain text beyond loopback.
        insecure: Option<bool>,
        /// The cluster's id: no record leaves for another cluster.
        cluster_id: Option<String>,
        /// The brokers that the cluster may send the hub to.
        allowed_brokers: Option<Vec<String>>,
        /// Further librdkafka properties, of a short list.
        properties: Option<BTreeMap<String, String>>,
    },
}

/// `tls = { … }` of a Kafka outlet or a broker.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawClientTls {
    /// PEM authority.
    pub ca: String,
    /// PEM client certificate.
    pub certificate: Option<String>,
    /// PEM client key.
    pub key: Option<String>,
}

/// `sasl = { … }` of a Kafka outlet.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSasl {
    /// Default `SCRAM-SHA-512`.
    pub mechanism: Option<SaslMechanism>,
    /// Who.
    pub username: String,
    /// Reference to the secret.
    pub password: String,
}

macro_rules! overlay {
    ($under:expr, $over:expr, $($field:ident),*) => {{
        let over = $over;
        $(if over.$field.is_some() { $under.$field = over.$field; })*
    }};
}

impl RawConfig {
    /// Puts `over` on top, key by key.
    pub fn overlay(&mut self, over: Self) {
        if let Some(hub) = over.hub {
            overlay!(self.hub.get_or_insert_default(), hub, id, data_dir, policy, keys_dir);
        }
        if over.listener.is_some() {
            self.listener = over.listener;
        }
        if let Some(connections) = over.connections {
            let under = self.connections.get_or_insert_default();
            overlay!(under, connections, limit, per_source, per_address);
        }
        if let Some(journal) = over.journal {
            let under = self.journal.get_or_insert_default();
            overlay!(under, journal, limit, quarantine_limit, hold_limit, backlog_limit, source_share);
        }
        if let Some(http) = over.http {
            overlay!(self.http.get_or_insert_default(), http, bind);
        }
        if let Some(log) = over.log {
            overlay!(self.log.get_or_insert_default(), log, level, format);
        }
        if let Some(brokers) = over.broker {
            self.broker.get_or_insert_default().extend(brokers);
        }
        if let Some(outlets) = over.outlet {
            self.outlet.get_or_insert_default().extend(outlets);
        }
    }
}

/// `OCTROI__SECTION__KEY` variables, one layer each. Only the plain sections: lists and outlets are files'.
///
/// # Errors
/// A variable that names no key.
pub(super) fn overrides(environment: &Environment) -> Result<Vec<RawConfig>, ConfigError> {
    let named =
        environment.iter().filter_map(|(name, value)| Some((name, name.strip_prefix("OCTROI__")?, value)));
    named
        .map(|(name, path, value)| {
            let fail = |reason: String| ConfigError::Override { name: name.clone(), reason };
            let (section, key) =
                path.split_once("__").ok_or_else(|| fail("write `OCTROI__SECTION__KEY`".into()))?;
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
            let document = |value: toml::Value| {
                let table = toml::Table::from_iter([(key.clone(), value)]);
                toml::Table::from_iter([(section.clone(), toml::Value::Table(table))])
            };
            let as_text: Result<RawConfig, _> = document(toml::Value::String(value.clone())).try_into();
            as_text.or_else(|error: toml::de::Error| {
                let as_number = value.parse().map(|number| document(toml::Value::Integer(number)).try_into());
                as_number.ok().and_then(Result::ok).ok_or_else(|| fail(error.message().to_owned()))
            })
        })
        .collect()
}

/// The JSON Schema that `octroi init` puts beside the configuration.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(RawConfig).to_value()
}

/// Every key with what it is, for the README's table (a test holds the two equal).
pub const KEYS: &[(&str, &str)] = &[
    ("hub.id", "part of every message id"),
    ("hub.data_dir", "journal, state, side logs and policy versions"),
    ("hub.policy", "the candidate policy: a directory of `*.toml`, or one file"),
    ("hub.keys_dir", "pseudonymisation keys that the policy names; default `keys/` beside the configuration"),
    ("listener[].bind", "address and port"),
    ("listener[].transport", "`tcp` (default) or `websocket` (subprotocol `mqtt`); with `tls`, over TLS"),
    (
        "listener[].origins",
        "websocket: web pages that may connect, `https://host`; default none. Without `Origin`, it is no page",
    ),
    ("listener[].identify_by", "`certificate`, `password`, or `username-only` (loopback)"),
    ("listener[].passwords", "`file:` with a line `user:$argon2id$…` each"),
    ("listener[].tls.certificate", "`file:` PEM chain"),
    ("listener[].tls.key", "`file:` PEM key"),
    ("listener[].tls.client_ca", "`file:` PEM authorities of client certificates"),
    ("listener[].tls.crl", "`file:` PEM revocation lists"),
    ("broker.<name>.url", "`mqtts://host:port` of an existing broker; `mqtt://` on loopback"),
    ("broker.<name>.version", "`5` (default) or `3.1.1`"),
    ("broker.<name>.client_id", "the session's name there; default `octroi-<hub.id>-<name>`"),
    ("broker.<name>.username", "who the hub is there"),
    ("broker.<name>.password", "`file:`, `env:` or `cred:` reference"),
    (
        "broker.<name>.subscriptions",
        "topic filters, taken at QoS 1; `$share/group/filter`: shared by several hubs",
    ),
    ("broker.<name>.receive_maximum", "messages that may await their acknowledgement; default 1,000"),
    (
        "broker.<name>.session_expiry_s",
        "MQTT 5: how long the broker keeps what comes while the hub is away; default 604,800, a week",
    ),
    ("broker.<name>.tls.ca", "`file:` PEM authority"),
    ("broker.<name>.tls.certificate", "`file:` PEM client certificate"),
    ("broker.<name>.tls.key", "`file:` PEM client key"),
    ("broker.<name>.insecure", "`true` allows plain text beyond loopback"),
    ("connections.limit", "the most MQTT connections in all; default 20000"),
    (
        "connections.per_source",
        "the most of one source, sessions taken over not counted twice; default 12000",
    ),
    ("connections.per_address", "the most of one address, in IPv6 of one /64; default 2000"),
    ("journal.limit", "the most the journal may take; default `10 GiB`"),
    ("journal.quarantine_limit", "the most the quarantine may take; default an eighth of `journal.limit`"),
    ("journal.hold_limit", "the most the hold log may take; default an eighth of `journal.limit`"),
    (
        "journal.backlog_limit",
        "the most the backlog of each target may take; default half of `journal.limit`",
    ),
    (
        "journal.source_share",
        "the most percent of `journal.limit` that one source's messages may take; default 50",
    ),
    ("http.bind", "metrics, health, API and console; default `127.0.0.1:9464`"),
    ("outlet.<target>.kind", "`archive` or `kafka`"),
    ("outlet.<target>.directory", "archive: where the files go"),
    ("outlet.<target>.brokers", "kafka: `host:port` of at least one broker"),
    ("outlet.<target>.headers", "kafka: `cloudevents` (default), `minimal`, `structured`"),
    ("outlet.<target>.topic", "kafka: template; default `{namespace}.{domain}.{level}.v1`"),
    ("outlet.<target>.compression", "kafka: `lz4` (default), `zstd`, `none`"),
    (
        "outlet.<target>.linger_ms",
        "how long a batch may wait to fill; default 20 for kafka, 5,000 for an archive (at most 10,000)",
    ),
    ("outlet.<target>.tls.ca", "kafka: `file:` PEM authority"),
    ("outlet.<target>.tls.certificate", "kafka: `file:` PEM client certificate"),
    ("outlet.<target>.tls.key", "kafka: `file:` PEM client key"),
    ("outlet.<target>.sasl.mechanism", "kafka: `SCRAM-SHA-512` (default), `SCRAM-SHA-256` or `PLAIN`"),
    ("outlet.<target>.sasl.username", "kafka: who"),
    ("outlet.<target>.sasl.password", "kafka: `file:`, `env:` or `cred:` reference"),
    ("outlet.<target>.insecure", "kafka: `true` allows plain text beyond loopback"),
    ("outlet.<target>.cluster_id", "kafka: the cluster's id; no record leaves for another cluster"),
    (
        "outlet.<target>.allowed_brokers",
        "kafka: brokers that the cluster may name: `host`, `host:port`, `*.domain`; default any",
    ),
    ("outlet.<target>.properties", "kafka: further librdkafka properties, of a short list"),
    ("log.level", "`error`, `warn`, `info` (default), `debug`, `trace`, or a filter"),
    ("log.format", "`text` (default) or `json`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(schema: &serde_json::Value, root: &serde_json::Value, path: &str, out: &mut Vec<String>) {
        if let Some(reference) = schema.get("$ref").and_then(|r| r.as_str()) {
            return leaves(root.pointer(reference.trim_start_matches('#')).unwrap(), root, path, out);
        }
        for key in ["anyOf", "oneOf"] {
            for branch in schema.get(key).and_then(|b| b.as_array()).into_iter().flatten() {
                leaves(branch, root, path, out);
            }
        }
        if let Some(items) = schema.get("items").filter(|_| path == "listener") {
            return leaves(items, root, "listener[]", out);
        }
        for (table, entry) in [("outlet", "outlet.<target>"), ("broker", "broker.<name>")] {
            let values =
                schema.get("additionalProperties").filter(|values| path == table && values.is_object());
            if let Some(values) = values {
                return leaves(values, root, entry, out);
            }
        }
        let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) else {
            if schema.get("anyOf").is_none() && schema.get("oneOf").is_none() && schema["type"] != "null" {
                out.push(path.to_owned());
            }
            return;
        };
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(property, root, &path, out);
        }
    }

    #[test]
    fn the_table_of_keys_is_complete() {
        let root = json_schema();
        let mut found = Vec::new();
        leaves(&root, &root, "", &mut found);
        found.retain(|path| path.contains('.'));
        let found: std::collections::BTreeSet<&str> = found.iter().map(String::as_str).collect();
        let listed: std::collections::BTreeSet<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        let missing: Vec<_> = found.difference(&listed).collect();
        let stale: Vec<_> = listed.difference(&found).collect();
        assert!(missing.is_empty() && stale.is_empty(), "missing {missing:?}, stale {stale:?}");
    }
}
