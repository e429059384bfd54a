//! What stands in the side logs: kept messages, and what becomes of them.
//!
//! A fate is written twice. In the journal it announces what is done, with the
//! new records if there are any, in one frame; once it is done it goes into the
//! side log as the tombstone. The ledger remembers the last one announced, and
//! the next is announced only after the tombstones of the one before are
//! synced: so a crash anywhere between leaves one fate to finish, and nothing
//! that is done twice.

use octroi_policy::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Input, RecordError, put_text};

/// Which side log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Log {
    /// Doubts, and what a target refuses.
    Quarantine,
    /// Labelled, but not allowed out now.
    Hold,
}

impl Log {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Quarantine, Self::Hold];

    /// Its directory and its name in the index.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Hold => "hold",
        }
    }
}

/// A message in a side log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Generation of the journal that it came from.
    pub generation: u64,
    /// Its sequence number there.
    pub origin: u64,
    /// Policy time since when it is kept here.
    pub since: Timestamp,
    /// The policy that kept it, as records name policies.
    pub policy: u64,
    /// Who put it here: empty, the decision at its arrival; `#hold`, the hold log; else the relay of that
    /// target.
    pub by: &'a str,
    /// The target it is held for; empty: none in particular.
    pub target: &'a str,
    /// Stable name of why.
    pub reason: &'a str,
    /// The message record as it was.
    pub message: &'a [u8],
}

impl<'a> Kept<'a> {
    /// Everything but the message, which follows it in the record.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        for number in [self.generation, self.origin, self.policy] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.since.0.to_le_bytes());
        put_text(out, self.by);
        put_text(out, self.target);
        put_text(out, self.reason);
    }

    /// From bytes.
    ///
    /// # Errors
    /// The bytes are no kept message.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        let generation = input.u64("generation")?;
        let origin = input.u64("origin")?;
        let policy = input.u64("policy")?;
        let since = Timestamp(input.i64("since")?);
        let by = input.text("by")?;
        let target = input.text("target")?;
        let reason = input.text("reason")?;
        Ok(Self { generation, origin, since, policy, by, target, reason, message: input.0 })
    }
}

/// What becomes of kept messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum What {
    /// On their way again, as new records of the journal.
    Released,
    /// Gone for good: the one exception to "nothing acknowledged is lost".
    Purged,
    /// Held for too long: from the hold log to the quarantine.
    Expired,
    /// They stay, for another reason than before.
    Stays,
}

impl What {
    /// All.
    pub const ALL: [Self; 4] = [Self::Released, Self::Purged, Self::Expired, Self::Stays];
}

/// What becomes of kept messages of one side log. In the journal it announces what is done; in the side log,
/// once it is done, it is the tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fate {
    /// Which side log.
    pub log: Log,
    /// Its generation.
    pub generation: u64,
    /// What becomes of them.
    pub what: What,
    /// Policy time.
    pub at: i64,
    /// Why, or on whose word.
    pub why: String,
    /// How many of them are whole messages; the others are one target's share of a message that was routed.
    pub messages: u64,
    /// Their sequence numbers in the side log.
    pub seqs: Vec<u64>,
}

impl Fate {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.log as u8, self.what as u8];
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.messages.to_le_bytes());
        put_text(&mut out, &self.why);
        for seq in &self.seqs {
            out.extend_from_slice(&seq.to_le_bytes());
        }
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// The bytes are no fate.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        let log = usize::from(input.u8("log")?);
        let what = usize::from(input.u8("fate")?);
        let (generation, at) = (input.u64("generation")?, input.i64("time")?);
        let (messages, why) = (input.u64("messages")?, input.text("why")?.to_owned());
        let mut seqs = Vec::with_capacity(input.0.len() / 8);
        while !input.0.is_empty() {
            seqs.push(input.u64("sequence numbers")?);
        }
        Ok(Self {
            log: *Log::ALL.get(log).ok_or(RecordError { field: "log" })?,
            what: *What::ALL.get(what).ok_or(RecordError { field: "fate" })?,
            generation,
            at,
            why,
            messages,
            seqs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordKind;

    #[test]
    fn what_is_kept_and_what_becomes_of_it_are_read_back() {
        let kept = Kept {
            generation: 3,
            origin: 9,
            since: Timestamp(-5),
            policy: 8,
            by: "",
            target: "dc",
            reason: "no_rule_matches",
            message: b"rest",
        };
        let mut bytes = Vec::new();
        kept.write_header(&mut bytes);
        bytes.extend_from_slice(kept.message);
        assert_eq!(Kept::read(&bytes), Ok(kept));
        for (log, what) in Log::ALL.into_iter().flat_map(|log| What::ALL.map(|what| (log, what))) {
            let (why, seqs) = ("mise à l'arrêt".to_owned(), vec![1, u64::MAX]);
            let fate = Fate { log, generation: 6, what, at: -1, why, messages: 1, seqs };
            assert_eq!(Fate::read(&fate.to_bytes()), Ok(fate));
        }
        assert!(Fate::read(&[2, 0]).is_err());
    }

    /// Kind 0x08 and kind 0x10 mean these bytes for good: another layout takes another kind.
    #[test]
    fn what_stands_in_a_side_log_is_written_as_it_was_and_stays_readable() {
        let golden = include_str!("../../golden/side-log-1.records");
        let kept = Kept {
            generation: 0x0123_4567_89ab_cdef,
            origin: 41,
            since: Timestamp(1_795_000_000_000_000),
            policy: 0xfedc_ba98_7654_3210,
            by: "dc-rennes",
            target: "dc-rennes",
            reason: "no_allowed_target",
            message: b"\x01 as it was",
        };
        let mut bytes = Vec::new();
        kept.write_header(&mut bytes);
        bytes.extend_from_slice(kept.message);
        let (log, what, why) = (Log::Hold, What::Expired, "hold_max, échu".to_owned());
        let fate =
            Fate { log, generation: 6, what, at: -1, why, messages: 1, seqs: vec![3, 0xFFFF_FFFF_FFFF] };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let now = format!(
            "{:02x} {}\n{:02x} {}\n",
            RecordKind::Kept as u8,
            hex(&bytes),
            RecordKind::Fate as u8,
            hex(&fate.to_bytes())
        );
        assert_eq!(now, golden);
        assert_eq!((Kept::read(&bytes), Fate::read(&fate.to_bytes())), (Ok(kept), Ok(fate)));
    }
}
