//! Clients that we did not write: mosquitto's, in 3.1.1 and 5; and MQTT over
//! tungstenite's WebSocket.

use std::process::Command;
use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::wire;
use octroi_tests::load::{Qos, Version};
use octroi_tests::process::{Finished, free_port, run};
use octroi_tests::{needs, policy};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

const VERSIONS: [&str; 2] = ["mqttv311", "mqttv5"];

fn client(program: &str, hub: &Hub, version: &str, arguments: &[&str]) -> Option<Finished> {
    let mut command = Command::new(needs::tool(program, "mosquitto-clients")?);
    command.args(["-h", "127.0.0.1", "-p", &hub.mqtt().port().to_string(), "-V", version]).args(arguments);
    Some(run(&mut command, Duration::from_secs(20)).unwrap())
}

#[test]
fn mosquitto_pub_delivers_in_both_versions_at_each_qos() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let mut published = Vec::new();
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let id = 770_000_000_000_000 + published.len() as u64;
            let payload = policy::COUNTS.payload.replace("%ID%", &id.to_string()).replace("%N%", "7");
            let topic = "ville/mobilite/compteur-7/count";
            let publish = ["-u", "ville-mobilite", "-q", qos, "-t", topic, "-m", &payload];
            let Some(finished) = client("mosquitto_pub", &hub, version, &publish) else { return };
            assert_eq!(finished.code, 0, "{version} QoS {qos}: {}", finished.err);
            published.push(id);
        }
    }
    hub.drained(Duration::from_secs(30));
    for target in ["dc-rennes", "cloud-confiance"] {
        let mut found: Vec<_> = hub.archive(target).iter().filter_map(|record| record.message()).collect();
        found.sort_unstable();
        assert_eq!(found, published, "on `{target}`");
    }
}

#[test]
fn a_subscription_is_refused() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    for version in VERSIONS {
        let subscribe = ["-u", "ville-mobilite", "-t", "ville/#", "-W", "3"];
        let Some(finished) = client("mosquitto_sub", &hub, version, &subscribe) else { return };
        let said = format!("{}{}", finished.out, finished.err);
        assert!(said.contains("denied"), "{version}: mosquitto_sub said `{said}` (code {})", finished.code);
    }
}

#[test]
fn an_unknown_user_or_none_is_refused_at_the_door() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let before = hub.metrics();
    for version in VERSIONS {
        for user in [&["-u", "rennes"][..], &["-u", "VILLE-MOBILITE"], &["-u", "dc-rennes"], &[]] {
            let publish =
                [user, &["-q", "1", "-t", "ville/mobilite/c/count", "-m", "{\"count\":1}"]].concat();
            let Some(finished) = client("mosquitto_pub", &hub, version, &publish) else { return };
            let said = finished.err.to_lowercase();
            assert!(
                finished.code != 0
                    && (["refused", "not auth", "bad user name"].iter().any(|word| said.contains(word))),
                "{user:?}: {said}"
            );
        }
    }
    let after = hub.metrics();
    let received = |scrape: &octroi_tests::metrics::Scrape| scrape.sum("octroi_received_messages_total", &[]);
    assert_eq!(received(&after), received(&before));
    assert!(after.sum("octroi_rejected_total", &[]) >= before.sum("octroi_rejected_total", &[]) + 8.0);
}

#[test]
fn a_client_publishes_over_websocket_with_its_packets_cut_over_messages() {
    let _machine = needs::exclusive();
    let port = free_port();
    let listener = format!(
        "[[listener]]\nbind = \"127.0.0.1:{port}\"\nidentify_by = \"username-only\"\ntransport = \"websocket\"\n"
    );
    let mut hub = Hub::prepared(&[], &listener);
    hub.run();
    let address = format!("ws://127.0.0.1:{port}/mqtt");
    let mut request = address.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
    let (mut socket, response) = tungstenite::connect(request).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");

    let id = 770_000_000_000_000_u64;
    let payload = policy::COUNTS.payload.replace("%ID%", &id.to_string()).replace("%N%", "7");
    let mut bytes = wire::connect(Version::V5, "ws", "ville-mobilite");
    let topic = "ville/mobilite/compteur-7/count";
    wire::publish((Version::V5, Qos::ExactlyOnce), 7, false, topic, payload.as_bytes(), &mut bytes);
    for piece in bytes.chunks(9) {
        socket.send(Message::binary(piece.to_vec())).unwrap();
    }
    let mut read = Vec::new();
    while !read.ends_with(&[0x50, 2, 0, 7]) {
        read.extend(socket.read().unwrap().into_data());
    }
    assert_eq!((read[0], read[3]), (0x20, 0), "a CONNACK first: {read:02x?}");
    let mut release = Vec::new();
    wire::pubrel(7, &mut release);
    socket.send(Message::binary(release)).unwrap();
    assert_eq!(socket.read().unwrap().into_data().as_ref(), [0x70, 2, 0, 7]);
    socket.close(None).unwrap();
    hub.drained(Duration::from_secs(30));
    let found: Vec<_> = hub.archive("dc-rennes").iter().filter_map(|record| record.message()).collect();
    assert_eq!(found, [id]);
}
