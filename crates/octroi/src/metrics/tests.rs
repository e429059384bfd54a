use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::status::{BrokerStatus, Conservation, CredentialStatus, KeptStatus, OutletState, TargetStatus};

fn names(sources: &[&str], targets: &[&str]) -> PolicyNames {
    PolicyNames {
        version: "2026.11.2".to_owned(),
        sources: sources.iter().map(|id| (*id).to_owned()).collect(),
        targets: targets.iter().map(|id| (*id).to_owned()).collect(),
        qualifications: targets
            .iter()
            .map(|id| Qualification {
                target: (*id).to_owned(),
                scheme: "iso27001".to_owned(),
                valid_until: 1_851_552_000,
            })
            .collect(),
    }
}

fn text(metrics: &Metrics, status: Status) -> String {
    // Past the cache, so that a test reads what it has just counted.
    let now = Instant::now();
    *lock(&metrics.rendered) = None;
    metrics.text(&Arc::new(status), now).unwrap().to_string()
}

fn series(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series)
        .collect()
}

#[test]
fn every_series_of_a_policy_exists_at_0_from_its_activation_on() {
    let metrics = Metrics::new("0.1.0").unwrap();
    metrics.policy_activated(&names(&["lns-rennes"], &["dc-rennes"]));
    let credential = CredentialStatus {
        listener: "0.0.0.0:8883".to_owned(),
        part: "certificate".to_owned(),
        valid_until: "2027-11-20T06:00:00Z".to_owned(),
        ..CredentialStatus::default()
    };
    let broker = BrokerStatus { name: "ville".to_owned(), ..BrokerStatus::default() };
    let status = Status { credentials: vec![credential], brokers: vec![broker], ..Status::default() };
    let text = text(&metrics, status);
    for row in TABLE {
        let types = format!("# TYPE {} {}\n", row.name, row.kind.name());
        assert!(text.contains(&types), "{types} is missing");
        for label in row.labels {
            assert!(text.contains(&format!("{label}=\"")), "{label} of {}", row.name);
        }
    }
    for line in [
        "octroi_received_messages_total{source=\"lns-rennes\",qos=\"1\"} 0",
        "octroi_decisions_total{source=\"lns-rennes\",outcome=\"held\",level=\"restricted\"} 0",
        "octroi_delivered_total{target=\"dc-rennes\",level=\"open\"} 0",
        "octroi_outlet_errors_total{target=\"dc-rennes\",kind=\"blocked\"} 0",
        "octroi_outlet_up{target=\"dc-rennes\"} 0",
        "octroi_broker_up{broker=\"ville\"} 0",
        "octroi_quarantined_messages{reason=\"no_rule_matches\"} 0",
        "octroi_rejected_total{stage=\"publish\",reason=\"command\"} 0",
        "octroi_qualification_valid_until_timestamp_seconds{target=\"dc-rennes\",scheme=\"iso27001\"} 1851552000",
        "octroi_policy_info{version=\"2026.11.2\"} 1",
        "octroi_build_info{version=\"0.1.0\"} 1",
        "octroi_unaccounted_messages 0",
        "octroi_credentials_refused{listener=\"0.0.0.0:8883\",part=\"certificate\"} 0",
        "octroi_ack_seconds_count 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
    }
}

#[test]
fn what_happened_is_counted_where_it_happened() {
    let metrics = Metrics::new("0.1.0").unwrap();
    metrics.policy_activated(&names(&["a", "ab"], &["dc"]));
    metrics.source("a").received([0, 3, 0], 120);
    metrics.source("a").decided(Outcome::Routed, Level::Personal, 3);
    metrics.source("ab").received([1, 0, 0], 7);
    metrics.target("dc").delivered(Level::Personal, 2, 80);
    metrics.target("dc").gate_blocked(1);
    metrics.target("dc").outlet_failed(OutletError::Retry);
    metrics.rejected("connection", "keep_alive_timeout");
    metrics.policy_load_failed();
    metrics.journal_synced(Duration::from_micros(900));
    metrics.acknowledged(Duration::from_secs(60), 2);
    let status = Status {
        connections: 5,
        targets: vec![TargetStatus {
            id: "dc".to_owned(),
            state: OutletState::Up,
            pending: 9,
            oldest_seconds: 1.5,
            held: 4,
            ..TargetStatus::default()
        }],
        quarantine: vec![
            KeptStatus { reason: "cannot_decode".to_owned(), messages: 6 },
            KeptStatus { reason: "a reason of tomorrow".to_owned(), messages: 2 },
        ],
        conservation: Conservation { unaccounted: -3, ..Conservation::default() },
        ..Status::default()
    };
    let text = text(&metrics, status);
    for line in [
        "octroi_received_messages_total{source=\"a\",qos=\"1\"} 3",
        "octroi_received_bytes_total{source=\"a\"} 120",
        "octroi_received_messages_total{source=\"ab\",qos=\"0\"} 1",
        "octroi_decisions_total{source=\"a\",outcome=\"routed\",level=\"personal\"} 3",
        "octroi_delivered_total{target=\"dc\",level=\"personal\"} 2",
        "octroi_delivered_bytes_total{target=\"dc\",level=\"personal\"} 80",
        "octroi_gate_blocked_total{target=\"dc\"} 1",
        "octroi_outlet_errors_total{target=\"dc\",kind=\"retry\"} 1",
        "octroi_rejected_total{stage=\"connection\",reason=\"keep_alive_timeout\"} 1",
        "octroi_policy_load_failures_total 1",
        "octroi_journal_sync_seconds_bucket{le=\"0.0005\"} 0",
        "octroi_journal_sync_seconds_bucket{le=\"0.001\"} 1",
        "octroi_ack_seconds_bucket{le=\"30\"} 0",
        "octroi_ack_seconds_bucket{le=\"+Inf\"} 2",
        "octroi_ack_seconds_sum 120",
        "octroi_connections 5",
        "octroi_outlet_up{target=\"dc\"} 1",
        "octroi_outlet_pending{target=\"dc\"} 9",
        "octroi_outlet_oldest_seconds{target=\"dc\"} 1.5",
        "octroi_held_messages{target=\"dc\"} 4",
        "octroi_quarantined_messages{reason=\"cannot_decode\"} 6",
        "octroi_quarantined_messages{reason=\"other\"} 2",
        "octroi_unaccounted_messages -3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
    }
}

#[test]
fn unknown_ids_add_no_series() {
    let metrics = Metrics::new("0.1.0").unwrap();
    metrics.policy_activated(&names(&["a"], &["dc"]));
    let before = text(&metrics, Status::default());
    for n in 0..10_000 {
        metrics.source(&format!("made-up-{n}")).received([0, 1, 0], 1);
        metrics.target(&format!("made-up-{n}")).gate_blocked(1);
        metrics.rejected("publish", &format!("made-up-{n}"));
    }
    let after = text(&metrics, Status::default());
    assert_eq!(series(&before), series(&after));
    assert!(after.contains("octroi_received_messages_total{source=\"other\",qos=\"1\"} 10000\n"));
    assert!(after.contains("octroi_rejected_total{stage=\"other\",reason=\"other\"} 10000\n"));
}

#[test]
fn a_hostile_id_stays_within_its_label() {
    let metrics = Metrics::new("0.1.0").unwrap();
    metrics.policy_activated(&names(&["a\"} 7\nforged{x=\"\\"], &[]));
    let text = text(&metrics, Status::default());
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
}

#[test]
fn a_new_policy_keeps_what_is_counted_in_and_drops_the_rest() {
    let metrics = Metrics::new("0.1.0").unwrap();
    metrics.policy_activated(&names(&["gone", "live", "stays"], &[]));
    let live = metrics.source("live");
    metrics.source("stays").received([0, 2, 0], 0);
    metrics.policy_activated(&names(&["stays"], &[]));
    live.received([0, 1, 0], 0);
    let text = text(&metrics, Status::default());
    assert!(text.contains("{source=\"stays\",qos=\"1\"} 2\n"));
    assert!(text.contains("{source=\"live\",qos=\"1\"} 1\n"));
    assert!(!text.contains("\"gone\""));
}

#[test]
fn a_policy_may_call_a_source_other_without_a_series_twice() {
    let metrics = Metrics::new("0.1.0").unwrap();
    metrics.policy_activated(&names(&[OTHER], &[OTHER]));
    let text = text(&metrics, Status::default());
    assert_eq!(series(&text).len(), text.lines().filter(|line| !line.starts_with('#')).count());
}

#[test]
fn the_text_is_rendered_again_after_a_second() {
    let metrics = Metrics::new("0.1.0").unwrap();
    let (status, start) = (Arc::new(Status::default()), Instant::now());
    let first = metrics.text(&status, start).unwrap();
    metrics.policy_load_failed();
    assert_eq!(first, metrics.text(&status, start + CACHED / 2).unwrap());
    assert_ne!(first, metrics.text(&status, start + CACHED).unwrap());
}

#[test]
fn twenty_thousand_series_are_rendered_well_within_a_scrape() {
    let metrics = Metrics::new("0.1.0").unwrap();
    let sources: Vec<String> = (0..900).map(|n| format!("source-{n}")).collect();
    metrics.policy_activated(&PolicyNames { sources, ..PolicyNames::default() });
    let start = Instant::now();
    let text = text(&metrics, Status::default());
    let took = start.elapsed();
    assert!(series(&text).len() > 20_000);
    // 50 ms is promised of the release build; this bound only finds what is quadratic.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
#[expect(clippy::print_stderr, reason = "what is not run is said")]
fn promtool_accepts_every_metric() {
    let metrics = Metrics::new("0.1.0").unwrap();
    metrics.policy_activated(&names(&["a"], &["dc"]));
    let mut child = Command::new("promtool");
    child.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut promtool) = child.stderr(Stdio::piped()).spawn() else {
        eprintln!("not run: promtool is not installed (apt-get install prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text(&metrics, Status::default()).as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.trim().is_empty(), "{said}");
}
