//! Kafka: one idempotent producer per target, pipelined, in order.
//!
//! Nothing is kept here but a slot per record in flight: the payload is handed
//! to the client library at once, and what must be sent again is asked of the
//! journal. So after any failure but a passing one the window is drained, the
//! relay rewinds, and a new producer takes the tail from the lowest record that
//! is not acknowledged: order holds, apart from whole-tail repeats.
//!
//! One bad record fails its whole batch. The window is then halved with each
//! repeat until a record fails alone: that one is rejected, and the window grows
//! again as records are acknowledged.
//!
//! INVARIANT: a record is acknowledged only by a broker's report, under
//! `acks=all`; purged, timed out or stale is never acknowledged.

mod check;
mod client;
mod config;
mod ledger;
#[cfg(test)]
mod tests;
mod topic;
mod words;

use std::fmt;
use std::mem;
use std::time::Duration;

use octroi_policy::{Text, Timestamp, text};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig};

pub use self::config::{Compression, Headers, KafkaConfig, KafkaSasl, KafkaTls, OpenError, SaslMechanism};

use self::client::{Context, Link, Named, Producer};
use self::ledger::{Failures, Ledger};
use self::topic::Names;
use self::words::Trouble;
use super::cloudevents::{self, Writer};
use super::{Bounds, DeliverError, EVENT_TYPE, Event, Outgoing, Outlet, Progress};
use crate::status::OutletState;

/// Records in flight: what the client library queues, see `queue.buffering.max.messages`.
const WINDOW_MAX: usize = 100_000;
/// What records in flight take, headers included. Several batches for each of some brokers, and no more: of an
/// idempotent producer's partition one batch is under way at a time, and while others have waited for longer than
/// `linger.ms`, the library's thread asks without a pause whether it may send them.
const WINDOW_BYTES: u64 = 16 << 20;
/// The library's poll always takes its whole time: it is given this much at once.
const POLL_SLICE: Duration = Duration::from_millis(5);
/// How long reports of what was already sent are waited for before all is sent again.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// A window of which nothing is acknowledged for so long is stalled, and the target is shown as down.
const STALL: Duration = Duration::from_secs(10);
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);

/// A Kafka target.
pub struct Kafka {
    config: KafkaConfig,
    /// `None`: the last could not be replaced yet.
    producer: Option<Producer>,
    phase: Phase,
    /// Records that may be in flight: less than `WINDOW_MAX` while a bad one is looked for.
    window: usize,
    /// Acknowledged since the window last changed.
    since_change: usize,
    /// Refusals in a row.
    refusals: u32,
    refusal: Option<Text>,
    /// The target is the one that the configuration pins: until then nothing is sent.
    identified: bool,
    /// The refusal is ours: the target was another than the pinned one.
    strange: bool,
    /// When the hub's own certificate ends.
    certificate_ends: Option<Timestamp>,
    /// Since when something is in flight and nothing is acknowledged.
    waiting: Option<Timestamp>,
    stalled: bool,
    writer: Writer,
    topic: String,
    text: Vec<u8>,
}

enum Phase {
    Running,
    /// Something failed: waits for reports of what was sent already.
    Draining {
        until: Option<Timestamp>,
    },
    /// The relay was told, and must rewind; then nothing is taken for so long.
    Told {
        rest: Duration,
    },
    /// Nothing is taken until then.
    Resting {
        rest: Duration,
        until: Option<Timestamp>,
    },
}

impl Kafka {
    /// Makes the producer. Does not connect: a target that is down is no error.
    ///
    /// # Errors
    /// What [`KafkaConfig::check`] says, and what the client library says of certificates and keys.
    pub fn open(config: KafkaConfig) -> Result<Self, OpenError> {
        config.check()?;
        let producer =
            make(&config, Ledger::default()).map_err(|error| OpenError::Client(error.to_string()))?;
        Ok(Self {
            identified: !config.is_pinned(),
            certificate_ends: config.certificate_ends(),
            strange: false,
            config,
            producer: Some(producer),
            phase: Phase::Running,
            window: WINDOW_MAX,
            since_change: 0,
            refusals: 0,
            refusal: None,
            waiting: None,
            stalled: false,
            writer: Writer::default(),
            topic: String::new(),
            text: Vec::new(),
        })
    }

    fn send(&mut self, event: &Event<'_>) -> Result<(), DeliverError> {
        let reject = |reason| DeliverError::Reject { seq: event.seq, reason };
        let Some(producer) = &self.producer else { return Err(DeliverError::Full) };
        let context = producer.context();
        let (in_flight, bytes) = context.lock().ledger.in_flight();
        if in_flight >= self.window || bytes >= WINDOW_BYTES {
            return Err(DeliverError::Full);
        }
        if !topic::render(&self.config.topic, Names::of(event), &mut self.topic) {
            return Err(if in_flight == 0 { reject("invalid_topic") } else { DeliverError::Full });
        }
        let headers = headers(self.config.headers, event, &mut self.writer, &mut self.text);
        let payload = match self.config.headers {
            Headers::Minimal | Headers::CloudEvents => event.payload,
            Headers::Structured => {
                self.text.clear();
                self.writer.write(event, &mut self.text);
                &self.text
            }
        };
        let ticket = context.lock().ledger.next_ticket();
        let record = BaseRecord {
            topic: &self.topic,
            partition: None,
            payload: Some(payload),
            key: event.device.map(str::as_bytes),
            // Of reception: a device's own clock must not decide how long a broker keeps it.
            timestamp: Some(event.received.0.div_euclid(1000)),
            headers: Some(headers),
            delivery_opaque: ticket,
        };
        // Reports come only inside `poll`, so the slot is there before its report.
        match producer.send(record) {
            Ok(()) => {
                context.lock().ledger.push(event.seq, event.level, event.payload.len());
                Ok(())
            }
            Err((error, _)) => {
                let code = if let KafkaError::MessageProduction(code) = error {
                    code
                } else {
                    RDKafkaErrorCode::InvalidRecord
                };
                if code == RDKafkaErrorCode::QueueFull {
                    return Err(DeliverError::Full);
                }
                if ledger::is_poison(code) {
                    // Only once all before it is acknowledged.
                    return Err(if in_flight == 0 {
                        reject(ledger::poison_name(code))
                    } else {
                        DeliverError::Full
                    });
                }
                let mut shared = context.lock();
                shared.ledger.failures.refused.get_or_insert((code, self.topic.clone()));
                Err(DeliverError::Full)
            }
        }
    }

    /// Makes the library work for at most `wait`, less if there are news.
    fn work(&mut self, wait: Duration, now: Timestamp) {
        let Some(producer) = &self.producer else {
            pause(wait);
            return;
        };
        let mut left = wait;
        loop {
            let slice = left.min(POLL_SLICE);
            producer.poll(slice);
            left = left.saturating_sub(slice);
            let shared = &mut *producer.context().lock();
            let settled = shared.ledger.settle();
            if settled > 0 || shared.ledger.len() == 0 {
                self.waiting = None;
            }
            self.stalled = shared.ledger.len() > 0 && now >= after(*self.waiting.get_or_insert(now), STALL);
            if settled > 0 {
                self.refusals = 0;
                self.refusal = None;
                self.since_change = self.since_change.saturating_add(settled);
                if self.window < WINDOW_MAX && self.since_change >= self.window {
                    self.window = (self.window * 2).min(WINDOW_MAX);
                    self.since_change = 0;
                }
            }
            if left.is_zero() || settled > 0 || shared.ledger.failures.any() {
                return;
            }
        }
    }

    /// Moves on, and says what the relay must know.
    fn advance(&mut self, now: Timestamp) -> Result<(), DeliverError> {
        match &mut self.phase {
            Phase::Running => {
                let Some(producer) = &self.producer else { return self.remake() };
                let failed = producer.context().lock().ledger.failures.any();
                if failed || producer.client().fatal_error().is_some() {
                    self.phase = Phase::Draining { until: None };
                    return self.advance(now);
                }
                self.identify()
            }
            Phase::Draining { until } => {
                let until = *until.get_or_insert(after(now, DRAIN_MAX));
                let Some(producer) = &self.producer else { return self.remake() };
                producer.purge(PurgeConfig::default().queue());
                if producer.in_flight_count() > 0 && producer.client().fatal_error().is_none() && now < until
                {
                    return Ok(());
                }
                Err(self.conclude())
            }
            Phase::Told { .. } => Ok(()),
            Phase::Resting { rest, until } => {
                if now >= *until.get_or_insert(after(now, *rest)) {
                    self.phase = Phase::Running;
                }
                Ok(())
            }
        }
    }

    /// The window is drained: what went wrong?
    fn conclude(&mut self) -> DeliverError {
        let mut failures = Failures::default();
        let (mut fatal, mut in_flight, mut front) = (None, 0, None);
        if let Some(producer) = &self.producer {
            let shared = &mut *producer.context().lock();
            shared.ledger.settle();
            (in_flight, front) = (shared.ledger.len(), shared.ledger.front());
            failures = mem::take(&mut shared.ledger.failures);
            fatal = producer.client().fatal_error();
        }
        let mut rest = Duration::ZERO;
        let error = match (failures, fatal, front) {
            (Failures { refused: Some((code, topic)), .. }, ..) => {
                rest = self.rest();
                self.refused(code, &topic)
            }
            (_, Some((code, _)), _) if words::is_authorization(code) => {
                rest = self.rest();
                self.refused(code, "")
            }
            (_, Some((_, reason)), _) => {
                rest = self.rest();
                DeliverError::Fatal { reason }
            }
            (Failures { poison: Some((code, _)), .. }, None, Some(seq)) if in_flight == 1 => {
                self.narrow(1);
                DeliverError::Reject { seq, reason: ledger::poison_name(code) }
            }
            (Failures { poison: Some((code, failed)), .. }, None, _) => {
                self.narrow(failed.min(in_flight) / 2);
                DeliverError::Rewind { reason: format!("a batch failed with `{code}`") }
            }
            (Failures { other, .. }, None, _) => {
                rest = self.rest();
                let reason =
                    other.map_or_else(|| "the window was given up".to_owned(), |code| code.to_string());
                DeliverError::Rewind { reason }
            }
        };
        self.phase = Phase::Told { rest };
        error
    }

    fn narrow(&mut self, window: usize) {
        self.window = window.max(1);
        self.since_change = 0;
    }

    fn rest(&mut self) -> Duration {
        let rest = REST_MIN.saturating_mul(1 << self.refusals.min(5)).min(REST_MAX);
        self.refusals = self.refusals.saturating_add(1);
        rest
    }

    fn refused(&mut self, code: RDKafkaErrorCode, topic: &str) -> DeliverError {
        let trouble = words::refused(&self.config, code, topic);
        self.blocked(trouble)
    }

    fn blocked(&mut self, trouble: Trouble) -> DeliverError {
        self.refusal = Some(trouble.said());
        let Trouble { reason, mend } = trouble;
        DeliverError::Blocked { reason, mend }
    }

    /// A target is a fact, not a host name: no record leaves before the cluster's id is the pinned one and
    /// every broker that it names is allowed. Once all brokers were out of reach, it is asked again.
    fn identify(&mut self) -> Result<(), DeliverError> {
        let Some(producer) = self.producer.as_ref().filter(|_| self.config.is_pinned()) else {
            return Ok(());
        };
        let (named, severed) = {
            let shared = producer.context().lock();
            (shared.named.clone(), shared.severed)
        };
        if self.identified && severed {
            let reason =
                "no broker was in reach: before more is sent, the target is identified again".to_owned();
            // A failure is met again, and told, by the next poll.
            drop(self.remake());
            self.phase = Phase::Told { rest: Duration::ZERO };
            return Err(DeliverError::Rewind { reason });
        }
        let found = producer.client().fetch_cluster_id(Duration::ZERO);
        let expected = self.config.cluster_id.as_deref();
        let trouble = match (expected.zip(found.as_deref()), named) {
            (Some((expected, found)), _) if expected != found => words::other_cluster(found, expected),
            (_, Named::Stranger(broker)) => words::stranger(&broker),
            (id, named) => {
                let is_known = expected.is_none() || id.is_some();
                let may_go = self.config.allowed_brokers.is_empty() || named == Named::Allowed;
                if is_known && may_go && !self.identified {
                    self.identified = true;
                    // Another refusal stands until something is acknowledged.
                    if mem::take(&mut self.strange) {
                        self.refusal = None;
                    }
                }
                return Ok(());
            }
        };
        (self.identified, self.strange) = (false, true);
        let rest = self.rest();
        self.phase = Phase::Told { rest };
        Err(self.blocked(trouble))
    }

    /// A new producer with the old one's ledger, all in flight given up.
    fn remake(&mut self) -> Result<(), DeliverError> {
        let mut ledger = Ledger::default();
        if let Some(old) = self.producer.take() {
            ledger = mem::take(&mut old.context().lock().ledger);
            // Dropping it purges what it still queues; its reports go to its own context, which is gone.
        }
        ledger.clear();
        self.identified = !self.config.is_pinned();
        self.waiting = None;
        match make(&self.config, ledger) {
            Ok(producer) => {
                self.producer = Some(producer);
                Ok(())
            }
            Err(error) => {
                let reason = text!(
                    "no Kafka client can be made: {error}",
                    "impossible de créer un client Kafka : {error}"
                );
                Err(DeliverError::Retry { reason, retry_in: REST_MIN })
            }
        }
    }

    fn progress(&mut self, now: Timestamp) -> Progress {
        let Some(producer) = &self.producer else {
            return Progress { state: OutletState::Down, ..Progress::default() };
        };
        let expired = self.certificate_ends.filter(|ends| now > *ends);
        let shared = &mut *producer.context().lock();
        let (state, reason) = match (&self.refusal, &shared.link, expired) {
            (Some(refusal), ..) => (OutletState::Blocked, refusal.clone()),
            (None, Link::Unknown, _) => (OutletState::Starting, Text::default()),
            (None, Link::Up, _) if self.stalled => (OutletState::Down, words::stalled(STALL.as_secs())),
            (None, Link::Up, _) => (OutletState::Up, Text::default()),
            (None, Link::Down(_) | Link::Refused(_), Some(ends)) => {
                (OutletState::Blocked, words::own_certificate(ends).said())
            }
            (None, Link::Down(reason), None) => (OutletState::Down, reason.clone()),
            (None, Link::Refused(trouble), None) => (OutletState::Blocked, trouble.said()),
        };
        Progress {
            unacked_from: shared.ledger.front(),
            intend: None,
            delivered: mem::take(&mut shared.ledger.delivered),
            state,
            reason,
        }
    }
}

impl Outlet for Kafka {
    fn offer(&mut self, record: &Outgoing<'_>) -> Result<(), DeliverError> {
        if matches!(self.phase, Phase::Running) && self.identified {
            self.send(record.event())
        } else {
            Err(DeliverError::Full)
        }
    }

    fn poll(&mut self, wait: Duration, now: Timestamp) -> Result<Progress, DeliverError> {
        self.work(wait, now);
        self.advance(now)?;
        Ok(self.progress(now))
    }

    fn intended(&mut self, _: Bounds) {}

    fn rewind(&mut self, _: u64, _: &[Bounds]) {
        let rest = match &self.phase {
            Phase::Running => Duration::ZERO,
            Phase::Told { rest } | Phase::Resting { rest, .. } => *rest,
            Phase::Draining { .. } => REST_MIN,
        };
        self.phase = match rest {
            Duration::ZERO => Phase::Running,
            rest => Phase::Resting { rest, until: None },
        };
        let reusable = self.producer.as_ref().is_some_and(|producer| {
            let idle = producer.in_flight_count() == 0 && producer.context().lock().ledger.len() == 0;
            idle && producer.client().fatal_error().is_none()
        });
        if !reusable {
            // A failure is met again, and told, by the next poll.
            drop(self.remake());
        }
    }

    fn flush(&mut self, _: u64) {}
}

fn make(config: &KafkaConfig, ledger: Ledger) -> Result<Producer, KafkaError> {
    config.client().create_with_context(Context::with(config.clone(), ledger))
}

/// The event's attributes as Kafka headers, after the CloudEvents Kafka protocol binding 1.0.2, section 3.
fn headers(mode: Headers, event: &Event<'_>, writer: &mut Writer, text: &mut Vec<u8>) -> OwnedHeaders {
    fn with(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
        headers.insert(Header { key, value: Some(value) })
    }
    match mode {
        Headers::Structured => with(
            OwnedHeaders::new_with_capacity(1),
            "content-type",
            b"application/cloudevents+json; charset=UTF-8",
        ),
        Headers::Minimal => {
            let headers =
                with(OwnedHeaders::new_with_capacity(3), "content-type", event.content_type.as_bytes());
            let headers = with(headers, "ce_id", event.id.as_bytes());
            with(headers, "ce_level", event.level.name().as_bytes())
        }
        Headers::CloudEvents => {
            text.clear();
            writer.time(event.time, text);
            let mut headers = OwnedHeaders::new_with_capacity(14);
            for (key, value) in [
                ("content-type", event.content_type.as_bytes()),
                ("ce_specversion", b"1.0"),
                ("ce_id", event.id.as_bytes()),
                ("ce_source", event.source.as_bytes()),
                ("ce_type", EVENT_TYPE.as_bytes()),
                ("ce_time", text),
                ("ce_subject", event.topic.as_bytes()),
            ] {
                headers = with(headers, key, value);
            }
            for (key, value) in cloudevents::extensions(event) {
                headers = with(headers, key, value.as_bytes());
            }
            headers
        }
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
}

#[expect(clippy::disallowed_methods, reason = "on the relay's own thread, and only as long as it asked for")]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("config", &self.config).finish_non_exhaustive()
    }
}
