//! The outside of Octroi: what the end-to-end tests are written with.
//!
//! Nothing here links the product. The hub is the real binary ([`hub`]), its
//! publishers are a plain MQTT client of our own ([`load`]) and mosquitto's,
//! its Kafka is Apache Kafka ([`kafka`]), and the judge ([`oracle`]) knows
//! only what was published, what was acknowledged, and what an independent
//! consumer found on the targets.

pub mod archive;
pub mod delivered;
pub mod golden;
pub mod hub;
pub mod kafka;
pub mod load;
pub mod metrics;
pub mod mosquitto;
pub mod needs;
pub mod oracle;
pub mod peer;
pub mod policy;
pub mod probe;
pub mod process;
pub mod report;

use std::path::{Path, PathBuf};

/// What is fetched once is kept here: `OCTROI_TEST_CACHE`, else `target/test-cache` of the repository.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("OCTROI_TEST_CACHE").map_or_else(|| root().join("target/test-cache"), PathBuf::from)
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}
