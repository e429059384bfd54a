//! The other side, as far as load generators and tests need it: packets encoded once, and a reader of
//! the server's answers. It is no client: it keeps no state, resends nothing, and trusts its caller (a
//! string above 65,535 bytes is cut).

use crate::wire::{FixedHeader, Reader, put_varint};
use crate::{Qos, Version};

/// What to put into a CONNECT.
#[derive(Debug, Clone, Default)]
pub struct Connect<'a> {
    /// May be empty.
    pub client_id: &'a str,
    /// User name field.
    pub user_name: Option<&'a str>,
    /// Password field.
    pub password: Option<&'a [u8]>,
    /// Seconds.
    pub keep_alive: u16,
    /// Clean Start or Clean Session.
    pub clean_start: bool,
    /// Encoded properties without their length (MQTT 5); see [`property`].
    pub properties: &'a [u8],
    /// The will.
    pub will: Option<Publish<'a>>,
}

impl<'a> Connect<'a> {
    /// A clean session with a keep-alive of a minute.
    #[must_use]
    pub fn new(client_id: &'a str) -> Self {
        Self { client_id, keep_alive: 60, clean_start: true, ..Self::default() }
    }
}

/// What to put into a PUBLISH, or into a will (where `dup` and `packet_id` mean nothing).
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Topic name; empty with a topic alias.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// As it says.
    pub qos: Qos,
    /// Left out at QoS 0.
    pub packet_id: u16,
    /// Sent before.
    pub dup: bool,
    /// Retain flag.
    pub retain: bool,
    /// Encoded properties without their length (MQTT 5); see [`property`].
    pub properties: &'a [u8],
}

/// An encoded PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The whole packet.
    pub bytes: Vec<u8>,
    /// Where the two bytes of the packet identifier are (big endian), to be patched; `None` at QoS 0.
    pub packet_id_at: Option<usize>,
}

/// CONNECT.
#[must_use]
pub fn connect(version: Version, connect: &Connect<'_>) -> Vec<u8> {
    let mut flags = u8::from(connect.clean_start) << 1;
    let mut body = Vec::with_capacity(64);
    string(&mut body, b"MQTT");
    body.push(if version == Version::V5 { 5 } else { 4 });
    let flags_at = body.len();
    body.push(0);
    body.extend(connect.keep_alive.to_be_bytes());
    properties(&mut body, version, connect.properties);
    string(&mut body, connect.client_id.as_bytes());
    if let Some(will) = &connect.will {
        flags |= 0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
        properties(&mut body, version, will.properties);
        string(&mut body, will.topic.as_bytes());
        string(&mut body, will.payload);
    }
    if let Some(user_name) = connect.user_name {
        flags |= 0x80;
        string(&mut body, user_name.as_bytes());
    }
    if let Some(password) = connect.password {
        flags |= 0x40;
        string(&mut body, password);
    }
    if let Some(byte) = body.get_mut(flags_at) {
        *byte = flags;
    }
    packet(0x10, &body)
}

/// PUBLISH of QoS 1, or of QoS 0 without packet identifier.
#[must_use]
pub fn publish(version: Version, topic: &str, payload: &[u8], packet_id: Option<u16>) -> Encoded {
    Publish {
        topic,
        payload,
        qos: if packet_id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce },
        packet_id: packet_id.unwrap_or(0),
        dup: false,
        retain: false,
        properties: &[],
    }
    .encode(version)
}

impl Publish<'_> {
    /// PUBLISH with everything that can be said in it.
    #[must_use]
    pub fn encode(&self, version: Version) -> Encoded {
        let mut body = Vec::with_capacity(self.topic.len() + self.payload.len() + self.properties.len() + 8);
        string(&mut body, self.topic.as_bytes());
        let id_at = body.len();
        if self.qos != Qos::AtMostOnce {
            body.extend(self.packet_id.to_be_bytes());
        }
        properties(&mut body, version, self.properties);
        body.extend_from_slice(self.payload);
        let byte1 = 0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain);
        let bytes = packet(byte1, &body);
        let header = bytes.len() - body.len();
        Encoded { bytes, packet_id_at: (self.qos != Qos::AtMostOnce).then_some(header + id_at) }
    }
}

/// SUBSCRIBE to filters at QoS 1.
#[must_use]
pub fn subscribe(version: Version, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    properties(&mut body, version, &[]);
    for filter in filters {
        string(&mut body, filter.as_bytes());
        body.push(1);
    }
    packet(0x82, &body)
}

/// UNSUBSCRIBE.
#[must_use]
pub fn unsubscribe(version: Version, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    properties(&mut body, version, &[]);
    for filter in filters {
        string(&mut body, filter.as_bytes());
    }
    packet(0xA2, &body)
}

/// PUBREL.
#[must_use]
pub fn pubrel(packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [0x62, 2, high, low]
}

/// PINGREQ.
#[must_use]
pub fn pingreq() -> [u8; 2] {
    [0xC0, 0]
}

/// A plain DISCONNECT.
#[must_use]
pub fn disconnect() -> [u8; 2] {
    [0xE0, 0]
}

/// Any packet: its first byte and its content.
#[must_use]
pub fn packet(byte1: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(byte1);
    put_varint(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

/// Encoded MQTT 5 properties, to be concatenated.
pub mod property {
    /// User Property.
    #[must_use]
    pub fn user(key: &str, value: &str) -> Vec<u8> {
        let mut out = vec![0x26];
        super::string(&mut out, key.as_bytes());
        super::string(&mut out, value.as_bytes());
        out
    }

    /// A property whose value is a string or binary data.
    #[must_use]
    pub fn text(id: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![id];
        super::string(&mut out, value);
        out
    }

    /// A property of one byte.
    #[must_use]
    pub fn byte(id: u8, value: u8) -> Vec<u8> {
        vec![id, value]
    }

    /// A property of two bytes, such as the topic alias (0x23) and receive maximum (0x21).
    #[must_use]
    pub fn short(id: u8, value: u16) -> Vec<u8> {
        let mut out = vec![id];
        out.extend(value.to_be_bytes());
        out
    }

    /// A property of four bytes, such as the session expiry interval (0x11).
    #[must_use]
    pub fn long(id: u8, value: u32) -> Vec<u8> {
        let mut out = vec![id];
        out.extend(value.to_be_bytes());
        out
    }
}

/// One packet from the server, as far as a load generator cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// CONNACK and its code; 0 is success.
    ConnAck {
        /// State of an earlier connection is held.
        session_present: bool,
        /// 0, or the version's refusal.
        code: u8,
    },
    /// PUBACK.
    PubAck {
        /// Of the publish.
        packet_id: u16,
        /// 0x80 and above: refused.
        code: u8,
    },
    /// PUBREC.
    PubRec {
        /// Of the publish.
        packet_id: u16,
        /// 0x80 and above: refused.
        code: u8,
    },
    /// PUBCOMP.
    PubComp {
        /// Of the release.
        packet_id: u16,
        /// 0x92: the identifier was not known.
        code: u8,
    },
    /// DISCONNECT (MQTT 5) and its code.
    Disconnect {
        /// 0x80 and above: an error.
        code: u8,
    },
    /// PINGRESP.
    PingResp,
    /// Any other packet, by its type.
    Other(u8),
}

/// The server's bytes are no MQTT; nothing more can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is not MQTT, or above {} bytes", AckReader::LARGEST)]
pub struct NotMqtt;

/// Reads a server's answers from a stream in pieces of any size, and counts them.
#[derive(Debug, Default)]
pub struct AckReader {
    partial: Vec<u8>,
    /// PUBACKs with a code below 0x80.
    pub accepted: u64,
    /// PUBACKs with a code of 0x80 or above.
    pub refused: u64,
    /// Successful CONNACKs.
    pub connected: u64,
    /// Refusing CONNACKs and DISCONNECTs.
    pub disconnected: u64,
}

impl AckReader {
    /// Largest answer taken.
    pub const LARGEST: usize = 64 * 1024;

    /// Calls `on` for each whole packet, in order.
    ///
    /// # Errors
    ///
    /// The bytes are no MQTT.
    pub fn feed(&mut self, bytes: &[u8], mut on: impl FnMut(Reply)) -> Result<(), NotMqtt> {
        if self.partial.is_empty() {
            let used = self.read(bytes, &mut on)?;
            self.partial.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let used = self.read(&all, &mut on)?;
            all.drain(..used);
            self.partial = all;
        }
        Ok(())
    }

    fn read(&mut self, bytes: &[u8], on: &mut impl FnMut(Reply)) -> Result<usize, NotMqtt> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..) {
            // Nearly all of what comes: a PUBACK without reason.
            let reply = if let [0x40, 2, high, low, ..] = *rest {
                used += 4;
                Reply::PubAck { packet_id: u16::from_be_bytes([high, low]), code: 0 }
            } else {
                let Some(header) = FixedHeader::read(rest).map_err(|_| NotMqtt)? else { break };
                if header.frame_len() > Self::LARGEST {
                    return Err(NotMqtt);
                }
                let Some(body) = rest.get(header.len..header.frame_len()) else { break };
                used += header.frame_len();
                reply(header, body)?
            };
            self.count(reply);
            on(reply);
        }
        Ok(used)
    }

    fn count(&mut self, reply: Reply) {
        match reply {
            Reply::PubAck { code: 0x80.., .. } => self.refused += 1,
            Reply::PubAck { .. } => self.accepted += 1,
            Reply::ConnAck { code: 0, .. } => self.connected += 1,
            Reply::ConnAck { .. } | Reply::Disconnect { .. } => self.disconnected += 1,
            Reply::PubRec { .. } | Reply::PubComp { .. } | Reply::PingResp | Reply::Other(_) => {}
        }
    }
}

fn reply(header: FixedHeader, body: &[u8]) -> Result<Reply, NotMqtt> {
    let mut body = Reader::new(body);
    let short = |_| NotMqtt;
    Ok(match header.packet_type() {
        2 => Reply::ConnAck {
            session_present: body.u8().map_err(short)? & 1 != 0,
            code: body.u8().map_err(short)?,
        },
        4 => Reply::PubAck { packet_id: body.u16().map_err(short)?, code: body.u8().unwrap_or(0) },
        5 => Reply::PubRec { packet_id: body.u16().map_err(short)?, code: body.u8().unwrap_or(0) },
        7 => Reply::PubComp { packet_id: body.u16().map_err(short)?, code: body.u8().unwrap_or(0) },
        13 => Reply::PingResp,
        14 => Reply::Disconnect { code: body.u8().unwrap_or(0) },
        0 => return Err(NotMqtt),
        other => Reply::Other(other),
    })
}

fn properties(body: &mut Vec<u8>, version: Version, encoded: &[u8]) {
    if version == Version::V5 {
        put_varint(body, encoded.len());
        body.extend_from_slice(encoded);
    }
}

fn string(body: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    body.extend(len.to_be_bytes());
    body.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}
