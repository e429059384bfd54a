//! The client library's callbacks. They run inside `poll`, on the relay's
//! thread; the mutex is there because the library wants a `Sync` context, and
//! is never contended.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use octroi_policy::Text;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, ProducerContext};
use rdkafka::{ClientContext, Statistics};
use serde::Deserialize;

use super::KafkaConfig;
use super::ledger::Ledger;
use super::words::{self, Trouble};

/// A producer with our callbacks.
pub(super) type Producer = BaseProducer<Context>;

/// What callbacks write to.
#[derive(Debug)]
pub(super) struct Context {
    config: KafkaConfig,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) link: Link,
    /// What a broker's connection failed with last.
    last: String,
    pub(super) named: Named,
    /// No broker was connected at some moment: whoever answers next may be another cluster.
    pub(super) severed: bool,
    /// It was given a producer id.
    pub(super) may_produce: bool,
}

/// The brokers that the cluster names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Named {
    /// None yet.
    #[default]
    Unknown,
    /// All are allowed.
    Allowed,
    /// This one is not.
    Stranger(String),
}

/// What is known of the connection.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Link {
    /// Nothing yet.
    #[default]
    Unknown,
    /// A broker answers.
    Up,
    /// None does; why.
    Down(Text),
    /// They refuse us.
    Refused(Trouble),
}

impl Context {
    pub(super) fn with(config: KafkaConfig, ledger: Ledger) -> Self {
        Self { config, shared: Mutex::new(Shared { ledger, ..Shared::default() }) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        // Errors come through `error`; what the library logs is for whoever looks for it.
        tracing::debug!(target: "octroi::kafka", ?level, fac, message);
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, statistics: &[u8]) {
        #[derive(Deserialize)]
        struct Seen {
            brokers: BTreeMap<String, Broker>,
            eos: Option<Idempotence>,
        }
        #[derive(Deserialize)]
        struct Idempotence {
            idemp_state: String,
        }
        #[derive(Deserialize)]
        struct Broker {
            state: String,
            nodeid: i64,
            nodename: String,
        }
        let Ok(seen) = serde_json::from_slice::<Seen>(statistics) else { return };
        let connected = seen.brokers.values().any(|broker| broker.state == "UP");
        let shared = &mut *self.lock();
        shared.may_produce = seen.eos.is_some_and(|eos| eos.idemp_state == "Assigned");
        match shared.link {
            _ if connected => shared.link = Link::Up,
            Link::Up if shared.last.is_empty() => shared.link = Link::Down(words::no_broker()),
            Link::Up => shared.link = Link::Down(words::unreachable(&shared.last)),
            Link::Unknown | Link::Down(_) | Link::Refused(_) => {}
        }
        // What the cluster names has an id; what is configured alone has none yet.
        let mut named = seen.brokers.values().filter(|broker| broker.nodeid >= 0).peekable();
        if named.peek().is_some() {
            let stranger = named.find(|broker| !self.config.allows(&broker.nodename));
            shared.named = stranger.map_or(Named::Allowed, |b| Named::Stranger(b.nodename.clone()));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let shared = &mut *self.lock();
        match error.rdkafka_error_code() {
            Some(Code::SSL) => shared.link = Link::Refused(words::tls(reason)),
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                shared.link = Link::Refused(words::authentication(reason));
            }
            // Told by `fatal_error`.
            Some(Code::Fatal) => {}
            Some(Code::AllBrokersDown) => {
                shared.severed = true;
                if !matches!(shared.link, Link::Refused(_)) {
                    shared.link = Link::Down(words::unreachable(&shared.last));
                }
            }
            _ => {
                reason.clone_into(&mut shared.last);
                // One broker of several: statistics tell whether any is left.
                if matches!(shared.link, Link::Unknown | Link::Down(_)) {
                    shared.link = Link::Down(words::unreachable(reason));
                }
            }
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: usize) {
        let shared = &mut *self.lock();
        match report {
            Ok(_) => {
                shared.ledger.acked(ticket);
                shared.link = Link::Up;
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                shared.ledger.failed(ticket, code, message.topic());
            }
        }
    }
}
