//! Why things end: closed enums with the code the peer gets (MQTT 5 section 2.4, MQTT 3.1.1 section
//! 3.2.2.3) and a stable `snake_case` name for logs and metrics. No text here is sent by itself; what
//! the client is told beside the code is decided in `session.rs`.

use std::fmt;

use rumqttd::protocol::ConnectReturnCode;

/// Why a session is over. One value per session, reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The client said goodbye; its will is dropped.
    ClientDisconnect,
    /// The client left and asked for its will to be published (MQTT 5, 0x04).
    ClientDisconnectWithWill,
    /// The client left with an error code of 0x80 or above (MQTT 5).
    ClientReportedError,
    /// The connection ended without DISCONNECT.
    ConnectionLost,
    /// No whole CONNECT in time.
    ConnectTimeout,
    /// One and a half keep-alive periods without a packet.
    KeepAliveTimeout,
    /// The first packet was not CONNECT.
    NotConnect,
    /// A protocol name or level that this server does not speak.
    UnsupportedVersion,
    /// The CONNECT was well formed and not accepted.
    Refused(ConnectRefusal),
    /// Bytes that no version of the standard allows.
    MalformedPacket,
    /// A well-formed packet that the standard forbids here.
    ProtocolError,
    /// A packet above the limit.
    PacketTooLarge,
    /// A topic name with a wildcard, or one too long to be given an alias.
    TopicNameInvalid,
    /// Topic alias 0, or above the announced maximum.
    TopicAliasInvalid,
    /// More unacknowledged publishes than announced (MQTT 5).
    ReceiveMaximumExceeded,
    /// More topic filters in one packet than the limit.
    QuotaExceeded,
    /// The hub ended it.
    Hub(DisconnectReason),
    /// The hub broke this crate's contract (acknowledged out of order).
    Internal,
}

/// Why the hub does not accept a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectRefusal {
    /// User name or password is wrong.
    BadCredentials,
    /// Known, and not allowed here.
    NotAuthorized,
    /// The client identifier is not acceptable (or empty without clean session in 3.1.1).
    ClientIdInvalid,
    /// The hub cannot serve now (starting, stopping, disk full).
    ServerUnavailable,
    /// Too many connections at present.
    ServerBusy,
    /// Barred by the operator.
    Banned,
    /// Enhanced authentication is not offered.
    BadAuthenticationMethod,
    /// A quota of this source, or a limit of CONNECT's content, is exceeded.
    QuotaExceeded,
    /// This source or address connects too often.
    ConnectionRateExceeded,
    /// The will's topic is well formed and not acceptable.
    TopicNameInvalid,
}

/// Why the hub ends a live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisconnectReason {
    /// The hub stops in good order.
    ServerShuttingDown,
    /// The same client connected again.
    SessionTakenOver,
    /// The disk or this source's quota is full: the client keeps what is not acknowledged.
    QuotaExceeded,
    /// The source sends faster than it may.
    MessageRateTooHigh,
    /// The source's rights were withdrawn (a revoked certificate, a changed policy).
    NotAuthorized,
    /// The operator asked for it.
    AdministrativeAction,
    /// Overload.
    ServerBusy,
    /// Too many refused publishes, or anything without a better name.
    Unspecified,
}

impl CloseReason {
    /// Stable, for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientDisconnect => "client_disconnect",
            Self::ClientDisconnectWithWill => "client_disconnect_with_will",
            Self::ClientReportedError => "client_reported_error",
            Self::ConnectionLost => "connection_lost",
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::NotConnect => "not_connect",
            Self::UnsupportedVersion => "unsupported_version",
            Self::Refused(refusal) => refusal.name(),
            Self::MalformedPacket => "malformed_packet",
            Self::ProtocolError => "protocol_error",
            Self::PacketTooLarge => "packet_too_large",
            Self::TopicNameInvalid => "topic_name_invalid",
            Self::TopicAliasInvalid => "topic_alias_invalid",
            Self::ReceiveMaximumExceeded => "receive_maximum_exceeded",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Hub(reason) => reason.name(),
            Self::Internal => "internal_error",
        }
    }

    /// What an MQTT 5 client is told in DISCONNECT (section 3.14.2.1); `None`: nothing, the connection
    /// just ends.
    pub(crate) fn disconnect_code(self) -> Option<u8> {
        Some(match self {
            Self::MalformedPacket => 0x81,
            Self::ProtocolError => 0x82,
            Self::Internal => 0x83,
            Self::KeepAliveTimeout => 0x8D,
            Self::TopicNameInvalid => 0x90,
            Self::ReceiveMaximumExceeded => 0x93,
            Self::TopicAliasInvalid => 0x94,
            Self::PacketTooLarge => 0x95,
            Self::QuotaExceeded => 0x97,
            Self::Hub(reason) => reason.code(),
            Self::ClientDisconnect
            | Self::ClientDisconnectWithWill
            | Self::ClientReportedError
            | Self::ConnectionLost
            | Self::ConnectTimeout
            | Self::NotConnect
            | Self::UnsupportedVersion
            | Self::Refused(_) => return None,
        })
    }

    /// What an MQTT 5 client is told in CONNACK when its CONNECT cannot be read; `None`: nothing.
    pub(crate) fn connack_code(self) -> Option<ConnectReturnCode> {
        use ConnectReturnCode as Code;
        Some(match self {
            Self::MalformedPacket => Code::MalformedPacket,
            Self::ProtocolError => Code::ProtocolError,
            Self::TopicNameInvalid => Code::TopicNameInvalid,
            Self::QuotaExceeded => Code::QuotaExceeded,
            Self::Refused(refusal) => refusal.v5_code(),
            Self::ClientDisconnect
            | Self::ClientDisconnectWithWill
            | Self::ClientReportedError
            | Self::ConnectionLost
            | Self::ConnectTimeout
            | Self::KeepAliveTimeout
            | Self::NotConnect
            | Self::UnsupportedVersion
            | Self::PacketTooLarge
            | Self::TopicAliasInvalid
            | Self::ReceiveMaximumExceeded
            | Self::Hub(_)
            | Self::Internal => return None,
        })
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ConnectRefusal {
    /// Stable, for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadCredentials => "refused_bad_credentials",
            Self::NotAuthorized => "refused_not_authorized",
            Self::ClientIdInvalid => "refused_client_id_invalid",
            Self::ServerUnavailable => "refused_server_unavailable",
            Self::ServerBusy => "refused_server_busy",
            Self::Banned => "refused_banned",
            Self::BadAuthenticationMethod => "refused_bad_authentication_method",
            Self::QuotaExceeded => "refused_quota_exceeded",
            Self::ConnectionRateExceeded => "refused_connection_rate_exceeded",
            Self::TopicNameInvalid => "refused_topic_name_invalid",
        }
    }

    pub(crate) fn v5_code(self) -> ConnectReturnCode {
        match self {
            Self::BadCredentials => ConnectReturnCode::BadUserNamePassword,
            Self::NotAuthorized => ConnectReturnCode::NotAuthorized,
            Self::ClientIdInvalid => ConnectReturnCode::ClientIdentifierNotValid,
            Self::ServerUnavailable => ConnectReturnCode::ServerUnavailable,
            Self::ServerBusy => ConnectReturnCode::ServerBusy,
            Self::Banned => ConnectReturnCode::Banned,
            Self::BadAuthenticationMethod => ConnectReturnCode::BadAuthenticationMethod,
            Self::QuotaExceeded => ConnectReturnCode::QuotaExceeded,
            Self::ConnectionRateExceeded => ConnectReturnCode::ConnectionRateExceeded,
            Self::TopicNameInvalid => ConnectReturnCode::TopicNameInvalid,
        }
    }

    /// MQTT 3.1.1 knows five codes; the v4 encoder of the codec panics on any other.
    pub(crate) fn v4_code(self) -> ConnectReturnCode {
        match self {
            Self::BadCredentials => ConnectReturnCode::BadUserNamePassword,
            Self::ClientIdInvalid => ConnectReturnCode::ClientIdentifierNotValid,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod | Self::TopicNameInvalid => {
                ConnectReturnCode::NotAuthorized
            }
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded => ConnectReturnCode::ServiceUnavailable,
        }
    }
}

impl DisconnectReason {
    /// Stable, for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerShuttingDown => "hub_shutting_down",
            Self::SessionTakenOver => "hub_session_taken_over",
            Self::QuotaExceeded => "hub_quota_exceeded",
            Self::MessageRateTooHigh => "hub_message_rate_too_high",
            Self::NotAuthorized => "hub_not_authorized",
            Self::AdministrativeAction => "hub_administrative_action",
            Self::ServerBusy => "hub_server_busy",
            Self::Unspecified => "hub_unspecified",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0x80,
            Self::NotAuthorized => 0x87,
            Self::ServerBusy => 0x89,
            Self::ServerShuttingDown => 0x8B,
            Self::SessionTakenOver => 0x8E,
            Self::MessageRateTooHigh => 0x96,
            Self::QuotaExceeded => 0x97,
            Self::AdministrativeAction => 0x98,
        }
    }
}

/// A reason to end the session found while reading a packet, with what exactly was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: CloseReason,
    pub(crate) detail: &'static str,
}

impl Fault {
    pub(crate) const fn new(reason: CloseReason, detail: &'static str) -> Self {
        Self { reason, detail }
    }

    pub(crate) const fn malformed(detail: &'static str) -> Self {
        Self::new(CloseReason::MalformedPacket, detail)
    }

    pub(crate) const fn protocol(detail: &'static str) -> Self {
        Self::new(CloseReason::ProtocolError, detail)
    }

    pub(crate) const fn refused(refusal: ConnectRefusal, detail: &'static str) -> Self {
        Self::new(CloseReason::Refused(refusal), detail)
    }
}
