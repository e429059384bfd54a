//! The real binary under fire: killed at each of its fail points and at random
//! moments, restarted at once, and judged from outside. Publishers and an
//! operator go on meanwhile: the policy closes and opens, what is kept in
//! between is released.
//!
//! `OCTROI_KILLS` says how many kills (200; 1,000 in the long form),
//! `OCTROI_SEED` makes the same ones again. The binary is built with the
//! feature `fail-points`: `tests/run.sh` does, or see `needs::fire_binary`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use octroi_tests::hub::{Hub, binary, request};
use octroi_tests::load::{Load, Outcome, Plan, Stream, Version};
use octroi_tests::oracle::{Detours, Evidence, Verdict, judge, judge_with};
use octroi_tests::process::{holds_within, wait_until};
use octroi_tests::{needs, policy, report, root};

use crate::side_logs::know_the_posts_in;

/// Each fail point, and up to which of its passages in one life of a hub it is aimed at.
const POINTS: [(&str, u64); 68] = [
    ("boot.journal_is_open", 1),
    ("boot.ledger_is_replayed", 1),
    ("boot.policy_is_chosen", 1),
    ("boot.index_is_open", 1),
    ("boot.journal_has_its_owner", 1),
    ("boot.side_logs_run", 1),
    ("boot.relays_run", 1),
    ("boot.listens", 1),
    ("listener.accepted", 16),
    ("session.decoded", 200),
    ("ingress.decided", 200),
    ("ingress.hands_over", 100),
    ("committer.staged", 60),
    ("committer.synced", 60),
    ("committer.acked", 60),
    ("session.answers", 60),
    ("session.answered", 60),
    ("disk.before_create", 4),
    ("disk.before_header_sync", 4),
    ("disk.before_data_sync", 80),
    ("disk.after_data_sync", 80),
    ("disk.half_a_write", 80),
    (DISK_FULL, 40),
    ("disk.before_truncate", 40),
    ("disk.before_rename", 2),
    ("disk.before_directory_sync", 12),
    ("disk.after_directory_sync", 12),
    ("disk.before_remove", 1),
    ("disk.after_remove", 1),
    ("relay.read", 8),
    (DROP_ONE, 1),
    ("relay.gated", 100),
    ("relay.offered", 100),
    ("relay.intent_is_on_record", 3),
    ("relay.acknowledged", 3),
    ("relay.withheld_is_kept", 1),
    ("relay.cursor_is_handed_over", 3),
    ("relay.rewound", 6),
    ("archive.before_file_sync", 3),
    ("archive.before_rename", 3),
    ("archive.after_rename", 3),
    ("archive.written", 3),
    ("keeper.copied", 2),
    ("keeper.kept", 1),
    ("keeper.announced", 2),
    ("keeper.fate_is_on_record", 2),
    ("keeper.settled", 2),
    ("side_log.synced", 3),
    ("side_log.indexed", 3),
    ("state.before_change", 3),
    ("aggregates.gathered", 10),
    ("aggregates.announced", 1),
    ("aggregates.closed", 1),
    ("aggregates.stored", 2),
    ("durable.before_rename", 2),
    ("durable.renamed", 2),
    ("policy.bits_are_registered", 1),
    ("policy.epoch_is_on_record", 1),
    ("policy.before_rename", 1),
    ("policy.version_is_kept", 1),
    ("policy.history_is_written", 1),
    ("policy.is_in_force", 1),
    ("backlog.is_done_with", 1),
    ("backlog.is_given_back", 1),
    ("stop.connections_ended", 1),
    ("stop.relays_ended", 1),
    ("stop.keeper_ended", 1),
    ("committer.seals", 1),
];
/// Not deaths: a disk that is full once, and a record that a relay loses.
const DISK_FULL: &str = "disk.full";
const DROP_ONE: &str = "relay.drop_one";
/// Where no target lags they are not passed: `suite::backlog` has a kill at each of them.
const BACKLOG: &str = "backlog.";
const RANDOM: &str = "at a random moment";

/// A point that is not reached in this time is a round that failed.
const REACHED_WITHIN: Duration = Duration::from_secs(30);
/// How long each policy is in force: each change has what is in flight gated again.
const EACH_POLICY: Duration = Duration::from_millis(500);
/// What a leg's kills may have sent twice, under one id: a policy that changes between two lives withholds a part
/// of a batch that is on its target already, and the rest is sent in another batch.
const REPEATS: usize = 20 * LEG as usize;
/// Kills between two visits of the judge.
const LEG: u64 = 50;

/// What no rule knows while the policy is closed; large, so that segments are short-lived.
pub(crate) const POSTS: Stream = Stream {
    name: "post",
    user: "ville-mobilite",
    topic: "ville/mobilite/borne-%N%/etat",
    payload: concat!(
        r#"{"n":%ID%,"log":""#,
        "one line of two hundred and fifty-six bytes, as a charging point writes it when it is asked for its state: ",
        "socket 1 free, socket 2 in use for 00:41:07, 22.0 kW, 15.1 kWh; socket 3 out of order since yesterday, ",
        "the technician is told; firmware 4.2.1, door closed, 21 degrees",
        "one line of two hundred and fifty-six bytes, as a charging point writes it when it is asked for its state: ",
        "socket 1 free, socket 2 in use for 00:41:07, 22.0 kW, 15.1 kWh; socket 3 out of order since yesterday, ",
        "the technician is told; firmware 4.2.1, door closed, 21 degrees",
        r#""}"#
    ),
    reaches: &["dc-rennes"],
    never: &["dc-morbihan", "dc-bretagne", "cloud-confiance"],
};
/// What a camera says of itself may only raise: held while the policy is closed.
pub(crate) const RESTRICTED: Stream = Stream {
    name: "restricted",
    user: "ville-mobilite",
    topic: "ville/mobilite/garde-%N%/anpr",
    payload: r#"{"type":"AnprFlowObserved","device":"garde-%N%","plate":"R-%ID%","sensitivity":"restricted"}"#,
    reaches: &["dc-rennes"],
    never: &["dc-morbihan", "dc-bretagne", "cloud-confiance"],
};
const STREAMS: [Stream; 6] =
    [policy::COUNTS, policy::PLATES, policy::WASTE, POSTS, RESTRICTED, policy::WATER];
const WATER: usize = 5;
pub(crate) const DETOURS: Detours<'_> = Detours {
    released: &["restricted", "post"],
    aggregates: &[("cloud-confiance", "eau-agregats-vers-cloud")],
};

/// SplitMix64 (Steele, Lea, Flood 2014): the same kills again for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// A policy that has no place for what is restricted and no rule for the posts, and one under which both flow.
#[derive(Clone)]
pub(crate) struct Policies {
    hub: SocketAddr,
    closed: PathBuf,
    open: PathBuf,
    /// The last number of the version that was last asked for: each is above the one in force.
    version: Arc<AtomicU32>,
}

impl Policies {
    pub(crate) fn install(hub: &Hub) -> Self {
        let [closed, open] = ["closed", "open"].map(|name| hub.path(name));
        for directory in [&closed, &open] {
            policy::install(directory);
            policy::edit(directory, "window = \"P1D\"", "window = \"PT2S\"");
        }
        // A room of its own, approved for what is restricted.
        let shared = "reversibility = \"CONV-2026-01, article 12 : restitution en formats ouverts sous 30 jours\"\n\
                      homologation = { until = 2027-06-30, dr = false }";
        policy::edit(&open, shared, &shared.replace("dr = false", "dr = true"));
        let contract = "tenancy = \"shared\"\nprocessor_contract = \"CONV-2026-01\"";
        policy::edit(&open, contract, &contract.replace("shared", "dedicated"));
        let restricted = "min_level = \"restricted\", target = [\"dc-rennes\", \"dc-morbihan\"]";
        policy::edit(&open, restricted, &restricted.replace("\"dc-rennes\", ", ""));
        know_the_posts_in(&open);
        Self { hub: hub.http(), closed, open, version: Arc::new(AtomicU32::new(100)) }
    }

    pub(crate) fn close(&self) -> bool {
        self.activate(&self.closed)
    }

    pub(crate) fn open(&self) -> bool {
        self.activate(&self.open)
    }

    fn activate(&self, policy: &Path) -> bool {
        let version = policy::version(policy);
        let next = format!("2026.11.{}", self.version.fetch_add(1, Ordering::Relaxed));
        policy::edit(policy, &format!("version = \"{version}\""), &format!("version = \"{next}\""));
        post(self.hub, "/api/v1/policy/activate", &format!("{{\"path\":\"{}\"}}", policy.display()))
    }
}

/// What an operator's step came to; a hub that is down answers nothing.
fn post(hub: SocketAddr, path: &str, json: &str) -> bool {
    request(hub, "POST", path, json).is_ok_and(|(status, _)| status == 200)
}

pub(crate) fn release(hub: SocketAddr) -> bool {
    post(hub, "/api/v1/quarantine/release", "{\"all\":true}")
}

/// How many messages the index knows in quarantine and in the hold log.
pub(crate) fn kept(hub: &Hub) -> [usize; 2] {
    ["quarantine", "hold"].map(|log| {
        let (status, list) =
            hub.get(&format!("/api/v1/quarantine?log={log}&limit=1000")).expect("it answers");
        assert_eq!(status, 200, "{list}");
        let list: serde_json::Value = serde_json::from_str(&list).expect("a list is JSON");
        list.as_array().expect("a list").len()
    })
}

/// An operator who closes and opens the policy and releases what was kept, for ever.
struct Operator {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Operator {
    fn start(policies: Policies) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                policies.close();
                sleep(EACH_POLICY);
                policies.open();
                sleep(EACH_POLICY);
                release(policies.hub);
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("an operator does not panic");
    }
}

/// The publishers of one leg.
struct Loads {
    mixed: Load,
    meters: Load,
}

impl Loads {
    fn start(hub: SocketAddr, leg: u64) -> Self {
        let plan = Plan { version: Version::V5, connections: 1, window: 40, rate: Some(100), messages: None };
        let meters = Plan { version: Version::V311, connections: 12, window: 10, rate: Some(8), ..plan };
        Self {
            mixed: Load::start(hub, &STREAMS[..WATER], plan, 2 * leg),
            meters: Load::start(hub, &STREAMS[WATER..], meters, 2 * leg + 1),
        }
    }

    fn acknowledged(&self) -> u64 {
        self.mixed.acknowledged() + self.meters.acknowledged()
    }

    fn stop(self) -> [Outcome; 2] {
        let mixed = self.mixed.stop(Duration::from_secs(60));
        let mut meters = self.meters.stop(Duration::from_secs(60));
        meters.connections.iter_mut().flatten().for_each(|sent| sent.stream = WATER);
        [mixed, meters]
    }
}

/// How one life of the hub is to end.
struct Kill {
    name: &'static str,
    /// What the binary is told.
    fail_point: String,
    /// After this long in any case, if the moment is random.
    after: Option<Duration>,
}

impl Kill {
    /// Every fourth is at a random moment; the others go round the points.
    fn number(kill: u64, random: &mut Random) -> Self {
        let at_random = |fail_point: String, name, random: &mut Random| Self {
            name,
            fail_point,
            after: Some(Duration::from_millis(random.below(1_200))),
        };
        if kill % 4 == 3 {
            return at_random(String::new(), RANDOM, random);
        }
        let elsewhere = |name: &str| name == DROP_ONE || name.starts_with(BACKLOG);
        let points: Vec<_> = POINTS.iter().filter(|(name, _)| !elsewhere(name)).collect();
        let (name, most) = points[(kill - kill / 4) as usize % points.len()];
        let passage = 1 + random.below(*most);
        match *name {
            // Not while it starts, where a full disk is a start that fails.
            DISK_FULL => at_random(format!("{DISK_FULL}:{}", passage + 20), name, random),
            // Full again while what was written of the group is being cleared.
            "disk.before_truncate" => {
                let full = format!("{DISK_FULL}:{}", passage + 20);
                Self { name, fail_point: format!("{full},{full},{name}:1"), after: None }
            }
            name => Self { name, fail_point: format!("{name}:{passage}"), after: None },
        }
    }

    fn is_at_a_stop(&self) -> bool {
        self.name.starts_with("stop.") || self.name == "committer.seals"
    }
}

/// One life: started, told to stop if it is a stop that is cut short, killed.
fn live(hub: &mut Hub, fire: &Path, loads: &Loads, kill: &Kill) -> Result<(), String> {
    hub.fail_at(fire, &kill.fail_point);
    let before = loads.acknowledged();
    hub.spawn();
    if kill.is_at_a_stop() {
        holds_within(REACHED_WITHIN, || {
            loads.acknowledged() > before + 20 || hub.process().ended().is_some()
        });
        hub.process().signal("TERM");
    }
    match (hub.ends_within(kill.after.unwrap_or(REACHED_WITHIN)), kill.after) {
        (Some(status), None) if status.signal() == Some(9) => Ok(()),
        (Some(status), _) => Err(format!("{}: the hub ended with {status}", kill.fail_point)),
        (None, after) => {
            hub.kill();
            after.map(drop).ok_or_else(|| format!("{}: not reached", kill.fail_point))
        }
    }
}

/// Lets everything flow, drains, and asks the judge. The targets are empty afterwards.
fn settle(hub: &mut Hub, fire: &Path, policies: &Policies, loads: Loads, leg: u64) -> Verdict {
    hub.fail_at(fire, "");
    hub.run();
    let outcomes = loads.stop();
    wait_until("the policy is open", Duration::from_secs(30), || policies.open());
    wait_until("nothing is kept any more", Duration::from_secs(60), || {
        release(policies.hub);
        kept(hub) == [0, 0]
    });
    let scrape = hub.drained(Duration::from_secs(60));
    let delivered = hub.archives();
    let evidence = Evidence {
        streams: &STREAMS,
        outcomes: &outcomes,
        delivered: &delivered,
        scrape: &scrape,
        repeats_allowed: REPEATS,
    };
    let verdict = judge_with(&evidence, &DETOURS);
    verdict.assert_kept(&format!("leg {leg} under fire"));
    hub.kill();
    // What was judged is taken away: were any of it sent again, the next leg's judge does not know it.
    for target in policy::TARGETS {
        for entry in fs::read_dir(hub.path(target)).expect("an archive is readable") {
            let path = entry.expect("an archive is readable").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("space=")) {
                fs::remove_dir_all(path).expect("an archive can be emptied");
            }
        }
    }
    verdict
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable}={value}")))
}

#[test]
fn nothing_is_lost_whatever_point_the_hub_is_killed_at() {
    let Some(fire) = needs::fire_binary() else { return };
    let _machine = needs::exclusive();
    let kills = number_of("OCTROI_KILLS").unwrap_or(if needs::long() { 1_000 } else { 200 });
    let seed = number_of("OCTROI_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos().into())
    });
    println!("OCTROI_KILLS={kills} OCTROI_SEED={seed}");
    let mut random = Random(seed);
    let mut hub = Hub::prepared(&[], "");
    let policies = Policies::install(&hub);
    let mut table: BTreeMap<&str, (u64, Duration)> = BTreeMap::new();
    let (mut failed, mut acknowledged, mut aggregates) = (Vec::new(), 0, 0);
    let start = Instant::now();
    for (leg, first) in (0..kills).step_by(LEG as usize).enumerate() {
        let loads = Loads::start(hub.mqtt(), leg as u64);
        let operator = Operator::start(policies.clone());
        for kill in first..kills.min(first + LEG) {
            let kill = Kill::number(kill, &mut random);
            let began = Instant::now();
            match live(&mut hub, &fire, &loads, &kill) {
                Ok(()) => {
                    let (count, took) = table.entry(kill.name).or_default();
                    (*count, *took) = (*count + 1, *took + began.elapsed());
                }
                Err(reason) => {
                    println!("round failed: {reason}");
                    failed.push(reason);
                }
            }
        }
        operator.stop();
        let verdict = settle(&mut hub, &fire, &policies, loads, leg as u64);
        acknowledged += verdict.acknowledged;
        aggregates += verdict.aggregates;
    }
    let rows: Vec<(&str, String)> = table
        .iter()
        .map(|(name, (count, took))| {
            (*name, format!("{count:4} kills, {:5.2} s a life", took.as_secs_f64() / *count as f64))
        })
        .collect();
    report::table("kills by point", &rows);
    let done: u64 = table.values().map(|(count, _)| count).sum();
    report::table(
        "under fire",
        &[
            ("kills", done.to_string()),
            ("points", (table.len() - usize::from(table.contains_key(RANDOM))).to_string()),
            ("acknowledged", acknowledged.to_string()),
            ("aggregates", aggregates.to_string()),
            ("in all", format!("{:.0} s", start.elapsed().as_secs_f64())),
            ("seed", seed.to_string()),
        ],
    );
    assert!(acknowledged > 20 * kills && (aggregates > 0 || kills < LEG), "the load was a load");
    assert!(failed.is_empty(), "{} rounds failed:\n  {}", failed.len(), failed.join("\n  "));
}

#[test]
fn a_record_that_a_relay_loses_shows_in_the_metric_over_restarts_and_to_the_judge() {
    let Some(fire) = needs::fire_binary() else { return };
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    hub.fail_at(&fire, &format!("{DROP_ONE}:5"));
    hub.run();
    let plan = Plan { version: Version::V5, connections: 2, window: 20, rate: None, messages: Some(50) };
    let outcomes = [Load::start(hub.mqtt(), &[policy::COUNTS], plan, 0).finish(Duration::from_secs(30))];
    let unaccounted = |hub: &Hub| hub.metrics().sum("octroi_unaccounted_messages", &[]);
    wait_until("the loss shows", Duration::from_secs(30), || unaccounted(&hub) == 1.0);
    hub.kill();
    hub.fail_at(&fire, "");
    hub.run();
    wait_until("the loss shows after a restart", Duration::from_secs(30), || unaccounted(&hub) == 1.0);
    let (scrape, delivered) = (hub.metrics(), hub.archives());
    let evidence = Evidence {
        streams: &[policy::COUNTS],
        outcomes: &outcomes,
        delivered: &delivered,
        scrape: &scrape,
        repeats_allowed: 0,
    };
    let verdict = judge(&evidence);
    assert_eq!((verdict.missing.len(), verdict.unbalanced.len()), (1, 2), "{verdict:?}");
}

#[test]
fn a_fail_point_that_does_not_exist_is_refused() {
    let Some(fire) = needs::fire_binary() else { return };
    let mut hub = Hub::prepared(&[], "");
    hub.fail_at(&fire, "relay.raed:1");
    hub.spawn();
    let status = hub.ends_within(Duration::from_secs(20)).expect("it ends at once");
    assert_eq!(status.code(), Some(78), "{}", hub.log());
    assert!(hub.log().contains("`relay.raed:1` is no"), "{}", hub.log());
}

/// The string literals that follow `before` in a text.
fn literals<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

#[test]
fn each_fail_point_stands_in_one_place_of_the_sources() {
    let mut called = Vec::new();
    let mut directories = vec![root().join("crates/octroi/src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            called.extend(
                ["reached(\"", "due(\""].iter().flat_map(|call| literals(&text, call).map(str::to_owned)),
            );
        }
    }
    let list = fs::read_to_string(root().join("crates/octroi/src/fail_point/armed.rs")).unwrap();
    let list = list.split("POINTS: &[&str] = &[").nth(1).unwrap().split("];").next().unwrap();
    let known: BTreeSet<&str> = literals(list, "    \"").collect();
    let aimed_at: BTreeSet<&str> = POINTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(called.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    assert_eq!(called.len(), known.len(), "a point stands in two places: {called:?}");
    assert_eq!(aimed_at, known, "each point is aimed at");
    assert!(known.len() >= 25);
}

#[test]
fn the_binary_that_is_shipped_has_no_fail_points() {
    let Some(fire) = needs::fire_binary() else { return };
    let told = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(17).any(|window| window == b"OCTROI_FAIL_POINT")
    };
    assert!(told(&fire), "what is looked for is there to be found");
    assert!(!told(&binary()), "`{}` can be told to fail", binary().display());
}
