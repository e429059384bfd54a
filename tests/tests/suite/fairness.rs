//! One source cannot take what is the others': its quota slows it and loses
//! nothing, its connections are bounded, and whatever it does, the others'
//! acknowledgements come as before.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::load::wire::{self, Answer, Wire, packet};
use octroi_tests::load::{ID, Load, Plan, Qos, Stream, Version};
use octroi_tests::oracle::judge_archives;
use octroi_tests::probe::{Latencies, Probe};
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy, report};

use crate::kill::activate_next;

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// Gives the source that publishes this stream a quota, and tells the hub.
fn limit(hub: &Hub, stream: &Stream, quota: &str) {
    let identity = format!("identity = \"user:{}\"\n", stream.user);
    policy::edit(&hub.policy(), &identity, &format!("{identity}quota = {{ {quota} }}\n"));
}

fn message(version: Version, stream: &Stream, id: u16) -> Vec<u8> {
    let fill = |text: &str| text.replace("%N%", "7").replace(ID, &id.to_string());
    let mut bytes = Vec::new();
    let (topic, payload) = (fill(stream.topic), fill(stream.payload));
    wire::publish((version, Qos::AtLeastOnce), id, false, &topic, payload.as_bytes(), &mut bytes);
    bytes
}

#[test]
fn a_source_over_its_quota_is_slowed_and_nothing_of_it_is_lost() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    limit(&hub, &policy::COUNTS, "messages_per_second = 100");
    hub.run();
    // 500 are its burst; the other 1,100 take eleven seconds, over all of its connections.
    let streams = [policy::COUNTS];
    let began = Instant::now();
    let loads = VERSIONS.map(|version| {
        let plan = Plan { version, connections: 2, window: 200, rate: None, messages: Some(400) };
        Load::start(hub.mqtt(), &streams, plan, version as u64)
    });
    wait_until("the status says who is slowed", Duration::from_secs(8), || {
        let status = hub.cli_json(&["status"]);
        status["slowed"].as_array().is_some_and(|slowed| {
            slowed.len() == 1 && slowed[0]["source"] == "ville-mobilite" && slowed[0]["connections"] != 0.0
        })
    });
    let outcomes = loads.map(|load| load.finish(Duration::from_secs(60)));
    let took = began.elapsed();
    assert!(took > Duration::from_secs(10), "1,600 messages in {took:?}");
    for outcome in &outcomes {
        assert_eq!((outcome.acknowledged(), outcome.reconnects, outcome.disordered_acks), (800, 0, 0));
    }
    judge_archives(&hub, &streams, &outcomes, Duration::from_secs(60)).assert_kept("a source over its quota");
    let scrape = hub.metrics();
    let slowed = |source: &str| scrape.sum("octroi_slowed_seconds_total", &[&format!("source=\"{source}\"")]);
    assert!(slowed("ville-mobilite") > 10.0 && slowed("redon-lora") == 0.0, "{}", scrape.text);
}

#[test]
fn keep_alive_does_not_run_while_a_quota_holds_a_client_back() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    limit(&hub, &policy::WATER, "messages_per_second = 1");
    hub.run();
    for version in VERSIONS {
        let mut connect = wire::connect(version, "impatient", policy::WATER.user);
        // The keep-alive: a second, where the CONNECT of the tests says 60.
        let at = connect.windows(2).position(|pair| pair == [0, 60]).unwrap();
        connect[at + 1] = 1;
        let mut wire = Wire::open(hub.mqtt(), version, &connect).unwrap();
        let messages: Vec<u8> = (1..=9).flat_map(|id| message(version, &policy::WATER, id)).collect();
        wire.send(&messages).unwrap();
        for id in 1..=9 {
            let answer = wire.answer(Duration::from_secs(30)).unwrap();
            assert_eq!(answer, Some(Answer::Ack { packet: id, reason: 0 }), "{version:?}");
        }
        let silent = (0..100).find_map(|_| wire.answer(Duration::from_millis(100)).err());
        assert!(silent.is_some(), "{version:?}: then it runs again");
    }
}

#[test]
fn a_quota_holds_over_reconnects_and_goes_with_the_policy_that_says_it() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    limit(&hub, &policy::WATER, "bytes_per_second = 10");
    hub.run();
    let publish = |client: &str| {
        let mut wire = Wire::connect(hub.mqtt(), Version::V5, client, policy::WATER.user).unwrap();
        wire.send(&message(Version::V5, &policy::WATER, 1)).unwrap();
        wire
    };
    let acknowledged = Some(Answer::Ack { packet: 1, reason: 0 });
    let mut first = publish("first");
    assert_eq!(first.answer(Duration::from_secs(5)).unwrap(), acknowledged, "a whole message is taken");
    first.send(&message(Version::V5, &policy::WATER, 2)).unwrap();
    let mut second = publish("second");
    assert_eq!(first.answer(Duration::from_secs(1)).unwrap(), None, "it owes half a minute");
    assert_eq!(second.answer(Duration::from_secs(1)).unwrap(), None, "and so does who connects anew");

    let quota = "quota = { bytes_per_second = 10 }";
    policy::edit(&hub.policy(), quota, "quota = { bytes_per_second = 100000 }");
    activate_next(&hub);
    let acknowledged_too = Some(Answer::Ack { packet: 2, reason: 0 });
    assert_eq!(first.answer(Duration::from_secs(5)).unwrap(), acknowledged_too);
    assert_eq!(second.answer(Duration::from_secs(5)).unwrap(), acknowledged);
}

/// Publishes one after the other until nothing is acknowledged any more; how many were.
fn fill(hub: &Hub, version: Version, stream: &Stream) -> (u16, Wire) {
    let mut wire = Wire::connect(hub.mqtt(), version, "fills", stream.user).unwrap();
    for id in 1..500 {
        wire.send(&message(version, stream, id)).unwrap();
        let answer = wire.answer(Duration::from_secs(2)).unwrap();
        if answer.is_none() {
            return (id - 1, wire);
        }
        assert_eq!(answer, Some(Answer::Ack { packet: id, reason: 0 }), "{version:?}");
    }
    panic!("a source may take all of the journal");
}

#[test]
fn a_source_that_takes_its_bytes_of_the_journal_waits_for_its_targets_or_another_policy() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    limit(&hub, &policy::WATER, "journal_bytes = 20000");
    hub.obstruct("dc-morbihan");
    hub.run();
    let (first, mut five) = fill(&hub, Version::V5, &policy::WATER);
    assert!((10..=60).contains(&first), "{first} messages of some 500 bytes");
    let told = five.answer(Duration::from_secs(15)).unwrap();
    assert_eq!(told, Some(Answer::Disconnect(0x97)), "and no ack");
    let (more, mut three) = fill(&hub, Version::V311, &policy::WATER);
    assert_eq!(more, 0);
    three.answer(Duration::from_secs(15)).expect_err("3.1.1 has no word for it");
    let plan = |messages| {
        let messages = Some(messages);
        Plan { version: Version::V5, connections: 1, window: 5, rate: None, messages }
    };
    let other = Load::start(hub.mqtt(), &[policy::WASTE], plan(200), 8).finish(Duration::from_secs(30));
    assert_eq!(other.acknowledged(), 200, "nobody else is concerned");

    // Another policy holds at once, for who waits too.
    let (_, mut waits) = fill(&hub, Version::V5, &policy::WATER);
    policy::edit(&hub.policy(), "journal_bytes = 20000", "journal_bytes = 30000");
    activate_next(&hub);
    assert_eq!(waits.answer(Duration::from_secs(3)).unwrap(), Some(Answer::Ack { packet: 1, reason: 0 }));
    assert!(fill(&hub, Version::V5, &policy::WATER).0 > 5);

    // What its target has is nobody's: a source goes on by itself, and may send any amount of it.
    hub.clear("dc-morbihan");
    let load = Load::start(hub.mqtt(), &[policy::WATER], plan(150), 7);
    assert_eq!(load.finish(Duration::from_secs(120)).acknowledged(), 150);
}

/// The bytes that a connection gets before it is closed; `None`: it stays open.
fn gets(hub: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(hub).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // It may be closed before all is sent.
    stream.write_all(bytes).ok();
    let mut answer = [0; 64];
    match stream.read(&mut answer) {
        Ok(read) => Some(answer[..read].to_vec()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Some(Vec::new()),
        Err(_) => None,
    }
}

#[test]
fn one_connection_too_many_of_a_source_or_an_address_is_turned_away_and_said() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "[connections]\nper_source = 2\nper_address = 4\n");
    hub.run();
    let connect = |client: &str, user| Wire::connect(hub.mqtt(), Version::V5, client, user);
    let user = policy::COUNTS.user;
    let mut guests = vec![connect("1", user).unwrap(), connect("2", user).unwrap()];
    for (version, code) in [(Version::V311, 3), (Version::V5, 0x97)] {
        let answer = gets(hub.mqtt(), &wire::connect(version, "3", user)).unwrap();
        assert_eq!((answer[0], answer[3]), (0x20, code), "{version:?}: {answer:02x?}");
    }
    guests[1] = connect("2", user).unwrap();
    guests.push(connect("1", policy::WATER.user).unwrap());
    guests.push(connect("2", policy::WATER.user).unwrap());
    assert_eq!(gets(hub.mqtt(), &[]), Some(Vec::new()), "the fifth of its address is closed at once");
    assert_eq!(gets(hub.mqtt(), &[]), Some(Vec::new()));
    let rejected = |stage: &str, reason: &str| {
        let labels = [format!("stage=\"{stage}\""), format!("reason=\"{reason}\"")];
        hub.metrics().sum("octroi_rejected_total", &[&labels[0], &labels[1]])
    };
    assert_eq!(rejected("accept", "address_connections"), 2.0);
    assert_eq!(rejected("connection", "refused_quota_exceeded"), 2.0);
    for said in ["this address has `connections.per_address`", "this source has `connections.per_source`"] {
        assert_eq!(hub.log().matches(said).count(), 1, "once a minute: {said}\n{}", hub.log());
    }
    guests.clear();
    wait_until("the places are given back", Duration::from_secs(5), || connect("3", user).is_ok());
}

/// Publishes at QoS 0 as fast as its socket takes it, until it is dropped.
struct Flood {
    socket: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(hub: SocketAddr, stream: &Stream) -> Self {
        let mut socket = TcpStream::connect(hub).unwrap();
        socket.write_all(&wire::connect(Version::V5, "flood", stream.user)).unwrap();
        let (topic, payload) = (stream.topic.replace("%N%", "7"), stream.payload.replace("%N%", "7"));
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend(topic.bytes().chain([0]).chain(payload.replace(ID, "7").bytes()));
        let batch = packet(0x30, &body).repeat(20);
        let mut of_thread = socket.try_clone().unwrap();
        let thread = Some(std::thread::spawn(move || while of_thread.write_all(&batch).is_ok() {}));
        Self { socket, thread }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.socket.shutdown(Shutdown::Both).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

/// Measures in the order quiet, loud, quiet, loud, so that what the machine does besides falls on both.
pub(crate) fn in_turn(probe: &Probe, mut loud: impl FnMut(&mut dyn FnMut())) -> Vec<[Latencies; 2]> {
    let (turns, time) = if needs::long() { (6, 10) } else { (2, 5) };
    let measure = || probe.during(|| sleep(Duration::from_secs(time))).1;
    let turn = |_| {
        let (quiet, mut in_noise) = (measure(), Latencies::default());
        loud(&mut || in_noise = measure());
        [quiet, in_noise]
    };
    (0..turns).map(turn).collect()
}

/// Prints what was measured. In the long form the p99 (its median over the turns: a disk that stands still for a
/// moment stands still for whoever has the turn) must be within so many times what it was.
#[track_caller]
pub(crate) fn within(most: f64, title: &str, turns: &[[Latencies; 2]]) {
    let p99s = |which: usize| turns.iter().map(|turn| turn[which].within(99)).collect::<Vec<_>>();
    let said = |which: usize| {
        let all = turns.iter().fold(Latencies::default(), |all, turn| all.and(turn[which].clone()));
        let each: Vec<_> = p99s(which).iter().map(|p99| format!("{:.1}", p99.as_secs_f64() * 1e3)).collect();
        format!("{}; p99 of each turn {} ms", all.said(), each.join(", "))
    };
    let ratio = median(p99s(1)).as_secs_f64() / median(p99s(0)).as_secs_f64();
    let rows =
        [("alone", said(0)), ("beside", said(1)), ("median p99, as a multiple", format!("{ratio:.2}"))];
    report::table(title, &rows);
    // A hundredth of few messages is the machine's own noise.
    assert!(!needs::long() || ratio < most, "{ratio:.2} times the p99: {title}");
}

fn median(mut of: Vec<Duration>) -> Duration {
    of.sort();
    (of[(of.len() - 1) / 2] + of[of.len() / 2]) / 2
}

#[test]
fn a_client_at_a_hundred_times_its_rate_holds_back_nobody_else() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    limit(&hub, &policy::COUNTS, "messages_per_second = 50");
    hub.run();
    let probe = Probe::start(hub.mqtt(), &policy::WASTE, Version::V5, Duration::from_millis(10));
    let received =
        |hub: &Hub| hub.metrics().sum("octroi_received_messages_total", &["source=\"ville-mobilite\""]);
    let (began, before) = (Instant::now(), received(&hub));
    let measured = in_turn(&probe, |measure| {
        let flood = Flood::start(hub.mqtt(), &policy::COUNTS);
        sleep(Duration::from_secs(1));
        measure();
        drop(flood);
    });
    let taken = received(&hub) - before;
    let most = 50.0 * (5.0 + began.elapsed().as_secs_f64()) + 2.0;
    assert!(taken > 250.0 && taken <= most, "{taken} messages of a source that may send {most}");
    within(1.2, "acknowledgements beside a client that sends all it can, at 50 a second", &measured);
}
