use octroi_policy::{Label, Reason, SpaceIx};

use super::*;
use crate::record::Step;

#[test]
fn a_tally_counted_by_the_writer_is_the_one_read_back() {
    let outcomes = [
        (StoredOutcome::Routed { space: SpaceIx::from_index(0).unwrap(), copies: Vec::new() }, 0b101_u64),
        (StoredOutcome::Quarantined(Reason::NoRuleMatches), 1 << 63),
        (StoredOutcome::Held(Reason::NoAllowedTarget, None), 1 << 62),
    ];
    let (mut counted, mut replayed) = (Ledger::default(), Ledger::default());
    for (n, (outcome, targets)) in outcomes.iter().enumerate() {
        let received = Timestamp(i64::try_from(n).unwrap());
        let mut tally = Tally::default();
        tally.received += 1;
        tally.message(outcome, *targets, received);
        let mut bytes = Vec::new();
        let message = Message {
            policy: 1,
            received,
            origin: None,
            time: None,
            outcome: outcome.clone(),
            label: Label::default(),
            domain: None,
            commune: "",
            identity: "user:a",
            device: "",
            topic: "t",
            retain: false,
            user_properties: Vec::new(),
            payload: b"",
        };
        message.write_header(&mut bytes);
        let steps = vec![Step::Opened(u16::try_from(n).unwrap())];
        let exchanges = Exchanges { session: "user:a\0c1".to_owned(), steps };
        let steps = exchanges.to_bytes();
        tally.bytes = (bytes.len() + steps.len()) as u64;
        tally.exchanges = Some(exchanges);
        counted.add(&tally, Some("user:a"));
        replayed.apply(RecordKind::Message, *targets, &bytes).unwrap();
        replayed.apply(RecordKind::Exchanges, 0, &steps).unwrap();
    }
    assert_eq!(counted, replayed);
    assert_eq!((counted.unaccounted(), counted.pending(0), counted.pending(63)), (0, 1, 1));
}

#[test]
fn a_snapshot_is_read_back() {
    let mut ledger = Ledger::default();
    ledger.apply(RecordKind::Epoch, 0, &epoch_record("abcd", Timestamp(5))).unwrap();
    ledger.apply(RecordKind::SessionOpened, 0, &session_record("id:a\0c1", 60)).unwrap();
    ledger.apply(RecordKind::Intent, 0, &Intent { target: 2, first: 4, last: 9 }.to_bytes()).unwrap();
    ledger
        .apply(
            RecordKind::Progress,
            0,
            &Progress { target: 2, delivered: 4, withheld: 1, upto: Some(3) }.to_bytes(),
        )
        .unwrap();
    let mut bytes = Vec::new();
    ledger.write_snapshot(&mut bytes);
    assert_eq!(Ledger::from_snapshot(&bytes).unwrap(), ledger);
    ledger.apply(RecordKind::SessionEnded, 0, &session_ended_record("id:a\0c1")).unwrap();
    assert!(ledger.sessions.is_empty());
    assert_eq!(ledger.intents_from(2, 9), [Bounds { first: 4, last: 9 }]);
    let progress = Progress { target: 2, delivered: 9, withheld: 1, upto: Some(10) };
    ledger.apply(RecordKind::Progress, 0, &progress.to_bytes()).unwrap();
    assert!(ledger.intents_from(2, 0).is_empty());
    assert_eq!(ledger.served[&2], 10);
}

#[test]
fn a_ledger_is_stored_as_it_was_and_stays_readable() {
    let golden = include_bytes!("../../golden/ledger-1.snapshot");
    let mut ledger = Ledger::default();
    (ledger.tally.received, ledger.tally.routed, ledger.tally.quarantined) = (9, 6, 3);
    ledger.tally.assigned = vec![6, 2];
    ledger.tally.close("eau", Timestamp(1_795_000_000_000_000));
    ledger.apply(RecordKind::Epoch, 0, &epoch_record("abcd", Timestamp(5))).unwrap();
    ledger.apply(RecordKind::SessionOpened, 0, &session_record("id:a\0c1", 60)).unwrap();
    ledger.apply(RecordKind::Intent, 0, &Intent { target: 2, first: 4, last: 9 }.to_bytes()).unwrap();
    ledger.done.insert(2, Done { delivered: 4, withheld: 1 });
    ledger.announced(fate(Log::Hold, What::Released, 1, vec![4]));
    assert_eq!(Ledger::from_snapshot(golden).unwrap(), ledger);
    let mut bytes = Vec::new();
    ledger.write_snapshot(&mut bytes);
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(golden));
}

#[test]
fn open_packet_ids_are_kept_until_their_release_and_go_with_their_session() {
    use Step::{Opened, Released};
    let session = "id:a\0c";
    let exchanges = |steps: &[Step]| Exchanges { session: session.to_owned(), steps: steps.to_vec() };
    let (mut written, mut replayed) = (Ledger::default(), Ledger::default());
    let both = |written: &mut Ledger, replayed: &mut Ledger, steps: &[Step]| {
        let bytes = exchanges(steps).to_bytes();
        let counted = bytes.len() as u64;
        let tally = Tally { exchanges: Some(exchanges(steps)), bytes: counted, ..Tally::default() };
        written.add(&tally, Some("id:a"));
        replayed.apply(RecordKind::Exchanges, 0, &bytes).unwrap();
        assert_eq!(written, replayed, "{steps:?}");
    };
    both(&mut written, &mut replayed, &[Opened(1)]);
    assert!(written.exchanges.is_empty(), "nothing without a session");
    let note = |ledger: &mut Ledger, kind, bytes: &[u8]| ledger.apply(kind, 0, bytes).unwrap();
    for ledger in [&mut written, &mut replayed] {
        note(ledger, RecordKind::SessionOpened, &session_record(session, 60));
    }
    both(&mut written, &mut replayed, &[Opened(1), Opened(2), Released(1), Opened(3)]);
    assert_eq!(written.open_exchanges(session), [2, 3]);
    note(&mut written, RecordKind::SessionExpiry, &session_record(session, 90));
    assert_eq!((written.sessions[session], written.open_exchanges(session)), (90, vec![2, 3]));
    let mut bytes = Vec::new();
    written.write_snapshot(&mut bytes);
    assert_eq!(Ledger::from_snapshot(&bytes).unwrap(), written);
    for (kind, bytes) in [
        (RecordKind::SessionOpened, session_record(session, 60)),
        (RecordKind::SessionEnded, session_ended_record(session)),
    ] {
        let mut ledger = written.clone();
        note(&mut ledger, kind, &bytes);
        assert!(ledger.exchanges.is_empty(), "{kind:?}");
    }
    note(&mut written, RecordKind::SessionExpiry, &session_record("id:b\0c", 90));
    assert_eq!(written.sessions.len(), 1, "no session begins by its expiry");
}

fn fate(log: Log, what: What, messages: u64, seqs: Vec<u64>) -> Fate {
    Fate { log, generation: 1, what, at: 9, why: String::new(), messages, seqs }
}

#[test]
fn what_leaves_a_side_log_moves_in_the_balance_and_is_not_received_again() {
    let mut written = Ledger::default();
    (written.tally.received, written.tally.quarantined, written.tally.held) = (5, 3, 2);
    let mut replayed = written.clone();
    let fates = [
        fate(Log::Quarantine, What::Released, 1, vec![4]),
        fate(Log::Hold, What::Released, 1, vec![1, 2]),
        fate(Log::Hold, What::Expired, 1, vec![3]),
        fate(Log::Quarantine, What::Purged, 2, vec![5, 6]),
    ];
    for announced in &fates {
        written.add(&Tally { fate: Some(announced.clone()), ..Tally::default() }, None);
        replayed.apply(RecordKind::Fate, 0, &announced.to_bytes()).unwrap();
    }
    assert_eq!(written, replayed);
    assert_eq!(written.fate.as_ref(), fates.last(), "the one that a crash may leave unfinished");
    let balance = Balance { routed: 2, quarantined: 1, held: 0, purged: 2 };
    assert_eq!((written.tally.balance(), written.unaccounted()), (balance, 0));
    assert_eq!(written.tally.left(Log::Hold, What::Released), Left { messages: 1, entries: 2 });
    assert_eq!(written.tally.latest, 9, "policy time is on record");
    let mut bytes = Vec::new();
    written.write_snapshot(&mut bytes);
    assert_eq!(Ledger::from_snapshot(&bytes).unwrap(), written);
}

#[test]
fn what_was_released_twice_shows_in_the_balance() {
    let mut ledger = Ledger::default();
    (ledger.tally.received, ledger.tally.held) = (1, 1);
    for _ in 0..2 {
        let tally = Tally { fate: Some(fate(Log::Hold, What::Released, 1, vec![1])), ..Tally::default() };
        ledger.add(&tally, None);
    }
    assert_eq!(ledger.unaccounted(), -1);
}

#[test]
fn a_pause_is_in_force_until_it_is_resumed_and_stands_in_the_snapshot() {
    let mut ledger = Ledger::default();
    let mut note = |paused, why| {
        let note = Pause { target: 2, paused, at: Timestamp(5), why };
        ledger.apply(RecordKind::Pause, 0, &note.to_bytes()).unwrap();
        let mut bytes = Vec::new();
        ledger.write_snapshot(&mut bytes);
        Ledger::from_snapshot(&bytes).unwrap().paused
    };
    let paused = Paused { since: 5, why: "works".to_owned() };
    assert_eq!(note(true, "works"), BTreeMap::from([(2, paused)]));
    assert!(note(false, "done").is_empty());
}

#[test]
fn a_boundary_on_record_is_a_time_that_policy_time_does_not_go_behind() {
    let mut ledger = Ledger::default();
    ledger.apply(RecordKind::Boundary, 0, &7_i64.to_le_bytes()).unwrap();
    ledger.apply(RecordKind::Boundary, 0, &5_i64.to_le_bytes()).unwrap();
    assert_eq!(ledger.tally.latest, 7);
    assert!(ledger.apply(RecordKind::Boundary, 0, &[1]).is_err());
}

#[test]
fn a_record_that_its_cursor_passed_and_nobody_delivered_shows_in_the_balance() {
    let mut ledger = Ledger::default();
    ledger.tally.assign(0b101, Timestamp(0));
    ledger.tally.assign(0b100, Timestamp(0));
    ledger.assigned(0b101, 5);
    ledger.assigned(0b100, 9);
    let of = |ledger: &Ledger, served| ledger.unaccounted_of(2, served);
    assert_eq!((of(&ledger, 8), of(&ledger, 9)), (0, 2), "it waits; it is lost");
    ledger.done.insert(2, Done { delivered: 1, withheld: 1 });
    assert_eq!((of(&ledger, 9), ledger.unaccounted_of(0, 5)), (0, 1));
    ledger.done.insert(2, Done { delivered: 3, withheld: 0 });
    assert_eq!(of(&ledger, 0), 1, "done with twice, wherever the cursor is");
}

#[test]
fn a_message_that_went_nowhere_shows_in_the_balance() {
    let mut ledger = Ledger::default();
    ledger.tally.received = 3;
    ledger.tally.routed = 2;
    assert_eq!(ledger.unaccounted(), 1);
}

proptest::proptest! {
    /// What happens to two sessions, whose names need escaping or not: kind and packet identifier.
    #[test]
    fn what_sessions_take_of_a_snapshot_is_counted(
        steps in proptest::collection::vec((0_u8..5, proptest::bool::ANY, 0_u16..40), 0..60),
    ) {
        let mut ledger = Ledger::default();
        for (step, plain, packet_id) in steps {
            let session = if plain { "id:a\0c" } else { "id:\u{1}\"\\é\0c" };
            let exchange = |step| Tally {
                exchanges: Some(Exchanges { session: session.to_owned(), steps: vec![step] }),
                ..Tally::default()
            };
            let before = ledger.session_bytes();
            let note = |ledger: &mut Ledger, kind, bytes: &[u8]| {
                let most = ledger.grows_by_note(kind, bytes);
                ledger.apply(kind, 0, bytes).unwrap();
                most
            };
            let chunk = |ledger: &mut Ledger, tally: &Tally| {
                let most = ledger.grows_by_chunk(tally);
                ledger.add(tally, None);
                most
            };
            let most = match step {
                0 => note(&mut ledger, RecordKind::SessionOpened, &session_record(session, packet_id.into())),
                1 => note(&mut ledger, RecordKind::SessionExpiry, &session_record(session, u32::MAX)),
                2 => note(&mut ledger, RecordKind::SessionEnded, &session_ended_record(session)),
                3 => chunk(&mut ledger, &exchange(Step::Opened(packet_id))),
                _ => chunk(&mut ledger, &exchange(Step::Released(packet_id))),
            };
            proptest::prop_assert!(ledger.session_bytes() <= before + most, "step {step}");
        }
        let json = |ledger: &Ledger| {
            serde_json::to_vec(&ledger.sessions).unwrap().len() + serde_json::to_vec(&ledger.exchanges).unwrap().len()
        };
        let braces = json(&Ledger::default()) as u64;
        proptest::prop_assert!(ledger.session_bytes() + braces >= json(&ledger) as u64);
        let mut bytes = Vec::new();
        ledger.write_snapshot(&mut bytes);
        proptest::prop_assert_eq!(Ledger::from_snapshot(&bytes).unwrap(), ledger);
    }
}
