//! One connection under load.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use octroi_mqtt::Qos;
use octroi_mqtt::client::{self, AckReader, Reply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::line::Line;
use super::{Load, LoadError, Outcome, take};

struct Publisher {
    window: u64,
    /// One a topic, encoded once; the next to send.
    packets: Vec<client::Encoded>,
    next: usize,
    qos: Qos,
    /// Between two messages of this connection; `None`: as fast as answers come.
    period: Option<Duration>,
    due: Instant,
    in_flight: u64,
    packet_id: u16,
    /// Batches in flight: since when each counts, and how many wait.
    sent: VecDeque<(Instant, u64)>,
    acks: AckReader,
    /// PUBRELs that are due.
    releases: Vec<u8>,
    outcome: Outcome,
}

/// Publishes until nothing of `share` is left and everything is answered.
pub(super) async fn publish(
    load: Arc<Load>,
    topics: Vec<String>,
    line: Line,
    share: Arc<AtomicU64>,
    begun: Instant,
) -> Result<Outcome, LoadError> {
    let packet = |topic: &String| {
        let (topic, payload, qos) = (topic.as_str(), load.payload.as_slice(), load.qos);
        let publish =
            client::Publish { topic, payload, qos, packet_id: 1, dup: false, retain: false, properties: &[] };
        publish.encode(load.version)
    };
    let publisher = Publisher {
        window: load.window as u64,
        packets: topics.iter().map(packet).collect(),
        next: 0,
        qos: load.qos,
        period: load.rate.map(|rate| Duration::from_secs_f64(load.connections as f64 / rate.max(1) as f64)),
        due: begun,
        in_flight: 0,
        packet_id: 0,
        sent: VecDeque::new(),
        acks: AckReader::default(),
        releases: Vec::new(),
        outcome: Outcome::default(),
    };
    match line {
        Line::Tcp(socket) => {
            let (from, to) = socket.into_split();
            publisher.run(&share, from, to).await
        }
        Line::Tls(socket) => {
            let (from, to) = tokio::io::split(socket);
            publisher.run(&share, from, to).await
        }
    }
}

impl Publisher {
    async fn run<R, W>(mut self, share: &AtomicU64, mut from: R, mut to: W) -> Result<Outcome, LoadError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (mut bytes, mut buffer, mut left) = (Vec::new(), vec![0; 16 << 10], true);
        loop {
            let now = Instant::now();
            let wanted = self.wanted(now);
            let batch = if left && wanted > 0 { take(share, wanted) } else { 0 };
            left &= wanted == 0 || batch > 0;
            bytes.append(&mut self.releases);
            self.encode(batch, now, &mut bytes);
            if !bytes.is_empty() {
                let missing = self.in_flight;
                let written = async {
                    to.write_all(&bytes).await?;
                    to.flush().await
                };
                written.await.map_err(|source| LoadError::Ended { missing, source })?;
                bytes.clear();
            }
            if self.in_flight == 0 {
                if !left {
                    break;
                }
                tokio::time::sleep_until(self.due.min(now + Duration::from_millis(100))).await;
                continue;
            }
            let paced = self.period.is_some() && left && self.in_flight < self.window;
            let read = if paced {
                tokio::time::timeout_at(self.due, from.read(&mut buffer)).await
            } else {
                Ok(from.read(&mut buffer).await)
            };
            let Ok(read) = read else { continue };
            self.answered(read.map(|read| buffer.get(..read).unwrap_or_default()))?;
        }
        // The broker may close first.
        to.write_all(&client::disconnect()).await.ok();
        Ok(self.outcome)
    }

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
        if batch == 0 {
            return;
        }
        for _ in 0..batch {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            let Some(packet) = self.packets.get(self.next) else { return };
            self.next = (self.next + 1) % self.packets.len();
            let at = bytes.len();
            bytes.extend_from_slice(&packet.bytes);
            if let Some(place) = packet.packet_id_at
                && let Some(id) = bytes.get_mut(at + place..at + place + 2)
            {
                id.copy_from_slice(&self.packet_id.to_be_bytes());
            }
        }
        let since = if self.period.is_some() { self.due } else { now };
        self.due += self.period.unwrap_or_default();
        if self.qos == Qos::AtMostOnce {
            self.outcome.accepted += batch;
        } else {
            self.in_flight += batch;
            self.sent.push_back((since, batch));
        }
    }

    /// Takes in answers. A hub answers in order, and so the oldest in flight is the one answered.
    fn answered(&mut self, read: io::Result<&[u8]>) -> Result<(), LoadError> {
        let missing = self.in_flight;
        let ended = |source| LoadError::Ended { missing, source };
        let bytes = read.map_err(ended)?;
        if bytes.is_empty() {
            return Err(ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let Self { acks, releases, outcome, .. } = self;
        let before = outcome.accepted + outcome.refused;
        let fed = acks.feed(bytes, |reply| match reply {
            Reply::PubAck { code: 0x80.., .. } | Reply::PubRec { code: 0x80.., .. } => outcome.refused += 1,
            Reply::PubAck { .. } | Reply::PubComp { .. } => outcome.accepted += 1,
            Reply::PubRec { packet_id, .. } => releases.extend(client::pubrel(packet_id)),
            Reply::ConnAck { .. } | Reply::Disconnect { .. } | Reply::PingResp | Reply::Other(_) => {}
        });
        fed.map_err(|_| ended(io::ErrorKind::InvalidData.into()))?;
        let mut answered = self.outcome.accepted + self.outcome.refused - before;
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
        Ok(())
    }
}
