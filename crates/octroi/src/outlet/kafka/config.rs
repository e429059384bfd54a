//! How a Kafka target is reached: what an operator may say, what is checked of
//! it without connecting, and the client library's settings, most of which have
//! one right answer and are constants.

use std::collections::BTreeMap;
use std::net::IpAddr;

use octroi_policy::Timestamp;
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use x509_parser::pem::parse_x509_pem;

use super::topic;

/// How a Kafka target is reached.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    /// What brokers log: the hub's id.
    pub client_id: String,
    /// How an event's attributes travel.
    pub headers: Headers,
    /// Topic of a record, see [`KafkaConfig::DEFAULT_TOPIC`].
    pub topic: String,
    /// Of batches.
    pub compression: Compression,
    /// How long a batch waits to fill: 20 near, 50–100 for a far cloud.
    pub linger_ms: u32,
    /// `None`: plaintext, which is for loopback only unless `insecure`.
    pub tls: Option<KafkaTls>,
    /// `None`: the client certificate is the identity, or there is none.
    pub sasl: Option<KafkaSasl>,
    /// Allows plaintext beyond loopback.
    pub insecure: bool,
    /// The cluster's id, if it is pinned: no record leaves for another cluster.
    pub cluster_id: Option<String>,
    /// The brokers that the cluster may send us to, see [`KafkaConfig::allows`]; empty: any.
    pub allowed_brokers: Vec<String>,
    /// Further librdkafka properties, of [`KafkaConfig::PROPERTIES`] alone.
    pub properties: BTreeMap<String, String>,
}

/// How an event's attributes travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Headers {
    /// `content-type`, `ce_id` and `ce_level`: what a consumer needs to de-duplicate and to be careful.
    Minimal,
    /// CloudEvents Kafka binding, binary mode: every attribute.
    #[default]
    CloudEvents,
    /// CloudEvents Kafka binding, structured mode: the value is the JSON event.
    Structured,
}

/// Compression of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// None.
    None,
    /// For a near target.
    #[default]
    Lz4,
    /// For a far one.
    Zstd,
}

/// TLS to the brokers; PEM text, not paths.
#[derive(Clone)]
pub struct KafkaTls {
    /// The authorities that may sign a broker's certificate; no other is trusted.
    pub ca: String,
    /// The client's certificate chain and its key.
    pub client: Option<(String, String)>,
}

/// A user known by password.
#[derive(Clone)]
pub struct KafkaSasl {
    /// Mechanism.
    pub mechanism: SaslMechanism,
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// SASL mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// Only over TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Salted challenge, SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Salted challenge, SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// What is wrong with a Kafka outlet's configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// None given.
    #[error("`brokers` is empty; write `brokers = [\"kafka.example:9093\"]`")]
    NoBrokers,
    /// Not `host:port`.
    #[error("broker `{0}` is not `host:port`")]
    Broker(String),
    /// Records, or a password, would cross a network in the clear.
    #[error(
        "broker `{0}` is not on loopback and `tls` is missing; add `tls = {{ ca = … }}`, or `insecure = true`"
    )]
    Plaintext(String),
    /// No pattern of brokers.
    #[error("`allowed_brokers`: `{0}` is neither `host`, `host:port` nor `*.domain`")]
    AllowedBroker(String),
    /// A template that cannot give topic names.
    #[error("topic `{template}`: {problem}")]
    Topic {
        /// As written.
        template: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Not PEM.
    #[error("`tls.{0}` is not PEM text (`-----BEGIN …`); check what its reference points to")]
    Pem(&'static str),
    /// Not on the list.
    #[error("property `{0}` cannot be set; these can: {allowed}", allowed = KafkaConfig::PROPERTIES.join(", "))]
    Property(String),
    /// The client library refuses it.
    #[error("the Kafka client refuses the configuration: {0}")]
    Client(String),
}

/// Beyond this the relay quarantines; brokers commonly allow 1 MiB, and say so themselves.
const MESSAGE_BYTES_MAX: &str = "16777216";

impl KafkaConfig {
    /// One topic per level, so that prefix ACLs follow sensitivity. `{space}` may be used too.
    pub const DEFAULT_TOPIC: &'static str = "{namespace}.{domain}.{level}.v1";

    /// The librdkafka properties that depend on a site's network and on nothing else.
    pub const PROPERTIES: [&'static str; 4] = [
        "broker.address.family",
        "connections.max.idle.ms",
        "metadata.max.age.ms",
        "socket.keepalive.enable",
    ];

    /// What can be said without connecting.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), OpenError> {
        if self.brokers.is_empty() {
            return Err(OpenError::NoBrokers);
        }
        for broker in &self.brokers {
            let Some(host) = host_of(broker) else { return Err(OpenError::Broker(broker.clone())) };
            if self.tls.is_none() && !self.insecure && !is_loopback(host) {
                return Err(OpenError::Plaintext(broker.clone()));
            }
        }
        if let Some(pattern) = self.allowed_brokers.iter().find(|pattern| !is_pattern(pattern)) {
            return Err(OpenError::AllowedBroker(pattern.clone()));
        }
        topic::check(&self.topic)
            .map_err(|problem| OpenError::Topic { template: self.topic.clone(), problem })?;
        if let Some(tls) = &self.tls {
            let (certificate, key) = tls.client.as_ref().map_or(("", ""), |(c, k)| (c, k));
            let pems = [("ca", tls.ca.as_str()), ("certificate", certificate), ("key", key)];
            for (name, pem) in pems.iter().take(if tls.client.is_some() { 3 } else { 1 }) {
                if !pem.contains("-----BEGIN ") {
                    return Err(OpenError::Pem(name));
                }
            }
        }
        match self.properties.keys().find(|name| !Self::PROPERTIES.contains(&name.as_str())) {
            Some(name) => Err(OpenError::Property(name.clone())),
            None => self
                .client()
                .create_native_config()
                .map(drop)
                .map_err(|error| OpenError::Client(error.to_string())),
        }
    }

    /// Whether the cluster may send us to that broker (`host:port`). A pattern is `host`, `host:port`, or
    /// `*.domain` for every name below a domain.
    #[must_use]
    pub fn allows(&self, broker: &str) -> bool {
        let host = host_of(broker);
        self.allowed_brokers.is_empty()
            || self.allowed_brokers.iter().any(|pattern| match pattern.strip_prefix('*') {
                Some(domain) => host.is_some_and(|host| host.len() > domain.len() && host.ends_with(domain)),
                None => pattern == broker || host == Some(pattern),
            })
    }

    /// Whether the target's identity is asked for before anything is sent.
    pub(super) fn is_pinned(&self) -> bool {
        self.cluster_id.is_some() || !self.allowed_brokers.is_empty()
    }

    /// The last moment of the hub's own certificate, if it has one that can be read.
    pub(super) fn certificate_ends(&self) -> Option<Timestamp> {
        let (certificate, _) = self.tls.as_ref()?.client.as_ref()?;
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).ok()?;
        let seconds = pem.parse_x509().ok()?.validity().not_after.timestamp();
        Some(Timestamp(seconds.saturating_mul(1_000_000)))
    }

    /// For commands that are shown.
    pub(super) fn server(&self) -> &str {
        self.brokers.first().map_or("", String::as_str)
    }

    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A finite one makes silent holes: a record that timed out is gone while later ones arrive.
            .set("message.timeout.ms", "0")
            .set("linger.ms", self.linger_ms.to_string())
            .set("batch.size", "524288")
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            .set("compression.type", self.compression.name())
            // The journal is the buffer.
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "65536")
            // Java's, so that other producers' keys meet ours.
            .set("partitioner", "murmur2_random")
            .set("allow.auto.create.topics", "false")
            // Until a topic is said to be missing; nothing is lost by it, for it is tried for ever.
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("reconnect.backoff.max.ms", "10000")
            // Tells which brokers the cluster names: at most so late is a stranger noticed.
            .set("statistics.interval.ms", if self.allowed_brokers.is_empty() { "5000" } else { "1000" });
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), None) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            client.set("ssl.ca.pem", &tls.ca).set("ssl.endpoint.identification.algorithm", "https");
            if let Some((certificate, key)) = &tls.client {
                client.set("ssl.certificate.pem", certificate).set("ssl.key.pem", key);
            }
        }
        if let Some(sasl) = &self.sasl {
            client
                .set("sasl.mechanism", sasl.mechanism.name())
                .set("sasl.username", &sasl.username)
                .set("sasl.password", &sasl.password);
        }
        client
    }
}

impl Compression {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl SaslMechanism {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

fn host_of(broker: &str) -> Option<&str> {
    let (host, port) = broker.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = !host.is_empty() && !host.contains(['/', ',', ' ']);
    (plain && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(host)
}

fn is_pattern(pattern: &str) -> bool {
    let plain = |host: &str| !host.is_empty() && !host.contains(['/', ',', ' ', '*']);
    match pattern.strip_prefix("*.") {
        Some(domain) => plain(domain) && !domain.contains(':'),
        None => host_of(pattern).is_some_and(plain) || (plain(pattern) && !pattern.contains(':')),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl std::fmt::Debug for KafkaTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaTls").field("client", &self.client.is_some()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for KafkaSasl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSasl").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}
