//! The ledger's part of persistent MQTT sessions: which there are, and which
//! QoS 2 packet identifiers of theirs are open. There may be a hundred
//! thousand, and clients name them: what they take of the snapshot at the head
//! of each segment is counted, so that whoever writes the journal can bound it.
//!
//! INVARIANT: `session_bytes` is at least what `sessions` and `exchanges` take
//! of the snapshot (`what_sessions_take_of_a_snapshot_is_counted`).

use std::collections::BTreeSet;

use super::{Ledger, Tally};
use crate::limits;
use crate::record::{Exchanges, Input, RecordError, RecordKind, Step};

/// A packet identifier and a comma.
const EXCHANGE_BYTES: u64 = 6;

impl Ledger {
    /// What others are shown of it: no sessions.
    #[must_use]
    pub fn without_sessions(&self) -> Self {
        // Every field by name: one that is new is shown, or left out here.
        let Self {
            tally,
            done,
            served,
            assigned_below,
            usage,
            epoch,
            intents,
            fate,
            paused,
            sessions: _,
            exchanges: _,
            session_bytes: _,
        } = self;
        Self {
            tally: tally.clone(),
            done: done.clone(),
            served: served.clone(),
            assigned_below: assigned_below.clone(),
            usage: usage.clone(),
            epoch: epoch.clone(),
            intents: intents.clone(),
            fate: fate.clone(),
            paused: paused.clone(),
            ..Self::default()
        }
    }

    /// The packet identifiers of a session's QoS 2 publishes that were not released.
    #[must_use]
    pub fn open_exchanges(&self, session: &str) -> Vec<u16> {
        self.exchanges.get(session).into_iter().flatten().copied().collect()
    }

    /// Bytes of the snapshot that sessions take.
    #[must_use]
    pub fn session_bytes(&self) -> u64 {
        self.session_bytes
    }

    /// By how much a chunk lets them grow, at most.
    #[must_use]
    pub fn grows_by_chunk(&self, tally: &Tally) -> u64 {
        let Some(Exchanges { session, steps }) = &tally.exchanges else { return 0 };
        let opened = steps.iter().filter(|step| matches!(step, Step::Opened(_))).count() as u64;
        let is_known = opened > 0 && self.sessions.contains_key(session);
        if is_known { entry_bytes(session) + EXCHANGE_BYTES * opened } else { 0 }
    }

    /// The same of a note.
    #[must_use]
    pub fn grows_by_note(&self, kind: RecordKind, bytes: &[u8]) -> u64 {
        if kind != RecordKind::SessionOpened {
            return 0;
        }
        let mut input = Input(bytes);
        let session = input.u32("expiry").and_then(|_| input.text("session")).unwrap_or_default();
        if self.sessions.contains_key(session) { 0 } else { entry_bytes(session) }
    }

    /// As read from a snapshot.
    pub(super) fn count_sessions(&mut self) {
        let open = |(session, ids): (&String, &BTreeSet<u16>)| open_bytes(session, ids);
        self.session_bytes = self.sessions.keys().map(|session| entry_bytes(session)).sum::<u64>()
            + self.exchanges.iter().map(open).sum::<u64>();
    }

    /// A session that is not on record has nothing on record.
    pub(super) fn exchange(&mut self, Exchanges { session, steps }: &Exchanges) {
        if !self.sessions.contains_key(session) {
            return;
        }
        let mut open = self.forget_exchanges(session);
        for step in steps {
            match step {
                Step::Opened(packet_id) => open.insert(*packet_id),
                Step::Released(packet_id) => open.remove(packet_id),
            };
        }
        if !open.is_empty() {
            self.session_bytes += open_bytes(session, &open);
            self.exchanges.insert(session.clone(), open);
        }
    }

    /// What becomes of a persistent session.
    pub(super) fn session(&mut self, kind: RecordKind, bytes: &[u8]) -> Result<(), RecordError> {
        let mut input = Input(bytes);
        if kind == RecordKind::SessionEnded {
            let session = input.text("session")?;
            self.forget_exchanges(session);
            if self.sessions.remove(session).is_some() {
                self.session_bytes -= entry_bytes(session);
            }
            return Ok(());
        }
        let expiry = input.u32("expiry")?;
        let session = input.text("session")?;
        if kind == RecordKind::SessionOpened {
            self.forget_exchanges(session);
            if self.sessions.len() < limits::SESSIONS
                && self.sessions.insert(session.to_owned(), expiry).is_none()
            {
                self.session_bytes += entry_bytes(session);
            }
        } else if let Some(known) = self.sessions.get_mut(session) {
            *known = expiry;
        }
        Ok(())
    }

    fn forget_exchanges(&mut self, session: &str) -> BTreeSet<u16> {
        let Some(open) = self.exchanges.remove(session) else { return BTreeSet::new() };
        self.session_bytes -= open_bytes(session, &open);
        open
    }
}

fn open_bytes(session: &str, open: &BTreeSet<u16>) -> u64 {
    entry_bytes(session) + EXCHANGE_BYTES * open.len() as u64
}

/// What an entry of that name takes as JSON, its expiry or brackets included: control characters are escaped in
/// six bytes at most (RFC 8259 section 7).
fn entry_bytes(session: &str) -> u64 {
    const REST: u64 = "\"\":4294967295,".len() as u64;
    let bytes = session.bytes().map(|byte| match byte {
        0..=0x1F => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    });
    REST + bytes.sum::<u64>()
}
