//! What the benches share: the disk they run on, the servers they start, the
//! load they put on them, and how figures are compared.
//!
//! Nothing here is part of the product, and nothing here knows its insides:
//! a hub is a process with a configuration, `/metrics` and an archive. Only
//! `journal.rs` and `counted.rs` call crates of it, by their public interface.
//!
//! INVARIANT: only processes that were started here are ended, by their pid.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

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
pub mod tls;

/// What can go wrong in a bench ends it, with a sentence.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A program beside the one that runs.
pub fn beside(name: &str) -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name(name)
}

/// How a bench ends: what went wrong is said.
pub fn ended(name: &str, outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
