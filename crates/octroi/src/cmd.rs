//! One file a command. Results go to stdout, messages to stderr; printing is
//! the work here and nowhere else.

/// Prints a line. A reader that went away (`| head`) is no error.
macro_rules! println {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($arg)*).ok();
    }};
}

/// The same, to stderr.
macro_rules! eprintln {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stderr(), $($arg)*).ok();
    }};
}

mod bench;
mod client;
mod config;
mod demo;
mod explain;
mod init;
mod journal;
mod outlet;
mod policy;
mod quarantine;
mod run;
mod sensors;

mod status;
pub mod status_text;
mod tls;

use crate::cli::{Cli, Color, Command, Common, LangArg, Output};
use crate::config::Environment;
use crate::exit::{Exit, Failure};
use crate::words::Lang;

/// What every command gets beside its own arguments.
pub struct Context {
    /// Whether results are JSON.
    pub json: bool,
    /// Language of texts.
    pub lang: Lang,
    /// Whether to colour.
    pub color: bool,
    /// Whether stdout is a terminal.
    pub terminal: bool,
    /// The environment.
    pub environment: Environment,
}

impl Context {
    fn new(common: &Common, environment: Environment, terminal: bool) -> Self {
        let no_color = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .find_map(|name| environment.get(*name).filter(|value| !value.is_empty()));
        let french = locale.is_some_and(|locale| locale.starts_with("fr"));
        Self {
            json: common.output == Output::Json,
            lang: match common.lang {
                Some(LangArg::Fr) => Lang::Fr,
                Some(LangArg::En) => Lang::En,
                None if french => Lang::Fr,
                None => Lang::En,
            },
            color: match common.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => terminal && !no_color,
            },
            terminal,
            environment,
        }
    }
}

/// Runs a command.
///
/// # Errors
/// What went wrong, with the exit code.
pub fn run(cli: Cli, environment: Environment, terminal: bool) -> Result<Exit, Failure> {
    let context = Context::new(&cli.common, environment, terminal);
    match cli.command {
        Command::Run(args) => run::run(&args, &context),
        Command::Demo(args) => demo::run(&args, &context),
        Command::Init(args) => init::run(&args, &context),
        Command::Status(args) => status::run(&args, &context),
        Command::Policy(command) => policy::run(command, &context),
        Command::Explain(args) => explain::run(&args, &context),
        Command::Journal(command) => journal::run(&command, &context),
        Command::Quarantine(command) => quarantine::run(&command, &context),
        Command::Outlet(command) => outlet::run(&command, &context),
        Command::Tls(command) => tls::run(&command, &context),
        Command::Bench(args) => bench::run(&args, &context),
        Command::Config(command) => config::run(&command, &context),
        Command::Version => {
            println!("octroi {}", env!("CARGO_PKG_VERSION"));
            println!("journal format {}", octroi_journal::format::VERSION);
            println!("librdkafka {}", rdkafka::util::get_rdkafka_version().1);
            Ok(Exit::Ok)
        }
    }
}

/// Says on stderr what went wrong, with its causes, once.
pub fn complain(failure: &Failure) {
    eprintln!("octroi: {:#}", failure.error);
}

/// One line of JSON on stdout.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::Io, error))?;
    println!("{text}");
    Ok(())
}
