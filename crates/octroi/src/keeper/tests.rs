//! The keeper beside a journal's owner and, where it matters, a relay: driven
//! step by step, so that it can be dropped after any of them.

pub(crate) mod hub;

use super::*;
use crate::gate::tests::{AS_IT_IS, Edits, TIGHT};
use crate::ledger::Balance;
use crate::record::What;
use hub::{DAY, Hub, Outbox, Place, is_idle};

/// The camera's posts are known.
const POSTS: &Edits = &[(
    "[[classify]]\nid = \"mobilite-plaques\"",
    "[[classify]]\nid = \"bornes\"\nwhen = { topic = \"ville/mobilite/+/etat\" }\nlevel = \"internal\"\n\n\
     [[classify]]\nid = \"mobilite-plaques\"",
)];
/// Dc-rennes is accredited no more, and may not have what is sensitive.
const LAPSED: &Edits = &[(
    "homologation = { until = 2027-06-30, dr = false }",
    "homologation = { until = 2025-06-30, dr = false }",
)];
/// The same, and what is held for a week goes to quarantine, where it is kept for a week.
const LAPSED_AND_PURGED: &Edits = &[
    (
        "homologation = { until = 2027-06-30, dr = false }",
        "homologation = { until = 2025-06-30, dr = false }",
    ),
    (
        "no_allowed_target = \"hold\"",
        "no_allowed_target = \"hold\"\nhold_max = \"P7D\"\nquarantine_keep = \"P7D\"",
    ),
];
/// The mobility space is in another datacenter.
const ELSEWHERE: &Edits = &[(
    "domains = [\"mobility\"]\ntarget = \"dc-rennes\"",
    "domains = [\"mobility\"]\ntarget = \"dc-bretagne\"",
)];
/// The cloud is another one.
const MOVED: &Edits = &[("cloud-confiance", "cloud-autre")];

const THEN: &str = "2026-11-20T06:14:03Z";
const POST: (&str, &str) = ("ville/mobilite/borne-9/etat", r#"{"state":"ok"}"#);
const PLATE: (&str, &str) = ("ville/mobilite/cam-12/anpr", r#"{"plate":"AB-123-CD"}"#);
const COUNT: (&str, &str) = ("ville/mobilite/cam-0007/count", r#"{"count":17,"device":"cam-0007"}"#);

/// Crashes after `steps` steps of what `begin` starts, restarts, and lets it finish.
fn crashed_after(
    steps: usize,
    lose_index: bool,
    place: &Place,
    policy: &'static Edits,
    begin: impl Fn(&mut Hub),
) -> Hub {
    let mut hub = place.open(policy);
    begin(&mut hub);
    for _ in 0..steps {
        hub.step();
    }
    hub.crash();
    if lose_index {
        std::fs::remove_dir_all(place.path("state")).unwrap();
    }
    let mut hub = place.open(policy);
    hub.settle();
    begin(&mut hub);
    hub.settle();
    hub
}

#[test]
fn what_an_operator_releases_leaves_once_whatever_crashes_on_the_way() {
    for (steps, lose_index) in (0..7).flat_map(|steps| [(steps, false), (steps, true)]) {
        let place = Place::new(THEN);
        let mut hub = place.open(AS_IT_IS);
        hub.publish(POST);
        hub.settle();
        assert_eq!((hub.kept(Log::Quarantine), hub.balance().quarantined), (1, 1));
        hub.crash();
        let hub = crashed_after(steps, lose_index, &place, POSTS, |hub| {
            hub.ask(What::Released, false);
        });
        let released = hub.released();
        assert_eq!(released.len(), 1, "after {steps} steps: {released:?}");
        let (origin, topic, received) = released.into_iter().next().unwrap();
        assert_eq!((topic.as_str(), received), (POST.0, place.now()), "it keeps its time of arrival");
        assert_eq!(origin.seq, hub.first_message(), "and names its first record");
        assert_eq!(hub.kept(Log::Quarantine), 0, "after {steps} steps");
        let balance = Balance { routed: 1, ..Balance::default() };
        assert_eq!((hub.balance(), hub.ledger().unaccounted(), hub.ledger().tally.received), (balance, 0, 1));
        hub.crash();
    }
}

#[test]
fn what_an_earlier_journal_received_goes_under_its_own_id_and_is_not_counted_by_this_one() {
    let place = Place::new(THEN);
    let mut hub = place.open(AS_IT_IS);
    hub.publish(POST);
    hub.settle();
    let generation = hub.keeping.generation;
    hub.crash();
    std::fs::remove_dir_all(place.path("journal")).unwrap();
    let mut hub = place.open(POSTS);
    assert_ne!(hub.keeping.generation, generation);
    let outbox = Outbox::default();
    let relay = hub.relay("dc-rennes", &outbox);
    hub.publish(COUNT);
    hub.ask(What::Released, false);
    hub.until(|_| outbox.acknowledged().len() == 2);
    assert!(outbox.ids()[1].starts_with(&format!("hub-1/{generation:016x}/")), "{:?}", outbox.ids());
    let balance = Balance { routed: 1, ..Balance::default() };
    assert_eq!((hub.balance(), hub.ledger().unaccounted()), (balance, 0));
    relay.end();
    hub.crash();
}

#[test]
fn a_release_never_goes_around_the_policy() {
    let place = Place::new(THEN);
    let mut hub = place.open(AS_IT_IS);
    hub.publish(POST);
    hub.publish(("ville/mobilite/borne-9/etat", "not json"));
    hub.publish(("elsewhere/command", "{}"));
    hub.settle();
    let report = hub.ask(What::Released, true);
    hub.settle();
    let report = report.blocking_recv().unwrap();
    assert_eq!((report.done.len(), report.next), (0, None));
    let reasons: Vec<&str> = report.stays.keys().map(String::as_str).collect();
    assert_eq!(reasons, ["ambiguous_payload", "no_rule_matches"]);
    // A dry run says what a release does, and does none of it.
    hub.activate(POSTS);
    for (dry_run, done, kept) in [(true, 1, 2), (false, 1, 1), (false, 0, 1)] {
        let report = hub.ask(What::Released, dry_run);
        hub.settle();
        let report = report.blocking_recv().unwrap();
        assert_eq!((report.done.len(), hub.kept(Log::Quarantine)), (done, kept), "{report:?}");
        assert_eq!(report.stays.keys().collect::<Vec<_>>(), ["ambiguous_payload"]);
    }
    assert_eq!((hub.kept(Log::Quarantine), hub.released().len(), hub.ledger().unaccounted()), (1, 1, 0));
    hub.crash();
}

#[test]
fn what_stays_stays_for_the_reason_of_now_over_a_lost_index_too() {
    let place = Place::new(THEN);
    let mut hub = place.open(AS_IT_IS);
    hub.publish(POST);
    hub.settle();
    // Its source is gone from the policy.
    hub.activate(&[("cert:CN=mobilite.rennes.example", "cert:CN=other.rennes.example")]);
    hub.ask(What::Released, false);
    hub.settle();
    let counts = vec![("unknown_source".to_owned(), 1)];
    assert_eq!(hub.state().counts(Log::Quarantine), counts);
    hub.crash();
    std::fs::remove_dir_all(place.path("state")).unwrap();
    let mut hub = place.open(AS_IT_IS);
    hub.settle();
    assert_eq!(hub.state().counts(Log::Quarantine), counts);
    hub.crash();
}

#[test]
fn what_is_held_goes_once_as_soon_as_a_policy_allows_it_whatever_crashes_on_the_way() {
    for steps in 0..7 {
        let place = Place::new(THEN);
        let mut hub = place.open(LAPSED);
        hub.publish(PLATE);
        hub.publish(POST);
        hub.settle();
        assert_eq!((hub.kept(Log::Hold), hub.kept(Log::Quarantine)), (1, 1));
        hub.crash();
        let hub = crashed_after(steps, steps % 2 == 0, &place, AS_IT_IS, |_| {});
        assert_eq!((hub.released().len(), hub.kept(Log::Hold)), (1, 0), "after {steps} steps");
        assert_eq!(hub.kept(Log::Quarantine), 1, "nothing leaves the quarantine by itself");
        let balance = Balance { routed: 1, quarantined: 1, ..Balance::default() };
        assert_eq!((hub.balance(), hub.ledger().unaccounted()), (balance, 0));
        hub.crash();
    }
}

#[test]
fn what_is_held_for_too_long_goes_to_quarantine_once_and_is_purged_there_whatever_crashes_on_the_way() {
    for steps in 0..7 {
        let place = Place::new(THEN);
        let mut hub = place.open(LAPSED_AND_PURGED);
        hub.publish(PLATE);
        hub.settle();
        assert_eq!(hub.kept(Log::Hold), 1);
        hub.crash();
        place.set(place.now().0 + 7 * DAY);
        let hub = crashed_after(steps, steps % 2 == 0, &place, LAPSED_AND_PURGED, |_| {});
        assert_eq!((hub.kept(Log::Hold), hub.kept(Log::Quarantine)), (0, 1), "after {steps} steps");
        assert_eq!(hub.state().counts(Log::Quarantine), [("hold_max".to_owned(), 1)]);
        let balance = Balance { quarantined: 1, ..Balance::default() };
        assert_eq!((hub.balance(), hub.ledger().unaccounted()), (balance, 0));
        assert_eq!(hub.ledger().tally.left(Log::Hold, What::Expired).entries, 1);
        hub.crash();
        place.set(place.now().0 + 7 * DAY);
        let hub = crashed_after(steps, steps % 2 == 1, &place, LAPSED_AND_PURGED, |_| {});
        assert_eq!((hub.kept(Log::Quarantine), hub.released().len()), (0, 0), "after {steps} steps");
        let balance = Balance { purged: 1, ..Balance::default() };
        assert_eq!((hub.balance(), hub.ledger().unaccounted()), (balance, 0));
        hub.crash();
    }
}

#[test]
fn what_the_quarantine_took_over_before_a_crash_it_does_not_take_over_again() {
    let place = Place::new(THEN);
    let mut hub = place.open(LAPSED_AND_PURGED);
    hub.publish(PLATE);
    hub.publish(PLATE);
    hub.settle();
    place.set(place.now().0 + 7 * DAY);
    let fate = loop {
        hub.step();
        if let Some(fate) = hub.keeping.leaving.unsettled() {
            break fate;
        }
    };
    assert!(hub.keeping.hand_to_quarantine(&fate, &mut Batch::default()).unwrap());
    assert_eq!((hub.kept(Log::Hold), hub.kept(Log::Quarantine)), (2, 2), "the tombstones are missing");
    hub.crash();
    let mut hub = place.open(LAPSED_AND_PURGED);
    hub.settle();
    assert_eq!((hub.kept(Log::Hold), hub.kept(Log::Quarantine)), (0, 2));
    assert_eq!((hub.balance().quarantined, hub.ledger().unaccounted()), (2, 0));
    // What arrives afterwards is kept all the same: the take-over is no feeder of its own.
    hub.publish(POST);
    hub.settle();
    assert_eq!(hub.kept(Log::Quarantine), 3);
    hub.crash();
}

#[test]
fn what_was_held_for_too_long_is_released_like_any_other() {
    let place = Place::new(THEN);
    let mut hub = place.open(LAPSED_AND_PURGED);
    hub.publish(PLATE);
    hub.settle();
    place.set(place.now().0 + 7 * DAY);
    hub.settle();
    assert_eq!((hub.kept(Log::Hold), hub.kept(Log::Quarantine)), (0, 1));
    hub.activate(AS_IT_IS);
    hub.settle();
    assert_eq!(hub.kept(Log::Quarantine), 1, "on an operator's word alone");
    hub.ask(What::Released, false);
    hub.settle();
    assert_eq!((hub.kept(Log::Quarantine), hub.released().len()), (0, 1));
    assert_eq!((hub.balance().routed, hub.ledger().unaccounted()), (1, 0));
    hub.crash();
}

#[test]
fn a_side_log_gives_back_the_room_of_what_has_left_and_copies_nothing_twice() {
    let place = Place::new(THEN);
    let mut hub = place.open(AS_IT_IS);
    let payload = format!("\"{}\"", "x".repeat(60_000));
    for _ in 0..12 {
        for _ in 0..40 {
            hub.publish((POST.0, &payload));
        }
        hub.settle();
        hub.ask(What::Purged, false);
        hub.settle();
        assert_eq!(hub.kept(Log::Quarantine), 0);
    }
    // Twelve times 2.4 MB went through segments of 4 MiB.
    assert!(hub.bytes(Log::Quarantine) < 16 << 20, "{}", hub.bytes(Log::Quarantine));
    assert_eq!((hub.balance().purged, hub.ledger().unaccounted()), (480, 0));
    hub.crash();
    let mut hub = place.open(AS_IT_IS);
    hub.settle();
    assert_eq!(hub.kept(Log::Quarantine), 0, "after a restart neither");
    hub.crash();
}

#[test]
fn a_tightened_target_gets_nothing_and_once_loosened_again_what_was_withheld_under_its_first_id() {
    let place = Place::new(THEN);
    let mut hub = place.open(AS_IT_IS);
    hub.publish(COUNT);
    hub.activate(TIGHT);
    let outbox = Outbox::default();
    let relay = hub.relay("cloud-confiance", &outbox);
    hub.until(|hub| hub.kept(Log::Hold) == 1);
    assert_eq!(outbox.offered(), [] as [u64; 0]);
    assert_eq!(hub.state().counts(Log::Hold), [("cloud-confiance".to_owned(), 1)]);
    hub.activate(AS_IT_IS);
    hub.until(|_| outbox.acknowledged().len() == 1);
    assert_eq!(hub.kept(Log::Hold), 0);
    assert_eq!(outbox.ids()[0].len(), 32, "the transformed copy's own");
    // It was routed on arrival and is not routed again: only its share for this target was on hold.
    assert_eq!((hub.balance().routed, hub.ledger().unaccounted()), (1, 0));
    relay.end();
    hub.crash();
}

#[test]
fn what_a_full_hold_log_does_not_take_waits_in_the_journal_and_goes_once_it_may() {
    let place = Place::new(THEN);
    let mut hub = place.open(AS_IT_IS);
    let payload = format!(r#"{{"count":17,{}"device":"cam-0007"}}"#, " ".repeat(200_000));
    for _ in 0..400 {
        hub.publish((COUNT.0, &payload));
    }
    hub.activate(TIGHT);
    let outbox = Outbox::default();
    let relay = hub.relay("cloud-confiance", &outbox);
    hub.until(|hub| hub.bytes(Log::Hold) > 48 << 20);
    for _ in 0..50 {
        hub.step();
    }
    let kept = hub.kept(Log::Hold);
    assert!((150..350).contains(&kept), "{kept} of 80 MB found room in 64 MiB");
    assert!(hub.bytes(Log::Hold) <= 64 << 20, "{}", hub.bytes(Log::Hold));
    let bit = hub.keeping.policies.current().bit_of("cloud-confiance").unwrap().index();
    assert!(hub.ledger().pending(bit) > 0, "the cursor does not pass what is in no side log");
    assert_eq!(outbox.offered(), [] as [u64; 0]);
    // Over a restart too.
    drop(relay);
    hub.crash();
    let mut hub = place.open(TIGHT);
    let relay = hub.relay("cloud-confiance", &outbox);
    // What is in the hold log it does not take up again: it passes that, and stops where it stopped.
    hub.until(|hub| hub.ledger().pending(bit) == 400 - i64::try_from(kept).unwrap());
    assert_eq!((hub.ledger().unaccounted(), outbox.offered().len()), (0, 0));
    hub.activate(AS_IT_IS);
    hub.until(|hub| hub.ledger().pending(bit) == 0 && hub.kept(Log::Hold) == 0);
    let mut ids = outbox.ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((outbox.acknowledged().len(), ids.len(), hub.ledger().unaccounted()), (400, 400, 0));
    relay.end();
    hub.crash();
}

#[test]
fn a_target_that_leaves_the_policy_has_what_waits_held_and_gets_it_when_it_comes_back() {
    let place = Place::new(THEN);
    let mut hub = place.open(AS_IT_IS);
    let cloud = Outbox::default();
    cloud.take_nothing(true);
    let relay = hub.relay("cloud-confiance", &cloud);
    hub.publish(COUNT);
    hub.activate(MOVED);
    hub.until(|hub| hub.kept(Log::Hold) == 1);
    assert_eq!(hub.state().newest(Log::Hold, 1)[0].reason, "target_removed");
    // The one that is added starts at the head: what came before is not its affair.
    let other = Outbox::default();
    let added = hub.relay("cloud-autre", &other);
    hub.publish(COUNT);
    hub.until(|_| other.acknowledged().len() == 1);
    assert!(other.acknowledged()[0] > hub.first_message());
    cloud.take_nothing(false);
    hub.until(|_| cloud.polls() > 3);
    assert_eq!(cloud.acknowledged(), [] as [u64; 0]);
    // It comes back: what was held for it goes, and what went to the other one does not go again.
    hub.activate(AS_IT_IS);
    hub.until(|_| cloud.acknowledged().len() == 1);
    assert_eq!((hub.kept(Log::Hold), hub.ledger().unaccounted()), (0, 0));
    relay.end();
    added.end();
    hub.crash();
}

#[test]
fn a_message_that_its_target_refuses_is_in_quarantine_once_whatever_crashes_on_the_way() {
    for steps in 0..8 {
        let place = Place::new(THEN);
        let hub = place.open(AS_IT_IS);
        let (first, second) = (Outbox::default(), Outbox::default());
        first.refuse(PLATE.0);
        second.refuse(PLATE.0);
        for message in [COUNT, PLATE, COUNT] {
            hub.publish(message);
        }
        let mut hub = hub;
        let relay = hub.relay("dc-rennes", &first);
        for _ in 0..steps {
            hub.step();
        }
        // Neither relay nor keeper finishes what it has begun.
        drop(relay);
        hub.crash();
        let mut hub = place.open(AS_IT_IS);
        let bit = hub.keeping.policies.current().bit_of("dc-rennes").unwrap().index();
        let relay = hub.relay("dc-rennes", &second);
        hub.until(|hub| hub.ledger().pending(bit) == 0);
        assert_eq!(hub.kept(Log::Quarantine), 1, "after {steps} steps");
        assert_eq!(hub.state().counts(Log::Quarantine), [("too_large".to_owned(), 1)]);
        let mut counts = [first.acknowledged(), second.acknowledged()].concat();
        counts.sort_unstable();
        counts.dedup();
        assert_eq!(counts.len(), 2, "after {steps} steps: {counts:?}");
        assert_eq!(hub.ledger().unaccounted(), 0);
        relay.end();
        hub.crash();
    }
}

#[test]
fn a_refused_message_that_cannot_be_read_again_is_not_said_to_be_in_quarantine() {
    let place = Place::new(THEN);
    let mut hub = place.open(AS_IT_IS);
    let outbox = Outbox::default();
    outbox.take_nothing(true);
    let relay = hub.relay("dc-rennes", &outbox);
    hub.publish(PLATE);
    hub.publish(COUNT);
    hub.until(|_| outbox.queued() == 2);
    place.rot(PLATE.1);
    outbox.refuse(PLATE.0);
    outbox.take_nothing(false);
    hub.until(|_| outbox.topics() == [COUNT.0]);
    let bit = hub.keeping.policies.current().bit_of("dc-rennes").unwrap().index();
    hub.until(|hub| hub.ledger().done.get(&bit).is_some_and(|done| done.delivered == 1));
    assert_eq!((hub.kept(Log::Quarantine), hub.ledger().done[&bit].withheld), (0, 0));
    assert_eq!(hub.ledger().pending(bit), 1, "and the balance shows that it is nowhere");
    relay.end();
    hub.crash();
}

#[test]
fn at_a_dated_boundary_what_an_outlet_queues_is_dropped_and_gated_again() {
    // The last day of dc-rennes's accreditation.
    let place = Place::new("2027-06-30T23:59:58Z");
    let mut hub = place.open(AS_IT_IS);
    let outbox = Outbox::default();
    outbox.take_nothing(true);
    let relay = hub.relay("dc-rennes", &outbox);
    hub.publish(PLATE);
    hub.publish(COUNT);
    hub.until(|_| outbox.queued() == 2);
    place.set(place.now().0 + 3_000_000);
    hub.until(|hub| hub.kept(Log::Hold) == 1 && outbox.queued() == 1);
    outbox.take_nothing(false);
    hub.until(|_| outbox.acknowledged().len() == 1);
    assert_eq!(outbox.topics(), [COUNT.0], "what needs the accreditation did not leave on the day after");
    relay.end();
    hub.crash();
}

#[test]
fn a_clock_set_back_revives_nothing_over_a_restart_too() {
    let last_day = "2027-06-30T23:59:58Z";
    let place = Place::new(last_day);
    let mut hub = place.open(AS_IT_IS);
    hub.publish(PLATE);
    let outbox = Outbox::default();
    // The boundary passes, nothing is published after it, and the clock is set back to the day before.
    place.set(place.now().0 + 3_000_000);
    hub.settle();
    place.set(crate::gate::tests::at(last_day).0);
    for _ in 0..2 {
        assert!(hub.clock.now() > place.now(), "policy time does not go back");
        let relay = hub.relay("dc-rennes", &outbox);
        hub.until(|hub| hub.kept(Log::Hold) == 1);
        assert_eq!(outbox.offered(), [] as [u64; 0]);
        relay.end();
        hub.crash();
        hub = place.open(AS_IT_IS);
        hub.settle();
    }
    hub.crash();
}

/// Two on their way to a target that takes nothing, and a policy under which the later one is held.
fn with_the_later_of_two_held(place: &Place, outbox: &Outbox) -> (Hub, hub::Relaying) {
    let mut hub = place.open(AS_IT_IS);
    outbox.take_nothing(true);
    let relay = hub.relay("dc-rennes", outbox);
    hub.publish(COUNT);
    hub.publish(PLATE);
    hub.until(|_| outbox.queued() == 2);
    hub.activate(LAPSED);
    hub.until(|hub| hub.kept(Log::Hold) == 1 && outbox.queued() == 1);
    (hub, relay)
}

#[test]
fn what_is_withheld_only_after_something_behind_it_was_is_held_too() {
    let place = Place::new(THEN);
    let outbox = Outbox::default();
    let (mut hub, relay) = with_the_later_of_two_held(&place, &outbox);
    hub.activate(ELSEWHERE);
    hub.until(|hub| hub.kept(Log::Hold) == 2);
    outbox.take_nothing(false);
    hub.activate(AS_IT_IS);
    hub.until(|_| outbox.acknowledged().len() == 2);
    assert_eq!((hub.kept(Log::Hold), hub.ledger().unaccounted()), (0, 0));
    relay.end();
    hub.crash();
}

#[test]
fn what_is_in_the_hold_log_goes_from_there_alone_though_its_relay_goes_back_over_it() {
    let place = Place::new(THEN);
    let outbox = Outbox::default();
    let (mut hub, relay) = with_the_later_of_two_held(&place, &outbox);
    hub.activate(AS_IT_IS);
    hub.until(|hub| hub.kept(Log::Hold) == 0);
    outbox.take_nothing(false);
    hub.until(|_| outbox.acknowledged().len() >= 2);
    assert_eq!(outbox.topics(), [COUNT.0, PLATE.0], "each once");
    assert_eq!(hub.ledger().unaccounted(), 0);
    relay.end();
    hub.crash();
}

#[test]
fn a_stop_under_way_leaves_what_is_announced_to_the_next_start() {
    let place = Place::new(THEN);
    let mut hub = place.open(LAPSED);
    hub.publish(PLATE);
    hub.settle();
    hub.activate(AS_IT_IS);
    hub.keeping.stop.store(true, Ordering::Release);
    hub.settle();
    assert_eq!((hub.released().len(), hub.kept(Log::Hold)), (0, 1), "nothing new begins in a stop");
    hub.crash();
    let mut hub = place.open(AS_IT_IS);
    hub.settle();
    assert!(is_idle(&hub));
    assert_eq!((hub.released().len(), hub.kept(Log::Hold)), (1, 0));
    hub.crash();
}
