//! Pseudonyms and identifiers of copies: HMAC-SHA-256, 128 bits of it.
//!
//! INVARIANT: each part is length-prefixed, so that no two lists of parts give
//! the same bytes.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A key for pseudonyms, as the caller resolved its reference. A clone shares it.
#[derive(Clone)]
pub struct PseudonymKey(Arc<Keyed>);

struct Keyed {
    id: String,
    secret: Vec<u8>,
    /// HMAC with the secret taken in; `None`: the key cannot be used.
    mac: Option<Hmac<Sha256>>,
}

impl PartialEq for PseudonymKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.id, &self.0.secret) == (&other.0.id, &other.0.secret)
    }
}

impl Eq for PseudonymKey {}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PseudonymKey").field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl PseudonymKey {
    /// A key that can be used has an id of 1 to 16 of `a-z0-9`, which is shown in each pseudonym, and a secret
    /// of at least 16 bytes.
    #[must_use]
    pub fn new(id: &str, secret: &[u8]) -> Self {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let usable = secret.len() >= 16 && (1..=16).contains(&id.len()) && id.bytes().all(plain);
        let mac = usable.then(|| Hmac::new_from_slice(secret).ok()).flatten();
        Self(Arc::new(Keyed { id: id.to_owned(), secret: secret.to_vec(), mac }))
    }

    /// The key of this id whose secret is this one's and `more`.
    #[must_use]
    pub fn extended(&self, more: &[u8]) -> Self {
        Self::new(&self.0.id, &[&self.0.secret, more].concat())
    }

    /// Whether it is long enough and has an id that can be shown.
    pub(super) fn is_usable(&self) -> bool {
        self.0.mac.is_some()
    }

    /// 32 hexadecimal digits that stand for these parts; none from a key that cannot be used.
    pub(super) fn digest(&self, parts: &[&str]) -> String {
        let mut hex = String::with_capacity(32);
        let Some(mut mac) = self.0.mac.clone() else { return hex };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let digest = mac.finalize().into_bytes();
        let halves = digest.iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]);
        hex.extend(halves.filter_map(|half| char::from_digit(half.into(), 16)));
        hex
    }

    /// `p1-<key id>-<32 hexadecimal digits>`.
    pub(super) fn pseudonym(&self, parts: &[&str; 5]) -> String {
        ["p1-", &self.0.id, "-", &self.digest(parts)].concat()
    }
}
