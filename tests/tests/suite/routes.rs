//! Messages of three authorities to every target, and to no other.

use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Outcome, Plan, Version};
use octroi_tests::oracle::{Evidence, judge};
use octroi_tests::{needs, policy, report};

const DRAIN: Duration = Duration::from_secs(60);

#[test]
fn every_message_reaches_the_targets_its_label_allows_and_no_other() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let plans = [(0, Version::V311), (1, Version::V5)];
    let outcomes: Vec<Outcome> = plans
        .map(|(run, version)| {
            let plan = Plan { version, connections: 3, window: 40, rate: None, messages: Some(500) };
            Load::start(hub.mqtt(), &policy::ALL, plan, run).finish(Duration::from_secs(60))
        })
        .into();
    let published: u64 = outcomes.iter().map(|outcome| outcome.messages().count() as u64).sum();
    let acknowledged: u64 = outcomes.iter().map(Outcome::acknowledged).sum();
    assert_eq!((published, acknowledged), (12_000, 12_000));
    assert!(outcomes.iter().all(|outcome| outcome.disordered_acks == 0 && outcome.reconnects == 0));

    let scrape = hub.drained(DRAIN);
    let delivered = hub.archives();
    let evidence = Evidence {
        streams: &policy::ALL,
        outcomes: &outcomes,
        delivered: &delivered,
        scrape: &scrape,
        repeats_allowed: 0,
    };
    judge(&evidence).assert_kept("routes to every target");

    assert_eq!(scrape.sum("octroi_received_messages_total", &[]), 12_000.0);
    assert_eq!(scrape.sum("octroi_decisions_total", &["outcome=\"routed\""]), 12_000.0);
    let rows = policy::TARGETS.map(|target| {
        let counted = scrape.sum("octroi_delivered_total", &[&format!("target=\"{target}\"")]);
        let found = delivered.iter().filter(|record| record.target == target).count();
        assert_eq!(counted, found as f64, "octroi_delivered_total of `{target}` and what stands there");
        (target, found.to_string())
    });
    report::table("records on each target", &rows);
}

#[test]
fn levels_on_the_targets_are_those_of_the_policy() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let plan = Plan { version: Version::V5, connections: 1, window: 10, rate: None, messages: Some(20) };
    let outcome = Load::start(hub.mqtt(), &policy::ALL, plan, 0).finish(Duration::from_secs(30));
    assert_eq!(outcome.acknowledged(), 80);
    hub.drained(DRAIN);
    let mut seen: Vec<_> =
        hub.archives().into_iter().map(|record| (record.target, record.space, record.level)).collect();
    seen.sort();
    seen.dedup();
    let seen: Vec<_> = seen.iter().map(|(t, s, l)| (t.as_str(), s.as_str(), l.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("cloud-confiance", "dechets-vers-cloud", "internal"),
            ("cloud-confiance", "mobilite-vers-cloud", "open"),
            ("dc-bretagne", "commun-bretagne", "internal"),
            ("dc-morbihan", "energie-eau-56", "personal"),
            ("dc-rennes", "mobilite-rennes", "open"),
            ("dc-rennes", "mobilite-rennes", "sensitive"),
        ]
    );
}

#[test]
fn a_transformed_copy_carries_no_device_and_no_exact_time() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let plan = Plan { version: Version::V311, connections: 1, window: 10, rate: None, messages: Some(5) };
    Load::start(hub.mqtt(), &[policy::COUNTS], plan, 0).finish(Duration::from_secs(30));
    hub.drained(DRAIN);
    let copies = hub.archive("cloud-confiance");
    assert_eq!(copies.len(), 5);
    for copy in &copies {
        let whole = format!("{copy:?}");
        assert!(!whole.contains("compteur-0"), "the device's identifier left: {whole}");
        assert!(!copy.id.starts_with("hub-t/"), "a copy's id links back to the original: {whole}");
        assert!(copy.topic.starts_with("b/mobility/35238/p1-"), "{whole}");
    }
}
