//! Existing brokers in front of the hub: it subscribes there, and what the
//! broker acknowledged to its publishers is on the targets, whoever is killed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::kafka::pki::{Identity, Pki, Validity};
use octroi_tests::load::{self, Load, Outcome, Plan, Version};
use octroi_tests::mosquitto::Mosquitto;
use octroi_tests::oracle::judge_arrived;
use octroi_tests::process::{free_port, holds_within, run, wait_until};
use octroi_tests::{needs, policy};

/// The sources whose messages come by a broker, as one broker each: filter, version.
const BROKERS: [(&str, &str, &str); 3] = [
    ("ville-mobilite", "ville/#", "5"),
    ("redon-lora", "application/#", "3.1.1"),
    ("telereleve-56", "v3/#", "5"),
];

/// A hub of that name whose sources are behind `broker`, not started. `share`: before each filter.
fn behind(broker: &Mosquitto, name: &str, share: &str) -> Hub {
    let port = broker.address().port();
    let sections = BROKERS.map(|(source, filter, version)| {
        format!(
            "[broker.{source}]\nurl = \"mqtt://127.0.0.1:{port}\"\nversion = \"{version}\"\n\
             client_id = \"{name}-{source}\"\nsubscriptions = [\"{share}{filter}\"]\n"
        )
    });
    let hub = Hub::prepared(&[], &sections.concat());
    for (source, ..) in BROKERS {
        let from = format!("identity = \"user:{source}\"");
        policy::edit(&hub.policy(), &from, &from.replace("user:", "broker:"));
    }
    hub
}

#[track_caller]
fn subscribed(hub: &Hub) {
    wait_until("the hub is subscribed", Duration::from_secs(60), || {
        hub.metrics().sum("octroi_broker_up", &[]) == BROKERS.len() as f64
    });
}

const ARRIVES_WITHIN: Duration = Duration::from_secs(90);

fn loads(broker: &Mosquitto, rate: u32) -> Vec<Load> {
    let start = |(run, version)| {
        let plan = Plan { version, connections: 1, window: 40, rate: Some(rate), messages: None };
        Load::start(broker.address(), &policy::ALL, plan, run)
    };
    [(0, Version::V311), (1, Version::V5)].into_iter().map(start).collect()
}

fn stop(loads: Vec<Load>) -> Vec<Outcome> {
    loads.into_iter().map(|load| load.stop(Duration::from_secs(60))).collect()
}

#[track_caller]
fn more_acknowledged(loads: &[Load], more: u64) {
    let acknowledged = || loads.iter().map(Load::acknowledged).sum::<u64>();
    let before = acknowledged();
    wait_until("the broker acknowledges more", Duration::from_secs(60), || acknowledged() >= before + more);
}

#[test]
fn two_hubs_share_a_broker_and_nothing_that_it_acknowledged_is_lost_when_one_is_killed() {
    let _machine = needs::exclusive();
    let Some(mut broker) = Mosquitto::prepared() else { return };
    broker.start("");
    let mut hubs = ["a", "b"].map(|name| behind(&broker, name, "$share/octroi/"));
    for hub in &mut hubs {
        hub.run();
        subscribed(hub);
    }
    let loads = loads(&broker, 60);
    let rounds = if needs::long() { 20 } else { 4 };
    for round in 0..rounds {
        more_acknowledged(&loads, [1, 40, 300, 700][round % 4]);
        let killed = &mut hubs[round % 2];
        killed.kill();
        // The other goes on meanwhile; what the broker had given to this one waits there for it.
        more_acknowledged(&loads, 200);
        killed.run();
    }
    let outcomes = stop(loads);
    let verdict = judge_arrived(&[&hubs[0], &hubs[1]], &policy::ALL, &outcomes, ARRIVES_WITHIN);
    let shares = hubs.each_ref().map(|hub| hub.archives().len().to_string());
    assert!(shares.iter().all(|share| share != "0"), "both hubs had their part: {shares:?}");
    let [a, b] = shares;
    let figures =
        [("kills", rounds.to_string()), ("records of the first hub", a), ("records of the second", b)];
    verdict.assert_arrived("two hubs behind one mosquitto with $share, one killed at a time", &figures);
}

#[test]
fn a_broker_that_stops_and_starts_loses_nothing_nor_does_the_hub_that_is_killed_behind_it() {
    let _machine = needs::exclusive();
    let Some(mut broker) = Mosquitto::prepared() else { return };
    broker.start("");
    let mut hub = behind(&broker, "alone", "");
    hub.run();
    subscribed(&hub);
    let loads = loads(&broker, 60);
    let rounds = if needs::long() { 10 } else { 3 };
    for round in 0..rounds {
        more_acknowledged(&loads, 200);
        broker.stop();
        if round % 2 == 1 {
            hub.kill();
            hub.run();
        }
        broker.start("");
        more_acknowledged(&loads, 200);
        hub.kill();
        more_acknowledged(&loads, 100);
        hub.run();
    }
    subscribed(&hub);
    broker.stop();
    broker.start("");
    let outcomes = stop(loads);
    let verdict = judge_arrived(&[&hub], &policy::ALL, &outcomes, ARRIVES_WITHIN);
    let reconnects = hub.metrics().sum("octroi_broker_reconnects_total", &[]);
    assert!(reconnects >= BROKERS.len() as f64, "{reconnects} reconnects after the last start of the broker");
    let figures =
        [("starts of the broker", (rounds + 2).to_string()), ("kills of the hub", rounds.to_string())];
    verdict.assert_arrived("one hub behind mosquitto, both stopped by turns", &figures);
}

/// The one broker of the status of a hub.
fn shown(hub: &Hub) -> (String, String) {
    let status = hub.cli_json(&["status"]);
    let broker = &status["brokers"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&broker["state"]), text(&broker["reason"]["en"]))
}

#[track_caller]
fn comes_to_be(hub: &Hub, state: &str, said: &str) {
    let mut seen = shown(hub);
    holds_within(Duration::from_secs(40), || {
        seen = shown(hub);
        seen.0 == state && seen.1.contains(said)
    });
    assert!(seen.0 == state && seen.1.contains(said), "`{state}`, `{said}` expected: {seen:?}");
}

#[test]
fn a_broker_with_tls_and_a_password_is_read_and_a_wrong_password_is_said_with_its_mend() {
    let _machine = needs::exclusive();
    let Some(mut broker) = Mosquitto::prepared() else { return };
    let (Some(passwd), Some(_)) =
        (needs::tool("mosquitto_passwd", "mosquitto"), needs::tool("openssl", "openssl"))
    else {
        return;
    };
    let pki = Pki::new(&broker.path("pki"));
    let server = pki.issue("broker", Validity::Month);
    let passwords = broker.path("passwords");
    let mut make = Command::new(passwd);
    make.args(["-c", "-b"]).arg(&passwords).args(["hub", "s3cret-of-the-hub"]);
    assert_eq!(run(&mut make, Duration::from_secs(20)).expect("mosquitto_passwd starts").code, 0);
    let port = free_port();
    broker.start_as(&format!(
        "allow_anonymous false\npassword_file {}\nlistener {} 127.0.0.1\nlistener {port} 127.0.0.1\n\
         cafile {}\ncertfile {}\nkeyfile {}",
        passwords.display(),
        broker.address().port(),
        pki.authority().display(),
        server.certificate.display(),
        server.key.display(),
    ));
    let section = format!(
        "[broker.ville]\nurl = \"mqtts://localhost:{port}\"\nusername = \"hub\"\npassword = \"file:password\"\n\
         subscriptions = [\"ville/mobilite/#\"]\ntls = {{ ca = \"file:{}\" }}\n",
        pki.authority().display()
    );
    let mut hub = Hub::prepared(&[], &section);
    policy::edit(&hub.policy(), "identity = \"user:ville-mobilite\"", "identity = \"broker:ville\"");
    std::fs::write(hub.path("password"), "wr0ng-password\n").unwrap();
    hub.run();
    comes_to_be(&hub, "refused", "correct `username` and `password`");
    hub.terminate();
    std::fs::write(hub.path("password"), "s3cret-of-the-hub\n").unwrap();
    hub.run();
    comes_to_be(&hub, "up", "");

    let Some(publisher) = needs::tool("mosquitto_pub", "mosquitto-clients") else { return };
    let id = 770_000_000_000_000_u64;
    let mut sent = Vec::new();
    for (n, version) in ["mqttv311", "mqttv5"].into_iter().enumerate() {
        let payload =
            policy::COUNTS.payload.replace(load::ID, &(id + n as u64).to_string()).replace("%N%", "7");
        let mut command = Command::new(&publisher);
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &broker.address().port().to_string(),
            "-V",
            version,
            "-q",
            "2",
        ]);
        command.args([
            "-u",
            "hub",
            "-P",
            "s3cret-of-the-hub",
            "-t",
            "ville/mobilite/compteur-7/count",
            "-m",
            &payload,
        ]);
        let finished = run(&mut command, Duration::from_secs(20)).unwrap();
        assert_eq!(finished.code, 0, "{}", finished.err);
        sent.push(id + n as u64);
    }
    let found = || hub.archive("dc-rennes").iter().filter_map(|record| record.message()).collect::<Vec<_>>();
    wait_until("both are on their target", Duration::from_secs(30), || found() == sent);
    let said = hub.log() + &hub.cli(&["status"]).out + &hub.cli(&["config", "show"]).out;
    assert!(said.contains("broker.ville"), "{said}");
    assert!(!said.contains("s3cret-of-the-hub") && !said.contains("wr0ng-password"), "{said}");
}

/// A mosquitto over TLS that lets in whoever has a certificate of `pki`, on this port; it is its own publishers'
/// without.
fn with_certificates(broker: &mut Mosquitto, pki: &Pki, port: u16) {
    let server = pki.issue("broker", Validity::Month);
    broker.start_as(&format!(
        "per_listener_settings true\nlistener {} 127.0.0.1\nallow_anonymous true\nlistener {port} 127.0.0.1\n\
         cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\nallow_anonymous true",
        broker.address().port(),
        pki.authority().display(),
        server.certificate.display(),
        server.key.display(),
    ));
}

#[test]
fn a_broker_that_wants_a_certificate_gets_it_and_without_a_right_one_the_mend_is_said() {
    let _machine = needs::exclusive();
    let Some(mut broker) = Mosquitto::prepared() else { return };
    if needs::tool("openssl", "openssl").is_none() {
        return;
    }
    let (pki, strangers) = (Pki::new(&broker.path("pki")), Pki::new(&broker.path("strangers")));
    let port = free_port();
    with_certificates(&mut broker, &pki, port);
    let mut hub = Hub::prepared(&[], "");
    policy::edit(&hub.policy(), "identity = \"user:ville-mobilite\"", "identity = \"broker:ville\"");
    let show = |hub: &Hub, tls: &str| {
        hub.configure(&format!(
            "[broker.ville]\nurl = \"mqtts://localhost:{port}\"\nsubscriptions = [\"ville/mobilite/#\"]\n\
             tls = {{ ca = \"file:{}\"{tls} }}\n",
            pki.authority().display()
        ));
    };
    let mend = "give `tls.certificate` and `tls.key` of an authority that the broker trusts";
    show(&hub, "");
    hub.run();
    comes_to_be(&hub, "refused", mend);
    hub.terminate();
    // The files are read at each connection: from here on the hub runs, and others put there are taken.
    let pair = ["hub.pem", "hub.key"].map(|name| hub.path(name));
    let put = |identity: &Identity| {
        std::fs::copy(&identity.certificate, &pair[0]).unwrap();
        std::fs::copy(&identity.key, &pair[1]).unwrap();
    };
    put(&strangers.issue("hub", Validity::Month));
    let files = pair.each_ref().map(|path| path.display());
    show(&hub, &format!(", certificate = \"file:{}\", key = \"file:{}\"", files[0], files[1]));
    hub.run();
    comes_to_be(&hub, "refused", mend);
    let ours = pki.issue("hub", Validity::Month);
    std::fs::copy(&ours.certificate, &pair[0]).unwrap();
    comes_to_be(&hub, "refused", "is not the key of the certificate");
    put(&ours);
    comes_to_be(&hub, "up", "");
    let plan = Plan { version: Version::V5, connections: 1, window: 10, rate: None, messages: Some(20) };
    let outcome = Load::start(broker.address(), &[policy::COUNTS], plan, 0).finish(Duration::from_secs(30));
    assert_eq!(outcome.acknowledged(), 20);
    wait_until("they are on their target", Duration::from_secs(30), || hub.archive("dc-rennes").len() == 20);
}

/// A broker in plain text that is open to all, and a hub that is to take `ville/mobilite/#` from it.
#[track_caller]
fn behind_a_broker() -> Option<(Mosquitto, Hub)> {
    let mut broker = Mosquitto::prepared()?;
    broker.start("");
    let section = format!(
        "[broker.ville]\nurl = \"mqtt://{}\"\nsubscriptions = [\"ville/mobilite/#\"]\n",
        broker.address()
    );
    Some((broker, Hub::prepared(&[], &section)))
}

#[test]
fn what_comes_by_a_broker_waits_for_the_quota_of_its_source_and_none_of_it_is_lost() {
    let _machine = needs::exclusive();
    let Some((broker, mut hub)) = behind_a_broker() else { return };
    let quota = "identity = \"broker:ville\"\nquota = { messages_per_second = 30 }";
    policy::edit(&hub.policy(), "identity = \"user:ville-mobilite\"", quota);
    hub.run();
    comes_to_be(&hub, "up", "");
    // 150 are its burst; the other 450 take fifteen seconds.
    let (count, began) = (600, Instant::now());
    let plan = Plan { version: Version::V5, connections: 1, window: 40, rate: None, messages: Some(count) };
    let outcome = Load::start(broker.address(), &[policy::COUNTS], plan, 0).finish(Duration::from_secs(30));
    assert_eq!(outcome.acknowledged(), count, "the broker takes them at once");
    let received = || hub.metrics().sum("octroi_broker_received_total", &[]);
    assert!(received() < count as f64, "and the hub does not");
    let verdict = judge_arrived(&[&hub], &[policy::COUNTS], &[outcome], ARRIVES_WITHIN);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(14), "{count} messages in {took:?}");
    let scrape = hub.metrics();
    assert_eq!(scrape.sum("octroi_broker_reconnects_total", &[]), 0.0, "the connection stood");
    assert!(scrape.sum("octroi_slowed_seconds_total", &["source=\"ville-mobilite\""]) > 5.0);
    verdict.assert_arrived("a broker's messages over their source's quota", &[]);
}

/// A broker that says just that, whoever connects, until `hub` says of it what is expected.
#[track_caller]
fn says(bytes: &'static [u8], state: &str, said: &str) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connect = [0; 512];
            if stream.read(&mut connect).is_ok_and(|read| read > 0) && stream.write_all(bytes).is_ok() {
                // Until the hub has had enough.
                stream.set_read_timeout(Some(Duration::from_secs(20))).ok();
                while stream.read(&mut connect).is_ok_and(|read| read > 0) {}
            }
        }
    });
    let section = format!(
        "[broker.ville]\nurl = \"mqtt://127.0.0.1:{port}\"\nsubscriptions = [\"$share/octroi/ville/#\"]\n"
    );
    let mut hub = Hub::prepared(&[], &section);
    policy::edit(&hub.policy(), "identity = \"user:ville-mobilite\"", "identity = \"broker:ville\"");
    hub.run();
    comes_to_be(&hub, state, said);
    let accepted =
        load::publish_one(hub.mqtt(), Version::V5, "redon-lora", "application/a/device/b/event/up", b"{}");
    assert_eq!(accepted.unwrap(), 0, "the hub goes on");
}

#[test]
fn what_a_broker_cannot_do_and_what_it_says_that_is_no_mqtt_is_told_with_its_mend() {
    let _machine = needs::exclusive();
    // CONNACK: shared subscriptions are not available.
    says(&[0x20, 5, 0, 0, 2, 0x2A, 0], "refused", "take `$share/…/` out of `subscriptions`");
    // A broker of MQTT 3.1.1 alone.
    says(&[0x20, 2, 0, 1], "refused", "does not speak MQTT 5: set the other `version`");
    says(b"HTTP/1.1 400 Bad Request\r\n\r\n", "refused", "check that `url` names its port");
}

#[test]
fn without_a_source_of_its_name_in_the_policy_no_broker_is_connected_to() {
    let _machine = needs::exclusive();
    let Some((_broker, mut hub)) = behind_a_broker() else { return };
    hub.run();
    comes_to_be(&hub, "refused", "no source of the identity `broker:ville`");
    policy::edit(&hub.policy(), "identity = \"user:ville-mobilite\"", "identity = \"broker:ville\"");
    super::kill::activate_next(&hub);
    comes_to_be(&hub, "up", "");
}
