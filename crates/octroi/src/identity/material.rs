//! A file that identities rest on, as it stood at one time: certificates, keys,
//! revocation lists, passwords. What is judged, compared and taken are the same
//! bytes, so that nothing changes between a look and its use.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use octroi_policy::{Text, text};

use crate::limits;

/// A file's bytes, or why there are none.
#[derive(Debug)]
pub struct Material {
    path: PathBuf,
    bytes: io::Result<Vec<u8>>,
}

/// Files are not taken: what is wrong, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", what.en, mend.en)]
pub struct Refusal {
    /// What is wrong, and where.
    pub what: Text,
    /// What mends it.
    pub mend: Text,
    /// Nothing is wrong but the time: it is over, or has not come.
    pub by_time: bool,
}

impl Material {
    /// Reads a file whole, up to [`limits::MATERIAL_BYTES`]. Blocking.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = File::open(path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(limits::MATERIAL_BYTES + 1).read_to_end(&mut bytes)?;
            let fits = bytes.len() as u64 <= limits::MATERIAL_BYTES;
            if fits { Ok(bytes) } else { Err(io::ErrorKind::FileTooLarge.into()) }
        });
        Self { path: path.to_owned(), bytes }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    ///
    /// # Errors
    /// It could not be read.
    pub fn bytes(&self) -> Result<&[u8], Refusal> {
        self.bytes.as_deref().map_err(|error| {
            let path = self.path.display();
            Refusal {
                what: text!("`{path}` cannot be read ({error})", "`{path}` est illisible ({error})"),
                mend: text!(
                    "put it there, readable by the hub's user",
                    "déposez-le, lisible par l'utilisateur du hub"
                ),
                by_time: false,
            }
        })
    }

    /// A digest of several: equal as long as none of them changes.
    #[must_use]
    pub fn digest<'a>(files: impl IntoIterator<Item = &'a Self>) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for file in files {
            let (state, bytes) = match &file.bytes {
                Ok(bytes) => ("read".to_owned(), bytes.as_slice()),
                Err(error) => (error.kind().to_string(), &[][..]),
            };
            hasher.update(blake3::hash(state.as_bytes()).as_bytes());
            hasher.update(blake3::hash(bytes).as_bytes());
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_changes_with_any_file_and_with_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        let digest = || Material::digest(&paths.each_ref().map(|path| Material::read(path)));
        let mut seen = vec![digest()];
        for (path, text) in [(0, "1"), (1, "2"), (0, ""), (1, "")] {
            std::fs::write(&paths[path], text).unwrap();
            assert_eq!(digest(), digest());
            assert!(!seen.contains(&digest()), "after {path} became `{text}`");
            seen.push(digest());
        }
    }

    #[test]
    fn a_file_that_is_missing_or_beyond_the_bound_says_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crl");
        assert!(Material::read(&path).bytes().unwrap_err().to_string().contains("ca.crl` cannot be read"));
        let file = File::create(&path).unwrap();
        for (size, fits) in [(limits::MATERIAL_BYTES, true), (limits::MATERIAL_BYTES + 1, false)] {
            file.set_len(size).unwrap();
            assert_eq!(Material::read(&path).bytes().is_ok(), fits);
        }
    }
}
