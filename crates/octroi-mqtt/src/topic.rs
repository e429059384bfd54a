//! Topic names (MQTT 5 section 4.7): what the standard forbids ends the session; what it allows and this
//! server does not take is *inadmissible*: passed up, so that the refusal can be recorded and acknowledged
//! in its turn. It knows nothing of the policy: any other topic is admissible here.

use crate::reason::{CloseReason, Fault};
use crate::{Limits, Refusal};

/// Why a well-formed publish must not become a message. The hub records it, then acknowledges with
/// [`Inadmissible::refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inadmissible {
    /// Begins with `$` (`$SYS`, `$share`) and is not a bridge's state.
    ReservedTopic,
    /// Above [`Limits::topic_bytes`].
    TopicTooLong,
    /// Above [`Limits::topic_levels`].
    TopicTooDeep,
    /// Control characters, a byte order mark, or a non-character: legal in MQTT, and two topics that
    /// read alike would be classified apart.
    TopicCharacters,
    /// Above [`Limits::user_properties`]; the properties are not decoded.
    UserProperties,
}

impl Inadmissible {
    /// Stable, for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReservedTopic => "reserved_topic",
            Self::TopicTooLong => "topic_too_long",
            Self::TopicTooDeep => "topic_too_deep",
            Self::TopicCharacters => "topic_characters",
            Self::UserProperties => "user_properties",
        }
    }

    /// The reason code that says it to an MQTT 5 client.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            Self::ReservedTopic => Refusal::NotAuthorized,
            Self::TopicTooLong | Self::TopicTooDeep | Self::TopicCharacters => Refusal::TopicNameInvalid,
            Self::UserProperties => Refusal::QuotaExceeded,
        }
    }
}

/// What a topic name is to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicKind {
    Ordinary,
    BridgeState,
    Inadmissible(Inadmissible),
}

/// Checks a non-empty topic name.
#[inline]
pub(crate) fn check(topic: &[u8], limits: &Limits) -> Result<TopicKind, Fault> {
    let (blocks, rest) = topic.as_chunks::<16>();
    let mut special = 0;
    let mut levels = 1;
    for block in blocks {
        scan(block, &mut special, &mut levels);
    }
    scan(rest, &mut special, &mut levels);
    let special = special != 0;
    let odd = special && has_odd_characters(topic)?;
    if topic.first() == Some(&b'$') {
        if is_bridge_state(topic) && !odd && topic.len() <= limits.topic_bytes {
            return Ok(TopicKind::BridgeState);
        }
        return Ok(TopicKind::Inadmissible(Inadmissible::ReservedTopic));
    }
    Ok(if topic.len() > limits.topic_bytes {
        TopicKind::Inadmissible(Inadmissible::TopicTooLong)
    } else if levels > limits.topic_levels {
        TopicKind::Inadmissible(Inadmissible::TopicTooDeep)
    } else if odd {
        TopicKind::Inadmissible(Inadmissible::TopicCharacters)
    } else {
        TopicKind::Ordinary
    })
}

/// Of at most 16 bytes: whether any is not plain printable ASCII, or a wildcard; and the levels that end.
/// Bytes only and no overflow checks, so that blocks compile to vector instructions: the topic is most of
/// what is looked at in a publish.
#[inline(always)]
fn scan(bytes: &[u8], special: &mut u8, levels: &mut usize) {
    let mut separators = 0_u8;
    for &byte in bytes {
        let plain = (0x20..0x7F).contains(&byte) & (byte != b'+') & (byte != b'#');
        *special |= u8::from(!plain);
        separators = separators.wrapping_add(u8::from(byte == b'/'));
    }
    *levels += usize::from(separators);
}

/// The slow path, for topics that are not plain printable ASCII without wildcards.
#[cold]
fn has_odd_characters(topic: &[u8]) -> Result<bool, Fault> {
    let Ok(text) = std::str::from_utf8(topic) else {
        return Err(Fault::malformed("the topic name is not UTF-8"));
    };
    let mut odd = false;
    for c in text.chars() {
        match c {
            '\0' => return Err(Fault::malformed("the topic name contains U+0000")),
            '+' | '#' => {
                return Err(Fault::new(CloseReason::TopicNameInvalid, "the topic name contains a wildcard"));
            }
            _ => odd |= c.is_control() || c == '\u{FEFF}' || is_noncharacter(c),
        }
    }
    Ok(odd)
}

fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// `$SYS/broker/connection/<name>/state`, a mosquitto bridge's notifications; `<name>` is one level.
fn is_bridge_state(topic: &[u8]) -> bool {
    topic
        .strip_prefix(b"$SYS/broker/connection/")
        .and_then(|rest| rest.strip_suffix(b"/state"))
        .is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(topic: &str) -> TopicKind {
        check(topic.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn ordinary_topics_are_ordinary_in_any_script() {
        for topic in [
            "a",
            "/",
            "a/b",
            "état/température",
            "数据/1",
            "🌡/1",
            " ",
            "a b",
            "a//b",
            "x/$y",
            "rennes/é+".trim_end_matches('+'),
        ] {
            assert_eq!(kind(topic), TopicKind::Ordinary, "{topic:?}");
        }
    }

    #[test]
    fn reserved_topics_are_inadmissible_except_a_bridge_s_state() {
        assert_eq!(kind("$SYS/broker/connection/edge-1/state"), TopicKind::BridgeState);
        for topic in [
            "$",
            "$SYS",
            "$SYS/broker/connection//state",
            "$SYS/broker/connection/a/b/state",
            "$SYS/broker/connection/a/state/x",
            "$share/g/t",
            "$SYS/broker/connection/\u{1}/state",
        ] {
            assert_eq!(kind(topic), TopicKind::Inadmissible(Inadmissible::ReservedTopic), "{topic:?}");
        }
    }

    #[test]
    fn characters_that_hide_are_inadmissible() {
        for topic in
            ["\u{FEFF}a", "a\u{FEFF}", "a\nb", "a\u{7F}", "a\u{85}b", "a\u{FFFE}", "\u{FDD0}", "\u{1FFFF}"]
        {
            assert_eq!(kind(topic), TopicKind::Inadmissible(Inadmissible::TopicCharacters), "{topic:?}");
        }
    }

    #[test]
    fn length_and_depth_have_exact_bounds() {
        assert_eq!(kind(&"a".repeat(512)), TopicKind::Ordinary);
        assert_eq!(kind(&"a".repeat(513)), TopicKind::Inadmissible(Inadmissible::TopicTooLong));
        assert_eq!(kind(&["a"; 16].join("/")), TopicKind::Ordinary);
        assert_eq!(kind(&["a"; 17].join("/")), TopicKind::Inadmissible(Inadmissible::TopicTooDeep));
    }

    #[test]
    fn what_the_standard_forbids_is_a_fault() {
        let limits = Limits::default();
        for (topic, reason) in [
            (&b"a/+"[..], CloseReason::TopicNameInvalid),
            (b"#", CloseReason::TopicNameInvalid),
            (b"a\0b", CloseReason::MalformedPacket),
            (b"\xED\xA0\x80", CloseReason::MalformedPacket),
            (b"a\xFF", CloseReason::MalformedPacket),
            (b"\xC0\xAF", CloseReason::MalformedPacket),
            (b"$SYS/\0", CloseReason::MalformedPacket),
        ] {
            assert_eq!(check(topic, &limits).map_err(|fault| fault.reason), Err(reason), "{topic:?}");
        }
    }
}
