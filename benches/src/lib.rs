//! What the benches share: the disk they run on, the servers they start, the
//! load they put on them, and how figures are compared.
//!
//! Nothing here is part of the product, and nothing here knows its insides:
//! a hub is a process with a configuration, `/metrics` and an archive. Only
//! `journal.rs` and `counted.rs` call crates of it, by their public interface.
//!
//! INVARIANT: only processes that were started here are ended, by their pid.

use std::error::Error;

pub mod contest;
pub mod counted;
pub mod disk;
pub mod growth;
pub mod http;
pub mod hub;
pub mod journal;
pub mod kafka;
pub mod load;
pub mod machine;
pub mod mosquitto;
pub mod peer;
pub mod pipeline;
pub mod plot;
pub mod policy;
pub mod process;
pub mod report;

/// What can go wrong in a bench ends it, with a sentence.
pub type Outcome<T> = Result<T, Box<dyn Error>>;
