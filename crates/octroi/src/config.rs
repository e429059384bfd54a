//! Configuration: what was typed ([`raw`]) becomes what it means ([`Config`])
//! once, here. The policy lives apart: it says what a target is; this says how
//! to reach it.
//!
//! Secrets are references (`file:`, `env:`, `cred:`), read at start and never
//! printed. The environment is an argument: `main.rs` reads it.

pub mod broker;
pub mod raw;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::admission::Caps;
use crate::limits;
use crate::outlet::kafka::{KafkaConfig, KafkaSasl, KafkaTls, SaslMechanism};
pub use broker::{BrokerConfig, BrokerTls};
pub use raw::{KEYS, RawConfig, json_schema};

/// The environment, as `main.rs` read it.
pub type Environment = BTreeMap<String, String>;

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The hub's id: part of every message id.
    pub hub: String,
    /// Where journal, state, side logs and policy versions live.
    pub data_dir: PathBuf,
    /// The candidate policy.
    pub policy: PathBuf,
    /// Pseudonymisation keys.
    pub keys_dir: PathBuf,
    /// MQTT listeners.
    pub listeners: Vec<Listener>,
    /// Brokers to take messages from.
    pub brokers: BTreeMap<String, BrokerConfig>,
    /// How many may be connected.
    pub connections: Caps,
    /// What the journal, and the logs beside it, may take.
    pub journal: JournalLimits,
    /// Metrics, health, API and console.
    pub http: SocketAddr,
    /// How to reach each target.
    pub outlets: BTreeMap<String, OutletConfig>,
    /// `error` … `trace`, or a filter of `tracing`.
    pub log_level: String,
    /// Whether logs are JSON lines.
    pub log_json: bool,
}

/// What the journal and the logs beside it may take, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// The journal.
    pub limit: u64,
    /// The quarantine.
    pub quarantine: u64,
    /// The hold log.
    pub hold: u64,
    /// The backlog of each target.
    pub backlog: u64,
    /// The messages of one source, of the journal's.
    pub source: u64,
}

/// One MQTT listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Address and port.
    pub bind: SocketAddr,
    /// What carries MQTT.
    pub transport: Transport,
    /// Who a client is.
    pub identify_by: IdentifyBy,
    /// TLS; none only on loopback or a listener that says so.
    pub tls: Option<TlsConfig>,
}

/// What carries MQTT on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The connection itself.
    Tcp,
    /// WebSocket. A browser names the page that connects: it must be one of these.
    WebSocket {
        /// `https://host`, as browsers send it.
        origins: Vec<String>,
    },
}

/// Where an identity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentifyBy {
    /// The client certificate's SAN URI or CN.
    Certificate,
    /// User name and password; the file of argon2id hashes.
    Password(PathBuf),
    /// The user name is the source's id; loopback only.
    UsernameOnly,
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// PEM chain.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
    /// PEM authorities of client certificates.
    pub client_ca: Option<PathBuf>,
    /// PEM revocation lists.
    pub crl: Option<PathBuf>,
}

/// How to reach a target.
#[derive(Clone, Debug)]
pub enum OutletConfig {
    /// A directory.
    Archive {
        /// Where.
        directory: PathBuf,
        /// How long a batch waits to fill.
        linger: Duration,
    },
    /// A Kafka cluster.
    Kafka(Box<KafkaConfig>),
}

impl OutletConfig {
    /// `archive`, `kafka`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Archive { .. } => "archive",
            Self::Kafka(_) => "kafka",
        }
    }
}

/// Why a configuration is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is no configuration.
    #[error("`{}` is no configuration:\n{reason}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// With line, column and caret.
        reason: String,
    },
    /// An environment override.
    #[error("the environment variable `{name}` does not fit: {reason}")]
    Override {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// A value is missing or wrong.
    #[error("`{key}`: {reason}")]
    Value {
        /// Dotted key.
        key: String,
        /// What is wrong and how to mend it.
        reason: String,
    },
}

fn wrong<T>(key: impl Into<String>, reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { key: key.into(), reason: reason.into() })
}

impl Config {
    /// Reads `path`, then `conf.d/*.toml` beside it in the order of their names, then
    /// `OCTROI__SECTION__KEY` variables; later ones win.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let path = &std::path::absolute(path)
            .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut raw = RawConfig::default();
        for file in std::iter::once(path.to_path_buf()).chain(fragments(base)?) {
            let text = fs::read_to_string(&file)
                .map_err(|source| ConfigError::Read { path: file.clone(), source })?;
            let layer = toml::from_str::<RawConfig>(&text)
                .map_err(|error| ConfigError::Syntax { path: file.clone(), reason: error.to_string() })?;
            raw.overlay(layer);
        }
        for layer in raw::overrides(environment)? {
            raw.overlay(layer);
        }
        Self::check(raw, base, environment)
    }

    /// What was typed, checked. Relative paths are relative to `base`, the configuration's directory.
    ///
    /// # Errors
    /// The first value that is missing or wrong.
    pub fn check(raw: RawConfig, base: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let secrets = Secrets { base, environment };
        let hub = raw.hub.unwrap_or_default();
        let id = require("hub.id", hub.id)?;
        let id_is_legal = id.len() <= 32 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if id.is_empty() || !id_is_legal {
            return wrong(
                "hub.id",
                "must be 1 to 32 of letters, digits and `-`: it is part of every message id",
            );
        }
        let listeners = raw.listener.unwrap_or_default();
        if listeners.is_empty() && raw.broker.as_ref().is_none_or(BTreeMap::is_empty) {
            return wrong(
                "listener",
                "there is none, and no broker: add `[[listener]]` with `bind` and `identify_by`",
            );
        }
        let listeners = listeners
            .into_iter()
            .enumerate()
            .map(|(n, listener)| check_listener(n, listener, &secrets))
            .collect::<Result<_, _>>()?;
        let mut brokers = BTreeMap::new();
        for (name, broker) in raw.broker.unwrap_or_default() {
            let checked = broker::check(&name, &id, broker, &secrets)?;
            brokers.insert(name, checked);
        }
        let connections = check_connections(&raw.connections.unwrap_or_default())?;
        let journal = check_journal(raw.journal.unwrap_or_default())?;
        let http = raw.http.unwrap_or_default().bind.unwrap_or_else(|| "127.0.0.1:9464".into());
        let http: SocketAddr = parse_address("http.bind", &http)?;
        if !http.ip().is_loopback() {
            return wrong(
                "http.bind",
                "only loopback is served for now (no TLS nor roles yet): bind 127.0.0.1 and put a proxy in front",
            );
        }
        let mut outlets = BTreeMap::new();
        for (target, outlet) in raw.outlet.unwrap_or_default() {
            let checked = check_outlet(&target, &id, outlet, &secrets)?;
            outlets.insert(target, checked);
        }
        let log = raw.log.unwrap_or_default();
        Ok(Self {
            hub: id,
            data_dir: base.join(require("hub.data_dir", hub.data_dir)?),
            policy: base.join(require("hub.policy", hub.policy)?),
            keys_dir: base.join(hub.keys_dir.unwrap_or_else(|| "keys".into())),
            listeners,
            brokers,
            connections,
            journal,
            http,
            outlets,
            log_level: log.level.unwrap_or_else(|| "info".into()),
            log_json: log.format == Some(raw::LogFormat::Json),
        })
    }

    /// The size of a journal segment: never more than 1/16 of the limit.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        limits::SEGMENT_BYTES.min(self.journal.limit / 16)
    }
}

fn fragments(base: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let directory = base.join("conf.d");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ConfigError::Read { path: directory, source }),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| ConfigError::Read { path: directory.clone(), source })?;
        if entry.path().extension().is_some_and(|extension| extension == "toml") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn require<T>(key: &str, value: Option<T>) -> Result<T, ConfigError> {
    value.map_or_else(|| wrong(key, "is missing"), Ok)
}

fn parse_address(key: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse()
        .or_else(|_| wrong(key, format!("`{text}` is no address; write `127.0.0.1:1883` or `[::]:8883`")))
}

fn check_connections(raw: &raw::RawConnections) -> Result<Caps, ConfigError> {
    let count = |name: &str, typed: Option<u64>, unsaid: u64| match typed.unwrap_or(unsaid) {
        0 => wrong(format!("connections.{name}"), "`0` would let nobody in: write 1 or more"),
        count => Ok(count),
    };
    Ok(Caps {
        all: count("limit", raw.limit, limits::CONNECTIONS)?,
        source: count("per_source", raw.per_source, limits::CONNECTIONS_PER_SOURCE)?,
        address: count("per_address", raw.per_address, limits::CONNECTIONS_PER_ADDRESS)?,
    })
}

fn check_journal(raw: raw::RawJournal) -> Result<JournalLimits, ConfigError> {
    let bytes = |name: &str, typed: Option<String>, unsaid: u64| {
        let key = format!("journal.{name}");
        let Some(typed) = typed else { return Ok(unsaid) };
        let bytes = parse_bytes(&typed).map_or_else(|reason| wrong(&key, reason), Ok)?;
        if bytes < limits::JOURNAL_LEAST_BYTES {
            return wrong(&key, format!("`{typed}` is below the least, 64 MiB"));
        }
        Ok(bytes)
    };
    let limit = bytes("limit", raw.limit, limits::JOURNAL_BYTES)?;
    let part = |fraction: u64| (limit / fraction).max(limits::JOURNAL_LEAST_BYTES);
    let share = raw.source_share.unwrap_or(limits::SOURCE_SHARE);
    if !(1..=100).contains(&share) {
        return wrong("journal.source_share", format!("`{share}` is no share: write a percentage, 1 to 100"));
    }
    Ok(JournalLimits {
        limit,
        quarantine: bytes("quarantine_limit", raw.quarantine_limit, part(limits::SIDE_LOG_FRACTION))?,
        hold: bytes("hold_limit", raw.hold_limit, part(limits::SIDE_LOG_FRACTION))?,
        backlog: bytes("backlog_limit", raw.backlog_limit, part(limits::BACKLOG_FRACTION))?,
        source: limit / 100 * share,
    })
}

fn check_listener(n: usize, raw: raw::RawListener, secrets: &Secrets<'_>) -> Result<Listener, ConfigError> {
    let key = |name: &str| format!("listener[{n}].{name}");
    let bind = parse_address(&key("bind"), &require(&key("bind"), raw.bind)?)?;
    let transport = check_transport(&key("origins"), raw.transport, raw.origins)?;
    let tls = raw.tls.map(|tls| check_tls(&key("tls"), tls, secrets)).transpose()?;
    let identify_by = match require(&key("identify_by"), raw.identify_by)? {
        raw::Identify::UsernameOnly if !bind.ip().is_loopback() => {
            return wrong(
                key("identify_by"),
                format!(
                    "`username-only` lets anybody be any source: refused on `{bind}`, which is not loopback; \
                         use `certificate` or `password`"
                ),
            );
        }
        raw::Identify::UsernameOnly => IdentifyBy::UsernameOnly,
        raw::Identify::Password if tls.is_none() && !bind.ip().is_loopback() => {
            return wrong(
                key("tls"),
                format!("passwords would cross the network of `{bind}` in clear: add `tls`"),
            );
        }
        raw::Identify::Password => IdentifyBy::Password(
            secrets.file(&key("passwords"), &require(&key("passwords"), raw.passwords)?)?,
        ),
        raw::Identify::Certificate if tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) => {
            return wrong(key("tls"), "`identify_by = \"certificate\"` needs `tls` with a `client_ca`");
        }
        raw::Identify::Certificate => IdentifyBy::Certificate,
    };
    Ok(Listener { bind, transport, identify_by, tls })
}

fn check_transport(
    key: &str,
    carrier: Option<raw::Carrier>,
    origins: Option<Vec<String>>,
) -> Result<Transport, ConfigError> {
    match (carrier.unwrap_or(raw::Carrier::Tcp), origins) {
        (raw::Carrier::Tcp, None) => Ok(Transport::Tcp),
        (raw::Carrier::Tcp, Some(_)) => wrong(key, "is for `transport = \"websocket\"` alone"),
        (raw::Carrier::WebSocket, origins) => {
            let origins = origins.unwrap_or_default();
            let legal = |origin: &str| {
                let host = ["https://", "http://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
                host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
            };
            match origins.iter().find(|origin| !legal(origin)) {
                Some(origin) => wrong(
                    key,
                    format!(
                        "`{origin}` is no origin; write `https://host` or `https://host:port`, without a path"
                    ),
                ),
                None => Ok(Transport::WebSocket { origins }),
            }
        }
    }
}

fn check_tls(key: &str, raw: raw::RawTls, secrets: &Secrets<'_>) -> Result<TlsConfig, ConfigError> {
    let file = |name: &str, reference: Option<String>| {
        reference.map(|reference| secrets.file(&format!("{key}.{name}"), &reference)).transpose()
    };
    Ok(TlsConfig {
        certificate: require(&format!("{key}.certificate"), file("certificate", raw.certificate)?)?,
        key: require(&format!("{key}.key"), file("key", raw.key)?)?,
        client_ca: file("client_ca", raw.client_ca)?,
        crl: file("crl", raw.crl)?,
    })
}

fn check_outlet(
    target: &str,
    hub: &str,
    raw: raw::RawOutlet,
    secrets: &Secrets<'_>,
) -> Result<OutletConfig, ConfigError> {
    let key = |name: &str| format!("outlet.{target}.{name}");
    match raw {
        raw::RawOutlet::Archive { directory, linger_ms } => {
            let linger = linger_ms.map(|millis| Duration::from_millis(millis.into()));
            let linger = linger.unwrap_or(limits::ARCHIVE_AGE);
            if linger > limits::ARCHIVE_AGE_MOST {
                let most = limits::ARCHIVE_AGE_MOST.as_millis();
                return wrong(key("linger_ms"), format!("an archive's batch waits {most} ms at most"));
            }
            Ok(OutletConfig::Archive { directory: secrets.base.join(directory), linger })
        }
        raw::RawOutlet::Kafka {
            brokers,
            headers,
            topic,
            compression,
            linger_ms,
            tls,
            sasl,
            insecure,
            cluster_id,
            allowed_brokers,
            properties,
        } => {
            let config = KafkaConfig {
                brokers,
                client_id: hub.to_owned(),
                headers: headers.unwrap_or_default(),
                topic: topic.unwrap_or_else(|| KafkaConfig::DEFAULT_TOPIC.to_owned()),
                compression: compression.unwrap_or_default(),
                linger_ms: linger_ms.unwrap_or(20),
                tls: tls.map(|tls| check_kafka_tls(&key("tls"), tls, secrets)).transpose()?,
                sasl: sasl.map(|sasl| check_sasl(&key("sasl"), sasl, secrets)).transpose()?,
                insecure: insecure.unwrap_or(false),
                cluster_id,
                allowed_brokers: allowed_brokers.unwrap_or_default(),
                properties: properties.unwrap_or_default(),
            };
            config.check().map_err(|error| ConfigError::Value {
                key: format!("outlet.{target}"),
                reason: error.to_string(),
            })?;
            Ok(OutletConfig::Kafka(Box::new(config)))
        }
    }
}

fn check_kafka_tls(
    key: &str,
    raw: raw::RawClientTls,
    secrets: &Secrets<'_>,
) -> Result<KafkaTls, ConfigError> {
    let text = |name: &str, reference: String| secrets.text(&format!("{key}.{name}"), &reference);
    let client = match (raw.certificate, raw.key) {
        (None, None) => None,
        (Some(certificate), Some(secret)) => Some((text("certificate", certificate)?, text("key", secret)?)),
        (Some(_), None) | (None, Some(_)) => return wrong(key, "`certificate` and `key` go together"),
    };
    Ok(KafkaTls { ca: text("ca", raw.ca)?, client })
}

fn check_sasl(key: &str, raw: raw::RawSasl, secrets: &Secrets<'_>) -> Result<KafkaSasl, ConfigError> {
    let password = secrets.text(&format!("{key}.password"), &raw.password)?;
    let mechanism = raw.mechanism.unwrap_or(SaslMechanism::ScramSha512);
    Ok(KafkaSasl { mechanism, username: raw.username, password })
}

/// Resolves references to secrets and files.
struct Secrets<'a> {
    base: &'a Path,
    environment: &'a Environment,
}

impl Secrets<'_> {
    /// The path that a `file:` or `cred:` reference names.
    fn file(&self, key: &str, reference: &str) -> Result<PathBuf, ConfigError> {
        if let Some(path) = reference.strip_prefix("file:") {
            return Ok(self.base.join(path));
        }
        if let Some(name) = reference.strip_prefix("cred:") {
            let Some(directory) = self.environment.get("CREDENTIALS_DIRECTORY") else {
                return wrong(
                    key,
                    "`cred:` needs systemd's LoadCredential=, and CREDENTIALS_DIRECTORY is not set",
                );
            };
            return Ok(Path::new(directory).join(name));
        }
        wrong(key, "secrets and files are references: write `file:/path` or `cred:name`")
    }

    /// The text that a `file:`, `cred:` or `env:` reference names, without its last line break.
    fn text(&self, key: &str, reference: &str) -> Result<String, ConfigError> {
        if let Some(name) = reference.strip_prefix("env:") {
            return match self.environment.get(name) {
                Some(value) => Ok(value.clone()),
                None => wrong(key, format!("the environment variable `{name}` is not set")),
            };
        }
        let path = self.file(key, reference)?;
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::Read { path, source })?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Reads `20 GiB`, `512 MiB`, `1048576`.
///
/// # Errors
/// What a size looks like.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(format!("`{text}` is no size; write `20 GiB`")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no size; write `20 GiB`"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is more than there can be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [hub]
        id = "hub-1"
        data_dir = "/var/lib/octroi"
        policy = "policy"
        [[listener]]
        bind = "127.0.0.1:1883"
        identify_by = "username-only"
        [outlet.dc]
        kind = "archive"
        directory = "dc"
    "#;

    fn check(text: &str) -> Result<Config, String> {
        let raw = toml::from_str(text).map_err(|error| error.to_string())?;
        Config::check(raw, Path::new("/etc/octroi"), &Environment::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn paths_are_relative_to_the_configuration() {
        let config = check(GOOD).unwrap();
        assert_eq!(config.policy, Path::new("/etc/octroi/policy"));
        assert_eq!(config.data_dir, Path::new("/var/lib/octroi"));
        assert_eq!(config.segment_bytes(), 128 << 20);
    }

    #[test]
    fn each_wrong_value_is_named_with_its_mend() {
        for (from, to, expected) in [
            ("127.0.0.1:1883", "0.0.0.0:1883", "lets anybody be any source"),
            ("127.0.0.1:1883", "localhost:1883", "is no address"),
            (
                "[outlet.dc]",
                "origins = [\"https://a\"]\n[outlet.dc]",
                "for `transport = \"websocket\"` alone",
            ),
            (
                "[outlet.dc]",
                "transport = \"websocket\"\norigins = [\"https://a/b\"]\n[outlet.dc]",
                "is no origin",
            ),
            ("username-only", "password", "`listener[0].passwords`: is missing"),
            ("username-only", "certificate", "needs `tls` with a `client_ca`"),
            ("username-only", "usernames", "unknown variant"),
            ("id = \"hub-1\"", "id = \"hub/1\"", "1 to 32 of letters"),
            ("id = \"hub-1\"", "", "`hub.id`: is missing"),
            ("kind = \"archive\"", "kind = \"archiv\"", "unknown variant"),
            ("directory = \"dc\"", "directry = \"dc\"", "directry"),
            ("directory = \"dc\"", "directory = \"dc\"\nlinger_ms = 10001", "waits 10000 ms at most"),
            ("[hub]", "[journal]\nlimit = \"1 MiB\"\n[hub]", "below the least"),
            ("[hub]", "[journal]\nlimit = \"many\"\n[hub]", "is no size"),
            ("[hub]", "[journal]\nhold_limit = \"63 MiB\"\n[hub]", "`journal.hold_limit`"),
            ("[hub]", "[journal]\nsource_share = 0\n[hub]", "1 to 100"),
            (
                "[hub]",
                "[connections]\nper_source = 0\n[hub]",
                "`connections.per_source`: `0` would let nobody in",
            ),
            ("[hub]", "[http]\nbind = \"0.0.0.0:80\"\n[hub]", "only loopback"),
            ("[hub]", "[hubb]\n[hub]", "unknown field `hubb`"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let error = check(&text).expect_err(to);
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn the_environment_overrides_a_key() {
        let environment = Environment::from([
            ("OCTROI__JOURNAL__LIMIT".into(), "1 GiB".into()),
            ("OCTROI__CONNECTIONS__PER_SOURCE".into(), "7".into()),
        ]);
        let mut raw: RawConfig = toml::from_str(GOOD).unwrap();
        for layer in raw::overrides(&environment).unwrap() {
            raw.overlay(layer);
        }
        let config = Config::check(raw, Path::new("."), &environment).unwrap();
        assert_eq!((config.journal.limit, config.connections.source), (1 << 30, 7));
        for (name, value) in [("JOURNAL__LIMITT", "1 GiB"), ("CONNECTIONS__LIMIT", "many")] {
            let bad = Environment::from([(format!("OCTROI__{name}"), value.to_owned())]);
            assert!(raw::overrides(&bad).is_err(), "{name}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_bytes("20 GiB"), Ok(20 << 30));
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("5"), Ok(5));
        assert!(
            parse_bytes("20 GB").is_err()
                && parse_bytes("").is_err()
                && parse_bytes("999999999 TiB").is_err()
        );
    }
}
