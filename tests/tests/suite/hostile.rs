//! Hostile peers at the door of the real binary. What each of them gets is
//! tested with the session alone; here: after each, an honest client is served.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::load::wire::{self, Answer, Wire, connect, packet};
use octroi_tests::load::{Version, publish_one};
use octroi_tests::probe::Probe;
use octroi_tests::process::{holds_within, wait_until};
use octroi_tests::{needs, policy, report};

use crate::crowd;
use crate::fairness::{in_turn, within};

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];
const USER: &str = "ville-mobilite";
const TOPIC: &str = "ville/mobilite/compteur-7/count";

/// An honest client publishes, in each version, and is acknowledged.
#[track_caller]
fn is_served(hub: &Hub, case: &str) {
    let payload = policy::COUNTS.payload.replace("%ID%", "1").replace("%N%", "7");
    for version in VERSIONS {
        let code = publish_one(hub.mqtt(), version, USER, TOPIC, payload.as_bytes());
        assert_eq!(code.ok(), Some(0), "{version:?} after {case}");
    }
}

/// Sends, then reads to the end, for a moment at most.
fn send(hub: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(hub).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // The hub may have closed before all is sent.
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    answer
}

fn topic(bytes: &[u8], flags: u8, version: Version, properties: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    body.extend(bytes);
    if flags & 6 != 0 {
        body.extend([0, 1]);
    }
    if version == Version::V5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend(properties);
    }
    packet(0x30 | flags, &body)
}

/// What a connected client sends, by the numbers of the session's hostile cases, and whether it ends the
/// connection.
fn after_connect(version: Version) -> Vec<(&'static str, Vec<u8>, bool)> {
    let mut cases = vec![
        ("02 a second CONNECT", connect(version, "again", USER), true),
        ("06 five bytes of length", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], true),
        ("06 a length that is not minimal", vec![0xC0, 0x80, 0x00], true),
        ("07 a packet above the maximum", vec![0x30, 0x81, 0x80, 0x10], true),
        ("08 QoS 3", vec![0x36, 0], true),
        ("09 DUP at QoS 0", vec![0x38, 0], true),
        ("10 a wildcard", topic(b"ville/#", 0, version, &[]), true),
        ("11 no topic", topic(b"", 0, version, &[]), true),
        ("12 U+0000 in a topic", topic(b"a\0b", 0, version, &[]), true),
        ("12 a surrogate in a topic", topic(b"\xED\xA0\x80", 0, version, &[]), true),
        ("13 a topic that begins with \u{e9}", topic("\u{e9}tat/x".as_bytes(), 2, version, &[]), false),
        ("19 a CONNACK", packet(0x20, &[0, 0]), true),
        ("19 AUTH", vec![0xF0, 0], true),
        ("20 flags of SUBSCRIBE", packet(0x80, &[0, 1, 0, 0, 1, b'a', 0]), true),
        ("20 flags of PUBREL", packet(0x60, &[0, 1]), true),
        ("21 PUBREL of an unknown identifier", packet(0x62, &[0, 9]), false),
        ("28 $SYS", topic(b"$SYS/x", 2, version, &[]), false),
        ("28 $share", topic(b"$share/g/t", 4, version, &[]), false),
        ("29 another source's topic", topic(b"ville-metropole/mobilite/c/count", 2, version, &[]), false),
    ];
    if version == Version::V5 {
        cases.extend([
            ("14 alias 0", topic(b"t", 0, version, &[0x23, 0, 0]), true),
            ("14 an alias above the maximum", topic(b"t", 0, version, &[0x23, 0xFF, 0xFF]), true),
            ("15 an unknown alias", topic(b"", 0, version, &[0x23, 0, 3]), true),
            ("16 a property twice", topic(b"t", 0, version, &[1, 1, 1, 1]), true),
            ("24 a flood of user properties", topic(b"t", 2, version, &[0x26, 0, 0, 0, 0].repeat(25)), false),
        ]);
    }
    cases
}

#[test]
fn after_each_hostile_case_an_honest_client_is_acknowledged() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\xC0\0",
        b"\x10\xFF\xFF\xFF\x7F",
        &packet(0x10, b"\0\x04MQTT\x06\x02\0\x3c\0\x01c"),
        &packet(0x10, b"\0\x04MQTT\x04\x03\0\x3c\0\x01c"),
        &packet(0x10, b"\0\x04MQTT\x05\x02\0\x3c\x03\x21\0\0\0\x01c"),
    ] {
        let answer = send(hub.mqtt(), bytes);
        assert!(answer.first().is_none_or(|first| *first == 0x20 && answer[3] != 0), "{answer:02x?}");
        is_served(&hub, "bytes that are no CONNECT");
    }
    for version in VERSIONS {
        for (case, bytes, ends) in after_connect(version) {
            let mut wire = Wire::connect(hub.mqtt(), version, "hostile", USER).unwrap();
            wire.send(&bytes).unwrap();
            let mut ended = false;
            let until = Instant::now() + Duration::from_secs(if ends { 10 } else { 1 });
            while !ended && Instant::now() < until {
                match wire.answer(Duration::from_millis(100)) {
                    Ok(Some(Answer::Disconnect(code))) => assert!(code >= 0x80, "{case}"),
                    Ok(Some(_)) if !ends => break,
                    Ok(Some(answer)) => panic!("{case}: {answer:?}"),
                    Ok(None) => {}
                    Err(_) => ended = true,
                }
            }
            assert_eq!(ended, ends, "{version:?}: {case}");
            is_served(&hub, case);
        }
    }
}

#[test]
fn a_topic_alias_ends_with_its_connection_though_its_session_goes_on() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let wait = Duration::from_secs(5);
    let alias = [0x23, 0, 1];
    let connect = || Wire::connect(hub.mqtt(), Version::V5, "alias", USER).unwrap();
    let mut first = connect();
    for named in [TOPIC.as_bytes(), b""] {
        first.send(&topic(named, 2, Version::V5, &alias)).unwrap();
        assert!(matches!(first.answer(wait).unwrap(), Some(Answer::Ack { packet: 1, .. })), "{named:?}");
    }
    drop(first);
    let mut again = connect();
    assert!(again.session_present());
    again.send(&topic(b"", 2, Version::V5, &alias)).unwrap();
    assert_eq!(again.answer(wait).unwrap(), Some(Answer::Disconnect(0x82)));
}

#[test]
fn a_client_is_told_that_it_connected_again_or_that_the_hub_stops() {
    let _machine = needs::exclusive();
    let mut hub = Hub::start(&[]);
    let wait = Duration::from_secs(5);
    let mut first = Wire::connect(hub.mqtt(), Version::V5, "c", USER).unwrap();
    let other = Wire::connect(hub.mqtt(), Version::V5, "c", policy::WATER.user).unwrap();
    assert!(!other.session_present(), "another identity has a session of its own");
    assert_eq!(first.answer(Duration::from_millis(200)).unwrap(), None);
    let mut again = Wire::connect(hub.mqtt(), Version::V5, "c", USER).unwrap();
    assert!(again.session_present());
    assert_eq!(first.answer(wait).unwrap(), Some(Answer::Disconnect(0x8E)));
    hub.terminate();
    assert_eq!(again.answer(wait).unwrap(), Some(Answer::Disconnect(0x8B)));
}

/// How a peer begins and never ends.
fn beginnings() -> Vec<(&'static str, Door, Vec<u8>)> {
    let connect = |version| wire::connect(version, "slow", USER);
    // A TLS record of 512 bytes, of which nine come: the head of a ClientHello.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec();
    vec![
        ("says nothing", Door::Plain, Vec::new()),
        ("begins a CONNECT of 3.1.1", Door::Plain, connect(Version::V311)[..9].to_vec()),
        ("begins a CONNECT of 5", Door::Plain, connect(Version::V5)[..9].to_vec()),
        ("says nothing to TLS", Door::Tls, Vec::new()),
        ("begins a ClientHello", Door::Tls, hello),
    ]
}

/// Which listener.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    Plain,
    Tls,
}

/// A hub with a listener of each kind; `None`: what TLS needs is not there.
fn with_both_doors(most: usize) -> Option<(Hub, crowd::Door)> {
    let _tool = needs::tool("openssl", "openssl")?;
    let door = crowd::Door::new();
    let connections = format!("[connections]\nper_address = {most}\n");
    let mut hub = Hub::prepared(&[], &(connections + &door.listener()));
    hub.run();
    Some((hub, door))
}

fn address(hub: &Hub, tls: &crowd::Door, door: Door) -> SocketAddr {
    let port = if door == Door::Plain { hub.mqtt().port() } else { tls.port };
    (Ipv4Addr::LOCALHOST, port).into()
}

#[test]
fn a_handshake_or_a_connect_that_trickles_is_ended_in_time() {
    let _machine = needs::exclusive();
    let Some((hub, tls)) = with_both_doors(10) else { return };
    let ends = beginnings().into_iter().map(|(how, door, bytes)| {
        let hub = address(&hub, &tls, door);
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(hub).unwrap();
            let began = Instant::now();
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            for byte in bytes {
                stream.write_all(&[byte]).unwrap();
            }
            let mut answer = [0; 64];
            while began.elapsed() < Duration::from_secs(30) {
                match stream.read(&mut answer) {
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    _ => break,
                }
            }
            (how, door, began.elapsed())
        })
    });
    let ends: Vec<_> = ends.collect();
    for end in ends {
        let (how, door, after) = end.join().unwrap();
        let due = Duration::from_secs(if door == Door::Plain { 5 } else { 10 });
        let in_time = due - Duration::from_millis(200)..due + Duration::from_secs(3);
        assert!(in_time.contains(&after), "who {how} is closed after {after:?}");
    }
    is_served(&hub, "peers that trickle");
}

/// Sockets that never say who they are, opened again as they are closed.
struct Slow {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Slow {
    fn start(hub: &Hub, tls: &crowd::Door, sockets: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let told = Arc::clone(&stop);
        let kinds: Vec<_> =
            beginnings().into_iter().map(|(_, door, bytes)| (address(hub, tls, door), bytes)).collect();
        let thread = std::thread::spawn(move || {
            let open = |kind: usize| {
                let (hub, bytes) = &kinds[kind % kinds.len()];
                let mut stream = TcpStream::connect(hub).ok()?;
                stream.write_all(bytes).ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(stream)
            };
            let mut open_ones: Vec<_> = (0..sockets).map(open).collect();
            let (mut closed, mut piece) = (0, 0);
            while !told.load(Ordering::Relaxed) {
                for (kind, socket) in open_ones.iter_mut().enumerate() {
                    // In small pieces: who attacks from elsewhere does not keep the hub's threads off a processor.
                    if piece >= 100 {
                        std::thread::sleep(Duration::from_millis(1));
                        piece = 0;
                    }
                    let gone = socket.as_mut().is_none_or(|socket| !would_block(socket.read(&mut [0; 64])));
                    piece += if gone { 20 } else { 1 };
                    if gone {
                        closed += 1;
                        *socket = open(kind);
                    }
                }
            }
            closed
        });
        Self { stop, thread: Some(thread) }
    }

    /// Closes them all; how often one was closed by the hub before.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn would_block(read: std::io::Result<usize>) -> bool {
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Connects and ends again, orderly or not, without a pause.
fn connect_in_a_loop(hub: SocketAddr, client: usize, rounds: usize) {
    for round in 0..rounds {
        let version = VERSIONS[round % 2];
        let wire = Wire::connect(hub, version, &format!("loop-{client}"), USER).unwrap();
        if round % 3 == 0 {
            wire.disconnect().unwrap();
        }
    }
}

#[test]
fn five_thousand_slow_sockets_and_loops_of_connects_hold_back_nobody_and_leave_no_memory() {
    let _machine = needs::exclusive();
    const SOCKETS: usize = 5_000;
    if !needs::open_files(SOCKETS as u64 + 500) {
        return;
    }
    let Some((mut hub, tls)) = with_both_doors(2 * SOCKETS) else { return };
    is_served(&hub, "a start");
    std::thread::sleep(Duration::from_secs(2));
    let before = hub.process().resident_bytes();

    for version in VERSIONS {
        let probe = Probe::start(hub.mqtt(), &policy::WASTE, version, Duration::from_millis(10));
        let mut closed = 0;
        let measured = in_turn(&probe, |measure| {
            let slow = Slow::start(&hub, &tls, SOCKETS);
            wait_until("5,000 slow sockets are open", Duration::from_secs(60), || {
                hub.metrics().sum("octroi_connections", &[]) > 0.9 * SOCKETS as f64
            });
            measure();
            let began = Instant::now();
            is_served(&hub, "5,000 slow sockets");
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            closed += slow.stop();
        });
        assert!(closed > 1_000, "{closed} of those that say nothing were closed");
        let title = format!("acknowledgements of {version:?} beside 5,000 slow sockets");
        // They come again hundreds of times a second, and take their share of the same two processors.
        within(2.0, &title, &measured);
    }

    let rounds = if needs::long() { 5_000 } else { 500 };
    let address = hub.mqtt();
    let loops: Vec<_> =
        (0..4).map(|client| std::thread::spawn(move || connect_in_a_loop(address, client, rounds))).collect();
    let began = Instant::now();
    is_served(&hub, "loops of connects");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    loops.into_iter().for_each(|one| one.join().unwrap());

    let mut after = 0;
    // The allocator gives back what it keeps for a moment, some ten seconds later.
    let given_back = holds_within(Duration::from_secs(60), || {
        after = hub.process().resident_bytes();
        after < before + (32 << 20)
    });
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let rows = [("before", mebibytes(before)), ("after", mebibytes(after))];
    report::table("memory of the hub, around all of this", &rows);
    assert!(given_back, "{after} bytes after the run, {before} before");
}
