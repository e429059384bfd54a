//! `octroi bench` against the hub: every QoS, topics from a file and from the
//! policy, TLS with a certificate. What it says it did, the hub has seen.

use std::fs;
use std::time::Duration;

use octroi_tests::hub::{Hub, cli_command};
use octroi_tests::policy;
use octroi_tests::process::{Finished, free_port, run};
use serde_json::Value;

const SENSOR: &str = "mobilite.rennes.example";

/// What it answers in JSON; it must succeed unless `refusals` are expected.
#[track_caller]
fn bench(address: &str, arguments: &[&str]) -> Value {
    let shared =
        ["bench", "--output", "json", "--connections", "3", "--messages", "300", "--broker", address];
    let done = octroi(&[&shared, arguments].concat());
    serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

fn octroi(arguments: &[&str]) -> Finished {
    run(&mut cli_command(arguments), Duration::from_secs(60)).expect("it runs")
}

fn count(answer: &Value, what: &str) -> u64 {
    answer[what].as_u64().unwrap_or_else(|| panic!("no `{what}` in {answer}"))
}

#[test]
fn what_a_load_says_was_accepted_the_hub_has_at_every_qos() {
    let hub = Hub::start(&[]);
    let topics = hub.path("topics");
    let lines: Vec<String> = (0..10).map(|n| format!("ville/mobilite/cam-{n}/count")).collect();
    fs::write(&topics, format!("# ten cameras\n\n{}\n", lines.join("\n"))).unwrap();
    let (address, topics) = (hub.mqtt().to_string(), topics.display().to_string());
    for (qos, version) in [("0", None), ("1", None), ("2", None), ("1", Some("--v5")), ("2", Some("--v5"))] {
        let arguments = ["--qos", qos, "--topics", &topics].into_iter().chain(version).collect::<Vec<_>>();
        let answer = bench(&address, &arguments);
        assert_eq!((count(&answer, "accepted"), count(&answer, "refused")), (300, 0), "QoS {qos}");
        let latency = answer["ack_us"]["p99"].as_u64().unwrap();
        assert_eq!(latency > 0, qos != "0", "an answer takes time, where there is one: {answer}");
        assert!(answer["cpu_seconds"].as_f64().unwrap() > 0.0);
    }
    let seen = hub.drained(Duration::from_secs(30));
    assert_eq!(seen.sum("octroi_received_messages_total", &[]) as u64, 1_500);
    let mut topics: Vec<String> = hub.archive("dc-rennes").into_iter().map(|one| one.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    assert_eq!(topics, lines, "each of the file's topics, and no other");
}

#[test]
fn a_load_speaks_as_the_sources_of_a_policy() {
    let hub = Hub::start(&[]);
    let answer = bench(&hub.mqtt().to_string(), &["--policy", &hub.policy().display().to_string()]);
    assert_eq!(count(&answer, "accepted") + count(&answer, "refused"), 300, "{answer}");
    assert_eq!(hub.drained(Duration::from_secs(30)).sum("octroi_received_messages_total", &[]) as u64, 300);
}

#[test]
fn a_load_comes_over_tls_with_its_certificate_and_not_without() {
    let port = free_port();
    let mut hub = Hub::prepared(
        &[],
        &format!(
            "[[listener]]\nbind = \"127.0.0.1:{port}\"\nidentify_by = \"certificate\"\n\
             tls = {{ certificate = \"file:pki/server.pem\", key = \"file:pki/server.key\", \
             client_ca = \"file:pki/ca.pem\", crl = \"file:pki/ca.crl\" }}\n"
        ),
    );
    policy::edit(&hub.policy(), "\"user:ville-mobilite\"", &format!("\"cert:CN={SENSOR}\""));
    let pki = hub.path("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    for verb in [&["tls", "init", &file("")][..], &["tls", "issue", SENSOR, "--dir", &file("")]] {
        let done = octroi(verb);
        assert_eq!(done.code, 0, "{done:?}");
    }
    hub.run();
    let address = format!("127.0.0.1:{port}");
    let (ca, certificate, key) =
        (file("ca.pem"), file(&format!("clients/{SENSOR}.pem")), file(&format!("clients/{SENSOR}.key")));
    let answer = bench(&address, &["--tls-ca", &ca, "--tls-cert", &certificate, "--tls-key", &key]);
    assert_eq!((count(&answer, "accepted"), answer["tls"].as_bool()), (300, Some(true)));
    assert_eq!(hub.drained(Duration::from_secs(30)).sum("octroi_received_messages_total", &[]) as u64, 300);
    let without = octroi(&["bench", "--messages", "1", "--broker", &address, "--tls-ca", &ca]);
    assert_ne!(without.code, 0, "{without:?}");
}
