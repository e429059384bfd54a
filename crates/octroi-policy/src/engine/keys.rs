//! Every name that conditions look for, interned: a field, a measure, a type,
//! a tag with its value, a topic filter, … each is one number, and a message
//! becomes the set of the numbers seen in it. No condition compares text.
//!
//! Names are hashed by their folded key, last byte first, with `m` spelled
//! `rn`: so spelt, folding distributes over concatenation, and one pass finds
//! a key as well as a run of nested keys (`{"license":{"plate":…}}` has the
//! name `license_plate`).
//!
//! INVARIANT: a hash only proposes; the text decides. A sender can make no
//! name disappear and none appear.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::names;
use crate::{Facts, Node};

/// What a key is a name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// A key on the path of a leaf.
    Field,
    Measure,
    Type,
    /// Compared exactly, with its value.
    Tag,
    /// Compared exactly, with its value.
    UserProperty,
    /// Found by the trie, never by text.
    Topic,
    /// An INSEE code; found by index, never by text.
    Commune,
}

#[derive(Debug)]
struct Key {
    of: Of,
    /// Expanded folded key, or the exact name.
    text: Box<str>,
    /// The exact value of a tag or user property.
    value: Box<str>,
    /// Whether a condition asks where the name stands.
    located: bool,
    /// Another key of the same hash.
    next: Option<u32>,
}

/// The interned names of a policy.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: Vec<Key>,
    by_hash: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    /// What each ASCII byte folds to, expanded.
    ascii: [Folded; 128],
    /// The same where it is one byte; 0: none, [`SEVERAL`]: more.
    single: [u8; 128],
    /// The last two bytes of every name, for fields, measures, types.
    ends: [Ends; 3],
    /// Bytes of the longest field name, expanded.
    longest: usize,
    has_tags: bool,
    has_properties: bool,
}

const SEVERAL: u8 = 0xff;

/// A set of pairs of bytes that can say too much and never too little: most
/// keys of a message end like no name of the policy, and need no hash.
#[derive(Clone, Copy, Debug)]
struct Ends([u64; 64]);

impl Ends {
    const fn place(last: u8, before: u8) -> (usize, u64) {
        ((last & 63) as usize, 1 << (before & 63))
    }

    fn add(&mut self, text: &str) {
        match text.as_bytes() {
            [.., before, last] => {
                let (word, bit) = Self::place(*last, *before);
                self.0.get_mut(word).into_iter().for_each(|word| *word |= bit);
            }
            _ => self.0 = [u64::MAX; 64],
        }
    }

    fn may_hold(&self, last: u8, before: u8) -> bool {
        let (word, bit) = Self::place(last, before);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Folded {
    bytes: [u8; 3],
    len: u8,
}

/// The hashes are well spread already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0, *byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

const fn mix(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

const fn start(of: Of) -> u64 {
    mix(0xcbf2_9ce4_8422_2325, of as u8)
}

/// FNV leaves the high bits weak, and the table looks at them.
const fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// `rn` is the skeleton of `m`; [`names::fold`] spells both `m`, which depends on what stands beside.
fn expanded(name: &str) -> String {
    names::fold(name).replace('m', "rn")
}

impl Keys {
    pub(crate) fn new() -> Self {
        let mut ascii = [Folded::default(); 128];
        for (byte, folded) in (0_u8..).zip(&mut ascii) {
            let text = expanded(char::from(byte).encode_utf8(&mut [0; 4]));
            for (to, from) in folded.bytes.iter_mut().zip(text.bytes()) {
                *to = from;
                folded.len += 1;
            }
        }
        let single = ascii.map(|folded| match (folded.len, folded.bytes) {
            (0, _) => 0,
            (1, [byte, ..]) => byte,
            _ => SEVERAL,
        });
        Self {
            single,
            ends: [Ends([0; 64]); 3],
            keys: Vec::new(),
            by_hash: HashMap::default(),
            ascii,
            longest: 0,
            has_tags: false,
            has_properties: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// A field, measure or type name: compared folded.
    pub(crate) fn name(&mut self, of: Of, name: &str) -> u32 {
        let text = expanded(name);
        if of == Of::Field {
            self.longest = self.longest.max(text.len());
        }
        self.ends.get_mut(of as usize).into_iter().for_each(|ends| ends.add(&text));
        let hash = finish(text.bytes().rev().fold(start(of), mix));
        self.intern(hash, of, text, "")
    }

    /// The same, for a condition that asks where it stands.
    pub(crate) fn located_field(&mut self, name: &str) -> u32 {
        let key = self.name(Of::Field, name);
        if let Some(key) = self.keys.get_mut(key as usize) {
            key.located = true;
        }
        key
    }

    /// A tag or user property with its value: compared exactly.
    pub(crate) fn pair(&mut self, of: Of, name: &str, value: &str) -> u32 {
        self.has_tags |= of == Of::Tag;
        self.has_properties |= of == Of::UserProperty;
        self.intern(pair_hash(of, name, value), of, name.to_owned(), value)
    }

    /// A topic filter or commune.
    pub(crate) fn exact(&mut self, of: Of, text: &str) -> u32 {
        self.pair(of, text, "")
    }

    fn intern(&mut self, hash: u64, of: Of, text: String, value: &str) -> u32 {
        let first = self.by_hash.get(&hash).copied();
        let mut at = first;
        while let Some(key) = at {
            let Some(known) = self.keys.get(key as usize) else { break };
            if known.of == of && *known.text == *text && *known.value == *value {
                return key;
            }
            at = known.next;
        }
        // A policy has fewer keys than its files have bytes, and those fit 32 bits (C39).
        let key = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keys.push(Key { of, text: text.into(), value: value.into(), located: false, next: first });
        self.by_hash.insert(hash, key);
        key
    }

    /// Whether a condition asks where that field stands.
    pub(crate) fn is_located(&self, key: u32) -> bool {
        self.keys.get(key as usize).is_some_and(|key| key.located)
    }

    /// The key of a measure or type as a message spells it.
    pub(crate) fn find_name(&self, of: Of, name: &str) -> Option<u32> {
        if !self.may_end(of, name) {
            return None;
        }
        let (hash, _) = self.feed(start(of), name);
        self.candidates(hash, of)
            .find(|(_, key)| self.without_suffix(key.text.as_bytes(), name).is_some_and(<[u8]>::is_empty))
            .map(|(n, _)| n)
    }

    /// The key of a tag or user property as a message spells it.
    pub(crate) fn find_pair(&self, of: Of, name: &str, value: &str) -> Option<u32> {
        self.proposals(pair_hash(of, name, value))
            .find(|(_, key)| key.of == of && *key.text == *name && *key.value == *value)
            .map(|(n, _)| n)
    }

    pub(crate) const fn has_tags(&self) -> bool {
        self.has_tags
    }

    pub(crate) const fn has_properties(&self) -> bool {
        self.has_properties
    }

    /// Calls `found` with every field name that a run of keys ending at `node`
    /// has: the node's own key, its parent's and its own, and so on.
    pub(crate) fn find_runs(&self, facts: &Facts<'_>, node: &Node<'_>, found: &mut impl FnMut(u32)) {
        if !self.may_end(Of::Field, &node.key) {
            return;
        }
        let (mut hash, mut len) = (start(Of::Field), 0);
        let mut at = node;
        for steps in 1.. {
            let more;
            (hash, more) = self.feed(hash, &at.key);
            len += more;
            if len > self.longest {
                return;
            }
            for (key, known) in self.candidates(hash, Of::Field) {
                if self.is_run(known.text.as_bytes(), facts, node, steps) {
                    found(key);
                }
            }
            let Some(parent) = at.parent.and_then(|parent| facts.nodes.get(parent as usize)) else { return };
            at = parent;
        }
    }

    fn is_run(&self, mut text: &[u8], facts: &Facts<'_>, node: &Node<'_>, steps: u32) -> bool {
        let mut at = node;
        for step in 1..=steps {
            let Some(rest) = self.without_suffix(text, &at.key) else { return false };
            text = rest;
            if step < steps {
                let Some(parent) = at.parent.and_then(|parent| facts.nodes.get(parent as usize)) else {
                    return false;
                };
                at = parent;
            }
        }
        text.is_empty()
    }

    fn candidates(&self, unfinished: u64, of: Of) -> impl Iterator<Item = (u32, &Key)> {
        self.proposals(finish(unfinished)).filter(move |(_, key)| key.of == of)
    }

    fn proposals(&self, hash: u64) -> impl Iterator<Item = (u32, &Key)> {
        let mut at = self.by_hash.get(&hash).copied();
        std::iter::from_fn(move || {
            let n = at?;
            let key = self.keys.get(n as usize)?;
            at = key.next;
            Some((n, key))
        })
    }

    /// Whether some name can end as this key does.
    fn may_end(&self, of: Of, key: &str) -> bool {
        let mut ends = [0; 2];
        let mut bytes = key.bytes().rev();
        for end in &mut ends {
            // What folds to several bytes, to none of its own, or has one byte only, is looked up in full.
            *end = match bytes.next().and_then(|byte| self.single.get(usize::from(byte))) {
                None | Some(0 | &SEVERAL) => return true,
                Some(folded) => *folded,
            };
        }
        let [last, before] = ends;
        // In a name that is not ASCII, what follows may fold into these: it is looked up in full too.
        !key.is_ascii() || self.ends.get(of as usize).is_some_and(|ends| ends.may_hold(last, before))
    }

    /// The hash after a name's folded bytes, and how many they are.
    fn feed(&self, mut hash: u64, name: &str) -> (u64, usize) {
        let mut len = 0;
        if name.is_ascii() {
            for byte in name.bytes().rev() {
                match self.single.get(usize::from(byte)) {
                    Some(0) | None => {}
                    Some(&SEVERAL) => {
                        let folded = self.folded(byte);
                        len += folded.len();
                        hash = folded.iter().rev().copied().fold(hash, mix);
                    }
                    Some(folded) => {
                        len += 1;
                        hash = mix(hash, *folded);
                    }
                }
            }
        } else {
            for byte in expanded(name).bytes().rev() {
                hash = mix(hash, byte);
                len += 1;
            }
        }
        (hash, len)
    }

    /// What is left of `text` when a name's folded bytes are taken off its end.
    fn without_suffix<'t>(&self, mut text: &'t [u8], name: &str) -> Option<&'t [u8]> {
        if !name.is_ascii() {
            return text.strip_suffix(expanded(name).as_bytes());
        }
        for byte in name.bytes().rev() {
            text = text.strip_suffix(self.folded(byte))?;
        }
        Some(text)
    }

    fn folded(&self, byte: u8) -> &[u8] {
        self.ascii
            .get(usize::from(byte))
            .and_then(|folded| folded.bytes.get(..usize::from(folded.len)))
            .unwrap_or_default()
    }
}

fn pair_hash(of: Of, name: &str, value: &str) -> u64 {
    let hash = name.bytes().fold(start(of), mix);
    finish(value.bytes().fold(mix(hash, 0), mix))
}

/// The keys seen in one message. Up to 1,024 keys of a policy and 32 in a
/// message need no memory of their own.
#[derive(Debug)]
pub(crate) struct Seen {
    bits: [u64; 16],
    more_bits: Vec<u64>,
    first: [u32; 32],
    count: usize,
    more: Vec<u32>,
}

impl Seen {
    pub(crate) fn new(keys: usize) -> Self {
        let beyond = keys.div_ceil(64).saturating_sub(16);
        Self { bits: [0; 16], more_bits: vec![0; beyond], first: [0; 32], count: 0, more: Vec::new() }
    }

    pub(crate) fn insert(&mut self, key: u32) {
        let (place, bit) = (key as usize / 64, 1 << (key % 64));
        let word = match place.checked_sub(16) {
            None => self.bits.get_mut(place),
            Some(place) => self.more_bits.get_mut(place),
        };
        let Some(word) = word.filter(|word| **word & bit == 0) else { return };
        *word |= bit;
        match self.first.get_mut(self.count) {
            Some(slot) => *slot = key,
            None => self.more.push(key),
        }
        self.count += 1;
    }

    pub(crate) fn contains(&self, key: u32) -> bool {
        let place = key as usize / 64;
        let word = match place.checked_sub(16) {
            None => self.bits.get(place),
            Some(place) => self.more_bits.get(place),
        };
        word.is_some_and(|word| word >> (key % 64) & 1 == 1)
    }

    /// Every key, once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.first.iter().take(self.count).chain(&self.more).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn facts_of(path: &[&'static str]) -> Facts<'static> {
        let mut facts = Facts::default();
        for (n, key) in (0_u32..).zip(path) {
            facts.nodes.push(Node { key: Cow::Borrowed(key), parent: n.checked_sub(1) });
        }
        facts
    }

    fn runs(names: &[&str], path: &[&'static str]) -> Vec<u32> {
        let mut keys = Keys::new();
        names.iter().for_each(|name| {
            keys.name(Of::Field, name);
        });
        let facts = facts_of(path);
        let mut found = Vec::new();
        for node in &facts.nodes {
            keys.find_runs(&facts, node, &mut |key| found.push(key));
        }
        found
    }

    #[test]
    fn a_name_is_found_however_it_is_spelt_or_nested() {
        let names = ["license_plate", "plate", "mac", "carnumber"];
        assert_eq!(runs(&names, &["licensePlate"]), [0]);
        assert_eq!(runs(&names, &["LICENSE", "Plate"]), [1, 0]);
        assert_eq!(runs(&names, &["a", "lic", "ense-", "pl", "ate", "value"]), [1, 0]);
        assert_eq!(runs(&names, &["rnac"]), [2]);
        assert_eq!(runs(&names, &["r", "nac"]), [2], "`rn` is `m` across keys too");
        assert_eq!(runs(&names, &["camumber"]), [3]);
        assert_eq!(runs(&names, &["car", "number"]), [3]);
        assert_eq!(runs(&names, &["ｐｌａｔｅ"]), [1]);
        assert_eq!(runs(&names, &["license", "x", "plate"]), [1]);
        assert_eq!(runs(&names, &["plates"]), Vec::<u32>::new());
    }

    #[test]
    fn pairs_do_not_run_into_each_other() {
        let mut keys = Keys::new();
        let key = keys.pair(Of::Tag, "a\0b", "c");
        assert_eq!(keys.find_pair(Of::Tag, "a\0b", "c"), Some(key));
        assert_eq!(keys.find_pair(Of::Tag, "a", "b\0c"), None);
        assert_eq!(keys.find_pair(Of::UserProperty, "a\0b", "c"), None);
        assert_ne!(keys.pair(Of::Tag, "a", "b\0c"), key);
    }

    #[test]
    fn a_set_of_many_keys_loses_none() {
        let mut seen = Seen::new(5_000);
        let keys: Vec<u32> = (0..5_000).step_by(7).collect();
        keys.iter().chain(&keys).for_each(|key| seen.insert(*key));
        assert_eq!(seen.iter().collect::<Vec<_>>(), keys);
        assert!((0..6_000).all(|key| seen.contains(key) == (key < 5_000 && key % 7 == 0)));
    }

    proptest::proptest! {
        #[test]
        fn ascii_names_are_found_as_they_fold(listed in "[ -~]{0,8}|[rnm_RN]{0,6}", name in "[ -~]{0,8}|[rnm_RN]{0,6}") {
            let mut keys = Keys::new();
            let key = keys.name(Of::Measure, &listed);
            let equal = names::fold(&listed) == names::fold(&name);
            proptest::prop_assert_eq!(keys.find_name(Of::Measure, &name), equal.then_some(key));
        }
    }
}
