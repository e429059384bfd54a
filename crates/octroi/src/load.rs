//! Load for any MQTT broker: raw sockets, packets encoded once, pipelined
//! windows, a latency histogram of answers, TCP or TLS. It resends nothing and
//! keeps nothing, so that it costs little beside what it measures.
//!
//! A message's latency counts from the moment it was due, not from the moment
//! it was sent (coordinated omission), when the load is paced; at QoS 2 it ends
//! with PUBCOMP.

mod histogram;
mod line;
mod publisher;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use octroi_mqtt::{Qos, Version};
use octroi_policy::ast::{Document, Source};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use histogram::Histogram;
pub use line::tls;

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to.
    pub broker: SocketAddr,
    /// Over TLS, and who is to be at the other end.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Connections.
    pub connections: usize,
    /// Publishes in flight per connection, QoS 1 and 2.
    pub window: usize,
    /// Messages in all.
    pub messages: u64,
    /// As it says.
    pub qos: Qos,
    /// Protocol version.
    pub version: Version,
    /// Who publishes what: connections take them in turn. At least one.
    pub senders: Vec<Sender>,
    /// Of every connection.
    pub password: Option<String>,
    /// Payload.
    pub payload: Vec<u8>,
    /// Messages per second in all; `None`: as fast as answers come.
    pub rate: Option<u64>,
}

/// Who publishes, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// User name; `None`: it says none.
    pub user: Option<String>,
    /// Topics, in turn; `{c}` is the connection's number. Those of one sender are shared out among its
    /// connections, where there are enough. At least one.
    pub topics: Vec<String>,
}

impl Sender {
    /// The sources of a policy, each with topics of its own filters. By user name, or by the id that a
    /// `username-only` listener takes.
    #[must_use]
    pub fn of(policy: &Document) -> Vec<Self> {
        let topic = |filter: &String| filter.replace(['+', '#'], "c{c}");
        let sender = |source: &Source| Self {
            user: Some(source.identity.strip_prefix("user:").unwrap_or(&source.id).to_owned()),
            topics: source.topics.iter().map(topic).collect(),
        };
        policy.source.iter().map(|source| sender(source)).filter(|sender| !sender.topics.is_empty()).collect()
    }

    /// The topics of the connection `c`, which is the `nth` of `connections` that this sender has.
    fn topics_of(&self, c: usize, (nth, connections): (usize, usize)) -> Vec<String> {
        let number = |topic: &String| topic.replace("{c}", &c.to_string());
        if self.topics.len() < connections {
            return self.topics.iter().map(number).collect();
        }
        self.topics.iter().skip(nth).step_by(connections.max(1)).map(number).collect()
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Acknowledged to the end (QoS 1, 2) or written (QoS 0).
    pub accepted: u64,
    /// Refused by a reason code.
    pub refused: u64,
    /// From the first publish to the last answer.
    pub elapsed: Duration,
    /// From publish to last answer.
    pub latency: Histogram,
}

impl Outcome {
    /// Messages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        (self.accepted + self.refused) as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// The load could not be put on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file of TLS is missing or is not what it should be.
    #[error("`{}` cannot be used for TLS: {reason}", .path.display())]
    Tls {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
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

/// Puts the load on, and waits for the last answer.
///
/// # Errors
/// See [`LoadError`].
pub async fn run(load: &Load) -> Result<Outcome, LoadError> {
    let load = Arc::new(load.clone());
    let mut lines = Vec::new();
    let senders = load.senders.len().max(1);
    for c in 0..load.connections {
        let Some(sender) = load.senders.get(c % senders) else { continue };
        let share = (c / senders, load.connections.saturating_sub(c % senders).div_ceil(senders));
        lines.push((line::connect(&load, c, sender).await?, sender.topics_of(c, share)));
    }
    let share = Arc::new(AtomicU64::new(load.messages));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (line, topics) in lines {
        tasks.spawn(publisher::publish(Arc::clone(&load), topics, line, Arc::clone(&share), begun));
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

/// Takes up to `most` messages from what is left to send.
fn take(share: &AtomicU64, most: u64) -> u64 {
    let left = share.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        (left > 0).then(|| left.saturating_sub(most))
    });
    left.map_or(0, |left| left.min(most))
}

/// The topics of a file: a line each; empty lines and `#` comments are skipped.
///
/// # Errors
/// It cannot be read, or has none.
pub fn topics_in(path: &Path) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let topics: Vec<String> = lines.map(str::to_owned).collect();
    let none = || io::Error::new(io::ErrorKind::InvalidData, "it names no topic");
    if topics.is_empty() { Err(none()) } else { Ok(topics) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let share = AtomicU64::new(10);
        assert_eq!((take(&share, 7), take(&share, 7), take(&share, 7)), (7, 3, 0));
    }

    #[test]
    fn topics_are_shared_out_where_there_are_enough_and_used_by_all_where_not() {
        let sender =
            |n: usize| Sender { user: None, topics: (0..n).map(|t| format!("a/{t}/{{c}}")).collect() };
        assert_eq!(sender(5).topics_of(7, (1, 2)), ["a/1/7", "a/3/7"]);
        assert_eq!(sender(1).topics_of(7, (1, 2)), ["a/0/7"]);
        let all: usize = (0..3).map(|nth| sender(10).topics_of(nth, (nth, 3)).len()).sum();
        assert_eq!(all, 10);
    }
}
