//! The suite's own Kafka, tested before anything is blamed on the hub.

use std::io::Write;
use std::process::{Command, Stdio};

use octroi_tests::{needs, report};

fn produce(broker: &str, topic: &str, key: &str, value: &str) {
    let mut command = Command::new("kcat");
    command.args(["-P", "-b", broker, "-t", topic, "-K", "|", "-H", "ce_id=h/g/1", "-H", "ce_level=open"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{key}|{value}").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_broker_keeps_its_records_over_a_stop_a_kill_and_their_restarts() {
    let _machine = needs::exclusive();
    let start = std::time::Instant::now();
    let Some(mut kafka) = needs::kafka() else { return };
    let started = start.elapsed();
    kafka.create_topics(&["t.one", "t.two"], 3);
    produce(&kafka.address(), "t.one", "a", "{\"n\":770000000000001}");
    let stopped = kafka.stop();
    let restarted = kafka.restart();
    produce(&kafka.address(), "t.one", "b", "{\"n\":770000000000002}");
    produce(&kafka.address(), "t.two", "a", "{\"n\":770000000000003}");
    kafka.kill();
    let recovered = kafka.restart();
    let mut read = kafka.read("dc", &["t.one", "t.two"]);
    read.sort_by_key(|record| record.message());
    let seen: Vec<_> = read.iter().map(|r| (r.place.as_str(), r.key.as_str(), r.id.as_str())).collect();
    assert_eq!(seen, [("t.one", "a", "h/g/1"), ("t.one", "b", "h/g/1"), ("t.two", "a", "h/g/1")]);
    assert!(read.iter().all(|record| record.level == "open" && record.target == "dc"));
    report::table(
        "Apache Kafka 4.3.1, one KRaft node",
        &[
            ("obtained, formatted, started", format!("{:.1} s", started.as_secs_f32())),
            ("stopped by SIGTERM", format!("{:.1} s", stopped.as_secs_f32())),
            ("started again", format!("{:.1} s", restarted.as_secs_f32())),
            ("started after SIGKILL", format!("{:.1} s", recovered.as_secs_f32())),
        ],
    );
}
