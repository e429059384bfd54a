//! One test binary for all that crosses crates. Tests that load the machine
//! hold `needs::exclusive()`; what a machine lacks is listed, never skipped in
//! silence (see `octroi_tests::needs`).

mod aggregates;
mod cli;
mod clients;
mod deploy;
mod evasion;
mod guide;
mod instrument;
mod journal;
mod kafka;
mod kill;
mod metrics;
mod outage;
mod pages;
mod policy;
mod routes;
mod side_logs;
mod stop;
mod tidy;
