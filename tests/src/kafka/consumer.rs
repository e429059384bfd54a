//! kcat as the independent consumer: it shares no code with the hub beyond the
//! wire format (it links Debian's librdkafka).
//!
//! A read changes nothing, so one that fails or hangs (a leader that is being
//! elected, a topic that was just created) is made again, whole.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::delivered::Delivered;
use crate::process::{self, holds_within};

/// How long a cluster that runs may take to answer a reader, and one try of it.
const READS_WITHIN: Duration = Duration::from_secs(180);
const TRY: Duration = Duration::from_secs(30);

/// Runs kcat to its end; what it printed, or what it complained of.
pub(super) fn kcat(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("kcat");
    command.args(arguments);
    let finished = process::run(&mut command, TRY).map_err(|error| error.to_string())?;
    match finished.code {
        0 => Ok(finished.out),
        _ if finished.in_time => Err(finished.err),
        _ => Err(format!("it did not end within {} s: {}", TRY.as_secs(), finished.err)),
    }
}

/// The same of what must come to succeed.
#[track_caller]
pub(super) fn kcat_at_last<T>(arguments: &[&str], read: impl Fn(&str) -> Option<T>) -> T {
    let (mut found, mut said) = (None, String::new());
    holds_within(READS_WITHIN, || {
        match kcat(arguments) {
            Ok(text) => {
                found = read(&text);
                said = text;
            }
            Err(complaint) => said = complaint,
        }
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("kcat {arguments:?} never succeeds, at the end: {said}"))
}

/// Everything in a topic, by partition and offset, as deliveries to `target`. Nobody may be writing to it: kcat
/// sees the end of a partition only in an answer that brings nothing more of it.
pub(super) fn read_topic(address: &str, target: &str, topic: &str) -> Vec<Delivered> {
    let read = ["-C", "-q", "-e", "-J", "-o", "beginning", "-b", address, "-t", topic];
    let text = kcat_at_last(&read, |text| Some(text.to_owned()));
    let mut records: Vec<_> = text.lines().map(|line| record(target, topic, line)).collect();
    records.sort_by_key(|(partition, offset, _)| (*partition, *offset));
    records.into_iter().map(|(_, _, delivered)| delivered).collect()
}

/// Whether there is a record in a topic, of which more may be written meanwhile.
pub(super) fn has_records(address: &str, topic: &str) -> bool {
    let one = ["-C", "-q", "-e", "-c", "1", "-f", "%o\\n", "-o", "beginning", "-b", address, "-t", topic];
    kcat(&one).is_ok_and(|offset| !offset.is_empty())
}

/// One line of `kcat -J`: partition, offset, and the record.
fn record(target: &str, topic: &str, line: &str) -> (u64, u64, Delivered) {
    let json: Value = serde_json::from_str(line).expect("kcat prints JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = json["headers"].as_array().cloned().unwrap_or_default();
    let header = |name: &str| {
        let pair = headers.chunks_exact(2).find(|pair| pair[0] == name);
        pair.map(|pair| text(&pair[1])).unwrap_or_default()
    };
    let number = |name: &str| json[name].as_u64().expect("kcat prints partition and offset");
    let delivered = Delivered {
        target: target.to_owned(),
        place: topic.to_owned(),
        id: header("ce_id"),
        source: header("ce_source"),
        topic: header("ce_subject"),
        level: header("ce_level"),
        space: header("ce_space"),
        policy: header("ce_policyversion"),
        key: text(&json["key"]),
        payload: text(&json["payload"]),
    };
    (number("partition"), number("offset"), delivered)
}

/// A consumer that reads along from now on, and takes down how old each record was when it came: from its
/// reception by the hub (the record's own time) to its arrival here.
pub struct Follower {
    kcat: Child,
    thread: Option<JoinHandle<()>>,
    ages: Arc<Mutex<Vec<Duration>>>,
}

impl Follower {
    pub(super) fn start(address: &str, topic: &str) -> Self {
        let mut command = Command::new("kcat");
        command.args([
            "-C",
            "-q",
            "-u",
            "-o",
            "end",
            "-X",
            "fetch.wait.max.ms=5",
            "-b",
            address,
            "-t",
            topic,
        ]);
        command.args(["-f", "%T\\n"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut kcat = command.spawn().expect("kcat starts");
        let lines = BufReader::new(kcat.stdout.take().expect("its output is piped")).lines();
        let ages = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&ages);
        let thread = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let sent = Duration::from_millis(line.parse().expect("kcat prints milliseconds"));
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(now.saturating_sub(sent));
            }
        });
        Self { kcat, thread: Some(thread), ages }
    }

    /// The ages taken down since the last call.
    pub fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.ages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.kcat.kill().and_then(|()| self.kcat.wait()).expect("kcat can be ended");
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the follower read what kcat printed");
        }
    }
}
