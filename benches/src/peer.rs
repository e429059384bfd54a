//! Brokers that get the same load: nothing decided, nothing stored, one
//! subscriber of everything.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::hub::free_address;
use crate::load::{self, Load};
use crate::mosquitto::{Keeps, Mosquitto};
use crate::process::Process;
use crate::report::Run;
use crate::{Outcome, beside};

const READ: Duration = Duration::from_secs(300);
const STOPPED: Duration = Duration::from_secs(10);

/// One run of a fresh rumqttd, by `rumqttd_peer`, which is beside this program; `read` is when its one link has read the last message.
///
/// # Errors
/// It does not do the work, whole.
pub fn rumqttd(octroi: &Path, directory: &Path, load: &Load) -> Outcome<Run> {
    let address = free_address()?;
    let mut command = Command::new(beside("rumqttd_peer"));
    command.arg(address.port().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process::start("rumqttd", &mut command, &directory.join("rumqttd.log"))?;
    let mut stdin = process.child.stdin.take().ok_or("the peer has no stdin")?;
    let mut stdout = BufReader::new(process.child.stdout.take().ok_or("the peer has no stdout")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    if line.trim() != "ready" {
        return Err(format!("rumqttd is not ready: {line}").into());
    }
    let cpu = process.cpu()?;
    let seen = load::put(octroi, load, address, &process, &directory.join("bench.log"))?;
    let mut read = 0;
    let waited = process.wait_until("end of the local link's reading", READ, || {
        read = count(&mut stdin, &mut stdout).unwrap_or(0);
        read >= load.messages
    });
    waited.map_err(|error| format!("{error}\nthe local link has read {read} of {}", load.messages))?;
    let behind = SystemTime::now().duration_since(seen.acknowledged).unwrap_or_default();
    let run = Run {
        name: "rumqttd",
        messages: load.messages,
        acked_seconds: seen.seconds,
        delivered_seconds: seen.seconds + behind.as_secs_f64(),
        server_cpu: (seen.server_cpu - cpu, process.cpu()? - cpu),
        generator_cpu: seen.generator_cpu,
        ack_us: seen.ack_us,
        peak_mib: process.peak_mib()?,
        backlog: None,
    };
    drop(stdin);
    process.wait_for_end(STOPPED)?;
    Ok(run)
}

fn count(stdin: &mut ChildStdin, stdout: &mut BufReader<ChildStdout>) -> Outcome<u64> {
    stdin.write_all(b"\n")?;
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    Ok(line.trim().parse()?)
}

/// One run of a fresh mosquitto, with `mosquitto_sub` reading everything at QoS 0 in a process of its own,
/// which is not counted.
///
/// # Errors
/// It does not do the work, whole.
pub fn mosquitto(octroi: &Path, mosquitto: &Path, directory: &Path, load: &Load) -> Outcome<Run> {
    let broker = Mosquitto::start(mosquitto, directory, Keeps::Nothing)?;
    let (address, process) = (broker.address, &broker.process);
    let mut command = Command::new("mosquitto_sub");
    // It ends by itself once it has read the last message.
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-t", "#", "-q", "0", "-F", "%m"]);
    command.args(["-C", &load.messages.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
    let subscriber = Process::start("mosquitto_sub", &mut command, &directory.join("mosquitto_sub.log"))?;
    std::thread::sleep(Duration::from_millis(300));
    let cpu = process.cpu()?;
    let seen = load::put(octroi, load, address, process, &directory.join("bench.log"))?;
    subscriber.wait_for_end(READ)?;
    let behind = SystemTime::now().duration_since(seen.acknowledged).unwrap_or_default();
    let run = Run {
        name: "mosquitto",
        messages: load.messages,
        acked_seconds: seen.seconds,
        delivered_seconds: seen.seconds + behind.as_secs_f64(),
        server_cpu: (seen.server_cpu - cpu, process.cpu()? - cpu),
        generator_cpu: seen.generator_cpu,
        ack_us: seen.ack_us,
        peak_mib: process.peak_mib()?,
        backlog: None,
    };
    broker.process.stop(STOPPED)?;
    Ok(run)
}
