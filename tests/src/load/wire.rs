//! The few MQTT packets a publisher needs, 3.1.1 and 5, over a blocking
//! socket. Written apart from the hub's codecs on purpose: a fault shared by
//! both sides would hide itself.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use crate::peer::{Peer, Stream};

/// The protocol level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

/// The delivery guarantee of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    AtLeastOnce,
    ExactlyOnce,
}

/// What the hub sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A PUBACK; the reason code is 0 in 3.1.1.
    Ack { packet: u16, reason: u8 },
    /// A PUBREC; the reason code is 0 in 3.1.1.
    Received { packet: u16, reason: u8 },
    /// A PUBCOMP.
    Complete { packet: u16 },
    /// A DISCONNECT (MQTT 5), with its reason code.
    Disconnect(u8),
}

/// A PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// A connected client.
pub struct Wire {
    stream: Stream,
    version: Version,
    session_present: bool,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects; `Err` with `PermissionDenied` if the CONNACK refuses (its code in the message).
    pub fn connect(hub: impl Into<Peer>, version: Version, client: &str, user: &str) -> io::Result<Self> {
        Self::open(hub, version, &connect(version, client, user))
    }

    /// The same with a CONNECT already encoded.
    pub fn open(hub: impl Into<Peer>, version: Version, connect: &[u8]) -> io::Result<Self> {
        let mut stream = hub.into().connect()?;
        stream.write_all(connect)?;
        let mut wire = Self { stream, version, session_present: false, buffer: Vec::new() };
        let (first, body) = wire.packet()?.ok_or_else(|| io::Error::from(ErrorKind::TimedOut))?;
        match (first, body.get(1)) {
            (0x20, Some(0)) => {
                wire.session_present = body[0] & 1 == 1;
                Ok(wire)
            }
            (0x20, Some(code)) => {
                Err(io::Error::new(ErrorKind::PermissionDenied, format!("CONNACK {code:#04x}")))
            }
            _ => Err(io::Error::new(ErrorKind::InvalidData, format!("{first:#04x} in place of a CONNACK"))),
        }
    }

    /// Whether the hub goes on with an earlier session.
    pub fn session_present(&self) -> bool {
        self.session_present
    }

    /// Sends packets, already encoded by [`publish`] and [`pubrel`].
    pub fn send(&mut self, packets: &[u8]) -> io::Result<()> {
        self.stream.write_all(packets)
    }

    /// The next answer; `None`: nothing came within `wait`.
    pub fn answer(&mut self, wait: Duration) -> io::Result<Option<Answer>> {
        self.stream.set_read_timeout(wait.max(Duration::from_millis(1)))?;
        let Some((first, body)) = self.packet()? else { return Ok(None) };
        let byte = |at: usize| body.get(at).copied().unwrap_or(0);
        let packet = u16::from_be_bytes([byte(0), byte(1)]);
        match first {
            0x40 => Ok(Some(Answer::Ack { packet, reason: byte(2) })),
            0x50 => Ok(Some(Answer::Received { packet, reason: byte(2) })),
            0x70 => Ok(Some(Answer::Complete { packet })),
            0xE0 => Ok(Some(Answer::Disconnect(byte(0)))),
            other => Err(io::Error::new(ErrorKind::InvalidData, format!("unexpected packet {other:#04x}"))),
        }
    }

    /// What a DISCONNECT of MQTT 5 says beside its code; `None`: nothing came within `wait`.
    pub fn farewell(&mut self, wait: Duration) -> io::Result<Option<(u8, String)>> {
        self.stream.set_read_timeout(wait)?;
        let Some((first, body)) = self.packet()? else { return Ok(None) };
        if first != 0xE0 {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("{first:#04x} in place of DISCONNECT"),
            ));
        }
        Ok(Some((body[0], String::from_utf8_lossy(&body[1..]).into_owned())))
    }

    /// An orderly end.
    pub fn disconnect(mut self) -> io::Result<()> {
        self.stream.write_all(&[0xE0, 0x00])
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// A whole packet: first byte and what follows the length.
    fn packet(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some((header, length)) = fixed_header(&self.buffer)
                && self.buffer.len() >= header + length
            {
                let packet: Vec<u8> = self.buffer.drain(..header + length).collect();
                return Ok(Some((packet[0], packet[header..].to_vec())));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A PUBLISH.
pub fn publish(
    (version, qos): (Version, Qos),
    packet: u16,
    again: bool,
    topic: &str,
    payload: &[u8],
    into: &mut Vec<u8>,
) {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let length = 2 + topic.len() + 2 + properties.len() + payload.len();
    let qos = if qos == Qos::ExactlyOnce { 4 } else { 2 };
    into.push(0x30 | u8::from(again) << 3 | qos);
    remaining_length(length, into);
    string(topic, into);
    into.extend(packet.to_be_bytes());
    into.extend(properties);
    into.extend(payload);
}

/// A PUBREL.
pub fn pubrel(packet: u16, into: &mut Vec<u8>) {
    into.extend([0x62, 2]);
    into.extend(packet.to_be_bytes());
}

/// A will of MQTT 5, QoS 1.
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    /// Seconds.
    pub delay: u32,
    pub topic: &'a str,
    pub payload: &'a str,
}

/// CONNECT with a session that outlives the connection, and no password (`username-only`).
pub fn connect(version: Version, client: &str, user: &str) -> Vec<u8> {
    let properties: &[u8] = match version {
        Version::V311 => &[],
        Version::V5 => &[5, 0x11, 0, 0, 0x0E, 0x10], // session expiry: one hour
    };
    let mut body = connect_head(version, 0x80, properties); // user name; no clean start
    string(client, &mut body);
    string(user, &mut body);
    packet(0x10, &body)
}

/// The same in MQTT 5 with a will.
pub fn connect_with_will(client: &str, user: &str, will: Will<'_>) -> Vec<u8> {
    let mut body = connect_head(Version::V5, 0x8C, &[5, 0x11, 0, 0, 0x0E, 0x10]);
    string(client, &mut body);
    body.extend([5, 0x18]);
    body.extend(will.delay.to_be_bytes());
    string(will.topic, &mut body);
    string(will.payload, &mut body);
    string(user, &mut body);
    packet(0x10, &body)
}

/// The same with a password.
pub fn connect_with_password(version: Version, client: &str, user: &str, password: &str) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let mut body = connect_head(version, 0xC2, properties);
    for text in [client, user, password] {
        string(text, &mut body);
    }
    packet(0x10, &body)
}

fn connect_head(version: Version, flags: u8, properties: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    string("MQTT", &mut body);
    body.push(if version == Version::V5 { 5 } else { 4 });
    body.push(flags);
    body.extend(60_u16.to_be_bytes());
    body.extend(properties);
    body
}

/// A packet: its first byte, its length, its content.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    remaining_length(body.len(), &mut packet);
    packet.extend(body);
    packet
}

fn string(text: &str, into: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("test topics are short");
    into.extend(length.to_be_bytes());
    into.extend(text.as_bytes());
}

fn remaining_length(mut length: usize, into: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        into.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

/// Length of the fixed header, and the remaining length.
fn fixed_header(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((at + 2, length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_and_read_alike() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let mut bytes = vec![0x30];
            remaining_length(length, &mut bytes);
            assert_eq!(fixed_header(&bytes), Some((bytes.len(), length)));
        }
    }

    #[test]
    fn a_publish_is_what_the_standard_draws() {
        let mut bytes = Vec::new();
        publish((Version::V311, Qos::AtLeastOnce), 10, false, "a/b", b"xy", &mut bytes);
        assert_eq!(bytes, b"\x32\x09\x00\x03a/b\x00\x0axy");
        bytes.clear();
        publish((Version::V5, Qos::AtLeastOnce), 10, true, "a/b", b"xy", &mut bytes);
        assert_eq!(bytes, b"\x3a\x0a\x00\x03a/b\x00\x0a\x00xy");
        bytes.clear();
        publish((Version::V311, Qos::ExactlyOnce), 10, false, "a/b", b"xy", &mut bytes);
        pubrel(10, &mut bytes);
        assert_eq!(bytes, b"\x34\x09\x00\x03a/b\x00\x0axy\x62\x02\x00\x0a");
    }
}
