//! What a subscriber is asked to do, what it hears, and how it ends. Plain values.

use bytes::Bytes;

use crate::event::{Publish, Version};
use crate::reason::{CloseReason, Fault};
use crate::topic::Inadmissible;

/// What the hub asks of a broker, the same at each connection.
#[derive(Clone)]
pub struct Asks {
    /// Which standard to speak.
    pub version: Version,
    /// The session's name there: not empty, for the session is to outlive the connection.
    pub client_id: String,
    /// User name, if the broker wants one.
    pub user_name: Option<String>,
    /// Password, likewise.
    pub password: Option<Bytes>,
    /// Seconds between two signs of life, at least 1.
    pub keep_alive: u16,
    /// Seconds that the broker keeps the session without a connection (MQTT 5; in 3.1.1 that is the broker's
    /// choice).
    pub session_expiry: u32,
    /// Messages that may await their acknowledgement, at least 1. A 3.1.1 broker is not told: it is not read.
    pub receive_maximum: u16,
    /// What to subscribe to, at QoS 1.
    pub filters: Vec<String>,
}

impl std::fmt::Debug for Asks {
    /// Everything but the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asks")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("filters", &self.filters)
            .finish_non_exhaustive()
    }
}

/// What came from the broker, in the order of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The connection stands.
    Connected {
        /// The broker has the session of an earlier connection, and what it kept for it.
        session_present: bool,
    },
    /// Every subscription stands, at QoS 1.
    Subscribed,
    /// A message: acknowledge its receipt once it is stored.
    Publish(Publish),
    /// One that must not become a message: record it, then acknowledge it like any other.
    Inadmissible(Publish, Inadmissible),
    /// Nothing follows. Write what is in `output`, then close the connection.
    Ended(End),
}

/// What a broker says that it does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Its messages come at QoS 0 only.
    AtLeastOnce,
    /// `$share/…`
    SharedSubscriptions,
    /// `+` and `#`
    Wildcards,
}

/// How a connection to a broker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The hub left in good order; the broker keeps the session.
    Left,
    /// End of stream, reset, or a failed write.
    Lost,
    /// Neither CONNACK nor SUBACK in time.
    NoAnswer,
    /// Nothing came for a whole keep-alive, a PINGREQ included.
    Silent,
    /// CONNACK with this code: 1 to 5 in MQTT 3.1.1, 0x80 and above in 5.
    Refused(u8),
    /// The broker does not offer what the subscriptions need (MQTT 5).
    Lacks(Lack),
    /// A subscription is refused, or granted without acknowledgements.
    NotSubscribed {
        /// Which of the filters.
        filter: usize,
        /// 0: QoS 0; else the refusal.
        code: u8,
    },
    /// DISCONNECT with this code (MQTT 5).
    Disconnected(u8),
    /// A packet above the limit, of so many bytes.
    TooLarge(usize),
    /// Bytes that no broker may send, and what exactly was wrong.
    Fault(CloseReason, &'static str),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault.reason, fault.detail)
    }
}

impl End {
    /// What an MQTT 5 broker is told.
    pub(super) fn disconnect_code(self) -> Option<u8> {
        match self {
            Self::Fault(reason, _) => reason.disconnect_code(),
            Self::TooLarge(_) => CloseReason::PacketTooLarge.disconnect_code(),
            Self::Left => Some(0),
            Self::Silent | Self::NotSubscribed { .. } | Self::Lacks(_) => Some(0x80),
            Self::Lost | Self::NoAnswer | Self::Refused(_) | Self::Disconnected(_) => None,
        }
    }
}
