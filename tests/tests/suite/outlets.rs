//! `octroi outlet`: pause, resume and replay, against a running hub.

use std::collections::BTreeMap;
use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Version};
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy};

use crate::kill::activate_next;

const WITHIN: Duration = Duration::from_secs(30);

fn publish(hub: &Hub, run: u64, messages: u64) -> u64 {
    let plan =
        Plan { version: Version::V5, connections: 1, window: 20, rate: None, messages: Some(messages) };
    Load::start(hub.mqtt(), &[policy::COUNTS], plan, run).finish(WITHIN).acknowledged()
}

fn state(hub: &Hub, target: &str) -> String {
    hub.cli_json(&["outlet", "show", target])["state"].as_str().unwrap_or_default().to_owned()
}

/// How often each id stands in an archive.
fn ids(hub: &Hub, target: &str) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for record in hub.archive(target) {
        *ids.entry(record.id).or_default() += 1;
    }
    ids
}

#[test]
fn a_paused_target_gets_nothing_over_a_restart_and_everything_once_it_is_resumed() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    let dry = hub.cli(&["outlet", "pause", "dc-rennes", "--dry-run"]);
    assert!(dry.code == 0 && dry.out.contains("would be paused"), "{}{}", dry.out, dry.err);
    assert_ne!(state(&hub, "dc-rennes"), "paused");
    let paused = hub.cli(&["outlet", "pause", "dc-rennes", "--because", "the room moves"]);
    assert_eq!(paused.code, 0, "{}{}", paused.out, paused.err);
    wait_until("it is shown as paused", WITHIN, || state(&hub, "dc-rennes") == "paused");
    assert_eq!(publish(&hub, 0, 50), 50, "acknowledged all the same");
    wait_until("its neighbour has its share", WITHIN, || hub.archive("cloud-confiance").len() == 50);
    assert!(hub.log().contains("the room moves"), "the log says who paused it and why");

    hub.terminate();
    hub.run();
    wait_until("it is still paused", WITHIN, || state(&hub, "dc-rennes") == "paused");
    let scrape = hub.metrics();
    assert_eq!(scrape.sum("octroi_outlet_state", &["target=\"dc-rennes\"", "state=\"paused\""]), 1.0);
    assert_eq!(scrape.sum("octroi_outlet_pending", &["target=\"dc-rennes\""]), 50.0);
    let status = hub.cli(&["status", "--lang", "fr"]);
    assert!(status.out.contains("suspendue") && status.out.contains("the room moves"), "{}", status.out);
    assert_eq!(hub.archive("dc-rennes"), []);

    let resumed = hub.cli(&["outlet", "resume", "dc-rennes"]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
    hub.drained(WITHIN);
    assert_eq!(hub.archive("dc-rennes").len(), 50);
    let again = hub.cli(&["outlet", "resume", "dc-rennes"]);
    assert!(again.code == 0 && again.out.contains("already"), "{}", again.out);
    let unknown = hub.cli(&["outlet", "pause", "dc-nantes"]);
    assert!(unknown.code == 1 && unknown.err.contains("octroi outlet list"), "{}", unknown.err);
}

#[test]
fn a_replay_sends_what_the_journal_still_has_again_under_the_same_ids_and_never_around_the_policy() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    assert_eq!(publish(&hub, 0, 40), 40);
    hub.drained(WITHIN);
    let replay = |more: &[&str]| {
        hub.cli_json(&[&["outlet", "replay", "cloud-confiance", "--from", "0"], more].concat())["sent"]
            .clone()
    };
    assert_eq!(replay(&["--dry-run"]), 40);
    assert_eq!(replay(&["--because", "the cloud lost a disk"]), 40);
    let scrape = hub.drained(WITHIN);
    let twice = ids(&hub, "cloud-confiance");
    assert!(twice.len() == 40 && twice.values().all(|times| *times == 2), "{twice:?}");
    assert_eq!(hub.archive("dc-rennes").len(), 40, "nothing went where it was not asked for");
    assert_eq!(scrape.sum("octroi_unaccounted_messages", &[]), 0.0);
    assert_eq!(scrape.sum("octroi_received_messages_total", &[]), 40.0, "nothing was received again");

    // What was replayed is not counted as more to replay.
    assert_eq!(replay(&["--dry-run"]), 40);
    let later = hub.cli_json(&["outlet", "replay", "cloud-confiance", "--from", "2099-01-01T00:00:00Z"]);
    assert_eq!(later["sent"], 0);
    let wrong = hub.cli(&["outlet", "replay", "cloud-confiance", "--from", "yesterday"]);
    assert!(wrong.code == 64 && wrong.err.contains("48213"), "{}", wrong.err);

    // The copy is taken out of the policy: there is nothing that may go again.
    policy::close_mobility_copy(&hub.policy());
    activate_next(&hub);
    let refused = hub.cli_json(&["outlet", "replay", "cloud-confiance", "--from", "0"]);
    assert_eq!((&refused["sent"], &refused["stays"]["not_allowed"]), (&0.into(), &40.into()), "{refused}");
    hub.drained(WITHIN);
    assert_eq!(ids(&hub, "cloud-confiance"), twice);
}

#[test]
fn a_look_at_archives_says_what_is_missing() {
    let hub = Hub::prepared(&[], "");
    let checked = hub.cli(&["outlet", "check", "dc-rennes", "--lang", "fr"]);
    assert_eq!(checked.code, 1, "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("manque") && checked.out.contains("install -d"), "{}", checked.out);
    for target in policy::TARGETS {
        std::fs::create_dir_all(hub.archive_directory(target)).unwrap();
    }
    let checked = hub.cli_json(&["outlet", "check"]);
    assert!(checked.as_array().is_some_and(|all| all.len() == 4), "{checked}");
    let unknown = hub.cli(&["outlet", "check", "dc-nantes"]);
    assert_eq!(unknown.code, 64, "{}", unknown.err);
}
