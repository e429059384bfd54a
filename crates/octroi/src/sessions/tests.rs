use octroi_journal::{ChunkBuilder, Journal, Options, RealDisk};
use tempfile::TempDir;

use super::*;
use crate::committer::{Append, Committer};
use crate::ledger::{Ledger, Tally};
use crate::metrics::Metrics;
use crate::record::{Exchanges, Step};

const ASKS: Asks<'_> =
    Asks { identity: "id:a", client_id: "c", clean_start: false, expiry: 60, most: u64::MAX };

/// A journal and its owner, over restarts.
struct Hub {
    directory: TempDir,
    inbox: Arc<Inbox>,
    owner: std::thread::JoinHandle<()>,
    sessions: Sessions,
    now: Instant,
}

impl Hub {
    fn start() -> Self {
        Self::open(tempfile::tempdir().unwrap(), Instant::now())
    }

    fn open(directory: TempDir, now: Instant) -> Self {
        let disk = RealDisk::new(directory.path()).unwrap();
        let (segment_bytes, reserve_bytes) = (4 << 20, 4 << 20);
        let options = Options { hub: "hub-1".into(), segment_bytes, limit_bytes: 64 << 20, reserve_bytes };
        let (journal, recovery) = Journal::open(Arc::new(disk), options, &mut || 7).unwrap();
        let ledger: Ledger = crate::server::replay(&journal, &recovery).unwrap();
        let sessions = Sessions::new(&ledger.sessions, now);
        let inbox = Arc::<Inbox>::default();
        let metrics = Arc::new(Metrics::new("test").unwrap());
        let (watermark, view) = (Arc::default(), Arc::default());
        let owner = Committer::new(
            (journal, Box::new(|_| 64 << 20)),
            ledger,
            Arc::clone(&inbox),
            watermark,
            view,
            metrics,
        );
        let owner = std::thread::spawn(move || drop(owner.run(|| Duration::ZERO)));
        Self { directory, inbox, owner, sessions, now }
    }

    /// Stopped and started again: every connection is gone.
    fn restart(self) -> Self {
        let Self { directory, inbox, owner, now, .. } = self;
        inbox.control(Control::Stop);
        owner.join().unwrap();
        Self::open(directory, now)
    }

    async fn enter(&self, clean_start: bool, expiry: u32) -> Entered {
        let asks = Asks { clean_start, expiry, ..ASKS };
        self.sessions.enter(&asks, self.now, &self.inbox).await.unwrap()
    }

    fn end(&self, mut place: Place, expiry: Option<u32>) {
        self.sessions.release(&mut place, expiry, self.now, &self.inbox);
        self.sessions.leave(place);
    }

    /// A session's chunk with these steps: `done` says when it is on disk.
    fn append(&self, place: &Place, steps: &[Step]) -> oneshot::Receiver<crate::committer::Acked> {
        let exchanges = Exchanges { session: place.session().unwrap().to_owned(), steps: steps.to_vec() };
        let mut records = ChunkBuilder::new(64);
        records.push(RecordKind::Exchanges as u8, 0, &[&exchanges.to_bytes()]).unwrap();
        let (done, told) = oneshot::channel();
        let tally = Tally { exchanges: Some(exchanges), ..Tally::default() };
        self.inbox.append(Append { chunk: records.finish(), tally, by: None, budget: None, done });
        told
    }
}

#[tokio::test]
async fn a_client_takes_over_its_own_session_and_nobody_elses() {
    let hub = Hub::start();
    let Entered { place, mut ended, present, .. } = hub.enter(true, 0).await;
    assert!(!present);
    let other = Asks { identity: "id:b", clean_start: true, expiry: 0, ..ASKS };
    let other = hub.sessions.enter(&other, hub.now, &hub.inbox).await.unwrap();
    assert!(ended.try_recv().is_err(), "another identity takes nothing over");
    let first = async {
        assert_eq!((&mut ended).await, Ok(End::TakenOver));
        hub.end(place, None);
    };
    let (second, ()) = tokio::join!(hub.enter(true, 0), first);
    assert_eq!(hub.sessions.lock().connected.len(), 2, "the one that was taken over takes nobody with it");
    hub.end(second.place, None);
    hub.end(other.place, None);
    assert!(hub.sessions.lock().connected.is_empty());
}

#[tokio::test]
async fn a_session_has_one_connection_at_a_time_and_the_next_waits_or_is_sent_away() {
    let hub = Hub::start();
    let Entered { place, mut ended, .. } = hub.enter(false, 60).await;
    let refused = hub.sessions.enter(&ASKS, hub.now, &hub.inbox).await.unwrap_err();
    assert_eq!((refused, ended.try_recv()), (EnterError::Busy, Ok(End::TakenOver)));
    hub.end(place, None);
    let again = hub.enter(false, 60).await;
    assert!(again.present, "nothing was changed by the one that was sent away");
}

#[tokio::test]
async fn a_session_on_record_is_present_over_a_restart_until_it_expires_or_the_start_is_clean() {
    let mut hub = Hub::start();
    let entered = hub.enter(false, 60).await;
    assert!(!entered.present);
    hub.end(entered.place, None);
    hub = hub.restart();
    let entered = hub.enter(false, 60).await;
    assert!(entered.present);
    hub.end(entered.place, None);
    hub.now += Duration::from_secs(60);
    let entered = hub.enter(false, 60).await;
    assert!(!entered.present, "expired");
    hub.end(entered.place, None);
    let entered = hub.enter(true, 60).await;
    assert!(!entered.present, "clean");
    hub.end(entered.place, Some(0));
    let entered = hub.enter(false, 60).await;
    assert!(!entered.present, "DISCONNECT ended it");
    hub.end(entered.place, Some(u32::MAX));
    hub.now += Duration::from_secs(100 * 365 * 86_400);
    let entered = hub.enter(false, 0).await;
    assert!(entered.present, "that one never expires");
    assert_eq!(entered.place.session(), None, "and now ends with its connection");
    hub.end(entered.place, None);
    assert!(!hub.enter(false, 60).await.present);
}

#[tokio::test]
async fn open_packet_ids_come_back_over_a_restart_and_a_clean_start_drops_them() {
    let mut hub = Hub::start();
    let entered = hub.enter(false, 60).await;
    hub.append(&entered.place, &[Step::Opened(7), Step::Opened(9), Step::Released(9)]).await.unwrap();
    hub.end(entered.place, None);
    for _ in 0..2 {
        let entered = hub.enter(false, 60).await;
        assert_eq!(entered.open, [7]);
        hub.end(entered.place, None);
        hub = hub.restart();
    }
    let entered = hub.enter(false, 90).await;
    assert_eq!(entered.open, [7], "another expiry changes nothing");
    hub.end(entered.place, None);
    for _ in 0..2 {
        let entered = hub.enter(true, 60).await;
        assert_eq!((entered.present, entered.open.len()), (false, 0));
        hub.append(&entered.place, &[Step::Opened(8)]).await.unwrap();
        hub.end(entered.place, None);
        hub = hub.restart();
    }
}

#[tokio::test]
async fn the_next_connection_knows_what_the_last_one_handed_over_and_did_not_wait_for() {
    for clean_start in [false, true] {
        let hub = Hub::start();
        let entered = hub.enter(false, 60).await;
        drop(hub.append(&entered.place, &[Step::Opened(7)]));
        hub.end(entered.place, None);
        let entered = hub.enter(clean_start, 60).await;
        assert_eq!(entered.open, if clean_start { &[][..] } else { &[7] });
        hub.end(entered.place, None);
        let hub = hub.restart();
        assert_eq!(hub.enter(false, 60).await.open, if clean_start { &[][..] } else { &[7] });
    }
}

#[tokio::test]
async fn expired_sessions_leave_the_record_as_others_connect() {
    let mut hub = Hub::start();
    for client in 0..limits::SESSIONS_SWEPT + 1 {
        let client_id = client.to_string();
        let asks = Asks { client_id: &client_id, ..ASKS };
        let entered = hub.sessions.enter(&asks, hub.now, &hub.inbox).await.unwrap();
        hub.end(entered.place, None);
    }
    hub.now += Duration::from_secs(61);
    for left in [1, 0] {
        let entered = hub.enter(true, 0).await;
        hub.end(entered.place, None);
        assert_eq!(hub.sessions.lock().persistent.len(), left, "a few at a time");
    }
    let hub = hub.restart();
    assert!(hub.sessions.lock().persistent.is_empty());
}

#[tokio::test]
async fn without_its_record_no_session_is_resumed_or_promised() {
    let hub = Hub::start();
    let entered = hub.enter(false, 60).await;
    hub.end(entered.place, None);
    let asks = |client_id, expiry| Asks { client_id, clean_start: true, expiry, ..ASKS };
    hub.inbox.control(Control::Stop);
    hub.owner.join().unwrap();
    let known = hub.sessions.enter(&asks("c", 60), hub.now, &hub.inbox).await;
    assert_eq!(known.unwrap_err(), EnterError::Unavailable);
    let new = hub.sessions.enter(&asks("d", 60), hub.now, &hub.inbox).await.unwrap();
    assert_eq!(new.place.session(), None, "it ends with its connection");
}

#[tokio::test]
async fn an_identity_has_so_many_seats_and_who_takes_over_its_own_needs_no_other() {
    let hub = Hub::start();
    let asks = |client_id| Asks { client_id, most: 2, ..ASKS };
    let enter = async |client_id| hub.sessions.enter(&asks(client_id), hub.now, &hub.inbox).await;
    let (one, two) = (enter("1").await.unwrap(), enter("2").await.unwrap());
    assert_eq!(enter("3").await.unwrap_err(), EnterError::Full);
    let other = Asks { identity: "id:b", ..asks("3") };
    hub.end(hub.sessions.enter(&other, hub.now, &hub.inbox).await.unwrap().place, None);
    let (again, ()) = tokio::join!(enter("2"), async { hub.end(two.place, None) });
    assert_eq!(enter("3").await.unwrap_err(), EnterError::Full);
    hub.end(one.place, None);
    let three = enter("3").await.unwrap();
    hub.end(again.unwrap().place, None);
    hub.end(three.place, None);
    assert!(hub.sessions.lock().seats.is_empty(), "nothing is remembered of who is gone");
}
