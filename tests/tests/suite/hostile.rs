//! Hostile peers at the door of the real binary. What each of them gets is
//! tested with the session alone; here: after each, an honest client is served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use octroi_tests::hub::Hub;
use octroi_tests::load::wire::{Answer, Wire, connect, packet};
use octroi_tests::load::{Version, publish_one};
use octroi_tests::{needs, policy};

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

#[test]
fn loops_of_connects_and_sockets_that_say_nothing_hold_back_nobody() {
    let _machine = needs::exclusive();
    let hub = Hub::start(&[]);
    let idle: Vec<TcpStream> = (0..400)
        .map(|n| {
            let mut stream = TcpStream::connect(hub.mqtt()).unwrap();
            // Half of them begin a CONNECT and never end it.
            stream.write_all(if n % 2 == 0 { &[] } else { &[0x10, 0x7F, 0] }).unwrap();
            stream
        })
        .collect();
    for round in 0..200 {
        let version = VERSIONS[round % 2];
        let wire = Wire::connect(hub.mqtt(), version, "loop", USER).unwrap();
        if round % 3 == 0 {
            wire.disconnect().unwrap();
        }
    }
    let began = Instant::now();
    is_served(&hub, "idle sockets and a loop of connects");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(idle);
}
