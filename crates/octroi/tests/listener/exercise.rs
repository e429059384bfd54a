//! The entry point for fuzzing the listener without TLS, end to end; shared with `fuzz/`. The bytes of four
//! clients, cut anywhere, go through the hub's own connection tasks into its journal, beside an honest client.
//! Sockets are in memory, the disk and time are simulated, and one thread steps all of it.
//!
//! INVARIANT: whatever the four do, nothing panics or hangs; every publish of the honest one is acknowledged, in
//! order, and in the journal once, after a loss of power too; nothing acknowledged is missing there; and
//! nothing is left behind of whoever is gone.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use octroi::admission::{Admission, Caps};
use octroi::clock::{Clock, PolicyClock};
use octroi::committer::{Committer, Inbox, Watermark};
use octroi::config::IdentifyBy;
use octroi::identity::credentials::Credentials;
use octroi::identity::standing::Standing;
use octroi::intake::Shares;
use octroi::ledger::Ledger;
use octroi::limits;
use octroi::metrics::Metrics;
use octroi::patience::Patience;
use octroi::pipeline::Ingress;
use octroi::policies::{Active, Bits, Policies, Store};
use octroi::record::{Message, RecordKind, Refusal};
use octroi::session::{Shared, Visitor, serve};
use octroi::sessions::Sessions;
use octroi_journal::sim::SimDisk;
use octroi_journal::{Batch, Journal, Options};
use octroi_mqtt::client::{self, AckReader, Connect, Publish, Reply};
use octroi_mqtt::{Qos, Version};
use octroi_policy::{Policy, SourceFile, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, advance};

const POLICY: &str = concat!(
    include_str!("../simulation/policy.toml"),
    r#"
[[source]]
id = "honest"
identity = "id:honest"
producer = "243500139"
format = "json"
topics = ["ville/+/+"]
domains = ["mobility"]
commune = "35238"
perimeter = "metropole"
"#
);
/// Who fuzzes, if it says so.
const SOURCE: &str = "ville";
const HONEST: &str = "honest";
const CLIENTS: [&str; 4] = ["", "a", "b", "c"];
const SEGMENT_BYTES: u64 = 64 << 10;
/// What a socket holds each way.
const SOCKET_BYTES: usize = 4 << 10;
/// 2026-11-20.
const NOW: Timestamp = Timestamp(1_795_132_800_000_000);

/// What all runs share, because no run changes it.
pub(crate) struct Stage {
    policies: Arc<Policies>,
    metrics: Arc<Metrics>,
    bits: Bits,
}

/// A wall clock that stands.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let files = [SourceFile { name: "policy.toml".into(), text: POLICY.into() }];
        let parsed = octroi_policy::parse(&files);
        let policy = Policy::compile(&parsed.document, octroi_policy::hash(&files)).unwrap();
        let metrics = Arc::new(Metrics::new("exercise").unwrap());
        let (_, bits) = open(&SimDisk::new(0));
        let directory = tempfile::TempDir::new().unwrap();
        let store = Store::open(directory.path().join("policies")).unwrap();
        let active = Active::new(policy, 0, NOW, bits.clone(), &metrics);
        Self { policies: Arc::new(Policies::new(active, store)), metrics, bits }
    }
}

/// A journal on that disk, and the bits of what reads it.
fn open(disk: &SimDisk) -> (Journal, Bits) {
    let limit_bytes = 64 * SEGMENT_BYTES;
    let hub = "hub-1".to_owned();
    let options = Options { hub, segment_bytes: SEGMENT_BYTES, limit_bytes, reserve_bytes: SEGMENT_BYTES };
    let (mut journal, recovery) = Journal::open(Arc::new(disk.clone()), options, &mut || 1).unwrap();
    assert!(!recovery.is_damaged(), "{recovery:?}");
    let names = ["dc", "cloud", "voisin"].map(str::to_owned);
    let bits = Bits::names(&names).map(|name| journal.register_target(&name, 0).unwrap());
    let bits = Bits::from_list(bits.collect()).unwrap();
    (journal, bits)
}

/// The hub's end of all connections, and what is behind it.
struct Hub {
    shared: Arc<Shared>,
    watermark: Arc<Watermark>,
    committer: Committer,
    disk: SimDisk,
    tasks: JoinSet<()>,
    /// Nothing of it changes: nobody shows a certificate or a password.
    credentials: watch::Receiver<Arc<Credentials>>,
    stopping: watch::Sender<bool>,
    began: Instant,
}

impl Hub {
    fn new(stage: &Stage) -> Self {
        let disk = SimDisk::new(1);
        let (journal, bits) = open(&disk);
        assert_eq!(bits.targets, stage.bits.targets);
        let (inbox, watermark): (Arc<Inbox>, Arc<Watermark>) = (Arc::default(), Arc::default());
        let (metrics, most) = (Arc::clone(&stage.metrics), Box::new(|_: &str| u64::MAX));
        let parts = (Arc::clone(&inbox), Arc::clone(&watermark));
        let committer =
            Committer::new((journal, most), Ledger::default(), parts.0, parts.1, Arc::default(), metrics);
        let (stopping_tell, stopping) = watch::channel(false);
        let all = u64::MAX;
        let shared = Shared {
            ingress: Ingress {
                policies: Arc::clone(&stage.policies),
                inbox,
                budget: Arc::new(Semaphore::new(limits::IN_FLIGHT_BYTES)),
                clock: Arc::new(PolicyClock::new(Arc::new(Still), NOW)),
                shares: Shares::new(limits::IN_FLIGHT_BYTES),
            },
            admission: Arc::new(Admission::new(Caps { all, source: all, address: all })),
            sessions: Sessions::default(),
            metrics: Arc::clone(&stage.metrics),
            limits: Arc::new(limits::mqtt()),
            stopping,
        };
        Self {
            shared: Arc::new(shared),
            watermark,
            committer,
            disk,
            tasks: JoinSet::new(),
            credentials: watch::channel(Arc::default()).1,
            stopping: stopping_tell,
            began: Instant::now(),
        }
    }

    /// A connection, as the listener would make it of a socket.
    async fn connect(&mut self) -> Line {
        let (near, far) = duplex(SOCKET_BYTES);
        let stranger = self.shared.admission.stranger().await;
        let guest = self.shared.admission.enter(Ipv4Addr::LOCALHOST.into(), stranger).unwrap();
        let standing = Standing::new(IdentifyBy::UsernameOnly, &self.credentials, Arc::new(Still));
        let visitor = Box::new(Visitor { standing, guest });
        self.tasks.spawn(serve(Arc::clone(&self.shared), visitor, Box::new(far)));
        Line { near, sent: Vec::new(), unsent: BytesMut::new(), replies: AckReader::default(), deaf: false }
    }

    /// Everything goes on until nothing moves any more, at a time that stands.
    async fn settle(&mut self, lines: &mut [Option<Line>], mut honest: Option<&mut Honest>) {
        let (mut quiet, mut rounds) = (0, 0);
        while quiet < 4 {
            rounds += 1;
            assert!(rounds < 20_000, "it does not come to rest");
            let before = self.watermark.get();
            let elapsed = self.began.elapsed();
            assert!(self.committer.step(Patience::Never, &move || elapsed).is_none());
            yield_now().await;
            let mut moved = self.watermark.get() != before;
            for line in lines.iter_mut().flatten() {
                moved |= line.turn(|_| {});
            }
            moved |= honest.as_mut().is_some_and(|honest| honest.turn());
            while let Some(ended) = self.tasks.try_join_next() {
                ended.unwrap();
                moved = true;
            }
            quiet = if moved { 0 } else { quiet + 1 };
        }
    }

    /// All hung up; the hub stops, and all of it ends.
    async fn stop(&mut self) {
        self.settle(&mut [], None).await;
        self.stopping.send_replace(true);
        for _ in 0..120 {
            self.settle(&mut [], None).await;
            if self.tasks.is_empty() {
                break;
            }
            advance(Duration::from_secs(1)).await;
        }
        assert!(self.tasks.is_empty(), "{} connections do not end", self.tasks.len());
        assert_eq!(self.shared.admission.count(), 0);
        assert_eq!(self.shared.ingress.budget.available_permits(), limits::IN_FLIGHT_BYTES);
    }
}

/// A client's end of a connection.
struct Line {
    near: DuplexStream,
    /// All that was written, or is to be.
    sent: Vec<u8>,
    unsent: BytesMut,
    replies: AckReader,
    /// It reads nothing.
    deaf: bool,
}

impl Line {
    fn say(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        self.unsent.extend_from_slice(bytes);
    }

    /// Writes and reads what it can; whether that was anything.
    fn turn(&mut self, mut on: impl FnMut(Reply)) -> bool {
        let mut moved = false;
        let mut context = Context::from_waker(Waker::noop());
        while !self.unsent.is_empty() {
            match Pin::new(&mut self.near).poll_write(&mut context, &self.unsent) {
                Poll::Ready(Ok(written)) => self.unsent.advance(written),
                // The hub hung up.
                Poll::Ready(Err(_)) => self.unsent.clear(),
                Poll::Pending => break,
            }
            moved = true;
        }
        let mut bytes = [0; 1024];
        while !self.deaf {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.near).poll_read(&mut context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    assert!(self.replies.feed(read.filled(), &mut on).is_ok(), "the hub speaks MQTT");
                    moved = true;
                }
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        moved
    }
}

/// Whose publishes all arrive.
struct Honest {
    line: Line,
    version: Version,
    sent: u16,
    acknowledged: u16,
}

impl Honest {
    fn new(mut line: Line, version: Version) -> Self {
        let connect = Connect { user_name: Some(HONEST), ..Connect::new(HONEST) };
        line.say(&client::connect(version, &connect));
        Self { line, version, sent: 0, acknowledged: 0 }
    }

    fn publish(&mut self) {
        self.sent += 1;
        let payload = self.sent.to_string();
        let publish = client::publish(self.version, "ville/ouvert/x", payload.as_bytes(), Some(self.sent));
        self.line.say(&publish.bytes);
    }

    fn turn(&mut self) -> bool {
        let Self { line, acknowledged, .. } = self;
        line.turn(|reply| {
            if let Reply::PubAck { packet_id, code: 0 } = reply {
                *acknowledged += 1;
                assert_eq!(packet_id, *acknowledged, "in order");
            } else {
                let is_well = matches!(reply, Reply::ConnAck { code: 0, .. } | Reply::PingResp);
                assert!(is_well, "the honest client is told {reply:?}");
            }
        })
    }
}

/// What `data` says, byte by byte; then nothing.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Byte 0 is the honest client's version; then each byte is what one of the four clients does (bits 0 and 1: which
/// one; bits 2 to 4: what), and what follows says more of it. How many publishes of the four were acknowledged.
/// Panics where the invariant does not hold.
pub(crate) fn listener(stage: &Stage, data: &[u8]) -> u64 {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(stage, Script(data)))
}

async fn run(stage: &Stage, mut script: Script<'_>) -> u64 {
    let mut hub = Hub::new(stage);
    let mut lines = [const { None }; 4];
    let version = version(script.byte());
    let mut honest = Honest::new(hub.connect().await, version);
    // A bridge's state is acknowledged and no message.
    let (mut acknowledged, mut states) = (0, false);
    while !script.0.is_empty() {
        let act = script.byte();
        let place = usize::from(act & 3);
        match act >> 2 & 7 {
            kind @ 0..=3 => {
                if lines[place].is_none() {
                    lines[place] = Some(hub.connect().await);
                }
                let said = say(kind, &mut script);
                let line = lines[place].as_mut().unwrap();
                line.say(&said);
                states |= has(&line.sent, b"$SYS");
                // Who says that it is the honest client is it: a user name is all that is asked for here.
                if has(&line.sent, HONEST.as_bytes()) {
                    return 0;
                }
            }
            4 => acknowledged += lines[place].take().map_or(0, |line: Line| line.replies.accepted),
            5 => {
                for _ in 0..script.byte() & 15 {
                    honest.line.say(&client::pingreq());
                    hub.settle(&mut lines, Some(&mut honest)).await;
                    advance(Duration::from_secs(1)).await;
                }
            }
            6 => lines[place].iter_mut().for_each(|line| line.deaf = !line.deaf),
            _ => (0..=script.byte() & 3).for_each(|_| honest.publish()),
        }
        hub.settle(&mut lines, Some(&mut honest)).await;
    }
    assert_eq!(honest.acknowledged, honest.sent, "the honest client is acknowledged");
    acknowledged += lines.iter().flatten().map(|line: &Line| line.replies.accepted).sum::<u64>();
    let sent = honest.sent;
    drop((lines, honest));
    hub.stop().await;
    let (of_honest, others) = on_record(&hub.disk.after_crash(u64::from(sent)));
    assert!(of_honest.into_iter().eq(1..=sent), "each once, and in order");
    assert!(states || acknowledged <= others, "{acknowledged} acknowledged, {others} on record");
    acknowledged
}

fn has(bytes: &[u8], piece: &[u8]) -> bool {
    bytes.windows(piece.len()).any(|window| window == piece)
}

fn version(byte: u8) -> Version {
    if byte & 1 == 0 { Version::V3 } else { Version::V5 }
}

/// Bytes as they are, or a packet.
fn say(kind: u8, script: &mut Script<'_>) -> Vec<u8> {
    let how = script.byte();
    let is = |bit: u8| how >> bit & 1 == 1;
    match kind {
        0 => script.take(usize::from(how)).to_vec(),
        1 => {
            let client_id = CLIENTS[usize::from(how >> 1 & 3)];
            let expiry = client::property::long(0x11, 600);
            let will = Publish {
                topic: "ville/sensible/will",
                payload: b"{}",
                qos: Qos::AtLeastOnce,
                packet_id: 0,
                dup: false,
                retain: false,
                properties: &[],
            };
            let connect = Connect {
                user_name: Some(if is(7) { "nobody" } else { SOURCE }),
                keep_alive: if is(6) { 2 } else { 0 },
                clean_start: is(3),
                properties: if is(0) && is(5) { &expiry } else { &[] },
                will: is(4).then_some(will),
                ..Connect::new(client_id)
            };
            client::connect(version(how), &connect)
        }
        2 => {
            let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtLeastOnce];
            let publish = Publish {
                topic: if is(4) { "ville/ouvert/y" } else { "elsewhere" },
                payload: if is(3) { b"{\"n\":1}" } else { b"no json" },
                qos: qos[usize::from(how >> 1 & 3)],
                packet_id: u16::from(how >> 5) + 1,
                dup: false,
                retain: false,
                properties: &[],
            };
            publish.encode(version(how)).bytes
        }
        _ => client::pubrel(u16::from(how & 7) + 1).to_vec(),
    }
}

/// What is on that disk: the honest client's messages, and how many records there are of others.
fn on_record(disk: &SimDisk) -> (Vec<u16>, u64) {
    let (journal, _) = open(disk);
    let (mut reader, mut batch, mut at) = (journal.reader(0), Batch::default(), 0);
    let (mut honest, mut others) = (Vec::new(), 0);
    while at < journal.next_seq() {
        reader.next(None, 1 << 20, &mut batch).unwrap();
        for entry in batch.iter() {
            let kind = RecordKind::of(entry.kind).unwrap();
            if kind == RecordKind::Message {
                let message = Message::read(entry.bytes).unwrap();
                if message.identity == "id:honest" {
                    honest.push(std::str::from_utf8(message.payload).unwrap().parse().unwrap());
                } else {
                    others += 1;
                }
            } else if kind == RecordKind::Refusal {
                assert_ne!(Refusal::read(entry.bytes).unwrap().identity, "id:honest");
                others += 1;
            }
        }
        assert!(batch.end() > at, "a journal is read to its end");
        at = batch.end();
    }
    (honest, others)
}
