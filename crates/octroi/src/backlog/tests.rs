//! A lane beside a journal's owner and relays, stepped, so that everything can
//! be dropped after any step.

use super::*;
use crate::gate::tests::{AS_IT_IS, Edits, TIGHT};
use crate::keeper::tests::hub::{Hub, Outbox, Place as Home, Relaying};
use crate::record::Log;

const THEN: &str = "2026-11-20T06:14:03Z";
const CLOUD: &str = "cloud-confiance";
const RENNES: &str = "dc-rennes";
/// To dc-rennes, and in a transformed copy to the cloud.
const COUNT: (&str, &str) = ("ville/mobilite/cam-0007/count", r#"{"count":17,"device":"cam-0007"}"#);
/// One more source's topic: another policy epoch, and the counts go as before.
const OTHER: &Edits = &[(
    "[[classify]]\nid = \"mobilite-plaques\"",
    "[[classify]]\nid = \"bornes\"\nwhen = { topic = \"ville/mobilite/+/etat\" }\nlevel = \"internal\"\n\n\
     [[classify]]\nid = \"mobilite-plaques\"",
)];

fn view(state: OutletState) -> Arc<ArcSwap<RelayView>> {
    Arc::new(ArcSwap::from_pointee(RelayView { state, ..RelayView::default() }))
}

/// A hub whose cloud is down while dc-rennes takes everything, and what moves its backlog.
struct Rig {
    hub: Hub,
    backlogs: Backlogs,
    cloud: Option<(Source, u64)>,
    rennes: Relaying,
}

impl Rig {
    fn start(home: &Home, cloud: OutletState) -> Self {
        let hub = home.open(AS_IT_IS);
        let (rennes, source, start) = hub.lane(RENNES, &view(OutletState::Up));
        let relaying = hub.relay_from(RENNES, (source, start), &Outbox::default());
        let (cloud, source, start) = hub.lane(CLOUD, &view(cloud));
        let backlogs = Backlogs {
            lanes: vec![cloud, rennes],
            inbox: Arc::clone(&hub.keeping.inbox),
            watermark: Arc::clone(&hub.keeping.watermark),
            journal: Arc::clone(&hub.view),
            crowded: u64::MAX,
            stop: Arc::default(),
        };
        Self { hub, backlogs, cloud: Some((source, start)), rennes: relaying }
    }

    /// Three counts in each of three segments, and one in a fourth.
    fn publish(&mut self) {
        for segment in 0..4 {
            for _ in 0..if segment < 3 { 3 } else { 1 } {
                self.hub.publish(COUNT);
            }
            for _ in 0..if segment < 3 { 5 } else { 0 } {
                self.hub.fill();
            }
        }
        let watermark = Arc::clone(&self.backlogs.watermark);
        self.hub.until(|hub| {
            let bit = hub.keeping.policies.current().bit_of(RENNES).unwrap();
            let seen = hub.view.load();
            let known = seen.targets.iter().find(|(_, known, _)| *known == bit).unwrap();
            seen.served(bit, known.2) >= watermark.segment()
        });
    }

    fn turn(&mut self, later: Duration) -> bool {
        let moved = self.backlogs.turn(&mut Batch::default(), Instant::now() + later).unwrap();
        self.hub.ledger();
        moved
    }

    /// Turns until the shared journal keeps nothing for the cloud but what stands in the segment being written.
    fn moved(&mut self) {
        let began = Instant::now();
        self.let_go();
        while self.backlogs.lanes[0].cursor < self.backlogs.watermark.segment() {
            self.turn(Duration::ZERO);
            assert!(began.elapsed().as_secs() < 20, "it is not moved");
        }
    }

    /// Nothing waits for anybody else.
    fn let_go(&self) {
        let cursor = self.backlogs.watermark.get();
        for (name, target, _) in &self.hub.view.load().targets {
            if ![CLOUD, RENNES].contains(&name.as_str()) {
                let (target, delivered, withheld) = (*target, 0, 0);
                self.backlogs.inbox.control(Control::Advance { target, cursor, delivered, withheld });
            }
        }
    }

    /// Of the journal on disk, with its reserve; everything is shown by now.
    fn bytes(&self) -> u64 {
        self.hub.ledger();
        self.hub.view.load().bytes
    }

    fn relay(&mut self, outbox: &Outbox) -> Relaying {
        self.hub.relay_from(CLOUD, self.cloud.take().unwrap(), outbox)
    }

    /// The cloud lags behind for a moment; it has got `before` until then.
    fn lag(&mut self, outbox: &Outbox, before: usize, edits: &Edits) {
        outbox.take_nothing(true);
        self.publish();
        self.moved();
        let offered = outbox.offered().len();
        // What is in flight is dropped, and read again.
        self.hub.activate(edits);
        self.hub.until(|_| outbox.offered().len() >= offered + 10 && outbox.queued() == 10);
        assert_eq!(outbox.acknowledged().len(), before);
        outbox.take_nothing(false);
    }

    /// The cloud gets all of it, which is so many by now, and that is on record.
    fn catch_up(&mut self, outbox: &Outbox, records: usize) {
        self.hub.until(|_| outbox.acknowledged().len() >= records);
        assert!(is_whole(outbox, records), "{:?}", outbox.acknowledged());
        let (bit, shelf) = (self.backlogs.lanes[0].place.bit, self.backlogs.lanes[0].shelf());
        self.hub.until(|hub| hub.view.load().served(bit, 0) >= shelf.moved());
    }

    fn crash(self) {
        self.rennes.end();
        self.hub.crash();
    }
}

/// So many, in order, each once.
fn is_whole(outbox: &Outbox, records: usize) -> bool {
    let seqs = outbox.acknowledged();
    seqs.len() == records && seqs.is_sorted_by(|one, next| one < next)
}

/// Whether the file of this name goes.
type Goes = fn(&str) -> bool;

/// A backlog of which a part alone can be removed, once.
struct Stubborn {
    home: Box<dyn super::Home>,
    path: PathBuf,
    goes: Goes,
    yields: AtomicBool,
}

impl super::Home for Stubborn {
    fn is_there(&self) -> io::Result<bool> {
        self.home.is_there()
    }

    fn open(&self) -> anyhow::Result<(Journal, Recovery)> {
        self.home.open()
    }

    fn remove(&self) -> io::Result<()> {
        if self.yields.swap(true, Ordering::Relaxed) {
            return self.home.remove();
        }
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if (self.goes)(entry.file_name().to_str().unwrap()) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Err(io::Error::other("the rest stays"))
    }
}

#[test]
fn what_is_moved_leaves_in_order_and_once_whatever_crashes_on_the_way() {
    for (turns, in_the_middle) in (0..4).flat_map(|turns| [(turns, false), (turns, true)]) {
        let home = Home::new(THEN);
        let mut rig = Rig::start(&home, OutletState::Down);
        rig.publish();
        for _ in 0..turns {
            rig.turn(Duration::ZERO);
        }
        if in_the_middle {
            // Copied and synced, and the journal's owner is not told.
            rig.backlogs.lanes[0].move_on(&mut Batch::default()).unwrap();
        }
        rig.crash();
        let mut rig = Rig::start(&home, OutletState::Down);
        rig.moved();
        assert!(rig.bytes() <= 3 * (4 << 20), "after {turns}: {} in the journal", rig.bytes());
        let outbox = Outbox::default();
        let relay = rig.relay(&outbox);
        rig.hub.until(|_| outbox.acknowledged().len() >= 10);
        assert!(is_whole(&outbox, 10), "after {turns} turns, {in_the_middle}: {:?}", outbox.acknowledged());
        relay.end();
        let (ledger, bit) = (rig.hub.ledger(), rig.backlogs.lanes[0].place.bit.index());
        assert_eq!((ledger.pending(bit), ledger.unaccounted()), (0, 0));
        rig.crash();
        // The next start finds nothing that waits, and lets the backlog go.
        let rig = Rig::start(&home, OutletState::Down);
        assert!(!home.path("backlog").join(CLOUD).exists(), "after {turns}");
        rig.crash();
    }
}

#[test]
fn a_backlog_that_stays_empty_is_given_back_and_who_lags_again_gets_another() {
    let home = Home::new(THEN);
    let path = home.path("backlog").join(CLOUD);
    let mut rig = Rig::start(&home, OutletState::Down);
    rig.publish();
    rig.moved();
    let outbox = Outbox::default();
    let relay = rig.relay(&outbox);
    for before in [10, 30] {
        rig.catch_up(&outbox, before);
        rig.turn(Duration::ZERO);
        rig.turn(limits::BACKLOG_KEPT / 2);
        assert!(path.exists(), "it may be needed at once");
        rig.lag(&outbox, before, OTHER);
        rig.catch_up(&outbox, before + 10);
        rig.turn(limits::BACKLOG_KEPT);
        assert!(path.exists(), "it is empty anew");
        rig.turn(limits::BACKLOG_KEPT * 3);
        assert!(!path.exists(), "and for long by now");
        assert_eq!(rig.backlogs.lanes[0].shelf.bytes(), 0);
        rig.lag(&outbox, before + 10, AS_IT_IS);
        assert!(rig.backlogs.lanes[0].shelf.bytes() > 0 && path.exists(), "another");
    }
    rig.catch_up(&outbox, 50);
    relay.end();
    let (ledger, bit) = (rig.hub.ledger(), rig.backlogs.lanes[0].place.bit.index());
    assert_eq!((ledger.pending(bit), ledger.unaccounted()), (0, 0));
    rig.crash();
}

#[test]
fn what_stays_of_a_backlog_that_is_given_back_does_no_harm_after_a_kill_or_without() {
    let parts: [(&str, Goes); 5] = [
        ("nothing", |_| false),
        ("its lock", |name| name == "lock"),
        ("its reserve", |name| name == "reserve"),
        ("its records", |name| name.ends_with(".log")),
        ("all but its directory", |_| true),
    ];
    for ((gone, goes), is_killed) in parts.into_iter().flat_map(|part| [(part, true), (part, false)]) {
        let home = Home::new(THEN);
        let path = home.path("backlog").join(CLOUD);
        let mut rig = Rig::start(&home, OutletState::Down);
        rig.publish();
        rig.moved();
        let mut outbox = Outbox::default();
        let mut relay = rig.relay(&outbox);
        rig.catch_up(&outbox, 10);
        let place = &mut rig.backlogs.lanes[0].place;
        let nowhere = Directory { path: path.clone(), open: || Err(anyhow::anyhow!("nowhere")) };
        let whole = std::mem::replace(&mut place.home, Box::new(nowhere));
        place.home =
            Box::new(Stubborn { home: whole, path: path.clone(), goes, yields: AtomicBool::new(false) });
        rig.turn(Duration::ZERO);
        rig.turn(limits::BACKLOG_KEPT * 2);
        assert!(path.exists() && rig.backlogs.lanes[0].log.is_none(), "{gone}");
        if is_killed {
            relay.end();
            rig.crash();
            rig = Rig::start(&home, OutletState::Down);
            assert!(!path.exists(), "{gone}");
            outbox = Outbox::default();
            relay = rig.relay(&outbox);
        }
        let before = if is_killed { 0 } else { 10 };
        rig.lag(&outbox, before, OTHER);
        assert!(path.exists(), "{gone}");
        rig.catch_up(&outbox, before + 10);
        relay.end();
        let (ledger, bit) = (rig.hub.ledger(), rig.backlogs.lanes[0].place.bit.index());
        assert_eq!((ledger.pending(bit), ledger.unaccounted()), (0, 0), "{gone}");
        rig.crash();
    }
}

#[test]
fn a_crash_while_a_backlog_is_delivered_sends_again_what_was_not_on_record_and_nothing_else() {
    let home = Home::new(THEN);
    let mut rig = Rig::start(&home, OutletState::Down);
    rig.publish();
    rig.moved();
    let (first, second) = (Outbox::default(), Outbox::default());
    first.take_nothing(true);
    let relay = rig.relay(&first);
    rig.hub.until(|_| first.queued() == 10);
    // The outlet has them all and says nothing: the stop gives up on it, and nothing is done with.
    drop(relay);
    rig.crash();
    let mut rig = Rig::start(&home, OutletState::Down);
    let relay = rig.relay(&second);
    rig.hub.until(|_| second.acknowledged().len() >= 10);
    assert!(is_whole(&second, 10), "{:?}", second.acknowledged());
    relay.end();
    rig.crash();
}

#[test]
fn what_was_in_flight_when_it_was_moved_is_gated_again_from_the_backlog_and_leaves_once() {
    let home = Home::new(THEN);
    let mut rig = Rig::start(&home, OutletState::Down);
    let outbox = Outbox::default();
    outbox.take_nothing(true);
    let relay = rig.relay(&outbox);
    rig.publish();
    rig.hub.until(|_| outbox.queued() == 10);
    rig.moved();
    // A new epoch: what is in flight is dropped, and offered again from its first on.
    rig.hub.activate(OTHER);
    rig.hub.until(|_| outbox.offered().len() >= 20 && outbox.queued() == 10);
    outbox.take_nothing(false);
    rig.hub.until(|_| outbox.acknowledged().len() >= 10);
    assert!(is_whole(&outbox, 10), "{:?}", outbox.acknowledged());
    relay.end();
    rig.crash();
}

#[test]
fn the_journals_cursor_goes_ahead_of_what_is_served_only_once_that_is_on_record() {
    let home = Home::new(THEN);
    let hub = home.open(AS_IT_IS);
    hub.publish(COUNT);
    let target = hub.keeping.policies.current().bit_of(CLOUD).unwrap();
    let cursor = hub.keeping.watermark.get();
    let aside = |hub: &Hub| {
        hub.keeping.inbox.control(Control::Aside { target, cursor });
        let served = hub.ledger().served.get(&target.index()).copied();
        let seen = hub.view.load();
        (served, seen.targets.iter().find(|(_, known, _)| *known == target).unwrap().2)
    };
    let (served, before) = aside(&hub);
    assert_eq!(served, Some(before), "on record now, and the cursor where it was");
    assert_eq!(aside(&hub), (Some(before), cursor));
    hub.crash();
}

#[test]
fn a_tightened_policy_reaches_a_backlog() {
    let home = Home::new(THEN);
    let mut rig = Rig::start(&home, OutletState::Down);
    rig.publish();
    rig.moved();
    rig.hub.activate(TIGHT);
    let outbox = Outbox::default();
    let relay = rig.relay(&outbox);
    rig.hub.until(|hub| hub.kept(Log::Hold) == 10);
    assert_eq!(outbox.offered(), [] as [u64; 0]);
    relay.end();
    rig.crash();
}

#[test]
fn a_target_that_is_merely_behind_keeps_the_journal_and_one_that_takes_nothing_for_long_does_not() {
    let home = Home::new(THEN);
    let mut rig = Rig::start(&home, OutletState::Up);
    rig.publish();
    assert!(!rig.turn(limits::LAGGARD_AFTER / 2), "it may catch up");
    rig.backlogs.crowded = 0;
    assert!(rig.backlogs.lanes[0].lags(rig.backlogs.watermark.segment(), true, Instant::now()));
    rig.backlogs.crowded = u64::MAX;
    assert!(rig.turn(limits::LAGGARD_AFTER * 2), "it takes nothing, whatever its outlet says");
    rig.crash();
}

#[test]
fn while_every_target_is_behind_nothing_is_moved() {
    let home = Home::new(THEN);
    let mut rig = Rig::start(&home, OutletState::Down);
    rig.publish();
    rig.backlogs.lanes.pop();
    assert!(!rig.turn(Duration::ZERO), "it would free nothing");
    rig.crash();
}

#[test]
fn what_finds_no_room_in_a_backlog_stays_in_the_journal_and_is_moved_once_there_is_some() {
    let home = Home::new(THEN);
    let mut rig = Rig::start(&home, OutletState::Down);
    rig.publish();
    rig.let_go();
    let full = rig.bytes();
    let full_disk =
        Directory { path: home.path("nowhere"), open: || Err(anyhow::anyhow!("no space left on device")) };
    let before = std::mem::replace(&mut rig.backlogs.lanes[0].place.home, Box::new(full_disk));
    for _ in 0..3 {
        assert!(!rig.turn(Duration::ZERO));
    }
    assert_eq!(rig.bytes(), full);
    rig.backlogs.lanes[0].place.home = before;
    rig.moved();
    assert!(rig.bytes() < full);
    let outbox = Outbox::default();
    let relay = rig.relay(&outbox);
    rig.hub.until(|_| outbox.acknowledged().len() >= 10);
    assert!(is_whole(&outbox, 10), "{:?}", outbox.acknowledged());
    relay.end();
    rig.crash();
}
