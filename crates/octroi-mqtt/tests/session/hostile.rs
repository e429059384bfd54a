//! The hostile cases, by the numbers of the project's list, with the outcome the standard
//! names: in MQTT 5 a DISCONNECT (or CONNACK) with the code, in 3.1.1 a closed connection.

use octroi_mqtt::client::{self, Connect, packet, property};
use octroi_mqtt::{CloseReason, Event, Inadmissible, Limits, Qos, Version};

use super::{BOTH, Hub, packets};
use std::time::Duration;

use CloseReason::{
    MalformedPacket, NotConnect, PacketTooLarge, ProtocolError, QuotaExceeded, ReceiveMaximumExceeded,
    TopicAliasInvalid, TopicNameInvalid, UnsupportedVersion,
};

/// A connected client sends `bytes`: the session ends for `reason`, MQTT 5 clients get `code`.
fn ends(case: &str, version: Version, bytes: &[u8], reason: CloseReason, code: u8) {
    let mut hub = Hub::connected(version);
    hub.feed(bytes);
    let out = hub.out();
    assert_eq!(hub.reason(), Some(reason), "{case} {version:?}");
    match version {
        Version::V3 => assert!(out.is_empty(), "{case}: nothing to say in 3.1.1: {out:02x?}"),
        Version::V5 => {
            let last = packets(&out).pop();
            assert_eq!(last.as_ref().map(|(byte1, body)| (*byte1, body[0])), Some((0xE0, code)), "{case}");
        }
    }
}

fn ends_in_both(case: &str, bytes: &[u8], reason: CloseReason, code: u8) {
    for version in BOTH {
        ends(case, version, bytes, reason, code);
    }
}

/// A CONNECT is not accepted: `out` is all that is sent.
fn connect_ends(case: &str, bytes: &[u8], reason: CloseReason, out: &[u8]) {
    let mut hub = Hub::new();
    hub.feed(bytes);
    assert_eq!(hub.reason(), Some(reason), "{case}");
    assert!(hub.connects.is_empty(), "{case}: no event");
    let sent = hub.out();
    // The reason string, which follows the code, is for people.
    let head: Vec<u8> = if sent.len() > 5 { vec![0x20, 0, sent[2], sent[3]] } else { sent };
    assert_eq!(head, out, "{case}");
}

/// An MQTT 5 refusal with any reason string.
fn v5(code: u8) -> [u8; 4] {
    [0x20, 0, 0, code]
}

/// A CONNECT of both versions with its body changed.
fn changed(version: Version, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let whole = client::connect(version, &Connect::new("c"));
    let mut body = whole[2..].to_vec();
    change(&mut body);
    packet(0x10, &body)
}

fn publish(topic: &[u8], flags: u8, version: Version, properties: &[u8]) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend(topic);
    if flags & 6 != 0 {
        body.extend([0, 1]);
    }
    if version == Version::V5 {
        body.push(properties.len() as u8);
        body.extend(properties);
    }
    body.extend(b"x");
    packet(0x30 | flags, &body)
}

#[test]
fn case_01_the_first_packet_must_be_connect() {
    for bytes in
        [&b"\xC0\0"[..], b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\xE0\0", b"\0", b"\x20\x02\0\0", b"\xF0\0"]
    {
        connect_ends("first packet", bytes, NotConnect, &[]);
    }
    connect_ends("flags of CONNECT", b"\x11\0", MalformedPacket, &[]);
}

#[test]
fn case_02_a_second_connect_is_a_protocol_error() {
    for version in BOTH {
        let again = client::connect(version, &Connect::new("c"));
        ends("second CONNECT", version, &again, ProtocolError, 0x82);
    }
}

#[test]
fn case_03_a_slow_connect_is_cut_off() {
    let mut hub = Hub::new();
    let connect = client::connect(Version::V5, &Connect::new("slow"));
    for byte in &connect[..4] {
        hub.feed(&[*byte]);
        hub.after(Duration::from_secs(1));
    }
    assert_eq!(hub.reason(), None);
    hub.after(Duration::from_secs(1));
    assert_eq!(hub.reason(), Some(CloseReason::ConnectTimeout));
    assert!(hub.out().is_empty());
}

#[test]
fn case_04_other_protocol_levels_are_told_so() {
    let level = |level: u8| changed(Version::V3, |body| body[6] = level);
    connect_ends("level 6", &level(6), UnsupportedVersion, &[0x20, 3, 0, 0x84, 0]);
    connect_ends("level 127", &level(0x7F), UnsupportedVersion, &[0x20, 3, 0, 0x84, 0]);
    connect_ends("level 3", &level(3), UnsupportedVersion, &[0x20, 2, 0, 1]);
    connect_ends("level 0", &level(0), UnsupportedVersion, &[0x20, 2, 0, 1]);
    connect_ends("bridge's try_private", &level(0x84), UnsupportedVersion, &[0x20, 2, 0, 1]);
    connect_ends(
        "MQTT 3.1",
        b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01c",
        UnsupportedVersion,
        &[0x20, 2, 0, 1],
    );
    let name = changed(Version::V5, |body| body[2] = b'm');
    connect_ends("protocol name", &name, UnsupportedVersion, &[]);
}

#[test]
fn case_05_reserved_and_contradictory_connect_flags_are_malformed() {
    for (case, flags) in [
        ("reserved", 0x03),
        ("will QoS without will", 0x0A),
        ("will retain without will", 0x22),
        ("will QoS 3", 0x1E),
    ] {
        connect_ends(case, &changed(Version::V3, |body| body[7] = flags), MalformedPacket, &[]);
        connect_ends(case, &changed(Version::V5, |body| body[7] = flags), MalformedPacket, &v5(0x81));
    }
    let password = |version| {
        changed(version, |body| {
            body[7] = 0x42;
            body.extend(b"\0\x01p");
        })
    };
    connect_ends("password without user name", &password(Version::V3), MalformedPacket, &[]);
    let mut hub = Hub::new();
    hub.feed(&password(Version::V5));
    assert_eq!(hub.reason(), None, "legal in MQTT 5");
    assert_eq!(
        (hub.connects[0].user_name.as_deref(), hub.connects[0].password.as_deref()),
        (None, Some(&b"p"[..]))
    );
}

#[test]
fn case_06_remaining_lengths_have_four_bytes_at_most_and_are_minimal() {
    for length in [
        &[0xFF, 0xFF, 0xFF, 0xFF, 0x01][..],
        &[0x80, 0x80, 0x80, 0x80, 0x00],
        &[0x80, 0x00],
        &[0x85, 0x80, 0x00],
    ] {
        ends_in_both("remaining length", &[&[0x30], length].concat(), MalformedPacket, 0x81);
        connect_ends("remaining length", &[&[0x10], length].concat(), MalformedPacket, &[]);
    }
}

#[test]
fn case_07_packets_above_the_limit_are_refused_before_they_arrive() {
    let most = 256 * 1024;
    let header = |total: usize| {
        let mut packet = packet(0x30, &vec![0; total - 4]);
        packet.truncate(4);
        packet
    };
    assert_eq!(header(most).len(), 4);
    ends_in_both("above 256 KiB", &header(most + 1), PacketTooLarge, 0x95);
    for version in BOTH {
        let mut hub = Hub::connected(version);
        hub.feed(
            &client::publish(
                version,
                "t",
                &vec![b'x'; most - 4 - 3 - usize::from(version == Version::V5)],
                None,
            )
            .bytes,
        );
        assert_eq!((hub.reason(), hub.publishes().len()), (None, 1), "exactly the limit");
        assert_eq!(
            hub.publishes()[0].message.payload().len() + 7 + usize::from(version == Version::V5),
            most
        );
    }
    connect_ends("CONNECT above 8 KiB", &[0x10, 0xFE, 0x3F], PacketTooLarge, &[]);
    let mut hub = Hub::new();
    hub.feed(&[0x10, 0xFD, 0x3F]);
    assert_eq!(hub.reason(), None, "8 KiB in all");
}

#[test]
fn case_08_qos_3_is_malformed() {
    ends_in_both("QoS 3", &[0x36, 0], MalformedPacket, 0x81);
}

#[test]
fn case_09_dup_means_nothing_at_qos_0() {
    ends_in_both("DUP at QoS 0", &[0x38, 0], MalformedPacket, 0x81);
}

#[test]
fn case_10_wildcards_in_a_topic_name() {
    for topic in [&b"a/+"[..], b"#", b"a+b", b"a/#", "é/#".as_bytes()] {
        for version in BOTH {
            ends("wildcard", version, &publish(topic, 0, version, &[]), TopicNameInvalid, 0x90);
        }
    }
}

#[test]
fn case_11_an_empty_topic_without_alias() {
    for version in BOTH {
        ends("empty topic", version, &publish(b"", 0, version, &[]), ProtocolError, 0x82);
    }
}

#[test]
fn case_12_topics_that_are_no_utf_8() {
    for topic in [
        &b"a\0b"[..],
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF/x",
        b"\xC0\x80",
        b"\xFF",
        b"a\xC3",
        b"\xF4\x90\x80\x80",
    ] {
        for version in BOTH {
            ends("no UTF-8", version, &publish(topic, 0, version, &[]), MalformedPacket, 0x81);
        }
    }
}

#[test]
fn case_13_a_topic_may_begin_with_any_character() {
    for topic in ["état", "数据/一", "🌡", "/", " ", "ß$"] {
        for version in BOTH {
            let mut hub = Hub::connected(version);
            hub.feed(&publish(topic.as_bytes(), 2, version, &[]));
            assert!(matches!(&hub.events[..], [Event::Publish(publish)] if publish.message.topic() == topic));
        }
    }
}

#[test]
fn case_14_topic_aliases_out_of_range() {
    for alias in [0, 17, 0xFFFF] {
        for topic in [&b"t"[..], b""] {
            let bytes = publish(topic, 0, Version::V5, &property::short(0x23, alias));
            ends("alias range", Version::V5, &bytes, TopicAliasInvalid, 0x94);
        }
    }
}

#[test]
fn case_15_an_alias_that_was_never_defined() {
    let bytes = publish(b"", 0, Version::V5, &property::short(0x23, 3));
    ends("unknown alias", Version::V5, &bytes, ProtocolError, 0x82);
}

#[test]
fn case_16_a_property_given_twice() {
    for once in [
        property::byte(1, 1),
        property::long(2, 9),
        property::text(3, b"t"),
        property::text(8, b"t"),
        property::text(9, b"t"),
        property::short(0x23, 1),
    ] {
        let bytes = publish(b"t", 0, Version::V5, &once.repeat(2));
        ends("twice", Version::V5, &bytes, ProtocolError, 0x82);
    }
    for once in
        [property::long(0x11, 1), property::short(0x21, 1), property::long(0x27, 99), property::byte(0x17, 1)]
    {
        let twice = once.repeat(2);
        let connect = client::connect(Version::V5, &Connect { properties: &twice, ..Connect::new("c") });
        connect_ends("twice", &connect, ProtocolError, &v5(0x82));
    }
}

#[test]
fn case_17_receive_maximum_zero_and_other_values_out_of_range() {
    for zero in
        [property::short(0x21, 0), property::long(0x27, 0), property::byte(0x17, 2), property::byte(0x19, 2)]
    {
        let connect = client::connect(Version::V5, &Connect { properties: &zero, ..Connect::new("c") });
        connect_ends("value", &connect, ProtocolError, &v5(0x82));
    }
    let auth = property::text(0x16, b"data");
    let connect = client::connect(Version::V5, &Connect { properties: &auth, ..Connect::new("c") });
    connect_ends("authentication data alone", &connect, ProtocolError, &v5(0x82));
    let auth = property::text(0x15, b"SCRAM");
    let connect = client::connect(Version::V5, &Connect { properties: &auth, ..Connect::new("c") });
    let refused = CloseReason::Refused(octroi_mqtt::ConnectRefusal::BadAuthenticationMethod);
    connect_ends("enhanced authentication", &connect, refused, &v5(0x8C));
    for bad in [property::byte(1, 2), property::text(8, b"a/#"), property::text(8, b"")] {
        ends("value", Version::V5, &publish(b"t", 0, Version::V5, &bad), ProtocolError, 0x82);
    }
    ends("from a client", Version::V5, &publish(b"t", 0, Version::V5, &[0x0B, 1]), ProtocolError, 0x82);
    for bad in [
        vec![0x7F, 0],
        vec![0x21, 0, 1],
        vec![0x80, 0x01],
        property::text(3, b"\xFF"),
        property::text(3, b"\0"),
        vec![0x26, 0, 1, b'k'],
        vec![3, 0, 9, b'x'],
    ] {
        ends("malformed", Version::V5, &publish(b"t", 0, Version::V5, &bad), MalformedPacket, 0x81);
    }
    ends("longer than the packet", Version::V5, &packet(0x30, b"\0\x01t\x7Fx"), MalformedPacket, 0x81);
}

#[test]
fn case_18_more_in_flight_than_allowed() {
    let limits = Limits { receive_maximum: 3, ..Limits::default() };
    let publishes = |version| {
        (1..=4).flat_map(|id| client::publish(version, "t", b"", Some(id)).bytes).collect::<Vec<_>>()
    };
    let mut hub = Hub::connected_with(Version::V5, limits.clone(), &Connect::new("c"));
    hub.feed(&publishes(Version::V5));
    assert_eq!((hub.reason(), hub.publishes().len()), (Some(ReceiveMaximumExceeded), 3));
    assert_eq!(hub.out()[2], 0x93);

    let mut hub = Hub::connected_with(Version::V3, limits, &Connect::new("c"));
    let progress = hub.feed(&publishes(Version::V3));
    assert_eq!(
        (progress, hub.publishes().len()),
        (octroi_mqtt::Progress::AwaitHub, 3),
        "was never told: waits"
    );
    let receipt = hub.publishes()[0].receipt;
    hub.session.acknowledge(receipt, octroi_mqtt::Ack::Accepted, &mut hub.events).unwrap();
    hub.turn();
    assert_eq!((hub.reason(), hub.publishes().len()), (None, 4));
}

#[test]
fn case_19_packets_that_only_servers_send() {
    for byte1 in [0x20, 0x90, 0xB0, 0xD0, 0x40, 0x50, 0x70] {
        ends_in_both("server's packet", &packet(byte1, &[0, 1]), ProtocolError, 0x82);
        ends_in_both("server's packet, empty", &[byte1, 0], ProtocolError, 0x82);
    }
    ends_in_both("type 0", &[0, 0], MalformedPacket, 0x81);
    ends("AUTH", Version::V3, &[0xF0, 0], MalformedPacket, 0x81);
    ends("AUTH", Version::V5, &[0xF0, 0], ProtocolError, 0x82);
}

#[test]
fn case_20_wrong_flags_of_the_fixed_header() {
    for byte1 in [0x60, 0x61, 0x63, 0x80, 0x83, 0xA0, 0xA3, 0xC1, 0xE1, 0x41, 0xD8] {
        ends_in_both("flags", &packet(byte1, &[0, 1]), MalformedPacket, 0x81);
    }
    ends_in_both("PINGREQ with content", &[0xC0, 1], MalformedPacket, 0x81);
    ends("DISCONNECT with content", Version::V3, &[0xE0, 1], MalformedPacket, 0x81);
}

#[test]
fn case_21_pubrel_of_an_unknown_identifier() {
    for (version, answer) in [(Version::V3, &[0x70, 2, 0, 9][..]), (Version::V5, &[0x70, 3, 0, 9, 0x92])] {
        let mut hub = Hub::connected(version);
        hub.feed(&packet(0x62, &[0, 9]));
        assert_eq!((hub.reason(), &hub.out()[..]), (None, answer));
    }
    let mut hub = Hub::connected(Version::V5);
    hub.feed(&packet(0x62, &[0, 9, 0x92, 0]));
    assert_eq!(hub.out(), [0x70, 3, 0, 9, 0x92]);
    ends("reason", Version::V5, &packet(0x62, &[0, 9, 0x80]), MalformedPacket, 0x81);
    ends_in_both("identifier 0", &packet(0x62, &[0, 0]), MalformedPacket, 0x81);
    ends("length", Version::V3, &packet(0x62, &[0, 9, 0]), MalformedPacket, 0x81);
}

#[test]
fn case_22_a_qos_2_publish_that_comes_again_is_one_message() {
    for version in BOTH {
        let mut hub = Hub::connected(version);
        for flags in [0x04, 0x0C, 0x0C] {
            hub.feed(&publish(b"t", flags, version, &[]));
        }
        assert_eq!((hub.publishes().len(), hub.reason()), (1, None));
        hub.acknowledge_all();
        assert_eq!(hub.out(), [0x50, 2, 0, 1].repeat(3));
    }
}

#[test]
fn case_24_user_property_floods() {
    let user = |n: usize| property::user("k", "v").repeat(n);
    let publish = |n| {
        client::Publish {
            topic: "t",
            payload: b"x",
            qos: Qos::AtLeastOnce,
            packet_id: 1,
            dup: false,
            retain: false,
            properties: &user(n),
        }
        .encode(Version::V5)
        .bytes
    };
    let mut hub = Hub::connected(Version::V5);
    hub.feed(&publish(32));
    hub.feed(&publish(33));
    let [Event::Publish(kept), Event::Inadmissible(refused, Inadmissible::UserProperties)] = &hub.events[..]
    else {
        panic!("{:?}", hub.events)
    };
    assert_eq!((kept.message.user_properties().len(), refused.message.user_properties().len()), (32, 0));
    let properties = user(33);
    let connect = client::connect(Version::V5, &Connect { properties: &properties, ..Connect::new("c") });
    connect_ends(
        "in CONNECT",
        &connect,
        CloseReason::Refused(octroi_mqtt::ConnectRefusal::QuotaExceeded),
        &v5(0x97),
    );
    let filters = vec!["t"; 65];
    ends_in_both_versions(
        "too many filters",
        |version| client::subscribe(version, 1, &filters),
        QuotaExceeded,
        0x97,
    );
}

fn ends_in_both_versions(case: &str, bytes: impl Fn(Version) -> Vec<u8>, reason: CloseReason, code: u8) {
    for version in BOTH {
        ends(case, version, &bytes(version), reason, code);
    }
}

#[test]
fn case_25_keep_alive_expires_after_one_and_a_half_periods() {
    for version in BOTH {
        let mut hub =
            Hub::connected_with(version, Limits::default(), &Connect { keep_alive: 10, ..Connect::new("c") });
        hub.after(Duration::from_millis(14_999));
        assert_eq!(hub.reason(), None);
        hub.feed(&client::pingreq());
        assert_eq!(hub.out(), [0xD0, 0]);
        hub.after(Duration::from_millis(14_999));
        hub.feed(&[0xC0]);
        assert_eq!(hub.reason(), None, "half a packet is no packet");
        hub.after(Duration::from_millis(1));
        assert_eq!(hub.reason(), Some(CloseReason::KeepAliveTimeout));
        let out = hub.out();
        match version {
            Version::V3 => assert!(out.is_empty()),
            Version::V5 => assert_eq!((out[0], out[2]), (0xE0, 0x8D)),
        }
    }
}

#[test]
fn case_28_reserved_topics_are_refused_in_their_turn() {
    for version in BOTH {
        for topic in ["$SYS/x", "$share/g/t", "$", "$SYS/broker/connection/a/b/state"] {
            let mut hub = Hub::connected(version);
            hub.feed(&publish(topic.as_bytes(), 2, version, &[]));
            let Some(Event::Inadmissible(refused, why)) = hub.events.pop() else { panic!() };
            assert_eq!((why, refused.message.topic()), (Inadmissible::ReservedTopic, topic));
            hub.session
                .acknowledge(refused.receipt, octroi_mqtt::Ack::Refused(why.refusal(), None), &mut hub.events)
                .unwrap();
            let answer: &[u8] =
                if version == Version::V5 { &[0x40, 3, 0, 1, 0x87] } else { &[0x40, 2, 0, 1] };
            assert_eq!((hub.out().as_slice(), hub.reason()), (answer, None));
        }
        let mut hub = Hub::connected(version);
        hub.feed(&publish(b"$SYS/broker/connection/edge/state", 3, version, &[]));
        assert!(
            matches!(&hub.events[..], [Event::BridgeState(state)] if state.message.is_bridge_state() && state.message.retain)
        );
    }
}

#[test]
fn a_publish_that_ends_inside_a_field_is_malformed() {
    for bytes in [
        packet(0x30, &[]),
        packet(0x30, &[0]),
        packet(0x30, &[0, 5, b'a']),
        packet(0x32, b"\0\x01t"),
        packet(0x32, b"\0\x01t\0"),
        packet(0x32, b"\0\x01t\0\0x"),
    ] {
        ends_in_both("short", &bytes, MalformedPacket, 0x81);
    }
    ends("no properties", Version::V5, &packet(0x30, b"\0\x01t"), MalformedPacket, 0x81);
    ends("long property length", Version::V5, &packet(0x30, b"\0\x01t\x80\x00"), MalformedPacket, 0x81);
}

#[test]
fn a_connect_that_ends_inside_a_field_or_goes_on_is_malformed() {
    for version in BOTH {
        let whole = changed(version, |_| {});
        for len in 8..whole.len() - 2 {
            let cut = changed(version, |body| body.truncate(len));
            let answer = v5(0x81);
            connect_ends("cut", &cut, MalformedPacket, if version == Version::V5 { &answer } else { &[] });
        }
        let more = changed(version, |body| body.push(0));
        let answer = v5(0x81);
        connect_ends("more", &more, MalformedPacket, if version == Version::V5 { &answer } else { &[] });
    }
}
