//! Water meters whose own messages may not leave the département: what leaves
//! is how many there are and what they give together, once, or nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octroi_tests::delivered::Delivered;
use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Version};
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy};

/// Length of the test's windows; a window stays open for 15 s after its end.
const WINDOW_SECONDS: u64 = 20;
const WITHIN: Duration = Duration::from_secs(90);

/// Waits for a window that has just begun, so that one load lies in one window.
fn at_the_start_of_a_window() {
    wait_until("a window begins", Duration::from_secs(2 * WINDOW_SECONDS), || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        now % WINDOW_SECONDS < 3
    });
}

/// So many meters send eleven messages each.
fn send(hub: &Hub, meters: usize, run: u64) {
    let plan = Plan { version: Version::V5, connections: meters, window: 10, rate: None, messages: Some(11) };
    let outcome = Load::start(hub.mqtt(), &[policy::WATER], plan, run).finish(Duration::from_secs(30));
    assert_eq!(outcome.acknowledged(), meters as u64 * 11);
}

fn aggregates(hub: &Hub) -> Vec<Delivered> {
    let of_copy = |record: &Delivered| record.space == "eau-agregats-vers-cloud";
    hub.archive("cloud-confiance").into_iter().filter(of_copy).collect()
}

#[test]
fn eleven_meters_leave_as_one_aggregate_over_a_kill_and_ten_do_not() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    let window = format!("window = \"PT{WINDOW_SECONDS}S\"");
    policy::edit(&hub.policy(), "window = \"P1D\"", &window);
    hub.run();
    at_the_start_of_a_window();
    send(&hub, 11, 0);
    hub.kill();
    hub.run();
    wait_until("the aggregate is delivered", WITHIN, || !aggregates(&hub).is_empty());
    let found = aggregates(&hub);
    let [aggregate] = found.as_slice() else { panic!("{found:?}") };
    let payload: serde_json::Value = serde_json::from_str(&aggregate.payload).expect("an aggregate is JSON");
    assert_eq!((&payload["devices"], &payload["commune"]), (&11.into(), &"56260".into()), "{payload}");
    assert_eq!(payload["measures"]["index_l"]["mean"], 183_442.0, "{payload}");
    assert_eq!((aggregate.level.as_str(), aggregate.topic.as_str()), ("internal", "b/water/56260"));
    let whole = format!("{aggregate:?}");
    assert!(!whole.contains("wm-") && !whole.contains("hub-t/"), "a meter or a record is named: {whole}");

    at_the_start_of_a_window();
    send(&hub, 10, 1);
    wait_until("the group of ten is counted as suppressed", WITHIN, || {
        let suppressed = ["target=\"cloud-confiance\""];
        hub.metrics().sum("octroi_aggregates_suppressed_total", &suppressed) == 1.0
    });
    let scrape = hub.drained(Duration::from_secs(60));
    assert_eq!(aggregates(&hub), found, "once, and nothing of ten meters");
    assert_eq!(scrape.sum("octroi_unaccounted_messages", &[]), 0.0);
    assert_eq!(hub.archive("dc-morbihan").len(), 231, "every meter's own message stays in the département");
}
