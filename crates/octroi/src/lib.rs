//! Octroi: the hub and its command line.
//!
//! Start at `pipeline.rs`: it is the data path, both halves. `server.rs` puts
//! the parts together; `cmd/` holds one file a command. ARCHITECTURE.md, at the
//! root of the repository, has the map and the invariants.

pub mod admin;
pub mod admission;
pub mod aggregator;
pub mod backlog;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod cmd;
pub mod committer;
pub mod config;
pub mod duplex;
mod durable;
pub mod exit;
pub mod fail_point;
pub mod flows;
pub mod gate;
pub mod handshakes;
pub mod identity;
pub mod intake;
pub mod keeper;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod listener;
pub mod load;
pub mod metrics;
pub mod outlet;
pub mod patience;
pub mod pipeline;
pub mod policies;
pub mod quota;
pub mod record;
pub mod release;
pub mod server;
pub mod session;
pub mod sessions;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod tls;
pub mod usage;
pub mod websocket;
pub mod words;
