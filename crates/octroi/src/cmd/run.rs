//! `octroi run`

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::cli::ConfigArg;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::exit::{Exit, Failure, OrExit};
use crate::server::Server;

pub(super) fn run(args: &ConfigArg, context: &Context) -> Result<Exit, Failure> {
    #[cfg(feature = "fail-points")]
    crate::fail_point::arm(&context.environment).or_exit(Exit::Config)?;
    let config = Config::load(&args.config, &context.environment).or_exit(Exit::Config)?;
    log_to_stderr(&config.log_level, config.log_json)?;
    let notify = context.environment.get("NOTIFY_SOCKET").cloned();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().or_exit(Exit::Io)?;
    runtime.block_on(async {
        let environment = context.environment.clone();
        let open = move || Server::open(config, &environment, Arc::new(SystemClock));
        let server = tokio::task::spawn_blocking(open).await.or_exit(Exit::Io)??;
        let stop = stop_signal()?;
        server
            .serve(stop, |addresses, _| {
                let mqtt: Vec<String> = addresses.mqtt.iter().map(ToString::to_string).collect();
                tracing::info!(mqtt = mqtt.join(" "), http = %addresses.http, "ready");
                if let Some(socket) = &notify {
                    notify_ready(socket);
                }
            })
            .await?;
        tracing::info!("stopped: everything handed over is on disk");
        Ok(Exit::Ok)
    })
}

/// Resolves at SIGTERM or SIGINT.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Io)?;
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Io)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

pub(super) fn log_to_stderr(level: &str, json: bool) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(level)
        .map_err(|error| anyhow::Error::from(error).context("`log.level`"))
        .or_exit(Exit::Config)?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let installed = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    installed.map_err(|error| Failure::new(Exit::Io, anyhow::anyhow!("cannot log: {error}")))
}

/// `READY=1` to systemd (sd_notify(3)): a datagram, and no library for one.
fn notify_ready(socket: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let sent = (|| {
        let address = match socket.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(socket)?,
        };
        UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)
    })();
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager was not told that the hub is ready");
    }
}
