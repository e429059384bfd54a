//! What the adapters do with what no fixture shows; and with any bytes.

use proptest::prelude::*;

use super::*;
use crate::LeafRole;

const FORMATS: [Format; 10] = [
    Format::Json,
    Format::ChirpstackV4,
    Format::TtsV3,
    Format::Senml,
    Format::NgsiLd,
    Format::SparkplugB,
    Format::Zigbee2mqtt,
    Format::Tasmota,
    Format::Shelly,
    Format::Opaque,
];
const UP: &str = "application/a/device/02b56e00000035a1/event/up";

fn facts<'a>(format: Format, topic: &'a str, payload: &'a str) -> Facts<'a> {
    read(format, topic, payload.as_bytes()).unwrap()
}

fn refused(format: Format, payload: &str) -> &'static str {
    match read(format, UP, payload.as_bytes()).unwrap_err() {
        ReadError::Ambiguous(ambiguity) => ambiguity.reason,
        ReadError::CannotDecode { reason, .. } => reason,
    }
}

#[test]
fn a_declaration_is_the_strictest_of_all_and_no_word_is_the_empty_word() {
    for (payload, declared) in [
        (r#"{"sensitivity":"open"}"#, Some("open")),
        (r#"{"sensitivity":"secret-défense"}"#, Some("secret-défense")),
        (r#"{"sensitivity":["open","personal","internal"]}"#, Some("personal")),
        (r#"[{"sensitivity":"open"},{"sensitivity":"sensitive"}]"#, Some("sensitive")),
        (r#"{"sensitivity":3}"#, Some("")),
        (r#"{"sensitivity":null}"#, Some("")),
        (r#"{"sensitivity":{"level":{"is":"open"}}}"#, Some("")),
        (r#"{"sensitivity":["open",null]}"#, Some("")),
        (r#"{"a":{"sensitivity":"restricted"}}"#, None),
    ] {
        assert_eq!(facts(Format::Json, "t", payload).declared.as_deref(), declared, "{payload}");
    }
    let payload = r#"{"deviceInfo":{"devEui":"a"},"sensitivity":"personal"}"#;
    assert_eq!(facts(Format::ChirpstackV4, UP, payload).declared.as_deref(), Some("personal"));
}

#[test]
fn what_stands_twice_identifies_nothing() {
    let two = facts(
        Format::Json,
        "a/b",
        r#"[{"device":"x","tags":{"insee":"35238"}},{"device":"y","tags":{"insee":"56260"}}]"#,
    );
    assert_eq!(two.device.as_deref(), Some("a/b"), "the topic");
    assert_eq!(two.commune, None);
    let many = facts(Format::Json, "a/b", r#"{"tags":{"insee":["35238","56260"],"domain":"water"}}"#);
    assert_eq!((many.commune, many.domain.as_deref()), (None, Some("water")));
}

#[test]
fn the_first_time_that_is_an_instant_counts() {
    for (payload, time) in [
        (r#"{"timestamp":1795154400,"time":"6 h"}"#, "2026-11-20T06:00:00Z"),
        (r#"{"observedAt":"2026-11-20T06:00:00Z","time":1795154401500}"#, "2026-11-20T06:00:01.500Z"),
        (r#"{"time":"2026-11-20T06:00:02Z","ts":"2026-11-20T06:00:03Z"}"#, "2026-11-20T06:00:03Z"),
    ] {
        assert_eq!(
            facts(Format::Json, "t", payload).time.map(|time| time.to_string()).as_deref(),
            Some(time)
        );
    }
    for none in ["2026-11-20T06:00:00", "", "-5"] {
        assert_eq!(facts(Format::Json, "t", &format!("{{\"ts\":\"{none}\"}}")).time, None);
    }
    assert_eq!(facts(Format::Json, "t", r#"{"ts":1e300,"time":-1}"#).time, None);
}

#[test]
fn names_within_a_key_are_found() {
    let facts =
        facts(Format::Json, "t", r#"{"vehicle.plate":1,"a/mac":2,"urn:x:badge":3,"МАС":4,"plain":5}"#);
    for name in ["plate", "mac", "badge", "MAC"] {
        assert!(facts.names.iter().any(|found| found == name), "{name} in {:?}", facts.names);
    }
    assert!(!facts.names.iter().any(|found| found == "plain"), "its key is enough");
}

#[test]
fn a_format_defines_a_leaf_only_with_its_type() {
    let data = |payload: &str| {
        let facts = facts(Format::ChirpstackV4, UP, payload);
        facts.leaves.iter().filter_map(|leaf| facts.data_name(leaf)).collect::<Vec<_>>().join(" ")
    };
    for (payload, listed) in [
        (r#"{"fPort":1,"adr":true,"deviceInfo":{"devEui":"a","tags":{}},"object":{},"data":null}"#, ""),
        (r#"{"rxInfo":[{"uplinkId":"123","timeSinceGpsEpoch":"1s","location":{}}]}"#, ""),
        (r#"{"fPort":"AB-123-CD"}"#, "fPort"),
        (r#"{"time":{"plate":1}}"#, "time.plate"),
        (r#"{"deviceInfo":"AB-123-CD"}"#, "deviceInfo"),
        (r#"{"deviceInfo":{"plate":"a"}}"#, "deviceInfo.plate"),
        (r#"{"plate":"a"}"#, "plate"),
        (r#"{"rxInfo":[{"metadata":{"plate":"a"}}]}"#, "rxInfo.metadata.plate"),
        (r#"{"object":5}"#, "object"),
        (r#"{"object":{"a":{"b":1}}}"#, "a.b"),
        (r#"{"joinServerContext":{"appSKey":{"aesKey":"00"}}}"#, "joinServerContext.appSKey.aesKey"),
        (r#"{"location":{"latitude":48.1}}"#, "location.latitude"),
    ] {
        assert_eq!(data(payload), listed, "{payload}");
    }
    let raw = facts(Format::ChirpstackV4, UP, r#"{"data":"AQE="}"#);
    assert_eq!(raw.leaves.first().map(|leaf| leaf.role), Some(LeafRole::Raw));
}

#[test]
fn a_command_is_one_whatever_it_holds() {
    for (format, topic) in [
        (Format::ChirpstackV4, "application/a/device/d/command/down"),
        (Format::ChirpstackV4, "eu868/gateway/g/command/config"),
        (Format::TtsV3, "v3/app@tenant/devices/d/down/push"),
        (Format::TtsV3, "v3/app@tenant/devices/d/down/replace"),
        (Format::SparkplugB, "spBv1.0/g/NCMD/n"),
        (Format::SparkplugB, "site/spBv1.0/g/DCMD/n/d"),
    ] {
        for payload in [&b""[..], b"{}", b"[]", b"{\"a\":1,\"a\":2}", b"\xff", b"{"] {
            assert_eq!(read(format, topic, payload).unwrap().kind, Kind::Command, "{topic}");
        }
    }
    assert_eq!(read(Format::TtsV3, "v3/a@t/devices/d/down/ack", b"{}").unwrap().kind, Kind::Status);
    assert_eq!(read(Format::SparkplugB, "spBv1.0/NCMD/DDATA/n", b"").unwrap().kind, Kind::Opaque);
}

#[test]
fn what_is_not_of_the_format_is_refused() {
    for (format, payload, reason) in [
        (Format::ChirpstackV4, "[]", "not a JSON object"),
        (Format::ChirpstackV4, "", "empty payload"),
        (Format::TtsV3, " 5", "not a JSON object"),
        (Format::Senml, "{}", "SenML is an array of objects"),
        (Format::Senml, "[1]", "SenML is an array of objects"),
        (Format::Senml, "[]", "SenML is an array of objects"),
        (Format::Senml, "[{\"n\":\"a\",\"v\":1},[]]", "SenML is an array of objects"),
        (Format::Senml, "[{\"n\":5}]", "a SenML label with a value of another type"),
        (Format::Senml, "[{\"n\":\"a\",\"v\":\"5\"}]", "a SenML label with a value of another type"),
        (Format::Senml, "[{\"n\":\"plаte\",\"v\":5}]", "a SenML name outside RFC 8428"),
        (Format::Senml, "[{\"n\":[\"plate\",\"a\"],\"v\":5}]", "a SenML label twice in a record"),
        (
            Format::Senml,
            "[[{\"n\":\"plate\",\"v\":5},{\"n\":\"a\",\"v\":5}]]",
            "a SenML label twice in a record",
        ),
        (Format::Senml, "[{\"v\":5}]", "a SenML name outside RFC 8428"),
        (Format::Senml, "[{\"n\":\"a\",\"v\":5,\"x_\":1}]", "a SenML label that must be understood"),
        (Format::Senml, "[{\"bver\":11,\"n\":\"a\",\"v\":5}]", "a SenML version after RFC 8428"),
    ] {
        assert_eq!(refused(format, payload), reason, "{payload}");
    }
}

#[test]
fn senml_records_end_where_their_objects_end() {
    let pack = |payload| {
        let facts = facts(Format::Senml, "t", payload);
        let names = |names: &[Cow<'_, str>]| names.join(" ");
        (names(&facts.measures), names(&facts.names))
    };
    // Base fields may stand last, carry over, and be cut within a word.
    assert_eq!(
        pack(r#"[{"v":1,"n":"a","bn":"u:"},{"v":2,"n":"b"}]"#),
        ("a b".into(), "a b u u:a u:b".into())
    );
    assert_eq!(pack(r#"[{"bn":"u:pla"},{"n":"te","v":1},{"n":"ce","v":2}]"#).0, "place plate");
    assert_eq!(pack(r#"[{"bn":"x:y","v":1}]"#), ("y".into(), "x x:y y".into()));
    assert_eq!(pack(r#"[{"bn":"a/b/","n":"c","v":1}]"#), ("a/b/c".into(), "a a/b/c b c".into()));
    let two = facts(Format::Senml, "the/topic", r#"[{"n":"d1:a","v":1},{"n":"d2:a","v":1}]"#);
    assert_eq!(two.device.as_deref(), Some("the/topic"), "two devices are none");
}

proptest! {
    #[test]
    fn any_bytes_on_any_topic_end_in_facts_or_a_reason(
        payload in prop::collection::vec(any::<u8>(), 0..120),
        topic in "[a-z/]{0,20}|application/a/device/d/event/up|spBv1.0(/[A-Z]{1,5}){0,4}",
    ) {
        for format in FORMATS {
            if let Ok(facts) = read(format, &topic, &payload) {
                prop_assert!(facts.leaves.len() <= payload.len());
            }
        }
    }

    #[test]
    fn any_json_ends_in_facts_or_a_reason(
        payload in "(\\[\\{|\\{)(\"(bn|n|v|vs|t|object|deviceInfo|tags|data|ts|type|sensitivity|uplink_message|decoded_payload)\":(\\{|\\[|\\{\"a\":)?(1|\"x\"|null|\\[\\]|\\{\\})?[\\]}]?,?){0,6}(\\}\\]|\\})",
    ) {
        let mut scratch = Scratch::default();
        for format in FORMATS {
            let facts = read_with(format, UP, payload.as_bytes(), &mut scratch);
            // Memory that was used before changes nothing.
            prop_assert_eq!(facts, read(format, UP, payload.as_bytes()));
        }
    }
}
