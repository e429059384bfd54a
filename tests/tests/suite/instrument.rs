//! The load client against a broker that we did not write, before the hub is
//! judged by it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use octroi_tests::load::{Load, Plan, Stream, Version, find_id};
use octroi_tests::process::{Process, free_port, holds_within, wait_until};
use octroi_tests::{needs, policy};

const STREAM: Stream = Stream { topic: "t/%N%", ..policy::COUNTS };

/// Mosquitto on loopback, with its data on disk so that a kill loses nothing that it synced.
fn mosquitto(program: &Path, directory: &Path, port: u16) -> Process {
    let configuration = directory.join("mosquitto.conf");
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n");
    fs::write(&configuration, text).unwrap();
    let arguments = ["-c".to_owned(), configuration.display().to_string()];
    let broker = Process::start(program, &arguments, directory, &directory.join("log")).unwrap();
    wait_until("mosquitto listens", Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    broker
}

#[test]
fn what_the_load_client_says_was_published_is_what_an_independent_broker_delivers() {
    let _machine = needs::exclusive();
    let Some(program) = needs::tool("mosquitto", "mosquitto") else { return };
    let Some(subscriber) = needs::tool("mosquitto_sub", "mosquitto-clients") else { return };
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let _broker = mosquitto(&program, directory.path(), port);
    for (run, version) in [(0, Version::V311), (1, Version::V5)] {
        let out = directory.path().join(format!("received-{run}"));
        let file = fs::File::create(&out).unwrap();
        let mut command = Command::new(&subscriber);
        command.args(["-p", &port.to_string(), "-q", "1", "-t", "t/#", "-C", "2000", "-W", "20"]);
        let mut child = command.stdout(file).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300)); // its SUBSCRIBE
        let plan = Plan { version, connections: 4, window: 20, rate: None, messages: Some(500) };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let outcome = Load::start(address, &[STREAM], plan, run).finish(Duration::from_secs(20));
        assert_eq!((outcome.acknowledged(), outcome.disordered_acks, outcome.reconnects), (2000, 0, 0));
        assert!(child.wait().unwrap().success());
        let received = fs::read_to_string(&out).unwrap();
        let mut received: Vec<_> = received.lines().filter_map(|line| find_id(line.as_bytes())).collect();
        received.sort_unstable();
        let mut published: Vec<_> = outcome.messages().map(|sent| sent.id).collect();
        published.sort_unstable();
        assert_eq!(received, published);
    }
}

#[test]
fn a_publisher_whose_broker_dies_sends_again_what_was_not_acknowledged() {
    let _machine = needs::exclusive();
    let Some(program) = needs::tool("mosquitto", "mosquitto") else { return };
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut broker = mosquitto(&program, directory.path(), port);
    let plan = Plan { version: Version::V311, connections: 2, window: 20, rate: None, messages: None };
    let load = Load::start(SocketAddr::from(([127, 0, 0, 1], port)), &[STREAM], plan, 0);
    wait_until("a thousand are acknowledged", Duration::from_secs(20), || load.acknowledged() > 1000);
    broker.signal("STOP"); // it now holds unanswered messages
    let before = load.acknowledged();
    assert!(!holds_within(Duration::from_millis(300), || load.acknowledged() > before + 40));
    broker.kill();
    let _again = mosquitto(&program, directory.path(), port);
    wait_until("the load goes on", Duration::from_secs(20), || load.acknowledged() > before + 1000);
    let outcome = load.stop(Duration::from_secs(20));
    assert!(outcome.messages().all(|sent| sent.acknowledged), "nothing published is given up");
    assert!(
        outcome.messages().any(|sent| sent.attempts > 1) && outcome.reconnects >= 2,
        "{}",
        outcome.reconnects
    );
}
