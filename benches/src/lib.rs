//! What the benches share: the disk they run on, the servers they start, the
//! load they put on them, and how figures are compared.
//!
//! Nothing here is part of the product, and nothing here knows its insides:
//! a hub is a process with a configuration, `/metrics` and an archive. Only
//! `journal.rs` calls a crate of it, by its public interface.
//!
//! INVARIANT: only processes that were started here are ended, by their pid.

use std::error::Error;

pub mod disk;
pub mod http;
pub mod hub;
pub mod journal;
pub mod load;
pub mod peer;
pub mod process;
pub mod report;

/// What can go wrong in a bench ends it, with a sentence.
pub type Outcome<T> = Result<T, Box<dyn Error>>;
