//! The strict JSON reader: bytes → nodes and leaves, in one pass.
//!
//! I-JSON (RFC 8259 narrowed by RFC 7493): UTF-8 without byte order mark, no
//! duplicate key at any depth after unescaping, no lone surrogate, no
//! noncharacter, finite numbers, integers within ±(2^53−1), nothing after the
//! value; and two limits of ours, depth and number of values. It knows no
//! format and no policy. Keys that are equal only after folding
//! ([`crate::fold`]) are two keys here.
//!
//! INVARIANT: total. Any bytes give facts that every conforming reader would
//! give too, or an [`Ambiguity`]; the time is `O(n log n)` whatever they are.

mod learned;

use std::borrow::Cow;

use crate::facts::{Ambiguity, Facts, Leaf, LeafRole, Node, Scalar};
use crate::json::learned::Place;
pub(crate) use crate::json::learned::{Learned, NodesId};
pub use crate::scratch::Scratch;

/// Containers within containers; a scalar alone has depth 0.
pub const MAX_DEPTH: u8 = 32;
/// Values of one payload, containers included.
pub const MAX_VALUES: u32 = 4096;
/// The largest exact integer, 2^53 − 1 (RFC 7493 section 2.2).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why a payload is ambiguous: the stable names, for records and metrics.
pub mod reason {
    #![expect(missing_docs, reason = "as their texts say")]
    pub const EMPTY: &str = "empty payload";
    pub const TOO_LARGE: &str = "payload above 4 GiB";
    pub const COMPRESSED: &str = "not JSON (compressed)";
    pub const UTF8: &str = "invalid UTF-8";
    pub const BOM: &str = "byte order mark";
    pub const NUL: &str = "NUL outside a string (UTF-16)";
    pub const NAN: &str = "NaN is not JSON";
    pub const SYNTAX: &str = "not JSON";
    pub const TRUNCATED: &str = "JSON cut short";
    pub const CONTROL: &str = "control character in a string";
    pub const ESCAPE: &str = "unknown escape";
    pub const SURROGATE: &str = "lone surrogate";
    pub const NONCHARACTER: &str = "noncharacter";
    pub const INTEGER: &str = "integer outside ±(2^53-1)";
    pub const NOT_FINITE: &str = "number not finite";
    pub const DUPLICATE: &str = "duplicate key";
    pub const DEPTH: &str = "deeper than 32";
    pub const VALUES: &str = "more than 4,096 values";
    pub const TRAILING: &str = "bytes after the value";
}

/// Reads the payload into `facts.nodes` and `facts.leaves`, every leaf as data
/// below the root of the payload. Returns whether it holds an array.
///
/// # Errors
///
/// The first [`Ambiguity`]; `facts` then hold a part and must not be used.
pub fn read_into<'a>(
    payload: &'a [u8],
    facts: &mut Facts<'a>,
    scratch: &mut Scratch,
) -> Result<bool, Ambiguity> {
    let text = decode(payload)?;
    scratch.keys.clear();
    scratch.offsets.clear();
    scratch.objects.clear();
    scratch.elements.clear();
    scratch.odd_keys = false;
    scratch.learned.begin();
    // A value with its key and punctuation seldom takes less than this.
    facts.nodes.reserve((payload.len() / 16 + 1).min(4096));
    facts.leaves.reserve((payload.len() / 12 + 4).min(4096));
    let mut reader = Reader { text, bytes: payload, at: 0, values: 0, arrays: false, facts, scratch };
    reader.space();
    reader.value(None, 0)?;
    reader.space();
    let arrays = reader.arrays;
    match reader.peek() {
        None => {
            reader.learn();
            Ok(arrays)
        }
        Some(_) => Err(reader.fault(reason::TRAILING)),
    }
}

fn decode(payload: &[u8]) -> Result<&str, Ambiguity> {
    let fault = |reason, offset| Err(Ambiguity { reason, offset });
    if payload.is_empty() {
        return fault(reason::EMPTY, 0);
    }
    if u32::try_from(payload.len()).is_err() {
        return fault(reason::TOO_LARGE, 0);
    }
    if payload.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return fault(reason::BOM, 0);
    }
    match simdutf8::compat::from_utf8(payload) {
        Ok(text) => Ok(text),
        // The one kind of foreign bytes that is worth a name of its own.
        Err(_) if payload.starts_with(&[0x1F, 0x8B]) => fault(reason::COMPRESSED, 0),
        Err(error) => fault(reason::UTF8, error.valid_up_to()),
    }
}

struct Reader<'a, 'f> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    values: u32,
    arrays: bool,
    facts: &'f mut Facts<'a>,
    scratch: &'f mut Scratch,
}

impl<'a> Reader<'a, '_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[cold]
    fn fault(&self, reason: &'static str) -> Ambiguity {
        Ambiguity { reason, offset: self.at }
    }

    /// What is wrong with the byte at hand, where something else was due.
    #[cold]
    fn unexpected(&self) -> Ambiguity {
        self.fault(match self.peek() {
            None => reason::TRUNCATED,
            Some(0) => reason::NUL,
            Some(b'N' | b'I') => reason::NAN,
            Some(_) => reason::SYNTAX,
        })
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn leaf(&mut self, node: Option<u32>, value: Scalar<'a>) {
        self.facts.leaves.push(Leaf { node, value, role: LeafRole::Data { root: 0 } });
    }

    fn value(&mut self, node: Option<u32>, depth: u8) -> Result<(), Ambiguity> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.fault(reason::VALUES));
        }
        let scalar = match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Scalar::Text(self.string()?)
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(open @ (b'{' | b'[')) => {
                if depth >= MAX_DEPTH {
                    return Err(self.fault(reason::DEPTH));
                }
                self.at += 1;
                self.space();
                let close = if open == b'{' { b'}' } else { b']' };
                if self.peek() == Some(close) {
                    self.at += 1;
                    self.arrays |= open == b'[';
                    Scalar::Empty
                } else if open == b'{' {
                    return self.object(node, depth + 1);
                } else {
                    return self.array(node, depth + 1);
                }
            }
            Some(b't') => self.word("true", Scalar::Boolean(true))?,
            Some(b'f') => self.word("false", Scalar::Boolean(false))?,
            Some(b'n') => self.word("null", Scalar::Empty)?,
            _ => return Err(self.unexpected()),
        };
        self.leaf(node, scalar);
        Ok(())
    }

    fn word(&mut self, word: &str, value: Scalar<'a>) -> Result<Scalar<'a>, Ambiguity> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(self.fault(if word == "null" { reason::NAN } else { reason::SYNTAX }));
        }
        self.at += word.len();
        Ok(value)
    }

    /// From the first element of an array that has one.
    fn array(&mut self, node: Option<u32>, depth: u8) -> Result<(), Ambiguity> {
        self.arrays = true;
        loop {
            if depth == 1 {
                let next = u32::try_from(self.facts.nodes.len()).unwrap_or(u32::MAX);
                self.scratch.elements.push(next);
            }
            self.value(node, depth)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected()),
            }
            self.space();
        }
    }

    /// From the first key of an object that has one.
    fn object(&mut self, parent: Option<u32>, depth: u8) -> Result<(), Ambiguity> {
        let (first, first_node) = (self.scratch.keys.len(), self.facts.nodes.len());
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            self.at += 1;
            let node = self.key(Place { parent, first: node_of(first_node) })?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected());
            }
            self.at += 1;
            self.space();
            self.value(Some(node), depth)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                _ => return Err(self.unexpected()),
            }
            self.space();
        }
        if !self.scratch.learned.agrees() {
            self.distinct(first)?;
        }
        self.scratch.keys.truncate(first);
        Ok(())
    }

    /// A key, from behind its opening quote; its node.
    #[inline]
    fn key(&mut self, place: Place) -> Result<u32, Ambiguity> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let (key, hash, odd) = match self.scratch.learned.next(rest, place) {
            Some((known, len)) => {
                self.at += len;
                let key = self.slice(start);
                self.at += 1;
                (Cow::Borrowed(key), known.hash, known.odd)
            }
            None => {
                let key = self.string()?;
                let (hash, odd) = hash(key.as_bytes());
                (key, hash, odd)
            }
        };
        let node = node_of(self.facts.nodes.len());
        self.scratch.odd_keys |= odd;
        self.scratch.keys.push(hash << 32 | u64::from(node));
        self.scratch.offsets.push(u32::try_from(start).unwrap_or(u32::MAX));
        self.scratch.objects.push(place.first);
        self.facts.nodes.push(Node { key, parent: place.parent });
        Ok(node)
    }

    /// Learns the keys of a payload that was accepted, unless they are known.
    fn learn(self) {
        let Scratch { learned, objects, .. } = self.scratch;
        if learned.end() {
            let keys = self.facts.nodes.iter().zip(objects.iter());
            let keys = keys.map(|(node, first)| {
                let (hash, odd) = hash(node.key.as_bytes());
                (hash, odd, *first)
            });
            learned.learn(&self.facts.nodes, keys);
        }
    }

    /// Refuses two equal keys in the object whose keys begin at `first`.
    fn distinct(&mut self, first: usize) -> Result<(), Ambiguity> {
        let nodes = &self.facts.nodes;
        let node = |open: u64| usize::try_from(open & 0xFFFF_FFFF).unwrap_or(usize::MAX);
        let key = |open: u64| nodes.get(node(open)).map(|node| node.key.as_ref());
        let same_hash = |one: u64, other: u64| one >> 32 == other >> 32;
        let offsets = &self.scratch.offsets;
        let duplicate = |open: u64| {
            let offset = offsets.get(node(open)).copied().unwrap_or_default();
            Err(Ambiguity { reason: reason::DUPLICATE, offset: usize::try_from(offset).unwrap_or_default() })
        };
        let keys = self.scratch.keys.get_mut(first..).unwrap_or_default();
        if keys.len() <= 12 {
            let mut rest: &[u64] = keys;
            while let Some((&one, others)) = rest.split_first() {
                for &other in others {
                    if same_hash(one, other) && key(one) == key(other) {
                        return duplicate(other);
                    }
                }
                rest = others;
            }
            return Ok(());
        }
        // Sorted, so that keys chosen to collide cost a logarithm and no square.
        keys.sort_unstable();
        for run in keys.chunk_by_mut(|one, other| same_hash(*one, *other)).filter(|run| run.len() > 1) {
            run.sort_unstable_by_key(|open| (key(*open), *open));
            for pair in run.windows(2) {
                if let [one, other] = *pair
                    && key(one) == key(other)
                {
                    return duplicate(other);
                }
            }
        }
        Ok(())
    }

    /// From behind the opening quote to behind the closing one.
    #[inline]
    fn string(&mut self) -> Result<Cow<'a, str>, Ambiguity> {
        let start = self.at;
        let (run, low) = plain_run(self.bytes.get(start..).unwrap_or_default());
        self.at = start + run;
        match self.peek() {
            Some(b'"') => {
                let text = self.slice(start);
                self.at += 1;
                if !low {
                    refuse_noncharacters(text, start)?;
                }
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped(start),
            Some(_) => Err(self.fault(reason::CONTROL)),
            None => Err(self.fault(reason::TRUNCATED)),
        }
    }

    /// The text from `start` to here; both stand beside an ASCII character.
    #[inline]
    fn slice(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// A string with an escape, from its first one on.
    #[cold]
    fn escaped(&mut self, start: usize) -> Result<Cow<'a, str>, Ambiguity> {
        let mut out = String::with_capacity(self.at - start + 32);
        let mut run = start;
        loop {
            self.at += plain_run(self.bytes.get(self.at..).unwrap_or_default()).0;
            match self.peek() {
                Some(b'"') => {
                    let tail = self.slice(run);
                    refuse_noncharacters(tail, run)?;
                    out.push_str(tail);
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                Some(b'\\') => {
                    let plain = self.slice(run);
                    refuse_noncharacters(plain, run)?;
                    out.push_str(plain);
                    out.push(self.escape()?);
                    run = self.at;
                }
                Some(_) => return Err(self.fault(reason::CONTROL)),
                None => return Err(self.fault(reason::TRUNCATED)),
            }
        }
    }

    /// One escape, from its backslash.
    fn escape(&mut self) -> Result<char, Ambiguity> {
        let offset = self.at;
        self.at += 1;
        let Some(letter) = self.peek() else { return Err(self.fault(reason::TRUNCATED)) };
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let lone = Ambiguity { reason: reason::SURROGATE, offset };
                let high = self.hex4(offset)?;
                let code = match high {
                    0xD800..0xDC00 => {
                        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u")) {
                            return Err(lone);
                        }
                        self.at += 2;
                        let low = self.hex4(offset)?;
                        if !(0xDC00..0xE000).contains(&low) {
                            return Err(lone);
                        }
                        0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
                    }
                    _ => high,
                };
                let Some(character) = char::from_u32(code) else { return Err(lone) };
                if is_noncharacter(character) {
                    return Err(Ambiguity { reason: reason::NONCHARACTER, offset });
                }
                character
            }
            _ => return Err(Ambiguity { reason: reason::ESCAPE, offset }),
        })
    }

    fn hex4(&mut self, offset: usize) -> Result<u32, Ambiguity> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return Err(Ambiguity { reason: reason::ESCAPE, offset }) };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Scalar<'a>, Ambiguity> {
        let start = self.at;
        match scan_number(self.bytes.get(start..).unwrap_or_default()) {
            Ok((number, len)) => {
                self.at += len;
                Ok(Scalar::Number(number, self.slice(start)))
            }
            Err((Some(reason), _)) => Err(Ambiguity { reason, offset: start }),
            Err((None, len)) => {
                self.at += len;
                Err(self.unexpected())
            }
        }
    }
}

/// The number that stands first, and its length.
///
/// # Errors
///
/// Why it is none, or no reason and where a digit was due.
#[inline]
pub(crate) fn scan_number(bytes: &[u8]) -> Result<(f64, usize), (Option<&'static str>, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let mut at = usize::from(negative);
    let mut mantissa = 0;
    let whole = digits(bytes, at, &mut mantissa);
    // RFC 8259 section 6: at least one digit, and no leading zero.
    if whole > 1 && bytes.get(at) == Some(&b'0') {
        return Err((Some(reason::SYNTAX), 0));
    }
    at += whole;
    let (mut fraction, mut exponent) = (0, 0);
    let mut complete = whole > 0;
    if complete && bytes.get(at) == Some(&b'.') {
        fraction = digits(bytes, at + 1, &mut mantissa);
        complete = fraction > 0;
        at += 1 + fraction;
    }
    if complete && let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        exponent = digits(bytes, at, &mut 0);
        complete = exponent > 0;
        at += exponent;
    }
    if !complete {
        return Err((None, at));
    }
    if fraction == 0 && exponent == 0 && (whole > 16 || mantissa > MAX_INTEGER) {
        return Err((Some(reason::INTEGER), 0));
    }
    // Both operands are exact doubles, so one division rounds correctly
    // (Clinger's fast path); the rest goes to the standard library.
    let number = match POWERS_OF_TEN.get(fraction) {
        Some(scale) if exponent == 0 && mantissa <= MAX_INTEGER && whole + fraction <= 16 => {
            let magnitude = if fraction == 0 { mantissa as f64 } else { mantissa as f64 / scale };
            if negative { -magnitude } else { magnitude }
        }
        _ => {
            let text = bytes.get(..at).and_then(|digits| std::str::from_utf8(digits).ok());
            text.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
        }
    };
    if !number.is_finite() {
        return Err((Some(reason::NOT_FINITE), 0));
    }
    Ok((number, at))
}

/// How long the text is whose closing quote follows, if it is plain: without escapes, and without characters
/// above U+07FF. Whether it is UTF-8 is the caller's to see.
#[inline]
pub(crate) fn scan_plain(bytes: &[u8]) -> Option<usize> {
    let (run, low) = plain_run(bytes);
    (low && bytes.get(run) == Some(&b'"')).then_some(run)
}

/// At most [`MAX_VALUES`] keys: `value` refuses the one after.
fn node_of(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX)
}

/// Counts the digits from `at` on and appends them to `mantissa`, which means
/// nothing after more than 19 of them.
#[inline]
fn digits(bytes: &[u8], at: usize, mantissa: &mut u64) -> usize {
    let mut count = 0;
    for byte in bytes.get(at..).unwrap_or_default() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    count
}

const POWERS_OF_TEN: [f64; 17] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16];

/// How many bytes stand before the first quote, backslash or control; and
/// whether there was none above U+07FF among them (a mistake says there was).
/// Eight bytes at a time, and longer texts in blocks that compile to vectors.
#[inline]
fn plain_run(bytes: &[u8]) -> (usize, bool) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (mut run, mut seen) = (0, 0);
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        seen |= word & word << 1 & word << 2;
        // The high bit of each byte that is below 0x20, or zero once XORed;
        // above a true hit it may be set wrongly, and only the lowest is used.
        let (quote, backslash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5C));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let hits =
            control | (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash);
        if hits & HIGH != 0 {
            return (run + ((hits & HIGH).trailing_zeros() / 8) as usize, seen & HIGH == 0);
        }
        run += 8;
        rest = after;
        if run == 32 {
            break;
        }
    }
    let mut top = 0;
    while let Some((block, after)) = rest.split_first_chunk::<64>() {
        let stop = block.iter().fold(false, |stop, byte| stop | stops(*byte));
        if stop {
            break;
        }
        top = block.iter().fold(top, |top, byte| byte.max(&top).to_owned());
        run += 64;
        rest = after;
    }
    for byte in rest {
        if stops(*byte) {
            break;
        }
        top = top.max(*byte);
        run += 1;
    }
    (run, seen & HIGH == 0 && top < 0xE0)
}

#[inline]
fn stops(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// 32 bits to compare keys by (keys chosen to collide are met by sorting); and
/// whether the key is odd: see [`Scratch`].
#[inline]
fn hash(key: &[u8]) -> (u64, bool) {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let (head, tail) = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => (key.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
    };
    let mixed = (head.wrapping_mul(MIX) ^ tail.rotate_left(32) ^ key.len() as u64).wrapping_mul(MIX);
    let odd = is_odd(head)
        || is_odd(tail)
        || key.len() > 16 && key.as_chunks::<8>().0.iter().any(|word| is_odd(u64::from_le_bytes(*word)));
    (mixed >> 32, odd)
}

/// Whether a byte of the word is `.`, `/`, `:` or not ASCII; a mistake says yes.
#[inline]
fn is_odd(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    // `.` is 2E and `/` is 2F.
    let separator = zero((word | ONES) ^ (ONES * 0x2F)) | zero(word ^ (ONES * 0x3A));
    (separator | word) & (ONES * 0x80) != 0
}

pub(crate) fn refuse_noncharacters(text: &str, start: usize) -> Result<(), Ambiguity> {
    // The first of them is U+FDD0: EF B7 90.
    if text.bytes().all(|byte| byte < 0xEF) {
        return Ok(());
    }
    match text.char_indices().find(|(_, character)| is_noncharacter(*character)) {
        None => Ok(()),
        Some((offset, _)) => Err(Ambiguity { reason: reason::NONCHARACTER, offset: start + offset }),
    }
}

/// The 66 noncharacters (Unicode section 23.7).
fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code)
}

#[cfg(test)]
mod tests;
