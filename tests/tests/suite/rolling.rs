//! Three brokers that fall, and one target behind a black hole: the bars that a
//! hub with real Kafka targets is held to. `OCTROI_LONG=1` runs them as long as
//! they are stated (ten minutes, five minutes); else a short form.

use std::time::{Duration, Instant};

use octroi_tests::hub::{Hub, Outlet};
use octroi_tests::kafka::{Follower, Kafka, Shape, THREE, Way};
use octroi_tests::load::{Load, Outcome, Plan, Stream, Version};
use octroi_tests::oracle::{Evidence, judge};
use octroi_tests::process::{holds_within, wait_until};
use octroi_tests::{needs, policy, report};

const STREAMS: [Stream; 2] = [policy::COUNTS, policy::PLATES];
const OPEN: &str = "mobilite-rennes.mobility.open.v1";
const SENSITIVE: &str = "mobilite-rennes.mobility.sensitive.v1";
const WASTE: &str = "commun-bretagne.waste.internal.v1";
const WITHIN: Duration = Duration::from_secs(120);

fn state(hub: &Hub, target: &str) -> (String, String) {
    let shown = hub.cli_json(&["outlet", "show", target]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&shown["state"]), text(&shown["reason"]["en"]))
}

fn load(hub: &Hub, streams: &[Stream], rate: u32, run: u64) -> Load {
    let plan = Plan { version: Version::V5, connections: 2, window: 100, rate: Some(rate), messages: None };
    Load::start(hub.mqtt(), streams, plan, run)
}

fn assert_kept(hub: &Hub, kafka: &Kafka, outcomes: &[Outcome], title: &str) {
    let scrape = hub.drained(WITHIN);
    let mut delivered = kafka.read("dc-rennes", &[OPEN, SENSITIVE]);
    assert!(delivered.iter().all(|record| !record.key.is_empty()), "order per device needs a key");
    delivered.extend(hub.archive("cloud-confiance"));
    // What was in flight at a kill may be there twice, under one id.
    let repeats_allowed = delivered.len() / 2;
    let evidence =
        Evidence { streams: &STREAMS, outcomes, delivered: &delivered, scrape: &scrape, repeats_allowed };
    judge(&evidence).assert_kept(title);
}

#[test]
fn brokers_that_fall_one_after_the_other_lose_nothing_and_keep_the_order_of_each_device() {
    if !needs::time_enough() {
        return;
    }
    let _machine = needs::exclusive();
    let Some(mut kafka) = needs::kafka_of(THREE) else { return };
    let topics = [OPEN, SENSITIVE];
    kafka.create_topics(&topics, 6);
    kafka.grant();
    let hub = Hub::start(&[("dc-rennes", Outlet::Lines(kafka.outlet(Way::Tls)))]);
    let mut outcomes = Vec::new();
    let delivered = || hub.metrics().sum("octroi_delivered_total", &["target=\"dc-rennes\""]);

    // Leaders that move are followed.
    let first = load(&hub, &STREAMS, 100, 0);
    wait_until("records arrive", WITHIN, || delivered() > 100.0);
    let before = kafka.leaders(SENSITIVE);
    kafka.move_leaders(SENSITIVE);
    wait_until("every leader has moved", WITHIN, || {
        kafka.leaders(SENSITIVE).iter().all(|(partition, leader)| before[partition] != *leader)
    });
    let moved = delivered();
    wait_until("records arrive at the new leaders", WITHIN, || delivered() > moved + 200.0);

    // Two of three down: one replica is too few to acknowledge, so the hub waits.
    kafka.kill_node(1);
    kafka.kill_node(2);
    std::thread::sleep(Duration::from_secs(3));
    let stuck = delivered();
    wait_until("it is shown as down, with the reason", WITHIN, || {
        let (state, reason) = state(&hub, "dc-rennes");
        state == "down" && !reason.is_empty()
    });
    assert_eq!(delivered(), stuck, "nothing is acknowledged by one replica of three");
    kafka.restart();
    outcomes.push(first.stop(WITHIN));
    assert_kept(&hub, &kafka, &outcomes, "leaders moved, then two brokers of three down");

    let (kills, rate) = rolling_kill(&hub, &mut kafka, &topics, &mut outcomes);
    assert_kept(&hub, &kafka, &outcomes, "a rolling kill of three brokers, under load");
    let acknowledged: u64 = outcomes.iter().map(Outcome::acknowledged).sum();
    report::table(
        "rolling kill",
        &[
            ("kills", kills.to_string()),
            ("messages per second while brokers fell", format!("{rate:.0}")),
            ("messages in all", acknowledged.to_string()),
        ],
    );
}

/// Kills the brokers in turn for as long as the bar says, each once the one before is back and in sync.
fn rolling_kill(hub: &Hub, kafka: &mut Kafka, topics: &[&str], outcomes: &mut Vec<Outcome>) -> (usize, f64) {
    let lasts = Duration::from_secs(if needs::long() { 600 } else { 40 });
    let (load, start, mut kills) = (load(hub, &STREAMS, 100, 1), Instant::now(), 0);
    while start.elapsed() < lasts {
        let node = kills % 3;
        kafka.kill_node(node);
        kills += 1;
        std::thread::sleep(Duration::from_secs(3));
        kafka.start_node(node);
        kafka.wait_for_all();
        assert!(kafka.wait_in_sync(topics, WITHIN), "a broker that is back catches up");
    }
    let rate = load.acknowledged() as f64 / start.elapsed().as_secs_f64();
    outcomes.push(load.stop(WITHIN));
    (kills, rate)
}

/// One part of a run: before, during or after the outage.
struct Part {
    acknowledged_per_second: f64,
    /// Of the other target's records, from reception to the consumer.
    p99: Duration,
    records: usize,
    resident: u64,
}

fn part(hub: &mut Hub, load: &Load, follower: &Follower, lasts: Duration) -> Part {
    follower.take();
    let (start, before) = (Instant::now(), load.acknowledged());
    std::thread::sleep(lasts);
    let acknowledged_per_second = (load.acknowledged() - before) as f64 / start.elapsed().as_secs_f64();
    let mut ages = follower.take();
    ages.sort_unstable();
    let p99 = ages.get(ages.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
    Part { acknowledged_per_second, p99, records: ages.len(), resident: hub.process().resident_bytes() }
}

#[test]
fn a_target_behind_a_black_hole_slows_no_other_and_then_gets_everything() {
    if !needs::time_enough() {
        return;
    }
    let _machine = needs::exclusive();
    let Some(kafka) = needs::kafka_of(Shape { nodes: 1, proxied: true }) else { return };
    kafka.create_topics(&[OPEN, SENSITIVE, WASTE], 2);
    kafka.grant();
    let mut hub = Hub::start(&[
        ("dc-rennes", Outlet::Lines(kafka.outlet(Way::Plain))),
        ("dc-bretagne", Outlet::Lines(kafka.outlet(Way::Scram))),
    ]);
    let streams = [policy::COUNTS, policy::PLATES, policy::WASTE];
    let load = load(&hub, &streams, 130, 0);
    wait_until("records arrive at both", WITHIN, || {
        !kafka.read("dc-rennes", &[SENSITIVE]).is_empty() && !kafka.read("dc-bretagne", &[WASTE]).is_empty()
    });
    let follower = kafka.follow(WASTE);
    std::thread::sleep(Duration::from_secs(3));
    let (aside, hole) = if needs::long() { (60, 300) } else { (8, 22) };
    let before = part(&mut hub, &load, &follower, Duration::from_secs(aside));
    kafka.proxies()[0].swallow();
    let passed = kafka.proxies()[0].passed();
    let during = part(&mut hub, &load, &follower, Duration::from_secs(hole));
    let (shown, reason) = state(&hub, "dc-rennes");
    assert_eq!(kafka.proxies()[0].passed(), passed, "nothing came through");
    kafka.proxies()[0].pass();
    assert_eq!(shown, "down", "{reason}");
    assert!(holds_within(WITHIN, || state(&hub, "dc-rennes").0 == "up"), "it goes on by itself");
    std::thread::sleep(Duration::from_secs(2));
    let after = part(&mut hub, &load, &follower, Duration::from_secs(aside));
    drop(follower);

    let outcomes = [load.stop(WITHIN)];
    let scrape = hub.drained(WITHIN);
    let mut delivered = kafka.read("dc-rennes", &[OPEN, SENSITIVE]);
    delivered.extend(kafka.read("dc-bretagne", &[WASTE]));
    delivered.extend(hub.archive("cloud-confiance"));
    let repeats_allowed = delivered.len() / 2;
    let row = |part: &Part| {
        format!(
            "{:.0} acknowledged/s, p99 {} ms over {} records, {} MiB resident",
            part.acknowledged_per_second,
            part.p99.as_millis(),
            part.records,
            part.resident >> 20
        )
    };
    report::table(
        &format!("one target in a black hole for {hole} s: the other, before, during and after"),
        &[("before", row(&before)), ("during", row(&during)), ("after", row(&after))],
    );
    let evidence = Evidence {
        streams: &streams,
        outcomes: &outcomes,
        delivered: &delivered,
        scrape: &scrape,
        repeats_allowed,
    };
    judge(&evidence).assert_kept("a black hole");

    let usual = before.p99.max(after.p99);
    // A fifth more, and what a busy test machine's clock and scheduler add to any figure of milliseconds.
    let bound = usual.mul_f64(1.2) + Duration::from_millis(20);
    assert!(during.p99 <= bound, "the other target's p99: {:?}, usually {usual:?}", during.p99);
    // Publishers are paced: whichever of the two was not catching up is the pace.
    let pace = before.acknowledged_per_second.min(after.acknowledged_per_second);
    let rate = during.acknowledged_per_second;
    assert!(rate > pace * 0.95, "ingest went from {pace} to {rate} a second");
    let grown = during.resident.saturating_sub(before.resident) >> 20;
    assert!(grown < 64 + 32, "memory grew by {grown} MiB: more than the client's own queue");
}
