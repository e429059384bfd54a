//! The hub as a client of a broker, as a value: bytes in, bytes out.
#![expect(clippy::disallowed_methods, reason = "tests")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use octroi_mqtt::{
    Asks, CloseReason, End, Heard, Lack, Limits, OutOfOrder, Progress, Publish, Qos, Subscriber, Version,
    client,
};

const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

fn asks(version: Version) -> Asks {
    Asks {
        version,
        client_id: "hub-1".into(),
        user_name: Some("hub".into()),
        password: Some("secret".into()),
        keep_alive: 30,
        session_expiry: 3600,
        receive_maximum: 2,
        filters: vec!["$share/octroi/a/#".into(), "b".into()],
    }
}

/// A subscriber and what has come of it.
struct Bench {
    mqtt: Subscriber,
    input: BytesMut,
    heard: Vec<Heard>,
    now: Instant,
}

impl Bench {
    fn new(version: Version, anew: bool) -> Self {
        let now = Instant::now();
        let mqtt = Subscriber::new(Arc::new(asks(version)), Arc::new(Limits::default()), anew, now);
        Self { mqtt, input: BytesMut::new(), heard: Vec::new(), now }
    }

    /// Connected and subscribed; nothing in `output`.
    fn subscribed(version: Version) -> Self {
        let mut bench = Self::new(version, true);
        bench.says(&connack(version, false));
        bench.says(&suback(version, &[1, 1]));
        assert!(matches!(bench.heard[..], [Heard::Connected { session_present: false }, Heard::Subscribed]));
        bench.heard.clear();
        bench.mqtt.output().clear();
        bench
    }

    fn says(&mut self, bytes: &[u8]) -> Progress {
        self.input.extend_from_slice(bytes);
        self.mqtt.receive(&mut self.input, self.now, 100, &mut self.heard)
    }

    fn output(&mut self) -> Vec<u8> {
        self.mqtt.output().split().to_vec()
    }

    fn publishes(&self) -> Vec<&Publish> {
        self.heard.iter().filter_map(as_publish).collect()
    }
}

fn as_publish(heard: &Heard) -> Option<&Publish> {
    match heard {
        Heard::Publish(publish) | Heard::Inadmissible(publish, _) => Some(publish),
        Heard::Connected { .. } | Heard::Subscribed | Heard::Ended(_) => None,
    }
}

fn connack(version: Version, present: bool) -> Vec<u8> {
    match version {
        Version::V3 => vec![0x20, 2, u8::from(present), 0],
        Version::V5 => vec![0x20, 3, u8::from(present), 0, 0],
    }
}

fn suback(version: Version, codes: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    client::packet(0x90, &[&[0, 1], properties, codes].concat())
}

fn publish(version: Version, qos: Qos, packet_id: u16) -> Vec<u8> {
    let publish = client::Publish {
        topic: "a/b",
        payload: b"21.5",
        qos,
        packet_id,
        dup: false,
        retain: false,
        properties: &[],
    };
    publish.encode(version).bytes
}

#[test]
fn it_asks_for_a_session_that_outlives_the_connection_and_for_qos_1() {
    for version in VERSIONS {
        let mut bench = Bench::new(version, true);
        let connect = bench.output();
        let (level, flags) = (connect[8], connect[9]);
        assert_eq!(level, if version == Version::V5 { 5 } else { 4 });
        assert_eq!(flags & 0x02, 0, "clean start is not asked for");
        let properties =
            [&[0x11, 0, 0, 14, 16, 0x21, 0, 2, 0x27][..], &(256_u32 * 1024).to_be_bytes()].concat();
        let said = connect.windows(properties.len()).any(|window| window == properties);
        assert_eq!(said, version == Version::V5, "session expiry, receive maximum, maximum packet size");
        bench.says(&connack(version, false));
        let subscribe = bench.output();
        assert_eq!(subscribe[0], 0x82);
        assert!(subscribe.ends_with(b"\x00\x01b\x01"), "QoS 1, and no other option: {subscribe:?}");
    }
}

#[test]
fn it_subscribes_again_where_the_session_is_gone_and_where_the_process_is_new() {
    for (anew, present, subscribes) in
        [(true, true, true), (true, false, true), (false, false, true), (false, true, false)]
    {
        let mut bench = Bench::new(Version::V5, anew);
        bench.output();
        bench.says(&connack(Version::V5, present));
        assert_eq!(!bench.output().is_empty(), subscribes, "anew {anew}, present {present}");
        assert_eq!(bench.heard.contains(&Heard::Subscribed), !subscribes);
    }
}

#[test]
fn acknowledgements_leave_for_the_oldest_alone_and_only_when_told() {
    for version in VERSIONS {
        let mut bench = Bench::subscribed(version);
        bench.says(&[publish(version, Qos::AtLeastOnce, 7), publish(version, Qos::AtLeastOnce, 9)].concat());
        let receipts: Vec<_> = bench.publishes().iter().map(|publish| publish.receipt).collect();
        assert!(bench.output().is_empty(), "nothing is acknowledged by itself");
        bench.mqtt.acknowledge(receipts[0], &mut bench.heard).unwrap();
        assert_eq!(bench.output(), [0x40, 2, 0, 7]);
        assert_eq!(bench.mqtt.acknowledge(receipts[0], &mut bench.heard), Err(OutOfOrder));
        assert!(matches!(bench.mqtt.ended(), Some(End::Fault(CloseReason::Internal, _))));
        assert_eq!(bench.mqtt.acknowledge(receipts[1], &mut bench.heard), Ok(()), "and nothing after it");
        assert!(!bench.output().windows(4).any(|bytes| bytes == [0x40, 2, 0, 9]));
    }
}

#[test]
fn messages_of_an_earlier_connection_come_before_suback_and_are_taken() {
    for version in VERSIONS {
        let mut bench = Bench::new(version, true);
        bench.says(&connack(version, true));
        bench.says(&publish(version, Qos::AtLeastOnce, 3));
        bench.output();
        let receipt = bench.publishes()[0].receipt;
        bench.mqtt.acknowledge(receipt, &mut bench.heard).unwrap();
        assert_eq!(bench.output(), [0x40, 2, 0, 3]);
    }
}

#[test]
fn no_more_than_the_receive_maximum_is_in_flight() {
    for version in VERSIONS {
        let mut bench = Bench::subscribed(version);
        for id in [1, 2] {
            bench.says(&publish(version, Qos::AtLeastOnce, id));
        }
        assert!(
            matches!(bench.says(&publish(version, Qos::AtMostOnce, 0)), Progress::NeedInput(_)),
            "QoS 0 may"
        );
        let progress = bench.says(&publish(version, Qos::AtLeastOnce, 3));
        if version == Version::V5 {
            let end = bench.mqtt.ended();
            assert!(matches!(end, Some(End::Fault(CloseReason::ReceiveMaximumExceeded, _))), "{end:?}");
            assert_eq!(bench.output(), [0xE0, 1, 0x93]);
            continue;
        }
        assert_eq!((progress, bench.mqtt.in_flight()), (Progress::AwaitHub, 2), "3.1.1 is not read");
        let receipt = bench.publishes()[0].receipt;
        bench.mqtt.acknowledge(receipt, &mut bench.heard).unwrap();
        assert!(matches!(bench.says(&[]), Progress::NeedInput(_)));
        assert_eq!(bench.mqtt.in_flight(), 2);
    }
}

#[test]
fn a_broker_that_cannot_keep_the_promise_is_left() {
    let ends = |version, bytes: &[u8]| {
        let mut bench = Bench::new(version, true);
        bench.says(bytes);
        bench.mqtt.ended()
    };
    let lacks = |property| ends(Version::V5, &[0x20, 5, 0, 0, 2, property, 0]);
    assert_eq!(lacks(0x24), Some(End::Lacks(Lack::AtLeastOnce)));
    assert_eq!(lacks(0x2A), Some(End::Lacks(Lack::SharedSubscriptions)));
    assert_eq!(lacks(0x28), Some(End::Lacks(Lack::Wildcards)));
    assert_eq!(ends(Version::V3, &[0x20, 2, 0, 5]), Some(End::Refused(5)));
    assert_eq!(ends(Version::V5, &[0x20, 3, 0, 0x86, 0]), Some(End::Refused(0x86)));
    assert_eq!(ends(Version::V5, &[0x20, 2, 0, 1]), Some(End::Refused(1)), "a broker of 3.1.1 alone");
    for version in VERSIONS {
        for (codes, end) in [
            ([1, 0], End::NotSubscribed { filter: 1, code: 0 }),
            ([0x80, 1], End::NotSubscribed { filter: 0, code: 0x80 }),
        ] {
            let all = [connack(version, false), suback(version, &codes)].concat();
            assert_eq!(ends(version, &all), Some(end));
        }
    }
}

#[test]
fn what_no_broker_may_send_ends_the_connection() {
    use CloseReason::{MalformedPacket, ProtocolError, TopicAliasInvalid, TopicNameInvalid};
    let v5 = |bytes: &[u8]| (Version::V5, bytes.to_vec());
    let both = |bytes: &[u8]| VERSIONS.map(|version| (version, bytes.to_vec()));
    let aliased = client::Publish {
        topic: "a",
        payload: b"",
        qos: Qos::AtMostOnce,
        packet_id: 0,
        dup: false,
        retain: false,
        properties: &client::property::short(0x23, 1),
    };
    let mut cases = vec![
        (v5(&aliased.encode(Version::V5).bytes), TopicAliasInvalid),
        (v5(&[0x30, 6, 0, 1, b'a', 2, 0x0B, 1]), ProtocolError),
        (v5(&[0xE0, 2, 0x8B, 5]), MalformedPacket),
        (v5(&[0xF0, 0]), ProtocolError),
    ];
    for (bytes, reason) in [
        (&[0x20, 2, 0, 0][..], ProtocolError),
        (&[0x90, 3, 0, 1, 1], ProtocolError),
        (&[0x10, 0], ProtocolError),
        (&[0x40, 2, 0, 1], ProtocolError),
        (&[0x62, 2, 0, 1], ProtocolError),
        (&[0xD1, 0], MalformedPacket),
        (&[0xD0, 1, 0], MalformedPacket),
        (&[0x30, 0x80, 0x80, 0x80, 0x80, 1], MalformedPacket),
        (&[0x30, 0x80, 0], MalformedPacket),
        (&[0x34, 5, 0, 1, b'a', 0, 1], ProtocolError),
        (&[0x36, 5, 0, 1, b'a', 0, 1], MalformedPacket),
        (&[0x38, 3, 0, 1, b'a'], MalformedPacket),
        (&[0x32, 5, 0, 1, b'a', 0, 0], MalformedPacket),
        (&[0x30, 4, 0, 1, b'#', 0], TopicNameInvalid),
        (&[0x30, 4, 0, 9, b'a', 0], MalformedPacket),
    ] {
        cases.extend(both(bytes).map(|case| (case, reason)));
    }
    for ((version, bytes), reason) in cases {
        let mut bench = Bench::subscribed(version);
        assert_eq!(bench.says(&bytes), Progress::Closed, "{version:?} {bytes:02x?}");
        let end = bench.mqtt.ended();
        assert!(
            matches!(end, Some(End::Fault(found, _)) if found == reason),
            "{version:?} {bytes:02x?}: {end:?}"
        );
        assert!(bench.publishes().is_empty());
    }
    let mut bench = Bench::new(Version::V5, true);
    bench.says(&publish(Version::V5, Qos::AtMostOnce, 0));
    assert!(matches!(bench.mqtt.ended(), Some(End::Fault(ProtocolError, _))), "a message before CONNACK");
}

#[test]
fn a_packet_above_the_limit_is_named_with_its_size_before_it_is_read() {
    for version in VERSIONS {
        let mut bench = Bench::subscribed(version);
        bench.says(&[0x30, 0x80, 0x80, 0x40]);
        assert_eq!(bench.mqtt.ended(), Some(End::TooLarge((1 << 20) + 4)));
    }
}

#[test]
fn a_topic_that_the_hub_does_not_take_is_passed_up_to_be_recorded_and_acknowledged() {
    let mut bench = Bench::subscribed(Version::V3);
    for topic in ["$SYS/broker/connection/a/state", "$SYS/broker/uptime", "a/\u{1}"] {
        bench.says(&client::publish(Version::V3, topic, b"1", None).bytes);
        assert!(matches!(bench.heard.pop(), Some(Heard::Inadmissible(..))), "{topic}");
    }
}

#[test]
fn silence_is_asked_about_and_then_ends_the_connection_unless_nobody_listened() {
    let mut bench = Bench::subscribed(Version::V5);
    let later = |bench: &mut Bench, seconds| {
        bench.now += Duration::from_secs(seconds);
        bench.mqtt.handle_timeout(bench.now, &mut bench.heard);
    };
    later(&mut bench, 29);
    assert!(bench.output().is_empty());
    later(&mut bench, 1);
    assert_eq!(bench.output(), client::pingreq(), "something was heard since");
    bench.says(&[0xD0, 0]);
    later(&mut bench, 30);
    assert_eq!(bench.output(), client::pingreq());
    bench.mqtt.not_listening();
    later(&mut bench, 30);
    assert_eq!(bench.output(), client::pingreq(), "the hub had no time to listen, and gives a sign of life");
    later(&mut bench, 30);
    assert_eq!(bench.mqtt.ended(), Some(End::Silent));
}

#[test]
fn a_broker_that_does_not_answer_in_time_is_left_and_its_keep_alive_is_kept_to() {
    let mut bench = Bench::new(Version::V5, true);
    bench.mqtt.handle_timeout(bench.now + Duration::from_secs(5), &mut bench.heard);
    assert_eq!(bench.mqtt.ended(), Some(End::NoAnswer));
    let mut bench = Bench::new(Version::V5, false);
    bench.says(&[0x20, 6, 1, 0, 3, 0x13, 0, 10]);
    assert_eq!(bench.mqtt.deadline(), Some(bench.now + Duration::from_secs(10)), "Server Keep Alive");
}

#[test]
fn it_leaves_in_good_order_and_hears_why_the_broker_does() {
    for version in VERSIONS {
        let mut bench = Bench::subscribed(version);
        bench.mqtt.leave(&mut bench.heard);
        assert_eq!(bench.output(), client::disconnect());
        assert_eq!(bench.heard, [Heard::Ended(End::Left)]);
    }
    let mut bench = Bench::subscribed(Version::V5);
    bench.says(&[0xE0, 1, 0x8E]);
    assert_eq!(bench.mqtt.ended(), Some(End::Disconnected(0x8E)));
    assert!(bench.output().is_empty());
}
