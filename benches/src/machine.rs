//! What figures are of: the machine that they were measured on, and the commit
//! that was measured.

use std::fs;
use std::process::Command;
use std::thread;

use crate::Outcome;

/// The processor, how many cores, memory and kernel, as `/proc` has them.
///
/// # Errors
/// No `/proc`.
pub fn described() -> Outcome<String> {
    let processor = field(&fs::read_to_string("/proc/cpuinfo")?, "model name");
    let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = thread::available_parallelism()?;
    Ok(format!("{processor}, {cores} cores, {memory} of memory, Linux {}", kernel.trim()))
}

/// The first value of a name in one of the tables of `/proc`.
fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
}

/// The commit that is measured, if Git knows one.
pub fn commit() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let said =
        git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if said.is_empty() { "unknown".to_owned() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_name_is_taken() {
        let text = "processor\t: 0\nmodel name\t: A 1\nmodel name\t: B 2\n";
        assert_eq!(field(text, "model name"), "A 1");
        assert_eq!(field(text, "absent"), "?");
    }
}
