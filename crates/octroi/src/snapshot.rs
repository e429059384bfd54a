//! The state that rides at the head of a journal's segments: a format number,
//! a line break, JSON. The ledger is stored so, and what a side log adds up to.
//!
//! INVARIANT: a newer format is refused before anything of it is read, and the
//! one without a number, which was written first, stays readable.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format this program writes; it reads this one and every older one.
const FORMAT: u32 = 1;

/// The bytes are no state that this program reads.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Of a later release.
    #[error(
        "the state in the journal has format {0} and this program reads up to {FORMAT}; start the release that \
         wrote it, or a later one"
    )]
    Newer(u32),
    /// Not what its format says.
    #[error("the state in the journal cannot be read; `octroi journal verify` tells whether it is damaged")]
    Foreign(#[source] Option<serde_json::Error>),
}

/// Appends the state.
pub fn write(state: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{FORMAT}\n").as_bytes());
    // Maps with string or integer keys and plain values: serialising cannot fail.
    out.extend_from_slice(&serde_json::to_vec(state).unwrap_or_default());
}

/// Reads the state; nothing at all is that of a new journal.
///
/// # Errors
/// It is newer than this program, or no state.
pub fn read<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, SnapshotError> {
    let json = match bytes {
        [] => return Ok(T::default()),
        [b'{', ..] => bytes,
        _ => numbered(bytes)?,
    };
    serde_json::from_slice(json).map_err(|error| SnapshotError::Foreign(Some(error)))
}

fn numbered(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(SnapshotError::Foreign(None))?;
    let (number, json) = bytes.split_at_checked(end).ok_or(SnapshotError::Foreign(None))?;
    let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
    match number.ok_or(SnapshotError::Foreign(None))? {
        newer if newer > FORMAT => Err(SnapshotError::Newer(newer)),
        _ => Ok(json),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type State = BTreeMap<String, u64>;

    #[test]
    fn a_state_is_read_back_with_its_number_without_and_from_nothing() {
        let state = State::from([("a".to_owned(), 1)]);
        let mut bytes = Vec::new();
        write(&state, &mut bytes);
        assert_eq!(bytes, b"1\n{\"a\":1}");
        assert_eq!(read::<State>(&bytes).unwrap(), state);
        assert_eq!(read::<State>(br#"{"a":1}"#).unwrap(), state, "as it was written first");
        assert_eq!(read::<State>(b"").unwrap(), State::new());
    }

    #[test]
    fn a_newer_state_is_refused_by_its_number_alone() {
        assert!(matches!(read::<State>(b"2\n{\"a\":1}"), Err(SnapshotError::Newer(2))));
        assert!(matches!(read::<State>(b"70\nnot even JSON"), Err(SnapshotError::Newer(70))));
        for other in [&b"1"[..], b"x\n{}", b"1\n", b"\xFF\n{}", b"{"] {
            assert!(matches!(read::<State>(other), Err(SnapshotError::Foreign(_))), "{other:?}");
        }
    }
}
