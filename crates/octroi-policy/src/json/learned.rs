//! The keys of an earlier payload, in their order. A sender's payloads mostly
//! have the same keys: one that stands where it stood before is compared with
//! what it was instead of being read.
//!
//! INVARIANT: a key that agrees was read and accepted before, byte for byte.
//! While every key agrees, the keys of an object stood together in one object
//! before, so that no two are equal.

use std::borrow::Cow;

use crate::Node;

/// More keys, or more bytes of keys, are not learned.
const MAX_KEYS: usize = 64;
const MAX_BYTES: usize = 2048;
/// So many payloads in a row must disagree before what is known is given up:
/// two kinds of payload in turn cost no learning.
const PATIENCE: u32 = 4;

/// Which nodes a payload has: equal numbers of one [`Learned`], equal nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodesId(u64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    id: u64,
    keys: Vec<Key>,
    text: Vec<u8>,
    /// How many nodes of the payload at hand agree.
    agreed: usize,
    /// Whether one did not.
    differs: bool,
    read: Option<NodesId>,
    misses: u32,
}

/// A key as it stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// What keys are compared by.
    pub(super) hash: u64,
    pub(super) odd: bool,
    place: Place,
    start: usize,
    end: usize,
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) parent: Option<u32>,
    /// The first node of its object: it names the object.
    pub(super) first: u32,
}

impl Learned {
    /// Which nodes the payload just read has, if they are those learned.
    pub(crate) fn nodes(&self) -> Option<NodesId> {
        self.read
    }

    /// Before any payload, and before what is no JSON.
    pub(crate) fn begin(&mut self) {
        (self.agreed, self.differs, self.read) = (0, false, None);
    }

    /// The next key, if it stands in `rest` as it stood before; its length is that of its text.
    #[inline]
    pub(super) fn next(&mut self, rest: &[u8], place: Place) -> Option<(Key, usize)> {
        if self.differs {
            return None;
        }
        let known = self.keys.get(self.agreed).copied().filter(|known| {
            let text = self.text.get(known.start..known.end).unwrap_or_default();
            known.place == place && starts_with(rest, text) && rest.get(text.len()) == Some(&b'"')
        });
        self.agreed += 1;
        self.differs = known.is_none();
        known.map(|known| (known, known.end - known.start))
    }

    /// Whether every key so far stands as before.
    #[inline]
    pub(super) fn agrees(&self) -> bool {
        !self.differs
    }

    /// After a payload that was accepted; whether to call [`Self::learn`] with it.
    pub(super) fn end(&mut self) -> bool {
        if !self.differs && self.agreed == self.keys.len() && self.agreed > 0 {
            self.misses = 0;
            self.read = Some(NodesId(self.id));
            return false;
        }
        self.misses += 1;
        self.keys.is_empty() || self.misses > PATIENCE
    }

    /// Learns the nodes of a payload that was accepted.
    #[cold]
    pub(super) fn learn(&mut self, nodes: &[Node<'_>], keys: impl Iterator<Item = (u64, bool, u32)>) {
        self.misses = 0;
        let bytes: usize = nodes.iter().map(|node| node.key.len()).sum();
        let plain = nodes.iter().all(|node| matches!(node.key, Cow::Borrowed(_)));
        if nodes.len() > MAX_KEYS || bytes > MAX_BYTES || !plain {
            return;
        }
        self.id += 1;
        self.keys.clear();
        self.text.clear();
        for (node, (hash, odd, first)) in nodes.iter().zip(keys) {
            let start = self.text.len();
            self.text.extend_from_slice(node.key.as_bytes());
            let place = Place { parent: node.parent, first };
            self.keys.push(Key { hash, odd, place, start, end: self.text.len() });
        }
    }
}

/// As of slices; most keys are short, and two words compare sooner than a call.
#[inline]
fn starts_with(rest: &[u8], text: &[u8]) -> bool {
    let Some(head) = rest.get(..text.len()) else { return false };
    if text.len() > 16 {
        return head == text;
    }
    match (head.first_chunk::<8>(), text.first_chunk::<8>()) {
        (Some(one), Some(other)) => one == other && head.last_chunk::<8>() == text.last_chunk::<8>(),
        _ => match (head.first_chunk::<4>(), text.first_chunk::<4>()) {
            (Some(one), Some(other)) => one == other && head.last_chunk::<4>() == text.last_chunk::<4>(),
            _ => head.iter().eq(text),
        },
    }
}
