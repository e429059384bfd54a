//! PUBLISH (MQTT 5 section 3.3), the hot path.
//!
//! It is read here and not by the codec: every byte before the payload must be looked at anyway, and one
//! reference with offsets is cheaper than the codec's `Packet` (392 bytes) with its references. Measured
//! alone on 200-byte publishes, the codec took 64 ns (3.1.1) and 75 ns (5) per frame, one split with
//! offsets 18 ns. With all checks and the event, `Session::receive` takes about 0.7 of what the codec takes
//! alone and unchecked: `examples/parse.rs`. The codec reads the properties, where a publish has any beside
//! a topic alias.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{Packet, Protocol, PublishProperties};

use crate::properties::{self, Seen};
use crate::reason::{CloseReason, Fault};
use crate::topic::{self, TopicKind};
use crate::wire::{FixedHeader, Reader, put_varint};
use crate::{Inadmissible, Limits, Message, Properties, Qos, Version};

/// A PUBLISH that the standard allows.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) message: Message,
    pub(crate) kind: TopicKind,
    /// 0 for QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) dup: bool,
}

/// The topic aliases one client has defined (MQTT 5 section 3.3.2.3.4).
/// INVARIANT: at most `maximum` entries, each a topic of at most `Limits::topic_bytes`.
#[derive(Debug)]
pub(crate) struct Aliases {
    maximum: u16,
    topics: Vec<Option<Arc<str>>>,
}

impl Aliases {
    pub(crate) fn new(maximum: u16) -> Self {
        Self { maximum, topics: Vec::new() }
    }

    fn check(&self, alias: u16) -> Result<usize, Fault> {
        if alias > self.maximum {
            return Err(Fault::new(
                CloseReason::TopicAliasInvalid,
                "topic alias above the announced maximum",
            ));
        }
        Ok(usize::from(alias).saturating_sub(1))
    }

    fn set(&mut self, alias: u16, topic: &str) -> Result<(), Fault> {
        let at = self.check(alias)?;
        if at >= self.topics.len() {
            self.topics.resize(at + 1, None);
        }
        if let Some(entry) = self.topics.get_mut(at)
            && entry.as_deref() != Some(topic)
        {
            *entry = Some(Arc::from(topic));
        }
        Ok(())
    }

    fn get(&self, alias: u16) -> Result<Arc<str>, Fault> {
        let at = self.check(alias)?;
        let Some(topic) = self.topics.get(at).cloned().flatten() else {
            return Err(Fault::protocol("a topic alias that was never defined"));
        };
        Ok(topic)
    }
}

/// The quality of service in a PUBLISH's fixed header; DUP has no meaning at QoS 0.
#[inline]
pub(crate) fn qos(flags: u8) -> Result<Qos, Fault> {
    match (flags >> 1) & 3 {
        0 if flags & 8 != 0 => Err(Fault::malformed("DUP on a QoS 0 publish")),
        0 => Ok(Qos::AtMostOnce),
        1 => Ok(Qos::AtLeastOnce),
        2 => Ok(Qos::ExactlyOnce),
        _ => Err(Fault::malformed("QoS 3")),
    }
}

/// Reads one whole frame.
#[inline]
pub(crate) fn read(
    frame: Bytes,
    header: FixedHeader,
    version: Version,
    aliases: &mut Aliases,
    limits: &Limits,
) -> Result<Parsed, Fault> {
    let qos = qos(header.flags())?;
    let mut body = Reader::new(frame.get(header.len..).unwrap_or_default());
    let topic = body.binary()?;
    let packet_id = if qos == Qos::AtMostOnce { 0 } else { body.packet_id()? };
    let topic_kind = if topic.is_empty() { None } else { Some(topic::check(topic, limits)?) };

    let (seen, properties) = match version {
        Version::V3 => (Seen::default(), None),
        Version::V5 => read_properties(&mut body, limits)?,
    };
    let (kind, aliased) = resolve(topic, topic_kind, seen, aliases, limits)?;
    let kind = match kind {
        TopicKind::Ordinary | TopicKind::BridgeState if seen.user_properties > limits.user_properties => {
            TopicKind::Inadmissible(Inadmissible::UserProperties)
        }
        TopicKind::Ordinary | TopicKind::BridgeState | TopicKind::Inadmissible(_) => kind,
    };

    let payload_len = body.len();
    let topic_at = header.len + 2;
    let topic_len = u16::try_from(topic.len()).unwrap_or(u16::MAX);
    let payload_at = frame.len().saturating_sub(payload_len + topic_at);
    let mut bytes = frame;
    bytes::Buf::advance(&mut bytes, topic_at);
    Ok(Parsed {
        message: Message {
            bytes,
            topic_len,
            payload_at: u32::try_from(payload_at).unwrap_or(u32::MAX),
            aliased,
            qos,
            retain: header.flags() & 1 != 0,
            properties,
        },
        kind,
        packet_id,
        dup: header.flags() & 8 != 0,
    })
}

/// The topic's kind, and the topic itself where an alias stands for it.
#[inline]
fn resolve(
    topic: &[u8],
    kind: Option<TopicKind>,
    seen: Seen,
    aliases: &mut Aliases,
    limits: &Limits,
) -> Result<(TopicKind, Option<Arc<str>>), Fault> {
    match (kind, seen.topic_alias) {
        (Some(kind), None) => Ok((kind, None)),
        (Some(kind), Some(alias)) => {
            let text = std::str::from_utf8(topic).unwrap_or_default();
            if topic.len() > limits.topic_bytes {
                // Nothing later could say which topic the alias stands for.
                return Err(Fault::new(
                    CloseReason::TopicNameInvalid,
                    "a topic alias for a topic that is too long",
                ));
            }
            aliases.set(alias, text)?;
            Ok((kind, None))
        }
        (None, Some(alias)) => {
            let topic = aliases.get(alias)?;
            Ok((topic::check(topic.as_bytes(), limits)?, Some(topic)))
        }
        (None, None) => Err(Fault::protocol("an empty topic name without topic alias")),
    }
}

fn read_properties(body: &mut Reader<'_>, limits: &Limits) -> Result<(Seen, Option<Box<Properties>>), Fault> {
    let before = body.rest();
    let seen = properties::PUBLISH.check(body)?;
    if seen.has_subscription_identifier() {
        return Err(Fault::protocol("a subscription identifier from a client"));
    }
    if !seen.beside_topic_alias() || seen.user_properties > limits.user_properties {
        return Ok((seen, None));
    }
    // The codec takes whole packets: the same properties, in a publish without topic and payload.
    let properties = before.get(..before.len().saturating_sub(body.len())).unwrap_or_default();
    let mut packet = BytesMut::with_capacity(5 + 2 + properties.len());
    packet.extend_from_slice(&[0x30]);
    put_varint(&mut packet, 2 + properties.len());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(properties);
    match V5.read_mut(&mut packet, usize::MAX) {
        Ok(Packet::Publish(_, Some(properties))) => Ok((seen, Some(Box::new(properties.into())))),
        _ => Err(Fault::malformed("the properties cannot be read")),
    }
}

impl From<PublishProperties> for Properties {
    fn from(from: PublishProperties) -> Self {
        Self {
            payload_is_utf8: from.payload_format_indicator == Some(1),
            message_expiry: from.message_expiry_interval,
            content_type: from.content_type,
            response_topic: from.response_topic,
            correlation_data: from.correlation_data,
            user: from.user_properties,
        }
    }
}
