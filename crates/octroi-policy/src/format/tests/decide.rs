//! Each format from end to end: the example region's policy with a source and
//! an open rule more for each, and what is decided of messages that hide a
//! plate, say something unforeseen, or are commands.

use crate::ast::Format;
use crate::format::sparkplug::tests::{Message, metric, payload};
use crate::{
    Input, KeySource, Policy, PseudonymKey, SourceFile, Timestamp, TransformInput, TransformPlan, hash,
    parse, read,
};

const EXAMPLE: &str = include_str!("../../../../../policies/bretagne-exemple.toml");

/// The closed schema of each format's open rule.
const SCHEMAS: [(Format, &str); 6] = [
    (
        Format::NgsiLd,
        r#"id = "token", type = { in = ["TrafficFlowObserved"] }, intensity = "number", "intensity.value" = "number""#,
    ),
    (Format::SparkplugB, r#""carrefour/count" = "number""#),
    (Format::Zigbee2mqtt, r#"occupancy = "boolean""#),
    (Format::Tasmota, r#""COUNTER.C1" = "number""#),
    (Format::Shelly, r#""input:0.id" = "number", "input:0.counts" = "number""#),
    (Format::Opaque, r#"count = "number""#),
];

fn policy() -> Policy {
    let mut text = EXAMPLE.to_owned();
    for (format, schema) in SCHEMAS {
        let name = serde_json::to_string(&format).unwrap();
        let id = name.trim_matches('"');
        text += &format!(
            r##"
[[source]]
id = "{id}"
identity = "user:{id}"
producer = "243500139"
format = {name}
topics = ["#"]
domains = ["mobility"]
commune = "35238"
perimeter = "metropole-rennes"

[[classify]]
id = "ouvert-{id}"
when = {{ source = "{id}", fields_within = {{ {schema} }} }}
level = "open"
"##
        );
    }
    let files = [SourceFile { name: "formats.toml".to_owned(), text }];
    let parsed = parse(&files);
    assert_eq!(parsed.findings, []);
    Policy::compile(&parsed.document, hash(&files)).unwrap()
}

fn decided(policy: &Policy, format: Format, topic: &str, payload: &[u8]) -> String {
    let id = serde_json::to_string(&format).unwrap();
    let input = Input {
        source: policy.source(&format!("user:{}", id.trim_matches('"'))).unwrap(),
        topic,
        payload,
        user_properties: &[],
        received: Timestamp::parse_rfc3339("2026-11-20T06:01:10Z").unwrap(),
    };
    let decision = policy.decide(&input);
    match decision.outcome.reason() {
        None => decision.label.level.name().to_owned(),
        Some(reason) => format!("{} {reason}", decision.outcome.name()),
    }
}

#[test]
fn a_plate_is_sensitive_and_the_unforeseen_is_kept_in_every_format_of_json() {
    use Format::{NgsiLd, Shelly, Tasmota, Zigbee2mqtt};
    const UNFORESEEN: &str = "quarantined no_rule_matches";
    let policy = policy();
    for (format, topic, payload, expected) in [
        (NgsiLd, "n", r#"{"id":"a","type":"TrafficFlowObserved","intensity":812}"#, "open"),
        (
            NgsiLd,
            "n",
            r#"{"id":"a","type":"TrafficFlowObserved","intensity":{"type":"Property","value":812}}"#,
            "open",
        ),
        (
            NgsiLd,
            "n",
            r#"{"body":{"id":"n","type":"Notification","data":[{"id":"a","type":"TrafficFlowObserved","intensity":812}]}}"#,
            "open",
        ),
        (
            NgsiLd,
            "n",
            r#"{"id":"a","type":"TrafficFlowObserved","v":{"type":"Property","value":{"licensePlate":"AB-123-CD"}}}"#,
            "sensitive",
        ),
        (
            NgsiLd,
            "n",
            r#"{"id":"a","type":["https://x/AnprFlowObserved","TrafficFlowObserved"],"intensity":812}"#,
            "sensitive",
        ),
        (
            NgsiLd,
            "n",
            r#"{"id":"a","type":"TrafficFlowObserved","https://x#license%":1,"https://x#plate":"AB"}"#,
            "sensitive",
        ),
        (NgsiLd, "n", r#"{"id":"a","type":"TrafficFlowObserved","intensity":812,"owner":"x"}"#, UNFORESEEN),
        (
            NgsiLd,
            "n",
            r#"{"id":"a","type":"TrafficFlowObserved","intensity":812,"@context":{"intensity":"https://x/y"}}"#,
            UNFORESEEN,
        ),
        (NgsiLd, "n", r#"{"intensity":812}"#, "quarantined cannot_decode"),
        (Zigbee2mqtt, "zigbee2mqtt/a", r#"{"occupancy":true,"linkquality":90}"#, "open"),
        (Zigbee2mqtt, "zigbee2mqtt/a", r#"{"occupancy":true,"vehicle":{"plate":"AB-123-CD"}}"#, "sensitive"),
        (Zigbee2mqtt, "zigbee2mqtt/a", r#"{"occupancy":true,"last_seen":"AB-123-CD"}"#, UNFORESEEN),
        (Zigbee2mqtt, "zigbee2mqtt/a/availability", "online", UNFORESEEN),
        (Zigbee2mqtt, "zigbee2mqtt/a/set", r#"{"occupancy":true}"#, "refused command"),
        (Tasmota, "tele/a/SENSOR", r#"{"Time":"2026-11-20T07:15:00","COUNTER":{"C1":3}}"#, "open"),
        (Tasmota, "tele/a/SENSOR", r#"{"COUNTER":{"C1":3},"RDM":{"Plate":"AB-123-CD"}}"#, "sensitive"),
        (Tasmota, "tele/a/SENSOR", r#"{"COUNTER":{"C1":3,"C2":"x"}}"#, UNFORESEEN),
        (Tasmota, "stat/a/POWER", "ON", UNFORESEEN),
        (Tasmota, "cmnd/a/POWER", "ON", "refused command"),
        (
            Shelly,
            "a/events/rpc",
            r#"{"src":"a","method":"NotifyStatus","params":{"ts":1795154400.2,"input:0":{"id":0,"counts":7}}}"#,
            "open",
        ),
        (Shelly, "a/events/rpc", r#"{"params":{"input:0":{"id":0,"plate":"AB-123-CD"}}}"#, "sensitive"),
        (
            Shelly,
            "a/events/rpc",
            r#"{"params":{"input:0":{"id":0,"counts":7},"wifi":{"ssid":"x"}}}"#,
            UNFORESEEN,
        ),
        (Shelly, "a/rpc", r#"{"params":{"input:0":{"id":0}}}"#, "refused command"),
    ] {
        assert_eq!(decided(&policy, format, topic, payload.as_bytes()), expected, "{topic} {payload}");
    }
}

#[test]
fn a_plate_is_sensitive_and_a_name_unknown_is_kept_in_sparkplug() {
    const DATA: &str = "spBv1.0/g/DDATA/n/d";
    let policy = policy();
    let count = metric("carrefour/count", 3).varint(10, 7);
    let plate = metric("gate/plate", 12).text(15, "AB-123-CD");
    let template = metric("gate", 19).message(18, &Message::default().message(2, &plate));
    let alias = Message::default().varint(2, 4).text(15, "AB-123-CD");
    for (topic, payload, expected) in [
        (DATA, payload(std::slice::from_ref(&count)), "open"),
        (DATA, payload(&[count.clone(), plate]), "sensitive"),
        (DATA, payload(&[count.clone(), template]), "sensitive"),
        (DATA, payload(&[metric("gate/license/plate/last", 12).text(15, "AB-123-CD")]), "sensitive"),
        (DATA, payload(&[count.clone(), alias]), "quarantined no_rule_matches"),
        (DATA, payload(&[metric("carrefour/speed", 10).double(13, 30.0)]), "quarantined no_rule_matches"),
        (DATA, vec![0x13], "quarantined ambiguous_payload"),
        ("spBv1.0/g/DCMD/n/d", payload(&[count]), "refused command"),
        ("spBv1.0/g/DCMD/n/d", vec![0xff], "refused command"),
    ] {
        assert_eq!(decided(&policy, Format::SparkplugB, topic, &payload), expected, "{payload:02x?}");
    }
}

#[test]
fn no_closed_schema_holds_over_bytes_that_nobody_reads() {
    let policy = policy();
    assert_eq!(decided(&policy, Format::Opaque, "image", b"\xff\xd8\xff"), "quarantined no_rule_matches");
}

struct OneKey;

impl KeySource for OneKey {
    fn key(&self, _: &str, _: &str) -> Option<PseudonymKey> {
        Some(PseudonymKey::new("k7", &[7; 32]))
    }
}

#[test]
fn a_transform_makes_a_copy_of_json_and_refuses_protobuf() {
    let steps = r#"{ op = "keep_only", fields = ["count"] }, { op = "rewrite_topic", to = "copie" }"#;
    let transform = toml::from_str(&format!("id = \"t\"\nsteps = [{steps}]")).unwrap();
    let plan = TransformPlan::compile(&transform, 11).unwrap();
    let copy = |format, topic: &str, payload: &[u8]| {
        let facts = read(format, topic, payload).unwrap();
        let input = TransformInput {
            facts: &facts,
            payload,
            topic,
            device: None,
            domain: "mobility",
            commune: Some("35238"),
            producer: "243500139",
            purpose: "Comptage",
            copy: "copie",
            received: Timestamp::parse_rfc3339("2026-11-20T06:01:10Z").unwrap(),
            record_id: "hub-1/3/77",
        };
        plan.apply(&input, &OneKey).map(|copy| copy.payload).map_err(|refused| refused.name())
    };
    let count = payload(&[metric("count", 3).varint(10, 7)]);
    assert_eq!(copy(Format::SparkplugB, "spBv1.0/g/DDATA/n", &count), Err("facts_mismatch"));
    assert_eq!(copy(Format::Zigbee2mqtt, "zigbee2mqtt/a/availability", b"online"), Err("nothing_kept"));
    assert_eq!(
        copy(Format::Shelly, "a/events/rpc", br#"{"params":{"count":7,"plate":"x"}}"#),
        Ok(br#"{"count":7}"#.to_vec())
    );
}
