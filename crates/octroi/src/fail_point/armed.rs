//! The points, and the one that this process was told to end at.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use crate::config::Environment;

/// Every point: as a start comes by, then a message, then a stop.
pub const POINTS: &[&str] = &[
    "boot.journal_is_open",
    "boot.ledger_is_replayed",
    "boot.policy_is_chosen",
    "boot.index_is_open",
    "boot.journal_has_its_owner",
    "boot.side_logs_run",
    "boot.relays_run",
    "boot.listens",
    "listener.accepted",
    "session.decoded",
    "ingress.decided",
    "ingress.hands_over",
    "committer.staged",
    "committer.synced",
    "committer.acked",
    "session.answers",
    "session.answered",
    "disk.before_create",
    "disk.before_header_sync",
    "disk.before_data_sync",
    "disk.after_data_sync",
    "disk.half_a_write",
    "disk.full",
    "disk.before_truncate",
    "disk.before_rename",
    "disk.before_directory_sync",
    "disk.after_directory_sync",
    "disk.before_remove",
    "disk.after_remove",
    "relay.read",
    "relay.drop_one",
    "relay.gated",
    "relay.offered",
    "relay.intent_is_on_record",
    "relay.acknowledged",
    "relay.withheld_is_kept",
    "relay.cursor_is_handed_over",
    "relay.rewound",
    "archive.before_file_sync",
    "archive.before_rename",
    "archive.after_rename",
    "archive.written",
    "keeper.copied",
    "keeper.kept",
    "keeper.announced",
    "keeper.fate_is_on_record",
    "keeper.settled",
    "side_log.synced",
    "side_log.indexed",
    "state.before_change",
    "aggregates.gathered",
    "aggregates.announced",
    "aggregates.closed",
    "aggregates.stored",
    "durable.before_rename",
    "durable.renamed",
    "policy.bits_are_registered",
    "policy.epoch_is_on_record",
    "policy.before_rename",
    "policy.version_is_kept",
    "policy.history_is_written",
    "policy.is_in_force",
    "backlog.is_done_with",
    "backlog.is_given_back",
    "stop.connections_ended",
    "stop.relays_ended",
    "stop.keeper_ended",
    "committer.seals",
];

/// `OCTROI_FAIL_POINT` names no point.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "OCTROI_FAIL_POINT: `{0}` is no `name:n` of a fail point and the number of its passage, from 1; several are \
     separated by commas. The points are {names}", names = POINTS.join(", ")
)]
pub struct BadFailPoint(String);

/// A point that something is to happen at, and after how many more passages.
struct Armed {
    name: &'static str,
    left: AtomicU64,
}

static ARMED: OnceLock<Vec<Armed>> = OnceLock::new();

/// Reads `OCTROI_FAIL_POINT`, once, before anything is passed.
///
/// # Errors
/// It names no point: a round that could not fail must not look like one that did not.
pub fn arm(environment: &Environment) -> Result<(), BadFailPoint> {
    let asked = environment.get("OCTROI_FAIL_POINT").map_or("", String::as_str);
    let armed = parse(asked)?;
    ARMED.get_or_init(|| armed);
    Ok(())
}

fn parse(asked: &str) -> Result<Vec<Armed>, BadFailPoint> {
    let one = |part: &str| {
        let (name, passage) = part.split_once(':')?;
        let left = passage.parse().ok().filter(|passage: &u64| *passage > 0)?;
        let name = POINTS.iter().copied().find(|known| *known == name)?;
        Some(Armed { name, left: AtomicU64::new(left) })
    };
    let parts = asked.split(',').filter(|part| !part.is_empty());
    parts.map(|part| one(part).ok_or_else(|| BadFailPoint(part.to_owned()))).collect()
}

/// This place is passed; at the passage that was asked for, it is the process's last.
pub fn reached(name: &str) {
    if due(name) {
        end();
    }
}

/// The same, and says whether this is the passage that was asked for: what happens then is the caller's.
#[must_use]
pub fn due(name: &str) -> bool {
    let armed = ARMED.get().map_or(&[][..], Vec::as_slice);
    let mut named = armed.iter().filter(|armed| armed.name == name);
    // Beyond zero it counts down from the top. Of two alike, the second strikes at the passage after the first.
    named.any(|armed| armed.left.fetch_sub(1, Ordering::Relaxed) == 1)
}

/// SIGKILL to oneself: this thread executes nothing more.
pub(super) fn end() -> ! {
    kill_process(getpid(), Signal::KILL).ok();
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_its_passage_and_nothing_else_is_taken() {
        let read = |text: &str| {
            let armed = parse(text).map_err(|error| error.to_string())?;
            Ok(armed.iter().map(|a| (a.name, a.left.load(Ordering::Relaxed))).collect::<Vec<_>>())
        };
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("relay.read:3"), Ok(vec![("relay.read", 3)]));
        let two = Ok(vec![("disk.full", 2), ("disk.before_truncate", 1)]);
        assert_eq!(read("disk.full:2,disk.before_truncate:1"), two);
        for bad in ["relay.read", "relay.read:0", "relay.read:x", "relay.raed:1", "relay.read:1,x:1"] {
            let said: Result<_, String> = read(bad);
            assert!(said.is_err_and(|said| said.contains("aggregates.gathered")), "{bad}");
        }
    }
}
