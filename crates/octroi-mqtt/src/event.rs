//! What a session tells the hub, and what the hub answers. Plain values; a publish borrows nothing and
//! copies nothing: it is one reference to the bytes that were read, with offsets.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;

use crate::{CloseReason, Inadmissible};

/// Protocol version of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V3,
    /// MQTT 5, protocol level 5.
    V5,
}

/// Delivery guarantee asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0
    AtMostOnce,
    /// 1
    AtLeastOnce,
    /// 2
    ExactlyOnce,
}

/// What happened, in the order of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole, well-formed CONNECT: answer with `accept` or `refuse`.
    Connect(Box<Connect>),
    /// A message.
    Publish(Publish),
    /// A mosquitto bridge's state on `$SYS/broker/connection/<name>/state`: payload `1` or `0`. Not a
    /// message; to be acknowledged like one.
    BridgeState(Publish),
    /// A well-formed publish that must not become a message: record it, then acknowledge with
    /// [`Inadmissible::refusal`].
    Inadmissible(Publish, Inadmissible),
    /// The client lets go of a packet identifier (PUBREL). Where the session persists, put it on record; then
    /// acknowledge.
    Release(Release),
    /// The session ended otherwise than by a plain DISCONNECT; precedes `Closed`.
    Will(Box<Will>),
    /// Nothing follows. Write what is in `output`, then close the connection.
    Closed(Closed),
}

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// For metrics and decisions.
    pub reason: CloseReason,
    /// What exactly was wrong, for the log; MQTT 5 clients get it as reason string.
    pub detail: &'static str,
}

/// A client's CONNECT. Everything in it is a claim.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Which standard the session follows.
    pub version: Version,
    /// Empty: assign one in `Grant` (MQTT 5), or use one of the hub's own (3.1.1).
    pub client_id: String,
    /// User name, if the field is there; it may be empty.
    pub user_name: Option<String>,
    /// Password: any bytes.
    pub password: Option<Bytes>,
    /// Clean Start (MQTT 5), Clean Session (3.1.1).
    pub clean_start: bool,
    /// Seconds, as the client asked; 0: none.
    pub keep_alive: u16,
    /// Seconds (MQTT 5); 0 ends with the connection, `u32::MAX` never. A 3.1.1 session that is not clean
    /// reads as `u32::MAX`.
    pub session_expiry: u32,
    /// How many publishes the client takes at once; 65,535 if it did not say.
    pub receive_maximum: u16,
    /// The largest packet the client takes, if it said so.
    pub maximum_packet_size: Option<u32>,
    /// User properties of CONNECT (MQTT 5).
    pub user_properties: Vec<(String, String)>,
    /// Published if the session does not end by a plain DISCONNECT.
    pub will: Option<Will>,
}

impl std::fmt::Debug for Connect {
    /// Everything but the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("session_expiry", &self.session_expiry)
            .field("will", &self.will)
            .finish_non_exhaustive()
    }
}

/// A will message, to be classified like any publish (its topic may be a bridge's state:
/// [`Message::is_bridge_state`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// The message itself.
    pub message: Message,
    /// Seconds to wait for the client to come back before publishing (MQTT 5), the session's expiry
    /// permitting. The session does not wait; the hub may.
    pub delay: u32,
}

/// One PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Topic, payload, properties.
    pub message: Message,
    /// Hand back to `acknowledge`, in the order received.
    pub receipt: Receipt,
    /// The packet identifier of a QoS 2 publish: where the session persists, it must be on record together
    /// with the message, unless the publish is refused to an MQTT 5 client ([`Publish::opens`]).
    pub exchange: Option<u16>,
    /// The client says that it sent this before.
    pub dup: bool,
}

impl Publish {
    /// The packet identifier that stays open, once this publish is acknowledged, until its release: a QoS 2
    /// publish's, save one that is refused in MQTT 5, where the refusal ends the exchange.
    #[must_use]
    pub fn opens(&self, version: Version, refused: bool) -> Option<u16> {
        self.exchange.filter(|_| !refused || version == Version::V3)
    }
}

/// One PUBREL of an exchange that is open: from now on its packet identifier is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Hand back to `acknowledge`, in its turn among the publishes' receipts.
    pub receipt: Receipt,
    /// Which.
    pub packet_id: u16,
}

/// A topic, a payload, and what belongs to them. Holds one reference to the buffer that was read from
/// the socket: a message that is kept long should be copied.
#[derive(Clone)]
pub struct Message {
    /// From the topic's first byte to the payload's last.
    pub(crate) bytes: Bytes,
    pub(crate) topic_len: u16,
    pub(crate) payload_at: u32,
    /// The topic where an alias stood for it.
    pub(crate) aliased: Option<Arc<str>>,
    /// As sent.
    pub qos: Qos,
    /// Carried as a fact; nothing is retained.
    pub retain: bool,
    /// MQTT 5 properties, absent when there are none.
    pub properties: Option<Box<Properties>>,
}

/// Properties of an MQTT 5 publish or will.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The sender says that the payload is UTF-8.
    pub payload_is_utf8: bool,
    /// Seconds.
    pub message_expiry: Option<u32>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic: well formed, without wildcards.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// In the order sent; keys may repeat.
    pub user: Vec<(String, String)>,
}

impl Message {
    /// The topic name: never empty, without wildcards and NUL.
    ///
    /// Checked again at each call (about 6 ns for 40 bytes of ASCII): keep the result, or use
    /// [`Message::topic_bytes`].
    #[must_use]
    pub fn topic(&self) -> &str {
        match &self.aliased {
            Some(topic) => topic,
            // INVARIANT: `topic::check` has accepted these bytes, so they are UTF-8.
            None => std::str::from_utf8(self.topic_bytes()).unwrap_or_default(),
        }
    }

    /// The topic name as UTF-8 bytes.
    #[must_use]
    #[inline]
    pub fn topic_bytes(&self) -> &[u8] {
        match &self.aliased {
            Some(topic) => topic.as_bytes(),
            None => self.bytes.get(..usize::from(self.topic_len)).unwrap_or_default(),
        }
    }

    /// The payload; may be empty, which is a message like any other.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload_start()..).unwrap_or_default()
    }

    /// The payload as a reference of its own, not a copy.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        self.bytes.slice(self.payload_start().min(self.bytes.len())..)
    }

    /// Whether the topic is a mosquitto bridge's state: see [`Event::BridgeState`].
    #[must_use]
    pub fn is_bridge_state(&self) -> bool {
        // INVARIANT: no other topic beginning with `$` gets into a will or a `BridgeState` event.
        self.topic_bytes().first() == Some(&b'$')
    }

    /// User properties in the order sent; empty in 3.1.1.
    #[must_use]
    pub fn user_properties(&self) -> &[(String, String)] {
        self.properties.as_deref().map_or(&[], |properties| properties.user.as_slice())
    }

    /// Whether the payload is what its Payload Format Indicator says; if not, refuse with
    /// [`Refusal::PayloadFormatInvalid`].
    #[must_use]
    pub fn payload_format_holds(&self) -> bool {
        !self.properties.as_deref().is_some_and(|properties| properties.payload_is_utf8)
            || std::str::from_utf8(self.payload()).is_ok()
    }

    fn payload_start(&self) -> usize {
        usize::try_from(self.payload_at).unwrap_or(usize::MAX)
    }
}

impl PartialEq for Message {
    /// Equal as the client meant them, wherever the bytes lie.
    fn eq(&self, other: &Self) -> bool {
        self.topic_bytes() == other.topic_bytes()
            && self.payload() == other.payload()
            && (self.qos, self.retain) == (other.qos, other.retain)
            && self.properties == other.properties
    }
}

impl Eq for Message {}

impl std::fmt::Debug for Message {
    /// The payload's length only: payloads do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_bytes", &self.payload().len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .finish()
    }
}

/// Stands for one publish or release of one session until it is acknowledged.
///
/// INVARIANT: made only by the session, which numbers what wants an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// From 1.
    pub(crate) sequence: Option<NonZeroU64>,
}

impl Receipt {
    /// False for QoS 0, where `acknowledge` does nothing.
    #[must_use]
    pub fn wants_acknowledgement(self) -> bool {
        self.sequence.is_some()
    }
}

/// The hub's word on one publish, after its journal's watermark has passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack<'a> {
    /// It is kept (delivered, quarantined or held).
    Accepted,
    /// It is not kept, the refusal is recorded, and the client must forget it. MQTT 3.1.1 cannot say so:
    /// there the client gets a plain PUBACK or PUBREC.
    Refused(Refusal, Option<&'a str>),
}

/// Why a publish is refused: the error codes that PUBACK and PUBREC may carry (MQTT 5 section 3.4.2.1), except
/// packet identifier in use. An oversized payload within the packet limit is `QuotaExceeded`: 0x95 is no
/// PUBACK code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// 0x80
    Unspecified = 0x80,
    /// 0x83: the policy says no; give a reason string.
    ImplementationSpecific = 0x83,
    /// 0x87: topic outside the source, command, reserved topic.
    NotAuthorized = 0x87,
    /// 0x90: well formed, and not taken.
    TopicNameInvalid = 0x90,
    /// 0x97: a limit on one message.
    QuotaExceeded = 0x97,
    /// 0x99: a false Payload Format Indicator.
    PayloadFormatInvalid = 0x99,
}

/// How the hub accepts a CONNECT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Whether state of an earlier connection is held; never true after a clean start.
    pub session_present: bool,
    /// With it, the packet identifiers of the QoS 2 publishes on record that were not released.
    pub open: Vec<u16>,
    /// Required when an MQTT 5 client sent an empty identifier; not told to 3.1.1 clients.
    pub assigned_client_id: Option<String>,
    /// Instead of [`Limits::receive_maximum`](crate::Limits::receive_maximum), for a gateway. At least 1.
    pub receive_maximum: Option<u16>,
    /// Seconds, where the hub keeps the session for another time than asked (MQTT 5).
    pub session_expiry: Option<u32>,
}

/// `acknowledge` was called for another publish than the oldest unacknowledged one. The session has
/// closed without acknowledging anything: the client keeps its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "publish acknowledged out of order; the session is closed and its client will send again; this is a defect in the caller"
)]
pub struct OutOfOrder;
