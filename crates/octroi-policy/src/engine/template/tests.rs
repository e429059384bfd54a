use crate::json::Scratch;
use crate::{Decision, Input, Policy, SourceFile, SourceIx, Timestamp, hash, parse};

const EXAMPLE: &str = include_str!("../../../../../policies/bretagne-exemple.toml");
const DAY: &str = "2026-11-20T06:15:02Z";
const TOPIC: &str = "ville/mobilite/c7/count";

/// What a counting camera says, as it and others write it.
const SHAPES: [&str; 8] = [
    r#"{"count":17,"speed_avg":43.25,"period":"PT15M","ts":"2026-11-20T06:15:00Z","device":"cam-7"}"#,
    r#" { "count" : 17 , "ts" : 1795154400 , "device" : "c" } "#,
    r#"{"device":"cam","count":-1e3,"occupancy_pct":0.5}"#,
    r#"{"count":1,"type":"counter","tags":{"a":"b"},"lat":48.1,"lon":-1.6}"#,
    r#"{"count":[1,2,3],"period":{},"note":"d\u00e9j\u00e0 \"vu\""}"#,
    r#"{"count":1,"ts":"2026-11-20T06:15:00Z","time":1795154400}"#,
    r#"{"count":1,"sensitivity":"internal","ok":true,"none":null}"#,
    r#"{"count":1,"plate":"AB-123-CD"}"#,
];

fn policy(text: &str) -> Policy {
    let files = [SourceFile { name: "p.toml".into(), text: text.into() }];
    Policy::compile(&parse(&files).document, hash(&files)).unwrap()
}

fn source(policy: &Policy, id: &str) -> SourceIx {
    let place = policy.sources().iter().position(|source| source.id == id);
    place.and_then(SourceIx::from_index).unwrap()
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// One byte changed, taken away or put in, or one value replaced by another.
fn changed(payload: &[u8], dice: &mut Dice) -> Vec<u8> {
    const BYTES: &[u8] = br#"0123456789-+.eE"\{}[]:, tfnPTZcamu/"#;
    const VALUES: [&str; 14] = [
        "0",
        "18",
        "-0.5",
        "1e400",
        "01",
        "9007199254740993",
        "\"\"",
        "\"PT1H\"",
        "\"é\"",
        "\"\u{ffff}\"",
        "true",
        "null",
        "\"2026-11-21T00:00:00Z\"",
        "{\"plate\":1}",
    ];
    let mut payload = payload.to_vec();
    match dice.below(4) {
        0 => {
            let at = dice.below(payload.len());
            payload[at] = BYTES[dice.below(BYTES.len())];
        }
        1 => {
            payload.remove(dice.below(payload.len()));
        }
        2 => payload.insert(dice.below(payload.len() + 1), BYTES[dice.below(BYTES.len())]),
        _ => {
            let colons: Vec<usize> = (0..payload.len()).filter(|at| payload[*at] == b':').collect();
            if colons.is_empty() {
                return payload;
            }
            let from = colons[dice.below(colons.len())] + 1;
            let len = payload[from..].iter().position(|byte| b",}".contains(byte)).unwrap_or(0);
            payload.splice(from..from + len, VALUES[dice.below(VALUES.len())].bytes());
        }
    }
    payload
}

/// Decides each of them with one memory and without any; how many fitted a template.
fn check(policy: &Policy, source: SourceIx, payloads: impl Iterator<Item = Vec<u8>>) -> usize {
    let (mut scratch, mut fitted) = (Scratch::default(), 0);
    for payload in payloads {
        let received = Timestamp::parse_rfc3339(DAY).unwrap();
        let input = Input { source, topic: TOPIC, payload: &payload, user_properties: &[], received };
        fitted += usize::from(scratch.memo.fill(&input).is_some());
        let came: Decision<'_> = policy.decide_with(&input, &mut scratch);
        assert_eq!(came, policy.decide(&input), "{}", String::from_utf8_lossy(&payload));
    }
    fitted
}

#[test]
fn a_message_that_fits_is_decided_as_it_would_be_without_the_template() {
    // As it is; and with the device elsewhere.
    let elsewhere = EXAMPLE.replace(
        "topics = [\"ville/mobilite/#\"]",
        "topics = [\"ville/mobilite/#\"]\ndevice_from = \"field:count\"",
    );
    assert_ne!(elsewhere, EXAMPLE);
    for text in [EXAMPLE, &elsewhere] {
        let policy = policy(text);
        let source = source(&policy, "ville-mobilite");
        let mut dice = Dice(7);
        let mut fitted = 0;
        for shape in SHAPES {
            // Runs of one shape, so that it is learned; among them what differs a little or a lot.
            let payloads = (0..1_500).map(|n| {
                if n % 3 < 2 { shape.as_bytes().to_vec() } else { changed(shape.as_bytes(), &mut dice) }
            });
            fitted += check(&policy, source, payloads.collect::<Vec<_>>().into_iter());
        }
        assert!(fitted > 3_000, "{fitted}");
    }
}

#[test]
fn a_template_is_of_its_topic_its_day_and_a_sender_without_properties() {
    let policy = policy(EXAMPLE);
    let source = source(&policy, "ville-mobilite");
    let mut scratch = Scratch::default();
    let payload = SHAPES[0].as_bytes();
    let received = Timestamp::parse_rfc3339(DAY).unwrap();
    let input = Input { source, topic: TOPIC, payload, user_properties: &[], received };
    for _ in 0..3 {
        let _decision = policy.decide_with(&input, &mut scratch);
    }
    assert!(scratch.memo.fill(&input).is_some());
    let tomorrow = Timestamp::parse_rfc3339("2026-11-21T06:15:02Z").unwrap();
    assert!(scratch.memo.fill(&Input { received: tomorrow, ..input }).is_none());
    assert!(scratch.memo.fill(&Input { topic: "ville/mobilite/c8/count", ..input }).is_none());
    assert!(
        scratch.memo.fill(&Input { user_properties: &[("sensitivity", "restricted")], ..input }).is_none()
    );
}
