//! Each test drives an archive as a relay does, and reads the files back on its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::outlet::Event;
use crate::outlet::cloudevents::tests::event;

const GENERATION: u64 = 0x9f3c_51d2_a07b_e418;
const NOW: Timestamp = Timestamp(1_795_154_470_000_000);

fn open(directory: &Path, hub: &str, records: usize) -> Archive {
    let batch = BatchLimits { records, ..BatchLimits::default() };
    let (directory, hub) = (directory.to_path_buf(), hub.to_owned());
    Archive::open(ArchiveConfig { directory, hub, generation: GENERATION, batch }).unwrap()
}

/// A record whose partition and payload depend on its number alone.
fn offer(archive: &mut Archive, seq: u64) -> Result<(), DeliverError> {
    let id = format!("hub-1/9f3c51d2a07be418/{seq}");
    let payload = match seq % 3 {
        0 => format!("{{\"n\":{seq}}}").into_bytes(),
        1 => vec![0xff, u8::try_from(seq % 256).unwrap()],
        _ => format!("{{\n\"n\":{seq}}}").into_bytes(),
    };
    let space = ["rennes", "vannes"][usize::from(seq.is_multiple_of(5))];
    let received = Timestamp(NOW.0 + i64::try_from(seq).unwrap() * 60_000_000);
    archive.offer(&Outgoing::for_tests(Event { space, received, ..event(seq, &id, &payload) }))
}

/// Polls once, answering an intent as the journal would.
fn step(archive: &mut Archive, now: Timestamp, intents: &mut Vec<Bounds>) -> Result<Progress, DeliverError> {
    let progress = archive.poll(Duration::ZERO, now)?;
    if let Some(bounds) = progress.intend {
        intents.push(bounds);
        archive.intended(bounds);
    }
    Ok(progress)
}

/// Offers `seqs`, and returns how many were delivered while doing so.
fn run(archive: &mut Archive, seqs: impl IntoIterator<Item = u64>, intents: &mut Vec<Bounds>) -> u64 {
    let mut delivered = 0;
    let mut count = |progress: Progress| {
        delivered += progress.delivered.iter().map(|count| count.records).sum::<u64>();
    };
    for seq in seqs {
        while let Err(error) = offer(archive, seq) {
            assert!(matches!(error, DeliverError::Full));
            count(step(archive, NOW, intents).unwrap());
        }
    }
    for _ in 0..3 {
        count(step(archive, NOW, intents).unwrap());
    }
    delivered
}

/// Every file below `directory`, by its path from there.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![directory.to_path_buf()]);
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// The sequence numbers and payloads of each partition, in the order of its files.
fn read_back(directory: &Path) -> BTreeMap<String, Vec<(u64, Vec<u8>)>> {
    use base64::Engine as _;
    let mut read: BTreeMap<String, Vec<(u64, Vec<u8>)>> = BTreeMap::new();
    for (path, bytes) in files(directory) {
        let partition = path.rsplit_once('/').unwrap().0;
        let lines = String::from_utf8(zstd::decode_all(&*bytes).unwrap()).unwrap();
        for line in lines.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let seq = value["id"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
            let payload = match value["data_base64"].as_str() {
                Some(text) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
                None => value["data"].to_string().into_bytes(),
            };
            assert_eq!(value["space"], partition.split(['=', '/']).nth(1).unwrap());
            read.entry(partition.to_owned()).or_default().push((seq, payload));
        }
    }
    read
}

#[test]
fn names_modes_and_partitions_are_as_documented() {
    let directory = TempDir::new().unwrap();
    let mut archive = open(directory.path(), "hub-1", 2);
    let mut intents = Vec::new();
    assert_eq!(run(&mut archive, [4, 5], &mut intents), 2);
    assert_eq!(intents, [Bounds { first: 4, last: 5 }]);
    let name = "hub-1-9f3c51d2a07be418-00000000000000000004-00000000000000000005.ndjson.zst";
    let found = files(directory.path());
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            format!("space=rennes/domain=mobility/date=2026-11-20/hour=06/{name}"),
            format!("space=vannes/domain=mobility/date=2026-11-20/hour=06/{name}"),
        ]
    );
    for path in found.keys() {
        let mode = fs::metadata(directory.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{path} is {mode:o}");
    }
}

#[test]
fn what_is_read_back_is_what_was_offered_in_order() {
    let directory = TempDir::new().unwrap();
    let mut archive = open(directory.path(), "hub-1", 17);
    let mut intents = Vec::new();
    let mut delivered = run(&mut archive, 1..=200, &mut intents);
    archive.flush(200);
    delivered += run(&mut archive, [], &mut intents);
    assert_eq!(delivered, 200);
    let read = read_back(directory.path());
    assert!(read.len() > 4, "several hours and spaces");
    for records in read.values() {
        assert!(records.is_sorted_by(|a, b| a.0 < b.0));
    }
    let all: BTreeMap<u64, Vec<u8>> = read.into_values().flatten().collect();
    assert_eq!(all.len(), 200);
    for (seq, payload) in all {
        match seq % 3 {
            0 => assert_eq!(payload, format!("{{\"n\":{seq}}}").into_bytes()),
            1 => assert_eq!(payload, [0xff, u8::try_from(seq % 256).unwrap()]),
            _ => assert_eq!(payload, format!("{{\n\"n\":{seq}}}").into_bytes()),
        }
    }
}

#[test]
fn nothing_is_written_before_its_bounds_are_on_record() {
    let directory = TempDir::new().unwrap();
    let mut archive = open(directory.path(), "hub-1", 3);
    for seq in 1..=3 {
        offer(&mut archive, seq).unwrap();
    }
    assert!(matches!(offer(&mut archive, 4), Err(DeliverError::Full)));
    let bounds = Bounds { first: 1, last: 3 };
    assert_eq!(archive.poll(Duration::ZERO, NOW).unwrap().intend, Some(bounds));
    archive.intended(Bounds { first: 1, last: 2 }); // another's
    let progress = archive.poll(Duration::ZERO, NOW).unwrap();
    assert_eq!((progress.intend, progress.unacked_from), (Some(bounds), Some(1)), "asked for again");
    assert!(files(directory.path()).is_empty());
    archive.intended(bounds);
    let progress = archive.poll(Duration::ZERO, NOW).unwrap();
    assert_eq!((progress.unacked_from, progress.state), (None, OutletState::Up));
    assert_eq!(files(directory.path()).len(), 1);
}

#[test]
fn a_crash_between_renames_is_mended_with_the_same_bytes() {
    let directory = TempDir::new().unwrap();
    let mut intents = Vec::new();
    run(&mut open(directory.path(), "hub-1", 100), 1..=100, &mut intents);
    let whole = files(directory.path());
    assert!(whole.len() > 2);
    for cut_short in 0..whole.len() {
        for path in whole.keys().skip(cut_short) {
            fs::remove_file(directory.path().join(path)).unwrap();
        }
        fs::write(directory.path().join(".octroi/hub-1/1.part"), b"torn").unwrap();
        // Other limits, as after a change of configuration.
        let mut archive = open(directory.path(), "hub-1", 7);
        archive.rewind(1, &intents);
        let mut again = Vec::new();
        assert_eq!(run(&mut archive, 1..=100, &mut again), 100);
        assert!(again.is_empty(), "the bounds are on record already");
        assert_eq!(files(directory.path()), whole);
    }
}

#[test]
fn batches_are_cut_at_recorded_bounds_and_elsewhere_anew() {
    let bounds = |first, last| Bounds { first, last };
    // Intents, what is offered, through where it is flushed, the bounds of the files.
    type Case<'a> = (&'a [Bounds], &'a [u64], u64, &'a [Bounds]);
    let cases: &[Case<'_>] = &[
        (
            &[bounds(1, 4), bounds(6, 9)],
            &[1, 2, 4, 6, 9, 12],
            12,
            &[bounds(1, 4), bounds(6, 9), bounds(12, 12)],
        ),
        // The last of a batch is withheld now.
        (&[bounds(1, 4)], &[1, 2, 7], 7, &[bounds(1, 4), bounds(7, 7)]),
        (&[bounds(1, 4)], &[1, 2], 4, &[bounds(1, 4)]),
        // Not all of it was offered yet: it must not be written.
        (&[bounds(1, 4)], &[1, 2], 3, &[]),
        // All of a batch is withheld now.
        (&[bounds(1, 4), bounds(5, 6)], &[5, 6, 7], 7, &[bounds(5, 6), bounds(7, 7)]),
        // A record that was withheld then comes before a batch.
        (&[bounds(3, 4)], &[1, 2, 3, 4], 4, &[bounds(1, 2), bounds(3, 4)]),
        // Partly delivered, or overlapping: cut anew.
        (&[bounds(0, 2)], &[1, 2, 3], 3, &[bounds(1, 3)]),
        (&[bounds(1, 2), bounds(2, 3)], &[1, 2, 3], 3, &[bounds(1, 2), bounds(3, 3)]),
    ];
    for (intents, offered, through, expected) in cases {
        let directory = TempDir::new().unwrap();
        let mut archive = open(directory.path(), "hub-1", 100);
        archive.rewind(1, intents);
        let mut again = Vec::new();
        run(&mut archive, offered.iter().copied(), &mut again);
        archive.flush(*through);
        run(&mut archive, [], &mut again);
        let names: std::collections::BTreeSet<String> = files(directory.path())
            .into_keys()
            .map(|path| path.rsplit_once("e418-").unwrap().1.trim_end_matches(".ndjson.zst").to_owned())
            .collect();
        let expected: std::collections::BTreeSet<String> =
            expected.iter().map(|bounds| format!("{:020}-{:020}", bounds.first, bounds.last)).collect();
        assert_eq!(names, expected, "{intents:?} {offered:?}");
    }
}

#[test]
fn two_hubs_share_an_archive_without_touching_each_other() {
    let directory = TempDir::new().unwrap();
    let (mut one, mut two) = (open(directory.path(), "hub-1", 6), open(directory.path(), "hub-2", 6));
    fs::write(directory.path().join(".octroi/hub-2/0.part"), b"being written").unwrap();
    run(&mut one, 1..=6, &mut Vec::new());
    drop(open(directory.path(), "hub-1", 6));
    assert!(directory.path().join(".octroi/hub-2/0.part").exists());
    run(&mut two, 1..=6, &mut Vec::new());
    assert_eq!(files(directory.path()).len(), 4);
}

#[test]
fn a_missing_directory_blocks_and_heals() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("dc-rennes");
    let mut archive = open(&directory, "hub-1", 2);
    assert!(!directory.exists(), "a missing mount must not be papered over");
    assert_eq!(archive.health.state, OutletState::Blocked);
    offer(&mut archive, 1).unwrap();
    offer(&mut archive, 2).unwrap();
    let Err(DeliverError::Blocked { reason, mend }) = archive.poll(Duration::ZERO, NOW) else {
        panic!("not blocked")
    };
    assert!(reason.en.contains("dc-rennes") && mend.en.contains("install -d"), "{reason:?}; {mend:?}");
    assert!(reason.fr.contains("dc-rennes") && mend.fr.contains("install -d"), "{reason:?}; {mend:?}");
    let waiting = archive.poll(Duration::ZERO, NOW).unwrap();
    assert_eq!((waiting.state, waiting.unacked_from), (OutletState::Blocked, Some(1)));
    assert!(waiting.reason.en.contains(&mend.en) && waiting.reason.fr.contains(&mend.fr));
    archive.intended(waiting.intend.unwrap());
    fs::create_dir(&directory).unwrap();
    let progress = archive.poll(Duration::ZERO, Timestamp(NOW.0 + 60_000_000)).unwrap();
    assert_eq!(progress.unacked_from, None);
    assert_eq!(archive.health.state, OutletState::Up);
    assert_eq!(files(&directory).len(), 1);
}

#[test]
fn a_batch_that_cannot_be_written_is_kept_and_the_state_stays_until_it_is() {
    let directory = TempDir::new().unwrap();
    let mut archive = open(directory.path(), "hub-1", 2);
    fs::write(directory.path().join("space=rennes"), b"in the way").unwrap();
    let mut intents = Vec::new();
    offer(&mut archive, 1).unwrap();
    offer(&mut archive, 2).unwrap();
    step(&mut archive, NOW, &mut intents).unwrap();
    let mut now = NOW;
    for _ in 0..4 {
        let Err(DeliverError::Blocked { reason, mend }) = archive.poll(Duration::ZERO, now) else {
            panic!("not blocked")
        };
        assert!(reason.en.contains("space=rennes") && mend.en.contains("move away"), "{reason:?}; {mend:?}");
        // The relay rewinds; the same records come again.
        archive.rewind(1, &intents);
        now = Timestamp(now.0 + 60_000_000);
        assert_eq!(archive.poll(Duration::ZERO, now).unwrap().state, OutletState::Blocked);
        offer(&mut archive, 1).unwrap();
        offer(&mut archive, 2).unwrap();
    }
    fs::remove_file(directory.path().join("space=rennes")).unwrap();
    let progress = archive.poll(Duration::ZERO, Timestamp(now.0 + 60_000_000)).unwrap();
    assert_eq!((progress.state, progress.unacked_from), (OutletState::Up, None));
    assert_eq!(files(directory.path()).len(), 1, "and nothing is left aside");
}

#[test]
fn a_batch_is_cut_by_records_bytes_or_age() {
    let directory = TempDir::new().unwrap();
    let mut archive = open(directory.path(), "hub-1", 100);
    offer(&mut archive, 1).unwrap();
    assert_eq!(archive.poll(Duration::ZERO, NOW).unwrap().intend, None);
    let almost = Timestamp(NOW.0 + 9_999_999);
    assert_eq!(archive.poll(Duration::ZERO, almost).unwrap().intend, None);
    let then = Timestamp(NOW.0 + 10_000_000);
    assert_eq!(archive.poll(Duration::ZERO, then).unwrap().intend, Some(Bounds { first: 1, last: 1 }));
    archive.rewind(1, &[]);
    archive.limits.bytes = 1000;
    let taken = (1..=10).take_while(|seq| offer(&mut archive, *seq).is_ok()).count();
    assert_eq!(taken, 3, "lines of about 400 bytes");
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let config = |directory: &str, hub: &str| ArchiveConfig {
        directory: directory.into(),
        hub: hub.to_owned(),
        generation: 1,
        batch: BatchLimits::default(),
    };
    assert_eq!(config("/srv/a", "hub-1").check(), Ok(()));
    assert_eq!(config("srv/a", "hub-1").check(), Err(OpenError::RelativeDirectory("srv/a".into())));
    for hub in ["", "../x", ".hub", "a/b", "é", &"x".repeat(65)] {
        assert_eq!(config("/srv/a", hub).check(), Err(OpenError::HubId(hub.to_owned())));
    }
}

/// Prints what one core needs; a bar is for the bench, on a quiet machine.
#[test]
#[expect(clippy::print_stdout, reason = "the measure")]
fn a_large_batch_is_written_and_its_rate_printed() {
    const RECORDS: u64 = 60_000;
    let directory = TempDir::new().unwrap();
    let mut archive = open(directory.path(), "hub-1", 100_000);
    let ids: Vec<String> = (0..RECORDS).map(|seq| format!("hub-1/9f3c51d2a07be418/{seq}")).collect();
    // Numbers that do not repeat, as measures are.
    let payloads: Vec<String> = (1..=RECORDS)
        .map(|n| {
            let x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let measure = |m: u32| format!("\"measure_{m}\":{}.{m}", x.rotate_left(m * 11) >> 40);
            let measures: Vec<String> = (0..5).map(measure).collect();
            let device = x >> 32;
            let second = n % 60;
            let measures = measures.join(",");
            format!("{{\"device\":\"{device:x}\",\"at\":\"2026-11-20T06:01:{second:02}Z\",{measures}}}")
        })
        .collect();
    let cpu = || -> Duration {
        let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Duration::from_nanos(stat.split(' ').next().unwrap_or_default().parse().unwrap_or_default())
    };
    let start = cpu();
    let (mut delivered, mut polls) = (0, 0);
    for (seq, (id, payload)) in (0..).zip(ids.iter().zip(&payloads)) {
        let space = ["a", "b", "c"][usize::try_from(seq % 3).unwrap()];
        let event = Event { space, ..event(seq, id, payload.as_bytes()) };
        while archive.offer(&Outgoing::for_tests(event)).is_err() {
            delivered += step(&mut archive, NOW, &mut Vec::new())
                .unwrap()
                .delivered
                .map(|c| c.records)
                .iter()
                .sum::<u64>();
        }
    }
    archive.flush(RECORDS);
    while delivered < RECORDS && polls < 10 {
        delivered += step(&mut archive, NOW, &mut Vec::new())
            .unwrap()
            .delivered
            .map(|c| c.records)
            .iter()
            .sum::<u64>();
        polls += 1;
    }
    let elapsed = cpu() - start;
    let bytes: usize = files(directory.path()).values().map(Vec::len).sum();
    println!(
        "{delivered} records of {} bytes in {elapsed:?} of one core, {bytes} bytes of files",
        payloads[0].len()
    );
    assert_eq!(delivered, RECORDS);
}
