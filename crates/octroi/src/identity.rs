//! Who a client is. Settled once, at CONNECT, from what the connection proves:
//! a certificate, a password, or (on loopback) a user name. Client id, topic
//! and properties are claims and count for nothing here.
//!
//! What proves it stands in files, which may change while the hub runs
//! (`identity/credentials.rs`); a client that is connected is held to what
//! stands there now (`identity/standing.rs`).

pub mod credentials;
pub mod material;
pub mod passwords;
pub mod standing;
pub mod watcher;

#[cfg(test)]
mod tests;
