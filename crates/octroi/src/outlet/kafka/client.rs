//! The client library's callbacks. They run inside `poll`, on the relay's
//! thread; the mutex is there because the library wants a `Sync` context, and
//! is never contended.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, ProducerContext};
use rdkafka::{ClientContext, Statistics};
use serde::Deserialize;

use super::ledger::Ledger;

/// A producer with our callbacks.
pub(super) type Producer = BaseProducer<Context>;

/// What callbacks write to.
#[derive(Debug, Default)]
pub(super) struct Context {
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) link: Link,
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
    Down(String),
    /// They refuse us: why, and what to do.
    Refused(String, &'static str),
}

impl Context {
    pub(super) fn with(ledger: Ledger) -> Self {
        Self { shared: Mutex::new(Shared { ledger, link: Link::Unknown }) }
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
        }
        #[derive(Deserialize)]
        struct Broker {
            state: String,
        }
        let Ok(seen) = serde_json::from_slice::<Seen>(statistics) else { return };
        let connected = seen.brokers.values().any(|broker| broker.state == "UP");
        let link = &mut self.lock().link;
        match link {
            _ if connected => *link = Link::Up,
            Link::Up => *link = Link::Down("no broker is connected".to_owned()),
            Link::Unknown | Link::Down(_) | Link::Refused(..) => {}
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let link = &mut self.lock().link;
        match error.rdkafka_error_code() {
            Some(Code::SSL) => {
                *link = Link::Refused(
                    format!("TLS fails: {reason}"),
                    "check `tls.ca`, the brokers' names in their certificates, and that ours is valid and trusted there",
                );
            }
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                *link = Link::Refused(
                    format!("authentication fails: {reason}"),
                    "check the user, its password and the mechanism (`kafka-configs.sh --describe --entity-type users`)",
                );
            }
            // Told by `fatal_error`.
            Some(Code::Fatal) => {}
            _ if matches!(link, Link::Refused(..)) => {}
            _ => *link = Link::Down(format!("not reachable: {reason}")),
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
