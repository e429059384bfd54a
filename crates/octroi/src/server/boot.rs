//! Opening a hub: journal, policy, side logs, outlets, relays.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use arc_swap::ArcSwap;
use octroi_journal::{Batch, ChunkBuilder, Journal, OpenError, Options, RealDisk, Recovery, TargetBit};
use octroi_policy::{Policy, SourceFile, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Parts, RelaySeen, Server, Threads, elapsed};
use crate::aggregator::Aggregator;
use crate::backlog::{Backlogs, Directory, Lane, Place, Source};
use crate::clock::{Clock, PolicyClock};
use crate::committer::{Committer, Control, Ended, Inbox};
use crate::config::{Config, Environment, OutletConfig};
use crate::exit::{Exit, Failure, OrExit};
use crate::fail_point;
use crate::keeper::{Errand, Feed, Keeper, Keeping, Leaving, Requests, SideLog};
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::limits;
use crate::metrics::Metrics;
use crate::outlet::switch::Switch;
use crate::outlet::{Outlet, archive, kafka};
use crate::pipeline::{Relay, RelayView};
use crate::policies::{self, ActivateError, Active, Bits, Policies, Store};
use crate::record::{Log, RecordKind};
use crate::sessions::Sessions;
use crate::state::{Found, State};

pub(super) fn open(
    config: Config,
    environment: &Environment,
    clock: Arc<dyn Clock>,
) -> Result<Server, Failure> {
    let data = config.data_dir.clone();
    fs::create_dir_all(&data)
        .map_err(|error| anyhow::Error::from(error).context(format!("cannot make `{}`", data.display())))
        .or_exit(Exit::Io)?;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).or_exit(Exit::Io)?);
    let (mut journal, recovery) =
        open_journal(&data.join("journal"), &config, Size::journal(config.journal.limit))?;
    fail_point::reached("boot.journal_is_open");
    let mut ledger = replay(&journal, &recovery).or_exit(Exit::Io)?;
    fail_point::reached("boot.ledger_is_replayed");
    tell(&recovery);
    let wall = Arc::clone(&clock);
    let policy_clock = Arc::new(PolicyClock::new(wall, Timestamp(ledger.tally.latest.max(0))));
    let keys = Arc::new(Keys::open(config.keys_dir.clone(), &data, environment).or_exit(Exit::Config)?);
    keys.destroy_past(policy_clock.now());
    let policies = first_policy(&config, &keys, &policy_clock, &metrics, &mut journal, &mut ledger)?;
    fail_point::reached("boot.policy_is_chosen");
    let (state, found) = State::open(&data.join("state")).or_exit(Exit::Io)?;
    let index_rebuilt = tell_of_index(found, recovery.opened_new);

    fail_point::reached("boot.index_is_open");
    let (failed_tell, failed) = mpsc::channel(8);
    let sessions = Sessions::new(&ledger.sessions, Instant::now());
    let (errands_tell, errands) = std::sync::mpsc::sync_channel(limits::ERRANDS);
    let mut parts = Parts {
        started: clock.now(),
        generation: journal.generation(),
        index_rebuilt,
        reader: journal.reader(0),
        inbox: Arc::default(),
        watermark: Arc::default(),
        journal: Arc::default(),
        relays: Vec::new(),
        state: Arc::new(state),
        config,
        clock,
        policy_clock,
        metrics,
        policies,
        keys,
        credentials: Arc::default(),
        errands: errands_tell,
        side_logs: BTreeMap::new(),
    };
    let committer = start_committer(&parts, journal, ledger, failed_tell.clone())?;
    fail_point::reached("boot.journal_has_its_owner");
    let keeper_stop = Arc::new(AtomicBool::new(false));
    let (keeper, requests) = Keeper::new();
    let keeper = Arc::new(keeper);
    let keeping =
        start_keeper(&mut parts, (requests, errands), Arc::clone(&keeper_stop), failed_tell.clone())?;
    fail_point::reached("boot.side_logs_run");
    let aggregates_stop = Arc::new(AtomicBool::new(false));
    let aggregates = start_aggregates(&parts, Arc::clone(&aggregates_stop), failed_tell.clone())?;
    let relays_stop = Arc::new(AtomicBool::new(false));
    let (relays, seen, lanes) = start_relays(&parts, &keeper, &relays_stop, &failed_tell)?;
    let backlogs = start_backlogs(&parts, lanes, Arc::clone(&relays_stop), failed_tell)?;
    parts.relays = seen;
    fail_point::reached("boot.relays_run");
    let threads = Threads {
        aggregates,
        relays,
        backlogs,
        keeper: keeping,
        committer,
        aggregates_stop,
        relays_stop,
        keeper_stop,
        requests: Some(keeper),
    };
    Ok(Server { parts: Arc::new(parts), sessions, threads, failed })
}

/// The policy of this start, with its bits on disk.
fn first_policy(
    config: &Config,
    keys: &Keys,
    clock: &PolicyClock,
    metrics: &Metrics,
    journal: &mut Journal,
    ledger: &mut Ledger,
) -> Result<Arc<Policies>, Failure> {
    let store = Store::open(config.data_dir.join("policies")).or_exit(Exit::Io)?;
    let (policy, files, tests, new) = choose_policy(config, &store)?;
    outlets_fit(config, &policy)?;
    keys.check(policy.document()).or_exit(Exit::Config)?;
    let bits = register_first(journal, ledger, &target_ids(&policy), config)?;
    let since = if new { clock.now() } else { Timestamp(ledger.epoch.since) };
    let active = Active::new(policy, tests, since, bits, metrics);
    if new {
        note_first(journal, ledger, &active)?;
        Policies::keep(&store, &active, &files).or_exit(Exit::Io)?;
    }
    Ok(Arc::new(Policies::new(active, store)))
}

type Failed = mpsc::Sender<Failure>;

fn start_committer(
    parts: &Parts,
    journal: Journal,
    ledger: Ledger,
    failed: Failed,
) -> Result<thread::JoinHandle<()>, Failure> {
    let (policies, share) = (Arc::clone(&parts.policies), parts.config.journal.source);
    let most = Box::new(move |sender: &str| policies.current().journal_bytes(sender).min(share));
    let committer = Committer::new(
        (journal, most),
        ledger,
        Arc::clone(&parts.inbox),
        Arc::clone(&parts.watermark),
        Arc::clone(&parts.journal),
        Arc::clone(&parts.metrics),
    );
    let origin_of_time = Instant::now();
    spawn("journal", move || match committer.run(elapsed(origin_of_time)) {
        Ended::Stopped => {}
        Ended::Failed(error) => {
            // The receiver is gone only when the hub stops for another reason.
            failed.blocking_send(Failure::new(Exit::Io, error)).ok();
        }
    })
}

fn start_keeper(
    parts: &mut Parts,
    (requests, errands): (Requests, std::sync::mpsc::Receiver<Errand>),
    stop: Arc<AtomicBool>,
    failed: Failed,
) -> Result<thread::JoinHandle<()>, Failure> {
    let config = &parts.config;
    let side_log = |log: Log, limit: u64| -> Result<SideLog, Failure> {
        let directory = config.data_dir.join(log.name());
        let (journal, recovery) = open_journal(&directory, config, Size::journal(limit))?;
        tell(&recovery);
        SideLog::recover(log, journal, &recovery).or_exit(Exit::Io)
    };
    let quarantine = side_log(Log::Quarantine, config.journal.quarantine)?;
    let hold = side_log(Log::Hold, config.journal.hold)?;
    parts.side_logs = [(Log::Quarantine, &quarantine), (Log::Hold, &hold)]
        .map(|(log, side)| (log, (side.generation(), side.reader())))
        .into();
    let feed = |bit: TargetBit| {
        let position = parts.journal.load().position(bit);
        Feed::new(bit, parts.reader.at(position), position)
    };
    let active = parts.policies.current();
    let bits = active.bits.clone();
    let ledger = &parts.journal.load().ledger;
    let on_record = active.epoch(Timestamp(ledger.tally.latest.max(0)).date());
    let keeping = Keeping {
        requests,
        errands,
        quarantine,
        hold,
        feeds: [feed(bits.quarantine), feed(bits.hold)],
        generation: parts.generation,
        inbox: Arc::clone(&parts.inbox),
        watermark: Arc::clone(&parts.watermark),
        policies: Arc::clone(&parts.policies),
        clock: Arc::clone(&parts.policy_clock),
        state: Arc::clone(&parts.state),
        stop,
        leaving: Leaving::new(ledger.fate.clone(), on_record),
    };
    spawn("side-logs", move || {
        yield_to_ingest();
        if let Err(error) = keeping.run() {
            failed.blocking_send(Failure::new(Exit::Io, error)).ok();
        }
    })
}

fn start_aggregates(
    parts: &Parts,
    stop: Arc<AtomicBool>,
    failed: Failed,
) -> Result<thread::JoinHandle<()>, Failure> {
    let bit = parts.policies.current().bits.aggregates;
    let aggregator = Aggregator {
        bit,
        reader: parts.reader.at(parts.journal.load().position(bit)),
        path: parts.config.data_dir.join("aggregates"),
        policies: Arc::clone(&parts.policies),
        clock: Arc::clone(&parts.policy_clock),
        keys: Arc::clone(&parts.keys) as _,
        inbox: Arc::clone(&parts.inbox),
        watermark: Arc::clone(&parts.watermark),
        metrics: Arc::clone(&parts.metrics),
        stop,
    };
    // As recovered: what others write into the journal from here on closes no window.
    let (view, generation) = (parts.journal.load_full(), parts.generation);
    spawn("aggregates", move || {
        yield_to_ingest();
        if let Err(error) = aggregator.run(&view, generation) {
            failed.blocking_send(Failure::new(Exit::Io, error)).ok();
        }
    })
}

/// The relays' threads, what others see of them, and the lanes of their backlogs.
type Relays = (Vec<thread::JoinHandle<()>>, Vec<RelaySeen>, Vec<Lane>);

fn start_relays(
    parts: &Parts,
    keeper: &Arc<Keeper>,
    stop: &Arc<AtomicBool>,
    failed: &Failed,
) -> Result<Relays, Failure> {
    let (mut relays, mut seen, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
    let backlogs = parts.config.data_dir.join("backlog");
    make_directory(&backlogs).or_exit(Exit::Io)?;
    for (target, outlet) in &parts.config.outlets {
        let Some(bit) = bit_of(parts, target) else { continue };
        let inner = open_outlet(target, outlet, parts)?;
        let outlet_box = Box::new(Switch::new(inner, bit.index(), Arc::clone(&parts.journal)));
        let since = parts.clock.now();
        let view = Arc::new(ArcSwap::from_pointee(RelayView { since, ..RelayView::default() }));
        let place = backlog(parts, &backlogs, target, bit);
        let journal = parts.journal.load();
        let lane = Lane::recover(place, &parts.reader, &journal, Arc::clone(&view), Instant::now());
        let (lane, source, from) = lane.or_exit(Exit::Io)?;
        let (target, kind, shelf) = (target.clone(), outlet.kind(), lane.shelf());
        let relay_seen = RelaySeen { target, kind, bit: bit.index(), view, shelf };
        let relay = relay(parts, &relay_seen, (bit, source), outlet_box, keeper, stop);
        let (target, failed) = (relay_seen.target.clone(), failed.clone());
        relays.push(spawn(&format!("relay-{target}"), move || {
            yield_to_ingest();
            if let Err(error) = relay.run(from, Instant::now) {
                failed.blocking_send(Failure::new(Exit::Io, error)).ok();
            }
        })?);
        seen.push(relay_seen);
        lanes.push(lane);
    }
    Ok((relays, seen, lanes))
}

/// Where a target's backlog is, or would be: of this journal alone, whose numbers stand in it.
fn backlog(parts: &Parts, directory: &Path, target: &str, bit: TargetBit) -> Place {
    let path = directory.join(format!("{target}@{:016x}", parts.generation));
    let (config, at) = (parts.config.clone(), path.clone());
    let segment_bytes = limits::BACKLOG_SEGMENT_BYTES.min(config.journal.backlog / 16);
    let size = Size { limit_bytes: config.journal.backlog, segment_bytes };
    let open = move || {
        let (journal, recovery) = open_journal(&at, &config, size).map_err(|failure| failure.error)?;
        tell(&recovery);
        Ok((journal, recovery))
    };
    Place { target: target.to_owned(), bit, home: Box::new(Directory { path, open }) }
}

fn start_backlogs(
    parts: &Parts,
    lanes: Vec<Lane>,
    stop: Arc<AtomicBool>,
    failed: Failed,
) -> Result<thread::JoinHandle<()>, Failure> {
    let backlogs = Backlogs {
        lanes,
        inbox: Arc::clone(&parts.inbox),
        watermark: Arc::clone(&parts.watermark),
        journal: Arc::clone(&parts.journal),
        crowded: parts.config.journal.limit / 2,
        stop,
    };
    spawn("backlogs", move || {
        yield_to_ingest();
        if let Err(error) = backlogs.run(Instant::now) {
            failed.blocking_send(Failure::new(Exit::Io, error)).ok();
        }
    })
}

/// Makes a directory, durably.
fn make_directory(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn relay(
    parts: &Parts,
    seen: &RelaySeen,
    (bit, reader): (TargetBit, Source),
    outlet: Box<dyn Outlet>,
    keeper: &Arc<Keeper>,
    stop: &Arc<AtomicBool>,
) -> Relay {
    Relay {
        target: seen.target.clone(),
        bit,
        generation: parts.generation,
        reader,
        outlet,
        origin: format!("{}/{:016x}", parts.config.hub, parts.generation),
        policies: Arc::clone(&parts.policies),
        clock: Arc::clone(&parts.policy_clock),
        keys: Arc::clone(&parts.keys) as _,
        inbox: Arc::clone(&parts.inbox),
        watermark: Arc::clone(&parts.watermark),
        journal: Arc::clone(&parts.journal),
        keeper: Arc::clone(keeper),
        metrics: parts.metrics.target(&seen.target),
        view: Arc::clone(&seen.view),
        stop: Arc::clone(stop),
    }
}

/// The bit of an outlet's target, whether or not the policy in force names it.
fn bit_of(parts: &Parts, target: &str) -> Option<TargetBit> {
    let view = parts.journal.load();
    view.targets.iter().find(|(name, ..)| name == target).map(|(_, bit, _)| *bit)
}

/// Lowers this thread's priority: catching up never starves what publishers wait for.
fn yield_to_ingest() {
    const NICE: i32 = 10;
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICE) {
        tracing::warn!(%error, "a relay runs at full priority");
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Failure> {
    thread::Builder::new().name(name.to_owned()).spawn(run).or_exit(Exit::Io)
}

/// What a journal may take, and in what pieces.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    limit_bytes: u64,
    segment_bytes: u64,
}

impl Size {
    /// Of the journal or a side log with that limit.
    pub(crate) fn journal(limit_bytes: u64) -> Self {
        Self { limit_bytes, segment_bytes: limits::SEGMENT_BYTES.min(limit_bytes / 16) }
    }
}

/// Opens a journal, or one of the logs beside it.
pub(crate) fn open_journal(path: &Path, config: &Config, size: Size) -> Result<(Journal, Recovery), Failure> {
    let disk = RealDisk::new(path)
        .map_err(|error| anyhow::Error::from(error).context(format!("cannot open `{}`", path.display())))
        .or_exit(Exit::Io)?;
    let Size { limit_bytes, segment_bytes } = size;
    // The reserve is a segment: cursors can always be written.
    let options =
        Options { hub: config.hub.clone(), segment_bytes, limit_bytes, reserve_bytes: segment_bytes };
    let mut entropy = || {
        let mut bytes = [0; 8];
        // A journal without randomness could repeat an id of another: better not to start.
        getrandom::fill(&mut bytes).map(|()| u64::from_le_bytes(bytes)).unwrap_or(0)
    };
    Journal::open(fail_point::disk(disk), options, &mut entropy).map_err(|error| {
        let exit = match &error {
            OpenError::Locked => Exit::Locked,
            OpenError::NewerFormat { .. }
            | OpenError::ForeignHub { .. }
            | OpenError::Damaged { .. }
            | OpenError::Options(_)
            | OpenError::Io { .. } => Exit::Io,
        };
        Failure::new(exit, anyhow::Error::from(error).context(format!("the journal at `{}`", path.display())))
    })
}

/// The ledger: the snapshot of the last segment, and what was written behind it.
///
/// # Errors
/// A record, or the snapshot, is none of ours.
pub fn replay(journal: &Journal, recovery: &Recovery) -> anyhow::Result<Ledger> {
    let mut ledger = Ledger::from_snapshot(&recovery.snapshot)?;
    let mut reader = journal.reader(recovery.snapshot_seq);
    let (mut batch, mut at) = (Batch::default(), recovery.snapshot_seq);
    while at < journal.next_seq() {
        reader.next(None, limits::RELAY_READ_BYTES, &mut batch)?;
        for entry in batch.iter() {
            ledger.apply(RecordKind::of(entry.kind)?, entry.targets, entry.bytes)?;
            ledger.assigned(entry.targets, entry.seq + 1);
        }
        if batch.end() <= at {
            break;
        }
        at = batch.end();
    }
    Ok(ledger)
}

fn tell(recovery: &Recovery) {
    if recovery.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovery.torn_bytes,
            "a write that nobody was told of was cut off by the last stop"
        );
    }
    for range in &recovery.fenced {
        tracing::error!(
            first = range.start,
            end = range.end,
            "damaged records are fenced; every byte is kept"
        );
    }
}

/// Why the index of the side logs is made anew; empty: it is not.
fn tell_of_index(found: Found, first_start: bool) -> &'static str {
    let why = match found {
        Found::Missing if !first_start => "missing",
        Found::Whole | Found::Missing => return "",
        Found::Damaged => "damaged",
        Found::OtherFormat => "of another format",
    };
    tracing::warn!(
        "the index of the side logs was {why}: it is made anew from them, and nothing is lost; what was there \
         stands in `state.aside`"
    );
    why
}

/// The policy of this start: the last activated one; at the first start the configured one, if it passes.
fn choose_policy(config: &Config, store: &Store) -> Result<(Policy, Vec<SourceFile>, u64, bool), Failure> {
    let history = store.history().or_exit(Exit::Config)?;
    let (files, new) = match history.last() {
        Some(last) => {
            let files = store.files(&last.hash).ok_or_else(|| {
                anyhow::anyhow!(
                    "the policy in force ({} {}, {}) is not readable in `{}`: restore it from a backup; the hub does \
                     not start without it",
                    last.id, last.version, last.hash, config.data_dir.join("policies").display()
                )
            });
            (files.or_exit(Exit::Config)?, false)
        }
        None => (policies::read_policy(&config.policy).or_exit(Exit::Config)?, true),
    };
    let review = policies::review(&files);
    let refusals = review.refusals();
    match review.policy {
        Some(policy) if refusals.is_empty() => Ok((policy, files, review.tests.len() as u64, new)),
        // It was in force before this program knew the check: a stop of the whole hub would protect nobody.
        Some(policy) if !new => {
            for finding in &refusals {
                let (code, at, what) = (finding.code, &finding.location, &finding.message.en);
                tracing::warn!(%code, %at, what, "the policy in force would not be activated again: mend it");
            }
            Ok((policy, files, review.tests.len() as u64, new))
        }
        _ => {
            let text: Vec<String> = refusals
                .iter()
                .map(|finding| octroi_policy::render(finding, &files, octroi_policy::Lang::En, false))
                .collect();
            Err(Failure::new(
                Exit::Config,
                anyhow::anyhow!(
                    "the policy at `{}` does not pass:\n{}",
                    config.policy.display(),
                    text.join("\n")
                ),
            ))
        }
    }
}

/// A target without an outlet, or an outlet without a target.
fn outlets_fit(config: &Config, policy: &Policy) -> Result<(), Failure> {
    if let Some(target) = policy.targets().iter().find(|target| !config.outlets.contains_key(&target.id)) {
        return Err(Failure::new(
            Exit::Config,
            anyhow::anyhow!(
                "the policy's target `{0}` has no outlet: add `[outlet.{0}]` to the configuration",
                target.id
            ),
        ));
    }
    let named = target_ids(policy);
    let candidate = candidate_targets(config);
    if let Some(outlet) = config.outlets.keys().find(|id| !named.contains(id) && !candidate.contains(id)) {
        return Err(Failure::new(
            Exit::Config,
            anyhow::anyhow!(
                "`[outlet.{outlet}]` is no target of the policy in force nor of the configured one: remove it, or name \
                 the target there"
            ),
        ));
    }
    Ok(())
}

/// The targets of the configured policy, which `octroi policy activate` may take up: their outlets may be
/// there already.
fn candidate_targets(config: &Config) -> Vec<String> {
    let files = policies::read_policy(&config.policy).unwrap_or_default();
    octroi_policy::parse(&files).document.target.iter().map(|target| target.id.clone()).collect()
}

fn target_ids(policy: &Policy) -> Vec<String> {
    policy.targets().iter().map(|target| target.id.clone()).collect()
}

/// The bits of the first policy's targets and of the side logs, on disk before anything else runs.
fn register_first(
    journal: &mut Journal,
    ledger: &Ledger,
    targets: &[String],
    config: &Config,
) -> Result<Bits, Failure> {
    let head = journal.next_seq();
    // An outlet whose target a later policy may name has its bit already: nothing is assigned to it yet.
    for outlet in config.outlets.keys() {
        journal.register_target(outlet, head).or_exit(Exit::Io)?;
    }
    let internal = [policies::QUARANTINE, policies::HOLD, policies::AGGREGATES];
    for target in journal.targets() {
        let name = target.name.as_str();
        if internal.contains(&name) || config.outlets.contains_key(name) {
            continue;
        }
        let pending = ledger.pending(target.bit.index());
        if pending > 0 {
            return Err(Failure::new(
                Exit::Config,
                anyhow::anyhow!(
                    "{pending} records wait for the target `{name}`, which has no `[outlet.{name}]` any more: keep the \
                     outlet until they are delivered, or held because the policy no longer names the target"
                ),
            ));
        }
        // Nothing waits for it: its cursor must not pin old segments.
        journal.retire_target(target.bit);
    }
    let bits = Bits::names(targets).map(|name| journal.register_target(&name, head));
    let bits = bits.collect::<Result<Vec<_>, _>>().or_exit(Exit::Io)?;
    // Committed and sealed: what a crash may leave behind this is distinguishable.
    journal.seal(&mut |out| ledger.write_snapshot(out)).or_exit(Exit::Io)?;
    Bits::from_list(bits)
        .ok_or_else(|| Failure::new(Exit::Io, anyhow::anyhow!("the journal gave too few bits")))
}

/// Puts the first policy on record.
fn note_first(journal: &mut Journal, ledger: &mut Ledger, active: &Active) -> Result<(), Failure> {
    let bytes = crate::ledger::epoch_record(&active.policy.hash().full(), active.since);
    let mut builder = ChunkBuilder::new(bytes.len());
    builder.push(RecordKind::Epoch as u8, 0, &[&bytes]).or_exit(Exit::Io)?;
    journal.append(builder.finish()).or_exit(Exit::Io)?;
    journal.commit(&mut |out| ledger.write_snapshot(out)).or_exit(Exit::Io)?;
    ledger.apply(RecordKind::Epoch, 0, &bytes).or_exit(Exit::Io)
}

/// The bits of a later policy's targets; new ones start at the journal's head.
pub(super) fn register(inbox: &Inbox, policy: &Policy) -> Result<Bits, ActivateError> {
    let (reply, bits) = oneshot::channel();
    inbox.control(Control::Register { names: Bits::names(&target_ids(policy)).collect(), reply });
    let bits = bits.blocking_recv().map_err(|_| ActivateError::Journal)?;
    Bits::from_list(bits).ok_or(ActivateError::Journal)
}

/// Puts on record that a policy is in force from here on.
pub(super) fn note_epoch(inbox: &Inbox, active: &Active) -> Result<(), ActivateError> {
    let (done, told) = oneshot::channel();
    inbox.control(Control::Note {
        kind: RecordKind::Epoch,
        bytes: crate::ledger::epoch_record(&active.policy.hash().full(), active.since),
        done: Some(done),
    });
    told.blocking_recv().map(|_| ()).map_err(|_| ActivateError::Journal)
}

fn open_outlet(target: &str, outlet: &OutletConfig, parts: &Parts) -> Result<Box<dyn Outlet>, Failure> {
    let context = |error: anyhow::Error| error.context(format!("the outlet of target `{target}`"));
    match outlet {
        OutletConfig::Archive { directory, linger } => {
            // A directory that cannot be made is the outlet's to report: a target that is down delays no start.
            if let Err(error) = fs::create_dir_all(directory) {
                tracing::warn!(%error, directory = %directory.display(), "the archive's directory cannot be made");
            }
            let archive = archive::Archive::open(archive::ArchiveConfig {
                directory: directory.clone(),
                hub: parts.config.hub.clone(),
                generation: parts.generation,
                batch: archive::BatchLimits { age: *linger, ..archive::BatchLimits::default() },
            });
            Ok(Box::new(archive.map_err(|error| context(error.into())).or_exit(Exit::Config)?))
        }
        OutletConfig::Kafka(settings) => {
            let kafka = kafka::Kafka::open((**settings).clone());
            Ok(Box::new(kafka.map_err(|error| context(error.into())).or_exit(Exit::Config)?))
        }
    }
}
