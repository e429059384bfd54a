//! One broker of Apache Kafka, from the jars that the tests fetch, with the
//! settings it ships with: this is the end of every pipeline, and the same for
//! all. How much has arrived is asked of it by kcat, which shares no code with
//! any of them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::Outcome;
use crate::hub::free_address;
use crate::process::Process;

/// Of every topic: enough for a producer to have several batches in flight.
const PARTITIONS: usize = 4;
const READY: Duration = Duration::from_secs(120);
/// How often it is asked how much has arrived.
const LOOK: Duration = Duration::from_millis(100);
/// What has not arrived this long after the last that did is missing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sixteen bytes in URL-safe base64, as Kafka wants them.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qk";

/// A broker that runs.
#[derive(Debug)]
pub struct Kafka {
    libs: PathBuf,
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Kafka {
    /// Formats and starts one in `directory`, which must not exist; `libs` holds the jars.
    ///
    /// # Errors
    /// No Java, no jars, or it does not serve in time.
    pub fn start(libs: &Path, directory: &Path) -> Outcome<Self> {
        fs::create_dir(directory)?;
        let (address, controller) = (free_address()?, free_address()?);
        let properties = directory.join("server.properties");
        fs::write(&properties, configuration(address, controller, &directory.join("data")))?;
        let path = properties.display().to_string();
        tool(libs, "kafka.tools.StorageTool", &["format", "-t", CLUSTER, "-c", &path])?;
        let mut command = java(libs, "-Xmx1g");
        command.arg("kafka.Kafka").arg(&properties).stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = Process::start("Kafka", &mut command, &directory.join("kafka.log"))?;
        let broker = address.to_string();
        process.wait_until("metadata of it", READY, || kcat(&["-L", "-m", "2", "-b", &broker]).is_ok())?;
        Ok(Self { libs: libs.to_path_buf(), process, address })
    }

    /// Creates a topic, and waits until it serves.
    ///
    /// # Errors
    /// The tool's; or it does not serve in time.
    pub fn create(&mut self, topic: &str) -> Outcome<()> {
        let (address, partitions) = (self.address.to_string(), PARTITIONS.to_string());
        let create =
            ["--bootstrap-server", &address, "--create", "--topic", topic, "--partitions", &partitions];
        tool(&self.libs, "org.apache.kafka.tools.TopicCommand", &create)?;
        self.process.wait_until("leaders of a new topic", READY, || records(&address, topic).is_ok())
    }

    /// How many records a topic holds.
    ///
    /// # Errors
    /// It does not say.
    pub fn records(&self, topic: &str) -> Outcome<u64> {
        records(&self.address.to_string(), topic)
    }

    /// Waits until a topic holds so many records, or no more arrive: how many it holds, and since when.
    ///
    /// # Errors
    /// It does not say.
    pub fn arrivals(&self, topic: &str, awaited: u64) -> Outcome<(u64, SystemTime)> {
        let (mut arrived, mut at, mut since) = (self.records(topic)?, SystemTime::now(), Instant::now());
        while arrived < awaited && since.elapsed() < PATIENCE {
            thread::sleep(LOOK);
            let now = self.records(topic)?;
            if now > arrived {
                (arrived, at, since) = (now, SystemTime::now(), Instant::now());
            }
        }
        Ok((arrived, at))
    }

    /// CPU seconds of it so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Outcome<f64> {
        self.process.cpu()
    }
}

fn configuration(address: SocketAddr, controller: SocketAddr, data: &Path) -> String {
    let data = data.display();
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{address}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@{controller}\n\
         log.dirs={data}\nauto.create.topics.enable=false\noffsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
    )
}

fn records(address: &str, topic: &str) -> Outcome<u64> {
    let mut arguments = vec!["-Q".to_owned(), "-b".to_owned(), address.to_owned()];
    for partition in 0..PARTITIONS {
        arguments.extend(["-t".to_owned(), format!("{topic}:{partition}:-1")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    end_offsets(&kcat(&arguments)?)
}

fn java(libs: &Path, memory: &str) -> Command {
    let mut command = Command::new("java");
    command.args([memory, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
    command.arg(format!("{}/*", libs.display()));
    command
}

fn tool(libs: &Path, class: &str, arguments: &[&str]) -> Outcome<()> {
    let mut command = java(libs, "-Xmx256m");
    // Starts faster.
    said(class, command.args(["-XX:TieredStopAtLevel=1", class].iter().chain(arguments)))?;
    Ok(())
}

fn kcat(arguments: &[&str]) -> Outcome<String> {
    said("kcat", Command::new("kcat").args(arguments))
}

/// What a command printed, or why it failed.
fn said(name: &str, command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|error| format!("cannot start {name}: {error}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!("{name} ({}): {}", output.status, String::from_utf8_lossy(&said)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The sum of what `kcat -Q` prints: `topic [partition] offset N`, a line each.
fn end_offsets(text: &str) -> Outcome<u64> {
    let mut sum = 0;
    for line in text.lines().filter(|line| line.contains(" offset ")) {
        let (_, offset) = line.rsplit_once(' ').ok_or("kcat prints no offset")?;
        sum += offset.parse::<u64>().map_err(|error| format!("kcat prints `{line}`: {error}"))?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_offsets_of_all_partitions_are_added_up() {
        assert_eq!(end_offsets("t [0] offset 12\nt [1] offset 0\n").unwrap(), 12);
        assert!(end_offsets("t [0] offset nothing\n").is_err());
    }
}
