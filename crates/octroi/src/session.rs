//! One client's connection: moves bytes between its socket and its MQTT
//! session, hands messages to the pipeline, and answers them when they are on
//! disk. The rules of MQTT are `octroi-mqtt`'s; what happens to a message is
//! the pipeline's. A source over its quota is not read until it is paid for
//! (`quota.rs`).
//!
//! INVARIANT: answers leave in the order the publishes and releases came, each
//! after the sync of its chunk: one queue, and nothing goes round it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use octroi_mqtt::{
    Ack, CloseReason, Connect, ConnectRefusal, DisconnectReason, Event, Grant, Limits, Progress, Refusal,
    Session, Version, Will,
};
use octroi_policy::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::admission::{Admission, Cap, Guest};
use crate::duplex::Duplex;
use crate::fail_point;
use crate::identity::standing::{Lapse, Standing};
use crate::intake::{Arrived, Intake, Refused, Sender};
use crate::limits;
use crate::metrics::Metrics;
use crate::pipeline::{Ingress, Pending};
use crate::policies::Active;
use crate::quota::Dues;
use crate::sessions::{Asks, End, EnterError, Entered, Place, Sessions};

/// What every session shares.
pub struct Shared {
    /// The way in.
    pub ingress: Ingress,
    /// How many may be connected.
    pub admission: Arc<Admission>,
    /// Who is connected.
    pub sessions: Sessions,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Bounds of MQTT.
    pub limits: Arc<Limits>,
    /// Turns true when the hub stops.
    pub stopping: watch::Receiver<bool>,
}

/// What an MQTT 5 client is told when the hub stops.
const STOPPING: Option<&str> = Some("the hub is stopping; send again what is not acknowledged");

/// What becomes of the will of a client that is no longer who it proved to be.
const NO_LONGER: Refused = Refused {
    code: Refusal::NotAuthorized,
    reason: Reason::IdentityLapsed,
    said: Reason::IdentityLapsed.name(),
};

/// Who comes in, and has not said yet who it is.
pub struct Visitor {
    /// What it proved by its certificate.
    pub standing: Standing,
    /// Its place among all connections.
    pub guest: Guest,
}

/// Who is at the other end.
struct Peer {
    sender: Sender,
    place: Place,
    ended: oneshot::Receiver<End>,
    /// Seconds that the session outlives its connection.
    expiry: u32,
    /// What it owes of its source's quota.
    dues: Dues,
}

/// One connection.
struct Conversation<'s> {
    shared: &'s Shared,
    visitor: Box<Visitor>,
    mqtt: Session,
    /// Made by the first message, and given back by a connection that rests.
    intake: Option<Box<Intake>>,
    pending: VecDeque<Pending>,
    peer: Option<Peer>,
    will: Option<Box<Will>>,
    taken_over: bool,
    /// Why the client is no longer who it proved to be.
    lapse: Option<Lapse>,
    /// Refusals in the current minute.
    refusals: (Instant, u32),
}

/// Serves one connection to its end, or as long as its identity stands.
pub async fn serve(shared: Arc<Shared>, visitor: Box<Visitor>, mut socket: Box<dyn Duplex>) {
    let now = Instant::now();
    let mut conversation = Conversation {
        mqtt: Session::new(Arc::clone(&shared.limits), now.into_std()),
        shared: &shared,
        visitor,
        intake: None,
        pending: VecDeque::new(),
        peer: None,
        will: None,
        taken_over: false,
        lapse: None,
        refusals: (now, 0),
    };
    conversation.run(&mut *socket).await;
    // The peer may be gone already, and its next connection waits for this one's end.
    tokio::time::timeout(limits::FAREWELL, socket.shutdown()).await.ok();
    Box::pin(conversation.end()).await;
}

/// What was read and not taken in yet.
struct Input {
    bytes: BytesMut,
    /// What the next read makes room for.
    want: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), want: limits::FIRST_READ_BYTES }
    }
}

impl Input {
    fn make_room(&mut self) {
        self.bytes.reserve(self.want);
    }

    /// The last read got so many bytes.
    fn got(&mut self, read: usize) {
        let want = match self.want {
            want if read >= want => want * 2,
            want if read < want / 4 => want / 2,
            want => want,
        };
        self.want = want.clamp(limits::FIRST_READ_BYTES, limits::READ_BYTES);
    }

    /// Gives back what it holds for the next read.
    fn rest(&mut self) {
        if self.bytes.is_empty() {
            *self = Self::default();
        }
    }
}

/// What woke the conversation.
enum Woken {
    Read(std::io::Result<usize>),
    Answered(bool),
    Ended(End),
    Stopping,
    Tick,
    /// What the client's identity rests on has changed or ended.
    Standing,
}

impl Conversation<'_> {
    async fn run(&mut self, socket: &mut dyn Duplex) {
        let (mut input, mut events) = (Input::default(), Vec::new());
        let mut stopping = self.shared.stopping.clone();
        let mut tick = std::pin::pin!(sleep_until(Instant::now() + self.shared.limits.connect_timeout));
        loop {
            let now = Instant::now();
            self.look_at_dues(now);
            let progress = match self.held_until() {
                Some(_) => Progress::EventsFull,
                None => self.receive(&mut input.bytes, &mut events, now).await,
            };
            if !self.mqtt.output().is_empty() && self.write(socket).await.is_err() {
                return self.lost(&mut events);
            }
            if self.mqtt.closed().is_some() {
                return;
            }
            self.arm(tick.as_mut(), now);
            let readable =
                matches!(progress, Progress::NeedInput(_)) && self.pending.len() < limits::SESSION_CHUNKS;
            if readable {
                input.make_room();
            } else {
                self.mqtt.pause_keep_alive();
            }
            if let Some(lapse) = self.visitor.standing.lapse(now) {
                self.lapsed(lapse, &mut events);
                continue;
            }
            let woken = {
                let Self { pending, peer, visitor, .. } = self;
                let ended = peer.as_mut().map(|peer| &mut peer.ended);
                tokio::select! {
                    biased;
                    told = async { (&mut front(pending).done).await }, if !pending.is_empty() => {
                        Woken::Answered(told.is_ok())
                    }
                    Ok(end) = async { ended_of(ended).await } => Woken::Ended(end),
                    read = socket.read_buf(&mut input.bytes), if readable => Woken::Read(read),
                    _ = stopping.wait_for(|stopping| *stopping) => Woken::Stopping,
                    () = tick.as_mut() => Woken::Tick,
                    () = visitor.standing.changed() => Woken::Standing,
                }
            };
            match woken {
                Woken::Read(Ok(0) | Err(_)) => return self.lost(&mut events),
                Woken::Read(Ok(read)) => input.got(read),
                Woken::Answered(true) => self.answer(&mut events),
                // The journal's owner dropped it: the hub stops, and nothing more is acknowledged.
                Woken::Answered(false) => {
                    self.mqtt.disconnect(DisconnectReason::ServerShuttingDown, STOPPING, &mut events);
                }
                Woken::Ended(End::TakenOver) => {
                    self.taken_over = true;
                    let why = Some("the same client connected again");
                    self.mqtt.disconnect(DisconnectReason::SessionTakenOver, why, &mut events);
                }
                Woken::Stopping => {
                    self.finish(&mut events).await;
                    self.mqtt.disconnect(DisconnectReason::ServerShuttingDown, STOPPING, &mut events);
                }
                Woken::Tick => {
                    self.tick(&mut events);
                    self.rest(&mut input, &mut events);
                }
                Woken::Standing => {}
            }
        }
    }

    /// Takes in what was read: events, their records, and the hand-over.
    async fn receive(&mut self, input: &mut BytesMut, events: &mut Vec<Event>, now: Instant) -> Progress {
        // By then the oldest message that is not answered has waited for long enough.
        let until = self.pending.front().map_or(now, |pending| pending.since) + limits::ACK_GRACE;
        loop {
            let active = self.shared.ingress.policies.current();
            let source = self.peer.as_ref().and_then(|peer| active.source(&peer.sender.identity));
            let rates = source.and_then(|source| active.rates(source));
            let peer = self.peer.as_ref();
            let room = peer.map_or(limits::EVENTS, |peer| Dues::room(&peer.sender, rates, now));
            let before = input.len();
            let progress = self.mqtt.receive(input, now.into_std(), room, events);
            if let Some(peer) = &mut self.peer {
                let messages = events.iter().filter(|event| is_message(event)).count();
                peer.dues.take(&peer.sender, rates, (messages, before - input.len()), now);
            }
            let again = matches!(progress, Progress::EventsFull);
            let mut connected = false;
            // Once for all that was read together.
            let received = self.shared.ingress.clock.now();
            for event in events.drain(..) {
                match event {
                    Event::Publish(publish) => {
                        fail_point::reached("session.decoded");
                        if let Some(peer) = &self.peer {
                            let arrived = Arrived::publish(&peer.sender, &publish, now, received, source);
                            let intake = self.intake.get_or_insert_default();
                            self.shared.ingress.take(intake, &active, &arrived);
                            if intake.is_full() {
                                self.hand_over(&active, until).await;
                            }
                        }
                    }
                    Event::Inadmissible(publish, why) => {
                        if let Some(peer) = &self.peer {
                            let arrived = Arrived::publish(&peer.sender, &publish, now, received, source);
                            let intake = self.intake.get_or_insert_default();
                            self.shared.ingress.refuse(intake, &active, &arrived, why.into());
                        }
                    }
                    Event::BridgeState(publish) => {
                        if let Some(peer) = &self.peer {
                            self.intake.get_or_insert_default().note(&peer.sender, &publish, now);
                        }
                    }
                    Event::Release(release) => {
                        if let Some(peer) = &self.peer {
                            self.intake.get_or_insert_default().release(&peer.sender, release, now);
                        }
                    }
                    Event::Will(will) => self.will = Some(will),
                    Event::Connect(connect) => {
                        // On the heap: what it takes is not to be held by whoever is connected.
                        Box::pin(self.connect(*connect, now)).await;
                        connected = true;
                        break;
                    }
                    Event::Closed(closed) => self.closed(closed.reason),
                }
            }
            self.hand_over(&active, until).await;
            if self.held_until().is_some() {
                return Progress::EventsFull;
            }
            if !(again || connected) || self.pending.len() >= limits::SESSION_CHUNKS {
                return progress;
            }
        }
    }

    fn look_at_dues(&mut self, now: Instant) {
        if let Some(peer) = &mut self.peer {
            peer.dues.look(&peer.sender, &self.shared.ingress.policies, now);
        }
    }

    /// Until when its source's quota holds the connection back.
    fn held_until(&self) -> Option<Instant> {
        self.peer.as_ref()?.dues.held_until()
    }

    /// Hands over what has gathered. Behind what found no room nothing goes: it would overtake it.
    async fn hand_over(&mut self, active: &Active, until: Instant) {
        let (Some(peer), Some(intake)) = (&self.peer, &mut self.intake) else { return };
        if self.pending.back().is_some_and(|pending| pending.unsent.is_some()) {
            drop(intake.finish(active, &peer.sender));
            return;
        }
        let handed = self.shared.ingress.hand_over(intake, active, &peer.sender, until).await;
        self.pending.extend(handed);
    }

    async fn connect(&mut self, connect: Connect, now: Instant) {
        let mut events = Vec::new();
        let proven =
            self.visitor.standing.identities(connect.user_name.as_deref(), connect.password.as_deref()).await;
        let active = self.shared.ingress.policies.current();
        let known = proven.iter().find(|identity| active.source(identity).is_some());
        let refused = match (known, *self.shared.stopping.borrow()) {
            (_, true) => Some((ConnectRefusal::ServerUnavailable, "the hub is stopping")),
            (None, _) if proven.is_empty() => {
                Some((ConnectRefusal::BadCredentials, "certificate, user name or password prove no identity"))
            }
            (None, _) => {
                Some((ConnectRefusal::NotAuthorized, "the policy in force has no source of this identity"))
            }
            (Some(_), false) => None,
        };
        if let Some((refusal, why)) = refused {
            return self.refuse(refusal, why);
        }
        let Some(identity) = known else { return };
        self.visitor.guest.is_known();
        let assigned = connect.client_id.is_empty().then(random_client_id);
        let client_id = assigned.as_deref().unwrap_or(&connect.client_id);
        let expiry = if assigned.is_some() { 0 } else { connect.session_expiry };
        let most = self.shared.admission.per_source();
        let asks = Asks { identity, client_id, clean_start: connect.clean_start, expiry, most };
        let Entered { place, ended, present, open } =
            match self.shared.sessions.enter(&asks, now, &self.shared.ingress.inbox).await {
                Ok(entered) => entered,
                Err(EnterError::Full) => {
                    self.shared.admission.met(Cap::Source, identity, now);
                    return self
                        .refuse(ConnectRefusal::QuotaExceeded, "this source has too many connections");
                }
                Err(EnterError::Busy) => {
                    let why = "this client's earlier connection has not ended yet; connect again";
                    return self.refuse(ConnectRefusal::ServerBusy, why);
                }
                Err(EnterError::Unavailable) => {
                    let why = "the hub cannot put the session on record; connect again later";
                    return self.refuse(ConnectRefusal::ServerUnavailable, why);
                }
            };
        let session = place.session().map(str::to_owned);
        let expiry = if session.is_some() { expiry } else { 0 };
        let grant = Grant {
            session_present: present,
            open,
            assigned_client_id: assigned,
            receive_maximum: Some(limits::RECEIVE_MAXIMUM),
            // What was asked for, unless it is not kept.
            session_expiry: (connect.session_expiry != expiry).then_some(expiry),
        };
        let share = self.shared.ingress.shares.of(identity);
        let sender = Sender { identity: identity.as_str().into(), version: connect.version, session, share };
        let dues = Dues::new(&sender, &self.shared.ingress.policies, now);
        self.peer = Some(Peer { sender, place, ended, expiry, dues });
        self.mqtt.accept(grant, now.into_std(), &mut events);
        self.take_ends(events);
    }

    fn refuse(&mut self, refusal: ConnectRefusal, why: &str) {
        let mut events = Vec::new();
        self.mqtt.refuse(refusal, Some(why), &mut events);
        self.take_ends(events);
    }

    /// Events that `accept`, `refuse` and their like make are ends only.
    fn take_ends(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Closed(closed) => self.closed(closed.reason),
                Event::Will(will) => self.will = Some(will),
                Event::Connect(_)
                | Event::Publish(_)
                | Event::BridgeState(_)
                | Event::Inadmissible(..)
                | Event::Release(_) => {}
            }
        }
    }

    /// The oldest chunk is on disk, and perhaps more: tell their publishers.
    fn answer(&mut self, events: &mut Vec<Event>) {
        let now = Instant::now();
        let mut told = self.pending.pop_front();
        while let Some(pending) = told {
            fail_point::reached("session.answers");
            let answered = pending.answers.len() as u64;
            self.shared.metrics.acknowledged(now.saturating_duration_since(pending.since), answered);
            for answer in pending.answers {
                let Some(receipt) = answer.receipt else { continue };
                let ack = match answer.refused {
                    None => Ack::Accepted,
                    Some(Refused { code, reason, said }) => {
                        self.count_refusal(reason.name(), now);
                        Ack::Refused(code, Some(said))
                    }
                };
                if let Err(error) = self.mqtt.acknowledge(receipt, ack, events) {
                    tracing::error!(%error, "acknowledgements out of order");
                    return;
                }
            }
            told = self.pending.pop_front_if(|pending| pending.done.try_recv().is_ok());
        }
        if self.refusals.1 > limits::REFUSALS_PER_MINUTE
            && self.peer.as_ref().is_some_and(|peer| peer.sender.version == Version::V3)
        {
            self.mqtt.disconnect(DisconnectReason::Unspecified, None, events);
        }
    }

    fn count_refusal(&mut self, reason: &'static str, now: Instant) {
        self.shared.metrics.rejected("publish", reason);
        if now.saturating_duration_since(self.refusals.0) > Duration::from_secs(60) {
            self.refusals = (now, 0);
        }
        self.refusals.1 += 1;
    }

    /// The hub stops: what was handed over is still answered.
    async fn finish(&mut self, events: &mut Vec<Event>) {
        let deadline = Instant::now() + limits::ACK_GRACE;
        while let Some(pending) = self.pending.front_mut() {
            match tokio::time::timeout_at(deadline, &mut pending.done).await {
                Ok(Ok(_)) => self.answer(events),
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Time passed: keep-alive, and publishers that wait too long for a full disk.
    fn tick(&mut self, events: &mut Vec<Event>) {
        let now = Instant::now();
        self.mqtt.handle_timeout(now.into_std(), events);
        let waits_since = self.pending.front().map(|pending| pending.since);
        if waits_since.is_some_and(|since| now >= since + limits::ACK_GRACE) {
            // A PUBACK with an error would tell the client to forget its message: none is sent.
            let why = Some("the hub has no room for your messages now; keep them and send them again");
            self.mqtt.disconnect(DisconnectReason::QuotaExceeded, why, events);
            self.pending.clear();
        }
    }

    /// Gives back what much traffic took, as it may now and then: there may be none for long.
    fn rest(&mut self, input: &mut Input, events: &mut Vec<Event>) {
        self.intake = None;
        self.pending.shrink_to_fit();
        events.shrink_to_fit();
        input.rest();
    }

    fn arm(&self, tick: std::pin::Pin<&mut Sleep>, now: Instant) {
        let session = self.mqtt.deadline().map(Instant::from_std);
        let answers = self.pending.front().map(|pending| pending.since + limits::ACK_GRACE);
        let due = session.into_iter().chain(answers).chain(self.visitor.standing.deadline());
        let due = due.chain(self.held_until()).min();
        // Moving a timer costs more than a spare tick: it is moved only when it would fire too late.
        match due {
            Some(due) if due < tick.deadline() || tick.is_elapsed() => tick.reset(due.max(now)),
            None if tick.is_elapsed() => tick.reset(now + Duration::from_secs(60)),
            _ => {}
        }
    }

    async fn write(&mut self, mut socket: &mut dyn Duplex) -> std::io::Result<()> {
        // Its successor waits for the end of this connection, and may be the same client come back.
        let within = if self.taken_over { limits::FAREWELL } else { limits::WRITE_TIMEOUT };
        let written = tokio::time::timeout(within, async {
            AsyncWriteExt::write_all_buf(&mut socket, self.mqtt.output()).await?;
            fail_point::reached("session.answered");
            socket.flush().await
        });
        written.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// The client is no longer who it proved to be: its session ends, and no will of it is published.
    fn lapsed(&mut self, lapse: Lapse, events: &mut Vec<Event>) {
        let (identity, why) = (self.peer.as_ref().map_or("-", |peer| &*peer.sender.identity), lapse.why());
        tracing::info!(identity, why, "a connection is closed");
        self.lapse = Some(lapse);
        self.mqtt.disconnect(DisconnectReason::NotAuthorized, Some(why), events);
    }

    fn lost(&mut self, events: &mut Vec<Event>) {
        self.mqtt.connection_lost(events);
        let ends = std::mem::take(events);
        self.take_ends(ends);
    }

    fn closed(&mut self, reason: CloseReason) {
        if !matches!(reason, CloseReason::ClientDisconnect) {
            self.shared.metrics.rejected("connection", reason.name());
            let identity = self.peer.as_ref().map_or("-", |peer| &*peer.sender.identity);
            tracing::debug!(identity, reason = reason.name(), "a connection ended");
        }
    }

    /// The will, if there is one, and the place in the table.
    async fn end(mut self) {
        let Some(mut peer) = self.peer.take() else { return };
        // What is not on disk by now is told to nobody: its publisher sends it again.
        self.pending.clear();
        let (expiry, inbox) = (self.mqtt.new_session_expiry(), &self.shared.ingress.inbox);
        self.shared.sessions.release(&mut peer.place, expiry, Instant::now(), inbox);
        if let Some(will) = self.will.take() {
            let delay = Duration::from_secs(will.delay.min(expiry.unwrap_or(peer.expiry)).into());
            let mut stopping = self.shared.stopping.clone();
            // The client that comes back in time takes the will back (MQTT 5 section 3.1.3.2.2). A hub that stops
            // publishes it now: later it would know nothing of it.
            let back = !delay.is_zero()
                && (self.taken_over
                    || tokio::select! {
                        end = &mut peer.ended => end.is_ok(),
                        () = tokio::time::sleep(delay) => false,
                        _ = stopping.wait_for(|stopping| *stopping) => false,
                    });
            if !back {
                self.publish_will(&mut peer, &will).await;
            }
        }
        self.shared.sessions.leave(peer.place);
    }

    async fn publish_will(&mut self, peer: &mut Peer, will: &Will) {
        let Will { message, .. } = will;
        if message.is_bridge_state() {
            return;
        }
        let (ingress, now) = (&self.shared.ingress, Instant::now());
        let (active, sender) = (ingress.policies.current(), &peer.sender);
        let source = active.source(&sender.identity);
        let rates = source.and_then(|source| active.rates(source));
        peer.dues.take(sender, rates, (1, message.topic().len() + message.payload().len()), now);
        let received = ingress.clock.now();
        let arrived = Arrived { sender, message, publish: None, at: now, received, source };
        let intake = self.intake.get_or_insert_default();
        // It may have lapsed while the will waited.
        if self.lapse.is_some() || self.visitor.standing.lapse(now).is_some() {
            self.shared.metrics.rejected("publish", NO_LONGER.said);
            tracing::info!(identity = &*sender.identity, "a will is refused: its client is not who it was");
            ingress.refuse(intake, &active, &arrived, NO_LONGER);
        } else {
            ingress.take(intake, &active, &arrived);
        }
        let until = now + limits::ACK_GRACE;
        if let Some(pending) = ingress.hand_over(intake, &active, sender, until).await
            && pending.unsent.is_none()
        {
            // Nobody is there to be told.
            pending.done.await.ok();
        }
    }
}

fn is_message(event: &Event) -> bool {
    matches!(event, Event::Publish(_) | Event::Inadmissible(..) | Event::BridgeState(_))
}

fn front(pending: &mut VecDeque<Pending>) -> &mut Pending {
    #[expect(clippy::expect_used, reason = "the branch that calls this is disabled while the queue is empty")]
    pending.front_mut().expect("a pending chunk")
}

async fn ended_of(ended: Option<&mut oneshot::Receiver<End>>) -> Result<End, oneshot::error::RecvError> {
    match ended {
        Some(ended) => ended.await,
        None => std::future::pending().await,
    }
}

fn random_client_id() -> String {
    let mut bytes = [0; 12];
    // Without randomness two clients could be given one id: the second would only take the first over.
    getrandom::fill(&mut bytes).ok();
    bytes.iter().fold("octroi-".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_read_makes_room_for_follows_what_comes_within_bounds_and_rests() {
        let mut input = Input::default();
        let room = |input: &mut Input| {
            input.make_room();
            input.want
        };
        assert_eq!(room(&mut input), limits::FIRST_READ_BYTES);
        for _ in 0..20 {
            let full = room(&mut input);
            input.got(full);
        }
        assert_eq!(room(&mut input), limits::READ_BYTES, "full reads");
        input.got(limits::READ_BYTES / 2);
        assert_eq!(room(&mut input), limits::READ_BYTES, "one that is half as large comes again");
        input.got(1);
        assert_eq!(room(&mut input), limits::READ_BYTES / 2);

        input.bytes.extend_from_slice(b"half a packet");
        input.rest();
        assert_eq!(&input.bytes[..], b"half a packet", "nothing that came is given up");
        input.bytes.clear();
        input.rest();
        assert_eq!((input.bytes.capacity(), input.want), (0, limits::FIRST_READ_BYTES));
    }
}
