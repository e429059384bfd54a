//! Three brokers that fall, and one target behind a black hole: the bars that a
//! hub with real Kafka targets is held to. `OCTROI_LONG=1` runs them as long as
//! they are stated (ten minutes, five minutes); else a short form.

use std::time::{Duration, Instant};

use octroi_tests::hub::{Hub, Outlet};
use octroi_tests::kafka::{Follower, Kafka, Shape, THREE, Way};
use octroi_tests::load::{Load, Outcome, Plan, Stream, Version};
use octroi_tests::oracle::{Evidence, judge};
use octroi_tests::process::wait_until;
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

fn delivered(hub: &Hub, target: &str) -> f64 {
    hub.metrics().sum("octroi_delivered_total", &[&format!("target=\"{target}\"")])
}

/// Waits until so many more records than now are delivered.
#[track_caller]
fn wait_for_more(hub: &Hub, target: &str, records: f64) {
    let before = delivered(hub, target);
    wait_until("more records arrive", WITHIN, || delivered(hub, target) > before + records);
}

#[test]
fn brokers_that_fall_one_after_the_other_lose_nothing_and_keep_the_order_of_each_device() {
    let _machine = needs::exclusive();
    let Some(mut kafka) = needs::kafka_of(THREE) else { return };
    let topics = [OPEN, SENSITIVE];
    kafka.open_topics(&topics, 6);
    let hub = Hub::start(&[("dc-rennes", Outlet::Lines(kafka.outlet(Way::Tls)))]);
    let mut outcomes = Vec::new();

    // Leaders that move are followed.
    let first = load(&hub, &STREAMS, 100, 0);
    wait_for_more(&hub, "dc-rennes", 100.0);
    let before = kafka.leaders(SENSITIVE);
    kafka.move_leaders(SENSITIVE);
    wait_until("every leader has moved", WITHIN, || {
        kafka.leaders(SENSITIVE).iter().all(|(partition, leader)| before[partition] != *leader)
    });
    wait_for_more(&hub, "dc-rennes", 200.0);

    // Two of three down: one replica is too few to acknowledge, so the hub waits.
    kafka.kill_node(1);
    kafka.kill_node(2);
    let mut stuck = delivered(&hub, "dc-rennes");
    wait_until("nothing more is acknowledged", WITHIN, || {
        let before = std::mem::replace(&mut stuck, delivered(&hub, "dc-rennes"));
        before == stuck
    });
    wait_until("it is shown as down, with the reason", WITHIN, || {
        let (state, reason) = state(&hub, "dc-rennes");
        state == "down" && !reason.is_empty()
    });
    assert_eq!(delivered(&hub, "dc-rennes"), stuck, "nothing is acknowledged by one replica of three");
    kafka.restart();
    wait_for_more(&hub, "dc-rennes", 200.0);
    outcomes.push(first.stop(WITHIN));
    assert_kept(&hub, &kafka, &outcomes, "leaders moved, then two brokers of three down");

    rolling_kill(&hub, &mut kafka, &topics, &mut outcomes);
    assert_kept(&hub, &kafka, &outcomes, "a rolling kill of three brokers, under load");
}

/// Kills the brokers in turn, each once the one before is back and in sync: each once, or for as long as the
/// bar says.
fn rolling_kill(hub: &Hub, kafka: &mut Kafka, topics: &[&str], outcomes: &mut Vec<Outcome>) {
    let lasts = Duration::from_secs(if needs::long() { 600 } else { 0 });
    let (load, start, mut kills) = (load(hub, &STREAMS, 100, 1), Instant::now(), 0);
    while kills < 3 || start.elapsed() < lasts {
        let node = kills % 3;
        kafka.kill_node(node);
        kills += 1;
        wait_until("the others lead what it led", WITHIN, || {
            topics.iter().all(|topic| kafka.leaders(topic).values().all(|leader| *leader != node + 1))
        });
        wait_for_more(hub, "dc-rennes", 100.0);
        kafka.start_node(node);
        kafka.wait_for_all();
        kafka.wait_in_sync(topics, WITHIN);
    }
    let (acknowledged, lasted) = (load.acknowledged(), start.elapsed());
    outcomes.push(load.stop(WITHIN));
    report::table(
        "rolling kill",
        &[
            ("brokers fell for", format!("{:.0} s", lasted.as_secs_f64())),
            ("kills", kills.to_string()),
            ("acknowledged meanwhile", acknowledged.to_string()),
            ("of these a second", format!("{:.0}", acknowledged as f64 / lasted.as_secs_f64())),
        ],
    );
}

/// What was seen in a few seconds of a run.
struct Window {
    acknowledged_per_second: f64,
    /// Of the other target's records, from reception to the consumer.
    p99: Duration,
    /// Of these.
    records: usize,
    resident: u64,
}

/// A part of a run, before, during or after the outage: so many windows of so many seconds.
fn watch(hub: &mut Hub, load: &Load, follower: &Follower, (windows, seconds): (usize, u64)) -> Vec<Window> {
    follower.take();
    let window = |_| {
        let (start, before) = (Instant::now(), load.acknowledged());
        std::thread::sleep(Duration::from_secs(seconds));
        let acknowledged_per_second = (load.acknowledged() - before) as f64 / start.elapsed().as_secs_f64();
        let mut ages = follower.take();
        ages.sort_unstable();
        let p99 = ages.get(ages.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
        Window { acknowledged_per_second, p99, records: ages.len(), resident: hub.process().resident_bytes() }
    };
    (0..windows).map(window).collect()
}

/// The least, the middle and the greatest.
fn spread(part: &[Window], of: impl Fn(&Window) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = part.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn acknowledged(part: &[Window]) -> [f64; 3] {
    spread(part, |window| window.acknowledged_per_second)
}

fn p99(part: &[Window]) -> [f64; 3] {
    spread(part, |window| window.p99.as_secs_f64() * 1e3)
}

/// MiB.
fn resident(part: &[Window]) -> [f64; 3] {
    spread(part, |window| window.resident as f64 / f64::from(1 << 20))
}

#[test]
fn a_target_behind_a_black_hole_slows_no_other_and_then_gets_everything() {
    let _machine = needs::exclusive();
    let Some(kafka) = needs::kafka_of(Shape { nodes: 1, proxied: true }) else { return };
    kafka.open_topics(&[OPEN, SENSITIVE, WASTE], 2);
    let mut hub = Hub::start(&[
        ("dc-rennes", Outlet::Lines(kafka.outlet(Way::Plain))),
        ("dc-bretagne", Outlet::Lines(kafka.outlet(Way::Scram))),
    ]);
    let streams = [policy::COUNTS, policy::PLATES, policy::WASTE];
    let load = load(&hub, &streams, 130, 0);
    wait_for_more(&hub, "dc-rennes", 500.0);
    wait_for_more(&hub, "dc-bretagne", 500.0);
    let follower = kafka.follow(WASTE);
    wait_until("the consumer reads along", WITHIN, || !follower.take().is_empty());

    let (aside, hole) = if needs::long() { ((6, 10), (30, 10)) } else { ((3, 3), (5, 4)) };
    let before = watch(&mut hub, &load, &follower, aside);
    kafka.proxies()[0].swallow();
    let passed = kafka.proxies()[0].passed();
    let during = watch(&mut hub, &load, &follower, hole);
    wait_until("it is shown as down", WITHIN, || state(&hub, "dc-rennes").0 == "down");
    assert_eq!(kafka.proxies()[0].passed(), passed, "nothing came through");
    kafka.proxies()[0].pass();
    wait_until("it goes on by itself", WITHIN, || state(&hub, "dc-rennes").0 == "up");
    let waiting = || hub.metrics().sum("octroi_outlet_pending", &["target=\"dc-rennes\""]);
    wait_until("it has caught up", WITHIN, || waiting() < 2_000.0);
    let after = watch(&mut hub, &load, &follower, aside);
    drop(follower);

    let row = |part: &[Window]| {
        let [[slow, rate, fast], [best, middle, worst], [least, _, most]] =
            [acknowledged(part), p99(part), resident(part)];
        format!(
            "{} windows: {rate:.0} acknowledged/s ({slow:.0} to {fast:.0}), p99 {middle:.1} ms ({best:.1} to \
             {worst:.1}) over {} records, {least:.0} to {most:.0} MiB resident",
            part.len(),
            part.iter().map(|window| window.records).sum::<usize>()
        )
    };
    let seconds = hole.0 as u64 * hole.1;
    report::table(
        &format!("one target in a black hole for {seconds} s: the other, before, during and after"),
        &[("before", row(&before)), ("during", row(&during)), ("after", row(&after))],
    );
    black_hole_is_kept(&hub, &kafka, &streams, load.stop(WITHIN));
    black_hole_slows_no_other([&before, &during, &after]);
}

fn black_hole_is_kept(hub: &Hub, kafka: &Kafka, streams: &[Stream], outcome: Outcome) {
    let scrape = hub.drained(WITHIN);
    let mut delivered = kafka.read("dc-rennes", &[OPEN, SENSITIVE]);
    delivered.extend(kafka.read("dc-bretagne", &[WASTE]));
    delivered.extend(hub.archive("cloud-confiance"));
    let (repeats_allowed, outcomes) = (delivered.len() / 2, [outcome]);
    let (outcomes, delivered, scrape) = (outcomes.as_slice(), delivered.as_slice(), &scrape);
    judge(&Evidence { streams, outcomes, delivered, scrape, repeats_allowed }).assert_kept("a black hole");
}

/// The bar, on the middle of many windows; in the short form only what a busy machine cannot blur.
fn black_hole_slows_no_other([before, during, after]: [&[Window]; 3]) {
    let middle = |[_, middle, _]: [f64; 3]| middle;
    // Publishers are paced. Whatever the machine did to the parts beside the outage it may do in it.
    let pace = middle(acknowledged(before)).min(middle(acknowledged(after)));
    let usual = middle(p99(before)).max(middle(p99(after)));
    let (rate, late) = (middle(acknowledged(during)), middle(p99(during)));
    let (rates, lates) = (rate / pace, late / usual);
    println!("  during, to what is usual: ingest {rates:.2}, the other target's p99 {lates:.2}");
    let grown = resident(during)[2] - resident(before)[2];
    assert!(grown < 64.0 + 32.0, "memory grew by {grown:.0} MiB: more than the client's own queue");
    let (least_rate, most_late) = if needs::long() { (0.95, 1.2) } else { (0.5, f64::INFINITY) };
    assert!(rates > least_rate, "ingest went from {pace:.0} to {rate:.0} a second");
    assert!(lates < most_late, "the other target's p99 went from {usual:.1} to {late:.1} ms");
    assert!(during.iter().all(|window| window.records > 0), "the other target went on receiving");
}
