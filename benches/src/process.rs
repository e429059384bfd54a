//! A server under measurement: started, asked what it costs, ended by its pid.
//!
//! CPU time comes from `/proc`, in ticks of 10 ms (`USER_HZ`), of the process
//! alone with all its threads; memory is the kernel's high-water mark.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;

const TICKS_PER_SECOND: f64 = 100.0;

/// A process that ends with this value.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    /// Its pipes, as `Command` set them.
    pub child: Child,
}

impl Process {
    /// Starts `command`, its stderr going to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Outcome<Self> {
        let stderr = File::create(log)?;
        let child = command.stderr(Stdio::from(stderr)).spawn();
        let program = command.get_program().display().to_string();
        let child = child.map_err(|error| format!("cannot start {name} (`{program}`): {error}"))?;
        Ok(Self { name: name.to_owned(), log: log.to_path_buf(), child })
    }

    /// Waits until `ready` holds, at most `limit`.
    ///
    /// # Errors
    /// It ended, or it took too long: with the end of its log.
    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Outcome<()> {
        let until = Instant::now() + limit;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(
                    format!("{} ended ({status}) before {what}:\n{}", self.name, self.log_end()).into()
                );
            }
            if Instant::now() > until {
                return Err(format!("{}: no {what} after {limit:?}:\n{}", self.name, self.log_end()).into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// CPU seconds, user and system, since its start.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        seconds(&stat, 11)
    }

    /// The most memory it had resident, MiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_mib(&self) -> Outcome<f64> {
        self.memory_mib("VmHWM:")
    }

    /// The memory it has resident, MiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_mib(&self) -> Outcome<f64> {
        self.memory_mib("VmRSS:")
    }

    fn memory_mib(&self, what: &str) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let line = line.ok_or_else(|| format!("no {what} in /proc"))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// Asks it to end (SIGTERM), and waits.
    ///
    /// # Errors
    /// It does not, or not well.
    pub fn stop(self, limit: Duration) -> Outcome<()> {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        if !sent.success() {
            return Err(
                format!("{} was gone before it was told to end:\n{}", self.name, self.log_end()).into()
            );
        }
        self.wait_for_end(limit)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It does not, or not well.
    pub fn wait_for_end(mut self, limit: Duration) -> Outcome<()> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!("{} ended badly ({status}):\n{}", self.name, self.log_end()).into());
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        }
        Err(format!("{} did not end within {limit:?}", self.name).into())
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let skip = log.lines().count().saturating_sub(15);
        log.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    /// Whatever went wrong, nothing is left running.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let ended: io::Result<_> = self.child.kill().and_then(|()| self.child.wait());
            if let Err(error) = ended {
                eprintln!("{} (pid {}) could not be ended: {error}", self.name, self.child.id());
            }
        }
    }
}

/// CPU seconds of all children that were waited for.
///
/// # Errors
/// No `/proc`.
pub fn children_cpu() -> Outcome<f64> {
    seconds(&fs::read_to_string("/proc/self/stat")?, 13)
}

/// Two neighbouring fields of `stat`, in seconds; `at` counts from the state, which follows the name.
fn seconds(stat: &str, at: usize) -> Outcome<f64> {
    let (_, fields) = stat.rsplit_once(") ").ok_or("`/proc/…/stat` has no name")?;
    let mut fields = fields.split(' ').skip(at);
    let user: f64 = fields.next().ok_or("`/proc/…/stat` is short")?.parse()?;
    let system: f64 = fields.next().ok_or("`/proc/…/stat` is short")?.parse()?;
    Ok((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_blanks_and_brackets() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 30 20 20 0 4 0 99";
        assert_eq!(seconds(stat, 11).unwrap(), 2.0);
        assert_eq!(seconds(stat, 13).unwrap(), 0.5);
    }
}
