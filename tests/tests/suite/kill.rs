//! `kill -9` under load: what was acknowledged is still there.

use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Version};
use octroi_tests::oracle::judge_archives;
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy, report};

/// Bumps the last number of the version in the policy's directory.
pub(crate) fn next_version(hub: &Hub) -> String {
    let version = policy::version(&hub.policy());
    let (head, last) = version.rsplit_once('.').unwrap();
    let next = format!("{head}.{}", last.parse::<u32>().unwrap() + 1);
    policy::edit(&hub.policy(), &format!("version = \"{version}\""), &format!("version = \"{next}\""));
    next
}

/// The same, and activates it.
pub(crate) fn activate_next(hub: &Hub) -> String {
    let next = next_version(hub);
    let finished = hub.activate();
    assert_eq!(finished.code, 0, "activate: {}{}", finished.out, finished.err);
    next
}

/// Rounds of load, kill and restart; returns through the oracle.
fn rounds(count: u32, versions: &[Version]) {
    let mut hub = Hub::start(&[]);
    let loads: Vec<Load> = versions
        .iter()
        .enumerate()
        .map(|(run, &version)| {
            let plan = Plan { version, connections: 2, window: 40, rate: Some(500), messages: None };
            Load::start(hub.mqtt(), &policy::ALL, plan, run as u64)
        })
        .collect();
    let acknowledged = || loads.iter().map(Load::acknowledged).sum::<u64>();
    let mut in_force = policy::version(&hub.policy());
    let mut slowest = Duration::ZERO;
    for round in 0..count {
        // Kills fall at different ages of the process: at once after the first acks, and well under way.
        let more = [1, 50, 700, 2500][round as usize % 4];
        let before = acknowledged();
        wait_until("more is acknowledged", Duration::from_secs(60), || acknowledged() >= before + more);
        if round == count / 3 || round == 2 * count / 3 {
            in_force = activate_next(&hub);
        }
        hub.kill();
        slowest = slowest.max(hub.run());
        assert_eq!(hub.policy_in_force(), in_force, "after kill {round}");
    }
    let outcomes: Vec<_> = loads.into_iter().map(|load| load.stop(Duration::from_secs(60))).collect();
    let verdict = judge_archives(&hub, &policy::ALL, &outcomes, Duration::from_secs(120));
    report::table(
        "kill -9",
        &[
            ("kills", count.to_string()),
            ("slowest start to ready", format!("{:.2} s", slowest.as_secs_f32())),
            ("reconnects", outcomes.iter().map(|outcome| outcome.reconnects).sum::<u64>().to_string()),
        ],
    );
    verdict.assert_kept("kill -9 under a QoS 1 load");
    assert!(verdict.acknowledged > u64::from(count) * 100, "the load was a load: {}", verdict.acknowledged);
}

#[test]
fn nothing_acknowledged_is_lost_by_ten_kills_with_two_activations_among_them() {
    let _machine = needs::exclusive();
    let count = if needs::long() { 100 } else { 10 };
    rounds(count, &[Version::V311, Version::V5]);
}
