//! Statements of the standards that no other test holds (`docs/mqtt-conformance.md` lists all).

use octroi_mqtt::client::{self, Connect, property};
use octroi_mqtt::{
    Ack, CloseReason, ConnectRefusal, Event, Inadmissible, Limits, Progress, Qos, Refusal, Version,
};

use super::{BOTH, Hub, packets};

fn publish(version: Version, topic: &str, qos: Qos, packet_id: u16, properties: &[u8]) -> Vec<u8> {
    client::Publish { topic, payload: b"x", qos, packet_id, dup: false, retain: false, properties }
        .encode(version)
        .bytes
}

#[test]
fn refused_connects_are_answered_and_nothing_after_them_is_read() {
    for version in BOTH {
        let mut hub = Hub::new();
        hub.input.extend_from_slice(&client::connect(version, &Connect::new("c")));
        hub.input.extend_from_slice(&publish(version, "t", Qos::AtLeastOnce, 1, &[]));
        assert_eq!(hub.session.receive(&mut hub.input, hub.now, 9, &mut hub.events), Progress::AwaitHub);
        hub.session.refuse(ConnectRefusal::NotAuthorized, Some("no such source"), &mut hub.events);
        assert_eq!(hub.session.receive(&mut hub.input, hub.now, 9, &mut hub.events), Progress::Closed);
        assert!(hub.publishes().is_empty());
        let out = packets(&hub.out());
        assert_eq!(out.len(), 1, "no DISCONNECT follows [MQTT-3.14.0-1]");
        match version {
            Version::V3 => assert_eq!(out[0], (0x20, vec![0, 5])),
            Version::V5 => {
                assert_eq!((out[0].0, &out[0].1[..2]), (0x20, &[0, 0x87][..]));
                assert!(out[0].1.ends_with(b"no such source"));
            }
        }
    }
}

#[test]
fn a_byte_order_mark_is_part_of_its_string() {
    for version in BOTH {
        let mut hub = Hub::new();
        hub.feed(&client::connect(version, &Connect::new("\u{FEFF}c")));
        assert_eq!(hub.connects[0].client_id, "\u{FEFF}c");
        hub.feed(&publish(version, "\u{FEFF}t", Qos::AtMostOnce, 0, &[]));
        let Some(Event::Inadmissible(publish, Inadmissible::TopicCharacters)) = hub.events.pop() else {
            panic!("a topic that reads like another")
        };
        assert_eq!(publish.message.topic(), "\u{FEFF}t");
    }
}

#[test]
fn client_identifiers_of_any_length_are_taken() {
    for version in BOTH {
        for client_id in
            ["0", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHI", "JKLMNOPQRSTUVWXYZ", &"é".repeat(999)]
        {
            let mut hub = Hub::new();
            hub.feed(&client::connect(version, &Connect::new(client_id)));
            assert_eq!((hub.out()[3], hub.connects[0].client_id.as_str()), (0, client_id));
        }
    }
}

#[test]
fn strings_of_connect_that_are_no_utf_8_end_it() {
    for version in BOTH {
        for (connect, wrong) in [
            (Connect { client_id: "id-", ..Connect::new("") }, b"id-"),
            (Connect { user_name: Some("us-"), ..Connect::new("c") }, b"us-"),
        ] {
            for bad in [b"a\0b", b"\xED\xA0\x80", b"a\xC0\x80"] {
                let mut bytes = client::connect(version, &connect);
                let at = bytes.windows(3).position(|window| window == wrong).unwrap();
                bytes[at..at + 3].copy_from_slice(bad);
                let mut hub = Hub::new();
                hub.feed(&bytes);
                assert_eq!(hub.reason(), Some(CloseReason::MalformedPacket), "{version:?} {bad:02x?}");
            }
        }
    }
    for pair in [&b"\x26\0\x01\xFF\0\x01v"[..], b"\x26\0\x01k\0\x01\0"] {
        let mut hub = Hub::new();
        hub.feed(&client::connect(Version::V5, &Connect { properties: pair, ..Connect::new("c") }));
        assert_eq!(hub.reason(), Some(CloseReason::MalformedPacket));
    }
}

#[test]
fn filters_that_are_no_utf_8_end_the_session() {
    for version in BOTH {
        for mut bytes in [client::subscribe(version, 1, &["a-b"]), client::unsubscribe(version, 1, &["a-b"])]
        {
            let at = bytes.iter().position(|byte| *byte == b'-').unwrap();
            bytes[at] = 0xFF;
            let mut hub = Hub::connected(version);
            hub.feed(&bytes);
            assert_eq!(hub.reason(), Some(CloseReason::MalformedPacket));
        }
    }
}

#[test]
fn a_packet_identifier_is_free_after_its_puback() {
    for version in BOTH {
        let mut hub = Hub::connected(version);
        for dup in [false, true] {
            let publish = client::Publish {
                topic: "t",
                payload: b"",
                qos: Qos::AtLeastOnce,
                packet_id: 7,
                dup,
                retain: false,
                properties: &[],
            };
            hub.events.clear();
            hub.feed(&publish.encode(version).bytes);
            hub.acknowledge_all();
            assert_eq!(hub.publishes().len(), 1, "a new message, whatever its DUP flag says");
        }
    }
}

#[test]
fn topics_that_are_too_long_or_deep_are_refused_in_their_turn() {
    for version in BOTH {
        for (topic, why) in
            [("x".repeat(513), Inadmissible::TopicTooLong), (["a"; 17].join("/"), Inadmissible::TopicTooDeep)]
        {
            for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let mut hub = Hub::connected(version);
                hub.feed(&publish(version, &topic, qos, 7, &[]));
                let Some(Event::Inadmissible(refused, found)) = hub.events.pop() else { panic!() };
                assert_eq!(found, why);
                let ack = Ack::Refused(why.refusal(), Some(why.name()));
                hub.session.acknowledge(refused.receipt, ack, &mut hub.events).unwrap();
                let out = packets(&hub.out());
                assert_eq!(out[0].0, if qos == Qos::ExactlyOnce { 0x50 } else { 0x40 });
                assert_eq!(out[0].1.get(2), (version == Version::V5).then_some(&0x90));
            }
        }
    }
}

#[test]
fn a_reason_string_that_does_not_fit_is_left_out_of_pubrec() {
    let properties = property::long(0x27, 40);
    let connect = Connect { properties: &properties, ..Connect::new("c") };
    let mut hub = Hub::connected_with(Version::V5, Limits::default(), &connect);
    hub.feed(&publish(Version::V5, "t", Qos::ExactlyOnce, 7, &[]));
    let receipt = hub.publishes()[0].receipt;
    let long = "x".repeat(100);
    hub.session
        .acknowledge(receipt, Ack::Refused(Refusal::NotAuthorized, Some(&long)), &mut hub.events)
        .unwrap();
    assert_eq!(hub.out(), [0x50, 3, 0, 7, 0x87]);
}

#[test]
fn an_expired_message_is_acknowledged_to_the_end() {
    let mut hub = Hub::connected(Version::V5);
    hub.feed(&publish(Version::V5, "t", Qos::ExactlyOnce, 7, &property::long(2, 1)));
    hub.after(std::time::Duration::from_secs(60));
    hub.acknowledge_all();
    assert_eq!(hub.out(), [0x50, 2, 0, 7]);
    hub.events.clear();
    hub.feed(&client::pubrel(7));
    let Some(Event::Release(release)) = hub.events.pop() else { panic!() };
    hub.session.acknowledge(release.receipt, Ack::Accepted, &mut hub.events).unwrap();
    assert_eq!(hub.out(), [0x70, 2, 0, 7]);
}

#[test]
fn other_packets_are_read_while_the_receive_maximum_is_used_up() {
    let limits = Limits { receive_maximum: 1, ..Limits::default() };
    let mut hub = Hub::connected_with(Version::V5, limits, &Connect::new("c"));
    hub.feed(&publish(Version::V5, "t", Qos::ExactlyOnce, 7, &[]));
    hub.feed(&client::pingreq());
    hub.feed(&publish(Version::V5, "t", Qos::AtMostOnce, 0, &[]));
    assert_eq!((hub.out(), hub.publishes().len(), hub.reason()), (vec![0xD0, 0], 2, None));
}
