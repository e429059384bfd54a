//! Load for any MQTT broker: raw sockets, packets encoded once, pipelined
//! windows, a latency histogram of acks. Blocking threads and `poll`-free
//! sockets of its own, so that it costs little beside what it measures.
//!
//! A message's latency counts from the moment it was due, not from the moment
//! it was sent (coordinated omission), when the load is paced.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use octroi_mqtt::client::{self, AckReader};
use octroi_mqtt::{Qos, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to.
    pub broker: SocketAddr,
    /// Connections.
    pub connections: usize,
    /// QoS 1 publishes in flight per connection.
    pub window: usize,
    /// Messages in all.
    pub messages: u64,
    /// 0 or 1.
    pub qos: Qos,
    /// Protocol version.
    pub version: Version,
    /// User name.
    pub user: String,
    /// Topic; `{c}` is the connection's number.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Messages per second in all; `None`: as fast as acks come.
    pub rate: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Acknowledged (QoS 1) or written (QoS 0).
    pub accepted: u64,
    /// Refused by a reason code.
    pub refused: u64,
    /// From the first publish to the last ack.
    pub elapsed: Duration,
    /// Ack latencies.
    pub latency: Histogram,
}

impl Outcome {
    /// Messages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        (self.accepted + self.refused) as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Latencies in buckets of 1/16 octave: 6 % wide, from 1 µs to hours.
#[derive(Clone, Debug)]
pub struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; 16 * 32])
    }
}

impl Histogram {
    fn record(&mut self, latency: Duration, messages: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let octave = u64::from(63 - micros.leading_zeros());
        let within = if octave >= 4 { (micros >> (octave - 4)) & 15 } else { (micros << (4 - octave)) & 15 };
        let last = self.0.len() - 1;
        let bucket = usize::try_from(octave * 16 + within).unwrap_or(last).min(last);
        if let Some(count) = self.0.get_mut(bucket) {
            *count += messages;
        }
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// The latency that so many of a thousand messages did not exceed, to 6 %.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Duration {
        let rank = self.0.iter().sum::<u64>().saturating_mul(per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, count) in (0u32..).zip(&self.0) {
            seen += count;
            if seen >= rank {
                let octave = f64::from(1u32.checked_shl(bucket / 16).unwrap_or(u32::MAX));
                return Duration::from_secs_f64(octave * (1.0 + f64::from(bucket % 16 + 1) / 16.0) / 1e6);
            }
        }
        Duration::ZERO
    }
}

/// The load could not be put on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection.
    #[error("cannot connect to {broker}")]
    Connect {
        /// Where to.
        broker: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The broker did not accept the CONNECT.
    #[error("{broker} does not accept user `{user}`: on a `username-only` listener it is a source's id")]
    Refused {
        /// Where to.
        broker: SocketAddr,
        /// As whom.
        user: String,
    },
    /// The connection ended under load.
    #[error("the connection ended with {missing} publishes of it not acknowledged")]
    Ended {
        /// How many.
        missing: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Puts the load on, and waits for the last ack.
///
/// # Errors
/// See [`LoadError`].
pub async fn run(load: &Load) -> Result<Outcome, LoadError> {
    let mut sockets = Vec::new();
    for connection in 0..load.connections {
        sockets.push(connect(load, connection).await?);
    }
    let share = Arc::new(AtomicU64::new(load.messages));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (connection, socket) in sockets.into_iter().enumerate() {
        let (load, share) = (load.clone(), Arc::clone(&share));
        tasks.spawn(async move { publish(&load, connection, socket, &share, begun).await });
    }
    let mut all = Outcome::default();
    while let Some(ended) = tasks.join_next().await {
        let outcome = ended
            .unwrap_or_else(|error| Err(LoadError::Ended { missing: 0, source: io::Error::other(error) }))?;
        all.accepted += outcome.accepted;
        all.refused += outcome.refused;
        all.latency.merge(&outcome.latency);
    }
    all.elapsed = begun.elapsed();
    Ok(all)
}

async fn connect(load: &Load, connection: usize) -> Result<TcpStream, LoadError> {
    let failed = |source| LoadError::Connect { broker: load.broker, source };
    let mut socket = TcpStream::connect(load.broker).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let id = format!("bench-{connection}");
    let hello = client::Connect { user_name: Some(&load.user), ..client::Connect::new(&id) };
    socket.write_all(&client::connect(load.version, &hello)).await.map_err(failed)?;
    let mut acks = AckReader::default();
    let mut buffer = [0; 1024];
    let refused = || LoadError::Refused { broker: load.broker, user: load.user.clone() };
    while acks.connected == 0 {
        let read = socket.read(&mut buffer).await.map_err(failed)?;
        acks.feed(buffer.get(..read).unwrap_or_default(), |_| {}).map_err(|_| refused())?;
        if read == 0 || acks.refused > 0 {
            return Err(refused());
        }
    }
    Ok(socket)
}

/// Takes up to `most` messages from what is left to send.
fn take(share: &AtomicU64, most: u64) -> u64 {
    let left = share.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        (left > 0).then(|| left.saturating_sub(most))
    });
    left.map_or(0, |left| left.min(most))
}

/// One connection under load.
struct Publisher<'l> {
    window: u64,
    packet: &'l client::Encoded,
    qos1: bool,
    /// Between two messages of this connection; `None`: as fast as acks come.
    period: Option<Duration>,
    due: Instant,
    in_flight: u64,
    packet_id: u16,
    /// Batches in flight: since when each counts, and how many wait.
    sent: VecDeque<(Instant, u64)>,
    acks: AckReader,
    outcome: Outcome,
}

async fn publish(
    load: &Load,
    connection: usize,
    socket: TcpStream,
    share: &AtomicU64,
    begun: Instant,
) -> Result<Outcome, LoadError> {
    let topic = load.topic.replace("{c}", &connection.to_string());
    let qos1 = load.qos == Qos::AtLeastOnce;
    let packet = client::publish(load.version, &topic, &load.payload, qos1.then_some(1));
    let mut publisher = Publisher {
        window: load.window as u64,
        packet: &packet,
        qos1,
        period: load.rate.map(|rate| Duration::from_secs_f64(load.connections as f64 / rate.max(1) as f64)),
        due: begun,
        in_flight: 0,
        packet_id: 0,
        sent: VecDeque::new(),
        acks: AckReader::default(),
        outcome: Outcome::default(),
    };
    let (mut from, mut to) = socket.into_split();
    let (mut bytes, mut buffer, mut left) = (Vec::new(), vec![0; 16 << 10], true);
    loop {
        let now = Instant::now();
        let wanted = publisher.wanted(now);
        let batch = if left && wanted > 0 { take(share, wanted) } else { 0 };
        left &= wanted == 0 || batch > 0;
        if batch > 0 {
            bytes.clear();
            publisher.encode(batch, now, &mut bytes);
            let missing = publisher.in_flight;
            to.write_all(&bytes).await.map_err(|source| LoadError::Ended { missing, source })?;
        }
        if publisher.in_flight == 0 {
            if !left {
                break;
            }
            tokio::time::sleep_until(publisher.due.min(now + Duration::from_millis(100))).await;
            continue;
        }
        let paced = publisher.period.is_some() && left && publisher.in_flight < publisher.window;
        let read = if paced {
            tokio::time::timeout_at(publisher.due, from.read(&mut buffer)).await
        } else {
            Ok(from.read(&mut buffer).await)
        };
        let Ok(read) = read else { continue };
        publisher.answered(read.map(|read| buffer.get(..read).unwrap_or_default()))?;
    }
    // The broker may close first.
    to.write_all(&client::disconnect()).await.ok();
    Ok(publisher.outcome)
}

impl Publisher<'_> {
    /// How many messages may be sent now.
    fn wanted(&self, now: Instant) -> u64 {
        let room = self.window.saturating_sub(self.in_flight);
        match self.period {
            None => room,
            Some(_) if self.due > now => 0,
            Some(_) => room.min(1),
        }
    }

    fn encode(&mut self, batch: u64, now: Instant, bytes: &mut Vec<u8>) {
        for _ in 0..batch {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            let at = bytes.len();
            bytes.extend_from_slice(&self.packet.bytes);
            if let Some(place) = self.packet.packet_id_at
                && let Some(id) = bytes.get_mut(at + place..at + place + 2)
            {
                id.copy_from_slice(&self.packet_id.to_be_bytes());
            }
        }
        let since = if self.period.is_some() { self.due } else { now };
        self.due += self.period.unwrap_or_default();
        if self.qos1 {
            self.in_flight += batch;
            self.sent.push_back((since, batch));
        } else {
            self.outcome.accepted += batch;
        }
    }

    fn answered(&mut self, read: io::Result<&[u8]>) -> Result<(), LoadError> {
        let missing = self.in_flight;
        let ended = |source| LoadError::Ended { missing, source };
        let bytes = read.map_err(ended)?;
        if bytes.is_empty() {
            return Err(ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let before = self.acks.accepted + self.acks.refused;
        self.acks.feed(bytes, |_| {}).map_err(|_| ended(io::ErrorKind::InvalidData.into()))?;
        let mut answered = self.acks.accepted + self.acks.refused - before;
        self.in_flight = self.in_flight.saturating_sub(answered);
        let now = Instant::now();
        while answered > 0 {
            let Some((since, waiting)) = self.sent.front_mut() else { break };
            let part = answered.min(*waiting);
            self.outcome.latency.record(now.saturating_duration_since(*since), part);
            *waiting -= part;
            answered -= part;
            if *waiting == 0 {
                self.sent.pop_front();
            }
        }
        (self.outcome.accepted, self.outcome.refused) = (self.acks.accepted, self.acks.refused);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        for micros in 1..=1_000 {
            histogram.record(Duration::from_micros(micros), 1);
        }
        for (share, micros) in [(500, 500.0), (990, 990.0), (1_000, 1_000.0)] {
            let found = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((found / micros - 1.0).abs() < 0.07, "{share}: {found}");
        }
    }

    #[test]
    fn shares_add_up() {
        let share = AtomicU64::new(10);
        assert_eq!((take(&share, 7), take(&share, 7), take(&share, 7)), (7, 3, 0));
    }
}
