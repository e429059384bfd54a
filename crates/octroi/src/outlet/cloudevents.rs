//! One event as a CloudEvents 1.0 JSON object (JSON event format, section 3),
//! on one line: what the archive stores and Kafka's structured mode sends.
//!
//! Written by hand: the payload goes in byte for byte, and no tree is built.
//! INVARIANT: what is written is one line of JSON that strict readers accept;
//! a payload that could break that (not JSON, a line break between tokens, a
//! lone surrogate, too deep) is carried as `data_base64`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use octroi_policy::Timestamp;
use serde::de::IgnoredAny;

use super::{EVENT_TYPE, Event};

/// How deep a payload may nest and still be inline; common readers give up above some hundreds.
const INLINE_DEPTH_MAX: usize = 64;
/// What a line commonly has beside its payload, bytes.
const LINE: usize = 512;

/// Writes events; keeps the text of the last second, for most events share it.
#[derive(Debug, Default)]
pub(super) struct Writer {
    second: Option<i64>,
    second_text: String,
}

impl Writer {
    /// Appends the event's object, without a line end.
    pub(super) fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        out.reserve(event.payload.len() + LINE);
        out.extend_from_slice(br#"{"specversion":"1.0","id":"#);
        string(event.id, out);
        member("source", event.source, out);
        member("type", EVENT_TYPE, out);
        member("subject", event.topic, out);
        out.extend_from_slice(br#","time":""#);
        self.time(event.time, out);
        out.push(b'"');
        member("datacontenttype", event.content_type, out);
        for (header, value) in extensions(event) {
            member(header.strip_prefix("ce_").unwrap_or(header), value, out);
        }
        if event.content_type == "application/json" && may_be_inline(event.payload) {
            out.extend_from_slice(br#","data":"#);
            out.extend_from_slice(event.payload);
        } else {
            out.extend_from_slice(br#","data_base64":""#);
            base64(event.payload, out);
            out.push(b'"');
        }
        out.push(b'}');
    }

    /// Appends RFC 3339, as `Timestamp` displays it.
    pub(super) fn time(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let (second, micros) = (time.0.div_euclid(1_000_000), time.0.rem_euclid(1_000_000));
        if self.second != Some(second) {
            self.second_text = Timestamp(second.saturating_mul(1_000_000)).to_string();
            self.second_text.pop();
            self.second = Some(second);
        }
        out.extend_from_slice(self.second_text.as_bytes());
        if micros != 0 {
            let (mut rest, digits) = if micros % 1000 == 0 { (micros / 1000, 3) } else { (micros, 6) };
            let start = out.len();
            out.resize(start + 1 + digits, b'.');
            for digit in out.iter_mut().skip(start + 1).rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
                rest /= 10;
            }
        }
        out.push(b'Z');
    }
}

/// The extension attributes that the event has, in the order they are written,
/// named as Kafka headers are.
pub(super) fn extensions<'a>(event: &Event<'a>) -> impl Iterator<Item = (&'static str, &'a str)> {
    let markings = Some(event.markings).filter(|markings| !markings.is_empty());
    [
        ("ce_level", Some(event.level.name())),
        ("ce_markings", markings),
        ("ce_policyversion", Some(event.policy_version)),
        ("ce_space", Some(event.space)),
        ("ce_commune", event.commune),
        ("ce_producer", Some(event.producer)),
        ("ce_decision", event.decision),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// `,"name":"value"`; `name` needs no escape.
fn member(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    string(value, out);
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    // Not `any`: without an early end this takes many bytes at once.
    if text.bytes().fold(false, |found, byte| found | needs_escape(byte)) {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    // A multiple of three bytes encodes without padding, so blocks can be joined.
    let mut block = [0; 1024];
    for chunk in bytes.chunks(768) {
        let written = BASE64.encode_slice(chunk, &mut block).unwrap_or_default();
        out.extend_from_slice(block.get(..written).unwrap_or_default());
    }
}

fn may_be_inline(payload: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(payload) else { return false };
    // A line break is legal between tokens, but would end the line.
    if payload.iter().fold(false, |found, byte| found | matches!(byte, b'\n' | b'\r')) {
        return false;
    }
    serde_json::from_str::<IgnoredAny>(text).is_ok() && readers_can_take(payload)
}

/// Whether valid JSON is also within what readers other than this one take:
/// no lone surrogate, not too deep.
fn readers_can_take(json: &[u8]) -> bool {
    let openings = json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    (openings <= INLINE_DEPTH_MAX || depth(json) <= INLINE_DEPTH_MAX)
        && (!json.contains(&b'\\') || surrogates_pair(json))
}

fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// In valid JSON a backslash stands only in a string and starts an escape.
fn surrogates_pair(json: &[u8]) -> bool {
    let mut rest = json;
    let mut high = false; // the escape just before, adjacent, is a high surrogate
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            if high {
                return false;
            }
            rest = after;
            continue;
        }
        let unit = match after {
            [b'u', a, b, ..] => (a.to_ascii_lowercase(), b.to_ascii_lowercase()),
            _ => (0, 0),
        };
        let (is_high, is_low) = match unit {
            (b'd', b'8' | b'9' | b'a' | b'b') => (true, false),
            (b'd', b'c'..=b'f') => (false, true),
            _ => (false, false),
        };
        if high != is_low {
            return false;
        }
        high = is_high;
        let length = if after.first() == Some(&b'u') { 5 } else { 1 };
        rest = after.get(length..).unwrap_or_default();
    }
    !high
}

#[cfg(test)]
pub(super) mod tests {
    use octroi_policy::{Level, Timestamp};

    use super::*;

    /// An event with everything set; tests change what they are about.
    pub(in crate::outlet) fn event<'a>(seq: u64, id: &'a str, payload: &'a [u8]) -> Event<'a> {
        Event {
            seq,
            id,
            source: "ville-mobilite",
            topic: "ville/mobilite/cam-12/anpr",
            time: Timestamp(1_795_154_470_250_000),
            received: Timestamp(1_795_154_471_000_000),
            device: Some("cam-12"),
            content_type: "application/json",
            level: Level::Sensitive,
            markings: "personal,video_derived",
            policy_version: "2026.11.2",
            space: "mobilite-rennes",
            namespace: "mobilite-rennes",
            domain: "mobility",
            commune: Some("35238"),
            producer: "243500139",
            decision: Some("hub-1/9f3c51d2a07be418/7"),
            payload,
        }
    }

    fn line(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        Writer::default().write(event, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_json_payload_is_inline_byte_for_byte() {
        let payload = br#"{ "plate":"AB-123-CD", "speed":1.50e1,"n":123456789012345678901 }"#;
        assert_eq!(
            line(&event(7, "hub-1/9f3c51d2a07be418/7", payload)),
            concat!(
                r#"{"specversion":"1.0","id":"hub-1/9f3c51d2a07be418/7","source":"ville-mobilite","#,
                r#""type":"octroi.message.v1","subject":"ville/mobilite/cam-12/anpr","#,
                r#""time":"2026-11-20T06:01:10.250Z","datacontenttype":"application/json","#,
                r#""level":"sensitive","markings":"personal,video_derived","policyversion":"2026.11.2","#,
                r#""space":"mobilite-rennes","commune":"35238","producer":"243500139","#,
                r#""decision":"hub-1/9f3c51d2a07be418/7","#,
                r#""data":{ "plate":"AB-123-CD", "speed":1.50e1,"n":123456789012345678901 }}"#,
            )
        );
    }

    #[test]
    fn what_is_absent_is_left_out_and_what_is_not_json_is_base64() {
        let event = Event {
            markings: "",
            commune: None,
            decision: None,
            topic: "a\"b\\c\u{1}é",
            content_type: "application/octet-stream",
            ..event(7, "i", b"12")
        };
        assert_eq!(
            line(&event),
            concat!(
                r#"{"specversion":"1.0","id":"i","source":"ville-mobilite","type":"octroi.message.v1","#,
                r#""subject":"a\"b\\c\u0001é","time":"2026-11-20T06:01:10.250Z","#,
                r#""datacontenttype":"application/octet-stream","level":"sensitive","#,
                r#""policyversion":"2026.11.2","space":"mobilite-rennes","producer":"243500139","#,
                r#""data_base64":"MTI="}"#,
            )
        );
    }

    #[test]
    fn a_payload_that_would_break_the_line_or_its_readers_is_base64() {
        let deep = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        let cases: &[(&[u8], bool)] = &[
            (b"{}", true),
            (b" 1 ", true),
            (br#""\ud83d\ude00 \n \\ud800""#, true),
            (b"{\"a\":\n1}", false),
            (b"{\"a\":1}\r", false),
            (b"{\"a\":1", false),
            (b"{\"a\":\"\xff\"}", false),
            (b"", false),
            (b"{} {}", false),
            (br#""\ud83d""#, false),
            (br#""\ude00""#, false),
            (br#""\ud83dx\ude00""#, false),
            (br#""\ud83d\n\ude00""#, false),
            (b"\xef\xbb\xbf{}", false),
            (&deep(INLINE_DEPTH_MAX), true),
            (&deep(INLINE_DEPTH_MAX + 1), false),
            (&[b"\"".to_vec(), deep(100), b"\"".to_vec()].concat(), true),
        ];
        for (payload, inline) in cases {
            assert_eq!(may_be_inline(payload), *inline, "{}", String::from_utf8_lossy(payload));
            let line = line(&event(1, "i", payload));
            assert!(!line.contains(['\n', '\r']) && serde_json::from_str::<serde_json::Value>(&line).is_ok());
            assert_eq!(line.contains(r#","data":"#), *inline);
        }
    }

    #[test]
    fn times_and_base64_are_as_their_definitions_write_them() {
        let mut writer = Writer::default();
        for micros in [0, 1, 999, 1000, 250_000, 999_999, 1_000_000, 1_795_154_470_000_001, -1, -1_000_000] {
            let mut out = Vec::new();
            writer.time(Timestamp(micros), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), Timestamp(micros).to_string());
        }
        for length in [0, 1, 2, 3, 767, 768, 769, 5000] {
            let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut out = Vec::new();
            base64(&bytes, &mut out);
            assert_eq!(BASE64.decode(out).unwrap(), bytes);
        }
    }
}
