//! Transforms on real payloads, on generated ones, and on what must be refused.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ast::Format;
use crate::read;

/// A key for each reference, or none.
struct Keys(Option<PseudonymKey>);

impl KeySource for Keys {
    fn key(&self, _: &str, _: &str) -> Option<PseudonymKey> {
        self.0.clone()
    }
}

fn keys() -> Keys {
    Keys(Some(PseudonymKey::new("k7", b"0123456789abcdef0123456789abcdef")))
}

fn transform(steps: &str) -> Transform {
    toml::from_str(&format!("id = \"t\"\nsteps = [{steps}]")).unwrap()
}

fn plan(steps: &str) -> TransformPlan {
    TransformPlan::compile(&transform(steps), 11).unwrap()
}

fn input<'m>(facts: &'m Facts<'m>, payload: &'m [u8]) -> TransformInput<'m> {
    TransformInput {
        facts,
        payload,
        topic: "ville/mobilite/compteur-7/count",
        device: facts.device.as_deref(),
        domain: "mobility",
        commune: Some("35238"),
        producer: "243500139",
        purpose: "Modélisation du trafic",
        copy: "mobilite-vers-cloud",
        received: Timestamp::parse_rfc3339("2026-11-20T06:07:08.9Z").unwrap(),
        record_id: "hub-1/3/77",
    }
}

const REFERENCE: &str = r#"
  { op = "keep_only", fields = ["count", "speed_avg", "occupancy_pct", "period"] },
  { op = "pseudonymise", field = "device", key = "file:pseudo-mobilite", rotate = "P1D", scope = "per_producer" },
  { op = "generalise_geo", to = "commune" },
  { op = "generalise_time", to = "PT15M" },
  { op = "rewrite_topic", to = "b/{domain}/{commune}/{device}" },
"#;

/// The copy of a payload, or the stable name of its refusal.
fn run_with(steps: &str, format: Format, topic: &str, payload: &str) -> Result<Transformed, &'static str> {
    let facts = read(format, topic, payload.as_bytes()).unwrap();
    let input = TransformInput { topic, ..input(&facts, payload.as_bytes()) };
    plan(steps).apply(&input, &keys()).map_err(|refused| refused.name())
}

fn run(steps: &str, payload: &str) -> Result<Transformed, &'static str> {
    run_with(steps, Format::Json, "ville/mobilite/compteur-7/count", payload)
}

fn kept(steps: &str, payload: &str) -> String {
    String::from_utf8(run(steps, payload).unwrap().payload).unwrap()
}

const COUNTER: &str = r#"{"device":"compteur-7","ts":"2026-11-20T06:00:12Z","period":"PT15M","count":128,"plate":"AB-123-CD","by_class":{"car":109},"location":{"lat":48.1,"lon":-1.7}}"#;

#[test]
fn the_copy_of_the_reference_policy_names_neither_device_nor_instant() {
    let copy = run(REFERENCE, COUNTER).unwrap();
    assert_eq!(String::from_utf8_lossy(&copy.payload), r#"{"count":128,"period":"PT15M"}"#);
    // Computed apart, with Python's hmac over the five length-prefixed parts.
    let device = "p1-k7-78be9acf0dabb4b3e2c9b9472bd39464";
    assert_eq!(copy.device.as_deref(), Some(device));
    assert_eq!(copy.topic, format!("b/mobility/35238/{device}"));
    assert_eq!(copy.time.unwrap().to_string(), "2026-11-20T06:00:00Z");
    assert_eq!(copy.commune.as_deref(), Some("35238"));
    assert_eq!(copy.id, "d42b16d1834d1c2f119bcd88faad332d");
}

#[test]
fn an_allow_list_keeps_what_it_names_with_its_arrays_and_nesting() {
    let payload = r#"{ "z" : [ {"a":1,"b":2}, {"b":"x\"é\u0001"} , 5 ], "a":{"b":{"c":[[1],[],[2,null]]},"d":{}}, "a.d":3, "b":[] }"#;
    for (fields, expected) in [
        (r#""z.b""#, r#"{"z":[{"b":2},{"b":"x\"é\u0001"}]}"#),
        (r#""z""#, r#"{"z":[5]}"#),
        (r#""a.b.c", "b""#, r#"{"a":{"b":{"c":[[1],[],[2,null]]}},"b":[]}"#),
        (r#""a.d""#, r#"{"a":{"d":{}},"a.d":3}"#),
    ] {
        assert_eq!(kept(&format!("{{ op = \"keep_only\", fields = [{fields}] }}"), payload), expected);
    }
    for none in [r#""a""#, r#""a.b""#, r#""c""#, r#""Z""#, r#""z.a.b""#] {
        let steps = format!("{{ op = \"keep_only\", fields = [{none}] }}");
        assert_eq!(run(&steps, payload), Err("nothing_kept"), "{none}");
    }
}

#[test]
fn below_a_data_root_names_begin_at_the_top() {
    let topic = "application/a/device/02b56e0000007c19/event/up";
    let payload = r#"{"time":"2026-11-20T05:30:04Z","deviceInfo":{"devEui":"02b56e0000007c19","deviceName":"x","tags":{"usage":"dwelling"}},"fCnt":3,"data":"AQE=","object":{"w":{"a":[1,2]},"n":3,"serial":"02b56e0000007c19"}}"#;
    let only = |fields: &str| {
        let copy = run_with(
            &format!("{{ op = \"keep_only\", fields = [{fields}] }}"),
            Format::ChirpstackV4,
            topic,
            payload,
        );
        copy.map(|copy| String::from_utf8(copy.payload).unwrap())
    };
    assert_eq!(only(r#""w.a", "n""#).as_deref(), Ok(r#"{"n":3,"w":{"a":[1,2]}}"#));
    assert_eq!(
        only(r#""deviceInfo.tags.usage", "n""#).as_deref(),
        Ok(r#"{"deviceInfo":{"tags":{"usage":"dwelling"}},"n":3}"#)
    );
    assert_eq!(only(r#""data""#).as_deref(), Ok(r#"{"data":"AQE="}"#));
    // Metadata of the format cannot be named.
    assert_eq!(only(r#""fCnt", "time", "deviceInfo.devEui", "object.n""#), Err("nothing_kept"));
    let device = r#"{ op = "keep_only", fields = ["serial"] }, { op = "pseudonymise", field = "device", key = "env:K", rotate = "P1M", scope = "per_producer" }"#;
    let copy = run_with(device, Format::ChirpstackV4, topic, payload).unwrap();
    let pseudonym = copy.device.unwrap();
    assert_eq!(String::from_utf8(copy.payload).unwrap(), format!(r#"{{"serial":"{pseudonym}"}}"#));
}

#[test]
fn two_kept_fields_of_one_name_are_refused() {
    let payload = r#"{"data":"AQE=","object":{"data":1}}"#;
    let steps = r#"{ op = "keep_only", fields = ["data"] }"#;
    let copy = run_with(steps, Format::ChirpstackV4, "application/a/device/d/event/up", payload);
    assert_eq!(copy, Err("name_collision"));
}

#[test]
fn senml_keeps_its_records() {
    let payload = r#"[{"bn":"urn:dev:mac:02a4fefffe350041:","bt":1795154400,"n":"no2","v":31.2},{"n":"o3","v":14.4,"vs":"x"}]"#;
    let copy =
        run_with(r#"{ op = "keep_only", fields = ["n", "v"] }"#, Format::Senml, "air/a", payload).unwrap();
    assert_eq!(String::from_utf8_lossy(&copy.payload), r#"[{"n":"no2","v":31.2},{"n":"o3","v":14.4}]"#);
}

#[test]
fn time_is_floored_wherever_it_stands() {
    let steps = r#"{ op = "generalise_time", to = "PT15M" }, { op = "keep_only", fields = ["ts", "seen.first", "epoch_time", "ms.timestamp", "local", "count", "uptime"] }"#;
    let payload = r#"{"ts":"2026-11-20T07:29:59.5+01:00","seen":[{"first":"2026-11-20T06:09:12Z"}],"epoch_time":1795154401.25,"ms":{"timestamp":1795154401250},"local":"2026-11-20T06:44:59","count":1795154401,"uptime":86399}"#;
    let expected = r#"{"count":1795154401,"epoch_time":1795154400,"local":"2026-11-20T06:30:00","ms":{"timestamp":1795154400000},"seen":[{"first":"2026-11-20T06:00:00Z"}],"ts":"2026-11-20T06:15:00Z","uptime":86399}"#;
    assert_eq!(kept(steps, payload), expected);
    let copy =
        run(r#"{ op = "generalise_time", to = "P1D" }, { op = "keep_only", fields = ["a"] }"#, r#"{"a":1}"#)
            .unwrap();
    assert_eq!(
        copy.time.unwrap().to_string(),
        "2026-11-20T00:00:00Z",
        "the arrival, where the message has no time"
    );
    assert_eq!(run(r#"{ op = "keep_only", fields = ["count"] }"#, COUNTER).unwrap().time, None);
}

#[test]
fn places_are_dropped_or_rounded_to_a_kilometre() {
    let fields = r#"{ op = "keep_only", fields = ["n", "location.lat", "location.lon", "location.note", "at.latitude", "at.longitude", "geo.coordinates", "longitude"] }"#;
    let payload = r#"{"n":1,"location":{"lat":48.117266,"lon":-1.677793,"note":"porte 2"},"at":{"latitude":60.1699,"longitude":24.9384},"geo":{"coordinates":[-1.67,48.11]},"longitude":2.5}"#;
    let steps = |to: &str| format!("{fields}, {{ op = \"generalise_geo\", to = \"{to}\" }}");
    assert_eq!(kept(&steps("commune"), payload), r#"{"n":1}"#);
    let rounded =
        r#"{"at":{"latitude":60.17,"longitude":24.948},"location":{"lat":48.12,"lon":-1.680},"n":1}"#;
    assert_eq!(kept(&steps("1km"), payload), rounded, "a longitude without its latitude is dropped");
}

#[test]
fn a_later_step_does_not_undo_a_pseudonym() {
    let pseudonymise = |field: &str| {
        format!(
            "{{ op = \"pseudonymise\", field = \"{field}\", key = \"file:k\", rotate = \"P1D\", scope = \"per_producer\" }}"
        )
    };
    let steps = format!(
        "{{ op = \"keep_only\", fields = [\"ts\", \"ref\", \"lat\", \"n\"] }}, {}, {}, {}, {}, {{ op = \"generalise_time\", to = \"PT1H\" }}, {{ op = \"generalise_geo\", to = \"1km\" }}",
        pseudonymise("ts"),
        pseudonymise("ref"),
        pseudonymise("lat"),
        pseudonymise("device"),
    );
    let copy = kept(
        &steps,
        r#"{"device":"compteur-7","ts":"2026-11-20T06:00:00Z","ref":"compteur-7/a","lat":48.1,"n":null}"#,
    );
    assert_eq!(copy.matches("p1-k7-").count(), 3, "{copy}");
    assert!(!copy.contains("2026") && !copy.contains("/a") && !copy.contains("48"), "{copy}");
}

#[test]
fn what_cannot_be_done_refuses_the_copy() {
    let topic = |to: &str| {
        format!("{{ op = \"keep_only\", fields = [\"count\"] }}, {{ op = \"rewrite_topic\", to = \"{to}\" }}")
    };
    assert_eq!(run(&topic("a/{device}"), COUNTER), Err("device_absent"));
    let late = format!(
        "{}, {{ op = \"pseudonymise\", field = \"device\", key = \"file:k\", rotate = \"P1D\", scope = \"per_producer\" }}",
        topic("a/{device}")
    );
    assert_eq!(run(&late, COUNTER), Err("device_absent"), "steps run in the order written");
    assert_eq!(run(&topic("a/{copy}-{domain}"), COUNTER).unwrap().topic, "a/mobilite-vers-cloud-mobility");
    assert_eq!(
        run(r#"{ op = "keep_only", fields = ["count"] }"#, COUNTER).unwrap().topic,
        "mobilite-vers-cloud"
    );
    assert_eq!(run(REFERENCE, "128"), Err("nothing_kept"));

    let facts = read(Format::Json, "t", COUNTER.as_bytes()).unwrap();
    let refused = |facts: &Facts<'_>, payload: &[u8], commune: Option<&str>, keys: &Keys| {
        plan(REFERENCE).apply(&TransformInput { commune, ..input(facts, payload) }, keys).unwrap_err().name()
    };
    let counter = COUNTER.as_bytes();
    assert_eq!(refused(&facts, counter, None, &keys()), "commune_absent");
    assert_eq!(refused(&facts, counter, Some("35238"), &Keys(None)), "key_missing");
    for (id, secret) in [("k", 15), ("", 32), ("K", 32), ("a-b", 32), ("a234567890123456x", 32)] {
        let weak = Keys(Some(PseudonymKey::new(id, &vec![7; secret])));
        assert_eq!(refused(&facts, counter, Some("35238"), &weak), "key_unusable", "{id} {secret}");
    }
    for other in ["", "{", "{\"device\":1}", "[1,2,3]", "{\"a\":\"", "{\"a\":\"\\", "5"] {
        assert_eq!(refused(&facts, other.as_bytes(), Some("35238"), &keys()), "facts_mismatch", "{other}");
    }
    let opaque = read(Format::Opaque, "t", b"\xff").unwrap();
    assert_eq!(refused(&opaque, b"\xff", Some("35238"), &keys()), "opaque_payload");
    let order = read(Format::ChirpstackV4, "application/a/device/d/command/down", b"{}").unwrap();
    assert_eq!(refused(&order, b"{}", Some("35238"), &keys()), "command");
}

#[test]
fn a_topic_value_cannot_widen_the_topic() {
    let facts = read(Format::Json, "t", COUNTER.as_bytes()).unwrap();
    let input =
        TransformInput { commune: Some("3/5+#\0é$"), domain: "", ..input(&facts, COUNTER.as_bytes()) };
    let steps =
        r#"{ op = "keep_only", fields = ["count"] }, { op = "rewrite_topic", to = "{domain}/{commune}" }"#;
    assert_eq!(plan(steps).apply(&input, &keys()).unwrap().topic, "_/3_5_____");
}

#[test]
fn a_transform_that_is_not_written_as_it_must_be_is_refused() {
    let step = |rest: &str| TransformPlan::compile(&transform(&format!("{{ {rest} }}")), 11);
    for to in
        ["", "a//b", "/a", "a/", "a/+", "#", "$SYS/a", "a/{devices}", "a/{device", "a/device}", "a\\u0000b"]
    {
        let refused = step(&format!("op = \"rewrite_topic\", to = \"{to}\""));
        assert!(matches!(refused, Err(TransformError::Topic { .. })), "{to}");
    }
    let pseudonymise = |key: &str, rotate: &str| {
        step(&format!(
            "op = \"pseudonymise\", field = \"a\", key = \"{key}\", rotate = \"{rotate}\", scope = \"per_producer\""
        ))
    };
    for key in ["", "secret", "file:", "file:../k", "file:a/b", "file:.k", "FILE:k", "hub:copy-ids"] {
        let Err(TransformError::Key { text }) = pseudonymise(key, "P1D") else { panic!("{key}") };
        assert!(!text.contains("secret"));
    }
    assert!(matches!(pseudonymise("file:k", "P1"), Err(TransformError::Duration { .. })));
    assert!(matches!(step("op = \"generalise_time\", to = \"15\""), Err(TransformError::Duration { .. })));
    assert!(matches!(step("op = \"keep_only\", fields = []"), Err(TransformError::Fields { .. })));
}

#[test]
fn what_is_dropped_does_not_leave_however_it_is_spelled_and_wherever_it_stands() {
    let payload = r#"{"count":1,"plate":"AB","Pl_ate":"AB","seen":[{"plate":{"n":"AB"},"n":2}],"place":{"lat":48,"plate":1},"lat":3,"l":{"a":{"t":4}},"х":"é"}"#;
    for (fields, expected) in [
        (
            r#""plate""#,
            r#"{"count":1,"l":{"a":{"t":4}},"lat":3,"place":{"lat":48},"seen":[{"n":2}],"х":"é"}"#,
        ),
        (r#""plate", "seen", "place.lat", "l.a", "x""#, r#"{"count":1,"lat":3}"#),
        (
            r#""none""#,
            r#"{"Pl_ate":"AB","count":1,"l":{"a":{"t":4}},"lat":3,"place":{"lat":48,"plate":1},"plate":"AB","seen":[{"n":2,"plate":{"n":"AB"}}],"х":"é"}"#,
        ),
    ] {
        assert_eq!(kept(&format!("{{ op = \"drop\", fields = [{fields}] }}"), payload), expected);
    }
    let drop = r#"{ op = "drop", fields = ["plate"] }"#;
    assert_eq!(run(drop, r#"{"plate":1}"#), Err("nothing_kept"));
    // A name within another key, or in a value, is not one leaf that could be taken out.
    assert_eq!(run(drop, r#"{"vehicle.plate":1,"n":1}"#), Err("name_within"));
    let senml = r#"[{"bn":"urn:dev:mac:02a4fefffe350041:","bt":1795154400,"n":"plate","vs":"AB"}]"#;
    assert_eq!(run_with(drop, Format::Senml, "air/a", senml), Err("name_within"));
    // What no list names leaves as it is: opaque bytes have no names.
    let opaque = run_with(drop, Format::Opaque, "t", "x");
    assert_eq!(opaque, Err("opaque_payload"));
}

#[test]
fn without_an_allow_list_the_data_leaves_and_the_formats_metadata_does_not() {
    let topic = "application/a/device/02b56e0000007c19/event/up";
    let payload = r#"{"time":"2026-11-20T05:30:04Z","deviceInfo":{"devEui":"02b56e0000007c19","tags":{"usage":"dwelling"}},"fCnt":3,"object":{"n":3.25}}"#;
    let steps = r#"{ op = "round", field = "n", digits = 1 }"#;
    let copy = run_with(steps, Format::ChirpstackV4, topic, payload).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&copy.payload),
        r#"{"deviceInfo":{"tags":{"usage":"dwelling"}},"n":3.2}"#
    );
    assert_eq!((copy.device, copy.time, copy.commune), (None, None, None));
}

#[test]
fn measures_are_rounded_half_to_even_and_what_is_no_number_does_not_leave() {
    let round = |digits: u8, value: &str| {
        let payload = format!("{{\"n\":1.25,\"M_easure\":{value}}}");
        kept(&format!("{{ op = \"round\", field = \"measure\", digits = {digits} }}"), &payload)
    };
    for (digits, value, expected) in [
        (0, "0.5", "0"),
        (0, "1.5", "2"),
        (0, "2.5", "2"),
        (0, "-0.4", "0"),
        (1, "0.25", "0.2"),
        (1, "0.75", "0.8"),
        (1, "43.2499", "43.2"),
        (2, "-43.256", "-43.26"),
        (2, "12", "12.00"),
        (3, "1.5e3", "1500.000"),
        (2, "9007199254740993.0", "9007199254740992"),
        (9, "1e15", "1000000000000000.000000000"),
    ] {
        assert_eq!(round(digits, value), format!("{{\"M_easure\":{expected},\"n\":1.25}}"), "{value}");
    }
    for other in ["\"43.2511\"", "true", "null", "[]"] {
        assert_eq!(round(1, other), r#"{"n":1.25}"#, "{other}");
    }
    let too_many = TransformPlan::compile(&transform(r#"{ op = "round", field = "a", digits = 10 }"#), 0);
    assert_eq!(too_many.unwrap_err(), TransformError::Digits { digits: 10 });
}

#[test]
fn a_transform_that_aggregates_makes_nothing_of_one_message() {
    let aggregate =
        r#"{ op = "aggregate", window = "P1D", by = ["commune"], measures = ["a"], min_count = 11 }"#;
    assert_eq!(run(aggregate, r#"{"a":1}"#), Err("aggregated"));
    assert!(plan(aggregate).aggregate().is_some() && plan(REFERENCE).aggregate().is_none());
}

#[test]
fn pseudonyms_of_two_contexts_cannot_be_joined() {
    let facts = read(Format::Json, "t", COUNTER.as_bytes()).unwrap();
    let base = input(&facts, COUNTER.as_bytes());
    let device = |input: TransformInput<'_>| plan(REFERENCE).apply(&input, &keys()).unwrap().device.unwrap();
    let day = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    let same = device(base);
    assert_eq!(
        device(TransformInput {
            received: day("2026-11-20T23:59:59Z"),
            copy: "c",
            record_id: "r",
            domain: "d",
            ..base
        }),
        same
    );
    let others = [
        device(TransformInput { producer: "255600058", ..base }),
        device(TransformInput { purpose: "Modélisation", ..base }),
        // The same bytes, cut at another place.
        device(TransformInput { producer: "243500139M", purpose: "odélisation du trafic", ..base }),
        device(TransformInput { received: day("2026-11-21T00:00:00Z"), ..base }),
        device(TransformInput { device: Some("compteur-8"), ..base }),
    ];
    let all: BTreeSet<&String> = others.iter().chain([&same]).collect();
    assert_eq!(all.len(), 6);
    let ids = |copy: &str, record_id: &str| {
        plan(REFERENCE).apply(&TransformInput { copy, record_id, ..base }, &keys()).unwrap().id
    };
    assert_eq!(ids("a", "b"), ids("a", "b"));
    assert_ne!(ids("a", "b"), ids("b", "b"));
    assert_ne!(ids("a", "b"), ids("a", "bb"));
    assert!(!format!("{:?}", keys().0).contains("48"), "a key is not shown");
}

/// A key a period, as long as it is kept.
struct Passing(Timestamp);

impl KeySource for Passing {
    fn key(&self, reference: &str, period: &str) -> Option<PseudonymKey> {
        keys().key(reference, period)
    }

    fn passing_key(&self, reference: &str, period: &Period<'_>) -> Option<PseudonymKey> {
        let secret = [reference, period.rotate, &period.end.to_string()].concat().into_bytes();
        (period.end > self.0).then(|| PseudonymKey::new("p", &secret))
    }
}

#[test]
fn a_pseudonym_whose_key_is_destroyed_is_not_made_again() {
    let facts = read(Format::Json, "t", COUNTER.as_bytes()).unwrap();
    let input = input(&facts, COUNTER.as_bytes());
    let destroy =
        REFERENCE.replace("scope = \"per_producer\"", "scope = \"per_producer\", old_keys = \"destroy\"");
    let end = Timestamp::parse_rfc3339("2026-11-21T00:00:00Z").unwrap();
    let made = |from| plan(&destroy).apply(&input, &Passing(from)).map(|copy| copy.device);
    let kept = made(Timestamp(end.0 - 1)).unwrap();
    assert!(kept.as_ref().is_some_and(|device| device.starts_with("p1-p-")));
    assert_ne!(kept, plan(REFERENCE).apply(&input, &keys()).unwrap().device, "not by the key alone");
    let reference = "file:pseudo-mobilite".to_owned();
    assert_eq!(made(end), Err(TransformRefused::KeyMissing { reference }));
    let short = TransformPlan::compile(&transform(&destroy.replace("P1D", "PT59M")), 0);
    assert!(matches!(short, Err(TransformError::Rotation { .. })));
}

/// Objects whose keys come from a small set, and whose texts are all different.
fn payload() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1000..1000_i32).prop_map(Value::from),
        (0..1_000_000_u32).prop_map(|number| Value::from(format!("canary {number}\n\"é"))),
    ];
    let inner = scalar.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[abc]|a\\.b|\"", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[abcd]|a\\.b", inner, 0..6)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn nothing_leaves_but_the_leaves_of_the_list(
        value in payload(),
        list in prop::collection::btree_set("[abc](\\.[abc]){0,3}", 1..6),
        pretty in any::<bool>(),
    ) {
        let bytes = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let facts = read(Format::Json, "t", &bytes).unwrap();
        let fields: Vec<String> = list.iter().map(|name| format!("\"{name}\"")).collect();
        let plan = plan(&format!("{{ op = \"keep_only\", fields = [{}] }}", fields.join(",")));
        let leaves = |facts: &Facts<'_>, all: bool| {
            let mut leaves: Vec<String> = facts
                .leaves
                .iter()
                .filter(|leaf| all || list.contains(&facts.dotted(leaf, 0)))
                .map(|leaf| format!("{} {:?}", facts.dotted(leaf, 0), leaf.value))
                .collect();
            leaves.sort();
            leaves
        };
        match plan.apply(&input(&facts, &bytes), &keys()) {
            // The strict reader takes the copy, and finds in it the listed leaves and no other.
            Ok(copy) => {
                let copied = read(Format::Json, "t", &copy.payload).unwrap();
                prop_assert_eq!(leaves(&copied, true), leaves(&facts, false));
            }
            Err(refused) => {
                prop_assert_eq!(refused, TransformRefused::NothingKept);
                prop_assert!(leaves(&facts, false).is_empty());
            }
        }
    }

    #[test]
    fn facts_of_other_bytes_never_make_a_copy_that_is_no_json(value in payload(), other in prop::collection::vec(any::<u8>(), 0..60)) {
        let bytes = serde_json::to_vec(&value).unwrap();
        let facts = read(Format::Json, "t", &bytes).unwrap();
        let plan = plan(r#"{ op = "keep_only", fields = ["a", "b", "a.b"] }"#);
        if let Ok(copy) = plan.apply(&input(&facts, &other), &keys()) {
            prop_assert!(read(Format::Json, "t", &copy.payload).is_ok());
        }
    }
}
