//! Exit codes as a type: what a script, a unit file or a pager may rely on.
//! Numbers after `sysexits.h` where one fits.

use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A finding, or a failed test.
    Finding = 1,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// A peer cannot be reached (`EX_UNAVAILABLE`).
    Unreachable = 69,
    /// Input or output failed (`EX_IOERR`); the hub stops and recovers at the next start.
    Io = 74,
    /// Another process holds the journal (`EX_TEMPFAIL`).
    Locked = 75,
    /// Not permitted (`EX_NOPERM`).
    NotPermitted = 77,
    /// The configuration or the policy is wrong (`EX_CONFIG`).
    Config = 78,
}

impl Exit {
    /// Every code with what it means: the README's table.
    pub const TABLE: &'static [(Self, &'static str)] = &[
        (Self::Ok, "done"),
        (Self::Finding, "a finding, or a failed test"),
        (Self::Usage, "the command line is wrong"),
        (Self::Unreachable, "a hub or broker cannot be reached"),
        (Self::Io, "input or output failed; the hub recovers at the next start"),
        (Self::Locked, "another process holds the journal"),
        (Self::NotPermitted, "not permitted"),
        (Self::Config, "the configuration or the policy is wrong"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with the code the process ends with.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What went wrong, with its causes; printed once, by `main`.
    pub error: anyhow::Error,
}

impl Failure {
    /// That error, with that code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }
}

/// Gives an error its exit code where it happens.
pub trait OrExit<T> {
    /// Ends the process with `exit` on an error.
    ///
    /// # Errors
    /// The error, with its code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }
}
