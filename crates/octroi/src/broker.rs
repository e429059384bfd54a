//! An existing broker as a way in: the hub connects out, subscribes, and takes
//! what comes through the same ingress as a listener's messages. The rules of
//! MQTT are `octroi-mqtt`'s; what happens to a message is the pipeline's.
//!
//! A broker does not say who published. The sender of all that comes by one is
//! `broker:<name>`, which the policy has to know as a source: without one the
//! hub does not connect.
//!
//! INVARIANT: PUBACKs leave in the order the messages came, each after the sync
//! of its chunk: what is not on disk stays the broker's.
//! INVARIANT: while the hub has no room, or the source its quota, the broker is
//! not read: it keeps what is beyond the receive maximum.

mod retry;
#[cfg(test)]
mod tests;
mod tls;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use octroi_mqtt::{End, Heard, Progress, Subscriber};
use octroi_policy::{Text, Timestamp};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::clock::Clock;
use crate::config::{BrokerConfig, Config};
use crate::duplex::Duplex;
use crate::identity::material::Refusal;
use crate::intake::{Arrived, Intake, Sender, Shares};
use crate::limits;
use crate::pipeline::Pending;
use crate::policies::Active;
use crate::quota::Dues;
use crate::session::Shared;
use crate::status::{BrokerState, BrokerStatus};
use retry::Retry;

/// What the rest of the hub sees of a broker.
pub struct Seen {
    name: String,
    clock: Arc<dyn Clock>,
    shown: ArcSwap<Shown>,
    received: AtomicU64,
    acknowledged: AtomicU64,
    connections: AtomicU64,
}

#[derive(Debug)]
struct Shown {
    state: BrokerState,
    reason: Text,
    since: Timestamp,
}

impl Seen {
    fn new(name: &str, clock: Arc<dyn Clock>) -> Self {
        let shown = Shown { state: BrokerState::Starting, reason: Text::default(), since: clock.now() };
        Self {
            name: name.to_owned(),
            clock,
            shown: ArcSwap::from_pointee(shown),
            received: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        }
    }

    /// As it is now.
    #[must_use]
    pub fn status(&self) -> BrokerStatus {
        let shown = self.shown.load();
        BrokerStatus {
            name: self.name.clone(),
            state: shown.state,
            reason: shown.reason.clone(),
            since: shown.since.to_string(),
            received: self.received.load(Ordering::Relaxed),
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            reconnects: self.connections.load(Ordering::Relaxed).saturating_sub(1),
        }
    }

    /// Shows a state, and says a change of it in the log.
    fn show(&self, state: BrokerState, reason: Text) {
        let before = self.shown.load();
        if before.state == state && before.reason == reason {
            return;
        }
        match state {
            BrokerState::Down | BrokerState::Refused => {
                tracing::warn!(broker = self.name, reason = reason.en, "no messages from the broker");
            }
            BrokerState::Starting | BrokerState::Up => tracing::info!(broker = self.name, "subscribed"),
        }
        let since = if before.state == state { before.since } else { self.clock.now() };
        self.shown.store(Arc::new(Shown { state, reason, since }));
    }
}

/// Why there is no connection.
#[derive(Debug)]
enum Trouble {
    /// The policy in force has no source of the broker's identity.
    UnknownSource,
    /// A certificate, a key or an authority cannot be used.
    Files(Refusal),
    Connect(std::io::Error),
    /// TLS stands, and the broker does not take the certificate that the hub showed, or wants one.
    Certificate(std::io::Error),
    Tls(std::io::Error),
    /// What came found no room in the byte budget.
    NoRoom,
    Ended(End),
}

impl Trouble {
    fn of_tls(error: std::io::Error) -> Self {
        if tls::is_about_our_certificate(&error) { Self::Certificate(error) } else { Self::Tls(error) }
    }
}

/// One broker of the configuration.
pub struct Broker {
    config: BrokerConfig,
    asks: Arc<octroi_mqtt::Asks>,
    sender: Sender,
    /// The largest packet.
    packet_bytes: u32,
    seen: Arc<Seen>,
}

/// Whether the files of every broker can be used.
///
/// # Errors
/// The first that cannot.
pub fn check(config: &Config, clock: &Arc<dyn Clock>) -> Result<(), Refusal> {
    refusals(config, clock).next().map_or(Ok(()), Err)
}

fn refusals(config: &Config, clock: &Arc<dyn Clock>) -> impl Iterator<Item = Refusal> {
    let tls = config.brokers.values().filter_map(|broker| broker.tls.as_ref());
    tls.filter_map(move |tls| tls::client(tls, clock).err())
}

/// Every broker of the configuration, not connected to yet.
///
/// # Errors
/// See [`check`]. What only the time is against is no error: it is said while there is no connection.
pub fn open(config: &Config, shares: &Shares, clock: &Arc<dyn Clock>) -> Result<Vec<Broker>, Refusal> {
    if let Some(refusal) = refusals(config, clock).find(|refusal| !refusal.by_time) {
        return Err(refusal);
    }
    let brokers = config.brokers.iter();
    Ok(brokers.map(|(name, config)| Broker::new(name, config.clone(), shares, Arc::clone(clock))).collect())
}

impl Broker {
    /// From the configuration.
    #[must_use]
    pub fn new(name: &str, config: BrokerConfig, shares: &Shares, clock: Arc<dyn Clock>) -> Self {
        let identity = format!("broker:{name}");
        let sender = Sender {
            share: shares.of(&identity),
            identity: identity.into(),
            version: config.asks.version,
            // No packet identifier outlives its acknowledgement: QoS 2 is not asked for.
            session: None,
        };
        let seen = Arc::new(Seen::new(name, clock));
        let (asks, packet_bytes) = (Arc::new(config.asks.clone()), limits::mqtt().packet_bytes);
        Self { config, asks, sender, packet_bytes, seen }
    }

    /// For status and metrics.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// Connects, and again, until the hub stops.
    pub async fn run(self, shared: Arc<Shared>) {
        let mut stopping = shared.stopping.clone();
        let mut retry = Retry::default();
        // What an earlier process subscribed to may be something else.
        let mut anew = true;
        loop {
            let began = Instant::now();
            let connected = tokio::select! {
                connected = self.connect(&shared) => connected,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            let trouble = match connected {
                Ok(mut socket) => {
                    let mut conversation = Conversation::new(&self, &shared, anew);
                    let trouble = conversation.run(&mut socket).await;
                    anew &= !conversation.subscribed;
                    timeout(limits::FAREWELL, socket.shutdown()).await.ok();
                    trouble
                }
                Err(trouble) => trouble,
            };
            if *stopping.borrow() {
                return;
            }
            let (state, reason) = self.told(&trouble);
            self.seen.show(state, reason);
            let wait = retry.after(began.elapsed());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    async fn connect(&self, shared: &Shared) -> Result<Box<dyn Duplex>, Trouble> {
        if shared.ingress.policies.current().source(&self.sender.identity).is_none() {
            return Err(Trouble::UnknownSource);
        }
        let (host, port) = (self.config.host.as_str(), self.config.port);
        let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        let socket = timeout(limits::BROKER_CONNECT, TcpStream::connect((host, port))).await;
        let socket = socket.unwrap_or_else(|_| Err(late())).map_err(Trouble::Connect)?;
        // Acks are small and wanted at once; a socket that refuses the option still works.
        socket.set_nodelay(true).ok();
        let Some(files) = self.config.tls.clone() else { return Ok(Box::new(socket)) };
        let other = |error: &dyn std::fmt::Display| Trouble::Tls(std::io::Error::other(error.to_string()));
        let name = ServerName::try_from(host.to_owned()).map_err(|error| other(&error))?;
        let clock = Arc::clone(&self.seen.clock);
        let client = tokio::task::spawn_blocking(move || tls::client(&files, &clock)).await;
        let client = client.map_err(|error| other(&error))?.map_err(Trouble::Files)?;
        let handshake =
            timeout(limits::BROKER_CONNECT, TlsConnector::from(client).connect(name, socket)).await;
        Ok(Box::new(handshake.unwrap_or_else(|_| Err(late())).map_err(Trouble::of_tls)?))
    }
}

/// What woke the conversation.
enum Woken {
    Answered(bool),
    Stopping,
    Tick,
    Read(std::io::Result<usize>),
}

/// One connection.
struct Conversation<'a> {
    broker: &'a Broker,
    shared: &'a Shared,
    mqtt: Subscriber,
    intake: Intake,
    pending: VecDeque<Pending>,
    /// What it owes of its source's quota.
    dues: Dues,
    /// The subscriptions of the configuration stand.
    subscribed: bool,
}

impl<'a> Conversation<'a> {
    fn new(broker: &'a Broker, shared: &'a Shared, anew: bool) -> Self {
        let (asks, bounds, now) = (Arc::clone(&broker.asks), Arc::clone(&shared.limits), Instant::now());
        Self {
            broker,
            shared,
            mqtt: Subscriber::new(asks, bounds, anew, now.into_std()),
            intake: Intake::default(),
            pending: VecDeque::new(),
            dues: Dues::new(&broker.sender, &shared.ingress.policies, now),
            subscribed: false,
        }
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, socket: &mut S) -> Trouble {
        let (mut input, mut heard) = (BytesMut::new(), Vec::new());
        let mut stopping = self.shared.stopping.clone();
        loop {
            self.dues.look(&self.broker.sender, &self.shared.ingress.policies, Instant::now());
            let progress = match self.dues.held_until() {
                Some(_) => Some(Progress::EventsFull),
                None => self.receive(&mut input, &mut heard).await,
            };
            let Some(progress) = progress else { return Trouble::NoRoom };
            if self.write(socket).await.is_err() {
                self.mqtt.connection_lost(&mut heard);
            }
            if let Some(end) = self.mqtt.ended() {
                return Trouble::Ended(end);
            }
            let readable =
                matches!(progress, Progress::NeedInput(_)) && self.pending.len() < limits::SESSION_CHUNKS;
            if readable {
                input.reserve(limits::READ_BYTES);
            } else {
                self.mqtt.not_listening();
            }
            let due = self.mqtt.deadline().map(Instant::from_std).into_iter().chain(self.dues.held_until());
            let due = due.min().unwrap_or_else(Instant::now);
            let woken = tokio::select! {
                biased;
                stored = oldest(&mut self.pending) => Woken::Answered(stored),
                _ = stopping.wait_for(|stopping| *stopping) => Woken::Stopping,
                () = sleep_until(due) => Woken::Tick,
                read = socket.read_buf(&mut input), if readable => Woken::Read(read),
            };
            match woken {
                Woken::Answered(true) => self.answer(&mut heard),
                // The journal's owner dropped it: the hub stops, and nothing more is acknowledged.
                Woken::Answered(false) => self.mqtt.leave(&mut heard),
                Woken::Stopping => {
                    self.finish(&mut heard).await;
                    self.mqtt.leave(&mut heard);
                }
                Woken::Tick => self.mqtt.handle_timeout(Instant::now().into_std(), &mut heard),
                // In TLS 1.3 what a broker makes of the hub's certificate comes after the handshake.
                Woken::Read(Err(error)) if tls::is_about_our_certificate(&error) => {
                    return Trouble::Certificate(error);
                }
                Woken::Read(Ok(0) | Err(_)) => self.mqtt.connection_lost(&mut heard),
                Woken::Read(Ok(_)) => {}
            }
        }
    }

    /// Takes in what was read: messages, their records, and the hand-over; `None`: there is no room.
    async fn receive(&mut self, input: &mut BytesMut, heard: &mut Vec<Heard>) -> Option<Progress> {
        loop {
            let (now, ingress, sender) = (Instant::now(), &self.shared.ingress, &self.broker.sender);
            let active = ingress.policies.current();
            let source = active.source(&sender.identity);
            let rates = source.and_then(|source| active.rates(source));
            let before = input.len();
            let progress = self.mqtt.receive(input, now.into_std(), Dues::room(sender, rates, now), heard);
            let messages = heard.iter().filter(|event| is_message(event)).count();
            self.dues.take(sender, rates, (messages, before - input.len()), now);
            let received = ingress.clock.now();
            for event in heard.drain(..) {
                match event {
                    Heard::Publish(publish) => {
                        self.broker.seen.received.fetch_add(1, Ordering::Relaxed);
                        ingress.take(
                            &mut self.intake,
                            &active,
                            &Arrived::publish(sender, &publish, now, received, source),
                        );
                        if self.intake.is_full() {
                            hand_over(self.broker, ingress, (&mut self.intake, &mut self.pending), &active)
                                .await?;
                        }
                    }
                    Heard::Inadmissible(publish, why) => {
                        self.broker.seen.received.fetch_add(1, Ordering::Relaxed);
                        ingress.refuse(
                            &mut self.intake,
                            &active,
                            &Arrived::publish(sender, &publish, now, received, source),
                            why.into(),
                        );
                    }
                    Heard::Connected { session_present } => {
                        let before = self.broker.seen.connections.fetch_add(1, Ordering::Relaxed);
                        tracing::info!(broker = self.broker.seen.name, session_present, before, "connected");
                    }
                    Heard::Subscribed => {
                        self.subscribed = true;
                        self.broker.seen.show(BrokerState::Up, Text::default());
                    }
                    Heard::Ended(_) => {}
                }
            }
            hand_over(self.broker, ingress, (&mut self.intake, &mut self.pending), &active).await?;
            let held = self.dues.held_until().is_some();
            if held || progress != Progress::EventsFull || self.pending.len() >= limits::SESSION_CHUNKS {
                return Some(progress);
            }
        }
    }

    /// The oldest chunk is on disk, and perhaps more: acknowledge them, refusals too. To refuse a message to a
    /// broker would tell nobody who could mend it.
    fn answer(&mut self, heard: &mut Vec<Heard>) {
        let now = Instant::now();
        let mut told = self.pending.pop_front();
        while let Some(pending) = told {
            let answered = pending.answers.len() as u64;
            self.shared.metrics.acknowledged(now.saturating_duration_since(pending.since), answered);
            self.broker.seen.acknowledged.fetch_add(answered, Ordering::Relaxed);
            for answer in pending.answers {
                if let Some(refused) = answer.refused {
                    self.shared.metrics.rejected("publish", refused.reason.name());
                }
                let Some(receipt) = answer.receipt else { continue };
                if let Err(error) = self.mqtt.acknowledge(receipt, heard) {
                    tracing::error!(%error, "acknowledgements out of order");
                    return;
                }
            }
            told = self.pending.pop_front_if(|pending| pending.done.try_recv().is_ok());
        }
    }

    /// The hub stops: what was handed over is still acknowledged.
    async fn finish(&mut self, heard: &mut Vec<Heard>) {
        let deadline = Instant::now() + limits::ACK_GRACE;
        while !self.pending.is_empty() {
            match tokio::time::timeout_at(deadline, oldest(&mut self.pending)).await {
                Ok(true) => self.answer(heard),
                Ok(false) | Err(_) => return,
            }
        }
    }

    async fn write<S: AsyncWrite + Unpin>(&mut self, socket: &mut S) -> std::io::Result<()> {
        if self.mqtt.output().is_empty() {
            return Ok(());
        }
        let written = timeout(limits::WRITE_TIMEOUT, async {
            socket.write_all_buf(self.mqtt.output()).await?;
            socket.flush().await
        });
        written.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

fn is_message(heard: &Heard) -> bool {
    matches!(heard, Heard::Publish(_) | Heard::Inadmissible(..))
}

/// Hands over what has gathered. `None`: it found no room in time, and behind it nothing may go.
async fn hand_over(
    broker: &Broker,
    ingress: &crate::pipeline::Ingress,
    (intake, pending): (&mut Intake, &mut VecDeque<Pending>),
    active: &Active,
) -> Option<()> {
    let until = Instant::now() + limits::ACK_GRACE;
    let Some(handed) = ingress.hand_over(intake, active, &broker.sender, until).await else {
        return Some(());
    };
    if handed.unsent.is_some() {
        return None;
    }
    pending.push_back(handed);
    Some(())
}

/// Whether the oldest chunk came to be on disk; for ever, while there is none.
async fn oldest(pending: &mut VecDeque<Pending>) -> bool {
    match pending.front_mut() {
        Some(pending) => (&mut pending.done).await.is_ok(),
        None => std::future::pending().await,
    }
}
