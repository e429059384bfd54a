//! What the adapters do with what no fixture shows; and with any bytes.

use proptest::prelude::*;

use super::*;

mod decide;

/// Topics on which some format has something to say, and others.
const TOPICS: &str = "[a-z/]{0,20}|application/a/device/d/event/up|spBv1.0(/[A-Z]{1,5}){0,4}|\
                      spBv1.0/g/(NBIRTH|DDATA|NDEATH|DCMD)/n(/d)?|spBv1.0/STATE/h|\
                      zigbee2mqtt/(a|a/b/(availability|set)|bridge/(state|devices|request/x))|\
                      (tele|stat|cmnd)/d/(SENSOR|STATE|POWER|LWT)|d/(events/rpc|rpc|status/x|command|online)";
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
        (Format::Zigbee2mqtt, "zigbee2mqtt/residence/log-204/prise/set"),
        (Format::Zigbee2mqtt, "zigbee2mqtt/prise/l1/set/state"),
        (Format::Zigbee2mqtt, "zigbee2mqtt/prise/get"),
        (Format::Zigbee2mqtt, "site/z2m/prise/set"),
        (Format::Zigbee2mqtt, "zigbee2mqtt/bridge/request/permit_join"),
        (Format::Zigbee2mqtt, "site/z2m/bridge/request/device/remove"),
        (Format::Zigbee2mqtt, "zigbee2mqtt/bridge/config/permit_join"),
        (Format::Tasmota, "cmnd/armoire-112/POWER"),
        (Format::Tasmota, "armoire-112/cmnd/Backlog"),
        (Format::Tasmota, "tele/cmnd/SENSOR"),
        (Format::Shelly, "shellyplus1-02d1c45a9e10/rpc"),
        (Format::Shelly, "mairie/prise/command/switch:0"),
        (Format::Shelly, "shellies/command"),
        (Format::Shelly, "x/command/events/rpc"),
    ] {
        for payload in [&b""[..], b"{}", b"[]", b"{\"a\":1,\"a\":2}", b"\xff", b"{"] {
            assert_eq!(read(format, topic, payload).unwrap().kind, Kind::Command, "{topic}");
        }
    }
    assert_eq!(read(Format::TtsV3, "v3/a@t/devices/d/down/ack", b"{}").unwrap().kind, Kind::Status);
    let data = read(Format::SparkplugB, "spBv1.0/NCMD/DDATA/n", b"\x08\x01").unwrap();
    assert_eq!(data.kind, Kind::Measure);
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

#[test]
fn each_format_knows_its_own_words_and_lists_the_rest() {
    use Format::{Shelly, Tasmota, Zigbee2mqtt};
    for (format, topic, payload, data, measures) in [
        (
            Zigbee2mqtt,
            "zigbee2mqtt/d",
            r#"{"last_seen":1795154400000,"linkquality":9,"elapsed":5,"occupancy":true}"#,
            "occupancy",
            "occupancy",
        ),
        (
            Zigbee2mqtt,
            "zigbee2mqtt/d",
            r#"{"last_seen":"AB-123-CD","update":{"state":"idle"}}"#,
            "last_seen update.state",
            "",
        ),
        (Zigbee2mqtt, "zigbee2mqtt/d/availability", r#"{"state":"online"}"#, "state", ""),
        (
            Zigbee2mqtt,
            "zigbee2mqtt/bridge/devices",
            r#"[{"friendly_name":"a","network_address":5}]"#,
            "friendly_name network_address",
            "",
        ),
        (
            Tasmota,
            "tele/d/SENSOR",
            r#"{"Time":"2026-11-20T07:15:00","COUNTER":{"C1":3},"TempUnit":"C"}"#,
            "COUNTER.C1",
            "COUNTER.C1",
        ),
        (Tasmota, "d/tele/SENSOR", r#"{"Time":"AB-123-CD","TempUnit":"AB"}"#, "Time TempUnit", ""),
        (Tasmota, "tele/d/STATE", r#"{"Heap":27,"Wifi":{"SSId":"a"}}"#, "Wifi.SSId", ""),
        (
            Shelly,
            "d/events/rpc",
            r#"{"src":"d","dst":"x","method":"NotifyStatus","params":{"ts":1795154400.25,"em:0":{"id":0,"ts":1}}}"#,
            "em:0.id em:0.ts",
            "em:0.id em:0.ts",
        ),
        (
            Shelly,
            "d/events/rpc",
            r#"{"method":"Switch.Set","params":{"ts":"AB","a":1}}"#,
            "method params.ts a",
            "a",
        ),
        (Shelly, "d/events/rpc", r#"{"params":5,"plate":"a"}"#, "params plate", "params"),
        (Shelly, "d/status/switch:0", r#"{"apower":8.5}"#, "apower", "apower"),
        (Shelly, "d/online", "true", "", ""),
    ] {
        assert_data(format, topic, payload, data, measures);
    }
}

/// The names that a closed schema must list, and those of the measures.
fn assert_data(format: Format, topic: &str, payload: &str, data: &str, measures: &str) {
    let facts = facts(format, topic, payload);
    let named = facts.leaves.iter().filter_map(|leaf| facts.data_name(leaf)).filter(|name| !name.is_empty());
    assert_eq!(named.collect::<Vec<_>>().join(" "), data, "{payload}");
    assert_eq!(facts.measures.join(" "), measures, "{payload}");
}

#[test]
fn the_words_of_an_entity_are_listed_and_its_kinds_are_not() {
    use Format::{NgsiLd, SparkplugB};
    for (format, topic, payload, data, measures) in [
        (SparkplugB, "spBv1.0/STATE/h", r#"{"online":true,"timestamp":1795154400000}"#, "", ""),
        (SparkplugB, "spBv1.0/STATE/h", r#"{"online":"yes","host":"h"}"#, "online host", ""),
        (
            NgsiLd,
            "n",
            r#"{"id":"a","type":"T","no2":{"type":"Property","value":3,"observedAt":"2026-11-20T06:00:00Z","unitCode":"GQ","accuracy":{"type":"Property","value":1}}}"#,
            "id type no2.value no2.unitCode no2.accuracy.value",
            "no2 no2.accuracy",
        ),
        (
            NgsiLd,
            "n",
            r#"{"body":{"id":"n","type":"Notification","notifiedAt":"hier","data":[{"id":"a","type":"T","x":1}]},"metadata":{"Link":"l"}}"#,
            "body.notifiedAt id type x metadata.Link",
            "x",
        ),
        (
            NgsiLd,
            "n",
            r#"{"type":"Notification","data":{"id":"a","type":"T","x":true},"plate":"p"}"#,
            "id type x plate",
            "x",
        ),
        (
            NgsiLd,
            "n",
            r#"[{"@id":"a","@type":["https://x/T"],"https://x#v":[{"https://y/hasValue":[{"@value":3}]}]}]"#,
            "@id @type https://x#v.https://y/hasValue.@value",
            "v",
        ),
    ] {
        assert_data(format, topic, payload, data, measures);
    }
}

#[test]
fn bare_words_and_foreign_topics_are_read_only_where_the_format_has_them() {
    let named = |format, topic, payload: &str| match read(format, topic, payload.as_bytes()) {
        Ok(facts) => facts.device.map_or("none".to_owned(), |device| format!("{device} {:?}", facts.kind)),
        Err(ReadError::Ambiguous(ambiguity)) => ambiguity.reason.to_owned(),
        Err(ReadError::CannotDecode { reason, .. }) => reason.to_owned(),
    };
    for (format, topic, payload, came) in [
        (Format::Zigbee2mqtt, "zigbee2mqtt/a/b/availability", "online", "a/b Status"),
        (Format::Zigbee2mqtt, "zigbee2mqtt/bridge/state", "offline", "none"),
        (Format::Zigbee2mqtt, "zigbee2mqtt/a", "online", "not JSON"),
        (Format::Zigbee2mqtt, "zigbee2mqtt/a/availability", "AB-123-CD", "not JSON"),
        (Format::Zigbee2mqtt, "zigbee2mqtt/a/temperature", "19.8", "not a JSON object"),
        (Format::Zigbee2mqtt, "z2m/a", "{}", "a Measure"),
        (Format::Tasmota, "stat/a/POWER2", "OFF", "a Status"),
        (Format::Tasmota, "home/tele/a/LWT", "Online", "home/a Status"),
        (Format::Tasmota, "tele/a/SENSOR", "ON", "not JSON"),
        (Format::Tasmota, "tasmota/discovery/02AB/config", "{}", "02AB Inventory"),
        (Format::Tasmota, "cmd/a/POWER", "{}", "not a topic of Tasmota"),
        (Format::Shelly, "a/b/events/rpc", "{\"src\":\"s\"}", "s Measure"),
        (Format::Shelly, "a/b/status/sys", "{}", "a/b Measure"),
        (Format::Shelly, "a/debug/log", "{}", "not a topic of Shelly, generation 2 or later"),
        (Format::SparkplugB, "spBv1.0/g/XDATA/n", "{}", "not a topic of Sparkplug B"),
        (Format::SparkplugB, "a/g/DDATA/n", "{}", "not a topic of Sparkplug B"),
        (Format::NgsiLd, "n", "[1]", "NGSI-LD is an entity or an array of them"),
        (Format::NgsiLd, "n", "{\"id\":\"a\"}", "an NGSI-LD entity without id or type"),
        (Format::NgsiLd, "n", "{\"type\":\"a\"}", "an NGSI-LD entity without id or type"),
    ] {
        assert_eq!(named(format, topic, payload), came, "{topic} {payload}");
    }
}

#[test]
fn ngsi_ld_entities_say_together_what_each_says() {
    let entity = |rest: &str| format!(r#"{{"id":"a","type":"T",{rest}}}"#);
    let one = entity(r#""sensitivity":{"type":"Property","value":"personal"}"#);
    assert_eq!(facts(Format::NgsiLd, "n", &one).declared.as_deref(), Some("personal"));
    let within = format!(r#"{{"type":"Notification","data":[{}]}}"#, entity(r#""sensitivity":"sensitive""#));
    assert_eq!(facts(Format::NgsiLd, "n", &within).declared.as_deref(), Some("sensitive"));
    let both = format!("[{one},{}]", entity(r#""sensitivity":{"value":{"level":"open"}}"#));
    let both = facts(Format::NgsiLd, "n", &both);
    assert_eq!((both.declared.as_deref(), both.device), (Some(""), None), "no word, and two identifiers");

    let beside =
        r#"{"type":["urn:x:AnprFlowObserved"],"body":{"type":"Notification","data":{"id":"a","type":"T"}}}"#;
    assert_eq!(facts(Format::NgsiLd, "n", beside).types, ["AnprFlowObserved", "T"]);

    for (location, place) in [
        (r#"{"type":"Point","coordinates":[-1.5,48]}"#, Some((48.0, -1.5))),
        (r#"{"type":"GeoProperty","value":{"type":"Point","coordinates":[-1.5,48,30]}}"#, Some((48.0, -1.5))),
        (r#"{"type":"LineString","coordinates":[-1.5,48]}"#, None),
        (r#"{"type":"Point","coordinates":[-1.5]}"#, None),
        (r#"{"type":"Point","coordinates":[-1.5,98]}"#, None),
    ] {
        let payload = entity(&format!(r#""location":{location}"#));
        let read = facts(Format::NgsiLd, "n", &payload).location;
        assert_eq!(read.map(|at| (at.latitude, at.longitude)), place, "{location}");
    }
    for (times, time) in [
        (
            r#""x":{"value":1,"observedAt":"2026-11-20T06:00:00Z"},"y":{"value":1,"observedAt":"2026-11-20T06:01:00Z"}"#,
            Some("2026-11-20T06:01:00Z"),
        ),
        (
            r#""observedAt":"2026-11-20T06:02:00Z","dateObserved":"2026-11-20T06:00:00Z/2026-11-20T06:15:00Z""#,
            Some("2026-11-20T06:15:00Z"),
        ),
        (r#""dateObserved":"2026-11-20T06:00:00""#, None),
    ] {
        let payload = entity(times);
        let read = facts(Format::NgsiLd, "n", &payload).time;
        assert_eq!(read.map(|time| time.to_string()).as_deref(), time, "{times}");
    }
}

/// JSON of the words of every format, nested.
fn any_message() -> impl Strategy<Value = String> {
    const KEYS: &str = "id|@id|type|@type|@context|value|@value|observedAt|location|coordinates|data|body|metadata|\
                        notifiedAt|sensitivity|https://x/plate|params|ts|src|method|Time|TempUnit|last_seen|linkquality|\
                        online|timestamp|object|decoded_payload|uplink_message|n|v|bn";
    let scalar = "1|-2.5|1795154400|true|null|\\{\\}|\\[\\]|\"(T|Point|Property|Notification|DateTime|open|AB-123-CD|2026-11-20T06:00:00Z)\"";
    scalar.prop_recursive(5, 40, 5, |inner| {
        let object = prop::collection::btree_map(KEYS, inner.clone(), 0..5).prop_map(|fields| {
            let fields: Vec<_> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            format!("{{{}}}", fields.join(","))
        });
        let array = prop::collection::vec(inner, 0..3).prop_map(|values| format!("[{}]", values.join(",")));
        prop_oneof![3 => object, 1 => array]
    })
}

proptest! {
    #[test]
    fn any_bytes_on_any_topic_end_in_facts_or_a_reason(
        payload in prop::collection::vec(any::<u8>(), 0..120),
        topic in TOPICS,
    ) {
        for format in FORMATS {
            if let Ok(facts) = read(format, &topic, &payload) {
                prop_assert!(facts.leaves.len() <= payload.len());
            }
        }
    }

    #[test]
    fn any_message_of_any_format_ends_in_facts_with_each_leaf_or_a_reason(
        payload in any_message(),
        topic in TOPICS,
    ) {
        let mut plain = Facts::default();
        let leaves = crate::json::read_into(payload.as_bytes(), &mut plain, &mut Scratch::default());
        for format in FORMATS {
            let Ok(facts) = read(format, &topic, payload.as_bytes()) else { continue };
            // A command may be without, and what is not JSON is one frame.
            if leaves.is_ok() && !matches!(facts.kind, Kind::Command | Kind::Opaque) {
                prop_assert_eq!(facts.leaves.len(), plain.leaves.len(), "{:?}", format);
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
