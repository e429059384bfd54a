//! The load: `octroi bench`, the same program with the same arguments against
//! every server, so that whatever it costs, it costs both sides.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::Value;

use crate::Outcome;
use crate::process::{Process, children_cpu};

/// What to put on a server.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// QoS 1 publishes in flight per connection.
    pub window: usize,
    /// Payload bytes.
    pub size: usize,
    /// Messages in all.
    pub messages: u64,
    /// Messages per second; `None`: as fast as acks come.
    pub rate: Option<u64>,
}

impl Load {
    /// The reference work.
    pub const W1: Self = Self { connections: 50, window: 100, size: 200, messages: 1_000_000, rate: None };
}

/// What the generator saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// From the first publish to the last PUBACK, seconds.
    pub seconds: f64,
    /// When the generator told of the last PUBACK.
    pub acknowledged: SystemTime,
    /// CPU seconds of the server at that moment.
    pub server_cpu: f64,
    /// CPU seconds of the generator.
    pub generator_cpu: f64,
    /// Ack latency, µs: median, 99th percentile.
    pub ack_us: (u64, u64),
}

/// Puts `load` on `server` and waits for the last PUBACK.
///
/// # Errors
/// The generator fails, or a message was not accepted.
pub fn put(octroi: &Path, load: &Load, broker: SocketAddr, server: &Process, log: &Path) -> Outcome<Seen> {
    put_on(&["--topic", "ville/mobilite/c{c}/count"].map(OsStr::new), octroi, load, broker, server, log)
}

/// [`put`], on topics as `octroi bench` is told them.
///
/// # Errors
/// As [`put`].
pub fn put_on(
    topics: &[&OsStr],
    octroi: &Path,
    load: &Load,
    broker: SocketAddr,
    server: &Process,
    log: &Path,
) -> Outcome<Seen> {
    let mut command = Command::new(octroi);
    command
        .args(["bench", "--output", "json", "--user", "ville-mobilite"])
        .args(topics)
        .args(["--broker", &broker.to_string()])
        .args(["--connections", &load.connections.to_string()])
        .args(["--window", &load.window.to_string()])
        .args(["--size", &load.size.to_string()])
        .args(["--messages", &load.messages.to_string()]);
    if let Some(rate) = load.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let before = children_cpu()?;
    let mut generator = Process::start("the generator", command.stdout(Stdio::piped()), log)?;
    let mut output = BufReader::new(generator.child.stdout.take().ok_or("the generator has no stdout")?);
    let mut text = String::new();
    output.read_line(&mut text)?;
    let (acknowledged, server_cpu) = (SystemTime::now(), server.cpu()?);
    output.read_to_string(&mut text)?;
    let status = generator.child.wait()?;
    let generator_cpu = children_cpu()? - before;
    let answer: Value = serde_json::from_str(&text).map_err(|error| {
        let log = std::fs::read_to_string(log).unwrap_or_default();
        format!("the generator ({status}) did not answer in JSON: {error}\n{text}{log}")
    })?;
    let count =
        |path: &str| answer.pointer(path).and_then(Value::as_u64).ok_or(format!("no `{path}`: {text}"));
    let (accepted, refused) = (count("/accepted")?, count("/refused")?);
    if !status.success() || accepted != load.messages {
        return Err(format!("{accepted} of {} accepted, {refused} refused ({status})", load.messages).into());
    }
    Ok(Seen {
        seconds: answer.get("seconds").and_then(Value::as_f64).ok_or("no `seconds`")?,
        acknowledged,
        server_cpu,
        generator_cpu,
        ack_us: (count("/ack_us/p50")?, count("/ack_us/p99")?),
    })
}
