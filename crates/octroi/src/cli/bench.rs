//! `octroi bench`

use std::path::PathBuf;

use clap::Args;

/// `octroi bench`
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// The broker, `127.0.0.1:1883`.
    #[arg(long, default_value = "127.0.0.1:1883")]
    pub broker: String,
    /// Connections.
    #[arg(long, default_value_t = 50)]
    pub connections: usize,
    /// Publishes in flight per connection, QoS 1 and 2.
    #[arg(long, default_value_t = 100)]
    pub window: usize,
    /// Payload bytes.
    #[arg(long, default_value_t = 200)]
    pub size: usize,
    /// Messages in all.
    #[arg(long, default_value_t = 1_000_000)]
    pub messages: u64,
    /// QoS 0, 1 or 2.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: u8,
    /// MQTT 5 instead of 3.1.1.
    #[arg(long)]
    pub v5: bool,
    /// User name of every connection (the source's id on a `username-only` listener).
    #[arg(long, default_value = "ville-mobilite")]
    pub user: String,
    /// A file with the password of every connection; its last line break is left out.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Topic; `{c}` is the connection's number.
    #[arg(long, default_value = "ville/mobilite/c{c}/count")]
    pub topic: String,
    /// Topics instead, one a line: connections share them.
    #[arg(long, value_name = "FILE", conflicts_with = "topic")]
    pub topics: Option<PathBuf>,
    /// The sources of a policy instead, each with topics of its own: connections take them in turn. The payload
    /// stays what it is, so most of it is quarantined.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["topic", "topics", "user"])]
    pub policy: Option<PathBuf>,
    /// TLS: the authority that vouches for the broker, PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The name that the broker's certificate must carry; default: its address.
    #[arg(long, requires = "tls_ca")]
    pub tls_name: Option<String>,
    /// The certificate to show, PEM.
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Messages per second in all; default: as fast as acks come.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
}
