//! How many may be connected: in all, of one address, of one source, and
//! before they have said who they are. Who is one too many is closed before
//! TLS, or told so at CONNECT; strangers wait in the kernel's queue.
//!
//! Connections of a source are counted where its sessions are (`sessions.rs`):
//! a client that takes its own session over is not one more. What happens
//! within a connection is not looked at here.
//!
//! INVARIANT: a place is given back however its connection ends: by dropping
//! its [`Guest`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::limits;

/// The most connections, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// In all.
    pub all: u64,
    /// Of one source.
    pub source: u64,
    /// Of one address; in IPv6 of one network of 64 bits, which is what one subscriber has.
    pub address: u64,
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cap {
    /// [`Caps::all`].
    All,
    /// [`Caps::source`].
    Source,
    /// [`Caps::address`].
    Address,
    /// [`limits::STRANGERS`].
    Strangers,
}

impl Cap {
    /// The stable name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "too_many_connections",
            Self::Source => "source_connections",
            Self::Address => "address_connections",
            Self::Strangers => "strangers",
        }
    }

    const fn said(self) -> &'static str {
        match self {
            Self::All => "closed at once: there are `connections.limit` connections already",
            Self::Source => "refused: this source has `connections.per_source` connections already",
            Self::Address => "closed at once: this address has `connections.per_address` connections already",
            Self::Strangers => "kept waiting: too many connections have not said yet who they are",
        }
    }
}

/// Who is connected, counted. A lock for a look per connection.
#[derive(Debug)]
pub struct Admission {
    caps: Caps,
    strangers: Arc<Semaphore>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    all: u64,
    by_address: BTreeMap<IpAddr, u64>,
    /// When a bound was last spoken of, and how often it was met since.
    said: BTreeMap<Cap, (Instant, u64)>,
}

/// One connection; gives its place back when dropped.
#[derive(Debug)]
pub struct Guest {
    admission: Arc<Admission>,
    network: IpAddr,
    stranger: Option<OwnedSemaphorePermit>,
}

impl Guest {
    /// It has said who it is.
    pub fn is_known(&mut self) {
        self.stranger = None;
    }
}

impl Admission {
    /// Nobody is connected.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        let strangers = Arc::new(Semaphore::new(limits::STRANGERS));
        Self { caps, strangers, table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more stranger may come. To be asked before a connection is accepted.
    pub async fn stranger(&self) -> OwnedSemaphorePermit {
        let strangers = Arc::clone(&self.strangers);
        if let Ok(permit) = Arc::clone(&strangers).try_acquire_owned() {
            return permit;
        }
        self.met(Cap::Strangers, "-", Instant::now());
        match strangers.acquire_owned().await {
            Ok(permit) => permit,
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes a place for a connection from this address.
    ///
    /// # Errors
    /// The bound that it would go beyond.
    pub fn enter(self: &Arc<Self>, address: IpAddr, stranger: OwnedSemaphorePermit) -> Result<Guest, Cap> {
        let network = network(address);
        let mut table = self.lock();
        if table.all >= self.caps.all {
            return Err(Cap::All);
        }
        let of_network = table.by_address.entry(network).or_default();
        if *of_network >= self.caps.address {
            return Err(Cap::Address);
        }
        *of_network += 1;
        table.all += 1;
        Ok(Guest { admission: Arc::clone(self), network, stranger: Some(stranger) })
    }

    /// The most connections of one source.
    #[must_use]
    pub fn per_source(&self) -> u64 {
        self.caps.source
    }

    /// Somebody met a bound: the first is logged at once, the others counted until a line is due again.
    pub fn met(&self, cap: Cap, who: impl fmt::Display, now: Instant) {
        if let Some(times) = self.lock().is_due(cap, now) {
            tracing::warn!(%who, times, bound = cap.name(), "{}", cap.said());
        }
    }

    /// How many are connected.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.lock().all
    }
}

impl Table {
    /// How often the bound was met since it was last spoken of, if it is to be spoken of now.
    fn is_due(&mut self, cap: Cap, now: Instant) -> Option<u64> {
        match self.said.get_mut(&cap) {
            Some((at, times)) if now.saturating_duration_since(*at) < limits::SAID_AGAIN => {
                *times += 1;
                None
            }
            said => {
                let times = said.map_or(0, |(_, times)| *times) + 1;
                self.said.insert(cap, (now, 0));
                Some(times)
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut table = self.admission.lock();
        table.all = table.all.saturating_sub(1);
        if let Some(count) = table.by_address.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                table.by_address.remove(&self.network);
            }
        }
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(all: u64, address: u64) -> Arc<Admission> {
        Arc::new(Admission::new(Caps { all, source: 1, address }))
    }

    async fn enter(admission: &Arc<Admission>, address: &str) -> Result<Guest, Cap> {
        let stranger = admission.stranger().await;
        admission.enter(address.parse().unwrap(), stranger)
    }

    #[tokio::test]
    async fn connections_are_bounded_in_all_and_by_address_and_places_are_given_back() {
        let admission = admission(3, 2);
        let mut guests = vec![enter(&admission, "192.0.2.1").await.unwrap()];
        guests.push(enter(&admission, "::ffff:192.0.2.1").await.unwrap());
        assert_eq!(enter(&admission, "192.0.2.1").await.unwrap_err(), Cap::Address, "mapped or not is one");
        guests.push(enter(&admission, "192.0.2.2").await.unwrap());
        assert_eq!(enter(&admission, "192.0.2.3").await.unwrap_err(), Cap::All);
        assert_eq!(admission.count(), 3, "who was turned away has no place");
        guests.remove(0);
        guests.push(enter(&admission, "192.0.2.1").await.unwrap());
        drop(guests);
        assert_eq!(admission.count(), 0);
        assert!(admission.lock().by_address.is_empty(), "nothing is remembered of who is gone");
    }

    #[tokio::test]
    async fn a_network_of_64_bits_is_one_address_of_ipv6() {
        let admission = admission(9, 1);
        let _guest = enter(&admission, "2001:db8:1:2::1").await.unwrap();
        assert_eq!(enter(&admission, "2001:db8:1:2:ffff::9").await.unwrap_err(), Cap::Address);
        assert!(enter(&admission, "2001:db8:1:3::1").await.is_ok());
    }

    #[tokio::test]
    async fn strangers_are_bounded_until_they_say_who_they_are() {
        let admission = admission(u64::MAX, u64::MAX);
        let mut guests = Vec::new();
        for _ in 0..limits::STRANGERS {
            guests.push(enter(&admission, "192.0.2.1").await.unwrap());
        }
        let moment = Duration::from_millis(50);
        assert!(tokio::time::timeout(moment, admission.stranger()).await.is_err(), "the next one waits");
        guests[7].is_known();
        let stranger = tokio::time::timeout(moment, admission.stranger()).await.unwrap();
        assert!(tokio::time::timeout(moment, admission.stranger()).await.is_err());
        drop((stranger, guests.pop()));
        assert!(tokio::time::timeout(moment, admission.stranger()).await.is_ok());
    }

    #[test]
    fn a_bound_is_spoken_of_once_a_minute_with_how_often_it_was_met() {
        let (mut table, now) = (Table::default(), Instant::now());
        assert_eq!(table.is_due(Cap::All, now), Some(1));
        assert_eq!(table.is_due(Cap::Address, now), Some(1), "each for itself");
        assert_eq!(table.is_due(Cap::All, now), None);
        assert_eq!(table.is_due(Cap::All, now + limits::SAID_AGAIN / 2), None);
        assert_eq!(table.is_due(Cap::All, now + limits::SAID_AGAIN), Some(3));
    }
}
