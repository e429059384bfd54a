//! What well-behaved clients see, and what the hub may rely on.

use std::time::Duration;

use bytes::BytesMut;
use octroi_mqtt::client::{self, AckReader, Connect, Reply, property};
use octroi_mqtt::{
    Ack, CloseReason, ConnectRefusal, DisconnectReason, Event, Grant, Limits, OutOfOrder, Progress, Qos,
    Refusal, Version,
};

use super::{BOTH, Hub, packets};

fn qos1(version: Version, ids: std::ops::RangeInclusive<u16>) -> Vec<u8> {
    ids.flat_map(|id| client::publish(version, "t", &id.to_be_bytes(), Some(id)).bytes).collect()
}

fn will<'a>(topic: &'a str, properties: &'a [u8]) -> client::Publish<'a> {
    client::Publish {
        topic,
        payload: b"gone",
        qos: Qos::AtLeastOnce,
        packet_id: 0,
        dup: false,
        retain: true,
        properties,
    }
}

#[test]
fn connack_announces_what_holds() {
    let mut hub = Hub::new();
    hub.feed(&client::connect(Version::V5, &Connect { keep_alive: 0, ..Connect::new("") }));
    let expected = [
        &[0x20, 28, 0, 0, 25][..],
        &[0x21, 0, 64],
        &[0x27, 0, 4, 0, 0],
        &[0x12, 0, 8],
        b"assigned",
        &[0x22, 0, 16],
        &[0x13, 1, 44],
    ]
    .concat();
    assert_eq!(hub.out(), expected);
    let mut hub = Hub::new();
    hub.feed(&client::connect(Version::V3, &Connect { keep_alive: 0, ..Connect::new("") }));
    assert_eq!(hub.out(), [0x20, 2, 0, 0]);
    assert_eq!(hub.session.deadline(), Some(hub.now + Duration::from_secs(3600)), "idle limit");
}

#[test]
fn server_keep_alive_caps_the_client_s() {
    for (asked, silence, announced) in [
        (0, 450_000, true),
        (60, 90_000, false),
        (300, 450_000, false),
        (301, 450_000, true),
        (65_535, 450_000, true),
    ] {
        let mut hub = Hub::new();
        hub.feed(&client::connect(Version::V5, &Connect { keep_alive: asked, ..Connect::new("c") }));
        assert_eq!(hub.session.deadline(), Some(hub.now + Duration::from_millis(silence)), "{asked}");
        assert_eq!(hub.out().ends_with(&[0x13, 1, 44]), announced, "{asked}");
    }
}

#[test]
fn empty_client_identifiers() {
    let mut hub = Hub::new();
    hub.feed(&client::connect(Version::V3, &Connect { clean_start: false, ..Connect::new("") }));
    assert_eq!(
        (hub.reason(), hub.out()),
        (Some(CloseReason::Refused(ConnectRefusal::ClientIdInvalid)), vec![0x20, 2, 0, 2])
    );
    let mut hub = Hub::new();
    hub.grant.assigned_client_id = None;
    hub.feed(&client::connect(Version::V5, &Connect::new("")));
    assert_eq!(
        (hub.reason(), hub.out()),
        (Some(CloseReason::Refused(ConnectRefusal::ClientIdInvalid)), vec![0x20, 3, 0, 0x85, 0])
    );
}

#[test]
fn session_present_is_never_said_after_a_clean_start() {
    for (version, clean_start, expected) in
        [(Version::V3, true, 0), (Version::V3, false, 1), (Version::V5, true, 0), (Version::V5, false, 1)]
    {
        let mut hub = Hub::new();
        hub.grant.session_present = true;
        hub.feed(&client::connect(version, &Connect { clean_start, ..Connect::new("c") }));
        assert_eq!(hub.out()[2], expected);
    }
}

#[test]
fn a_connect_gives_all_that_the_client_claims() {
    let properties = [
        property::long(0x11, 77),
        property::short(0x21, 5),
        property::long(0x27, 999),
        property::user("k", "v"),
    ]
    .concat();
    let will_properties = [
        property::long(0x18, 30),
        property::byte(1, 1),
        property::text(3, b"text/plain"),
        property::user("w", "x"),
    ]
    .concat();
    let bytes = client::connect(
        Version::V5,
        &Connect {
            client_id: "é",
            user_name: Some("u"),
            password: Some(b"secret"),
            keep_alive: 9,
            clean_start: false,
            properties: &properties,
            will: Some(will("état/x", &will_properties)),
        },
    );
    let mut hub = Hub::new();
    hub.feed(&bytes);
    let connect = &hub.connects[0];
    assert_eq!(
        (connect.client_id.as_str(), connect.user_name.as_deref(), connect.password.as_deref()),
        ("é", Some("u"), Some(&b"secret"[..]))
    );
    assert_eq!(
        (connect.session_expiry, connect.receive_maximum, connect.maximum_packet_size),
        (77, 5, Some(999))
    );
    assert_eq!(connect.user_properties, [("k".to_owned(), "v".to_owned())]);
    let will = connect.will.as_ref().unwrap();
    assert_eq!((will.message.topic(), will.message.payload(), will.delay), ("état/x", &b"gone"[..], 30));
    assert_eq!((will.message.qos, will.message.retain), (Qos::AtLeastOnce, true));
    assert!(will.message.properties.as_ref().unwrap().payload_is_utf8);
    assert!(!format!("{connect:?}").contains("secret"), "passwords stay out of logs");
    assert!(!format!("{connect:?}").contains("115, 101"), "as bytes, too");
}

#[test]
fn a_will_comes_at_every_end_but_a_plain_disconnect() {
    type End = fn(&mut Hub);
    let ends: [(End, CloseReason, bool); 6] = [
        (
            |hub| {
                hub.feed(&client::disconnect());
            },
            CloseReason::ClientDisconnect,
            false,
        ),
        (
            |hub| {
                hub.feed(&[0x00, 0x00]);
            },
            CloseReason::MalformedPacket,
            true,
        ),
        (|hub| hub.after(Duration::from_secs(90)), CloseReason::KeepAliveTimeout, true),
        (|hub| hub.session.connection_lost(&mut hub.events), CloseReason::ConnectionLost, true),
        (
            |hub| hub.session.disconnect(DisconnectReason::SessionTakenOver, None, &mut hub.events),
            CloseReason::Hub(DisconnectReason::SessionTakenOver),
            true,
        ),
        (
            |hub| hub.session.disconnect(DisconnectReason::ServerShuttingDown, None, &mut hub.events),
            CloseReason::Hub(DisconnectReason::ServerShuttingDown),
            true,
        ),
    ];
    for version in BOTH {
        for (end, reason, published) in &ends {
            let connect = Connect { will: Some(will("t/will", &[])), ..Connect::new("c") };
            let mut hub = Hub::connected_with(version, Limits::default(), &connect);
            end(&mut hub);
            assert_eq!(hub.reason(), Some(*reason));
            match &hub.events[..] {
                [Event::Will(will), Event::Closed(_)] => {
                    assert!(published);
                    assert_eq!((will.message.topic(), will.message.payload()), ("t/will", &b"gone"[..]));
                }
                [Event::Closed(_)] => assert!(!published),
                other => panic!("{other:?}"),
            }
            hub.session.connection_lost(&mut hub.events);
            hub.after(Duration::from_secs(9999));
            assert!(hub.events.len() <= 2, "an end is told once");
            assert_eq!(hub.session.deadline(), None);
        }
    }
    let connect = Connect { will: Some(will("t/will", &[])), ..Connect::new("c") };
    for (code, reason) in [
        (0x04, CloseReason::ClientDisconnectWithWill),
        (0x80, CloseReason::ClientReportedError),
        (0x99, CloseReason::ClientReportedError),
    ] {
        let mut hub = Hub::connected_with(Version::V5, Limits::default(), &connect);
        hub.feed(&[0xE0, 2, code, 0]);
        assert!(
            matches!(&hub.events[..], [Event::Will(_), Event::Closed(closed)] if closed.reason == reason)
        );
        assert!(hub.out().is_empty(), "a DISCONNECT is not answered");
    }
    for body in [&[0x8B][..], &[0, 5, 0x11, 0, 0, 0, 9], &[0, 1], &[0, 0, 0]] {
        let mut hub = Hub::connected_with(Version::V5, Limits::default(), &connect);
        hub.feed(&client::packet(0xE0, body));
        assert!(
            matches!(hub.reason(), Some(CloseReason::MalformedPacket | CloseReason::ProtocolError)),
            "{body:?}"
        );
    }
}

#[test]
fn wills_obey_what_publishes_obey() {
    let connect = |version, topic| {
        client::connect(version, &Connect { will: Some(will(topic, &[])), ..Connect::new("c") })
    };
    let deep = ["a"; 17].join("/");
    for (topic, reason, old, new) in [
        ("$SYS/x", CloseReason::Refused(ConnectRefusal::NotAuthorized), Some(5), 0x87),
        (deep.as_str(), CloseReason::Refused(ConnectRefusal::TopicNameInvalid), Some(5), 0x90),
        ("a/#", CloseReason::TopicNameInvalid, None, 0x90),
        ("", CloseReason::ProtocolError, None, 0x82),
    ] {
        let mut hub = Hub::new();
        hub.feed(&connect(Version::V3, topic));
        assert_eq!(
            (hub.reason(), hub.out()),
            (Some(reason), old.map_or(Vec::new(), |code| vec![0x20, 2, 0, code]))
        );
        let mut hub = Hub::new();
        hub.feed(&connect(Version::V5, topic));
        assert_eq!((hub.reason(), hub.out()[3]), (Some(reason), new));
    }
    let qos2 = client::Publish { qos: Qos::ExactlyOnce, ..will("t", &[]) };
    for version in BOTH {
        let mut hub = Hub::new();
        hub.feed(&client::connect(version, &Connect { will: Some(qos2), ..Connect::new("c") }));
        assert_eq!(hub.reason(), None);
        assert_eq!(hub.connects[0].will.as_ref().unwrap().message.qos, Qos::ExactlyOnce);
    }
    let mut hub = Hub::new();
    hub.feed(&connect(Version::V3, "$SYS/broker/connection/edge/state"));
    assert!(hub.connects[0].will.as_ref().unwrap().message.is_bridge_state());
}

#[test]
fn acknowledgements_leave_in_receive_order_and_only_so() {
    for version in BOTH {
        let mut hub = Hub::connected(version);
        hub.feed(&client::publish(version, "t", b"", None).bytes);
        hub.feed(&qos1(version, 7..=9));
        assert_eq!(hub.session.in_flight(), 3);
        hub.acknowledge_all();
        assert_eq!(hub.out(), [0x40, 2, 0, 7, 0x40, 2, 0, 8, 0x40, 2, 0, 9], "QoS 0 has none");
        assert_eq!(hub.session.in_flight(), 0);

        let mut hub = Hub::connected(version);
        hub.feed(&qos1(version, 7..=9));
        let (first, second) = (hub.publishes()[0].receipt, hub.publishes()[1].receipt);
        assert_eq!(hub.session.acknowledge(second, Ack::Accepted, &mut hub.events), Err(OutOfOrder));
        assert_eq!(hub.reason(), Some(CloseReason::Internal));
        assert_eq!(
            hub.session.acknowledge(first, Ack::Accepted, &mut hub.events),
            Ok(()),
            "too late: no effect"
        );
        assert!(packets(&hub.out()).iter().all(|(byte1, _)| *byte1 == 0xE0), "no PUBACK");

        let mut hub = Hub::connected(version);
        hub.feed(&qos1(version, 7..=8));
        let first = hub.publishes()[0].receipt;
        hub.session.acknowledge(first, Ack::Accepted, &mut hub.events).unwrap();
        assert_eq!(hub.session.acknowledge(first, Ack::Accepted, &mut hub.events), Err(OutOfOrder), "twice");
    }
}

#[test]
fn refusals_are_said_in_mqtt_5_and_not_in_3_1_1() {
    let refused = Ack::Refused(Refusal::ImplementationSpecific, Some("rule `r7`"));
    let answers: [(Version, &[u8], Vec<u8>); 3] = [
        (Version::V3, &[], vec![0x40, 2, 0, 7]),
        (Version::V5, &[], [&[0x40, 16, 0, 7, 0x83, 12, 0x1F, 0, 9][..], b"rule `r7`"].concat()),
        (Version::V5, &[0x17, 0], vec![0x40, 3, 0, 7, 0x83]),
    ];
    for (version, properties, answer) in answers {
        let mut hub =
            Hub::connected_with(version, Limits::default(), &Connect { properties, ..Connect::new("c") });
        hub.feed(&qos1(version, 7..=7));
        let receipt = hub.publishes()[0].receipt;
        hub.session.acknowledge(receipt, refused, &mut hub.events).unwrap();
        assert_eq!(hub.out(), answer, "without problem information no reason string");
    }
    let long = "é".repeat(400);
    let mut hub = Hub::connected(Version::V5);
    hub.feed(&qos1(Version::V5, 7..=7));
    let receipt = hub.publishes()[0].receipt;
    hub.session
        .acknowledge(receipt, Ack::Refused(Refusal::NotAuthorized, Some(&long)), &mut hub.events)
        .unwrap();
    let answer = packets(&hub.out());
    assert_eq!(answer.len(), 1);
    assert_eq!(
        answer[0].1[..8],
        [0, 7, 0x87, 0x83, 0x02, 0x1F, 1, 0],
        "256 bytes at most, on a character's boundary"
    );
    assert_eq!(answer[0].1.len(), 3 + 2 + 3 + 256);
}

#[test]
fn nothing_above_the_client_s_maximum_packet_size_is_sent() {
    let properties = property::long(0x27, 40);
    let mut hub = Hub::connected_with(
        Version::V5,
        Limits::default(),
        &Connect { properties: &properties, ..Connect::new("c") },
    );
    hub.feed(&qos1(Version::V5, 7..=7));
    let receipt = hub.publishes()[0].receipt;
    let text = "x".repeat(100);
    hub.session
        .acknowledge(receipt, Ack::Refused(Refusal::NotAuthorized, Some(&text)), &mut hub.events)
        .unwrap();
    hub.session.disconnect(DisconnectReason::QuotaExceeded, Some(&text), &mut hub.events);
    assert_eq!(hub.out(), [0x40, 3, 0, 7, 0x87, 0xE0, 1, 0x97], "without their reason strings");

    let properties = property::long(0x27, 10);
    let mut hub = Hub::new();
    hub.feed(&client::connect(Version::V5, &Connect { properties: &properties, ..Connect::new("c") }));
    assert_eq!(
        (hub.reason(), hub.out().len()),
        (Some(CloseReason::PacketTooLarge), 0),
        "not even a CONNACK fits"
    );
}

#[test]
fn the_hub_says_why_it_disconnects_and_mqtt_3_clients_just_see_the_end() {
    for (reason, code) in [
        (DisconnectReason::ServerShuttingDown, 0x8B),
        (DisconnectReason::SessionTakenOver, 0x8E),
        (DisconnectReason::QuotaExceeded, 0x97),
        (DisconnectReason::MessageRateTooHigh, 0x96),
        (DisconnectReason::NotAuthorized, 0x87),
        (DisconnectReason::AdministrativeAction, 0x98),
        (DisconnectReason::ServerBusy, 0x89),
        (DisconnectReason::Unspecified, 0x80),
    ] {
        let mut hub = Hub::connected(Version::V5);
        hub.session.disconnect(reason, Some("why"), &mut hub.events);
        assert_eq!(hub.out(), [&[0xE0, 8, code, 6, 0x1F, 0, 3][..], b"why"].concat());
        let mut hub = Hub::connected(Version::V3);
        hub.session.disconnect(reason, Some("why"), &mut hub.events);
        assert_eq!((hub.reason(), hub.out().len()), (Some(CloseReason::Hub(reason)), 0));
        assert!(hub.reason().unwrap().name().starts_with("hub_"));
    }
}

#[test]
fn subscriptions_are_answered_and_refused() {
    let filters = ["a/#", "$share/g/+/x", "b"];
    let cases: [(Version, &[u8], &[u8]); 2] = [
        (Version::V3, &[0x90, 5, 0, 3, 0x80, 0x80, 0x80], &[0xB0, 2, 0, 4]),
        (Version::V5, &[0x90, 6, 0, 3, 0, 0x87, 0x87, 0x87], &[0xB0, 6, 0, 4, 0, 0x11, 0x11, 0x11]),
    ];
    for (version, suback, unsuback) in cases {
        let mut hub = Hub::connected(version);
        hub.feed(&client::subscribe(version, 3, &filters));
        assert_eq!((hub.out().as_slice(), hub.reason()), (suback, None));
        hub.feed(&client::unsubscribe(version, 4, &filters));
        assert_eq!((hub.out().as_slice(), hub.reason(), hub.events.len()), (unsuback, None, 0));
        for bad in [
            client::subscribe(version, 0, &["t"]),
            client::subscribe(version, 1, &["a#"]),
            client::subscribe(version, 1, &[""]),
            client::unsubscribe(version, 1, &["a/#/b"]),
        ] {
            let mut hub = Hub::connected(version);
            hub.feed(&bad);
            assert_eq!(hub.reason(), Some(CloseReason::MalformedPacket));
        }
        for none in [client::subscribe(version, 1, &[]), client::unsubscribe(version, 1, &[])] {
            let mut hub = Hub::connected(version);
            hub.feed(&none);
            assert_eq!(hub.reason(), Some(CloseReason::ProtocolError));
        }
    }
    for (version, options, reason) in [
        (Version::V3, 0x04, CloseReason::MalformedPacket),
        (Version::V3, 0x03, CloseReason::MalformedPacket),
        (Version::V5, 0x40, CloseReason::MalformedPacket),
        (Version::V5, 0x30, CloseReason::ProtocolError),
        (Version::V5, 0x04, CloseReason::ProtocolError),
    ] {
        let mut bytes = client::subscribe(version, 1, &["$share/g/t"]);
        *bytes.last_mut().unwrap() = options;
        let mut hub = Hub::connected(version);
        hub.feed(&bytes);
        assert_eq!(hub.reason(), Some(reason), "{version:?} {options:#x}");
    }
}

#[test]
fn a_topic_alias_stands_for_its_topic() {
    let mut hub = Hub::connected(Version::V5);
    let send = |hub: &mut Hub, topic: &str, alias: u16, payload: &[u8]| {
        let properties = [property::short(0x23, alias), property::user("n", "1")].concat();
        let publish = client::Publish {
            topic,
            payload,
            qos: Qos::AtLeastOnce,
            packet_id: 1,
            dup: true,
            retain: true,
            properties: &properties,
        };
        hub.feed(&publish.encode(Version::V5).bytes);
    };
    send(&mut hub, "é/a", 16, b"1");
    send(&mut hub, "", 16, b"2");
    send(&mut hub, "b", 16, b"");
    send(&mut hub, "", 16, b"4");
    send(&mut hub, "$SYS/x", 1, b"5");
    send(&mut hub, "", 1, b"6");
    let seen: Vec<_> = hub
        .publishes()
        .iter()
        .map(|p| (p.message.topic().to_owned(), p.message.payload_bytes().to_vec()))
        .collect();
    let expected = [("é/a", "1"), ("é/a", "2"), ("b", ""), ("b", "4"), ("$SYS/x", "5"), ("$SYS/x", "6")];
    assert!(seen.iter().map(|(t, p)| (t.as_str(), std::str::from_utf8(p).unwrap())).eq(expected), "{seen:?}");
    assert!(matches!(hub.events.last(), Some(Event::Inadmissible(..))), "an alias hides nothing");
    assert!(hub.publishes().iter().all(|p| p.dup
        && p.message.retain
        && p.message.user_properties() == [("n".to_owned(), "1".to_owned())]));
    send(&mut hub, &"x".repeat(513), 2, b"");
    assert_eq!(hub.reason(), Some(CloseReason::TopicNameInvalid));
}

#[test]
fn a_publish_gives_all_that_was_said() {
    let properties = [
        property::byte(1, 1),
        property::long(2, 60),
        property::text(3, b"application/json"),
        property::text(8, b"re/ply"),
        property::text(9, b"\0\xFF"),
        property::user("a", "1"),
        property::user("a", "2"),
    ]
    .concat();
    let publish = client::Publish {
        topic: "t",
        payload: b"\xFF",
        qos: Qos::AtMostOnce,
        packet_id: 0,
        dup: false,
        retain: false,
        properties: &properties,
    };
    let mut hub = Hub::connected(Version::V5);
    hub.feed(&publish.encode(Version::V5).bytes);
    let message = &hub.publishes()[0].message;
    let given = message.properties.as_deref().unwrap();
    assert_eq!(
        (
            given.message_expiry,
            given.content_type.as_deref(),
            given.response_topic.as_deref(),
            given.correlation_data.as_deref()
        ),
        (Some(60), Some("application/json"), Some("re/ply"), Some(&b"\0\xFF"[..]))
    );
    assert_eq!(given.user, [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())]);
    assert!(!message.payload_format_holds(), "says UTF-8, is not");
    assert!(!hub.publishes()[0].receipt.wants_acknowledgement());
}

#[test]
fn room_bounds_the_events_of_one_call() {
    for version in BOTH {
        let mut hub = Hub::connected(version);
        hub.input.extend_from_slice(&qos1(version, 1..=5));
        assert_eq!(hub.session.receive(&mut hub.input, hub.now, 2, &mut hub.events), Progress::EventsFull);
        assert_eq!((hub.events.len(), hub.session.deadline()), (2, None), "keep-alive waits");
        assert_eq!(hub.session.receive(&mut hub.input, hub.now, 0, &mut hub.events), Progress::EventsFull);
        assert_eq!(hub.session.receive(&mut hub.input, hub.now, 3, &mut hub.events), Progress::NeedInput(2));
        assert_eq!((hub.events.len(), hub.session.deadline()), (5, Some(hub.now + Duration::from_secs(90))));
    }
}

#[test]
fn a_client_that_asks_and_never_reads_is_no_longer_read() {
    let limits = Limits { output_bytes: 100, ..Limits::default() };
    let mut hub = Hub::connected_with(Version::V3, limits, &Connect::new("c"));
    let progress = hub.feed(&client::pingreq().repeat(1000));
    assert_eq!((progress, hub.session.output().len()), (Progress::OutputFull, 100));
    hub.after(Duration::from_secs(90));
    assert_eq!(hub.reason(), Some(CloseReason::KeepAliveTimeout), "and no longer kept");
}

#[test]
fn keep_alive_does_not_run_while_the_hub_is_not_reading() {
    for version in BOTH {
        let mut hub = Hub::connected_with(
            version,
            Limits { receive_maximum: 1, ..Limits::default() },
            &Connect::new("c"),
        );
        hub.feed(&qos1(version, 1..=1));
        hub.session.pause_keep_alive();
        hub.after(Duration::from_secs(9999));
        assert_eq!((hub.reason(), hub.session.deadline()), (None, None));
        hub.session.resume_keep_alive(hub.now);
        let deadline = hub.now + Duration::from_secs(90);
        assert_eq!(hub.session.deadline(), Some(deadline));
        hub.session.resume_keep_alive(hub.now + Duration::from_secs(1));
        assert_eq!(hub.session.deadline(), Some(deadline), "only where it was paused");
    }
    let mut hub = Hub::connected_with(
        Version::V3,
        Limits { receive_maximum: 1, ..Limits::default() },
        &Connect::new("c"),
    );
    assert_eq!(hub.feed(&qos1(Version::V3, 1..=2)), Progress::AwaitHub);
    hub.after(Duration::from_secs(9999));
    assert_eq!(hub.reason(), None);
    hub.acknowledge_all();
    assert_eq!(hub.turn(), Progress::NeedInput(2));
    assert_eq!(hub.session.deadline(), Some(hub.now + Duration::from_secs(90)));
}

#[test]
fn what_follows_a_connect_waits_for_the_hub() {
    for version in BOTH {
        let mut hub = Hub::new();
        let bytes = [
            client::connect(version, &Connect::new("c")),
            qos1(version, 1..=1),
            client::disconnect().to_vec(),
        ]
        .concat();
        let mut input = BytesMut::from(&bytes[..]);
        assert_eq!(hub.session.receive(&mut input, hub.now, 9, &mut hub.events), Progress::AwaitHub);
        assert_eq!(hub.session.receive(&mut input, hub.now, 9, &mut hub.events), Progress::AwaitHub);
        assert!(matches!(&hub.events[..], [Event::Connect(_)]));
        assert_eq!((hub.session.deadline(), hub.out().len()), (None, 0));
        hub.session.accept(Grant::default(), hub.now, &mut hub.events);
        assert_eq!(hub.session.receive(&mut input, hub.now, 9, &mut hub.events), Progress::Closed);
        assert!(matches!(&hub.events[..], [Event::Connect(_), Event::Publish(_), Event::Closed(_)]));
    }
}

#[test]
fn a_gateway_may_have_more_in_flight() {
    let mut hub = Hub::new();
    hub.grant.receive_maximum = Some(1000);
    hub.feed(&client::connect(Version::V5, &Connect::new("c")));
    assert_eq!(hub.out()[5..8], [0x21, 3, 0xE8]);
    hub.feed(&qos1(Version::V5, 1..=1000));
    assert_eq!((hub.session.in_flight(), hub.reason()), (1000, None));
    hub.feed(&qos1(Version::V5, 1001..=1001));
    assert_eq!(hub.reason(), Some(CloseReason::ReceiveMaximumExceeded));
}

#[test]
fn the_ack_reader_counts_what_a_session_sends_in_pieces_of_any_size() {
    let mut hub = Hub::new();
    hub.feed(&client::connect(Version::V5, &Connect::new("c")));
    let encoded = client::publish(Version::V5, "t", b"", Some(0xABCD));
    assert_eq!(encoded.bytes[encoded.packet_id_at.unwrap()..][..2], [0xAB, 0xCD]);
    hub.feed(&encoded.bytes);
    hub.feed(&qos1(Version::V5, 2..=3));
    let receipts: Vec<_> = hub.publishes().iter().map(|p| p.receipt).collect();
    hub.session.acknowledge(receipts[0], Ack::Accepted, &mut hub.events).unwrap();
    hub.session
        .acknowledge(receipts[1], Ack::Refused(Refusal::QuotaExceeded, Some("too large")), &mut hub.events)
        .unwrap();
    hub.session.acknowledge(receipts[2], Ack::Accepted, &mut hub.events).unwrap();
    hub.feed(&client::pingreq());
    hub.session.disconnect(DisconnectReason::ServerShuttingDown, None, &mut hub.events);
    let out = hub.out();
    let expected = [
        Reply::ConnAck { session_present: false, code: 0 },
        Reply::PubAck { packet_id: 0xABCD, code: 0 },
        Reply::PubAck { packet_id: 2, code: 0x97 },
        Reply::PubAck { packet_id: 3, code: 0 },
        Reply::PingResp,
        Reply::Disconnect { code: 0x8B },
    ];
    for size in 1..=out.len() {
        let (mut reader, mut replies) = (AckReader::default(), Vec::new());
        for piece in out.chunks(size) {
            reader.feed(piece, |reply| replies.push(reply)).unwrap();
        }
        assert_eq!(replies, expected, "pieces of {size}");
        assert_eq!((reader.connected, reader.accepted, reader.refused, reader.disconnected), (1, 2, 1, 1));
    }
}

#[test]
fn every_close_reason_has_a_name_of_its_own_fit_for_metrics() {
    use CloseReason as R;
    let names = [
        R::ClientDisconnect,
        R::ClientDisconnectWithWill,
        R::ClientReportedError,
        R::ConnectionLost,
        R::ConnectTimeout,
        R::KeepAliveTimeout,
        R::NotConnect,
        R::UnsupportedVersion,
        R::MalformedPacket,
        R::ProtocolError,
        R::PacketTooLarge,
        R::TopicNameInvalid,
        R::TopicAliasInvalid,
        R::ReceiveMaximumExceeded,
        R::QuotaExceeded,
        R::Internal,
        R::Refused(ConnectRefusal::QuotaExceeded),
        R::Hub(DisconnectReason::QuotaExceeded),
    ]
    .map(CloseReason::name);
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
}
