//! The journal as an operator meets it: bits that rot while the hub runs, and `octroi journal` on a hub that
//! is stopped.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use octroi_tests::hub::{Hub, Outlet};
use octroi_tests::load::{Load, Plan, Stream, Version};
use octroi_tests::process::{free_port, wait_until};
use octroi_tests::{needs, policy, report};
use serde_json::Value;

fn publish(hub: &Hub, streams: &[Stream], messages: u64, run: u64) -> u64 {
    let plan =
        Plan { version: Version::V5, connections: 1, window: 100, rate: None, messages: Some(messages) };
    let outcome = Load::start(hub.mqtt(), streams, plan, run).finish(Duration::from_secs(120));
    assert_eq!(outcome.acknowledged(), messages * streams.len() as u64);
    outcome.acknowledged()
}

/// The journal's segments, oldest first.
fn segments(hub: &Hub) -> Vec<PathBuf> {
    let files = fs::read_dir(hub.data().join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    segments.sort();
    segments
}

/// Flips a bit in the first plate number at or after `from`.
fn rot(segment: &PathBuf, from: usize) {
    let bytes = fs::read(segment).unwrap();
    let plate = br#""plate":"T-"#;
    let found = bytes[from..].windows(plate.len()).position(|window| window == plate).unwrap();
    let at = from + found + plate.len();
    let file = fs::File::options().write(true).open(segment).unwrap();
    file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
}

fn fenced(hub: &Hub) -> f64 {
    hub.metrics().sum("octroi_journal_fenced_ranges", &[])
}

/// What `verify` says is lost; it must end with 1.
#[track_caller]
fn lost(hub: &Hub) -> Vec<(u64, u64)> {
    let verify = hub.cli(&["journal", "verify", "--output", "json"]);
    assert_eq!(verify.code, 1, "{}{}", verify.out, verify.err);
    let logs: Value = serde_json::from_str(&verify.out).unwrap();
    let segments = logs.as_array().unwrap().iter().flat_map(|log| log["segments"].as_array().unwrap());
    let damage = segments.flat_map(|segment| segment["damage"].as_array().unwrap());
    let of = |damage: &Value, key: &str| damage[key].as_u64().unwrap();
    damage.map(|damage| (of(damage, "first_lost"), of(damage, "end_lost"))).collect()
}

#[test]
fn a_bit_that_rots_while_the_hub_runs_costs_one_frame_and_raises_the_alarm() {
    let _machine = needs::exclusive();
    // Nobody listens there: what is for that target stays in the journal.
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut hub = Hub::prepared(&[("dc-rennes", Outlet::Kafka(nowhere.clone()))], "");
    configure(&hub, "1 GiB", "64 MiB");
    hub.run();
    publish(&hub, &[policy::WASTE], 1, 0);
    wait_until("the hub's ids are known", Duration::from_secs(30), || !hub.archive("dc-bretagne").is_empty());
    let known = hub.archive("dc-bretagne").remove(0);
    let (generation, _) = known.sequence().unwrap();
    // Within one segment: from an older one, what waits for a target that is down is moved to its backlog.
    let plates = publish(&hub, &[policy::PLATES], 8_000, 1);
    let segment = &segments(&hub)[..];
    assert_eq!(segment.len(), 1, "{segment:?}");
    assert_eq!((fenced(&hub), hub.cli(&["journal", "verify"]).code), (0.0, 0));

    rot(&segment[0], 1 << 20);
    let [(first, end)] = lost(&hub)[..] else { panic!("one place is damaged") };
    let asked = hub.cli(&["explain", "--id", &format!("{generation}/{first}")]);
    assert_ne!(asked.code, 0, "it cannot be read any more: {}", asked.out);
    assert_eq!(fenced(&hub), 1.0, "found at reading");
    let status = hub.cli_json(&["status"]);
    assert_eq!(status["journal"]["fenced"], serde_json::json!([format!("{first}-{}", end - 1)]));
    let said = hub.cli(&["status"]).out;
    assert!(said.contains("journal verify"), "the alarm says what to do: {said}");

    // The target is there after all: everything but that frame reaches it.
    hub.terminate();
    let archive = hub.data().with_file_name("dc-rennes");
    let kafka = format!("kind = \"kafka\"\nbrokers = [\"{nowhere}\"]\nheaders = \"cloudevents\"\n");
    configure(&hub, &kafka, &format!("kind = \"archive\"\ndirectory = \"{}\"\n", archive.display()));
    hub.run();
    let due = plates - (end - first);
    wait_until("its neighbours arrive", Duration::from_secs(120), || {
        hub.archive("dc-rennes").len() as u64 >= due
    });
    let numbers: std::collections::BTreeSet<_> =
        hub.archive("dc-rennes").iter().filter_map(octroi_tests::delivered::Delivered::message).collect();
    assert_eq!(numbers.len() as u64, due, "each once, and none of the frame");
    assert_eq!(fenced(&hub), 1.0, "the relay met it");
    report::table(
        "a bit that rotted in the journal",
        &[("published", plates.to_string()), ("lost with its frame", (end - first).to_string())],
    );
}

#[track_caller]
fn configure(hub: &Hub, from: &str, to: &str) {
    let text = fs::read_to_string(hub.configuration()).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(hub.configuration(), text.replacen(from, to, 1)).unwrap();
}

/// The lines of an export, and its exit code.
fn export(hub: &Hub, arguments: &[&str]) -> (Vec<Value>, i32) {
    let finished = hub.cli(&[&["journal", "export"], arguments].concat());
    let lines = finished.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, finished.code)
}

fn messages(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["kind"] == "message").collect()
}

#[test]
fn a_stopped_hubs_journal_is_exported_and_a_running_ones_is_not() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    assert_eq!(publish(&hub, &[policy::COUNTS, policy::PLATES], 50, 0), 100);
    let running = hub.cli(&["journal", "export"]);
    assert_eq!((running.code, running.out.as_str()), (75, ""), "{}", running.err);
    hub.terminate();

    let (lines, code) = export(&hub, &[]);
    let all = messages(&lines);
    assert_eq!((all.len(), code), (100, 0));
    let mut topics = BTreeMap::new();
    for message in &all {
        assert_eq!(
            (&message["identity"], &message["decision"]["outcome"]),
            (&"id:ville-mobilite".into(), &"routed".into())
        );
        assert!(
            message["decision"]["space"].is_string() && message["domain"] == "mobility",
            "by name: {message}"
        );
        assert!(message["payload_base64"].as_str().is_some_and(|payload| payload.len() > 60));
        let level = message["label"]["level"].as_str().unwrap().to_owned();
        *topics.entry((level, message["targets"].to_string())).or_insert(0) += 1;
    }
    assert_eq!(topics.into_values().collect::<Vec<_>>(), [50, 50], "counts and plates");
    let count = |arguments: &[&str]| messages(&export(&hub, arguments).0).len();
    assert_eq!(count(&["--source", "ville-mobilite"]), 100);
    assert_eq!(count(&["--source", "id:ville-mobilite", "--target", "cloud-confiance"]), 50);
    assert_eq!(count(&["--source", "redon-lora"]), 0);
    let seq = all[10]["seq"].as_u64().unwrap();
    assert_eq!(count(&["--from", &seq.to_string(), "--to", &(seq + 1).to_string()]), 1);
    assert_eq!(export(&hub, &["--target", "nowhere"]).1, 64);
    assert_eq!(export(&hub, &["--log", "quarantine"]), (Vec::new(), 0));

    let file = hub.data().join("export.jsonl");
    let out = ["--out", file.to_str().unwrap()];
    assert_eq!(export(&hub, &out), (Vec::new(), 0));
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), lines.len());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "for its owner alone");
    assert_eq!(export(&hub, &out).1, 74, "nothing is written over");
}

#[test]
fn a_stopped_hubs_journal_is_repaired_byte_for_byte_and_a_running_ones_is_not() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    publish(&hub, &[policy::PLATES], 100, 0);
    assert_eq!(hub.cli(&["journal", "repair", "--dry-run"]).code, 75);
    hub.terminate();
    assert_eq!(hub.cli_json(&["journal", "repair"]).as_array().map(Vec::len), Some(0), "nothing to mend");

    let segment = segments(&hub).pop().unwrap();
    rot(&segment, 0);
    let torn = fs::metadata(&segment).unwrap().len() - 4096;
    fs::File::options().write(true).open(&segment).unwrap().write_all_at(b"torn", torn).unwrap();
    let before = fs::read(&segment).unwrap();
    let [(first, end)] = lost(&hub)[..] else { panic!("one place is damaged") };
    let (lines, code) = export(&hub, &[]);
    let holes: Vec<_> = lines.iter().filter(|line| line.get("hole").is_some()).collect();
    assert_eq!((holes.len(), code, &holes[0]["hole"]["first"]), (1, 1, &first.into()));
    assert_eq!(messages(&lines).len() as u64, 100 - (end - first), "all but the hole");

    let mend = |more: &[&str]| hub.cli(&[&["journal", "repair", "--output", "json"], more].concat());
    let told = mend(&["--dry-run"]);
    assert_eq!((told.code, fs::read(&segment).unwrap() == before), (1, true), "{}{}", told.out, told.err);
    let done = mend(&[]);
    assert_eq!(done.out, told.out.replace("\"dry_run\": true", "\"dry_run\": false"));
    let mends: Vec<Value> = serde_json::from_str(&done.out).unwrap();
    let kinds: Vec<_> = mends.iter().map(|mend| mend["what"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["damage", "torn_tail"]);
    for mend in &mends {
        let kept = fs::read(segment.with_file_name(mend["kept_in"].as_str().unwrap())).unwrap();
        let [from, to] = ["first_byte", "end_byte"].map(|key| mend[key].as_u64().unwrap() as usize);
        assert!(kept == before[from..to], "{mend}");
    }
    assert_eq!(mend(&[]).out.matches("torn_tail").count(), 0, "it is mended");
    hub.run();
    assert_eq!(fenced(&hub), 1.0, "and what is lost stays an alarm");
    assert!(!hub.log().contains("was cut off"), "nothing is left for the start to do");
}
