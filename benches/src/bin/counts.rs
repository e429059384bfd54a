//! Instructions per message of each part of the data path, by callgrind, held
//! against `benches/counts.json`: the guard that noise cannot move.
//!
//! Each part runs twice in a process of its own, with fewer rounds and with
//! more; the difference is the rounds' alone, without their preparation. What
//! the kernel does is not counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use octroi_benches::Outcome;
use octroi_benches::counted::{ALL, Counted};
use serde_json::{Value, json};

/// How much a count may differ: code is laid out differently by each compiler.
const TOLERANCE: f64 = 0.03;
/// Messages of the shorter run, and of the longer one.
const MESSAGES: (usize, usize) = (2_048, 10_240);

#[derive(Parser)]
struct Args {
    /// What to hold the counts against.
    #[arg(long, default_value = "benches/counts.json")]
    file: PathBuf,
    /// For what a part needs on disk.
    #[arg(long, default_value = "counts-data")]
    dir: PathBuf,
    /// Puts the counts into the file, instead of comparing.
    #[arg(long)]
    write: bool,
    /// In the process that is counted: the part.
    #[arg(long, hide = true)]
    part: Option<String>,
    /// Its rounds.
    #[arg(long, hide = true, default_value_t = 0)]
    rounds: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing has grown.
fn run(args: &Args) -> Outcome<bool> {
    if let Some(name) = &args.part {
        let part = ALL.iter().find(|part| part.name == name).ok_or("no such part")?;
        (part.work)(args.rounds, &args.dir)?;
        return Ok(true);
    }
    let mut counts = BTreeMap::new();
    for part in ALL {
        counts.insert(part.name, per_message(&part, &args.dir)?);
    }
    if args.write {
        let text = serde_json::to_string_pretty(&json!({ "rustc": rustc()?, "instructions": counts }))?;
        fs::write(&args.file, text + "\n")?;
        println!("wrote {}", args.file.display());
        return Ok(true);
    }
    let text = fs::read_to_string(&args.file)
        .map_err(|error| format!("`{}`: {error}; `--write` makes it", args.file.display()))?;
    let known: Value = serde_json::from_str(&text)?;
    let mut holds = true;
    for (name, count) in &counts {
        let before = known.pointer(&format!("/instructions/{name}")).and_then(Value::as_f64);
        let verdict = verdict(*count, before);
        println!("{name:<10} {count:>8.0} instructions a message   {verdict}");
        holds &= !verdict.starts_with("GREW");
    }
    let (written, now) = (known.get("rustc").and_then(Value::as_str).unwrap_or("?").to_owned(), rustc()?);
    if written != now {
        println!("the file is of {written}, this is {now}: a difference may be the compiler's");
    }
    Ok(holds)
}

fn verdict(count: f64, before: Option<f64>) -> String {
    let Some(before) = before else { return "new: `--write` puts it on record".to_owned() };
    let change = count / before - 1.0;
    let percent = 100.0 * change;
    if change > TOLERANCE {
        format!("GREW by {percent:.1} % from {before:.0}")
    } else if change < -TOLERANCE {
        format!("less by {:.1} % than {before:.0}: `--write` keeps it so", -percent)
    } else {
        format!("holds ({percent:+.1} %)")
    }
}

/// Instructions of one message.
fn per_message(part: &Counted, dir: &Path) -> Outcome<f64> {
    let (fewer, more) = (MESSAGES.0 / part.messages, MESSAGES.1 / part.messages);
    let grown = counted(part.name, more, dir)?.saturating_sub(counted(part.name, fewer, dir)?);
    Ok((grown as f64 / ((more - fewer) * part.messages) as f64).round())
}

/// Instructions of a process that does so many rounds of a part.
fn counted(name: &str, rounds: usize, dir: &Path) -> Outcome<u64> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe()?);
    command.arg("--dir").arg(dir).args(["--part", name, "--rounds", &rounds.to_string()]);
    let output =
        command.output().map_err(|error| format!("valgrind (`apt-get install valgrind`): {error}"))?;
    fs::remove_dir_all(dir)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name} ({}): {said}", output.status).into());
    }
    collected(&said).ok_or(format!("valgrind tells no count: {said}").into())
}

/// What callgrind prints at its end: `==PID== Collected : N`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

fn rustc() -> Outcome<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_may_differ_by_the_tolerance_and_no_more() {
        assert_eq!(verdict(102.0, Some(100.0)), "holds (+2.0 %)");
        assert_eq!(verdict(104.0, Some(100.0)), "GREW by 4.0 % from 100");
        assert!(verdict(96.0, Some(100.0)).starts_with("less by 4.0 %"));
        assert!(verdict(1.0, None).starts_with("new"));
    }

    #[test]
    fn the_count_is_found_among_what_callgrind_prints() {
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 123456\n"), Some(123_456));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }
}
