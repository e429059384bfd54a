//! Secrets of one rotation period, for `old_keys = "destroy"`: random, made at
//! the first pseudonym of the period, and destroyed a while after its end. They
//! are the hub's own: `data_dir/period-keys/<key>/<rotation>-<end>.key`, the end
//! in microseconds since 1970, so that a name says when a file must go.
//!
//! It does not reach into backups, nor below the file system.
//!
//! INVARIANT: a secret that was destroyed is not made anew: there is none of a
//! period that is past, and none before the time is known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use octroi_policy::{Period, Timestamp};

use super::LEAST;
use crate::durable;

/// The secrets that are kept.
#[derive(Debug)]
pub(super) struct Passing {
    directory: PathBuf,
    /// Periods that ended up to here have no secret any more.
    gone: Timestamp,
    read: BTreeMap<PathBuf, Vec<u8>>,
}

impl Passing {
    /// In that directory, which is made with the first secret. None is given before [`Self::destroy`] said
    /// up to when they are gone.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, gone: Timestamp(i64::MAX), read: BTreeMap::new() }
    }

    /// Destroys the secrets of every period that ended at or before `by`.
    pub(super) fn destroy(&mut self, by: Timestamp) {
        self.gone = if self.gone.0 == i64::MAX { by } else { self.gone.max(by) };
        let gone = self.gone;
        self.read.retain(|path, _| end_of(path).is_some_and(|end| end > gone));
        if let Err(error) = destroy_files(&self.directory, gone) {
            tracing::error!(%error, directory = %self.directory.display(),
                "keys of past periods cannot be destroyed; tried again");
        }
    }

    /// The secret of a key's period; `None`: it is destroyed.
    pub(super) fn secret(&mut self, reference: &str, period: &Period<'_>) -> io::Result<Option<Vec<u8>>> {
        if period.end <= self.gone {
            return Ok(None);
        }
        // A reference is a scheme and a plain name.
        let of_key = self.directory.join(reference.replace(':', "-"));
        let path = of_key.join(format!("{}-{}.key", period.rotate, period.end.0));
        if let Some(secret) = self.read.get(&path) {
            return Ok(Some(secret.clone()));
        }
        let secret = match fs::read(&path) {
            Ok(secret) if secret.len() == LEAST => secret,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no key of this hub's")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut secret = vec![0; LEAST];
                getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
                fs::create_dir_all(&of_key)?;
                durable::replace(&path, &secret)?;
                secret
            }
            Err(error) => return Err(error),
        };
        self.read.insert(path, secret.clone());
        Ok(Some(secret))
    }
}

/// When the period of that file ended.
fn end_of(path: &Path) -> Option<Timestamp> {
    let (_, end) = path.file_name()?.to_str()?.strip_suffix(".key")?.rsplit_once('-')?;
    end.parse().ok().map(Timestamp)
}

fn destroy_files(directory: &Path, gone: Timestamp) -> io::Result<()> {
    let of_keys = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for of_key in of_keys {
        let of_key = of_key?.path();
        for file in fs::read_dir(&of_key)? {
            let file = file?.path();
            if end_of(&file).is_some_and(|end| end <= gone) {
                fs::remove_file(&file)?;
            }
        }
        File::open(&of_key)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_over_a_restart_and_another_in_each_period_and_for_each_key() {
        let directory = tempfile::tempdir().unwrap();
        let mut keys = Passing::new(directory.path().join("period-keys"));
        let period = |end| Period { rotate: "P1D", end: Timestamp(end) };
        assert_eq!(keys.secret("file:a", &period(10)).unwrap(), None, "the time is not known yet");
        keys.destroy(Timestamp(0));
        let first = keys.secret("file:a", &period(10)).unwrap().unwrap();
        let others = [
            ("file:a", period(20)),
            ("file:b", period(10)),
            ("file:a", Period { rotate: "P1W", ..period(10) }),
        ];
        for (reference, period) in others {
            assert_ne!(keys.secret(reference, &period).unwrap().unwrap(), first);
        }
        assert_eq!(keys.secret("file:a", &period(10)).unwrap().as_ref(), Some(&first));
        let mut again = Passing::new(directory.path().join("period-keys"));
        again.destroy(Timestamp(9));
        assert_eq!(again.secret("file:a", &period(10)).unwrap(), Some(first));
    }

    #[test]
    fn a_secret_that_was_destroyed_is_gone_from_disk_and_is_not_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Passing::new(directory.path().join("period-keys"));
        let files = || fs::read_dir(directory.path().join("period-keys/file-a")).unwrap().count();
        let period = |end| Period { rotate: "P1D", end: Timestamp(end) };
        let mut keys = open();
        keys.destroy(Timestamp(0));
        keys.secret("file:a", &period(10)).unwrap().unwrap();
        let later = keys.secret("file:a", &period(20)).unwrap();
        keys.destroy(Timestamp(10));
        // A clock set back makes nothing anew.
        keys.destroy(Timestamp(0));
        assert_eq!((keys.secret("file:a", &period(10)).unwrap(), files()), (None, 1));
        assert_eq!(keys.secret("file:a", &period(20)).unwrap(), later);
        let mut again = open();
        again.destroy(Timestamp(10));
        assert_eq!((again.secret("file:a", &period(10)).unwrap(), files()), (None, 1));
        fs::write(directory.path().join("period-keys/file-a/P1D-30.key"), "short").unwrap();
        assert!(again.secret("file:a", &period(30)).is_err());
    }
}
