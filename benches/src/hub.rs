//! The hub under measurement: the example region's policy, four archives, a
//! fresh data directory. It decides, journals and syncs each message before
//! its PUBACK, and delivers it to two of the targets.
//!
//! The last delivery is read off the archive: a directory's time is that of
//! the last rename in it, which follows the file's sync. `/metrics` is up to
//! two seconds old, so it only says *that* everything was delivered.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::Outcome;
use crate::http;
use crate::load::{self, Load, Seen};
use crate::process::Process;
use crate::report::Run;

/// The policy's targets; an outlet for each, or the hub does not start.
const TARGETS: [&str; 4] = ["dc-rennes", "dc-morbihan", "dc-bretagne", "cloud-confiance"];
/// Where a counting camera's message goes: `dc-rennes`, and transformed to `cloud-confiance`.
const DELIVERIES: u64 = 2;
const CONFIG: &str = "octroi.toml";
const READY: Duration = Duration::from_secs(30);
const DELIVERED: Duration = Duration::from_secs(300);
const STOPPED: Duration = Duration::from_secs(60);
const SAMPLE: Duration = Duration::from_millis(250);

/// What waited for the targets, as `/metrics` had it.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// When the last PUBACK had come.
    pub at_last_ack: u64,
    /// The most that was seen.
    pub most: u64,
    /// In the end, `target=count` of each.
    pub delivered: String,
}

/// What a hub is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its policy.
    pub policy: PathBuf,
    /// The targets of the policy whose outlet is an archive, below the hub's directory.
    pub archives: Vec<String>,
    /// Further tables of the configuration: the other outlets, and what else there is.
    pub tables: String,
}

impl Setup {
    /// The reference work's: the example region's policy, or another with its targets.
    pub fn example(policy: &Path) -> Self {
        let archives = TARGETS.map(str::to_owned).to_vec();
        Self { policy: policy.to_path_buf(), archives, tables: String::new() }
    }

    /// Of a policy by [`crate::policy`] with one target, where nobody is.
    pub fn out_of_reach(policy: PathBuf) -> Self {
        let target = crate::policy::target(0);
        // Nobody listens on port 1.
        let tables = format!("\n[outlet.{target}]\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:1\"]\n");
        Self { policy, archives: Vec::new(), tables }
    }
}

/// A hub that runs, and its directory, which goes with it.
#[derive(Debug)]
pub struct Hub {
    octroi: PathBuf,
    directory: PathBuf,
    /// Its process.
    pub process: Process,
    /// Where it listens for MQTT.
    pub mqtt: SocketAddr,
    http: SocketAddr,
}

impl Hub {
    /// Starts one in `directory`, which must not exist, and waits until it is ready.
    ///
    /// # Errors
    /// It is not ready in time; the directory then stays, with its log.
    pub fn start(octroi: &Path, setup: &Setup, directory: PathBuf) -> Outcome<Self> {
        let (mqtt, http) = (free_address()?, free_address()?);
        fs::create_dir(&directory)
            .map_err(|error| format!("cannot make `{}`: {error}", directory.display()))?;
        for target in &setup.archives {
            fs::create_dir_all(directory.join("archive").join(target))?;
        }
        fs::create_dir(directory.join("keys"))?;
        fs::write(directory.join("keys/pseudo-mobilite"), [0x5A; 32])?;
        fs::write(directory.join(CONFIG), configuration(setup, mqtt, http)?)?;
        let process = launch(octroi, &directory, http)?;
        Ok(Self { octroi: octroi.to_path_buf(), directory, process, mqtt, http })
    }

    /// Ends it at once, as a crash does, and starts it again: how long that took, until it was ready.
    ///
    /// # Errors
    /// It is not ready in time.
    pub fn crash(&mut self) -> Outcome<Duration> {
        self.process.child.kill()?;
        self.process.child.wait()?;
        let began = Instant::now();
        self.process = launch(&self.octroi, &self.directory, self.http)?;
        Ok(began.elapsed())
    }

    /// Ends it at once, whatever waits, and removes its directory.
    ///
    /// # Errors
    /// The disk's.
    pub fn give_up(self) -> Outcome<()> {
        let directory = self.directory.clone();
        drop(self);
        Ok(fs::remove_dir_all(directory)?)
    }

    /// Puts `load` on it, once; waits for the last PUBACK only.
    ///
    /// # Errors
    /// The generator's.
    pub fn put(&self, load: &Load) -> Outcome<Seen> {
        load::put(&self.octroi, load, self.mqtt, &self.process, &self.directory.join("bench.log"))
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn metrics(&self) -> Outcome<String> {
        match http::get(self.http, "/metrics")? {
            (200, text) => Ok(text),
            (status, text) => Err(format!("`/metrics` answers {status}: {text}").into()),
        }
    }

    fn pending(&self) -> Outcome<u64> {
        Ok(http::sum(&self.metrics()?, "octroi_outlet_pending"))
    }

    /// The most that was pending, sampled until `done`.
    fn watch(&self, done: &AtomicBool) -> u64 {
        let mut most = 0;
        while !done.load(Ordering::Acquire) {
            // A scrape that fails under load is a sample less.
            most = most.max(self.pending().unwrap_or(0));
            thread::sleep(SAMPLE);
        }
        most
    }

    /// Waits until so much was delivered, to all targets together: `target=count` of each.
    ///
    /// # Errors
    /// It is not, in time.
    pub fn wait_for(&mut self, deliveries: u64) -> Outcome<String> {
        let (address, mut text) = (self.http, String::new());
        let waited = self.process.wait_until("end of the deliveries", DELIVERED, || {
            thread::sleep(SAMPLE);
            text = http::get(address, "/metrics").map(|(_, text)| text).unwrap_or_default();
            http::sum(&text, "octroi_delivered_total") >= deliveries
        });
        let mut counts = std::collections::BTreeMap::new();
        for (labels, value) in
            http::samples(&text, "octroi_delivered_total").filter(|(_, value)| *value > 0.0)
        {
            *counts.entry(http::label(labels, "target").unwrap_or("?")).or_default() += value;
        }
        let counts: Vec<String> =
            counts.iter().map(|(target, count): (_, &f64)| format!("{target}={count}")).collect();
        let counts = counts.join(" ");
        waited.map_err(|error| format!("{error}\ndelivered: {counts}; expected {deliveries} in all"))?;
        Ok(counts)
    }

    /// Waits until every one of `messages` was delivered to both targets: when the last was, and the counts.
    fn delivered(&mut self, messages: u64) -> Outcome<(SystemTime, String)> {
        let counts = self.wait_for(messages * DELIVERIES)?;
        let both = ["dc-rennes", "cloud-confiance"].map(|target| format!("{target}={messages}"));
        if !both.iter().all(|expected| counts.split(' ').any(|count| count == expected)) {
            return Err(format!("unequal work: delivered {counts}, expected {}", both.join(" ")).into());
        }
        Ok((newest(&self.directory.join("archive"))?, counts))
    }

    /// Ends it, and removes its directory.
    ///
    /// # Errors
    /// It does not end well; the directory then stays.
    pub fn stop(self) -> Outcome<()> {
        self.process.stop(STOPPED)?;
        Ok(fs::remove_dir_all(&self.directory)?)
    }
}

/// One run of a fresh hub: W1a and W1b.
///
/// # Errors
/// It does not do the work, whole.
pub fn run(octroi: &Path, policy: &Path, directory: PathBuf, load: &Load) -> Outcome<Run> {
    let mut hub = Hub::start(octroi, &Setup::example(policy), directory)?;
    let cpu = hub.process.cpu()?;
    let done = AtomicBool::new(false);
    let (seen, at_last_ack, most) = thread::scope(|scope| {
        let watch = scope.spawn(|| hub.watch(&done));
        let seen = hub.put(load);
        let at_last_ack = hub.pending();
        done.store(true, Ordering::Release);
        (seen, at_last_ack, watch.join().unwrap_or(0))
    });
    let (seen, at_last_ack) = (seen?, at_last_ack?);
    let (last, delivered) = hub.delivered(load.messages)?;
    let behind = last.duration_since(seen.acknowledged).unwrap_or_default();
    let run = Run {
        name: "hub",
        messages: load.messages,
        acked_seconds: seen.seconds,
        delivered_seconds: seen.seconds + behind.as_secs_f64(),
        server_cpu: (seen.server_cpu - cpu, hub.process.cpu()? - cpu),
        generator_cpu: seen.generator_cpu,
        ack_us: seen.ack_us,
        peak_mib: hub.process.peak_mib()?,
        backlog: Some(Backlog { at_last_ack, most: most.max(at_last_ack), delivered }),
    };
    hub.stop()?;
    Ok(run)
}

/// Starts the hub of a directory, and waits until it is ready.
fn launch(octroi: &Path, directory: &Path, http: SocketAddr) -> Outcome<Process> {
    let mut command = Command::new(octroi);
    command.arg("run").arg("--config").arg(directory.join(CONFIG)).stdin(Stdio::null()).stdout(Stdio::null());
    let mut process = Process::start("the hub", &mut command, &directory.join("hub.log"))?;
    process
        .wait_until("`/health/ready`", READY, || matches!(http::get(http, "/health/ready"), Ok((200, _))))?;
    Ok(process)
}

fn configuration(setup: &Setup, mqtt: SocketAddr, http: SocketAddr) -> Outcome<String> {
    let policy = setup.policy.canonicalize()?;
    let (policy, tables) = (policy.display(), &setup.tables);
    let mut text = format!(
        r#"[hub]
id = "hub-1"
data_dir = "data"
policy = '{policy}'
keys_dir = "keys"

[[listener]]
bind = "{mqtt}"
identify_by = "username-only"

[journal]
limit = "64 GiB"

[http]
bind = "{http}"

[log]
level = "warn"
{tables}"#
    );
    for target in &setup.archives {
        text += &format!(
            "\n[outlet.{target}]\nkind = \"archive\"\ndirectory = \"archive/{target}\"\nlinger_ms = 500\n"
        );
    }
    Ok(text)
}

/// A port that was free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The newest modification time of a directory and all that is in it.
fn newest(directory: &Path) -> Outcome<SystemTime> {
    let mut last = fs::metadata(directory)?.modified()?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let at = if entry.file_type()?.is_dir() {
            newest(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        last = last.max(at);
    }
    Ok(last)
}
