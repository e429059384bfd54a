//! CONNECT (MQTT 5 section 3.1): walked field by field first, then decoded by the codec.
//!
//! The codec takes passwords only as UTF-8 and cannot tell an absent user name from an empty one, so the
//! walk keeps both facts and hands the codec the same packet without its password.

use bytes::{Bytes, BytesMut};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{
    Connect as CodecConnect, ConnectProperties, LastWill, LastWillProperties, Login, Packet, Protocol, QoS,
};

use crate::properties;
use crate::reason::{CloseReason, ConnectRefusal, Fault};
use crate::topic::{self, TopicKind};
use crate::wire::{FixedHeader, Reader, put_varint};
use crate::{Connect, Limits, Message, Qos, Version, Will};

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const RESERVED: u8 = 0x01;

/// A fault in a CONNECT and how it may be answered: the version decides the CONNACK's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectFault {
    pub(crate) answer: Answer,
    pub(crate) fault: Fault,
}

/// How the peer would understand a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not at all: it may not even speak MQTT.
    None,
    /// The client speaks this version.
    Version(Version),
    /// CONNACK 0x01 of 3.1.1: an older level, or a bridge's `try_private` (0x80 added to the level).
    OldLevel,
    /// CONNACK 0x84 of MQTT 5: a level not yet known.
    NewLevel,
}

/// What the session itself keeps of a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) version: Version,
    pub(crate) keep_alive: u16,
    pub(crate) maximum_packet_size: u32,
    pub(crate) session_expiry: u32,
    pub(crate) problem_information: bool,
    pub(crate) clean_start: bool,
    pub(crate) anonymous: bool,
}

/// Reads one whole CONNECT.
pub(crate) fn read(
    frame: &Bytes,
    header: FixedHeader,
    limits: &Limits,
) -> Result<(Connect, Asked), ConnectFault> {
    let mut body = Reader::new(frame.get(header.len..).unwrap_or_default());
    let version = read_version(&mut body)?;
    let answered = |fault| ConnectFault { answer: Answer::Version(version), fault };
    let walk = walk(&mut body, version, limits).map_err(answered)?;
    decode(frame, header, version, &walk).map_err(answered)
}

/// Protocol name and level.
fn read_version(body: &mut Reader<'_>) -> Result<Version, ConnectFault> {
    let silent = |fault| ConnectFault { answer: Answer::None, fault };
    let unsupported =
        |answer, detail| ConnectFault { answer, fault: Fault::new(CloseReason::UnsupportedVersion, detail) };
    let name = body.binary().map_err(silent)?;
    let level = body.u8().map_err(silent)?;
    match (name, level) {
        (b"MQTT", 4) => Ok(Version::V3),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 6..=0x7F) => Err(unsupported(Answer::NewLevel, "a protocol level above 5")),
        (b"MQTT", 0x80..) => Err(unsupported(Answer::OldLevel, "a bridge's private protocol level")),
        (b"MQTT" | b"MQIsdp", _) => Err(unsupported(Answer::OldLevel, "MQTT 3.1 or older")),
        _ => Err(unsupported(Answer::None, "the protocol name is not `MQTT`")),
    }
}

/// Facts of the walk that the codec does not give.
struct Walk {
    flags: u8,
    /// From the packet's end.
    password: Option<(usize, usize)>,
}

fn walk(body: &mut Reader<'_>, version: Version, limits: &Limits) -> Result<Walk, Fault> {
    let flags = body.u8()?;
    check_flags(flags, version)?;
    body.u16()?;
    let mut user_properties = 0;
    if version == Version::V5 {
        let seen = properties::CONNECT.check(body)?;
        if seen.has_authentication_method() {
            return Err(Fault::refused(
                ConnectRefusal::BadAuthenticationMethod,
                "enhanced authentication is not offered",
            ));
        }
        if seen.has_authentication_data() {
            return Err(Fault::protocol("authentication data without authentication method"));
        }
        user_properties += seen.user_properties;
    }
    body.string()?;
    if flags & WILL != 0 {
        if version == Version::V5 {
            user_properties += properties::WILL.check(body)?.user_properties;
        }
        walk_will(body, limits)?;
    }
    if user_properties > limits.user_properties {
        return Err(Fault::refused(ConnectRefusal::QuotaExceeded, "too many user properties"));
    }
    if flags & USER_NAME != 0 {
        body.string()?;
    }
    let before = body.len();
    let password = if flags & PASSWORD != 0 {
        let password = body.binary()?;
        Some((before, password.len()))
    } else {
        None
    };
    body.end()?;
    Ok(Walk { flags, password })
}

fn check_flags(flags: u8, version: Version) -> Result<(), Fault> {
    if flags & RESERVED != 0 {
        return Err(Fault::malformed("the reserved flag of CONNECT is set"));
    }
    if flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0 {
        return Err(Fault::malformed("will flags without a will"));
    }
    if flags & WILL_QOS == WILL_QOS {
        return Err(Fault::malformed("a will of QoS 3"));
    }
    if version == Version::V3 && flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        return Err(Fault::malformed("a password without user name"));
    }
    Ok(())
}

/// The will's topic obeys what a publish's topic obeys; there is no publish to refuse one by one, so the
/// CONNECT is refused.
fn walk_will(body: &mut Reader<'_>, limits: &Limits) -> Result<(), Fault> {
    let topic = body.binary()?;
    if topic.is_empty() {
        return Err(Fault::protocol("the will's topic is empty"));
    }
    let kind = topic::check(topic, limits)?;
    body.binary()?;
    match kind {
        TopicKind::Ordinary | TopicKind::BridgeState => Ok(()),
        TopicKind::Inadmissible(crate::Inadmissible::ReservedTopic) => {
            Err(Fault::refused(ConnectRefusal::NotAuthorized, "the will's topic is reserved"))
        }
        TopicKind::Inadmissible(_) => {
            Err(Fault::refused(ConnectRefusal::TopicNameInvalid, "the will's topic is not acceptable"))
        }
    }
}

fn decode(
    frame: &Bytes,
    header: FixedHeader,
    version: Version,
    walk: &Walk,
) -> Result<(Connect, Asked), Fault> {
    let end = frame.len();
    let password = walk.password.map(|(from_end, len)| {
        let start = end.saturating_sub(from_end) + 2;
        Bytes::copy_from_slice(frame.get(start..start + len).unwrap_or_default())
    });
    let keep = header.remaining.saturating_sub(walk.password.map_or(0, |(from_end, _)| from_end));
    let mut packet = without_password(frame.get(header.len..header.len + keep).unwrap_or_default());
    let decoded = match version {
        Version::V3 => V4.read_mut(&mut packet, usize::MAX),
        Version::V5 => V5.read_mut(&mut packet, usize::MAX),
    };
    let Ok(Packet::Connect(connect, properties, will, will_properties, login)) = decoded else {
        return Err(Fault::malformed("the CONNECT cannot be read"));
    };
    let will = will.map(|will| convert_will(&will, will_properties));
    if version == Version::V3 && connect.client_id.is_empty() && !connect.clean_session {
        return Err(Fault::refused(
            ConnectRefusal::ClientIdInvalid,
            "an empty client identifier without clean session",
        ));
    }
    let properties = properties.unwrap_or(NO_PROPERTIES);
    let user_name = (walk.flags & USER_NAME != 0)
        .then(|| login.map(|Login { username, .. }| username).unwrap_or_default());
    Ok(assemble(version, connect, properties, will, user_name, password))
}

fn assemble(
    version: Version,
    connect: CodecConnect,
    properties: ConnectProperties,
    will: Option<Will>,
    user_name: Option<String>,
    password: Option<Bytes>,
) -> (Connect, Asked) {
    let session_expiry = match version {
        Version::V5 => properties.session_expiry_interval.unwrap_or(0),
        Version::V3 if connect.clean_session => 0,
        Version::V3 => u32::MAX,
    };
    let asked = Asked {
        version,
        keep_alive: connect.keep_alive,
        maximum_packet_size: properties.max_packet_size.unwrap_or(u32::MAX),
        session_expiry,
        problem_information: properties.request_problem_info != Some(0),
        clean_start: connect.clean_session,
        anonymous: connect.client_id.is_empty(),
    };
    let connect = Connect {
        version,
        client_id: connect.client_id,
        user_name,
        password,
        clean_start: connect.clean_session,
        keep_alive: connect.keep_alive,
        session_expiry,
        receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
        maximum_packet_size: properties.max_packet_size,
        user_properties: properties.user_properties,
        will,
    };
    (connect, asked)
}

/// The packet anew, from a body that ends before the password.
fn without_password(body: &[u8]) -> BytesMut {
    // Protocol name (2 + 4) and level come before the flags.
    const FLAGS_AT: usize = 7;
    let mut packet = BytesMut::with_capacity(5 + body.len());
    packet.extend([0x10]);
    put_varint(&mut packet, body.len());
    let flags_at = packet.len() + FLAGS_AT;
    packet.extend_from_slice(body);
    if let Some(flags) = packet.get_mut(flags_at) {
        *flags &= !PASSWORD;
    }
    packet
}

fn convert_will(will: &LastWill, properties: Option<LastWillProperties>) -> Will {
    let mut bytes = BytesMut::with_capacity(will.topic.len() + will.message.len());
    bytes.extend_from_slice(&will.topic);
    bytes.extend_from_slice(&will.message);
    let delay = properties.as_ref().and_then(|properties| properties.delay_interval).unwrap_or(0);
    Will {
        message: Message {
            bytes: bytes.freeze(),
            topic_len: u16::try_from(will.topic.len()).unwrap_or(u16::MAX),
            payload_at: u32::try_from(will.topic.len()).unwrap_or(u32::MAX),
            aliased: None,
            qos: match will.qos {
                QoS::AtMostOnce => Qos::AtMostOnce,
                QoS::AtLeastOnce => Qos::AtLeastOnce,
                QoS::ExactlyOnce => Qos::ExactlyOnce,
            },
            retain: will.retain,
            properties: properties.map(|from| {
                Box::new(crate::Properties {
                    payload_is_utf8: from.payload_format_indicator == Some(1),
                    message_expiry: from.message_expiry_interval,
                    content_type: from.content_type,
                    response_topic: from.response_topic,
                    correlation_data: from.correlation_data,
                    user: from.user_properties,
                })
            }),
        },
        delay,
    }
}

const NO_PROPERTIES: ConnectProperties = ConnectProperties {
    session_expiry_interval: None,
    receive_maximum: None,
    max_packet_size: None,
    topic_alias_max: None,
    request_response_info: None,
    request_problem_info: None,
    user_properties: Vec::new(),
    authentication_method: None,
    authentication_data: None,
};
