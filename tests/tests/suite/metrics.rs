//! What Prometheus sees.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Stream, Version};
use octroi_tests::{needs, policy};

#[test]
fn ten_thousand_topics_add_no_series() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let names = |hub: &Hub| hub.metrics().series().map(str::to_owned).collect::<BTreeSet<_>>();
    let before = names(&hub);
    let streams = [
        Stream { topic: "ville/mobilite/x-%ID%/count", ..policy::COUNTS },
        Stream { topic: "ville/mobilite/%ID%/%N%/%ID%", ..policy::COUNTS },
    ];
    let plan = Plan { version: Version::V311, connections: 5, window: 50, rate: None, messages: Some(1000) };
    let outcome = Load::start(hub.mqtt(), &streams, plan, 0).finish(Duration::from_secs(60));
    assert_eq!(outcome.acknowledged(), 10_000);
    let after = names(&hub);
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), [] as [&String; 0], "new series");
    assert!(!after.iter().any(|series| series.contains("ville/") || series.contains("77000")));
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let _machine = needs::exclusive();
    let Some(promtool) = needs::tool("promtool", "prometheus") else { return };
    let hub = Hub::start(&[]);
    let text = hub.metrics().text;
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn every_metric_of_the_operators_page_is_there_from_the_start() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let text = hub.metrics().text;
    let missing: Vec<_> = EXPORTED
        .iter()
        .filter(|name| !text.lines().any(|line| line.starts_with(&format!("# TYPE {name} "))))
        .collect();
    assert_eq!(missing, [] as [&&str; 0]);
}

#[test]
fn a_scrape_is_quick_and_is_cached_for_a_second_at_most() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    hub.metrics();
    let mut times: Vec<_> = (0..20)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(hub.get("/metrics").unwrap().0, 200);
            start.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[10] < Duration::from_millis(50), "median scrape {:?}", times[10]);
}

const EXPORTED: [&str; 27] = [
    "octroi_journal_fenced_ranges",
    "octroi_received_messages_total",
    "octroi_received_bytes_total",
    "octroi_decisions_total",
    "octroi_rejected_total",
    "octroi_quarantined_messages",
    "octroi_held_messages",
    "octroi_delivered_total",
    "octroi_delivered_bytes_total",
    "octroi_gate_blocked_total",
    "octroi_outlet_up",
    "octroi_outlet_errors_total",
    "octroi_outlet_pending",
    "octroi_outlet_oldest_seconds",
    "octroi_journal_bytes",
    "octroi_journal_limit_bytes",
    "octroi_journal_sync_seconds",
    "octroi_ack_seconds",
    "octroi_policy_info",
    "octroi_policy_load_failures_total",
    "octroi_qualification_valid_until_timestamp_seconds",
    "octroi_connections",
    "octroi_slowed_seconds_total",
    "octroi_build_info",
    "octroi_unaccounted_messages",
    "octroi_aggregates_late_total",
    "octroi_aggregates_suppressed_total",
];
