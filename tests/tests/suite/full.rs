//! No room: publishers are told and keep their messages, nothing is lost, and
//! the hub goes on by itself once there is some. One source alone cannot bring
//! that about for the others.

use std::fs;
use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::load::wire::{Answer, Wire, publish};
use octroi_tests::load::{Load, Outcome, Plan, Qos, Sent, Stream, Version};
use octroi_tests::oracle::judge_archives;
use octroi_tests::probe::Probe;
use octroi_tests::process::wait_until;
use octroi_tests::{needs, policy, report};

use crate::backlog::pictures;
use crate::fairness::{in_turn, within};

const FILLER: u64 = 20 << 20;

/// A hub whose targets are all down.
fn cut_off(fragment: &str) -> Hub {
    let hub = Hub::prepared(&[], "");
    hub.configure(fragment);
    policy::TARGETS.iter().for_each(|target| hub.obstruct(target));
    hub
}

/// Something for each target, so that all of them are behind and the journal itself is their backlog.
fn full() -> [Stream; 3] {
    [pictures(8 << 10), policy::WASTE, policy::WATER]
}

fn loads(hub: &Hub, streams: &[Stream]) -> Vec<Load> {
    let versions = [Version::V311, Version::V5].into_iter().zip(0..);
    let start = |(version, run)| {
        let plan = Plan { version, connections: 2, window: 20, rate: None, messages: None };
        Load::start(hub.mqtt(), streams, plan, run)
    };
    versions.map(start).collect()
}

fn acknowledged(loads: &[Load]) -> u64 {
    loads.iter().map(Load::acknowledged).sum()
}

/// Waits until the hub says that its journal is full, and nothing is acknowledged any more.
#[track_caller]
fn filled(hub: &Hub, loads: &[Load]) {
    wait_until("the journal is full", Duration::from_secs(240), || {
        let before = acknowledged(loads);
        std::thread::sleep(Duration::from_secs(1));
        hub.cli_json(&["status"])["journal"]["full"] == true && acknowledged(loads) == before
    });
}

/// What a publisher is told by a hub that has no room for its message. The group that was too large may have
/// been another's, and gone with its connection: what still finds room then is acknowledged, and the next one is
/// told. Gives what it published, as of `stream`, the first of the judge's.
#[track_caller]
fn is_told(hub: &Hub, version: Version, stream: &Stream, (client, run): (&str, u64)) -> Outcome {
    let mut wire = Wire::connect(hub.mqtt(), version, client, stream.user).unwrap();
    let (topic, payload) = (stream.topic.replace("%N%", "99"), stream.payload.replace("%N%", "99"));
    let mut sent = Vec::new();
    // A segment has no room for more of them.
    for packet_id in 1..=50 {
        let id = 770_000_000_000_000 + run * 10_000_000_000 + u64::from(packet_id);
        let (payload, mut packet) = (payload.replace("%ID%", &id.to_string()), Vec::new());
        publish((version, Qos::AtLeastOnce), packet_id, false, &topic, payload.as_bytes(), &mut packet);
        wire.send(&packet).unwrap();
        sent.push(Sent { id, stream: 0, attempts: 1, acknowledged: false, refused: None });
        match (version, wire.answer(Duration::from_secs(15))) {
            (_, Ok(Some(Answer::Ack { packet, reason: 0 }))) => {
                assert_eq!(packet, packet_id);
                sent.last_mut().unwrap().acknowledged = true;
            }
            (Version::V5, told) => {
                assert_eq!(told.unwrap(), Some(Answer::Disconnect(0x97)), "quota exceeded, and no ack");
                return Outcome { connections: vec![sent], ..Outcome::default() };
            }
            (Version::V311, told) => {
                told.expect_err("3.1.1 has no word for it: the connection ends, and no ack");
                return Outcome { connections: vec![sent], ..Outcome::default() };
            }
        }
    }
    panic!("all of them found room");
}

/// The same by publishers of both versions.
#[track_caller]
fn both_are_told(hub: &Hub) -> Vec<Outcome> {
    let versions = [(Version::V5, ("told-5", 90)), (Version::V311, ("told-311", 91))];
    versions.map(|(version, client)| is_told(hub, version, &pictures(200 << 10), client)).into()
}

/// How long until something is acknowledged again.
#[track_caller]
fn resumes(loads: &[Load]) -> Duration {
    let (before, since) = (acknowledged(loads), Instant::now());
    wait_until("acknowledgements come again", Duration::from_secs(120), || acknowledged(loads) > before + 20);
    since.elapsed()
}

/// Targets come back, everything arrives, and nothing twice.
fn arrives(hub: &Hub, streams: &[Stream], (loads, told): (Vec<Load>, Vec<Outcome>), title: &str) {
    policy::TARGETS.iter().for_each(|target| hub.clear(target));
    // An archive looks for its directory twice a minute at least.
    resumes(&loads);
    let mut outcomes: Vec<_> = loads.into_iter().map(|load| load.stop(Duration::from_secs(90))).collect();
    assert!(outcomes.iter().all(|outcome| outcome.messages().all(|sent| sent.acknowledged)));
    outcomes.extend(told);
    judge_archives(hub, streams, &outcomes, Duration::from_secs(180)).assert_kept(title);
}

#[test]
fn on_a_full_disk_publishers_are_told_and_the_hub_resumes_by_itself_and_loses_nothing() {
    let _machine = needs::exclusive();
    // More than the disk has: what it meets is the disk's end and not its own limit.
    let mut hub = cut_off("[journal]\nlimit = \"128 MiB\"\nsource_share = 100\n");
    let journal = hub.data().join("journal");
    let Some(_disk) = needs::tmpfs(&journal, 64) else { return };
    let filler = journal.join("filler");
    fs::write(&filler, vec![0; FILLER as usize]).unwrap();
    hub.run();
    let process = hub.process().id();
    let streams = full();
    let loads = loads(&hub, &streams);
    filled(&hub, &loads);
    let told = both_are_told(&hub);
    fs::remove_file(&filler).unwrap();
    let back = resumes(&loads);
    // Full again, and this time it is the targets that make room.
    filled(&hub, &loads);
    report::table("a disk of 64 MiB is full", &[("resumed after", format!("{:.2} s", back.as_secs_f32()))]);
    assert!(back < Duration::from_secs(5), "it took {back:?} to go on");
    arrives(&hub, &streams, (loads, told), "a full disk, twice");
    assert_eq!(hub.process().id(), process);
    assert!(hub.process().ended().is_none(), "without a restart");
}

#[test]
fn at_the_journals_limit_publishers_are_told_and_the_hub_resumes_by_itself_and_loses_nothing() {
    let _machine = needs::exclusive();
    let mut hub = cut_off("[journal]\nlimit = \"64 MiB\"\nsource_share = 100\n");
    hub.run();
    let streams = full();
    let loads = loads(&hub, &streams);
    filled(&hub, &loads);
    let told = both_are_told(&hub);
    arrives(&hub, &streams, (loads, told), "a full journal");
}

/// Doubts, each of them large.
fn doubts() -> Stream {
    let payload = format!(r#"{{"state":"%ID%","x":"{}"}}"#, "x".repeat(32 << 10)).leak();
    Stream {
        name: "doubt",
        user: "ville-mobilite",
        topic: "ville/mobilite/borne-%N%/etat",
        payload,
        reaches: &[],
        never: &[],
    }
}

#[test]
fn one_source_that_fills_the_quarantine_and_its_share_of_the_journal_holds_up_nobody_else() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    hub.configure("[journal]\nlimit = \"64 MiB\"\nquarantine_limit = \"64 MiB\"\nsource_share = 40\n");
    hub.run();
    let probe = Probe::start(hub.mqtt(), &policy::WASTE, Version::V5, Duration::from_millis(10));
    let flood = [doubts()];
    let mut runs = 0..;
    let measured = in_turn(&probe, |measure| {
        let plan = Plan { version: Version::V5, connections: 4, window: 40, rate: None, messages: None };
        let first = runs.start == 0;
        let load = Load::start(hub.mqtt(), &flood, plan, runs.next().unwrap());
        // The quarantine is full, then the source's share of the journal, and nothing more of it is taken.
        let mut before = (load.acknowledged(), Instant::now());
        wait_until("the flood stands still", Duration::from_secs(240), || {
            if load.acknowledged() > before.0 {
                before = (load.acknowledged(), Instant::now());
            }
            (!first || before.0 > 500) && before.1.elapsed() > Duration::from_secs(4)
        });
        measure();
        // What is still open was never acknowledged, and stays its publisher's.
        assert_eq!(load.stop(Duration::from_secs(1)).disordered_acks, 0);
    });
    assert_eq!(is_told(&hub, Version::V5, &flood[0], ("flooder-5", 90)).acknowledged(), 0);
    assert_eq!(is_told(&hub, Version::V311, &flood[0], ("flooder-311", 91)).acknowledged(), 0);
    assert_ne!(hub.cli_json(&["status"])["journal"]["full"], true, "there is room for the others");
    drop(probe);
    // A restart knows what the source's messages take.
    hub.kill();
    hub.run();
    assert_eq!(is_told(&hub, Version::V5, &flood[0], ("flooder-again", 92)).acknowledged(), 0);
    let probe = Probe::start(hub.mqtt(), &policy::WASTE, Version::V311, Duration::from_millis(10));
    let served = probe.during(|| std::thread::sleep(Duration::from_secs(3))).1;
    assert!(served.count() > 0);
    within(1.2, "acknowledgements beside a source that stands at its share of the journal", &measured);
}

/// Clients name their sessions, and the names of all stand at the head of each segment of the journal: here half a
/// mebibyte at most, where those of this one source come to two.
#[test]
fn sessions_of_one_source_take_their_part_of_the_journals_state_and_no_more() {
    let mut hub = Hub::prepared(&[], "");
    hub.configure("[journal]\nlimit = \"64 MiB\"\n");
    hub.run();
    let is_resumed = |hub: &Hub, number: u32| {
        let wire = Wire::connect(hub.mqtt(), Version::V5, &format!("{number:02000}"), policy::COUNTS.user);
        wire.expect("it is let in, whether or not its session is promised").session_present()
    };
    assert!((0..1_000).all(|number| !is_resumed(&hub, number)), "they are new");
    assert!(is_resumed(&hub, 0) && !is_resumed(&hub, 999), "the first are promised, the last are not");
    assert_eq!(hub.log().matches("no new session is promised").count(), 1, "said once: {}", hub.log());

    // Several segments begin with that state, and a start reads it back.
    let streams = [pictures(8 << 10), policy::WASTE];
    let plan = Plan { version: Version::V5, connections: 2, window: 20, rate: None, messages: Some(2_000) };
    let outcome = Load::start(hub.mqtt(), &streams, plan, 0).finish(Duration::from_secs(60));
    hub.kill();
    hub.run();
    assert!(is_resumed(&hub, 0) && !is_resumed(&hub, 999), "as it was on record");
    judge_archives(&hub, &streams, &[outcome], Duration::from_secs(60))
        .assert_kept("one source names more sessions than the journal's state has room for");
}
