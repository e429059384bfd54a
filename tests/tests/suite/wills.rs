//! Wills: published like any message, after their delay, unless the client is
//! back in time.

use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::load::wire::{Answer, Will, Wire, connect_with_will, publish};
use octroi_tests::load::{Qos, Version};
use octroi_tests::process::wait_until;
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
    wait_until("the late one comes", Duration::from_secs(20), || received(&hub) == 2.0);
    assert!(began.elapsed() >= Duration::from_secs(8));
    back.disconnect().unwrap();
    hub.drained(Duration::from_secs(30));
    let found: Vec<_> = hub.archive("dc-rennes").iter().filter_map(|record| record.message()).collect();
    assert_eq!(found, [at_once, late]);
}

#[test]
fn a_will_is_paid_for_by_its_source_as_any_publish() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    let identity = format!("identity = \"user:{USER}\"\n");
    policy::edit(&hub.policy(), &identity, &format!("{identity}quota = {{ bytes_per_second = 5 }}\n"));
    hub.run();
    let mut wire = Wire::connect(hub.mqtt(), Version::V5, "before", USER).unwrap();
    broken(&hub, "owes", 0, 770_000_000_000_001);
    wait_until("the will is published", Duration::from_secs(5), || received(&hub) == 1.0);
    let mut packet = Vec::new();
    publish((Version::V5, Qos::AtLeastOnce), 1, false, TOPIC, b"{}", &mut packet);
    // Who was there before takes no part in it; who comes waits for the twenty seconds that it costs.
    let mut later = Wire::connect(hub.mqtt(), Version::V5, "later", USER).unwrap();
    later.send(&packet).unwrap();
    assert_eq!(later.answer(Duration::from_secs(1)).unwrap(), None);
    let acknowledged = Some(Answer::Ack { packet: 1, reason: 0 });
    assert_eq!(later.answer(Duration::from_secs(40)).unwrap(), acknowledged);
    wire.send(&packet).unwrap();
    assert_eq!(wire.answer(Duration::from_secs(30)).unwrap(), acknowledged);
}

#[test]
fn a_hub_that_stops_publishes_the_wills_that_wait() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    broken(&hub, "waits", 3_000, 770_000_000_000_001);
    assert_eq!(received(&hub), 0.0, "it waits");
    let (_, took) = hub.terminate();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let found: Vec<_> = hub.archive("dc-rennes").iter().filter_map(|record| record.message()).collect();
    assert_eq!(found, [770_000_000_000_001]);
}
