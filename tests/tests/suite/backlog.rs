//! A dead target does not hold the disk of the others: what waits for it is
//! moved out of the shared journal, and leaves whole once the target is back.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Stream, Version};
use octroi_tests::oracle::judge_archives;
use octroi_tests::process::{holds_within, wait_until};
use octroi_tests::{needs, policy, report};

/// The target that is down. It gets little; the metropolis's datacenter gets much.
const DEAD: &str = "dc-bretagne";
/// Of a journal of 256 MiB.
const SEGMENT: u64 = 16 << 20;

/// Plates with a picture of `bytes` beside them.
pub(crate) fn pictures(bytes: usize) -> Stream {
    let payload = format!(
        r#"{{"type":"AnprFlowObserved","device":"cam-%N%","ts":"2026-11-20T06:01:10Z","plate":"T-%ID%","view":"{}"}}"#,
        "x".repeat(bytes)
    );
    // For the life of the test's process, as a constant would be.
    Stream { name: "picture", payload: payload.leak(), ..policy::PLATES }
}

/// Bytes that the files below a directory have on disk or reserved there.
pub(crate) fn size(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    // A segment may go while it is looked at.
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// What journal and backlogs have on disk, without what each log keeps free in its reserve from its start on.
fn used(data: &Path) -> u64 {
    let in_log =
        |log: &Path| size(log).saturating_sub(fs::metadata(log.join("reserve")).map_or(0, |file| file.len()));
    let backlogs = fs::read_dir(data.join("backlog")).into_iter().flatten().flatten();
    in_log(&data.join("journal")) + backlogs.map(|backlog| in_log(&backlog.path())).sum::<u64>()
}

/// Whose backlogs there are.
fn backlogs(hub: &Hub) -> Vec<String> {
    let backlogs = fs::read_dir(hub.data().join("backlog")).expect("there is room for backlogs");
    let names = backlogs.flatten().filter_map(|backlog| backlog.file_name().into_string().ok());
    names.filter_map(|name| Some(name.split_once('@')?.0.to_owned())).collect()
}

/// The most that journal and backlogs take while it lives.
struct Peak {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
}

impl Peak {
    fn watch(hub: &Hub) -> Self {
        let (stop, most) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ended, sink, data) = (Arc::clone(&stop), Arc::clone(&most), hub.data());
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                sink.fetch_max(used(&data), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, most }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.most.load(Ordering::Relaxed)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[test]
fn a_dead_target_holds_no_more_disk_than_what_waits_for_it_over_kills_and_gets_it_all_in_order() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    hub.configure("[journal]\nlimit = \"256 MiB\"\n");
    hub.obstruct(DEAD);
    hub.run();
    let peak = Peak::watch(&hub);
    let streams = [pictures(16 << 10), policy::WASTE];
    // The long form: 10 GiB.
    let pictures = if needs::long() { 328_000 } else { 3_000 };
    // No faster than the target that is up takes them: what crowds the journal would be moved too, for a while.
    let rate = Some(if needs::long() { 1_000 } else { 150 });
    let plan = Plan { version: Version::V5, connections: 2, window: 40, rate, messages: Some(pictures) };
    // Far more than the bound below: were the dead target's segments kept, all of it would be there.
    let much = Load::start(hub.mqtt(), &streams[..1], plan, 0);
    let few = Plan { rate: Some(50), messages: None, ..plan };
    let little = Load::start(hub.mqtt(), &streams[1..], few, 1);
    let patience = Duration::from_secs(if needs::long() { 1_800 } else { 240 });
    for part in 1..=3 {
        let due = part * pictures / 2;
        wait_until("the pictures pass", patience, || much.acknowledged() >= due);
        if part < 3 {
            hub.kill();
            hub.run();
        }
    }
    let much = much.finish(patience);
    let mut little = little.stop(Duration::from_secs(60));
    for sent in little.connections.iter_mut().flatten() {
        sent.stream = 1;
    }
    // What waits, as the hub counts it, and what it takes on disk: a record and its place in a frame.
    let waiting = hub.metrics().sum("octroi_outlet_pending", &[&format!("target=\"{DEAD}\"")]);
    let waits = waiting as u64 * 512;
    let used = || used(&hub.data());
    let bound = waits + 2 * SEGMENT;
    // What crowds the journal of a slow machine is moved for the target that is up too, and given back soon.
    let let_go = holds_within(Duration::from_secs(60), || used() <= bound && backlogs(&hub) == [DEAD]);
    let on_disk = format!("{} on disk, {} are the bound", mebibytes(used()), mebibytes(bound));
    assert!(let_go, "{on_disk}, backlogs of {:?}", backlogs(&hub));
    let reserves = size(&hub.data().join("journal")) + size(&hub.data().join("backlog")) - used();
    let backlog = hub.metrics().sum("octroi_backlog_bytes", &[&format!("target=\"{DEAD}\"")]);
    report::table(
        "one target down",
        &[
            ("went to the other", mebibytes(2 * pictures * (16 << 10))),
            ("waits for the dead one", format!("{waiting} records, {} at most", mebibytes(waits))),
            ("on disk, journal and backlog", mebibytes(used())),
            ("the bound", mebibytes(bound)),
            ("their reserves beside it", mebibytes(reserves)),
            ("most on disk meanwhile", mebibytes(peak.end())),
        ],
    );
    assert!(waiting > 100.0 && backlog > 0.0, "{waiting} wait, {backlog} bytes are moved");

    hub.clear(DEAD);
    hub.kill();
    hub.run();
    judge_archives(&hub, &streams, &[much, little], patience)
        .assert_kept("one target down, two kills, and back");
    wait_until("what is empty is given back", Duration::from_secs(30), || backlogs(&hub).is_empty());
}

#[test]
fn a_kill_while_an_empty_backlog_is_given_back_loses_and_doubles_nothing() {
    let Some(fire) = needs::fire_binary() else { return };
    let _machine = needs::exclusive();
    for point in ["backlog.is_done_with", "backlog.is_given_back"] {
        let mut hub = Hub::prepared(&[], "");
        hub.obstruct(DEAD);
        hub.fail_at(&fire, &format!("{point}:1"));
        hub.run();
        let streams = [pictures(16 << 10), policy::WASTE];
        let patience = Duration::from_secs(60);
        let plan =
            Plan { version: Version::V5, connections: 2, window: 40, rate: Some(150), messages: Some(200) };
        let loads = [
            Load::start(hub.mqtt(), &streams[1..], plan, 1),
            Load::start(hub.mqtt(), &streams[..1], plan, 0),
        ];
        let [mut little, much] = loads.map(|load| load.finish(patience));
        for sent in little.connections.iter_mut().flatten() {
            sent.stream = 1;
        }
        wait_until("what waits is moved", patience, || backlogs(&hub) == [DEAD]);
        hub.clear(DEAD);
        let status = hub.ends_within(patience).expect("it is given back");
        assert_eq!(status.signal(), Some(9), "{}", hub.log());
        hub.fail_at(&fire, "");
        hub.run();
        judge_archives(&hub, &streams, &[much, little], patience).assert_kept(point);
        assert_eq!(backlogs(&hub), [] as [String; 0], "{point}");
    }
}
