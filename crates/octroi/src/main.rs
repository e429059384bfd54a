//! Parse, run, exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use octroi::cli::Cli;
use octroi::cmd;
use octroi::exit::Exit;

/// librdkafka's many small allocations cost half with it; its symbols are unprefixed for that. Its threads in the
/// background give back what an idle hub no longer uses: without them a storm of connections is kept for good.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors. A closed pipe is no reason to complain.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let terminal = std::io::stdout().is_terminal();
    match cmd::run(cli, environment, terminal) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            cmd::complain(&failure);
            failure.exit.into()
        }
    }
}
