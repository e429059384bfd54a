//! Who is connected, and which MQTT sessions persist. The connected ones are
//! known so that a client that connects again takes its old session over; the
//! persistent ones are on record in the journal, so that Session Present is
//! answered truly after a restart and publishers send again what was not
//! acknowledged. Their open QoS 2 packet identifiers are on record too, and
//! nowhere else: the journal's owner is asked for them at CONNECT.
//!
//! Client ids are scoped by identity: nobody takes over another's session.
//!
//! INVARIANT: one connection at a time uses a session. The next one begins
//! after what the one before handed over is on record or dropped for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::Instant;

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
}

#[derive(Debug, Default)]
struct Table {
    connected: BTreeMap<String, Seat>,
    /// How many of them each identity has.
    seats: BTreeMap<String, u64>,
    persistent: BTreeMap<String, Persistent>,
    /// Those that nobody is connected to, by when they end.
    expiring: BTreeSet<(Instant, String)>,
}

/// Where the latest connection of a client sits.
#[derive(Debug)]
struct Seat {
    end: oneshot::Sender<End>,
    /// Held by the connection that uses the session: the next one waits for it.
    gate: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Persistent {
    /// Seconds; `u32::MAX`: never.
    expiry: u32,
    /// While nobody is connected to it.
    until: Option<Instant>,
}

/// What a CONNECT asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asks<'a> {
    /// Who, as proven.
    pub identity: &'a str,
    /// Which of its clients.
    pub client_id: &'a str,
    /// Nothing of an earlier session.
    pub clean_start: bool,
    /// Seconds that the session is to outlive its connection.
    pub expiry: u32,
    /// The most clients of this identity that may be connected.
    pub most: u64,
}

/// A connection's place in the table.
#[derive(Debug)]
pub struct Place {
    key: String,
    persistent: bool,
    gate: Option<OwnedMutexGuard<()>>,
}

/// A connection that has its place.
#[derive(Debug)]
pub struct Entered {
    /// To be given back by [`Sessions::release`], then [`Sessions::leave`].
    pub place: Place,
    /// Told when the same client connects again.
    pub ended: oneshot::Receiver<End>,
    /// Whether an earlier session goes on.
    pub present: bool,
    /// Its QoS 2 packet identifiers that were not released.
    pub open: Vec<u16>,
}

/// Why a client does not get its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnterError {
    /// Its identity has as many clients connected as it may.
    Full,
    /// Its earlier connection does not end.
    Busy,
    /// The journal takes no note of the session: no room on disk, or the hub stops.
    Unavailable,
}

/// How a session begins.
struct Begun {
    present: bool,
    open: Vec<u16>,
    persistent: bool,
}

impl Place {
    /// The session as it stands on record; `None`: it ends with its connection.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.persistent.then_some(self.key.as_str())
    }
}

fn key_of(identity: &str, client_id: &str) -> String {
    format!("{identity}\0{client_id}")
}

/// When a session that nobody is connected to ends; `None`: never.
fn end_of(expiry: u32, now: Instant) -> Option<Instant> {
    (expiry != u32::MAX).then(|| now + Duration::from_secs(expiry.into()))
}

impl Sessions {
    /// With these persistent sessions, from the journal: nobody is connected to them as of `now`.
    #[must_use]
    pub fn new(on_record: &BTreeMap<String, u32>, now: Instant) -> Self {
        let mut table = Table::default();
        for (key, expiry) in on_record {
            let until = end_of(*expiry, now);
            table.expiring.extend(until.map(|until| (until, key.clone())));
            table.persistent.insert(key.clone(), Persistent { expiry: *expiry, until });
        }
        Self { table: Mutex::new(table) }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection: ends the one it takes over, waits until that has let go of the session, and
    /// begins or goes on with it. What it says of a persistent session is on disk when it returns.
    ///
    /// # Errors
    /// See [`EnterError`]; then no state of the session has changed.
    pub async fn enter(&self, asks: &Asks<'_>, now: Instant, inbox: &Inbox) -> Result<Entered, EnterError> {
        let key = key_of(asks.identity, asks.client_id);
        let (end, ended) = oneshot::channel();
        let gate = self.sit(&key, asks, end).ok_or(EnterError::Full)?;
        let Ok(gate) = tokio::time::timeout(limits::TAKE_OVER, gate.lock_owned()).await else {
            self.stand_up(&key);
            return Err(EnterError::Busy);
        };
        let mut place = Place { key, persistent: false, gate: Some(gate) };
        match self.begin(&place.key, asks, now, inbox).await {
            Ok(Begun { present, open, persistent }) => {
                place.persistent = persistent;
                Ok(Entered { place, ended, present, open })
            }
            Err(error) => {
                self.leave(place);
                Err(error)
            }
        }
    }

    /// Registers the latest connection and tells the one before: no seat more. `None`: all are taken.
    fn sit(
        &self,
        key: &str,
        asks: &Asks<'_>,
        end: oneshot::Sender<End>,
    ) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let mut table = self.lock();
        if let Some(seat) = table.connected.get_mut(key) {
            std::mem::replace(&mut seat.end, end).send(End::TakenOver).ok();
            return Some(Arc::clone(&seat.gate));
        }
        let seats = table.seats.entry(asks.identity.to_owned()).or_default();
        if *seats >= asks.most {
            return None;
        }
        *seats += 1;
        let gate = Arc::default();
        table.connected.insert(key.to_owned(), Seat { end, gate: Arc::clone(&gate) });
        Some(gate)
    }

    /// Takes the seat away once nobody holds or awaits its gate any more.
    fn stand_up(&self, key: &str) {
        let mut table = self.lock();
        if table.connected.get(key).is_none_or(|seat| Arc::strong_count(&seat.gate) > 1) {
            return;
        }
        table.connected.remove(key);
        let identity = key.split('\0').next().unwrap_or(key);
        if let Some(seats) = table.seats.get_mut(identity) {
            *seats = seats.saturating_sub(1);
            if *seats == 0 {
                table.seats.remove(identity);
            }
        }
    }

    /// The session, new or gone on with. INVARIANT: the caller holds the gate, so that nobody else changes
    /// this session, and everything of the earlier connection was handed over or dropped.
    async fn begin(
        &self,
        key: &str,
        asks: &Asks<'_>,
        now: Instant,
        inbox: &Inbox,
    ) -> Result<Begun, EnterError> {
        let known = self.lock().take_up(key);
        self.sweep(now, inbox);
        let Some(known) = known else {
            let persistent = asks.expiry > 0 && self.open(key, asks.expiry, inbox).await;
            return Ok(Begun { present: false, open: Vec::new(), persistent });
        };
        let begun = self.go_on(key, known, asks, now, inbox).await;
        if begun.is_none() {
            // As it was: it expires as it would have.
            self.lock().put_down(key, known.expiry, known.until.or(end_of(known.expiry, now)));
        }
        begun.ok_or(EnterError::Unavailable)
    }

    /// A session that is on record. `None`: what must be on record could not be.
    async fn go_on(
        &self,
        key: &str,
        known: Persistent,
        asks: &Asks<'_>,
        now: Instant,
        inbox: &Inbox,
    ) -> Option<Begun> {
        // Also a barrier: what the earlier connection handed over is on record, or never will be.
        let (reply, told) = oneshot::channel();
        inbox.control(Control::Exchanges { session: key.to_owned(), reply });
        let open = told.await.ok()?;
        let present = !asks.clean_start && known.until.is_none_or(|until| now < until);
        let note = match asks.expiry {
            0 => Some((RecordKind::SessionEnded, ledger::session_ended_record(key))),
            expiry if !present => Some((RecordKind::SessionOpened, ledger::session_record(key, expiry))),
            expiry if expiry != known.expiry => {
                Some((RecordKind::SessionExpiry, ledger::session_record(key, expiry)))
            }
            _ => None,
        };
        if let Some((kind, bytes)) = note
            && !note_down(inbox, kind, bytes).await
        {
            return None;
        }
        let persistent = asks.expiry > 0;
        if persistent {
            self.lock().put_down(key, asks.expiry, None);
        }
        Some(Begun { present, open: if present { open } else { Vec::new() }, persistent })
    }

    /// A session that is not on record yet. Without room it is not promised: the next one is told that it is
    /// new.
    async fn open(&self, key: &str, expiry: u32, inbox: &Inbox) -> bool {
        let room = self.lock().persistent.len() < limits::SESSIONS;
        let noted =
            room && note_down(inbox, RecordKind::SessionOpened, ledger::session_record(key, expiry)).await;
        if noted {
            self.lock().put_down(key, expiry, None);
        }
        noted
    }

    /// Takes a few of the sessions that have expired off the record.
    fn sweep(&self, now: Instant, inbox: &Inbox) {
        for _ in 0..limits::SESSIONS_SWEPT {
            let mut table = self.lock();
            let Some((until, key)) = table.expiring.first().cloned().filter(|(until, _)| *until <= now)
            else {
                return;
            };
            table.expiring.remove(&(until, key.clone()));
            table.persistent.remove(&key);
            drop(table);
            tell(inbox, RecordKind::SessionEnded, ledger::session_ended_record(&key));
        }
    }

    /// The connection uses its session no more: the next one may. `expiry`: what its DISCONNECT said.
    pub fn release(&self, place: &mut Place, expiry: Option<u32>, now: Instant, inbox: &Inbox) {
        let Some(gate) = place.gate.take() else { return };
        let known = if place.persistent { self.lock().take_up(&place.key) } else { None };
        if let Some(Persistent { expiry: before, .. }) = known {
            match expiry.unwrap_or(before) {
                0 => tell(inbox, RecordKind::SessionEnded, ledger::session_ended_record(&place.key)),
                expiry => {
                    self.lock().put_down(&place.key, expiry, end_of(expiry, now));
                    if expiry != before {
                        let record = ledger::session_record(&place.key, expiry);
                        tell(inbox, RecordKind::SessionExpiry, record);
                    }
                }
            }
        }
        drop(gate);
    }

    /// The connection is gone.
    pub fn leave(&self, place: Place) {
        let Place { key, gate, .. } = place;
        drop(gate);
        self.stand_up(&key);
    }
}

impl Table {
    /// Takes a session out of the table, if it is there.
    fn take_up(&mut self, key: &str) -> Option<Persistent> {
        let known = self.persistent.remove(key)?;
        if let Some(until) = known.until {
            self.expiring.remove(&(until, key.to_owned()));
        }
        Some(known)
    }

    fn put_down(&mut self, key: &str, expiry: u32, until: Option<Instant>) {
        self.expiring.extend(until.map(|until| (until, key.to_owned())));
        self.persistent.insert(key.to_owned(), Persistent { expiry, until });
    }
}

/// Writes a note; whether it is on disk.
async fn note_down(inbox: &Inbox, kind: RecordKind, bytes: Vec<u8>) -> bool {
    let (done, told) = oneshot::channel();
    inbox.control(Control::Note { kind, bytes, done: Some(done) });
    told.await.is_ok()
}

/// Writes a note that nobody waits for: lost with a full disk, it lets a session live for longer.
fn tell(inbox: &Inbox, kind: RecordKind, bytes: Vec<u8>) {
    inbox.control(Control::Note { kind, bytes, done: None });
}

#[cfg(test)]
mod tests;
