//! QoS 2 under `kill -9`: every acknowledged message is there, and none twice.

use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Qos, Version};
use octroi_tests::oracle::judge_archives;
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy, report};

/// Twenty clients of both versions, on the four streams.
const LOADS: [(Version, usize); 2] = [(Version::V311, 3), (Version::V5, 2)];

fn rounds(count: u32) {
    let mut hub = Hub::start(&[]);
    let loads: Vec<Load> = (0..)
        .zip(LOADS)
        .map(|(run, (version, connections))| {
            let plan = Plan { version, connections, window: 20, rate: Some(100), messages: None };
            Load::start_at(Qos::ExactlyOnce, hub.mqtt(), &policy::ALL, plan, run)
        })
        .collect();
    let acknowledged = || loads.iter().map(Load::acknowledged).sum::<u64>();
    for round in 0..count {
        // Kills fall at once after the first acks, and well under way.
        let more = [1, 40, 300, 1500][round as usize % 4];
        let before = acknowledged();
        wait_until("more is acknowledged", Duration::from_secs(60), || acknowledged() >= before + more);
        hub.kill();
        hub.run();
    }
    let outcomes: Vec<_> = loads.into_iter().map(|load| load.stop(Duration::from_secs(60))).collect();
    let verdict = judge_archives(&hub, &policy::ALL, &outcomes, Duration::from_secs(120));
    let sum = |of: fn(&octroi_tests::load::Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    report::table(
        "kill -9 at QoS 2",
        &[
            ("kills", count.to_string()),
            ("clients", "20".to_owned()),
            ("reconnects", sum(|outcome| outcome.reconnects).to_string()),
            ("sessions that the hub had lost", sum(|outcome| outcome.sessions_lost).to_string()),
            ("answers out of order", sum(|outcome| outcome.disordered_acks).to_string()),
        ],
    );
    verdict.assert_kept("kill -9 under a QoS 2 load");
    assert_eq!(sum(|outcome| outcome.sessions_lost), 0, "Session Present is answered truly");
    assert_eq!(sum(|outcome| outcome.disordered_acks), 0, "[MQTT-4.6.0-3, -4]");
    assert!(verdict.acknowledged > u64::from(count) * 100, "the load was a load: {}", verdict.acknowledged);
}

#[test]
fn no_kill_loses_an_acknowledged_qos_2_message_or_makes_two_of_one() {
    let _machine = needs::exclusive();
    rounds(if needs::long() { 50 } else { 5 });
}
