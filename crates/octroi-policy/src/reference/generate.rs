//! Generated policies and messages, for tests and a fuzzer. Every block of a
//! policy resolves, so that it compiles; nothing more is promised of it. The
//! words are few, so that conditions meet, and spelt in many ways.
//!
//! INVARIANT: the same choices give the same policy and the same messages.

pub(super) mod message;
pub(super) mod policy;

use crate::{Date, Level, Marking};

pub(super) const COMMUNES: [&str; 6] = ["35238", "35236", "56001", "56260", "44185", "01004"];
pub(super) const DOMAINS: [&str; 3] = ["energy", "mobility", "water"];
/// As rules name fields.
pub(super) const NAMES: [&str; 9] =
    ["plate", "mac", "license_plate", "count", "car.number", "ts", "numéro", "tags", "sensitivity"];
/// As senders spell them.
pub(super) const KEYS: [&str; 20] = [
    "plate",
    "Plate",
    "ｐｌａｔｅ",
    "pl\u{200d}ate",
    "рlаte",
    "license",
    "licensePlate",
    "mac",
    "rnac",
    "r",
    "nac",
    "car",
    "number",
    "count",
    "ts",
    "NUME\u{301}RO",
    "device",
    "tags",
    "x",
    "_",
];
pub(super) const TAGS: [(&str, &str); 7] = [
    ("insee", "35238"),
    ("insee", "44185"),
    ("insee", "99999"),
    ("domain", "energy"),
    ("domain", "water"),
    ("usage", "parking"),
    ("usage", "dwelling"),
];
pub(super) const WORDS: [&str; 6] = ["open", "sensitive", "secret", "Open", "personal", "restricted"];

/// Choices: of a seed, or those that a fuzzer makes. Where its bytes end, each choice is the first.
pub(super) struct Dice<'b> {
    state: u64,
    bytes: Option<std::slice::Iter<'b, u8>>,
}

impl<'b> Dice<'b> {
    /// Choices without pattern, the same for the same seed.
    #[cfg(test)]
    pub(super) const fn seeded(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0xd134_2543_de82_ef95), bytes: None }
    }

    /// A byte a choice.
    pub(super) fn chosen(bytes: &'b [u8]) -> Self {
        Self { state: 0, bytes: Some(bytes.iter()) }
    }

    fn next(&mut self) -> u64 {
        if let Some(bytes) = &mut self.bytes {
            return u64::from(bytes.next().copied().unwrap_or_default());
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is not 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap_or_default()
    }

    /// Not at the first choice, so that what a fuzzer's bytes do not reach is not there.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub(super) fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// One to `most` + 1 of them.
    pub(super) fn some<T: Clone>(&mut self, all: &[T], most: usize) -> Vec<T> {
        (0..=self.below(most)).map(|_| self.of(all)).collect()
    }

    pub(super) fn words(&mut self, all: &[&str], most: usize) -> Vec<String> {
        self.some(all, most).into_iter().map(str::to_owned).collect()
    }

    pub(super) fn maybe<T>(&mut self, n: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(n).then(|| make(self))
    }

    pub(super) fn level(&mut self) -> Level {
        self.of(&Level::ALL)
    }

    /// Of few days, so that records lapse.
    pub(super) fn date(&mut self) -> Date {
        Date(20_000 + i32::try_from(self.below(6)).unwrap_or_default())
    }

    pub(super) fn markings(&mut self) -> Vec<Marking> {
        let most = if self.one_in(20) { Marking::ALL.len() } else { 6 };
        if self.one_in(2) { vec![] } else { self.some(&Marking::ALL[..most], 2) }
    }
}
