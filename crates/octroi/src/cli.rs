//! The command line as typed. What each command does is in `cmd/`.

mod bench;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use bench::BenchArgs;

/// Octroi, a regional data hub: MQTT in, a data-sensitivity policy decides, and each message goes to the
/// hosting target that the policy allows.
#[derive(Debug, Parser)]
#[command(name = "octroi", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    /// Options of every command.
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// How results are written.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Language; else LC_ALL or LANG says.
    #[arg(long, global = true, value_enum)]
    pub lang: Option<LangArg>,
    /// Colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LangArg {
    /// French.
    Fr,
    /// English.
    En,
}

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal without NO_COLOR.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct ConfigArg {
    /// The configuration.
    #[arg(long, default_value = "/etc/octroi/octroi.toml")]
    pub config: PathBuf,
}

/// How a command finds the running hub.
#[derive(Clone, Debug, Args)]
pub struct HubArg {
    /// The hub's configuration: its `http.bind` says where it is.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// The hub's address, `http://127.0.0.1:9464`.
    #[arg(long, conflicts_with = "config")]
    pub url: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the hub.
    Run(ConfigArg),
    /// Run a hub, simulated sensors of three authorities and the console, on loopback.
    Demo(DemoArgs),
    /// Make a configuration and a first policy with tests.
    Init(InitArgs),
    /// How a running hub is.
    Status(HubArg),
    /// Policies: check, test, put in force.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Why a message goes where it goes.
    Explain(ExplainArgs),
    /// The journal: look, verify, repair, export.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// What is in quarantine: list, show, release, purge.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// The ways to the targets: list, show, check, pause, resume, replay.
    #[command(subcommand)]
    Outlet(OutletCommand),
    /// Certificates: make, issue, look, revoke.
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Load for any MQTT broker, with an ack latency histogram.
    Bench(BenchArgs),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Version, and what it was built with.
    Version,
}

/// `octroi demo`
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Where its files go; default: a new directory below the system's temporary one.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Stop by itself after so long (`30s`, `2m`).
    #[arg(long = "for", value_parser = parse_duration)]
    pub for_: Option<std::time::Duration>,
    /// Messages per second, all sensors together.
    #[arg(long, default_value_t = 200)]
    pub rate: u32,
    /// Port of the console and metrics.
    #[arg(long, default_value_t = 9464)]
    pub http_port: u16,
    /// Port of the MQTT listener.
    #[arg(long, default_value_t = 1883)]
    pub mqtt_port: u16,
}

/// `octroi init`
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// Where; made if it is not there, refused if it holds files.
    pub dir: PathBuf,
    /// Say what would be written only.
    #[arg(long)]
    pub dry_run: bool,
}

/// `octroi policy`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Find everything that is wrong with a policy.
    Check {
        /// A file, or a directory of them.
        path: PathBuf,
        /// As on that day, `2027-07-01`; default: the day it becomes valid. What expires by then has.
        #[arg(long)]
        date: Option<String>,
        /// The policy that it would replace: a version that does not follow, decisions that change.
        #[arg(long, value_name = "PATH")]
        against: Option<PathBuf>,
    },
    /// Run a policy's own tests.
    Test {
        /// A file, or a directory of them.
        path: PathBuf,
    },
    /// Take each protection away in turn, and tell what no test, invariant or check would notice.
    Mutants {
        /// A file, or a directory of them.
        path: PathBuf,
    },
    /// What of a policy its own tests reach, and what they never reach.
    Coverage {
        /// A file, or a directory of them.
        path: PathBuf,
    },
    /// Write a policy's files in the one form; blocks, comments and meaning stay.
    Fmt {
        /// A file, or a directory of them.
        path: PathBuf,
        /// Write nothing: list the files that would change, and fail if there are any.
        #[arg(long)]
        check: bool,
    },
    /// Whether something can ever happen: a proof over every label, or the message that does it.
    Prove(ProveArgs),
    /// What changes in meaning from one policy to another, what is lowered first.
    Diff(DiffArgs),
    /// What happens when a target is down, a record lapses or a day comes.
    Simulate(SimulateArgs),
    /// The JSON Schema of policy files, for editors.
    Schema,
    /// Put a policy in force on a running hub: check, tests, invariants, then an atomic swap.
    Activate {
        /// A file, or a directory of them; default: the hub's configured one.
        path: Option<PathBuf>,
        #[command(flatten)]
        /// Which hub.
        hub: HubArg,
        /// Check only.
        #[arg(long)]
        dry_run: bool,
    },
    /// The policies that a running hub has had in force.
    List(HubArg),
    /// Put the policy before the current one in force again.
    Rollback {
        /// Which version; default: the one before.
        #[arg(long)]
        version: Option<String>,
        #[command(flatten)]
        /// Which hub.
        hub: HubArg,
        /// Say what would be done only.
        #[arg(long)]
        dry_run: bool,
    },
}

/// `octroi policy prove`
#[derive(Clone, Debug, Args)]
pub struct ProveArgs {
    /// A file, or a directory of them.
    pub path: PathBuf,
    /// Which labels, `level >= personal and marking health`.
    #[arg(long)]
    pub never: String,
    /// Where: a target, `kind:trusted_cloud`, `operator:private`, `country-not-in:EEA`; given several times,
    /// all must hold.
    #[arg(long, required = true)]
    pub to: Vec<String>,
    /// Which way.
    #[arg(long, value_enum, default_value_t = ViaArg::Any)]
    pub via: ViaArg,
    /// Only what goes through a transform, or only what does not.
    #[arg(long)]
    pub transformed: Option<bool>,
}

/// A way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViaArg {
    /// The primary space.
    Primary,
    /// A copy.
    Copy,
    /// Either.
    Any,
}

/// `octroi policy diff`
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The policy before: a file, or a directory of them.
    pub old: PathBuf,
    /// The policy after: a file, or a directory of them.
    pub new: PathBuf,
    /// Recorded labels, a line of JSON each: `{"source":"s","domain":"d","level":"open","markings":[],"per_hour":60}`;
    /// without domain or markings, any.
    #[arg(long)]
    pub labels: Option<PathBuf>,
    #[command(flatten)]
    /// Whose present flows count as recorded labels.
    pub hub: HubArg,
}

/// `octroi policy simulate`
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// A file, or a directory of them.
    pub path: PathBuf,
    /// That target is down; may be given several times.
    #[arg(long)]
    pub target_down: Vec<String>,
    /// That record lapsed the day before, `cloud-confiance:secnumcloud`, `dc-rennes:homologation`,
    /// `t-eau-agregat:declassification`; may be given several times.
    #[arg(long)]
    pub expired: Vec<String>,
    /// On that day (`2028-01-01`); default: the day that is compared with.
    #[arg(long)]
    pub date: Option<String>,
    /// Compared with that day; default: the policy's `valid_from`.
    #[arg(long)]
    pub from: Option<String>,
}

/// `octroi explain`
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// The policy; without it, a running hub's.
    #[arg(long)]
    pub policy: Option<PathBuf>,
    /// The source's id.
    #[arg(long, requires = "topic", requires = "payload")]
    pub source: Option<String>,
    /// The topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// A file with the payload; `-`: standard input.
    #[arg(long)]
    pub payload: Option<PathBuf>,
    /// A user property, `name=value`; may be given several times.
    #[arg(long = "user-property")]
    pub user_properties: Vec<String>,
    /// Instead of a message: a witness. A file with the JSON of a test's `given`, of one finding of `policy
    /// check --output json`, or of the whole list; `-`: standard input.
    #[arg(long, conflicts_with_all = ["source", "topic", "payload", "user_properties", "id"])]
    pub given: Option<PathBuf>,
    /// As of that day (`2027-07-01`); default: today; of a witness, its own day or the policy's first.
    #[arg(long)]
    pub date: Option<String>,
    /// A message on record: `hub/generation/sequence`.
    #[arg(long, conflicts_with_all = ["source", "policy"])]
    pub id: Option<String>,
    #[command(flatten)]
    /// Which hub.
    pub hub: HubArg,
}

/// `octroi journal`
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// List segments, or the records of the newest ones.
    Ls {
        #[command(flatten)]
        /// Whose.
        config: ConfigArg,
        /// The last so many records instead of the segments.
        #[arg(long)]
        records: Option<usize>,
    },
    /// Read everything and check every sum.
    Verify(ConfigArg),
    /// Do what a start would do to a journal that is not as it was written, on a hub that is stopped: set torn
    /// tails aside, copy damaged bytes to files of their own. Removes nothing.
    Repair {
        #[command(flatten)]
        /// Whose.
        config: ConfigArg,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write records as JSON lines, payloads included, on a hub that is stopped; holes are named.
    Export(ExportArgs),
}

/// `octroi journal export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    /// Whose.
    pub config: ConfigArg,
    /// Of which log.
    #[arg(long, value_enum, default_value_t = LogArg::Journal)]
    pub log: LogArg,
    /// From this sequence number on.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// Up to this sequence number, which is left out.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    pub to: u64,
    /// Only what is for this target.
    #[arg(long)]
    pub target: Option<String>,
    /// Only what this source published: its identity as records name it, with or without its kind.
    #[arg(long)]
    pub source: Option<String>,
    /// Into a new file that its owner alone may read, instead of standard output.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// The journal or a side log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogArg {
    /// The journal.
    Journal,
    /// Doubts.
    Quarantine,
    /// What is held.
    Hold,
}

/// `octroi quarantine`
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// The newest messages in quarantine.
    List {
        #[command(flatten)]
        /// Which hub.
        hub: HubArg,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// What is held until a policy allows it, instead of what is in quarantine.
        #[arg(long)]
        held: bool,
    },
    /// One message: why it is there, and what the policy in force makes of it.
    Show {
        /// As the list shows it: `generation/sequence`.
        id: String,
        #[command(flatten)]
        /// Which hub.
        hub: HubArg,
        /// One that is held, instead of one in quarantine.
        #[arg(long)]
        held: bool,
        /// Its payload too; say why you must see it, for the log.
        #[arg(long, requires = "because")]
        payload: bool,
        /// Why.
        #[arg(long)]
        because: Option<String>,
    },
    /// Have messages decided again by the policy in force: what it routes goes, all else stays.
    Release(KeptArgs),
    /// Remove messages for good. This is the one way to lose what was acknowledged: say why.
    Purge(KeptArgs),
}

/// `octroi outlet`
#[derive(Debug, Subcommand)]
pub enum OutletCommand {
    /// Every target with its way: state, what waits.
    List(HubArg),
    /// One of them: state and why, cursor, what the journal still has.
    Show {
        /// The target.
        target: String,
        #[command(flatten)]
        /// Which hub.
        hub: HubArg,
    },
    /// Look at the targets as configured: is everything there? Says what is missing with the command that makes
    /// it. The hub need not run, and nothing is written.
    Check {
        /// Which; default: all.
        targets: Vec<String>,
        #[command(flatten)]
        /// Whose.
        config: ConfigArg,
    },
    /// Send nothing more to a target until it is resumed, over restarts too. What comes waits in the journal.
    Pause(SwitchArgs),
    /// Go on where a pause began.
    Resume(SwitchArgs),
    /// Send a target again what it got, under the same ids, as far as the journal still has it and the policy in
    /// force allows it.
    Replay {
        #[command(flatten)]
        /// Which, and why.
        switch: SwitchArgs,
        /// From this sequence number, or from what was received at this time (`2026-11-20T06:00:00Z`).
        #[arg(long)]
        from: String,
    },
}

/// The way to one target.
#[derive(Clone, Debug, Args)]
pub struct SwitchArgs {
    /// The target.
    pub target: String,
    /// Why, for the log.
    #[arg(long)]
    pub because: Option<String>,
    /// Say what would be done only.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    /// Which hub.
    pub hub: HubArg,
}

/// Which messages of the quarantine. All that is given must hold.
#[derive(Clone, Debug, Args)]
pub struct KeptArgs {
    /// As the list shows them: `generation/sequence`.
    pub ids: Vec<String>,
    /// Kept for this reason.
    #[arg(long)]
    pub reason: Option<String>,
    /// Of this source, as the list shows it.
    #[arg(long)]
    pub source: Option<String>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["ids", "reason", "source"])]
    pub all: bool,
    /// Why, for the record; a purge must say.
    #[arg(long)]
    pub because: Option<String>,
    /// Say what would be done only.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    /// Which hub.
    pub hub: HubArg,
}

/// `octroi tls`
#[derive(Debug, Subcommand)]
pub enum TlsCommand {
    /// Make an authority, a server's certificate and an empty revocation list. Overwrites nothing.
    Init {
        /// Where; made if it is not there.
        dir: PathBuf,
        /// A name or address that clients connect to; may be given several times. Default: this machine's own.
        #[arg(long = "host")]
        hosts: Vec<String>,
        /// How long the server's certificate is valid.
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
    /// Make a source's certificate and key, or with `--host` the server's next one. Overwrites nothing.
    Issue {
        /// The source's name, which is the certificate's common name; the server's: of its files alone.
        name: String,
        #[command(flatten)]
        /// By whom.
        authority: AuthorityArg,
        /// A URI that is the source's identity instead of its name.
        #[arg(long)]
        uri: Option<String>,
        /// The server's: a name or address that clients connect to; may be given several times.
        #[arg(long = "host", conflicts_with = "uri")]
        hosts: Vec<String>,
        /// How long it is valid.
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
    /// Look at certificates, keys and revocation lists: do they fit, what ends soon, what is weak. Writes nothing.
    Check {
        /// What `init` made; default: what the configuration's listeners use.
        dir: Option<PathBuf>,
        #[command(flatten)]
        /// Whose.
        config: ConfigArg,
    },
    /// Write the next revocation list. A running hub takes it up within seconds, and closes what it names.
    Revoke {
        /// Names that `issue` was given, or certificates (`x.pem`); none: the list is renewed only.
        names: Vec<String>,
        #[command(flatten)]
        /// By whom.
        authority: AuthorityArg,
        /// How long the list is valid: write the next one before.
        #[arg(long, default_value_t = 30)]
        days: u32,
    },
}

/// An authority that `octroi tls init` made.
#[derive(Clone, Debug, Args)]
pub struct AuthorityArg {
    /// Its directory.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
}

/// `octroi config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Whether a hub could start with it.
    Check(ConfigArg),
    /// What it means, with the limits; no secrets.
    Show(ConfigArg),
}

/// Reads `30s`, `2m`, `500ms`, `1h`.
///
/// # Errors
/// What a duration looks like.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let bad = || format!("`{text}` is no duration; write `30s` or `2m`");
    let number: u64 = number.parse().map_err(|_| bad())?;
    let millis = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    number.checked_mul(millis).map(std::time::Duration::from_millis).ok_or_else(bad)
}
