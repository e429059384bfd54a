//! Wills: published like any message, after their delay, unless the client is
//! back in time.

use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::load::Version;
use octroi_tests::load::wire::{Will, Wire, connect_with_will};
use octroi_tests::{needs, policy};

const TOPIC: &str = "ville/mobilite/compteur-7/count";
const USER: &str = "ville-mobilite";

/// A client with a will, whose connection breaks at once.
fn broken(hub: &Hub, client: &str, delay: u32, id: u64) {
    let payload = policy::COUNTS.payload.replace("%ID%", &id.to_string()).replace("%N%", "7");
    let connect = connect_with_will(client, USER, Will { delay, topic: TOPIC, payload: &payload });
    drop(Wire::open(hub.mqtt(), Version::V5, &connect).unwrap());
}

fn received(hub: &Hub) -> f64 {
    hub.metrics().sum("octroi_received_messages_total", &[])
}

#[test]
fn a_delayed_will_is_taken_back_by_a_client_that_comes_back_in_time() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let (at_once, late, taken_back) = (770_000_000_000_001, 770_000_000_000_002, 770_000_000_000_003);
    let began = Instant::now();
    broken(&hub, "at-once", 0, at_once);
    broken(&hub, "late", 8, late);
    broken(&hub, "back", 8, taken_back);
    let back = Wire::connect(hub.mqtt(), Version::V5, "back", USER).unwrap();
    assert!(back.session_present());
    assert_eq!(received(&hub), 1.0, "the others wait");
    assert!(began.elapsed() < Duration::from_secs(8), "too slow a machine to tell");
    octroi_tests::process::wait_until("the late one comes", Duration::from_secs(20), || {
        received(&hub) == 2.0
    });
    assert!(began.elapsed() >= Duration::from_secs(8));
    back.disconnect().unwrap();
    hub.drained(Duration::from_secs(30));
    let found: Vec<_> = hub.archive("dc-rennes").iter().filter_map(|record| record.message()).collect();
    assert_eq!(found, [at_once, late]);
}
