//! The real binary, run as an operator runs it: a configuration file, a data
//! directory, signals, HTTP, and the command line. Nothing of the product is
//! linked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::delivered::Delivered;
use crate::metrics::Scrape;
use crate::policy;
use crate::process::{self, Finished, Process, free_port, wait_until};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// How to reach a target.
#[derive(Clone, Debug)]
pub enum Outlet {
    /// A directory of the hub's temporary directory.
    Archive,
    /// `host:port` of a broker.
    Kafka(String),
    /// What stands below `[outlet.…]`.
    Lines(String),
}

/// A hub, running or not, and everything it has on disk.
pub struct Hub {
    directory: TempDir,
    process: Option<Process>,
    program: PathBuf,
    /// `OCTROI_FAIL_POINT` of the next start.
    fail_point: String,
    mqtt: u16,
    http: u16,
}

/// The binary under test: `OCTROI_BIN`, else the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("OCTROI_BIN") {
        return fs::canonicalize(&path)
            .unwrap_or_else(|error| panic!("OCTROI_BIN={}: {error}", path.display()));
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let path = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps").join("octroi");
    assert!(
        path.is_file(),
        "`{}` is not built: run `cargo build -p octroi` first, or set OCTROI_BIN",
        path.display()
    );
    path
}

impl Hub {
    /// A hub under the demo's policy, every target an archive save those named, started and ready.
    pub fn start(outlets: &[(&str, Outlet)]) -> Self {
        let mut hub = Self::prepared(outlets, "");
        hub.run();
        hub
    }

    /// The same, not started; `more` is appended to the configuration.
    pub fn prepared(outlets: &[(&str, Outlet)], more: &str) -> Self {
        let mut directory = tempfile::Builder::new();
        // For whoever looks into a failure.
        directory.prefix("octroi-hub-").disable_cleanup(std::env::var_os("OCTROI_KEEP").is_some());
        let directory = directory.tempdir().expect("a temporary directory");
        let (program, fail_point) = (binary(), String::new());
        let hub =
            Self { directory, process: None, program, fail_point, mqtt: free_port(), http: free_port() };
        policy::install(&hub.policy());
        let keys = hub.path("keys");
        fs::create_dir_all(&keys).expect("the keys' directory is made");
        fs::write(keys.join("pseudo-mobilite"), "6f".repeat(32)).expect("a key is written");
        fs::write(hub.configuration(), hub.toml(&outlets.iter().cloned().collect(), more))
            .expect("it is written");
        hub
    }

    fn toml(&self, outlets: &BTreeMap<&str, Outlet>, more: &str) -> String {
        let root = self.directory.path().display();
        let mut toml = format!(
            "[hub]\nid = \"hub-t\"\ndata_dir = \"{root}/data\"\npolicy = \"{root}/policy\"\nkeys_dir = \"{root}/keys\"\n\n\
             [[listener]]\nbind = \"127.0.0.1:{}\"\nidentify_by = \"username-only\"\n\n\
             [journal]\nlimit = \"1 GiB\"\n\n[http]\nbind = \"127.0.0.1:{}\"\n",
            self.mqtt, self.http
        );
        for target in policy::TARGETS {
            let outlet = match outlets.get(target).unwrap_or(&Outlet::Archive) {
                Outlet::Archive => format!("kind = \"archive\"\ndirectory = \"{root}/{target}\"\n"),
                Outlet::Kafka(broker) => {
                    format!("kind = \"kafka\"\nbrokers = [\"{broker}\"]\nheaders = \"cloudevents\"\n")
                }
                Outlet::Lines(lines) => lines.clone(),
            };
            write!(toml, "\n[outlet.{target}]\n{outlet}").expect("a string takes everything");
        }
        toml + "\n" + more
    }

    /// Something of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The policy's directory, which a test may edit.
    pub fn policy(&self) -> PathBuf {
        self.path("policy")
    }

    /// The hub's `data_dir`.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A fragment beside the configuration, which wins over it.
    pub fn configure(&self, fragment: &str) {
        let directory = self.path("conf.d");
        fs::create_dir_all(&directory).expect("the directory of fragments is made");
        fs::write(directory.join("test.toml"), fragment).expect("it is written");
    }

    /// A file where an archive target's directory was to be: it is down until [`Hub::clear`].
    pub fn obstruct(&self, target: &str) {
        fs::write(self.path(target), b"").expect("the obstacle is written");
    }

    /// The directory is there: the hub finds it within half a minute.
    pub fn clear(&self, target: &str) {
        fs::remove_file(self.path(target)).expect("the obstacle is there");
        fs::create_dir(self.path(target)).expect("the directory is made");
    }

    pub fn configuration(&self) -> PathBuf {
        self.path("octroi.toml")
    }

    /// Where sensors connect.
    pub fn mqtt(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.mqtt).into()
    }

    /// Starts the process and waits until it is ready; how long that took.
    #[track_caller]
    pub fn run(&mut self) -> Duration {
        let start = Instant::now();
        self.spawn();
        wait_until("the hub is ready", READY_WITHIN, || {
            if let Some(status) = self.process.as_mut().and_then(Process::ended) {
                panic!("the hub ended with {status}:\n{}", self.log());
            }
            self.get("/health/ready").is_ok_and(|(status, _)| status == 200)
        });
        start.elapsed()
    }

    /// Starts the process and waits for nothing.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "the hub runs already");
        let arguments = ["run".to_owned(), "--config".to_owned(), self.configuration().display().to_string()];
        let environment = [("OCTROI_FAIL_POINT", self.fail_point.as_str())];
        let (directory, log) = (self.directory.path(), self.path("hub.log"));
        let process = Process::start_with(&self.program, &arguments, &environment, directory, &log);
        self.process = Some(process.expect("the hub's binary starts"));
    }

    /// From the next start on it is this binary, told to fail at this point (`name:n`; empty: at none).
    pub fn fail_at(&mut self, program: &Path, point: &str) {
        (self.program, self.fail_point) = (program.to_owned(), point.to_owned());
    }

    /// Waits until the process ends by itself; `None`: it did not.
    pub fn ends_within(&mut self, within: Duration) -> Option<ExitStatus> {
        let process = self.process();
        process::holds_within(within, || process.ended().is_some());
        let status = process.ended()?;
        self.process = None;
        Some(status)
    }

    /// The process, which must run.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the hub runs")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("the hub runs").kill();
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.process.take().expect("the hub runs").terminate(Duration::from_secs(60))
    }

    /// Everything it ever wrote to stdout and stderr.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("hub.log")).unwrap_or_default()).into_owned()
    }

    /// Where administrators and scrapers connect.
    pub fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.http).into()
    }

    /// One HTTP GET: status and body.
    pub fn get(&self, path: &str) -> io::Result<(u16, String)> {
        request(self.http(), "GET", path, "")
    }

    /// A scrape, taken after the cache of one second has passed.
    #[track_caller]
    pub fn metrics(&self) -> Scrape {
        std::thread::sleep(Duration::from_millis(1100));
        let (status, body) = self.get("/metrics").expect("/metrics answers");
        assert_eq!(status, 200, "{body}");
        Scrape::parse(&body)
    }

    /// Waits until no target has anything pending; the scrape that says so.
    #[track_caller]
    pub fn drained(&self, within: Duration) -> Scrape {
        // A scrape is at most 2 s old (a status a second, an answer cached for one): an older zero proves nothing.
        std::thread::sleep(Duration::from_millis(2_100));
        let mut scrape = Scrape::default();
        wait_until("every target is drained", within, || {
            scrape = self.metrics();
            scrape.sum("octroi_outlet_pending", &[]) == 0.0
        });
        scrape
    }

    /// A verb of the command line against this hub (`--config` is appended).
    pub fn cli(&self, arguments: &[&str]) -> Finished {
        let mut command = cli_command(arguments);
        command.arg("--config").arg(self.configuration());
        process::run(&mut command, Duration::from_secs(30)).expect("the binary starts")
    }

    /// The same with `--output json`, which must succeed.
    #[track_caller]
    pub fn cli_json(&self, arguments: &[&str]) -> Value {
        let finished = self.cli(&[arguments, &["--output", "json"]].concat());
        assert_eq!(finished.code, 0, "octroi {arguments:?}: {}{}", finished.out, finished.err);
        serde_json::from_str(&finished.out).expect("--output json prints JSON")
    }

    /// Activates what stands in the policy's directory.
    pub fn activate(&self) -> Finished {
        self.cli(&["policy", "activate"])
    }

    /// The version in force, from `octroi_policy_info`.
    pub fn policy_in_force(&self) -> String {
        let scrape = self.metrics();
        let info = scrape.series().find(|series| series.starts_with("octroi_policy_info{"));
        let series = info.expect("octroi_policy_info is exported");
        let version = series.split("version=\"").nth(1).and_then(|rest| rest.split('"').next());
        version.expect("octroi_policy_info has a version").to_owned()
    }

    /// Where an archive target's files go.
    pub fn archive_directory(&self, target: &str) -> PathBuf {
        self.path(target)
    }

    /// Everything on one archive target.
    pub fn archive(&self, target: &str) -> Vec<Delivered> {
        crate::archive::read(target, &self.archive_directory(target))
    }

    /// Everything on every archive target.
    pub fn archives(&self) -> Vec<Delivered> {
        policy::TARGETS.iter().flat_map(|target| self.archive(target)).collect()
    }

    /// What stands in quarantine, as `(source, topic, reason)`.
    pub fn quarantine(&self) -> Vec<(String, String, String)> {
        let list = self.cli_json(&["quarantine", "list"]);
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let entries = list.as_array().expect("a list").iter();
        entries.map(|e| (text(e, "source"), text(e, "topic"), text(e, "reason"))).collect()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- the hub's log ---\n{}", self.log());
        }
    }
}

/// One HTTP request with a JSON body: status and body of the answer.
pub fn request(hub: SocketAddr, method: &str, path: &str, json: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&hub, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // 1.0: the answer ends with the connection, and is never chunked.
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {hub}\r\nContent-Type: application/json\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{json}", json.len())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

/// The binary with these arguments, in the repository's root, with nothing of the caller's language or colours.
pub fn cli_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(crate::root());
    for name in ["LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE", "COLUMNS"] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
    command
}

/// A file for a payload, gone with the test.
pub fn payload_file(directory: &Path, payload: &[u8]) -> PathBuf {
    let path = directory.join("payload");
    fs::write(&path, payload).expect("a payload is written");
    path
}
