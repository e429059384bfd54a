//! What a journal is told about itself.

use crate::error::OptionsError;
use crate::format::HUB_BYTES;

/// Least size of a segment.
pub const MIN_SEGMENT_BYTES: u64 = 8 << 10;
/// Most: offsets and state frames stay far below 4 GiB.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// Limits of one journal, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The hub's id: 1 to 32 visible ASCII characters without `/`.
    pub hub: String,
    /// Size of a segment, preallocated; at most a 16th of the limit.
    pub segment_bytes: u64,
    /// Bytes on disk at which records are refused, the reserve included. Cursors go on: they may start
    /// a segment beyond it.
    pub limit_bytes: u64,
    /// Bytes kept in a file for cursors on a full disk, at least one segment.
    pub reserve_bytes: u64,
}

impl Options {
    /// The options, if they can work.
    pub fn checked(self) -> Result<Options, OptionsError> {
        let visible = self.hub.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if self.hub.is_empty() || self.hub.len() > HUB_BYTES || !visible {
            return Err(OptionsError::Hub(self.hub));
        }
        let max = (self.limit_bytes / 16).min(MAX_SEGMENT_BYTES);
        if !(MIN_SEGMENT_BYTES..=max).contains(&self.segment_bytes) {
            return Err(OptionsError::Segment { found: self.segment_bytes, min: MIN_SEGMENT_BYTES, max });
        }
        let (min, max) = (self.segment_bytes, self.limit_bytes / 4);
        if !(min..=max).contains(&self.reserve_bytes) {
            return Err(OptionsError::Reserve { found: self.reserve_bytes, min, max });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(hub: &str, segment: u64, limit: u64, reserve: u64) -> Options {
        Options { hub: hub.to_owned(), segment_bytes: segment, limit_bytes: limit, reserve_bytes: reserve }
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        let (k8, k128) = (8 << 10, 128 << 10);
        assert!(options("hub-1", k8, k128, k8).checked().is_ok());
        for bad in [
            options("", k8, k128, k8),
            options("a/b", k8, k128, k8),
            options("é", k8, k128, k8),
            options(&"x".repeat(33), k8, k128, k8),
            options("hub-1", k8 - 1, k128, k8),
            options("hub-1", k8 + 1, k128, k8 + 1),
            options("hub-1", k8, k128, k8 - 1),
            options("hub-1", k8, k128, 4 * k8 + 1),
        ] {
            assert!(bad.clone().checked().is_err(), "{bad:?}");
        }
    }
}
