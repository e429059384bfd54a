//! Pseudonyms and identifiers of copies: HMAC-SHA-256, 128 bits of it.
//!
//! INVARIANT: each part is length-prefixed, so that no two lists of parts give
//! the same bytes.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A key for pseudonyms, as the caller resolved its reference.
#[derive(Clone, PartialEq, Eq)]
pub struct PseudonymKey {
    /// Which key: 1 to 16 of `a-z0-9`. It is shown in each pseudonym.
    pub id: String,
    /// At least 16 bytes.
    pub secret: Vec<u8>,
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PseudonymKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PseudonymKey {
    /// Whether it is long enough and has an id that can be shown.
    pub(super) fn is_usable(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        self.secret.len() >= 16 && (1..=16).contains(&self.id.len()) && self.id.bytes().all(plain)
    }

    /// 32 hexadecimal digits that stand for these parts.
    pub(super) fn digest(&self, parts: &[&str]) -> String {
        let mut hex = String::with_capacity(32);
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else { return hex };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        for byte in mac.finalize().into_bytes().iter().take(16) {
            hex.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
        }
        hex
    }

    /// `p1-<key id>-<32 hexadecimal digits>`.
    pub(super) fn pseudonym(&self, parts: &[&str; 5]) -> String {
        ["p1-", &self.id, "-", &self.digest(parts)].concat()
    }
}
