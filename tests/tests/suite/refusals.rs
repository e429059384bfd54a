//! A Kafka that refuses, one way after the other, under load and on one real
//! broker with TLS, SCRAM and ACLs: what the hub says, that it goes on by itself
//! once that is mended, and that nothing is lost, out of order, or where it must
//! not be.

use std::time::Duration;

use serde_json::Value;

use octroi_tests::hub::{Hub, Outlet};
use octroi_tests::kafka::pki::Validity;
use octroi_tests::kafka::{Kafka, Way};
use octroi_tests::load::{self, Load, Outcome, Plan, Stream, Version};
use octroi_tests::oracle::{Evidence, judge};
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy};

const STREAMS: [Stream; 2] = [policy::COUNTS, policy::PLATES];
const OPEN: &str = "mobilite-rennes.mobility.open.v1";
const SENSITIVE: &str = "mobilite-rennes.mobility.sensitive.v1";
const COPIES: &str = "mobilite-vers-cloud.mobility.open.v1";

/// Long enough for the hub's longest rest between two tries, on a busy machine.
const MENDED_WITHIN: Duration = Duration::from_secs(120);

fn outlet(hub: &Hub, target: &str) -> (String, String, String) {
    let shown = hub.cli_json(&["outlet", "show", target]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&shown["state"]), text(&shown["reason"]["en"]), text(&shown["reason"]["fr"]))
}

/// Waits until the way to a target is blocked and says these words, in both languages.
#[track_caller]
fn wait_blocked(hub: &Hub, target: &str, says: [&str; 2]) {
    let mut seen = Default::default();
    let met = octroi_tests::process::holds_within(MENDED_WITHIN, || {
        seen = outlet(hub, target);
        let (state, en, fr) = &seen;
        state == "blocked" && en.contains(says[0]) && fr.contains(says[1])
    });
    assert!(met, "`{target}` never said {says:?}, at the end: {seen:?}");
}

fn errors(hub: &Hub, target: &str, kind: &str) -> f64 {
    let labels = [format!("target=\"{target}\""), format!("kind=\"{kind}\"")];
    hub.metrics().sum("octroi_outlet_errors_total", &[&labels[0], &labels[1]])
}

fn load(hub: &Hub, run: u64) -> Load {
    let plan = Plan { version: Version::V5, connections: 2, window: 40, rate: Some(50), messages: None };
    Load::start(hub.mqtt(), &STREAMS, plan, run)
}

/// Everything so far is where it belongs, each device's in order.
fn assert_kept(hub: &Hub, kafka: &Kafka, outcomes: &[Outcome], title: &str) {
    let scrape = hub.drained(MENDED_WITHIN);
    let mut delivered = kafka.read("dc-rennes", &[OPEN, SENSITIVE]);
    delivered.extend(kafka.read("cloud-confiance", &[COPIES]));
    assert!(
        delivered.iter().filter(|record| record.target == "dc-rennes").all(|record| !record.key.is_empty())
    );
    let repeats_allowed = delivered.len() / 2;
    let evidence =
        Evidence { streams: &STREAMS, outcomes, delivered: &delivered, scrape: &scrape, repeats_allowed };
    judge(&evidence).assert_kept(title);
}

#[test]
fn a_refusal_is_said_with_its_mend_and_once_mended_everything_goes_in_order() {
    let _machine = needs::exclusive();
    let Some(mut kafka) = needs::kafka() else { return };
    let pinned = format!("cluster_id = \"{}\"\nallowed_brokers = [\"localhost\"]\n", kafka.cluster_id());
    let hub = Hub::start(&[
        ("dc-rennes", Outlet::Lines(kafka.outlet(Way::Tls) + &pinned)),
        ("cloud-confiance", Outlet::Lines(kafka.outlet(Way::Scram) + &pinned)),
    ]);
    let first = load(&hub, 0);

    // No grant and no topic: what may not be seen is told as what may not be written.
    wait_blocked(&hub, "dc-rennes", ["kafka-acls.sh", "accordez-le : `kafka-acls.sh"]);
    wait_blocked(&hub, "cloud-confiance", ["kafka-acls.sh", "--allow-principal 'User:hub'"]);
    kafka.grant();
    wait_blocked(&hub, "dc-rennes", ["--create --topic mobilite-rennes", "n'existe pas"]);
    let checked = hub.cli(&["outlet", "check", "dc-rennes", "cloud-confiance"]);
    assert_eq!(checked.code, 1, "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("kafka-topics.sh") && checked.out.contains(SENSITIVE), "{}", checked.out);
    kafka.create_topics(&[OPEN, SENSITIVE, COPIES], 2);
    wait_until("records arrive by both ways", MENDED_WITHIN, || kafka.has_records(&[SENSITIVE, COPIES]));
    let checked = hub.cli(&["outlet", "check", "dc-rennes", "cloud-confiance"]).out;
    assert!(!checked.contains(&format!("`{SENSITIVE}` does not exist")), "{checked}");
    assert!(checked.contains(&format!("{SENSITIVE}: 2 partitions, 1 replicas")), "{checked}");
    assert!(checked.contains("may_produce  true"), "{checked}");

    // The grant is taken away, and given back.
    kafka.revoke();
    wait_blocked(&hub, "dc-rennes", ["we may not", "n'a pas le droit"]);
    assert!(errors(&hub, "dc-rennes", "blocked") > 0.0);
    let blocked = ["target=\"dc-rennes\"", "state=\"blocked\""];
    assert_eq!(hub.metrics().sum("octroi_outlet_state", &blocked), 1.0);
    kafka.grant();
    let mut outcomes = vec![first.stop(MENDED_WITHIN)];
    assert_kept(&hub, &kafka, &outcomes, "refused, granted, refused and granted again");

    // The brokers' certificate has expired: nothing goes, in clear least of all.
    kafka.stop();
    kafka.certify(Validity::Expired);
    kafka.restart();
    let second = load(&hub, 1);
    wait_blocked(&hub, "dc-rennes", ["TLS fails", "échec TLS"]);
    wait_blocked(&hub, "cloud-confiance", ["expired", "a expiré"]);
    let checked = hub.cli(&["outlet", "check", "dc-rennes"]);
    assert_eq!(checked.code, 1, "{}{}", checked.out, checked.err);
    kafka.stop();
    let checked = hub.cli(&["outlet", "check", "dc-rennes"]);
    assert_eq!(checked.code, 69, "{}{}", checked.out, checked.err);
    kafka.certify(Validity::Month);
    kafka.restart();
    outcomes.push(second.stop(MENDED_WITHIN));
    assert_kept(&hub, &kafka, &outcomes, "over a certificate that had expired");

    poison_goes_alone(&hub, &kafka, &mut outcomes);
    another_cluster_gets_nothing(&hub, &mut kafka);
}

/// A topic takes less than the hub does: what is too large for it goes to quarantine, and nothing else.
fn poison_goes_alone(hub: &Hub, kafka: &Kafka, outcomes: &mut Vec<Outcome>) {
    kafka.configure_topic(SENSITIVE, "max.message.bytes=65536");
    let load = load(hub, 2);
    // What lz4 cannot make smaller.
    let mut state = 7_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'A' + (state >> 33) as u8 % 57)
    })
    .filter(|c| c.is_ascii_alphanumeric())
    .take(150_000)
    .collect();
    let payload = format!(
        r#"{{"type":"AnprFlowObserved","device":"cam-99","ts":"2026-11-20T06:01:10Z","plate":"T-99","note":"{noise}"}}"#
    );
    let reason = load::publish_one(
        hub.mqtt(),
        Version::V5,
        "ville-mobilite",
        "ville/mobilite/cam-99/anpr",
        payload.as_bytes(),
    );
    assert_eq!(reason.unwrap(), 0, "the hub takes it");
    wait_until("it is in quarantine, alone", MENDED_WITHIN, || !hub.quarantine().is_empty());
    outcomes.push(load.stop(MENDED_WITHIN));
    assert_kept(hub, kafka, outcomes, "with a record that its topic does not take");
    let expected =
        ("ville-mobilite".to_owned(), "ville/mobilite/cam-99/anpr".to_owned(), "too_large".to_owned());
    assert_eq!(hub.quarantine(), [expected]);
    assert_eq!(errors(hub, "dc-rennes", "reject"), 1.0);
}

/// Another cluster at the same address is not the target.
fn another_cluster_gets_nothing(hub: &Hub, kafka: &mut Kafka) {
    kafka.made_anew();
    kafka.open_topics(&[OPEN, SENSITIVE, COPIES], 2);
    let load = load(hub, 3);
    wait_blocked(hub, "dc-rennes", ["the cluster's id is", "l'identifiant du cluster est"]);
    wait_blocked(hub, "cloud-confiance", ["nothing was sent", "rien ne lui a été envoyé"]);
    assert!(load.stop(MENDED_WITHIN).acknowledged() > 0, "and the hub goes on taking messages");
    assert_eq!(kafka.read("dc-rennes", &[OPEN, SENSITIVE, COPIES]), [], "not one of them");
    let checked = hub.cli(&["outlet", "check", "dc-rennes", "--output", "json"]);
    assert!(checked.code == 1 && checked.out.contains("the cluster's id is"), "{}", checked.out);
}

#[test]
fn brokers_beyond_the_list_get_nothing_and_a_certificate_that_has_expired_is_no_way_in() {
    let _machine = needs::exclusive();
    let Some(kafka) = needs::kafka() else { return };
    kafka.open_topics(&[OPEN, SENSITIVE, COPIES], 2);
    // The brokers advertise themselves as `localhost`, which is not on one target's list; the hub's certificate
    // for the other has expired.
    let stranger = kafka.outlet(Way::Scram) + "allowed_brokers = [\"*.kafka.example\", \"localhost:1\"]\n";
    let expired = kafka.pki().issue("late", Validity::Expired);
    let valid = kafka.outlet(Way::Tls);
    let line = valid.lines().find(|line| line.starts_with("tls = ")).expect("it has TLS");
    let late = format!(
        "{{ ca = \"file:{}\", certificate = \"file:{}\", key = \"file:{}\" }}",
        kafka.pki().authority().display(),
        expired.certificate.display(),
        expired.key.display()
    );
    let hub = Hub::start(&[
        ("dc-rennes", Outlet::Lines(valid.replace(line, &format!("tls = {late}")))),
        ("cloud-confiance", Outlet::Lines(stranger)),
    ]);
    let load = load(&hub, 0);
    wait_blocked(&hub, "cloud-confiance", ["which `allowed_brokers` does not allow", "n'autorise pas"]);
    wait_blocked(&hub, "dc-rennes", ["our own certificate ended on", "notre propre certificat a expiré"]);
    let checked = hub.cli(&["outlet", "check", "dc-rennes"]);
    assert!(
        checked.code == 1 && checked.out.contains("our own certificate"),
        "{}{}",
        checked.out,
        checked.err
    );
    assert!(load.stop(MENDED_WITHIN).acknowledged() > 0);
    assert_eq!(kafka.read("dc-rennes", &[OPEN, SENSITIVE, COPIES]), [], "nothing left by any way");
}
