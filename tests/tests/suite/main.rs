//! One test binary for all that crosses crates. Tests that load the machine
//! hold `needs::exclusive()`; what a machine lacks is listed, never skipped in
//! silence (see `octroi_tests::needs`).

mod aggregates;
mod backlog;
mod bench;
mod broker;
mod cli;
mod clients;
mod conformance;
mod crowd;
mod deploy;
mod evasion;
mod fairness;
mod fire;
mod full;
mod guide;
mod hostile;
mod identities;
mod index;
mod instrument;
mod journal;
mod kafka;
mod kill;
mod lapses;
mod metrics;
mod outage;
mod outlets;
mod pages;
mod policy;
mod qos2;
mod refusals;
mod rolling;
mod routes;
mod schema;
mod side_logs;
mod stop;
mod tidy;
mod wills;
