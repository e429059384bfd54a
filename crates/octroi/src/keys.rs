//! Pseudonymisation keys, by reference. The policy names them
//! (`file:pseudo-mobilite`); they lie in `keys_dir`, one file each, or in the
//! environment. The hub's own key for the identifiers of copies is made at its
//! first start.
//!
//! A step with `old_keys = "destroy"` has the operator's key and a secret of the
//! period together: who lacks either cannot make its pseudonyms. The secrets of
//! periods are the hub's (`keys/passing.rs`); `keys_dir` is only read.
//!
//! A key is read once, and never printed: what is shown of it is the head of
//! its hash.

mod passing;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use octroi_policy::ast::{Document, Step};
use octroi_policy::{COPY_ID_KEY, KeySource, Period, PseudonymKey, Timestamp};

use crate::config::Environment;
use crate::durable;
use crate::limits;
use passing::Passing;

/// What a key needs at least, bytes.
const LEAST: usize = 32;

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not there.
    #[error("`{reference}` leads to `{}`, which cannot be read", path.display())]
    Read {
        /// As the policy names it.
        reference: String,
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not set.
    #[error("`{reference}`: the environment variable is not set")]
    NotSet {
        /// As the policy names it.
        reference: String,
    },
    /// It is too short to be a secret.
    #[error(
        "`{reference}` holds {bytes} bytes; a key has {LEAST} random ones at least: `head -c 32 /dev/urandom`"
    )]
    Short {
        /// As the policy names it.
        reference: String,
        /// How many it holds.
        bytes: usize,
    },
    /// A name that leads elsewhere.
    #[error("`{reference}` is no key's name; write `file:name` (a file of `keys_dir`) or `env:NAME`")]
    Name {
        /// As the policy names it.
        reference: String,
    },
}

/// The keys of a hub.
#[derive(Debug)]
pub struct Keys {
    directory: PathBuf,
    copy_ids: PathBuf,
    environment: Environment,
    /// A lock, because relays of several targets ask for the same few keys; held for a look-up.
    read: Mutex<BTreeMap<String, PseudonymKey>>,
    /// A lock for the same reason; held while the first pseudonym of a period makes its secret.
    passing: Mutex<Passing>,
}

impl Keys {
    /// Keys in `directory`; the hub's own in `data_dir`, made if it is not there.
    ///
    /// # Errors
    /// The hub's own key cannot be read or made.
    pub fn open(directory: PathBuf, data_dir: &Path, environment: &Environment) -> Result<Self, KeyError> {
        let environment = environment
            .iter()
            .filter(|(name, _)| !name.starts_with("OCTROI__"))
            .map(|(n, v)| (n.clone(), v.clone()));
        let copy_ids = data_dir.join("copy-ids.key");
        let failed = |source| KeyError::Read {
            reference: COPY_ID_KEY.to_owned(),
            path: data_dir.join("copy-ids.key"),
            source,
        };
        if !copy_ids.exists() {
            let mut secret = [0; LEAST];
            getrandom::fill(&mut secret).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
            durable::replace(&copy_ids, &secret).map_err(failed)?;
        }
        let keys = Self {
            directory,
            copy_ids,
            environment: environment.collect(),
            read: Mutex::default(),
            passing: Mutex::new(Passing::new(data_dir.join("period-keys"))),
        };
        keys.get(COPY_ID_KEY)?;
        Ok(keys)
    }

    /// Destroys the secrets of periods that ended [`limits::PERIOD_KEYS_KEPT`] ago. Until it is told the time
    /// once, there is no key of a period.
    pub fn destroy_past(&self, now: Timestamp) {
        let kept = i64::try_from(limits::PERIOD_KEYS_KEPT.as_micros()).unwrap_or(i64::MAX);
        let by = Timestamp(now.0.saturating_sub(kept));
        self.passing.lock().unwrap_or_else(PoisonError::into_inner).destroy(by);
    }

    /// Whether every key that the policy's transforms name can be used.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self, document: &Document) -> Result<(), KeyError> {
        let steps = document.transform.iter().flat_map(|transform| &transform.steps);
        for step in steps {
            if let Step::Pseudonymise { key, .. } = step {
                self.get(key)?;
            }
        }
        Ok(())
    }

    fn get(&self, reference: &str) -> Result<PseudonymKey, KeyError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = read.get(reference) {
            return Ok(key.clone());
        }
        let secret = self.secret(reference)?;
        if secret.len() < LEAST {
            return Err(KeyError::Short { reference: reference.to_owned(), bytes: secret.len() });
        }
        let id = blake3::hash(&secret).to_hex().get(..8).unwrap_or_default().to_owned();
        let key = PseudonymKey::new(&id, &secret);
        read.insert(reference.to_owned(), key.clone());
        Ok(key)
    }

    fn secret(&self, reference: &str) -> Result<Vec<u8>, KeyError> {
        let name_error = || KeyError::Name { reference: reference.to_owned() };
        if let Some(name) = reference.strip_prefix("env:") {
            let value = self
                .environment
                .get(name)
                .ok_or_else(|| KeyError::NotSet { reference: reference.to_owned() });
            return value.map(|value| value.clone().into_bytes());
        }
        let path = if reference == COPY_ID_KEY {
            self.copy_ids.clone()
        } else {
            let name = reference.strip_prefix("file:").ok_or_else(name_error)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            // A name of `keys_dir`, never a way out of it.
            if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
                return Err(name_error());
            }
            self.directory.join(name)
        };
        fs::read(&path).map_err(|source| KeyError::Read { reference: reference.to_owned(), path, source })
    }
}

impl KeySource for Keys {
    /// The same secret in every period: the period is part of what is hashed.
    fn key(&self, reference: &str, _period: &str) -> Option<PseudonymKey> {
        self.get(reference).ok()
    }

    fn passing_key(&self, reference: &str, period: &Period<'_>) -> Option<PseudonymKey> {
        let key = self.get(reference).ok()?;
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        match passing.secret(reference, period) {
            Ok(of_period) => Some(key.extended(&of_period?)),
            Err(error) => {
                tracing::error!(reference, %error, "the key of a period cannot be read or made");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hubs_own_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Keys::open(dir.path().join("keys"), dir.path(), &Environment::new()).unwrap();
        let first = open().key(COPY_ID_KEY, "").unwrap();
        assert_eq!(open().key(COPY_ID_KEY, "").unwrap(), first);
    }

    #[test]
    fn a_key_of_a_period_is_made_of_both_secrets_and_gone_a_week_after_its_end() {
        const DAY: i64 = 86_400_000_000;
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::from([("A".into(), "a".repeat(32)), ("B".into(), "a".repeat(32))]);
        let keys = Keys::open(dir.path().join("keys"), dir.path(), &environment).unwrap();
        let period = Period { rotate: "P1D", end: Timestamp(20 * DAY) };
        keys.destroy_past(Timestamp(20 * DAY));
        let key = keys.passing_key("env:A", &period).unwrap();
        let always = keys.key("env:A", "").unwrap();
        let of_period =
            fs::read(dir.path().join(format!("period-keys/env-A/P1D-{}.key", period.end.0))).unwrap();
        assert_eq!(key, always.extended(&of_period));
        assert_eq!(keys.key("env:B", ""), Some(always));
        assert_ne!(keys.passing_key("env:B", &period).unwrap(), key, "each has a secret of its own");
        keys.destroy_past(Timestamp(27 * DAY - 1));
        assert_eq!(keys.passing_key("env:A", &period), Some(key));
        keys.destroy_past(Timestamp(27 * DAY));
        assert_eq!(keys.passing_key("env:A", &period), None);
        assert_eq!(keys.passing_key("env:NONE", &Period { end: Timestamp(90 * DAY), ..period }), None);
    }

    #[test]
    fn a_reference_that_is_no_key_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::from([("SHORT".into(), "abc".into())]);
        let keys = Keys::open(dir.path().to_path_buf(), dir.path(), &environment).unwrap();
        for (reference, expected) in [
            ("file:none", "cannot be read"),
            ("file:../copy-ids.key", "is no key's name"),
            ("file:.hidden", "is no key's name"),
            ("secret", "is no key's name"),
            ("env:NONE", "is not set"),
            ("env:SHORT", "holds 3 bytes"),
        ] {
            let error = keys.get(reference).unwrap_err().to_string();
            assert!(error.contains(expected), "{reference}: {error}");
        }
    }
}
