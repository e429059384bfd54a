//! Version 1, as it was written once: it stays readable, and this program still writes the same bytes.

use crate::support::{chunk, options, put, read_all, try_open};
use octroi_journal::sim::SimDisk;
use octroi_journal::{Finding, FrameKind, Inspector, Journal};
use std::sync::Arc;

const FILE: &str = "00000000000000000000.log";
const GOLDEN: &[u8] = include_bytes!("../golden/v1/00000000000000000000.log");

fn write() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut entropy = 0x0C7_2017_u64;
    let (mut journal, _) = Journal::open(Arc::new(disk.clone()), options(), &mut || {
        entropy = entropy.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        entropy
    })
    .unwrap();
    let (kafka, archive) =
        (journal.register_target("kafka", 0).unwrap(), journal.register_target("archive", 0).unwrap());
    put(&mut journal, kafka.mask(), b"first");
    journal.append(chunk(&[(archive.mask(), b"second".to_vec()), (0, vec![])])).unwrap();
    journal.append(chunk(&[(kafka.mask() | archive.mask(), vec![0xA5; 300])])).unwrap();
    journal.commit(&mut |_| {}).unwrap();
    journal.advance(kafka, 4).unwrap();
    journal.seal(&mut |_| {}).unwrap();
    disk.copy()
}

#[test]
fn this_program_still_writes_version_1_byte_for_byte() {
    let bytes = write().bytes(FILE).unwrap();
    if bytes != GOLDEN {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(FILE);
        std::fs::write(&path, &bytes).unwrap();
        panic!("the format changed; if that is meant, raise VERSION and keep this file: {}", path.display());
    }
}

#[test]
fn version_1_stays_readable() {
    let disk = SimDisk::new(2);
    disk.put(FILE, GOLDEN);
    let mut frames = Vec::new();
    let inspector = Inspector::new(Arc::new(disk.clone()));
    let segment = inspector.segments().unwrap().remove(0);
    let header = segment.header.clone().unwrap();
    assert_eq!(
        (header.version, header.hub.as_str(), header.base_seq, header.segment_bytes),
        (1, "hub-1", 0, 8192)
    );
    inspector
        .walk(&segment, None, &mut |finding| {
            if let Finding::Frame { kind, first_seq, count, .. } = finding {
                frames.push((kind, first_seq, count));
            }
        })
        .unwrap();
    use FrameKind::{Control, Data, State};
    let expected = [
        (State, 0, 0),
        (State, 0, 0),
        (Control, 0, 1),
        (Data, 1, 1),
        (Control, 2, 1),
        (Data, 3, 2),
        (Data, 5, 1),
        (Control, 6, 1),
        (Control, 7, 1),
    ];
    assert_eq!(frames, expected);

    let (journal, recovery) = try_open(&disk, options()).unwrap();
    assert!(!recovery.is_damaged() && recovery.torn_bytes == 0);
    let expected = [
        (1, 0b01, b"first".to_vec()),
        (3, 0b10, b"second".to_vec()),
        (4, 0, vec![]),
        (5, 0b11, vec![0xA5; 300]),
    ];
    assert_eq!(read_all(&journal).records, expected);
    let cursors: Vec<_> = journal.targets().into_iter().map(|t| (t.name, t.bit.index(), t.cursor)).collect();
    assert_eq!(cursors, [("kafka".to_owned(), 0, 4), ("archive".to_owned(), 1, 0)]);
}
