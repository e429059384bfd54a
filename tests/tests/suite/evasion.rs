//! A plate slipped into a counting topic, and a command: what must never come out low, or come out at all.

use std::time::Duration;

use octroi_tests::hub::{Hub, payload_file};
use octroi_tests::load::{Version, publish_one};
use octroi_tests::needs;
use octroi_tests::process::wait_until;

const TOPIC: &str = "ville/mobilite/compteur-7/count";

/// How the plate hides, and what becomes of the message: a level, or a reason for quarantine.
const HIDDEN: [(&str, &str, Fate); 8] = [
    (
        "duplicate key",
        r#"{"device":"compteur-7","count":12,"plate":"AB-123-CD","count":13}"#,
        Fate::Quarantine,
    ),
    ("duplicate key, escaped", r#"{"count":12,"plate":1,"\u0070late":"AB-123-CD"}"#, Fate::Quarantine),
    ("escaped", r#"{"device":"compteur-7","count":12,"\u0070late":"AB-123-CD"}"#, Fate::Sensitive),
    ("full width", r#"{"device":"compteur-7","count":12,"ｐｌａｔｅ":"AB-123-CD"}"#, Fate::Sensitive),
    ("Cyrillic", r#"{"device":"compteur-7","count":12,"рlаte":"AB-123-CD"}"#, Fate::Sensitive),
    (
        "nested",
        r#"{"device":"compteur-7","count":12,"observedVehicle":{"licensePlate":{"identifier":"AB-123-CD"}}}"#,
        Fate::Sensitive,
    ),
    ("byte order mark", "\u{feff}{\"count\":12,\"plate\":\"AB-123-CD\"}", Fate::Quarantine),
    (
        "as a value",
        r#"{"device":"compteur-7","count":12,"extra":{"name":"plate","value":"AB-123-CD"}}"#,
        Fate::Quarantine,
    ),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Sensitive,
    Quarantine,
}

#[test]
fn a_hidden_plate_is_sensitive_or_in_quarantine_and_explain_says_why() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (mut sensitive, mut quarantined) = (0, 0);
    for (how, payload, fate) in HIDDEN {
        let reason =
            publish_one(hub.mqtt(), Version::V5, "ville-mobilite", TOPIC, payload.as_bytes()).unwrap();
        assert!(reason < 0x80, "{how}: kept, so acknowledged; got {reason:#04x}");
        let file = payload_file(directory.path(), payload.as_bytes());
        let path = file.display().to_string();
        let explain = ["explain", "--source", "ville-mobilite", "--topic", TOPIC, "--payload", &path];
        let decision = hub.cli_json(&explain);
        let spoken = hub.cli(&[&explain[..], &["--lang", "en"]].concat()).out;
        match fate {
            Fate::Sensitive => {
                sensitive += 1;
                assert_eq!(
                    (&decision["outcome"], &decision["level"]),
                    (&"routed".into(), &"sensitive".into()),
                    "{how}: {decision}"
                );
                assert!(spoken.contains("mobilite-plaques"), "{how}: the rule is named: {spoken}");
            }
            Fate::Quarantine => {
                quarantined += 1;
                assert_eq!(decision["outcome"], "quarantined", "{how}: {decision}");
                let reason = decision["reason"].as_str().unwrap_or_default();
                assert!(["ambiguous_payload", "no_rule_matches"].contains(&reason), "{how}: {decision}");
                assert!(spoken.contains(&reason.replace('_', " ")), "{how}: the reason is named: {spoken}");
            }
        }
    }
    hub.drained(Duration::from_secs(30));
    assert_eq!(hub.archive("cloud-confiance"), [], "nothing with a plate is in the cloud");
    let levels: Vec<_> = hub.archive("dc-rennes").into_iter().map(|record| record.level).collect();
    assert_eq!(levels, vec!["sensitive"; sensitive]);
    let kept = hub.quarantine();
    assert!(kept.iter().all(|(source, topic, _)| source == "ville-mobilite" && topic == TOPIC), "{kept:?}");
    assert_eq!(kept.len(), quarantined);
}

#[test]
fn a_command_is_refused_and_the_refusal_survives_a_kill() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    let command =
        |version| publish_one(hub.mqtt(), version, "scada-56", "spBv1.0/eau-56/DCMD/p3/a1", b"\x08\x01");
    assert_eq!(command(Version::V5).unwrap(), 0x87, "MQTT 5 can say no");
    assert_eq!(command(Version::V311).unwrap(), 0, "3.1.1 cannot: acknowledged, and on record");
    let refused = |hub: &Hub| hub.cli_json(&["status"])["conservation"]["refused"].as_u64();
    wait_until("the status shows both", Duration::from_secs(5), || refused(&hub) == Some(2));
    assert_eq!(hub.metrics().sum("octroi_decisions_total", &["outcome=\"refused\""]), 2.0);
    hub.kill();
    hub.run();
    wait_until("both were recorded before their ack", Duration::from_secs(5), || refused(&hub) == Some(2));
    assert_eq!(hub.archives(), []);
}

#[test]
fn a_source_outside_its_own_topics_is_refused() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    for topic in
        ["application/a/device/d/event/up", "ville/mobilitex/c/count", "$SYS/x", "$share/g/ville/mobilite/c"]
    {
        let answer = publish_one(hub.mqtt(), Version::V5, "ville-mobilite", topic, b"{\"count\":1}");
        assert_eq!(answer.unwrap(), 0x87, "{topic}");
    }
    hub.drained(Duration::from_secs(30));
    assert_eq!(hub.archives(), []);
}

#[test]
fn no_payload_and_no_plate_is_in_the_log_or_the_metrics() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    for payload in ["{\"plate\":\"CANARY-7F3\"}", "{\"plate\":\"CANARY-7F3\",", "\u{feff}CANARY-7F3"] {
        publish_one(hub.mqtt(), Version::V5, "ville-mobilite", TOPIC, payload.as_bytes()).unwrap();
    }
    let metrics = hub.metrics().text;
    assert!(!metrics.contains("CANARY-7F3") && !hub.log().contains("CANARY-7F3"));
}
