//! A target that is down holds back no other, and misses nothing once it is back.

use std::time::{Duration, Instant};

use octroi_tests::hub::{Hub, Outlet};
use octroi_tests::load::{Load, Plan, Stream, Version};
use octroi_tests::oracle::{Evidence, judge};
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy, report};

use crate::kill::activate_next;

const STREAMS: [Stream; 3] = [policy::COUNTS, policy::PLATES, policy::WASTE];
const TOPICS: [&str; 2] = ["mobilite-rennes.mobility.open.v1", "mobilite-rennes.mobility.sensitive.v1"];

#[test]
fn kafka_down_under_load_holds_back_no_archive_and_then_gets_everything_in_order() {
    let _machine = needs::exclusive();
    let Some(mut kafka) = needs::kafka() else { return };
    let outage = Duration::from_secs(if needs::long() { 60 } else { 10 });
    kafka.create_topics(&TOPICS, 4);
    let hub = Hub::start(&[("dc-rennes", Outlet::Kafka(kafka.address()))]);
    let plan = Plan { version: Version::V5, connections: 4, window: 40, rate: Some(200), messages: None };
    let load = Load::start(hub.mqtt(), &STREAMS, plan, 0);
    wait_until("Kafka has records", Duration::from_secs(30), || {
        hub.metrics().sum("octroi_delivered_total", &["target=\"dc-rennes\""]) > 500.0
    });

    let (stopped, mut oldest_archive) = (kafka.stop(), 0.0_f64);
    let (down, before) = (Instant::now(), hub.metrics());
    while down.elapsed() < outage {
        let scrape = hub.metrics();
        for target in ["dc-bretagne", "cloud-confiance"] {
            let oldest = scrape.sum("octroi_outlet_oldest_seconds", &[&format!("target=\"{target}\"")]);
            oldest_archive = oldest_archive.max(oldest);
        }
        assert_eq!(hub.get("/health/ready").unwrap().0, 200, "a target that is down leaves the hub ready");
    }
    let during = hub.metrics();
    let grown = |metric: &str, label: &str| during.sum(metric, &[label]) - before.sum(metric, &[label]);
    let archived = grown("octroi_delivered_total", "target=\"dc-bretagne\"");
    let waiting = during.sum("octroi_outlet_pending", &["target=\"dc-rennes\""]);
    let expected = 0.5 * 800.0 * outage.as_secs_f64(); // half of what the waste stream is paced at
    assert!(archived > expected, "the archive got {archived} in the outage, at least {expected} were due");
    assert!(oldest_archive < 8.0, "an archive waited {oldest_archive} s while Kafka was down");
    assert!(waiting > 0.0 && during.sum("octroi_outlet_up", &["target=\"dc-rennes\""]) == 0.0, "{waiting}");

    let restarted = kafka.restart();
    std::thread::sleep(Duration::from_secs(2));
    let outcome = load.stop(Duration::from_secs(60));
    let back = Instant::now();
    let scrape = hub.drained(Duration::from_secs(180));
    let drained = back.elapsed();
    let mut delivered = kafka.read("dc-rennes", &TOPICS);
    let in_kafka = delivered.len();
    assert!(delivered.iter().all(|record| !record.key.is_empty()), "order per device needs a key");
    delivered.extend(["dc-morbihan", "dc-bretagne", "cloud-confiance"].iter().flat_map(|t| hub.archive(t)));
    report::table(
        "Kafka down under load",
        &[
            ("down for", format!("{:.0} s", outage.as_secs_f32())),
            (
                "broker's stop and start",
                format!("{:.1} s, {:.1} s", stopped.as_secs_f32(), restarted.as_secs_f32()),
            ),
            ("waiting for it at the end", waiting.to_string()),
            ("drained after", format!("{:.1} s", drained.as_secs_f32())),
            ("oldest waiting in an archive", format!("{oldest_archive:.1} s")),
            ("read by kcat", in_kafka.to_string()),
        ],
    );
    // What librdkafka had in flight at the stop may be there twice, under one id: one batch per partition
    // and topic, in a window of at most the hub's queue.
    let repeats_allowed = 100_000.min(in_kafka / 2);
    let outcomes = [outcome];
    let evidence = Evidence {
        streams: &STREAMS,
        outcomes: &outcomes,
        delivered: &delivered,
        scrape: &scrape,
        repeats_allowed,
    };
    judge(&evidence).assert_kept("Kafka down under load");
}

#[test]
fn a_hub_starts_and_acknowledges_with_its_kafka_down_and_delivers_when_it_comes() {
    let _machine = needs::exclusive();
    let Some(mut kafka) = needs::kafka() else { return };
    kafka.create_topics(&TOPICS, 2);
    kafka.stop();
    let hub = Hub::start(&[("dc-rennes", Outlet::Kafka(kafka.address()))]);
    let plan = Plan { version: Version::V311, connections: 2, window: 20, rate: None, messages: Some(300) };
    let outcome = Load::start(hub.mqtt(), &STREAMS[..2], plan, 0).finish(Duration::from_secs(30));
    assert_eq!(outcome.acknowledged(), 1200, "acknowledged with the target down");
    kafka.restart();
    let scrape = hub.drained(Duration::from_secs(60));
    let mut delivered = kafka.read("dc-rennes", &TOPICS);
    delivered.extend(hub.archive("cloud-confiance"));
    let evidence = Evidence {
        streams: &STREAMS,
        outcomes: &[outcome],
        delivered: &delivered,
        scrape: &scrape,
        repeats_allowed: 0,
    };
    judge(&evidence).assert_kept("started with Kafka down");
}

#[test]
fn a_tightened_policy_reaches_what_waits_for_a_target_that_is_down() {
    let _machine = needs::exclusive();
    let Some(mut kafka) = needs::kafka() else { return };
    let topics = ["mobilite-vers-cloud.mobility.open.v1"];
    kafka.create_topics(&topics, 2);
    kafka.stop();
    let hub = Hub::start(&[("cloud-confiance", Outlet::Kafka(kafka.address()))]);
    let plan = Plan { version: Version::V5, connections: 2, window: 20, rate: None, messages: Some(300) };
    let outcome = Load::start(hub.mqtt(), &[policy::COUNTS], plan, 0).finish(Duration::from_secs(30));
    assert_eq!(outcome.acknowledged(), 600, "each with a copy that waits for the cloud");

    policy::close_mobility_copy(&hub.policy());
    activate_next(&hub);

    kafka.restart();
    let scrape = hub.drained(Duration::from_secs(60));
    assert_eq!(kafka.read("cloud-confiance", &topics), [], "not one of them left");
    assert_eq!(scrape.sum("octroi_gate_blocked_total", &["target=\"cloud-confiance\""]), 600.0);
    assert_eq!(scrape.sum("octroi_held_messages", &["target=\"cloud-confiance\""]), 600.0);
    assert_eq!(hub.archive("dc-rennes").len(), 600, "the primary went its way");

    // Loosened again, each goes: it was allowed when it came, and is allowed now. Nothing else does.
    let finished = hub.cli(&["policy", "rollback"]);
    assert_eq!(finished.code, 0, "{}{}", finished.out, finished.err);
    let mut scrape = hub.drained(Duration::from_secs(60));
    wait_until("what was held has gone", Duration::from_secs(60), || {
        scrape = hub.drained(Duration::from_secs(60));
        scrape.sum("octroi_held_messages", &["target=\"cloud-confiance\""]) == 0.0
            && kafka.read("cloud-confiance", &topics).len() >= 600
    });
    assert_eq!(kafka.read("cloud-confiance", &topics).len(), 600, "each once");
    assert_eq!(hub.archive("dc-rennes").len(), 600, "and not once more to where it was already");
    assert_eq!(scrape.sum("octroi_unaccounted_messages", &[]), 0.0);
}
