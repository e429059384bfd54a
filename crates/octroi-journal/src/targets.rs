//! The targets of a journal: names, bits, cursors.
//!
//! It does not write: the journal puts the whole table in a control record or a state frame.
//! INVARIANT: a bit is never given twice, and a cursor never goes back.

use crate::error::{AdvanceError, RegisterError};
use crate::format::u64_at;
use std::collections::BTreeMap;

/// Longest name of a target, in bytes.
pub const MAX_TARGET_NAME: usize = 64;

/// A target's bit in the bitmaps of records: 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetBit(u8);

impl TargetBit {
    /// The bitmap that holds this target alone.
    pub fn mask(self) -> u64 {
        1_u64.checked_shl(u32::from(self.0)).unwrap_or(0)
    }

    /// Its number, 0 to 63.
    pub fn index(self) -> u8 {
        self.0
    }
}

/// One live target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name it was registered under.
    pub name: String,
    /// Its bit.
    pub bit: TargetBit,
    /// Everything below is done for it, durably.
    pub cursor: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Targets {
    next_bit: u8,
    live: BTreeMap<String, Live>,
    /// Cursors by bit in the last table that was synced: what a restart would come back to.
    durable: BTreeMap<u8, u64>,
    /// A table that says more than the last one written is due.
    dirty: bool,
    /// Names or bits changed since the last table that was synced.
    registry_dirty: bool,
}

#[derive(Debug, Clone, Copy)]
struct Live {
    bit: u8,
    cursor: u64,
}

impl Targets {
    pub(crate) fn register(
        &mut self,
        name: &str,
        start: u64,
        max_table: usize,
    ) -> Result<TargetBit, RegisterError> {
        if let Some(live) = self.live.get(name) {
            return Ok(TargetBit(live.bit));
        }
        if name.is_empty() || name.len() > MAX_TARGET_NAME {
            return Err(RegisterError::Name(name.to_owned()));
        }
        let table = self.encode().len().saturating_add(10).saturating_add(name.len());
        if self.next_bit >= 64 || table > max_table {
            return Err(RegisterError::Exhausted { name: name.to_owned(), used: self.next_bit });
        }
        let bit = self.next_bit;
        self.next_bit = bit.saturating_add(1);
        self.live.insert(name.to_owned(), Live { bit, cursor: start });
        self.dirty = true;
        self.registry_dirty = true;
        Ok(TargetBit(bit))
    }

    /// False: there is no such target.
    pub(crate) fn retire(&mut self, target: TargetBit) -> bool {
        let before = self.live.len();
        self.live.retain(|_, live| live.bit != target.0);
        let retired = self.live.len() < before;
        self.dirty |= retired;
        self.registry_dirty |= retired;
        retired
    }

    pub(crate) fn advance(&mut self, target: TargetBit, upto: u64, durable: u64) -> Result<(), AdvanceError> {
        let Some(live) = self.live.values_mut().find(|live| live.bit == target.0) else {
            return Err(AdvanceError::UnknownTarget { bit: target.0 });
        };
        if upto > durable {
            return Err(AdvanceError::PastEnd { upto, durable });
        }
        if upto > live.cursor {
            live.cursor = upto;
            self.dirty = true;
        }
        Ok(())
    }

    pub(crate) fn list(&self) -> Vec<Target> {
        let mut targets: Vec<Target> = self
            .live
            .iter()
            .map(|(name, live)| Target {
                name: name.clone(),
                bit: TargetBit(live.bit),
                cursor: self.durable_cursor(live),
            })
            .collect();
        targets.sort_by_key(|target| target.bit);
        targets
    }

    /// The lowest sequence number that some target still needs, now or after a restart.
    pub(crate) fn floor(&self) -> Option<u64> {
        let new = self.live.values().filter(|live| !self.durable.contains_key(&live.bit));
        self.durable.values().copied().chain(new.map(|live| live.cursor)).min()
    }

    /// Bits that were ever given out.
    pub(crate) fn known_bits(&self) -> u64 {
        1_u64.checked_shl(u32::from(self.next_bit)).map_or(u64::MAX, |bit| bit.wrapping_sub(1))
    }

    /// A bit seen in a record is taken, whatever the table says: given again, it would send old
    /// records to a new target.
    pub(crate) fn burn(&mut self, seen: u64) {
        let used = 64_u32.saturating_sub(seen.leading_zeros());
        self.next_bit = self.next_bit.max(u8::try_from(used).unwrap_or(64));
    }

    pub(crate) fn dirty(&self) -> bool {
        self.dirty
    }

    pub(crate) fn registry_dirty(&self) -> bool {
        self.registry_dirty
    }

    /// The table as it is now has been synced.
    pub(crate) fn mark_durable(&mut self) {
        self.durable = self.live.values().map(|live| (live.bit, live.cursor)).collect();
        self.dirty = false;
        self.registry_dirty = false;
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_with(|live| live.cursor)
    }

    /// The table with the cursors that were synced.
    pub(crate) fn encode_durable(&self) -> Vec<u8> {
        self.encode_with(|live| self.durable_cursor(live))
    }

    fn durable_cursor(&self, live: &Live) -> u64 {
        self.durable.get(&live.bit).copied().unwrap_or(live.cursor)
    }

    fn encode_with(&self, cursor: impl Fn(&Live) -> u64) -> Vec<u8> {
        let mut out = vec![self.next_bit, u8::try_from(self.live.len()).unwrap_or(u8::MAX)];
        for (name, live) in &self.live {
            out.push(live.bit);
            out.extend_from_slice(&cursor(live).to_le_bytes());
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    /// `None`: not a table.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Targets> {
        let (&next_bit, rest) = bytes.split_first()?;
        let (&count, mut rest) = rest.split_first()?;
        let mut live = BTreeMap::new();
        for _ in 0..count {
            let bit = *rest.first()?;
            let cursor = u64_at(rest, 1)?;
            let len = usize::from(*rest.get(9)?);
            let name = std::str::from_utf8(rest.get(10..10 + len)?).ok()?;
            live.insert(name.to_owned(), Live { bit, cursor });
            rest = rest.get(10 + len..)?;
        }
        let mut targets = Targets { next_bit, live, ..Targets::default() };
        targets.mark_durable();
        (rest.is_empty() && next_bit <= 64).then_some(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_never_given_twice_and_runs_out_at_sixty_four() {
        let mut targets = Targets::default();
        for n in 0..64_u8 {
            let bit = targets.register(&format!("t{n}"), 0, 8192).unwrap();
            assert_eq!(bit.index(), n);
            assert!(targets.retire(bit));
        }
        assert_eq!(targets.known_bits(), u64::MAX);
        assert!(matches!(
            targets.register("one-more", 0, 8192),
            Err(RegisterError::Exhausted { used: 64, .. })
        ));
    }

    #[test]
    fn a_cursor_moves_only_forward_and_not_past_the_end() {
        let mut targets = Targets::default();
        let bit = targets.register("kafka", 5, 8192).unwrap();
        targets.advance(bit, 9, 10).unwrap();
        targets.advance(bit, 7, 10).unwrap();
        assert!(targets.advance(bit, 11, 10).is_err());
        targets.mark_durable();
        assert_eq!(targets.list()[0].cursor, 9);
        targets.advance(bit, 10, 10).unwrap();
        let before = Targets::decode(&targets.encode_durable()).unwrap();
        assert_eq!(before.list()[0].cursor, 9, "what is not synced may never be");
    }

    #[test]
    fn a_table_is_read_back_and_no_prefix_of_it_is() {
        let mut targets = Targets::default();
        targets.register("archive", 3, 8192).unwrap();
        targets.register("kafka", 4, 8192).unwrap();
        targets.mark_durable();
        let bytes = targets.encode();
        assert_eq!(Targets::decode(&bytes).unwrap().list(), targets.list());
        for len in 0..bytes.len() {
            assert!(Targets::decode(&bytes[..len]).is_none(), "{len}");
        }
    }

    #[test]
    fn a_bit_seen_in_a_record_is_not_given_out() {
        let mut targets = Targets::default();
        targets.burn(0b100);
        assert_eq!(targets.register("kafka", 0, 8192).unwrap().index(), 3);
    }
}
