//! Packets to the client. PUBACK, PUBREC, PUBCOMP and PINGRESP, of which there are many, are written by hand,
//! and so is DISCONNECT: without properties the codec writes a wrong length, with empty ones it leaves the reason
//! code out. CONNACK, SUBACK and UNSUBACK are written by the codec. Nothing larger than the client's Maximum Packet Size leaves [MQTT-3.1.2-24].

use bytes::{BufMut, BytesMut};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Packet, Protocol, SubAck, SubscribeReasonCode, UnsubAck,
    UnsubAckReason,
};

use crate::wire::put_varint;
use crate::{Refusal, Version};

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;
/// Reason code: the identifier of this publish was another's when it came.
const PACKET_IDENTIFIER_IN_USE: u8 = 0x91;
/// Reason code.
const PACKET_IDENTIFIER_NOT_FOUND: u8 = 0x92;

/// The four bytes of a successful PUBACK, the same in both versions.
#[inline]
pub(crate) fn puback(out: &mut BytesMut, packet_id: u16) {
    bare(out, PUBACK, packet_id);
}

/// A successful PUBREC, the same in both versions.
pub(crate) fn pubrec(out: &mut BytesMut, packet_id: u16) {
    bare(out, PUBREC, packet_id);
}

/// A successful PUBCOMP, the same in both versions.
pub(crate) fn pubcomp(out: &mut BytesMut, packet_id: u16) {
    bare(out, PUBCOMP, packet_id);
}

#[inline]
fn bare(out: &mut BytesMut, byte1: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[byte1, 2, high, low]);
}

/// With a reason code, which MQTT 3.1.1 does not have.
fn with_code(out: &mut BytesMut, byte1: u8, version: Version, packet_id: u16, code: u8) {
    let [high, low] = packet_id.to_be_bytes();
    match version {
        Version::V3 => bare(out, byte1, packet_id),
        Version::V5 => out.extend_from_slice(&[byte1, 3, high, low, code]),
    }
}

/// PUBACK or PUBREC with a reason code (MQTT 5). The reason string is left out where it does not fit or was not
/// asked for.
pub(crate) fn refused(
    out: &mut BytesMut,
    byte1: u8,
    packet_id: u16,
    refusal: Refusal,
    reason_string: Option<&str>,
    maximum: u32,
) {
    let [high, low] = packet_id.to_be_bytes();
    with_reason(out, byte1, &[high, low, refusal as u8], reason_string, maximum);
}

/// DISCONNECT (MQTT 5).
pub(crate) fn disconnect(out: &mut BytesMut, code: u8, reason_string: Option<&str>, maximum: u32) {
    with_reason(out, 0xE0, &[code], reason_string, maximum);
}

/// A packet of at most three bytes and a reason string, which is left out where it does not fit.
fn with_reason(out: &mut BytesMut, byte1: u8, body: &[u8], reason_string: Option<&str>, maximum: u32) {
    // Fixed header, property length and the property's own header need 8 bytes at most.
    let reason_string =
        reason_string.map(clip).filter(|text| !text.is_empty() && fits(body.len() + text.len() + 8, maximum));
    out.put_u8(byte1);
    let Some(text) = reason_string else {
        put_varint(out, body.len());
        return out.put_slice(body);
    };
    let properties = 3 + text.len();
    put_varint(out, body.len() + 1 + usize::from(properties > 127) + properties);
    out.put_slice(body);
    put_varint(out, properties);
    out.put_u8(0x1F);
    out.put_u16(u16::try_from(text.len()).unwrap_or(0));
    out.put_slice(text.as_bytes());
}

pub(crate) fn pingresp(out: &mut BytesMut) {
    out.extend_from_slice(&[0xD0, 0]);
}

/// PUBCOMP for a PUBREL whose packet identifier is not known: 0x92, or plain in 3.1.1.
pub(crate) fn pubcomp_unknown(out: &mut BytesMut, version: Version, packet_id: u16) {
    with_code(out, PUBCOMP, version, packet_id, PACKET_IDENTIFIER_NOT_FOUND);
}

/// PUBREC for a QoS 2 publish that came while another of its identifier was being refused: 0x91, or plain in
/// 3.1.1.
pub(crate) fn pubrec_in_use(out: &mut BytesMut, version: Version, packet_id: u16) {
    with_code(out, PUBREC, version, packet_id, PACKET_IDENTIFIER_IN_USE);
}

/// CONNACK. `properties` are for MQTT 5 only; `code` is one of the version's.
pub(crate) fn connack(
    out: &mut BytesMut,
    version: Version,
    session_present: bool,
    code: ConnectReturnCode,
    properties: Option<ConnAckProperties>,
    maximum: u32,
) -> bool {
    let packet = Packet::ConnAck(ConnAck { session_present, code }, properties);
    write(out, version, packet, maximum)
}

/// CONNACK 0x01 in the form of 3.1.1, for a client of another level.
pub(crate) fn connack_old_level(out: &mut BytesMut) {
    out.extend_from_slice(&[0x20, 2, 0, 0x01]);
}

/// SUBACK that refuses every filter: 0x80, or 0x87 in MQTT 5.
pub(crate) fn suback_refused(
    out: &mut BytesMut,
    version: Version,
    pkid: u16,
    filters: usize,
    maximum: u32,
) -> bool {
    let code = match version {
        Version::V3 => SubscribeReasonCode::Failure,
        Version::V5 => SubscribeReasonCode::NotAuthorized,
    };
    let packet = Packet::SubAck(SubAck { pkid, return_codes: vec![code; filters] }, None);
    write(out, version, packet, maximum)
}

/// UNSUBACK: no such subscription (MQTT 5), or plain.
pub(crate) fn unsuback(
    out: &mut BytesMut,
    version: Version,
    pkid: u16,
    filters: usize,
    maximum: u32,
) -> bool {
    // The v4 encoder of the codec leaves the reasons out.
    let reasons = vec![UnsubAckReason::NoSubscriptionExisted; filters];
    write(out, version, Packet::UnsubAck(UnsubAck { pkid, reasons }, None), maximum)
}

/// Appends one packet, or nothing where it is larger than `maximum`; whether it was appended.
fn write(out: &mut BytesMut, version: Version, packet: Packet, maximum: u32) -> bool {
    let before = out.len();
    let written = match version {
        Version::V3 => V4.write(packet, out),
        Version::V5 => V5.write(packet, out),
    };
    if written.is_ok() && fits(out.len() - before, maximum) {
        return true;
    }
    out.truncate(before);
    false
}

fn fits(len: usize, maximum: u32) -> bool {
    u32::try_from(len).is_ok_and(|len| len <= maximum)
}

/// Reason strings are for people: 256 bytes are enough, and NUL may not travel.
pub(crate) fn clip(text: &str) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    text.get(..text.floor_char_boundary(256)).unwrap_or(text)
}
