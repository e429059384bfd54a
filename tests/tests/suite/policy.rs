//! Policies in a running hub: what may replace one, and what is in force after a restart.

use std::fs;
use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Version};
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy};

use crate::kill::{activate_next, next_version};

/// Each with what it does to the text of the policy: none of them may ever act.
const BAD: [(&str, &str, &str); 4] = [
    ("broken syntax", "[policy]", "[policy"),
    ("an unknown key", "dpo = \"dpo@agence.example\"", "dpo = \"dpo@agence.example\"\nfail_open = true"),
    (
        "a plate made open",
        "level = \"sensitive\"\nmarkings = [\"personal\", \"offence\", \"location_trace\"]",
        "level = \"open\"\nmarkings = []",
    ),
    ("a space on no target", "target = \"dc-morbihan\"", "target = \"dc-nulle-part\""),
];

fn counts_flow(hub: &Hub, run: u64) {
    let plan = Plan { version: Version::V5, connections: 1, window: 5, rate: None, messages: Some(10) };
    let outcome = Load::start(hub.mqtt(), &[policy::COUNTS], plan, run).finish(Duration::from_secs(20));
    assert_eq!(outcome.acknowledged(), 10);
}

/// Replaces `from` in the file that has it, and gives back a way to undo it.
fn spoil(hub: &Hub, from: &str, to: &str) -> impl FnOnce() + use<> {
    let directory = hub.policy();
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let texts: Vec<_> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let at = texts
        .iter()
        .position(|text| text.contains(from))
        .unwrap_or_else(|| panic!("no policy file has `{from}`"));
    fs::write(&files[at], texts[at].replacen(from, to, 1)).unwrap();
    move || fs::write(&files[at], &texts[at]).unwrap()
}

#[test]
fn a_bad_policy_never_replaces_a_good_one() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let good = hub.policy_in_force();
    // Changed, and of the same version still: two policies of one name.
    policy::edit(&hub.policy(), "version = \"", "# changed\nversion = \"");
    let finished = hub.activate();
    assert!(
        finished.code != 0 && format!("{}{}", finished.out, finished.err).contains("C35"),
        "{finished:?}"
    );
    assert_eq!(hub.policy_in_force(), good);
    // From here on each is a version of its own, so that it is refused for what it says.
    next_version(&hub);
    for (run, (what, from, to)) in BAD.into_iter().enumerate() {
        let mend = spoil(&hub, from, to);
        let finished = hub.activate();
        assert!(finished.code != 0, "{what} was activated: {}", finished.out);
        assert!(!finished.err.is_empty() || !finished.out.is_empty(), "{what}: refused without a word");
        assert_eq!(hub.policy_in_force(), good, "{what}");
        counts_flow(&hub, run as u64);
        mend();
    }
    assert!(hub.metrics().sum("octroi_policy_load_failures_total", &[]) >= 1.0);
}

#[test]
fn a_restart_keeps_the_last_activated_policy_whatever_stands_in_the_directory() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    let second = activate_next(&hub);
    assert_eq!(hub.policy_in_force(), second);
    let mend = spoil(&hub, "[policy]", "[policy");
    hub.terminate();
    hub.run();
    assert_eq!(hub.policy_in_force(), second, "after an orderly stop, the directory broken");
    mend();
    policy::edit(&hub.policy(), &format!("version = \"{second}\""), "version = \"9999.1.1\"");
    hub.kill();
    hub.run();
    assert_eq!(hub.policy_in_force(), second, "a candidate acts only once activated");
    counts_flow(&hub, 0);
}

#[test]
fn a_first_start_with_a_bad_policy_is_refused_and_opens_nothing() {
    for (what, from, to) in BAD {
        let _machine = needs::exclusive();
        let mut hub = Hub::prepared(&[], "");
        let _never = spoil(&hub, from, to);
        hub.spawn();
        wait_until("the hub ends", Duration::from_secs(20), || hub.process().ended().is_some());
        assert_eq!(hub.process().ended().unwrap().code(), Some(78), "{what}: {}", hub.log());
        assert!(std::net::TcpStream::connect(hub.mqtt()).is_err(), "{what}");
    }
}

#[test]
fn an_outlet_without_a_target_stops_the_start_and_is_named() {
    let _machine = needs::exclusive();
    let more = "[outlet.dc-nulle-part]\nkind = \"archive\"\ndirectory = \"nowhere\"\n";
    let mut hub = Hub::prepared(&[], more);
    hub.spawn();
    wait_until("the hub ends", Duration::from_secs(20), || hub.process().ended().is_some());
    assert_eq!(hub.process().ended().unwrap().code(), Some(78), "{}", hub.log());
    assert!(hub.log().contains("dc-nulle-part"), "{}", hub.log());
}
