//! The password file: argon2id hashes, checked on threads of their own, a few
//! at once.
//!
//! A right password is remembered, so that a thousand gateways that connect
//! again after an outage wait for no hash: as one keyed digest a user, under a
//! key of this process and this reading of the file. Neither password nor
//! digest leaves memory; a changed file begins with nothing remembered.
//!
//! INVARIANT: what is not remembered costs one hash, whether the user is known
//! or the password right.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{self, PasswordHash, PasswordHasher, SaltString};
use argon2::{Argon2, PasswordVerifier};
use octroi_policy::text;
use tokio::sync::Semaphore;

use super::material::{Material, Refusal};

/// A file of argon2id hashes.
pub struct Passwords {
    hashes: BTreeMap<String, String>,
    /// Over all listeners and readings of files: what hashing may take of the machine.
    checks: Arc<Semaphore>,
    key: [u8; blake3::KEY_LEN],
    /// A user's right password, as a digest. A lock, because sessions look it up; held for a map operation.
    /// As many as the file has users, at most.
    right: Mutex<BTreeMap<String, blake3::Hash>>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Passwords({} users)", self.hashes.len())
    }
}

impl Passwords {
    /// Reads lines `user:$argon2id$…`; empty lines and `#` comments are skipped.
    ///
    /// # Errors
    /// A line is none, or names a user again; or there is no randomness.
    pub fn load(file: &Material, checks: &Arc<Semaphore>) -> Result<Self, Refusal> {
        let path = file.path().display();
        let utf8 = std::str::from_utf8(file.bytes()?);
        let text = utf8.map_err(|_| bad_line(file, 1))?;
        let mut hashes = BTreeMap::new();
        for (n, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = || bad_line(file, n + 1);
            let (user, hash) = line.split_once(':').ok_or_else(bad)?;
            let parsed = PasswordHash::new(hash.trim()).map_err(|_| bad())?;
            if parsed.algorithm.as_str() != "argon2id" || user.is_empty() {
                return Err(bad());
            }
            if hashes.insert(user.to_owned(), hash.trim().to_owned()).is_some() {
                let what = text!("`{path}` names `{user}` twice", "`{path}` nomme « {user} » deux fois");
                let mend = text!("leave one line for each user", "ne laissez qu'une ligne par utilisateur");
                return Err(Refusal { what, mend, by_time: false });
            }
        }
        let mut key = [0; blake3::KEY_LEN];
        getrandom::fill(&mut key).map_err(|error| Refusal {
            what: text!(
                "the machine gives no random bytes ({error})",
                "la machine ne fournit pas d'aléa ({error})"
            ),
            mend: text!("look into its kernel's log", "consultez le journal du noyau"),
            by_time: false,
        })?;
        Ok(Self { hashes, checks: Arc::clone(checks), key, right: Mutex::default() })
    }

    /// The line of a user: it stands for its password.
    #[must_use]
    pub fn hash_of(&self, user: &str) -> Option<&str> {
        self.hashes.get(user).map(String::as_str)
    }

    /// Whether that is the user's password.
    pub async fn verify(self: &Arc<Self>, user: &str, password: &[u8]) -> bool {
        let digest = self.digest(user, password);
        if self.remembered(user, &digest) {
            return true;
        }
        let Ok(_slot) = self.checks.acquire().await else { return false };
        let (this, name, password) = (Arc::clone(self), user.to_owned(), password.to_vec());
        let matches = tokio::task::spawn_blocking(move || this.hash_and_compare(&name, &password)).await;
        if matches!(matches, Ok(true)) {
            let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            right.insert(user.to_owned(), digest);
        }
        matches.unwrap_or(false)
    }

    /// One hash, of an unknown user too.
    fn hash_and_compare(&self, user: &str, password: &[u8]) -> bool {
        let known = self.hashes.get(user);
        let hash = known.or(self.hashes.values().next()).and_then(|hash| PasswordHash::new(hash).ok());
        let matches = hash.is_some_and(|hash| Argon2::default().verify_password(password, &hash).is_ok());
        matches && known.is_some()
    }

    fn digest(&self, user: &str, password: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(user.len() as u64).to_le_bytes()).update(user.as_bytes()).update(password);
        hasher.finalize()
    }

    /// Digests are compared in constant time, by `blake3`.
    fn remembered(&self, user: &str, digest: &blake3::Hash) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(user).is_some_and(|right| right == digest)
    }
}

fn bad_line(file: &Material, line: usize) -> Refusal {
    let path = file.path().display();
    Refusal {
        what: text!(
            "line {line} of `{path}` is no `user:$argon2id$…`",
            "la ligne {line} de `{path}` n'est pas de la forme `utilisateur:$argon2id$…`"
        ),
        mend: text!(
            "make one with the `argon2` tool: `argon2 SALT -id -e`",
            "produisez-la avec l'outil `argon2` : `argon2 SEL -id -e`"
        ),
        by_time: false,
    }
}

/// Makes a line of the password file. `salt` is 16 random bytes.
///
/// # Errors
/// The hash cannot be made.
pub fn password_line(user: &str, password: &[u8], salt: &[u8; 16]) -> Result<String, password_hash::Error> {
    let salt = SaltString::encode_b64(salt)?;
    Ok(format!("{user}:{}", Argon2::default().hash_password(password, &salt)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn passwords(lines: &str) -> Result<Arc<Passwords>, Refusal> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        Passwords::load(&Material::read(file.path()), &Arc::new(Semaphore::new(1))).map(Arc::new)
    }

    fn of_lns() -> Arc<Passwords> {
        let line = password_line("lns", b"secret", &[7; 16]).unwrap();
        passwords(&format!("# sensors\n\n{line}\n")).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_taken() {
        let passwords = of_lns();
        for round in 0..2 {
            assert!(passwords.verify("lns", b"secret").await, "round {round}");
            assert!(!passwords.verify("lns", b"Secret").await);
            assert!(!passwords.verify("lnssecret", b"").await);
            assert!(!passwords.verify("other", b"secret").await);
        }
    }

    /// While the one slot for hashing is taken, only what needs no hash gets an answer.
    #[tokio::test]
    async fn a_right_password_is_hashed_once_and_a_wrong_one_every_time() {
        let passwords = of_lns();
        let answers = async |user: &str, password: &[u8]| {
            let _busy = passwords.checks.acquire().await.unwrap();
            timeout(Duration::from_millis(50), passwords.verify(user, password)).await.ok()
        };
        assert_eq!(answers("lns", b"secret").await, None, "nothing is remembered yet");
        assert!(passwords.verify("lns", b"secret").await);
        assert_eq!(answers("lns", b"secret").await, Some(true));
        assert!(!passwords.verify("lns", b"wrong").await);
        for (user, password) in [("lns", &b"wrong"[..]), ("lns", b""), ("other", b"secret")] {
            assert_eq!(answers(user, password).await, None, "{user}");
        }
    }

    #[tokio::test]
    async fn another_reading_of_the_file_remembers_nothing_and_knows_digests_by_another_key() {
        let (one, other) = (of_lns(), of_lns());
        assert!(one.verify("lns", b"secret").await);
        assert!(!other.remembered("lns", &other.digest("lns", b"secret")));
        assert_ne!(one.digest("lns", b"secret"), other.digest("lns", b"secret"));
    }

    #[test]
    fn a_line_that_is_no_argon2id_hash_or_names_a_user_again_is_named() {
        for line in ["lns", "lns:secret", ":$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA"] {
            let error = passwords(&format!("# first\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
        let line = password_line("lns", b"secret", &[7; 16]).unwrap();
        let error = passwords(&format!("{line}\n{line}\n")).unwrap_err().to_string();
        assert!(error.contains("names `lns` twice"), "{error}");
    }
}
