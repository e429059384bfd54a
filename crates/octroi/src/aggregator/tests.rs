//! The aggregates' thread over a real journal, killed between any two steps:
//! a copy of the data directory is what a kill leaves.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use octroi_journal::{Journal, Options, RealDisk};
use octroi_policy::{Input, Level, Policy, PseudonymKey, SourceFile};
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::committer::{Committer, Ended};
use crate::gate::Withheld;
use crate::ledger::{Ledger, stored};
use crate::policies::{Bits, Store};
use crate::record::{Kept, StoredOutcome};
use crate::release::{Verdict, judge};

const POLICY: &str = include_str!("../../../../policies/bretagne-exemple.toml");
const METERS: &str = "cert:CN=eau.energies56.example";
const START: &str = "2026-11-20T06:00:00Z";

/// Edits of the policy: what stands there, what stands there instead.
type Edits = [(&'static str, &'static str)];
/// Short windows, and meters of several communes.
const SHORT: &Edits = &[
    ("op = \"aggregate\", window = \"P1D\"", "op = \"aggregate\", window = \"PT1M\""),
    ("[\"v3/telereleve@syndicat-eau/devices/+/up\"]", "[\"v3/+/devices/+/up\"]"),
    ("commune = \"56260\"\nperimeter = \"dept-56\"", "commune_from = \"topic:1\"\nperimeter = \"dept-56\""),
];
const TWELVE: (&str, &str) = ("min_count = 11", "min_count = 12");
const NOT_PERSONAL: (&str, &str) =
    ("applies_to = { max_level = \"personal\"", "applies_to = { max_level = \"open\"");
const EXPIRED: (&str, &str) = ("expires = 2027-11-15 }", "expires = 2026-11-15 }");
const NO_COPY: (&str, &str) = ("id = \"eau-agregats-vers-cloud\"", "id = \"another\"");

struct Manual(AtomicI64);

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

struct Key;

impl KeySource for Key {
    fn key(&self, _: &str, _: &str) -> Option<PseudonymKey> {
        Some(PseudonymKey::new("k7", &[7; 32]))
    }
}

fn after(seconds: i64) -> Timestamp {
    Timestamp(Timestamp::parse_rfc3339(START).unwrap().0 + seconds * 1_000_000)
}

fn compiled(edits: &[(&str, &str)]) -> (Policy, Vec<SourceFile>) {
    let mut text = POLICY.to_owned();
    for (from, to) in SHORT.iter().chain(edits) {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let files = vec![SourceFile { name: "policy.toml".into(), text }];
    let policy = Policy::compile(&octroi_policy::parse(&files).document, octroi_policy::hash(&files));
    (policy.unwrap(), files)
}

/// A hub as far as aggregates go.
struct Hub {
    data: TempDir,
    work: Work,
    view: Arc<ArcSwap<JournalView>>,
    clock: Arc<Manual>,
    committer: JoinHandle<Ended>,
}

/// What the journal holds for the cloud: when it ends, where it goes, how many devices, under which id.
type Published = (i64, String, u64, String);

impl Hub {
    /// Opens a hub on a copy of that data; `None`: on none.
    fn open(from: Option<&Path>, seconds: i64) -> Self {
        let data = TempDir::new().unwrap();
        if let Some(from) = from {
            copy_directory(from, data.path());
        }
        let options = Options {
            hub: "hub-1".into(),
            segment_bytes: 64 << 10,
            limit_bytes: 4 << 20,
            reserve_bytes: 64 << 10,
        };
        let disk = RealDisk::new(data.path().join("journal")).unwrap();
        let (mut journal, recovery) = Journal::open(Arc::new(disk), options, &mut || 7).unwrap();
        let ledger = crate::server::replay(&journal, &recovery).unwrap();
        let head = journal.next_seq();
        let (policy, files) = compiled(&[]);
        let targets: Vec<String> = policy.targets().iter().map(|target| target.id.clone()).collect();
        let bits = Bits::names(&targets).map(|name| journal.register_target(&name, head).unwrap());
        let bits = Bits::from_list(bits.collect()).unwrap();
        journal.commit(&mut |out| ledger.write_snapshot(out)).unwrap();
        let metrics = Arc::new(Metrics::new("test").unwrap());
        let active = Active::new(policy, 0, after(0), bits.clone(), &metrics);
        let store = Store::open(data.path().join("policies")).unwrap();
        Policies::keep(&store, &active, &files).unwrap();
        let clock = Arc::new(Manual(AtomicI64::new(after(seconds).0)));
        let (generation, reader) = (journal.generation(), journal.reader(0));
        let (inbox, watermark, view) = (Arc::<Inbox>::default(), Arc::<Watermark>::default(), Arc::default());
        let parts = (Arc::clone(&inbox), Arc::clone(&watermark), Arc::clone(&view), Arc::clone(&metrics));
        let committer =
            Committer::new((journal, Box::new(|_| u64::MAX)), ledger, parts.0, parts.1, parts.2, parts.3);
        let committer = std::thread::spawn(move || committer.run(|| Duration::ZERO));
        let aggregator = Aggregator {
            bit: bits.aggregates,
            reader,
            path: data.path().join("aggregates"),
            policies: Arc::new(Policies::new(active, store)),
            clock: Arc::new(PolicyClock::new(Arc::clone(&clock) as _, after(0))),
            keys: Arc::new(Key),
            inbox,
            watermark,
            metrics,
            stop: Arc::default(),
        };
        let work = Work::open(aggregator, &view.load(), generation).unwrap();
        Self { data, work, view, clock, committer }
    }

    /// Another policy is in force.
    fn activate(&self, edits: &[(&str, &str)]) {
        let (policy, files) = compiled(edits);
        let bits = self.work.of.policies.current().bits.clone();
        let active = Active::new(policy, 0, after(0), bits, &self.work.of.metrics);
        self.work.of.policies.put_in_force(active, &files).unwrap();
    }

    fn at(&self, seconds: i64) {
        self.clock.0.store(after(seconds).0, Ordering::Relaxed);
    }

    /// Messages of meters, decided and put on record as arrivals are.
    fn arrive(&self, commune: &str, devices: std::ops::Range<u32>, seconds: i64) {
        let active = self.work.of.policies.current();
        let mut chunk = ChunkBuilder::new(1024);
        let mut tally = Tally::default();
        for n in devices {
            let topic = format!("v3/{commune}/devices/wm-{n}/up");
            let payload = format!(
                r#"{{"end_device_ids":{{"device_id":"wm-{n}","application_ids":{{"application_id":"t"}}}},"received_at":"2026-11-20T06:00:03Z","uplink_message":{{"f_port":2,"f_cnt":3,"decoded_payload":{{"index_l":{n},"leak":false}}}}}}"#
            );
            let received = after(seconds);
            let source = active.source(METERS).unwrap();
            let (topic, payload) = (topic.as_str(), payload.as_bytes());
            let input = Input { source, topic, payload, user_properties: &[], received };
            let decision = active.policy.decide(&input);
            let outcome = stored(decision.outcome).unwrap();
            let StoredOutcome::Routed { space, copies } = &outcome else { panic!("{outcome:?}") };
            let primary = active.policy.spaces()[space.index()].target;
            let targets = copies.iter().fold(active.mask(primary), |all, copy| all | active.copy_mask(*copy));
            tally.received += 1;
            tally.message(&outcome, targets, received);
            let message = Message {
                policy: active.policy64,
                origin: None,
                received,
                time: decision.time,
                outcome,
                label: decision.label,
                domain: decision.domain,
                commune,
                identity: METERS,
                device: &format!("wm-{n}"),
                topic,
                retain: false,
                user_properties: Vec::new(),
                payload,
            };
            let mut header = Vec::new();
            message.write_header(&mut header);
            chunk.push(RecordKind::Message as u8, targets, &[&header, payload]).unwrap();
        }
        let (done, told) = oneshot::channel();
        self.work.of.inbox.append(Append { chunk: chunk.finish(), tally, by: None, budget: None, done });
        told.blocking_recv().unwrap();
        // The watermark moves after the answers: it has once a later group is answered.
        self.wait();
    }

    fn consume(&mut self) {
        let seen = self.work.of.watermark.get();
        while self.work.consume(seen, &mut Batch::default()).unwrap() {}
    }

    /// All steps, as the thread takes them.
    fn turn(&mut self) {
        self.consume();
        let now = self.work.of.clock.now();
        self.work.close(now, Duration::from_secs(20));
        self.work.store(true);
        self.wait();
    }

    /// Everything that was handed to the journal's owner is on disk, and shown.
    fn wait(&self) {
        let (done, told) = oneshot::channel();
        self.work.of.inbox.control(Control::Barrier { done });
        told.blocking_recv().unwrap();
    }

    /// What a kill would leave now.
    fn killed(&self) -> TempDir {
        let left = TempDir::new().unwrap();
        copy_directory(self.data.path(), left.path());
        left
    }

    fn stop(self) {
        self.work.of.inbox.control(Control::Stop);
        assert!(matches!(self.committer.join().unwrap(), Ended::Stopped));
    }

    /// Every aggregate on record, with what the gate says of it.
    fn records<R>(&self, mut each: impl FnMut(&Gate<'_>, u64, &Aggregate<'_>) -> R) -> Vec<R> {
        let active = self.work.of.policies.current();
        let gate = Gate {
            policies: &self.work.of.policies,
            active: &active,
            target: "cloud-confiance",
            origin: "hub-1/0",
            now: self.work.of.clock.now(),
            keys: &Key,
            scratch: RefCell::default(),
        };
        let mut reader = self.work.of.reader.at(0);
        let (mut batch, mut all) = (Batch::default(), Vec::new());
        let end = self.work.of.watermark.get();
        while batch.end() < end {
            reader.next(None, 1 << 20, &mut batch).unwrap();
            for entry in batch.iter().filter(|entry| entry.kind == RecordKind::Aggregate as u8) {
                assert_eq!(entry.targets, active.bit_of("cloud-confiance").unwrap().mask());
                all.push(each(&gate, entry.seq, &Aggregate::read(entry.bytes).unwrap()));
            }
        }
        all
    }

    fn published(&self) -> Vec<Published> {
        self.records(|_, _, aggregate| {
            let payload: serde_json::Value = serde_json::from_slice(aggregate.payload).unwrap();
            let end = (aggregate.end.0 - after(0).0) / 1_000_000;
            let devices = payload["devices"].as_u64().unwrap();
            (end, aggregate.topic.to_owned(), devices, aggregate.id.to_owned())
        })
    }

    /// What the journal adds up to, as the next start would read it.
    fn ledger(&self) -> Ledger {
        let again = Self::open(Some(self.killed().path()), 0);
        let ledger = again.view.load().ledger.clone();
        again.stop();
        ledger
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Ends and devices of what is published, without ids.
fn told(published: &[Published]) -> Vec<(i64, &str, u64)> {
    published.iter().map(|(end, topic, devices, _)| (*end, topic.as_str(), *devices)).collect()
}

#[test]
fn eleven_devices_are_one_aggregate_and_ten_are_none() {
    let mut hub = Hub::open(None, 10);
    hub.arrive("56260", 0..11, 10);
    hub.arrive("56001", 0..10, 10);
    // Eleven more messages of one meter are no eleventh meter.
    for _ in 0..11 {
        hub.arrive("56001", 0..1, 11);
    }
    hub.turn();
    assert_eq!(hub.published(), [], "the window is open");
    hub.at(74);
    hub.turn();
    assert_eq!(hub.published(), [], "it is over, and stays open for what is on its way");
    hub.at(75);
    hub.turn();
    let published = hub.published();
    assert_eq!(told(&published), [(60, "b/water/56260", 11)]);
    hub.turn();
    assert_eq!(hub.published(), published, "once");
    // Late: it is in no aggregate, and shown.
    hub.arrive("56001", 20..21, 30);
    hub.at(300);
    hub.turn();
    assert_eq!(hub.published(), published);
    let status = Arc::default();
    let text = hub.work.of.metrics.text(&status, tokio::time::Instant::now()).unwrap();
    for line in [
        "octroi_aggregates_late_total{target=\"cloud-confiance\"} 1",
        "octroi_aggregates_suppressed_total{target=\"cloud-confiance\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let ledger = hub.ledger();
    let bit = hub.work.of.bit.index();
    let done = ledger.done.get(&bit).copied().unwrap();
    assert_eq!((done.delivered, done.withheld, ledger.pending(bit)), (32, 1, 0));
    let cloud = hub.work.of.policies.current().bit_of("cloud-confiance").unwrap();
    assert_eq!((ledger.pending(cloud.index()), ledger.unaccounted()), (1, 0));
    hub.stop();
}

#[test]
fn a_kill_between_any_two_steps_loses_and_doubles_no_aggregate() {
    let mut hub = Hub::open(None, 10);
    let mut left: Vec<(&str, TempDir, usize)> = Vec::new();
    let first: &[(i64, &str, u64)] = &[(60, "b/water/56001", 12), (60, "b/water/56260", 11)];
    hub.arrive("56260", 0..11, 10);
    hub.arrive("56001", 0..7, 20);
    left.push(("arrived", hub.killed(), 1));
    hub.consume();
    left.push(("gathered", hub.killed(), 1));
    hub.work.store(true);
    left.push(("stored, the cursor may follow", hub.killed(), 1));
    hub.wait();
    left.push(("the cursor has followed", hub.killed(), 1));
    hub.arrive("56001", 4..12, 30);
    hub.arrive("56260", 0..5, 30);
    hub.consume();
    left.push(("the rest gathered and not stored", hub.killed(), 2));
    hub.at(100);
    let active = hub.work.of.policies.current();
    let by = after(60);
    let rule = hub.work.over(&active, by).unwrap();
    assert!(hub.work.publish(&active, rule, by));
    left.push(("handed over", hub.killed(), 2));
    hub.wait();
    left.push(("published and not noted", hub.killed(), 2));
    assert!(hub.work.settle(Duration::from_secs(20)));
    left.push(("noted and not stored", hub.killed(), 2));
    hub.work.store(true);
    hub.wait();
    left.push(("stored", hub.killed(), 2));
    let ids = hub.published();
    assert_eq!(told(&ids), first);
    hub.arrive("56260", 0..20, 130);
    hub.turn();
    left.push(("the next window", hub.killed(), 3));
    hub.stop();

    for (step, data, stage) in left {
        let mut again = Hub::open(Some(data.path()), 1_000);
        again.turn();
        let published = again.published();
        let expected: Vec<(i64, &str, u64)> = match stage {
            // Seven meters of the second commune had arrived.
            1 => vec![(60, "b/water/56260", 11)],
            2 => first.to_vec(),
            _ => [first, &[(180, "b/water/56260", 20)]].concat(),
        };
        assert_eq!(told(&published), expected, "{step}");
        for known in &published {
            let same = ids.iter().find(|id| (id.0, &id.1) == (known.0, &known.1));
            assert!(known.0 != 60 || same.is_some_and(|same| same.3 == known.3), "{step}: the same id");
        }
        // And again, over what that start left.
        let mut twice = Hub::open(Some(again.killed().path()), 2_000);
        twice.turn();
        assert_eq!(twice.published(), published, "{step}");
        let ledger = twice.ledger();
        let bit = twice.work.of.bit.index();
        assert_eq!((ledger.pending(bit), ledger.unaccounted()), (0, 0), "{step}");
        again.stop();
        twice.stop();
    }
}

#[test]
fn what_was_gathered_and_is_lost_is_not_published_in_part() {
    let mut hub = Hub::open(None, 10);
    hub.arrive("56260", 0..20, 10);
    hub.turn();
    let left = hub.killed();
    hub.stop();
    for damage in ["gone", "changed"] {
        let path = left.path().join("aggregates");
        if damage == "gone" {
            fs::rename(&path, left.path().join("aside")).unwrap()
        } else {
            fs::write(&path, "x").unwrap()
        }
        let mut again = Hub::open(Some(left.path()), 20);
        // Enough to be published, were they all.
        again.arrive("56260", 0..15, 30);
        again.arrive("56260", 0..15, 61);
        again.at(1_000);
        again.turn();
        assert_eq!(told(&again.published()), [(120, "b/water/56260", 15)], "{damage}");
        again.stop();
    }
}

#[test]
fn an_aggregate_leaves_only_as_the_policy_in_force_allows_it() {
    let mut hub = Hub::open(None, 10);
    hub.arrive("56260", 0..11, 10);
    hub.at(100);
    hub.turn();
    let leaves = |hub: &Hub| {
        let all = hub.records(|gate, seq, aggregate| {
            gate.pass_aggregate(seq, aggregate, |outgoing| {
                let event = outgoing.event();
                assert_eq!((event.device, event.decision), (None, None));
                assert_eq!(
                    (event.time, event.received, event.commune),
                    (after(60), after(60), Some("56260"))
                );
                assert!(!event.id.contains("hub-1") && event.topic == "b/water/56260");
                (event.level, event.markings.to_owned(), event.source.to_owned())
            })
        });
        let [one] = all.as_slice() else { panic!("{all:?}") };
        one.clone()
    };
    let copy = "eau-agregats-vers-cloud".to_owned();
    assert_eq!(leaves(&hub), Ok((Level::Internal, "essential_service".into(), copy)));
    for edit in [TWELVE, NOT_PERSONAL, EXPIRED, NO_COPY] {
        hub.activate(&[edit]);
        assert_eq!(leaves(&hub), Err(Withheld::NotAllowed), "{edit:?}");
    }
    hub.activate(&[]);
    assert!(leaves(&hub).is_ok(), "allowed again");
    hub.stop();
}

#[test]
fn an_aggregate_that_was_withheld_goes_as_it_was_once_a_policy_allows_it() {
    let mut hub = Hub::open(None, 10);
    hub.arrive("56260", 0..11, 10);
    hub.at(100);
    hub.turn();
    let mut record = Vec::new();
    hub.records(|_, _, aggregate| {
        aggregate.write_header(&mut record);
        record.extend_from_slice(aggregate.payload);
    });
    let judged = |hub: &Hub| {
        let (policies, now) = (&hub.work.of.policies, hub.work.of.clock.now());
        let kept = Kept {
            generation: 0,
            origin: 7,
            since: now,
            policy: 0,
            by: "cloud-confiance",
            target: "cloud-confiance",
            reason: "not_allowed",
            message: &record,
        };
        match judge(&kept, policies, &policies.current(), now) {
            Verdict::Goes(going) => {
                assert_eq!((going.kind, going.header.len()), (RecordKind::Aggregate, 0));
                assert_eq!(going.payload, record);
                None
            }
            Verdict::Stays(reason) => Some(reason),
        }
    };
    for edit in [TWELVE, NOT_PERSONAL, EXPIRED, NO_COPY] {
        hub.activate(&[edit]);
        assert_eq!(judged(&hub), Some("not_allowed"), "{edit:?}");
    }
    hub.activate(&[]);
    assert_eq!(judged(&hub), None);
    hub.stop();
}

#[test]
fn a_tightened_policy_gives_up_what_was_gathered_and_a_loosened_one_takes_up_nothing() {
    for edit in [TWELVE, NO_COPY] {
        let mut hub = Hub::open(None, 10);
        hub.arrive("56260", 0..20, 10);
        hub.turn();
        hub.activate(&[edit]);
        hub.turn();
        hub.activate(&[]);
        hub.at(100);
        hub.turn();
        assert_eq!(hub.published(), [], "{edit:?}");
        hub.stop();
    }
    // Decided under a policy without the copy: the same messages add nothing later.
    let mut hub = Hub::open(None, 10);
    hub.activate(&[EXPIRED]);
    hub.arrive("56260", 0..20, 10);
    hub.activate(&[]);
    hub.at(100);
    hub.turn();
    assert_eq!(hub.published(), []);
    hub.stop();
}

#[test]
fn a_journal_with_no_room_is_asked_again_and_the_window_stays() {
    let mut hub = Hub::open(None, 10);
    hub.arrive("56260", 0..11, 10);
    hub.consume();
    hub.at(100);
    // Handed over to nobody: the answer never comes.
    let (done, told) = oneshot::channel();
    let metrics = hub.work.of.metrics.target("cloud-confiance");
    hub.work.pending = Some(Pending {
        copy: "eau-agregats-vers-cloud".into(),
        end: after(60),
        suppressed: 0,
        metrics,
        told,
    });
    let now = hub.work.of.clock.now();
    hub.work.close(now, Duration::ZERO);
    assert!(hub.work.pending.is_some());
    drop(done);
    hub.work.close(now, Duration::ZERO);
    assert_eq!(hub.published(), []);
    hub.turn();
    let published = hub.published();
    assert_eq!(published.len(), 1);
    hub.stop();
}
