//! `[broker.<name>]`: an existing broker that the hub takes messages from.
//! Whose they are is the policy's to say, by the identity `broker:<name>`.

use std::net::IpAddr;
use std::path::PathBuf;

use octroi_mqtt::{Asks, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::raw::RawClientTls;
use super::{ConfigError, Secrets, wrong};
use crate::limits;

/// How to reach a broker, and what to ask of it.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS; none only on loopback, or where the operator says so.
    pub tls: Option<BrokerTls>,
    /// Session and subscriptions.
    pub asks: Asks,
}

/// TLS towards a broker. The files are read at each connection: a renewed certificate needs no restart.
#[derive(Clone, Debug)]
pub struct BrokerTls {
    /// PEM authorities of the broker's certificate.
    pub ca: PathBuf,
    /// PEM chain and key of the hub's own.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// As typed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBroker {
    /// `mqtts://host:port`, or `mqtt://host:port` on loopback.
    pub url: String,
    /// Default `5`.
    pub version: Option<Protocol>,
    /// The session's name at the broker; default `octroi-<hub.id>-<name>`.
    pub client_id: Option<String>,
    /// Who the hub is there.
    pub username: Option<String>,
    /// Reference to the secret.
    pub password: Option<String>,
    /// Topic filters, `$share/group/filter` for one that several hubs share.
    pub subscriptions: Vec<String>,
    /// Messages that may await their acknowledgement; default 1,000.
    pub receive_maximum: Option<u16>,
    /// How long the broker keeps what comes while the hub is away (MQTT 5), seconds; default a week.
    pub session_expiry_s: Option<u32>,
    /// TLS.
    pub tls: Option<RawClientTls>,
    /// Allows plain text beyond loopback.
    pub insecure: Option<bool>,
}

/// Which MQTT to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Protocol {
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

/// Longest client id, user name and filter, bytes.
const NAME_BYTES: usize = 512;

pub(super) fn check(
    name: &str,
    hub: &str,
    raw: RawBroker,
    secrets: &Secrets<'_>,
) -> Result<BrokerConfig, ConfigError> {
    let key = |of: &str| format!("broker.{name}.{of}");
    if name.is_empty() || name.len() > 32 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return wrong(format!("broker.{name}"), "its name must be 1 to 32 of letters, digits and `-`");
    }
    let Some(Url { secure, host, port }) = Url::read(&raw.url) else {
        return wrong(
            key("url"),
            format!(
                "`{}` is no broker; write `mqtts://host:port`, without user name (`username`) or path",
                raw.url
            ),
        );
    };
    let tls = raw.tls.map(|tls| check_tls(&key("tls"), &tls, secrets)).transpose()?;
    match (secure, &tls) {
        (true, None) => return wrong(key("tls"), "`mqtts://` needs `tls = { ca = \"file:…\" }`"),
        (false, Some(_)) => return wrong(key("url"), "with `tls` it begins with `mqtts://`"),
        (false, None) if !is_loopback(&host) && !raw.insecure.unwrap_or(false) => {
            return wrong(
                key("url"),
                format!(
                    "messages would cross the network to `{host}` in clear: write `mqtts://`, or `insecure = true`"
                ),
            );
        }
        (true, Some(_)) | (false, None) => {}
    }
    let password = raw.password.map(|reference| secrets.text(&key("password"), &reference)).transpose()?;
    if password.is_some() && raw.username.is_none() {
        return wrong(key("username"), "is missing: a password is somebody's");
    }
    let client_id = raw.client_id.unwrap_or_else(|| format!("octroi-{hub}-{name}"));
    for (of, text) in [("client_id", Some(&client_id)), ("username", raw.username.as_ref())] {
        let legal = |text: &str| (1..=NAME_BYTES).contains(&text.len()) && !text.contains(char::is_control);
        if text.is_some_and(|text| !legal(text)) {
            return wrong(key(of), "must be 1 to 512 bytes without control characters");
        }
    }
    let receive_maximum = raw.receive_maximum.unwrap_or(limits::RECEIVE_MAXIMUM);
    if receive_maximum == 0 {
        return wrong(key("receive_maximum"), "must be at least 1: no message could come");
    }
    Ok(BrokerConfig {
        host,
        port,
        tls,
        asks: Asks {
            version: match raw.version.unwrap_or(Protocol::V5) {
                Protocol::V5 => Version::V5,
                Protocol::V311 => Version::V3,
            },
            client_id,
            user_name: raw.username,
            password: password.map(Into::into),
            keep_alive: limits::BROKER_KEEP_ALIVE_S,
            session_expiry: raw.session_expiry_s.unwrap_or(limits::BROKER_SESSION_EXPIRY_S),
            receive_maximum,
            filters: check_filters(&key("subscriptions"), raw.subscriptions)?,
        },
    })
}

fn check_tls(key: &str, raw: &RawClientTls, secrets: &Secrets<'_>) -> Result<BrokerTls, ConfigError> {
    let file = |name: &str, reference: &str| secrets.file(&format!("{key}.{name}"), reference);
    let client = match (&raw.certificate, &raw.key) {
        (None, None) => None,
        (Some(certificate), Some(secret)) => Some((file("certificate", certificate)?, file("key", secret)?)),
        (Some(_), None) | (None, Some(_)) => return wrong(key, "`certificate` and `key` go together"),
    };
    Ok(BrokerTls { ca: file("ca", &raw.ca)?, client })
}

fn check_filters(key: &str, filters: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if filters.is_empty() || filters.len() > limits::BROKER_FILTERS {
        return wrong(key, format!("must be 1 to {} topic filters", limits::BROKER_FILTERS));
    }
    match filters.iter().find(|filter| !is_filter(filter)) {
        Some(filter) => wrong(
            key,
            format!(
                "`{filter}` is no filter of messages; write `ville/+/mesure`, `ville/#` or `$share/octroi/ville/#`"
            ),
        ),
        None => Ok(filters),
    }
}

/// A topic filter (MQTT 5 section 4.7), shared or not. The broker's own topics (`$SYS`) hold no messages.
fn is_filter(filter: &str) -> bool {
    let topics = match filter.strip_prefix("$share/") {
        None => filter,
        Some(shared) => match shared.split_once('/') {
            Some((group, topics)) if !group.is_empty() && !group.contains(['+', '#']) => topics,
            Some(_) | None => return false,
        },
    };
    let plain = !topics.is_empty() && !topics.starts_with('$') && !filter.contains(char::is_control);
    let (levels, last) = topics.rsplit_once('/').map_or(("", topics), |(levels, last)| (levels, last));
    let whole = |level: &str| level == "+" || !level.contains(['+', '#']);
    plain && filter.len() <= NAME_BYTES && levels.split('/').all(whole) && (last == "#" || whole(last))
}

struct Url {
    secure: bool,
    host: String,
    port: u16,
}

impl Url {
    fn read(url: &str) -> Option<Self> {
        let (secure, rest) = match url.split_once("://")? {
            ("mqtts", rest) => (true, rest),
            ("mqtt", rest) => (false, rest),
            _ => return None,
        };
        let (host, port) = match rest.rsplit_once(':') {
            // The colons of an IPv6 address without a port are its own.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
            Some(_) | None => (rest, if secure { 8883 } else { 1883 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let plain = !host.is_empty() && !host.contains(['/', '@', '[', ']', ' ', '?', '#']);
        let one = !host.contains(':') || host.parse::<IpAddr>().is_ok();
        (plain && one).then(|| Self { secure, host: host.to_owned(), port })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Environment;
    use super::*;

    fn read(text: &str) -> Result<BrokerConfig, String> {
        let raw = toml::from_str(text).map_err(|error| error.to_string())?;
        let environment = Environment::from([("SECRET".into(), "s3cret".into())]);
        let secrets = Secrets { base: Path::new("/etc/octroi"), environment: &environment };
        check("ville", "hub-1", raw, &secrets).map_err(|error| error.to_string())
    }

    const GOOD: &str = r#"
        url = "mqtts://broker.ville.example"
        username = "hub"
        password = "env:SECRET"
        subscriptions = ["$share/octroi/ville/#", "eau/+/mesure"]
        tls = { ca = "file:ca.pem" }
    "#;

    #[test]
    fn a_broker_is_read_with_its_defaults_and_shows_no_secret() {
        let broker = read(GOOD).unwrap();
        assert_eq!((broker.host.as_str(), broker.port), ("broker.ville.example", 8883));
        assert_eq!(broker.tls.as_ref().unwrap().ca, Path::new("/etc/octroi/ca.pem"));
        assert_eq!(broker.asks.client_id, "octroi-hub-1-ville");
        assert_eq!(broker.asks.password.as_deref(), Some(&b"s3cret"[..]));
        assert_eq!((broker.asks.version, broker.asks.receive_maximum), (Version::V5, 1000));
        assert_eq!(broker.asks.session_expiry, 604_800);
        assert!(!format!("{broker:?}").contains("s3cret"));
    }

    #[test]
    fn each_wrong_value_is_named_with_its_mend() {
        let url = "mqtts://broker.ville.example";
        let tls = "tls = { ca = \"file:ca.pem\" }";
        let filters = "[\"$share/octroi/ville/#\", \"eau/+/mesure\"]";
        for (from, to, expected) in [
            (url, "tcp://broker.ville.example", "write `mqtts://host:port`"),
            (url, "mqtts://hub@broker.ville.example", "`username`"),
            (url, "mqtts://broker.ville.example:0", "is no broker"),
            (url, "mqtts://broker.ville.example/mqtt", "is no broker"),
            (url, "mqtt://broker.ville.example", "begins with `mqtts://`"),
            (tls, "", "needs `tls"),
            (tls, "tls = { ca = \"file:a\", key = \"file:b\" }", "go together"),
            (tls, "tls = { ca = \"ca.pem\" }", "`broker.ville.tls.ca`"),
            ("username = \"hub\"", "", "a password is somebody's"),
            ("env:SECRET", "s3cret", "references"),
            (filters, "[]", "1 to 64"),
            (filters, "[\"$SYS/#\"]", "is no filter"),
            (filters, "[\"$share/octroi\"]", "is no filter"),
            (filters, "[\"$share/+/a\"]", "is no filter"),
            (filters, "[\"ville/#/mesure\"]", "is no filter"),
            (filters, "[\"ville/a+\"]", "is no filter"),
            ("username", "receive_maximum = 0\nusername", "at least 1"),
            ("username", "version = \"4\"\nusername", "unknown variant"),
            ("username", "client_id = \"\"\nusername", "1 to 512 bytes"),
        ] {
            let error = read(&GOOD.replacen(from, to, 1)).expect_err(to);
            assert!(error.contains(expected), "{to}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn plain_text_is_for_loopback_or_where_the_operator_says_so() {
        let plain =
            |url: &str, more: &str| read(&format!("url = \"{url}\"\nsubscriptions = [\"a\"]\n{more}"));
        for url in ["mqtt://127.0.0.1:1883", "mqtt://localhost", "mqtt://[::1]", "mqtt://[::1]:1884"] {
            assert!(plain(url, "").is_ok(), "{url}");
        }
        assert!(plain("mqtt://10.0.0.7", "").unwrap_err().contains("in clear"));
        assert!(plain("mqtt://10.0.0.7", "insecure = true").is_ok());
    }
}
