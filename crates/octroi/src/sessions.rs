//! Who is connected, and which MQTT sessions persist. The connected ones are
//! known so that a client that connects again takes its old session over; the
//! persistent ones are on record in the journal, so that Session Present is
//! answered truly after a restart and publishers send again what was not
//! acknowledged.
//!
//! Client ids are scoped by identity: nobody takes over another's session.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::committer::{Control, Inbox};
use crate::ledger;
use crate::limits;
use crate::record::RecordKind;

/// Why the hub ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The same client connected again.
    TakenOver,
}

/// All sessions. A lock, because a look-up and its registration must be one step for every listener's tasks;
/// held for a map operation, at CONNECT and at the end only.
#[derive(Debug, Default)]
pub struct Sessions {
    table: Mutex<Table>,
    numbers: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    connected: BTreeMap<String, (u64, oneshot::Sender<End>)>,
    persistent: BTreeMap<String, u32>,
}

/// A connection's place in the table; its end is told through `ended`.
#[derive(Debug)]
pub struct Place {
    key: String,
    number: u64,
}

fn key_of(identity: &str, client_id: &str) -> String {
    format!("{identity}\0{client_id}")
}

impl Sessions {
    /// With these persistent sessions, from the journal.
    #[must_use]
    pub fn new(persistent: BTreeMap<String, u32>) -> Self {
        let table = Table { connected: BTreeMap::new(), persistent };
        Self { table: Mutex::new(table), numbers: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection, ends the one it takes over, and says whether state of an earlier session is held.
    /// A persistent session is on disk when this returns.
    pub async fn enter(
        &self,
        identity: &str,
        client_id: &str,
        clean_start: bool,
        expiry: u32,
        inbox: &Inbox,
    ) -> (Place, bool, oneshot::Receiver<End>) {
        let key = key_of(identity, client_id);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        let (present, note) = {
            let mut table = self.lock();
            if let Some((_, old)) = table.connected.insert(key.clone(), (number, end)) {
                old.send(End::TakenOver).ok();
            }
            let known = table.persistent.contains_key(&key);
            let note = if expiry > 0 && !known && table.persistent.len() < limits::SESSIONS {
                table.persistent.insert(key.clone(), expiry);
                Some((RecordKind::SessionOpened, ledger::session_opened_record(&key, expiry)))
            } else if expiry == 0 && known {
                table.persistent.remove(&key);
                Some((RecordKind::SessionEnded, ledger::session_ended_record(&key)))
            } else {
                None
            };
            (known && !clean_start, note)
        };
        if let Some((kind, bytes)) = note {
            let (done, told) = oneshot::channel();
            inbox.control(Control::Note { kind, bytes, done: Some(done) });
            // Without room on disk the session is not promised: the next one is told that it is new.
            if told.await.is_err() {
                self.lock().persistent.remove(&key);
            }
        }
        (Place { key, number }, present, ended)
    }

    /// The connection is gone.
    pub fn leave(&self, place: &Place) {
        let mut table = self.lock();
        if table.connected.get(&place.key).is_some_and(|(number, _)| *number == place.number) {
            table.connected.remove(&place.key);
        }
    }
}

/// Counts connections, to bound them.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<AtomicU64>);

/// One connection; gone when dropped.
#[derive(Debug)]
pub struct Connection(Arc<AtomicU64>);

impl Connections {
    /// Takes a place, if there is one.
    #[must_use]
    pub fn take(&self, most: usize) -> Option<Connection> {
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        let connection = Connection(Arc::clone(&self.0));
        (before < most as u64).then_some(connection)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_takes_over_its_own_session_and_nobody_elses() {
        let (sessions, inbox) = (Sessions::default(), Inbox::default());
        let (first, present, mut ended) = sessions.enter("id:a", "c", true, 0, &inbox).await;
        assert!(!present);
        let (_other, _, _keep) = sessions.enter("id:b", "c", true, 0, &inbox).await;
        assert!(ended.try_recv().is_err(), "another identity takes nothing over");
        let (_second, _, _end) = sessions.enter("id:a", "c", true, 0, &inbox).await;
        assert_eq!(ended.try_recv(), Ok(End::TakenOver));
        sessions.leave(&first);
        assert_eq!(sessions.lock().connected.len(), 2, "the one that was taken over takes nobody with it");
    }

    #[tokio::test]
    async fn a_session_on_record_is_present_unless_the_start_is_clean() {
        let inbox = Inbox::default();
        let sessions = Sessions::new(BTreeMap::from([(key_of("id:a", "c"), 60)]));
        assert!(sessions.enter("id:a", "c", false, 60, &inbox).await.1);
        assert!(!sessions.enter("id:a", "c", true, 60, &inbox).await.1);
    }

    #[test]
    fn connections_are_bounded_and_given_back() {
        let connections = Connections::default();
        let one = connections.take(1);
        assert!(one.is_some() && connections.take(1).is_none());
        drop(one);
        assert_eq!(connections.count(), 0);
    }
}
