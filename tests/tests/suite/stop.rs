//! SIGTERM.

use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Version};
use octroi_tests::oracle::judge_archives;
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy, report};

#[test]
fn a_stop_drains_within_thirty_seconds_and_nothing_waits_on_disk() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    let plan = Plan { version: Version::V5, connections: 2, window: 40, rate: None, messages: Some(1000) };
    let outcome = Load::start(hub.mqtt(), &policy::ALL, plan, 0).finish(Duration::from_secs(60));
    assert_eq!(outcome.acknowledged(), 8000);
    let (status, took) = hub.terminate();
    assert_eq!(status.code(), Some(0), "{}", hub.log());
    assert!(took <= Duration::from_secs(30), "stopped after {took:?}");
    report::table(
        "SIGTERM after the last ack",
        &[("stopped within", format!("{:.2} s", took.as_secs_f32()))],
    );
    let found = hub.archives().len();
    let due: usize = outcome.messages().map(|sent| policy::ALL[sent.stream].reaches.len()).sum();
    assert_eq!(found, due, "with the hub gone, the targets hold everything");
}

#[test]
fn a_stop_under_load_loses_nothing_and_the_next_start_goes_on() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    let plan = Plan { version: Version::V311, connections: 2, window: 40, rate: Some(1000), messages: None };
    let load = Load::start(hub.mqtt(), &policy::ALL, plan, 0);
    for _ in 0..3 {
        let before = load.acknowledged();
        wait_until("more is acknowledged", Duration::from_secs(30), || load.acknowledged() > before + 2000);
        let (status, took) = hub.terminate();
        assert!(status.code() == Some(0) && took <= Duration::from_secs(30), "{status} after {took:?}");
        hub.run();
    }
    let outcomes = [load.stop(Duration::from_secs(60))];
    judge_archives(&hub, &policy::ALL, &outcomes, Duration::from_secs(60))
        .assert_kept("SIGTERM under load, three times");
}

#[test]
fn a_second_hub_on_the_same_data_exits_75_and_leaves_the_first_alone() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let mut other = Hub::prepared(&[], "");
    let text = std::fs::read_to_string(other.configuration()).unwrap();
    let own = other.data().display().to_string();
    std::fs::write(other.configuration(), text.replace(&own, &hub.data().display().to_string())).unwrap();
    other.spawn();
    wait_until("the second hub ends", Duration::from_secs(20), || other.process().ended().is_some());
    assert_eq!(other.process().ended().unwrap().code(), Some(75), "{}", other.log());
    assert_eq!(hub.get("/health/ready").unwrap().0, 200);
}
