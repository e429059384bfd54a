//! What a test needs and a machine may lack. A need that is not met is never
//! passed over in silence: with `OCTROI_NOT_RUN=FILE` (as `tests/run.sh` sets
//! it) the test is listed there with the reason and returns; without it, the
//! test fails and says what to install.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::kafka::{Distribution, Kafka, ONE, Shape};
use crate::process::{self, Finished};

/// One line of the list of tests that were not run.
#[track_caller]
fn not_run(reason: &str) {
    let current = std::thread::current();
    let test = match current.name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => std::panic::Location::caller().to_string(),
    };
    let Some(list) = std::env::var_os("OCTROI_NOT_RUN") else {
        panic!("{reason} (or set OCTROI_NOT_RUN=FILE to have this test listed there as not run)");
    };
    let mut file = File::options().create(true).append(true).open(list).expect("OCTROI_NOT_RUN is writable");
    writeln!(file, "{test}: {reason}").expect("OCTROI_NOT_RUN is writable");
}

/// The program's path; `None` means that the test must return, and was listed.
#[track_caller]
#[must_use]
pub fn tool(name: &str, debian_package: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        not_run(&format!("`{name}` is not installed: `apt-get install {debian_package}`"));
    }
    found
}

/// The binary with fail points, `OCTROI_FIRE_BIN`; `None` means that the test must return, and was listed.
#[track_caller]
#[must_use]
pub fn fire_binary() -> Option<PathBuf> {
    let Some(path) = std::env::var_os("OCTROI_FIRE_BIN") else {
        not_run(
            "no binary with fail points: `cargo build -p octroi --features fail-points`, copy it away from where \
             the next build puts its own, and name the copy in OCTROI_FIRE_BIN",
        );
        return None;
    };
    let path = PathBuf::from(path);
    Some(path.canonicalize().unwrap_or_else(|error| panic!("OCTROI_FIRE_BIN={}: {error}", path.display())))
}

/// A running Apache Kafka of one node and kcat to read it; `None` means that the test must return, and was
/// listed.
#[track_caller]
#[must_use]
pub fn kafka() -> Option<Kafka> {
    kafka_of(ONE)
}

/// The same, of that shape.
#[track_caller]
#[must_use]
pub fn kafka_of(shape: Shape) -> Option<Kafka> {
    tool("kcat", "kcat")?;
    tool("openssl", "openssl")?;
    match Distribution::obtain() {
        Ok(distribution) => Some(Kafka::start(&distribution, shape)),
        Err(reason) => {
            not_run(&format!("no Apache Kafka: {reason}"));
            None
        }
    }
}

/// A Python whose environment has that package; `None` means that the test must return, and was listed.
#[track_caller]
#[must_use]
pub fn python(package: &str) -> Option<PathBuf> {
    let python = tool("python3", "python3-venv")?;
    let install = |directory: &Path| {
        let mut make = Command::new(&python);
        make.args(["-m", "venv"]).arg(directory);
        let mut fetch = Command::new(directory.join("bin/python3"));
        fetch.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]);
        [make, fetch]
    };
    Some(fetched("python", package, "python3-venv", install)?.join("bin/python3"))
}

/// The `node` to run, and the directory of modules where it finds that package; `None` means that the test must
/// return, and was listed.
#[track_caller]
#[must_use]
pub fn node(package: &str) -> Option<(PathBuf, PathBuf)> {
    let node = tool("node", "nodejs")?;
    let npm = tool("npm", "npm")?;
    let install = |directory: &Path| {
        let mut fetch = Command::new(&npm);
        fetch.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        fetch.arg(directory).arg(package);
        [fetch]
    };
    Some((node, fetched("node", package, "npm", install)?.join("node_modules")))
}

/// A directory of the cache with a package in it, made once by those commands.
#[track_caller]
fn fetched<const N: usize>(
    of: &str,
    package: &str,
    debian_package: &str,
    install: impl FnOnce(&Path) -> [Command; N],
) -> Option<PathBuf> {
    static FETCH: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FETCH.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = crate::cache().join(format!("{of}-{package}"));
    // Written last: what was left half made is made again.
    let whole = directory.join("whole");
    if whole.is_file() {
        return Some(directory);
    }
    let made = std::fs::create_dir_all(&directory).map_err(|error| error.to_string()).and_then(|()| {
        install(&directory).into_iter().try_for_each(|mut command| {
            let finished = process::run(&mut command, Duration::from_secs(180));
            match finished.map_err(|error| error.to_string())? {
                Finished { code: 0, .. } => Ok(()),
                Finished { out, err, .. } => Err(format!("{out}{err}")),
            }
        })
    });
    if let Err(reason) = made.and_then(|()| std::fs::write(&whole, b"").map_err(|error| error.to_string())) {
        let last = reason.lines().last().unwrap_or_default();
        not_run(&format!(
            "`{package}` cannot be fetched (`apt-get install {debian_package}`, and its registry): {last}"
        ));
        return None;
    }
    Some(directory)
}

/// A small file system in memory, gone with the value; `None` means that the test must return, and was listed.
#[track_caller]
#[must_use]
pub fn tmpfs(directory: &Path, mebibytes: u64) -> Option<Tmpfs> {
    std::fs::create_dir_all(directory).expect("the mount's directory is made");
    let size = format!("size={mebibytes}m");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", &size, "octroi-test"]).arg(directory).output();
    if mounted.is_ok_and(|output| output.status.success()) {
        return Some(Tmpfs(directory.to_owned()));
    }
    not_run("a small tmpfs cannot be mounted: run as root, outside of a restricted container");
    None
}

/// A mounted tmpfs.
pub struct Tmpfs(PathBuf);

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: the hub that a failed test leaves may still hold files of it.
        let ended = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("`{}` could not be unmounted", self.0.display());
        }
    }
}

/// Whether a process may have so many files open. `false` means that the test must return, and was listed.
#[track_caller]
#[must_use]
pub fn open_files(wanted: u64) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).map(str::to_owned);
    let enough =
        soft.is_some_and(|soft| soft.parse().map_or(soft == "unlimited", |soft: u64| soft >= wanted));
    if !enough {
        not_run(&format!("a process may open too few files: `ulimit -n {wanted}` before the tests"));
    }
    enough
}

/// Whether the long forms were asked for (`OCTROI_LONG=1`).
pub fn long() -> bool {
    std::env::var_os("OCTROI_LONG").is_some_and(|value| value == "1")
}

/// Held by every test that loads the machine: two cores, and timeouts that must mean something.
pub fn exclusive() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks in PATH and where Debian keeps daemons.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(daemons).map(|directory| directory.join(name)).find(|p| p.is_file())
}
