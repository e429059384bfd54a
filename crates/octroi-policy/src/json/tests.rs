//! The strict reader against `serde_json`, against lists of what must be
//! refused, and against any bytes.

#![expect(clippy::string_slice, reason = "tests")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn read(payload: &[u8]) -> Result<Facts<'_>, Ambiguity> {
    let mut facts = Facts::default();
    read_into(payload, &mut facts, &mut Scratch::default()).map(|_| facts)
}

fn why(payload: &str) -> &'static str {
    read(payload.as_bytes()).unwrap_err().reason
}

/// `serde_json` may miss the nearest double by one; ours is held to the standard library's.
#[expect(clippy::cast_possible_truncation, reason = "to forget the last digits")]
fn near(number: f64) -> Value {
    Value::from(format!("{:e}", number as f32))
}

/// Path, value: as our reader gives the leaves.
fn ours(facts: &Facts<'_>) -> Vec<(Vec<String>, Value)> {
    facts
        .leaves
        .iter()
        .map(|leaf| {
            let mut path: Vec<String> = facts.path_up(leaf.node).map(|node| node.key.to_string()).collect();
            path.reverse();
            let value = match &leaf.value {
                Scalar::Empty => Value::Null,
                Scalar::Boolean(boolean) => Value::from(*boolean),
                Scalar::Number(number, text) => {
                    assert_eq!(*number, text.parse::<f64>().unwrap());
                    near(*number)
                }
                Scalar::Text(text) => Value::from(text.as_ref()),
            };
            (path, value)
        })
        .collect()
}

/// The same from `serde_json`, which orders keys.
fn theirs(value: &Value, path: &mut Vec<String>, out: &mut Vec<(Vec<String>, Value)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                path.push(key.clone());
                theirs(value, path, out);
                path.pop();
            }
        }
        Value::Array(array) if !array.is_empty() => array.iter().for_each(|value| theirs(value, path, out)),
        Value::Object(_) | Value::Array(_) | Value::Null => out.push((path.clone(), Value::Null)),
        Value::Number(number) => out.push((path.clone(), near(number.as_f64().unwrap()))),
        Value::Bool(_) | Value::String(_) => out.push((path.clone(), value.clone())),
    }
}

fn same_as_serde(payload: &[u8]) {
    let facts = read(payload).unwrap();
    let mut leaves = Vec::new();
    theirs(&serde_json::from_slice(payload).unwrap(), &mut Vec::new(), &mut leaves);
    let sorted = |mut leaves: Vec<(Vec<String>, Value)>| {
        leaves.sort_by_key(|(path, value)| (path.clone(), value.to_string()));
        leaves
    };
    assert_eq!(sorted(ours(&facts)), sorted(leaves), "{}", String::from_utf8_lossy(payload));
}

#[test]
fn what_is_no_i_json_is_refused_by_name() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let wide = |values: usize| format!("[{}1]", "1,".repeat(values - 2));
    assert!(read(deep(32).as_bytes()).is_ok());
    assert!(read(wide(4096).as_bytes()).is_ok());
    for (payload, reason) in [
        ("", reason::EMPTY),
        ("\u{feff}1", reason::BOM),
        (" ", reason::TRUNCATED),
        ("{\"a\":1", reason::TRUNCATED),
        ("\"a", reason::TRUNCATED),
        ("\"a\\", reason::TRUNCATED),
        ("[1,]", reason::SYNTAX),
        ("{\"a\":1,}", reason::SYNTAX),
        ("{a:1}", reason::SYNTAX),
        ("{\"a\" 1}", reason::SYNTAX),
        ("[1 2]", reason::SYNTAX),
        ("tru", reason::SYNTAX),
        ("nul", reason::NAN),
        ("nan", reason::NAN),
        ("NaN", reason::NAN),
        ("[Infinity]", reason::NAN),
        ("-Infinity", reason::NAN),
        ("+1", reason::SYNTAX),
        (".5", reason::SYNTAX),
        ("01", reason::SYNTAX),
        ("-", reason::TRUNCATED),
        ("1.", reason::TRUNCATED),
        ("1e", reason::TRUNCATED),
        ("1.e3", reason::SYNTAX),
        ("0x10", reason::TRAILING),
        ("'a'", reason::SYNTAX),
        ("/**/1", reason::SYNTAX),
        ("\"a\u{1}\"", reason::CONTROL),
        ("\"a\nb\\n\"", reason::CONTROL),
        ("\"\\x\"", reason::ESCAPE),
        ("\"\\u12g4\"", reason::ESCAPE),
        ("\"\\ud800\"", reason::SURROGATE),
        ("\"\\udc00\\ud800\"", reason::SURROGATE),
        ("\"\\ud800\\u0041\"", reason::SURROGATE),
        ("\"\\uffff\"", reason::NONCHARACTER),
        ("\"\\ud83f\\udfff\"", reason::NONCHARACTER),
        ("\"é\u{fdd0}\"", reason::NONCHARACTER),
        ("\"\\n\u{10ffff}\"", reason::NONCHARACTER),
        ("{\"\u{fffe}\":1}", reason::NONCHARACTER),
        ("9007199254740992", reason::INTEGER),
        ("-9007199254740992", reason::INTEGER),
        ("18446744073709551617", reason::INTEGER),
        ("100000000000000000000000000000000000000001", reason::INTEGER),
        ("1e400", reason::NOT_FINITE),
        ("-1e309", reason::NOT_FINITE),
        ("1 1", reason::TRAILING),
        ("1\0", reason::TRAILING),
        ("{\0\"a\":1}", reason::NUL),
        ("{\"a\":1,\"a\":1}", reason::DUPLICATE),
        ("{\"a\":1,\"\\u0061\":1}", reason::DUPLICATE),
        ("{\"\":1,\"\":1}", reason::DUPLICATE),
        ("[{\"x\":[{\"b\":{},\"a\":1,\"b\":1}]}]", reason::DUPLICATE),
        (&deep(33), reason::DEPTH),
        (&wide(4097), reason::VALUES),
    ] {
        assert_eq!(why(payload), reason, "{payload}");
    }
    assert_eq!(read(b"\"\xff\"").unwrap_err().reason, reason::UTF8);
    assert_eq!(read(b"\xed\xa0\x80").unwrap_err().reason, reason::UTF8);
}

#[test]
fn what_is_i_json_is_read_as_serde_json_reads_it() {
    for payload in [
        "1",
        "-0",
        "0",
        "-0.0",
        "0.1",
        "1.5e3",
        "1E-5",
        "9007199254740991",
        "-9007199254740991",
        "31.2",
        "-1.5",
        "0.30000000000000004",
        "123456789012345.678",
        "1.7976931348623157e308",
        "5e-324",
        "104233.4",
        "9007199254740993.5",
        "\"\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u00e9é\\ud83d\\ude00😀\"",
        "[]",
        "{}",
        "[[],{}]",
        "{\"a\":{\"b\":[1,{\"c\":true}]},\"d\":null}",
        "[{\"a\":1},{\"a\":2}]",
        "{\"a\":{\"a\":1},\"b\":{\"a\":1}}",
        " \t\r\n{ \"a\" : [ 1 , 2 ] } ",
        "\"\\u0000\u{7f}\"",
        "\"\u{fffd}\u{10fffd}\"",
        "{\"12345678\":1,\"1234567\":2,\"123456789\":3}",
    ] {
        same_as_serde(payload.as_bytes());
    }
}

#[test]
fn a_duplicate_among_thousands_is_found_wherever_it_stands() {
    for count in [2, 11, 12, 13, 14, 100, 4000] {
        let keys: Vec<String> = (0..count).map(|key| format!("k{key:04}")).collect();
        let object = |keys: &[String]| {
            format!("{{{}}}", keys.iter().map(|key| format!("\"{key}\":1")).collect::<Vec<_>>().join(","))
        };
        assert!(read(object(&keys).as_bytes()).is_ok());
        for twice in [0, count / 2, count - 1] {
            let mut more = keys.clone();
            more.push(keys[twice].clone());
            let payload = object(&more);
            let refused = read(payload.as_bytes()).unwrap_err();
            assert_eq!(refused.reason, reason::DUPLICATE);
            assert!(payload[refused.offset..].starts_with(&keys[twice]));
            assert_eq!(refused.offset, payload.rfind(&keys[twice]).unwrap(), "the second of them");
        }
    }
}

#[test]
fn keys_that_collide_are_told_apart() {
    // Equal in length, first and last eight bytes: one hash for all.
    let keys: Vec<String> = (0..4000).map(|key| format!("aaaaaaaa{key:08}zzzzzzzz")).collect();
    let hashes: BTreeSet<u64> = keys.iter().map(|key| hash(key.as_bytes()).0).collect();
    assert_eq!(hashes.len(), 1);
    let object = |keys: &[String]| {
        format!("{{{}}}", keys.iter().map(|key| format!("\"{key}\":1")).collect::<Vec<_>>().join(","))
    };
    assert!(read(object(&keys).as_bytes()).is_ok());
    let mut more = keys.clone();
    more.push(keys[1234].clone());
    assert_eq!(why(&object(&more)), reason::DUPLICATE);
}

#[test]
fn a_run_of_plain_bytes_ends_where_a_byte_by_byte_scan_ends() {
    for byte in 0..=255_u8 {
        for at in (0..40).chain(90..180) {
            let mut bytes = [b'a'; 180];
            bytes[at] = byte;
            let (run, low) = plain_run(&bytes);
            assert_eq!(run, if stops(byte) { at } else { 180 }, "{byte:#x} at {at}");
            assert_eq!(low, byte < 0xE0);
        }
    }
}

#[test]
fn a_key_with_a_separator_is_odd_wherever_it_stands() {
    for length in 1..40 {
        for at in 0..length {
            for (byte, expected) in [
                (b'.', true),
                (b'/', true),
                (b':', true),
                (0xC3, true),
                (b'-', false),
                (b'0', false),
                (b';', false),
            ] {
                let mut key = vec![b'a'; length];
                key[at] = byte;
                assert_eq!(hash(&key).1, expected, "{byte:#x} at {at} of {length}");
            }
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9007199254740991_i64..=9007199254740991).prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        (-100_000_i32..100_000, 0..6_i32)
            .prop_map(|(number, scale)| Value::from(f64::from(number) / 10_f64.powi(scale))),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\é\n]{0,12}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_is_read_as_serde_json_reads_it(value in json()) {
        // The generator knows no limit on integers beyond 2^53: floats are written with a point.
        let compact = serde_json::to_vec(&value).unwrap();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        if read(&compact).err().map(|refused| refused.reason) != Some(reason::INTEGER) {
            same_as_serde(&compact);
            same_as_serde(&pretty);
        }
    }

    #[test]
    fn any_text_is_read_as_serde_json_reads_it_or_refused(payload in "[\\[\\]{}\",:0-9eE.\\-+tfnul\\\\ ab]{0,40}") {
        match read(payload.as_bytes()) {
            Ok(_) => same_as_serde(payload.as_bytes()),
            Err(refused) => {
                // Beyond JSON itself we refuse these five, and nothing else.
                let narrower = [reason::DUPLICATE, reason::INTEGER, reason::NOT_FINITE, reason::NONCHARACTER, reason::DEPTH];
                if !narrower.contains(&refused.reason) {
                    prop_assert!(serde_json::from_str::<Value>(&payload).is_err(), "{payload} {refused:?}");
                }
            }
        }
    }

    #[test]
    fn any_bytes_end_in_facts_or_a_reason(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        match read(&payload) {
            Ok(_) => same_as_serde(&payload),
            Err(refused) => prop_assert!(refused.offset <= payload.len()),
        }
    }

    #[test]
    fn one_changed_byte_ends_in_facts_or_a_reason(value in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut payload = serde_json::to_vec(&value).unwrap();
        let at = at.index(payload.len());
        payload[at] = byte;
        if read(&payload).is_ok() {
            same_as_serde(&payload);
        }
    }
}

#[test]
fn what_was_read_before_changes_nothing() {
    let payloads = [
        r#"{"b":1,"b":2}"#,
        r#"[{"b":1},{"b":2}]"#,
        r#"{"b":{"b":1}}"#,
        r#"{"b":1}"#,
        r#"{"b":1,"c":2}"#,
        r#"{"b":{"c":1},"d":{"c":2}}"#,
        r#"{"b":{"c":1,"d":{"c":2}}}"#,
        r#"{"b":{"c":1,"d":2,"c":2}}"#,
        r#"{"b":{"c":1},"d":2,"c":2}"#,
        r#"[{"b":{"c":1},"c":2},{"b":{"c":1,"c":2}}]"#,
        r#"{"bb":1,"a_name_of_many_bytes":2,"é":3}"#,
        r#"{"bb":1,"a_name_of_many_bytez":2,"é":3}"#,
        r#"{"bb":1,"a_name_of_many_bytes_more":2}"#,
        r#"{"bb":1,"a_name_of_many_bytes"#,
        r#"{"\u0062":1}"#,
        r#"{"b":1,"c.d":2}"#,
        "17",
    ];
    for before in payloads {
        let mut scratch = Scratch::default();
        for payload in [before].into_iter().chain(payloads).chain([before]) {
            let mut facts = Facts::default();
            let with_memory = read_into(payload.as_bytes(), &mut facts, &mut scratch).map(|_| facts);
            assert_eq!(with_memory, read(payload.as_bytes()), "{before} before {payload}");
        }
    }
}

#[test]
fn equal_numbers_of_nodes_are_equal_nodes() {
    let mut scratch = Scratch::default();
    let mut nodes = |payload: &str| {
        read_into(payload.as_bytes(), &mut Facts::default(), &mut scratch).unwrap();
        scratch.learned.nodes()
    };
    assert_eq!(nodes(r#"{"b":1,"c":{"d":2}}"#), None, "learned, not known before");
    let known = nodes(r#"{"b":3,"c":{"d":"x"}}"#);
    assert!(known.is_some());
    for other in [r#"{"b":1}"#, r#"{"b":1,"c":{"d":2},"e":3}"#, r#"{"b":1,"c":2,"d":3}"#, "1"] {
        assert_eq!(nodes(other), None, "{other}");
    }
    assert_eq!(nodes(r#"{"e":1}"#), None);
    let other = nodes(r#"{"e":1}"#);
    assert!(other.is_some() && other != known, "given up after so many others");
}
