//! Known faults of the codec: what it does with a packet, and what the session does with the same bytes.
//! When one of these tests fails after an update of the codec, its work-around can go.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use octroi_mqtt::client::{self, Connect, packet, property};
use octroi_mqtt::{CloseReason, ConnectRefusal, DisconnectReason, Version};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{Disconnect, DisconnectProperties, DisconnectReasonCode, Error, Packet, Protocol};

use super::Hub;

fn v5(bytes: &[u8]) -> Result<Packet, Error> {
    V5.read_mut(&mut BytesMut::from(bytes), usize::MAX)
}

fn v4(bytes: &[u8]) -> Result<Packet, Error> {
    V4.read_mut(&mut BytesMut::from(bytes), usize::MAX)
}

fn ends(version: Version, bytes: &[u8]) -> Option<CloseReason> {
    let mut hub = Hub::connected(version);
    hub.feed(bytes);
    hub.reason()
}

#[test]
fn connack_and_unsuback_from_a_client_panic_in_the_codec() {
    for bytes in [packet(0x20, &[0, 0, 0]), packet(0xB0, &[0, 1, 0, 0])] {
        assert!(catch_unwind(AssertUnwindSafe(|| v5(&bytes))).is_err(), "the codec is mended: {bytes:02x?}");
        assert_eq!(ends(Version::V5, &bytes), Some(CloseReason::ProtocolError));
    }
}

#[test]
fn disconnect_is_written_with_a_wrong_length_or_without_its_reason() {
    let written = |properties: Option<DisconnectProperties>| {
        let mut out = BytesMut::new();
        let reason_code = DisconnectReasonCode::ServerShuttingDown;
        V5.write(Packet::Disconnect(Disconnect { reason_code }, properties), &mut out).unwrap();
        out.to_vec()
    };
    assert_eq!(written(None), [0xE0, 1, 0x8B, 0], "one byte announced, two written");
    let empty = DisconnectProperties {
        session_expiry_interval: None,
        reason_string: None,
        user_properties: Vec::new(),
        server_reference: None,
    };
    assert_eq!(written(Some(empty)), [0xE0, 0], "a normal disconnection");

    let mut hub = Hub::connected(Version::V5);
    hub.session.disconnect(DisconnectReason::ServerShuttingDown, None, &mut hub.events);
    assert_eq!(hub.out(), [0xE0, 1, 0x8B]);
}

#[test]
fn a_disconnect_of_one_byte_is_taken_for_a_short_packet() {
    assert!(matches!(v5(&[0xE0, 1, 0x04]), Err(Error::InsufficientBytes(_))));
    assert_eq!(ends(Version::V5, &[0xE0, 1, 0x04]), Some(CloseReason::ClientDisconnectWithWill));
    assert_eq!(ends(Version::V5, &[0xE0, 1, 0x00]), Some(CloseReason::ClientDisconnect));
}

#[test]
fn a_whole_packet_that_the_codec_calls_short_is_malformed() {
    // A property length that is not there.
    for bytes in [packet(0x30, b"\0\x01t"), packet(0x82, &[0, 1])] {
        assert!(matches!(v5(&bytes), Err(Error::InsufficientBytes(_))));
        assert_eq!(ends(Version::V5, &bytes), Some(CloseReason::MalformedPacket));
    }
}

#[test]
fn auth_is_unknown_to_the_codec() {
    assert!(matches!(v5(&[0xF0, 0]), Err(Error::InvalidPacketType(15))));
    assert_eq!(ends(Version::V5, &[0xF0, 0]), Some(CloseReason::ProtocolError));
}

#[test]
fn the_codec_takes_passwords_only_as_utf_8() {
    for version in super::BOTH {
        let connect = Connect { user_name: Some("u"), password: Some(b"\xFF\0\x80"), ..Connect::new("c") };
        let bytes = client::connect(version, &connect);
        assert!(if version == Version::V5 { v5(&bytes) } else { v4(&bytes) }.is_err());
        let mut hub = Hub::new();
        hub.feed(&bytes);
        assert_eq!(hub.connects[0].password.as_deref(), Some(&b"\xFF\0\x80"[..]));
        assert_eq!(hub.connects[0].user_name.as_deref(), Some("u"));
    }
}

#[test]
fn the_codec_loses_an_empty_user_name() {
    for version in super::BOTH {
        let connect = Connect { user_name: Some(""), password: Some(b""), ..Connect::new("c") };
        let bytes = client::connect(version, &connect);
        let decoded = if version == Version::V5 { v5(&bytes) } else { v4(&bytes) };
        assert!(matches!(decoded, Ok(Packet::Connect(_, _, _, _, None))));
        let mut hub = Hub::new();
        hub.feed(&bytes);
        let connect = &hub.connects[0];
        assert_eq!((connect.user_name.as_deref(), connect.password.as_deref()), (Some(""), Some(&b""[..])));
    }
}

#[test]
fn the_codec_ignores_what_the_standard_forbids() {
    let connect = client::connect(Version::V3, &Connect::new("c"));
    let mut reserved = connect.clone();
    reserved[9] |= 1;
    assert!(v4(&reserved).is_ok(), "the reserved flag");
    let mut longer = connect;
    longer.push(0);
    longer[1] += 1;
    assert!(v4(&longer).is_ok(), "bytes after the end");
    let twice = property::byte(1, 1).repeat(2);
    let body = [&b"\0\x01t"[..], &[4], &twice].concat();
    assert!(v5(&packet(0x30, &body)).is_ok(), "a property twice");
    assert!(v4(&packet(0x38, b"\0\x01t")).is_ok(), "DUP at QoS 0");
    assert!(v4(&packet(0x30, b"\0\x01#")).is_ok(), "a wildcard");
    assert!(v4(&packet(0x30, b"\0\x01\xFF")).is_ok(), "a topic that is no UTF-8");
    assert!(v4(&packet(0x80, b"\0\0\0\x01t\0")).is_ok(), "wrong flags, identifier 0");
    assert!(v4(&[0xC0, 0x80, 0]).is_ok(), "a remaining length that is not minimal");
    // A property that reaches past the property length eats the payload.
    assert!(v5(&packet(0x30, b"\0\x01t\x01\x02\0\0\0\x01")).is_ok(), "a property past its end");
    assert_eq!(
        ends(Version::V5, &packet(0x30, b"\0\x01t\x01\x02\0\0\0\x01")),
        Some(CloseReason::MalformedPacket)
    );
}

#[test]
fn the_v4_encoder_panics_on_codes_of_mqtt_5() {
    use ConnectRefusal::{
        BadAuthenticationMethod, BadCredentials, Banned, ClientIdInvalid, ConnectionRateExceeded,
        NotAuthorized, QuotaExceeded, ServerBusy, ServerUnavailable, TopicNameInvalid,
    };
    let all = [
        (BadCredentials, 4, 0x86),
        (NotAuthorized, 5, 0x87),
        (ClientIdInvalid, 2, 0x85),
        (ServerUnavailable, 3, 0x88),
        (ServerBusy, 3, 0x89),
        (Banned, 5, 0x8A),
        (BadAuthenticationMethod, 5, 0x8C),
        (QuotaExceeded, 3, 0x97),
        (ConnectionRateExceeded, 3, 0x9F),
        (TopicNameInvalid, 5, 0x90),
    ];
    for (refusal, old, new) in all {
        for (version, expected) in
            [(Version::V3, vec![0x20, 2, 0, old]), (Version::V5, vec![0x20, 3, 0, new, 0])]
        {
            let mut hub = Hub::new();
            let connect = client::connect(version, &Connect::new("c"));
            hub.session.receive(&mut BytesMut::from(&connect[..]), hub.now, 9, &mut hub.events);
            hub.session.refuse(refusal, None, &mut hub.events);
            assert_eq!(hub.out(), expected);
            assert_eq!(hub.reason(), Some(CloseReason::Refused(refusal)));
        }
    }
}
