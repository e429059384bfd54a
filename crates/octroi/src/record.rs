//! What a record means: the one module that knows how messages, refusals and
//! the hub's own notes stand in the journal. Little endian; strings are
//! length-prefixed (u16), the payload is what remains.
//!
//! A message keeps everything its decision was made from (identity, topic,
//! retain, user properties, payload, policy time), so that a later policy can
//! decide again, and the decision itself, by indices into the policy whose
//! hash it names.
//!
//! Reading is total: bytes that are no record are an error, never a panic.

use octroi_policy::{
    self as policy, CopyIx, DomainIx, Label, Level, Markings, Reason, SourceIx, SpaceIx, TargetIx, Timestamp,
};

mod aggregate;
mod exchanges;
mod kept;
mod pause;

pub use aggregate::{Aggregate, WindowClosed};
pub use exchanges::{Exchanges, Step};
pub use kept::{Fate, Kept, Log, What};
pub use pause::Pause;

/// What kind of record; the journal stores it beside the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A message with its decision.
    Message = 0x01,
    /// A target's totals, with its cursor.
    Progress = 0x02,
    /// The bounds of an archive batch that may be on the target.
    Intent = 0x03,
    /// A publish that was refused: source, reason, digest, no payload.
    Refusal = 0x04,
    /// A policy came into force.
    Epoch = 0x05,
    /// A persistent MQTT session began, without anything of an earlier one.
    SessionOpened = 0x06,
    /// It ended.
    SessionEnded = 0x07,
    /// A message in a side log: why it is kept, for which target, and the record as it was.
    Kept = 0x08,
    /// What becomes of kept messages: announced in the journal, then a tombstone in their side log.
    Fate = 0x10,
    /// A dated boundary of the policy passed: policy time does not go back behind it.
    Boundary = 0x11,
    /// A window of a copy is published.
    WindowClosed = 0x12,
    /// What is published of one group of it.
    Aggregate = 0x13,
    /// The way to a target is paused, or resumed.
    Pause = 0x14,
    /// Packet identifiers of a session's QoS 2 publishes: opened, released.
    Exchanges = 0x15,
    /// A persistent MQTT session goes on with another expiry.
    SessionExpiry = 0x16,
}

impl RecordKind {
    /// The kind with that number, for whoever must not pass over a record: a kind is a format, and one that
    /// changes takes another number.
    ///
    /// # Errors
    /// A later release's.
    pub fn of(number: u8) -> Result<Self, RecordError> {
        Self::from_number(number).ok_or(RecordError { field: "kind (it may be a later release's)" })
    }

    /// Whether it says that a persistent session began, goes on otherwise, or ended.
    #[must_use]
    pub const fn is_of_sessions(self) -> bool {
        matches!(self, Self::SessionOpened | Self::SessionExpiry | Self::SessionEnded)
    }

    /// The kind with that number; numbers from 0xF0 are the journal's own.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [
            Self::Message,
            Self::Progress,
            Self::Intent,
            Self::Refusal,
            Self::Epoch,
            Self::SessionOpened,
            Self::SessionEnded,
            Self::Kept,
            Self::Fate,
            Self::Boundary,
            Self::WindowClosed,
            Self::Aggregate,
            Self::Pause,
            Self::Exchanges,
            Self::SessionExpiry,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }
}

/// The bytes are no record of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record's {field} cannot be read; `octroi journal verify` tells whether the segment is damaged")]
pub struct RecordError {
    /// Which part.
    pub field: &'static str,
}

/// How a message was decided, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredOutcome {
    /// To this space, with these copies.
    Routed {
        /// The primary space.
        space: SpaceIx,
        /// The copies.
        copies: Vec<CopyIx>,
    },
    /// Kept: a doubt.
    Quarantined(Reason),
    /// Kept: no allowed target today.
    Held(Reason, Option<TargetIx>),
}

/// Where a message was first on record, if it was kept in a side log and is on its way again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The journal's generation then.
    pub generation: u64,
    /// Its sequence number there.
    pub seq: u64,
    /// Policy time of the decision that stands in the new record.
    pub decided: Timestamp,
}

/// A message with its decision, borrowed from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The first eight bytes of the hash of the policy that decided.
    pub policy: u64,
    /// Policy time of its arrival, which is when it was decided, but for what has an origin.
    pub received: Timestamp,
    /// The first record of what was kept; `None`: this is it.
    pub origin: Option<Origin>,
    /// When it was measured.
    pub time: Option<Timestamp>,
    /// What was decided.
    pub outcome: StoredOutcome,
    /// How sensitive.
    pub label: Label,
    /// Of what domain.
    pub domain: Option<DomainIx>,
    /// INSEE code; empty: none.
    pub commune: &'a str,
    /// The authenticated identity (`id:…`, `user:…`, `cert:…`, `broker:…`).
    pub identity: &'a str,
    /// The device; empty: none.
    pub device: &'a str,
    /// The MQTT topic.
    pub topic: &'a str,
    /// The MQTT retain flag.
    pub retain: bool,
    /// MQTT 5 user properties.
    pub user_properties: Vec<(&'a str, &'a str)>,
    /// The payload.
    pub payload: &'a [u8],
}

/// Format of message headers; a reader refuses what is newer. Version 2 has an origin, version 1 has none.
const MESSAGE_VERSION: u8 = 1;
const WITH_ORIGIN: u8 = 2;

const RETAIN: u8 = 1;
const HAS_TIME: u8 = 2;
const HAS_DOMAIN: u8 = 4;

const ROUTED: u8 = 0;
const QUARANTINED: u8 = 1;
const HELD: u8 = 2;
const HELD_FOR: u8 = 3;

impl<'a> Message<'a> {
    /// Appends the header; the payload follows it in the record.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        out.push(if self.origin.is_some() { WITH_ORIGIN } else { MESSAGE_VERSION });
        let mut flags = 0;
        flags |= if self.retain { RETAIN } else { 0 };
        flags |= if self.time.is_some() { HAS_TIME } else { 0 };
        flags |= if self.domain.is_some() { HAS_DOMAIN } else { 0 };
        out.push(flags);
        out.extend_from_slice(&self.policy.to_le_bytes());
        out.extend_from_slice(&self.received.0.to_le_bytes());
        if let Some(Origin { generation, seq, decided }) = self.origin {
            out.extend_from_slice(&generation.to_le_bytes());
            out.extend_from_slice(&seq.to_le_bytes());
            out.extend_from_slice(&decided.0.to_le_bytes());
        }
        if let Some(time) = self.time {
            out.extend_from_slice(&time.0.to_le_bytes());
        }
        if let Some(domain) = self.domain {
            put_index(out, domain.index());
        }
        out.push(self.label.level as u8);
        out.extend_from_slice(&self.label.markings.bits().to_le_bytes());
        match &self.outcome {
            StoredOutcome::Routed { space, copies } => {
                out.push(ROUTED);
                put_index(out, space.index());
                put_index(out, copies.len());
                for copy in copies {
                    put_index(out, copy.index());
                }
            }
            StoredOutcome::Quarantined(reason) => out.extend_from_slice(&[QUARANTINED, reason.code()]),
            StoredOutcome::Held(reason, None) => out.extend_from_slice(&[HELD, reason.code()]),
            StoredOutcome::Held(reason, Some(target)) => {
                out.extend_from_slice(&[HELD_FOR, reason.code()]);
                put_index(out, target.index());
            }
        }
        for text in [self.commune, self.identity, self.device, self.topic] {
            put_text(out, text);
        }
        put_index(out, self.user_properties.len());
        for (name, value) in &self.user_properties {
            put_text(out, name);
            put_text(out, value);
        }
    }

    /// Reads a message record.
    ///
    /// # Errors
    /// The bytes are no message, or of a newer format.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        let version = input.u8("version")?;
        if ![MESSAGE_VERSION, WITH_ORIGIN].contains(&version) {
            return Err(RecordError { field: "version" });
        }
        let flags = input.u8("flags")?;
        let policy = input.u64("policy")?;
        let received = Timestamp(input.i64("received")?);
        let origin = match version {
            WITH_ORIGIN => Some(Origin {
                generation: input.u64("origin")?,
                seq: input.u64("origin")?,
                decided: Timestamp(input.i64("origin")?),
            }),
            _ => None,
        };
        let time = if flags & HAS_TIME == 0 { None } else { Some(Timestamp(input.i64("time")?)) };
        let domain = if flags & HAS_DOMAIN == 0 {
            None
        } else {
            Some(DomainIx::from_index(input.index("domain")?).ok_or(RecordError { field: "domain" })?)
        };
        let level = usize::from(input.u8("level")?);
        let level = *Level::ALL.get(level).ok_or(RecordError { field: "level" })?;
        let markings = Markings::from_bits(input.u32("markings")?);
        let outcome = match input.u8("outcome")? {
            ROUTED => {
                let space =
                    SpaceIx::from_index(input.index("space")?).ok_or(RecordError { field: "space" })?;
                let count = input.index("copies")?;
                let copies = (0..count).map(|_| {
                    CopyIx::from_index(input.index("copies")?).ok_or(RecordError { field: "copies" })
                });
                StoredOutcome::Routed { space, copies: copies.collect::<Result<_, _>>()? }
            }
            QUARANTINED => StoredOutcome::Quarantined(input.reason()?),
            HELD => StoredOutcome::Held(input.reason()?, None),
            HELD_FOR => {
                let reason = input.reason()?;
                let target =
                    TargetIx::from_index(input.index("target")?).ok_or(RecordError { field: "target" })?;
                StoredOutcome::Held(reason, Some(target))
            }
            _ => return Err(RecordError { field: "outcome" }),
        };
        let commune = input.text("commune")?;
        let identity = input.text("identity")?;
        let device = input.text("device")?;
        let topic = input.text("topic")?;
        let count = input.index("user properties")?;
        let pairs = (0..count).map(|_| Ok((input.text("user property")?, input.text("user property")?)));
        let user_properties = pairs.collect::<Result<_, _>>()?;
        Ok(Self {
            policy,
            received,
            origin,
            time,
            outcome,
            label: Label { level, markings },
            domain,
            commune,
            identity,
            device,
            topic,
            retain: flags & RETAIN != 0,
            user_properties,
            payload: input.0,
        })
    }

    /// Policy time of the decision in this record.
    #[must_use]
    pub fn decided(&self) -> Timestamp {
        self.origin.map_or(self.received, |origin| origin.decided)
    }

    /// What it is decided from, by a policy that knows its sender as `source`, as of `now`.
    #[must_use]
    pub fn input(&self, source: SourceIx, now: Timestamp) -> policy::Input<'_> {
        policy::Input {
            source,
            topic: self.topic,
            payload: self.payload,
            user_properties: &self.user_properties,
            received: now,
        }
    }
}

/// A target's totals since the start of the journal, as of its cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The journal's bit for the target.
    pub target: u8,
    /// Events delivered.
    pub delivered: u64,
    /// Events withheld at the gate.
    pub withheld: u64,
    /// Everything below is among them; `None`: written by a version that did not say.
    pub upto: Option<u64>,
}

impl Progress {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![self.target];
        out.extend_from_slice(&self.delivered.to_le_bytes());
        out.extend_from_slice(&self.withheld.to_le_bytes());
        out.extend(self.upto.into_iter().flat_map(u64::to_le_bytes));
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// Too short.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        Ok(Self {
            target: input.u8("target")?,
            delivered: input.u64("delivered")?,
            withheld: input.u64("withheld")?,
            upto: if input.0.is_empty() { None } else { Some(input.u64("upto")?) },
        })
    }
}

/// The bounds of an archive batch, on record before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The journal's bit for the target.
    pub target: u8,
    /// First record, inclusive.
    pub first: u64,
    /// Last record, inclusive.
    pub last: u64,
}

impl Intent {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![self.target];
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// Too short.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        Ok(Self { target: input.u8("target")?, first: input.u64("first")?, last: input.u64("last")? })
    }
}

/// A refused publish: enough to ask about it, nothing of what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// When.
    pub received: Timestamp,
    /// Why.
    pub reason: Reason,
    /// The authenticated identity.
    pub identity: &'a str,
    /// The topic, cut to 64 bytes.
    pub topic: &'a str,
    /// BLAKE3 of the payload.
    pub digest: [u8; 32],
}

impl<'a> Refusal<'a> {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.received.0.to_le_bytes().to_vec();
        out.push(self.reason.code());
        put_text(&mut out, self.identity);
        put_text(&mut out, cut(self.topic, 64));
        out.extend_from_slice(&self.digest);
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// The bytes are no refusal.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        let received = Timestamp(input.i64("received")?);
        let reason = input.reason()?;
        let identity = input.text("identity")?;
        let topic = input.text("topic")?;
        let digest = input.take(32, "digest")?.try_into().map_err(|_| RecordError { field: "digest" })?;
        Ok(Self { received, reason, identity, topic, digest })
    }
}

/// At most `bytes` of the text, at a character boundary.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Appends a string; what is longer than a u16 says is cut (no field of ours can be: topics end at 512).
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = cut(text, usize::from(u16::MAX));
    put_index(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_index(out: &mut Vec<u8>, index: usize) {
    out.extend_from_slice(&u16::try_from(index).unwrap_or(u16::MAX).to_le_bytes());
}

/// What is left to read.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(RecordError { field })?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        self.take(N, field)?.try_into().map_err(|_| RecordError { field })
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, RecordError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, RecordError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, RecordError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, RecordError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, RecordError> {
        self.array(field).map(i64::from_le_bytes)
    }

    pub(crate) fn index(&mut self, field: &'static str) -> Result<usize, RecordError> {
        self.u16(field).map(usize::from)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, RecordError> {
        let len = self.index(field)?;
        std::str::from_utf8(self.take(len, field)?).map_err(|_| RecordError { field })
    }

    fn reason(&mut self) -> Result<Reason, RecordError> {
        Reason::from_code(self.u8("reason")?).ok_or(RecordError { field: "reason" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(outcome: StoredOutcome) -> Message<'static> {
        Message {
            policy: 0x0123_4567_89ab_cdef,
            received: Timestamp(1_795_000_000_000_000),
            origin: None,
            time: Some(Timestamp(-1)),
            outcome,
            label: Label { level: Level::Sensitive, markings: Markings::from_bits(0b1011) },
            domain: DomainIx::from_index(3),
            commune: "35238",
            identity: "id:ville-mobilite",
            device: "",
            topic: "ville/mobilite/été/count",
            retain: true,
            user_properties: vec![("k", "v"), ("", "é")],
            payload: b"{\"count\":1}",
        }
    }

    const ORIGIN: Option<Origin> = Some(Origin { generation: 7, seq: 9, decided: Timestamp(11) });

    fn outcomes() -> Vec<StoredOutcome> {
        let copies = vec![CopyIx::from_index(0).unwrap(), CopyIx::from_index(9).unwrap()];
        vec![
            StoredOutcome::Routed { space: SpaceIx::from_index(2).unwrap(), copies },
            StoredOutcome::Routed { space: SpaceIx::from_index(0).unwrap(), copies: Vec::new() },
            StoredOutcome::Quarantined(Reason::AmbiguousPayload),
            StoredOutcome::Held(Reason::NoAllowedTarget, None),
            StoredOutcome::Held(Reason::NoAllowedTarget, TargetIx::from_index(7)),
        ]
    }

    #[test]
    fn a_message_is_read_back_as_it_was_written() {
        for (outcome, origin) in
            outcomes().into_iter().flat_map(|outcome| [(outcome.clone(), None), (outcome, ORIGIN)])
        {
            let message = Message { origin, ..message(outcome) };
            let mut bytes = Vec::new();
            message.write_header(&mut bytes);
            bytes.extend_from_slice(message.payload);
            assert_eq!(Message::read(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_message_cut_anywhere_or_with_any_byte_changed_is_no_panic() {
        for (n, outcome) in outcomes().into_iter().enumerate() {
            let mut bytes = Vec::new();
            Message { origin: ORIGIN.filter(|_| n % 2 == 0), ..message(outcome) }.write_header(&mut bytes);
            for end in 0..bytes.len() {
                assert!(Message::read(&bytes[..end]).is_err(), "cut at {end}");
            }
            for at in 0..bytes.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] = value;
                    std::hint::black_box(Message::read(&changed)).ok();
                }
            }
        }
    }

    #[test]
    fn a_newer_header_is_refused() {
        let mut bytes = Vec::new();
        message(outcomes().remove(0)).write_header(&mut bytes);
        bytes[0] = WITH_ORIGIN + 1;
        assert_eq!(Message::read(&bytes), Err(RecordError { field: "version" }));
    }

    #[test]
    fn the_hubs_own_notes_are_read_back() {
        for upto in [None, Some(9)] {
            let progress = Progress { target: 3, delivered: u64::MAX, withheld: 7, upto };
            assert_eq!(Progress::read(&progress.to_bytes()), Ok(progress));
        }
        let intent = Intent { target: 63, first: 5, last: 9 };
        assert_eq!(Intent::read(&intent.to_bytes()), Ok(intent));
        let refusal = Refusal {
            received: Timestamp(1),
            reason: Reason::Command,
            identity: "user:x",
            topic: "a/b",
            digest: [7; 32],
        };
        assert_eq!(Refusal::read(&refusal.to_bytes()), Ok(refusal));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("été", 1), "");
        assert_eq!(cut("été", 2), "é");
        assert_eq!(cut("abc", 10), "abc");
    }
}
