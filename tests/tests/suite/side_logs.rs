//! Quarantine and hold, as an operator meets them: what no rule knows waits, a
//! policy that knows it lets it go on the operator's word, once, whatever
//! happens on the way.

use std::path::Path;
use std::time::Duration;

use octroi_tests::hub::{Hub, cli_command};
use octroi_tests::load::{Load, Outcome, Plan, Stream, Version};
use octroi_tests::oracle::{Evidence, judge};
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy, report};

use crate::kill::activate_next;

/// What no rule of the demo's policy knows.
const POSTS: Stream = Stream {
    name: "post",
    user: "ville-mobilite",
    topic: "ville/mobilite/borne-%N%/etat",
    payload: r#"{"state":"ok","n":%ID%}"#,
    reaches: &["dc-rennes"],
    never: &["dc-morbihan", "dc-bretagne"],
};
const UNACCOUNTED: &str = "octroi_unaccounted_messages";

fn publish(hub: &Hub, stream: Stream, messages: u64, run: u64) -> Outcome {
    let plan =
        Plan { version: Version::V5, connections: 2, window: 100, rate: None, messages: Some(messages) };
    let outcome = Load::start(hub.mqtt(), &[stream], plan, run).finish(Duration::from_secs(60));
    assert_eq!(outcome.acknowledged(), 2 * messages);
    outcome
}

/// Waits until so many are in quarantine.
#[track_caller]
fn quarantined(hub: &Hub, messages: f64) {
    wait_until("they are in quarantine", Duration::from_secs(30), || {
        hub.metrics().sum("octroi_quarantined_messages", &[]) == messages
    });
}

/// A rule for the posts, in force.
fn know_the_posts(hub: &Hub) {
    know_the_posts_in(&hub.policy());
    activate_next(hub);
}

/// A rule for the posts; the policy's own test of what no rule knows asks about another topic.
pub(crate) fn know_the_posts_in(directory: &Path) {
    policy::edit(directory, "ville/mobilite/borne-9/etat", "ville/mobilite/borne-9/inconnu");
    policy::edit(
        directory,
        "[[classify]]\nid = \"mobilite-plaques\"",
        "[[classify]]\nid = \"bornes\"\nwhen = { domain = \"mobility\", topic = \"ville/mobilite/+/etat\" }\nlevel = \"internal\"\n\n\
         [[classify]]\nid = \"mobilite-plaques\"",
    );
}

#[test]
fn what_no_rule_knew_is_released_once_a_rule_knows_it_and_arrives_once() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let outcome = publish(&hub, POSTS, 10, 0);
    quarantined(&hub, 20.0);
    // No rule yet: a release asks the policy, and the policy says no.
    let refused = hub.cli_json(&["quarantine", "release", "--all"]);
    assert_eq!(refused["done"].as_array().unwrap().len(), 0);
    assert_eq!(refused["stays"]["no_rule_matches"].as_array().unwrap().len(), 20);
    let nothing = hub.cli(&["quarantine", "release"]);
    assert_eq!(nothing.code, 64, "nothing named is nothing asked: {}", nothing.err);

    know_the_posts(&hub);
    let list = hub.cli_json(&["quarantine", "list"]);
    let id = list[0]["id"].as_str().unwrap().to_owned();
    let shown = hub.cli_json(&["quarantine", "show", &id]);
    assert_eq!((&shown["now"]["goes"], &shown["reason"]), (&true.into(), &"no_rule_matches".into()));
    assert!(shown.get("payload").is_none(), "no payload unasked: {shown}");
    let shown = hub.cli_json(&["quarantine", "show", &id, "--payload", "--because", "complaint 7"]);
    assert!(shown["payload"].as_str().unwrap().contains("state"));
    assert!(hub.log().contains("complaint 7"), "who reads a payload says why");
    let dry = hub.cli_json(&["quarantine", "release", "--all", "--dry-run"]);
    assert_eq!(dry["done"].as_array().unwrap().len(), 20);
    quarantined(&hub, 20.0);

    let one = hub.cli(&["quarantine", "release", &id]);
    assert!(one.code == 0 && one.out.contains("1 message(s) released"), "{}{}", one.out, one.err);
    let rest = hub.cli_json(&["quarantine", "release", "--reason", "no_rule_matches"]);
    assert_eq!(rest["done"].as_array().unwrap().len(), 19);
    quarantined(&hub, 0.0);
    let scrape = hub.drained(Duration::from_secs(60));
    let delivered = hub.archive("dc-rennes");
    assert_eq!(delivered.len(), 20);
    let numbers: std::collections::BTreeSet<_> =
        delivered.iter().filter_map(|record| record.message()).collect();
    assert_eq!(numbers, outcome.messages().map(|sent| sent.id).collect(), "each once");
    assert_eq!(scrape.sum("octroi_released_messages_total", &["log=\"quarantine\""]), 20.0);
    assert_eq!(scrape.sum(UNACCOUNTED, &[]), 0.0);
    let balance = &hub.cli_json(&["status"])["conservation"];
    let terms = ["received", "routed", "quarantined"].map(|term| balance[term].as_u64().unwrap());
    assert_eq!(terms, [20, 20, 0], "moved, not received again");
}

#[test]
fn a_release_that_is_killed_in_the_middle_doubles_nothing_and_loses_nothing() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    let outcome = publish(&hub, POSTS, 5_000, 1);
    quarantined(&hub, 10_000.0);
    know_the_posts(&hub);
    // Kills fall later and later, until one has left some released and some not; and a few in any case.
    let mut left = Vec::new();
    for round in 0..16 {
        let mut release = cli_command(&["quarantine", "release", "--all", "--config"]);
        let mut release = release.arg(hub.configuration()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + 25 * round));
        hub.kill();
        release.wait().unwrap();
        hub.run();
        left.push(hub.metrics().sum("octroi_quarantined_messages", &[]));
        if round >= 4 && left.iter().any(|left| (1.0..10_000.0).contains(left)) {
            break;
        }
    }
    report::table("left in quarantine after each kill", &[("messages", format!("{left:?}"))]);
    assert!(left.iter().any(|left| (1.0..10_000.0).contains(left)), "no release was in the middle: {left:?}");
    let last = hub.cli(&["quarantine", "release", "--all"]);
    assert_eq!(last.code, 0, "{}{}", last.out, last.err);
    quarantined(&hub, 0.0);
    let scrape = hub.drained(Duration::from_secs(120));
    let delivered = hub.archive("dc-rennes");
    let evidence = Evidence {
        streams: &[POSTS],
        outcomes: &[outcome],
        delivered: &delivered,
        scrape: &scrape,
        repeats_allowed: 0,
    };
    judge(&evidence).assert_kept("kill -9 in the middle of a release");
    assert_eq!(delivered.len(), 10_000, "each once");
    let balance = &hub.cli_json(&["status"])["conservation"];
    let terms =
        ["received", "routed", "quarantined", "unaccounted"].map(|term| balance[term].as_i64().unwrap());
    assert_eq!(terms, [10_000, 10_000, 0, 0]);
}

#[test]
fn a_purge_says_why_is_counted_and_is_the_one_way_to_lose_what_was_acknowledged() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    publish(&hub, POSTS, 5, 2);
    quarantined(&hub, 10.0);
    let mute = hub.cli(&["quarantine", "purge", "--all"]);
    assert_eq!(mute.code, 64, "{}{}", mute.out, mute.err);
    let purged = hub.cli_json(&["quarantine", "purge", "--all", "--because", "test rig, deliberation 12"]);
    assert_eq!(purged["done"].as_array().unwrap().len(), 10);
    quarantined(&hub, 0.0);
    hub.kill();
    hub.run();
    let scrape = hub.metrics();
    assert_eq!(scrape.sum("octroi_purged_messages_total", &[]), 10.0, "counted for good");
    assert_eq!(scrape.sum(UNACCOUNTED, &[]), 0.0);
    let balance = &hub.cli_json(&["status"])["conservation"];
    let terms = ["received", "quarantined", "purged"].map(|term| balance[term].as_u64().unwrap());
    assert_eq!(terms, [10, 0, 10]);
    let records = hub.cli(&["journal", "ls", "--records", "200"]);
    assert!(records.out.contains("test rig, deliberation 12"), "on record: {}", records.out);
}
