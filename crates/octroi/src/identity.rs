//! Who a client is. Settled once, at CONNECT, from what the connection proves:
//! a certificate, a password, or (on loopback) a user name. Client id, topic
//! and properties are claims and count for nothing here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use argon2::password_hash::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use octroi_mqtt::Connect;
use tokio::sync::Semaphore;

use crate::config::IdentifyBy;
use crate::limits;

/// How a listener identifies its clients.
#[derive(Clone, Debug)]
pub enum Identify {
    /// By the certificate that TLS verified.
    Certificate,
    /// By user name and password.
    Password(Arc<Passwords>),
    /// By user name alone; loopback.
    UsernameOnly,
}

/// The password file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordsError {
    /// It cannot be read.
    #[error("cannot read the password file `{path}`")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is none.
    #[error(
        "line {line} of `{path}` is no `user:$argon2id$…`; make one with the `argon2` tool: `argon2 SALT -id -e`"
    )]
    Line {
        /// Which file.
        path: String,
        /// From 1.
        line: usize,
    },
}

/// A file of argon2id hashes.
#[derive(Debug)]
pub struct Passwords {
    hashes: BTreeMap<String, String>,
    checks: Semaphore,
}

impl Passwords {
    /// Reads lines `user:$argon2id$…`; empty lines and `#` comments are skipped.
    ///
    /// # Errors
    /// See [`PasswordsError`].
    pub fn read(path: &Path) -> Result<Self, PasswordsError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| PasswordsError::Read { path: name.clone(), source })?;
        let mut hashes = BTreeMap::new();
        for (n, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = || PasswordsError::Line { path: name.clone(), line: n + 1 };
            let (user, hash) = line.split_once(':').ok_or_else(bad)?;
            let parsed = PasswordHash::new(hash.trim()).map_err(|_| bad())?;
            if parsed.algorithm.as_str() != "argon2id" || user.is_empty() {
                return Err(bad());
            }
            hashes.insert(user.to_owned(), hash.trim().to_owned());
        }
        Ok(Self { hashes, checks: Semaphore::new(limits::PASSWORD_CHECKS) })
    }

    /// Whether that is the user's password. Hashing takes tens of milliseconds: it happens on a thread of
    /// its own, a few at once. An unknown user costs the same as a wrong password.
    async fn verify(self: &Arc<Self>, user: String, password: Vec<u8>) -> bool {
        let Ok(_slot) = self.checks.acquire().await else { return false };
        let this = Arc::clone(self);
        let verified = tokio::task::spawn_blocking(move || {
            let known = this.hashes.get(&user);
            let hash = known.or(this.hashes.values().next()).and_then(|hash| PasswordHash::new(hash).ok());
            let matches =
                hash.is_some_and(|hash| Argon2::default().verify_password(&password, &hash).is_ok());
            matches && known.is_some()
        });
        verified.await.unwrap_or(false)
    }
}

impl Identify {
    /// From the configuration.
    ///
    /// # Errors
    /// The password file cannot be used.
    pub fn prepare(by: &IdentifyBy) -> Result<Self, PasswordsError> {
        Ok(match by {
            IdentifyBy::Certificate => Self::Certificate,
            IdentifyBy::Password(path) => Self::Password(Arc::new(Passwords::read(path)?)),
            IdentifyBy::UsernameOnly => Self::UsernameOnly,
        })
    }

    /// The identities that this CONNECT proves, the preferred first; empty: none. `certificate` is what TLS
    /// verified.
    pub async fn identities(&self, connect: &Connect, certificate: &[String]) -> Vec<String> {
        match self {
            Self::Certificate => certificate.to_vec(),
            Self::UsernameOnly => connect.user_name.iter().map(|user| format!("id:{user}")).collect(),
            Self::Password(passwords) => {
                let (Some(user), Some(password)) = (&connect.user_name, &connect.password) else {
                    return Vec::new();
                };
                let matches = passwords.verify(user.clone(), password.to_vec()).await;
                if matches { vec![format!("user:{user}")] } else { Vec::new() }
            }
        }
    }
}

/// Makes a line of the password file. `salt` is 16 random bytes.
///
/// # Errors
/// The hash cannot be made.
pub fn password_line(
    user: &str,
    password: &[u8],
    salt: &[u8; 16],
) -> Result<String, argon2::password_hash::Error> {
    use argon2::PasswordHasher;
    let salt = argon2::password_hash::SaltString::encode_b64(salt)?;
    Ok(format!("{user}:{}", Argon2::default().hash_password(password, &salt)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let line = password_line("lns", b"secret", &[7; 16]).unwrap();
        std::fs::write(&path, format!("# sensors\n\n{line}\n")).unwrap();
        let passwords = Arc::new(Passwords::read(&path).unwrap());
        assert!(passwords.verify("lns".into(), b"secret".to_vec()).await);
        assert!(!passwords.verify("lns".into(), b"Secret".to_vec()).await);
        assert!(!passwords.verify("other".into(), b"secret".to_vec()).await);
    }

    #[test]
    fn a_line_that_is_no_argon2id_hash_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        for line in ["lns", "lns:secret", ":$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA"] {
            std::fs::write(&path, format!("# first\n{line}\n")).unwrap();
            let error = Passwords::read(&path).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
