//! What the aggregates' thread has gathered, and up to where it has read the
//! journal: one value, stored in one file that is replaced whole.
//!
//! INVARIANT: cursor and windows are never stored apart, so that a message is
//! in the stored windows if and only if it stands before the stored cursor.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use octroi_policy::aggregate::Windows;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::ledger::Done;

/// What the file begins with: this, the number of its format, and the hash of the rest.
const HEAD: &str = "octroi-aggregates/";
/// The format this program writes; it reads this one and every older one.
const FORMAT: u32 = 1;

/// Everything that must not be stored apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Book {
    /// Of the journal that was read.
    pub(super) generation: u64,
    /// Everything before was read.
    pub(super) cursor: u64,
    /// How many records went into a window, since the start of that journal.
    pub(super) counted: u64,
    /// How many did not.
    pub(super) left_out: u64,
    /// By the copy's id.
    pub(super) copies: BTreeMap<String, Windows>,
}

/// Where the journal says that the aggregates are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) generation: u64,
    /// The cursor of the aggregates' bit, which follows the stored one.
    pub(super) cursor: u64,
    /// The first sequence number that is not there.
    pub(super) end: u64,
    pub(super) done: Done,
}

/// Why a stored book is not taken up.
#[derive(Debug, thiserror::Error)]
pub(super) enum BookError {
    /// It is not there, though records were counted before.
    #[error("it is not there")]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// A byte of it is not what was written.
    #[error("it is damaged")]
    Damaged,
    /// It is another program's.
    #[error("it is of another format")]
    Format(#[source] serde_json::Error),
    /// Of a later release: neither read nor written over.
    #[error(
        "it has format {0} and this program reads up to {FORMAT}; start the release that wrote it, or a later one"
    )]
    Newer(u32),
    /// It was not written beside this journal, or is older than it.
    #[error("it is of another journal, or older than this one")]
    Foreign,
}

impl Book {
    /// An empty book of that place.
    pub(super) fn at(place: &Place) -> Self {
        let Done { delivered, withheld } = place.done;
        Self {
            generation: place.generation,
            cursor: place.cursor,
            counted: delivered,
            left_out: withheld,
            copies: BTreeMap::new(),
        }
    }

    /// The book that was stored; an empty one where nothing was ever counted.
    ///
    /// # Errors
    /// What was gathered is lost, and why.
    pub(super) fn read(path: &Path, place: &Place) -> Result<Self, BookError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && place.done == Done::default() => {
                return Ok(Self::at(place));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BookError::Missing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(BookError::Damaged),
            Err(error) => return Err(BookError::Read(error)),
        };
        let (head, book) = text.split_once('\n').ok_or(BookError::Damaged)?;
        let head = head.strip_prefix(HEAD).and_then(|head| head.split_once(' '));
        let (format, hash) = head.ok_or(BookError::Damaged)?;
        match format.parse().map_err(|_| BookError::Damaged)? {
            FORMAT => {}
            newer if newer > FORMAT => return Err(BookError::Newer(newer)),
            _ => return Err(BookError::Damaged),
        }
        if blake3::hash(book.as_bytes()).to_hex().as_str() != hash {
            return Err(BookError::Damaged);
        }
        let book: Self = serde_json::from_str(book).map_err(BookError::Format)?;
        let follows = book.generation == place.generation
            && (place.cursor..=place.end).contains(&book.cursor)
            && book.counted >= place.done.delivered
            && book.left_out >= place.done.withheld;
        if follows { Ok(book) } else { Err(BookError::Foreign) }
    }

    /// Stores it; on disk when this returns.
    ///
    /// # Errors
    /// The disk; what was stored before is still there.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        let book = serde_json::to_string(self)?;
        let hash = blake3::hash(book.as_bytes()).to_hex();
        durable::replace(path, format!("{HEAD}{FORMAT} {hash}\n{book}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place =
        Place { generation: 7, cursor: 5, end: 90, done: Done { delivered: 2, withheld: 1 } };

    #[test]
    fn a_book_is_read_back_and_any_changed_byte_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aggregates");
        let book = Book { cursor: 50, counted: 9, ..Book::at(&PLACE) };
        book.store(&path).unwrap();
        assert_eq!(Book::read(&path, &PLACE).unwrap(), book);
        let stored = fs::read(&path).unwrap();
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 4;
            fs::write(&path, &changed).unwrap();
            assert!(Book::read(&path, &PLACE).is_err(), "byte {at}");
        }
        fs::write(&path, &stored[..stored.len() - 1]).unwrap();
        assert!(matches!(Book::read(&path, &PLACE), Err(BookError::Damaged)));
    }

    #[test]
    fn a_book_is_stored_as_it_was_stays_readable_and_a_newer_one_is_refused() {
        const GOLDEN: &str = include_str!("../../golden/aggregates-1");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aggregates");
        let book = Book { cursor: 50, counted: 9, ..Book::at(&PLACE) };
        book.store(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), GOLDEN);
        assert_eq!(Book::read(&path, &PLACE).unwrap(), book);
        fs::write(&path, GOLDEN.replacen("/1 ", "/2 ", 1)).unwrap();
        assert!(matches!(Book::read(&path, &PLACE), Err(BookError::Newer(2))));
    }

    #[test]
    fn a_book_of_another_journal_or_an_older_one_is_not_taken_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aggregates");
        assert!(matches!(Book::read(&path, &PLACE), Err(BookError::Missing)));
        let new = Place { done: Done::default(), ..PLACE };
        assert_eq!(Book::read(&path, &new).unwrap(), Book::at(&new), "nothing was counted yet");
        Book { cursor: 50, ..Book::at(&PLACE) }.store(&path).unwrap();
        assert!(Book::read(&path, &PLACE).is_ok());
        for place in [
            Place { generation: 8, ..PLACE },
            Place { cursor: 51, ..PLACE },
            Place { end: 49, ..PLACE },
            Place { done: Done { delivered: 3, withheld: 1 }, ..PLACE },
        ] {
            assert!(matches!(Book::read(&path, &place), Err(BookError::Foreign)), "{place:?}");
        }
    }
}
