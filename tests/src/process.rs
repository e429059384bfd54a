//! Servers as child processes: started with their output in a file, ended by
//! their own id, and never outliving the test (on Linux not even when the
//! test runner itself is killed: `setpriv --pdeathsig`).

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A running server.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output appended to `log`.
    pub fn start(program: &Path, arguments: &[String], directory: &Path, log: &Path) -> io::Result<Self> {
        Self::start_with(program, arguments, &[], directory, log)
    }

    /// The same, with more in its environment.
    pub fn start_with(
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        directory: &Path,
        log: &Path,
    ) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut command = if Path::new("/usr/bin/setpriv").exists() {
            let mut command = Command::new("/usr/bin/setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).envs(environment.iter().copied()).current_dir(directory);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn()?;
        Ok(Self { child, name: program.display().to_string(), log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it has resident (`VmRSS`).
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.expect("a running process has VmRSS") << 10
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn terminate(&mut self, within: Duration) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal("TERM");
        wait_until(&format!("`{}` ends after SIGTERM", self.name), within, || self.ended().is_some());
        (self.ended().expect("it has just ended"), start.elapsed())
    }

    /// Sends a signal by name (`STOP`, `CONT`, `HUP`, …).
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("/bin/sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &id]).status();
        assert!(status.is_ok_and(|status| status.success()), "signal {name} to `{}`", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let ended = self.child.kill().and_then(|()| self.child.wait());
            if let Err(error) = ended {
                eprintln!("`{}` could not be ended: {error}", self.name);
            }
        }
    }
}

/// A free loopback port below the range that outgoing connections take theirs from (32768 and up on Linux):
/// while a killed server is down, its retrying clients must neither be handed its port nor connect to
/// themselves.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() * 37 % 12_000).expect("below 12,000");
    (0..12_000)
        .map(|_| 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of 12,000 loopback ports is free")
}

/// Polls until `done`, else fails with what was waited for.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut done: impl FnMut() -> bool) {
    assert!(holds_within(within, &mut done), "waited {} s in vain until {what}", within.as_secs_f32());
}

/// Polls until `done` or the time is up; whether it was done.
pub fn holds_within(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let mut end = Instant::now() + within;
    loop {
        if done() {
            return true;
        }
        let before = Instant::now();
        if before >= end {
            return false;
        }
        sleep(Duration::from_millis(20));
        // A machine that stood still gave nobody time.
        end += before.elapsed().saturating_sub(Duration::from_secs(1));
    }
}

/// Runs a command to its end with a limit; stdout, stderr, and its code (-1: killed by a signal).
pub fn run(command: &mut Command, within: Duration) -> io::Result<Finished> {
    let (out, err) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    command.stdin(Stdio::null()).stdout(out.reopen()?).stderr(err.reopen()?);
    let mut child = command.spawn()?;
    let in_time = holds_within(within, || !matches!(child.try_wait(), Ok(None)));
    if !in_time {
        child.kill()?;
    }
    let code = child.wait()?.code().unwrap_or(-1);
    let text = |path: &Path| io::Result::Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned());
    Ok(Finished { code, out: text(out.path())?, err: text(err.path())?, in_time })
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub out: String,
    pub err: String,
    /// `false`: it was killed at its limit.
    pub in_time: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_past_its_limit_is_killed_and_says_so() {
        let finished = run(Command::new("sleep").arg("30"), Duration::from_millis(50)).unwrap();
        assert!(!finished.in_time && finished.code == -1, "{finished:?}");
    }

    #[test]
    fn sigterm_is_told_from_a_kill() {
        let directory = tempfile::tempdir().unwrap();
        let script = "trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.02; done";
        let arguments = ["-c".to_owned(), script.to_owned()];
        let log = directory.path().join("log");
        let mut process = Process::start(Path::new("/bin/sh"), &arguments, directory.path(), &log).unwrap();
        wait_until("the script is up", Duration::from_secs(5), || process.log().contains("up"));
        let (status, _) = process.terminate(Duration::from_secs(5));
        assert_eq!(status.code(), Some(3));
        assert!(process.log().contains("told"));
    }
}
