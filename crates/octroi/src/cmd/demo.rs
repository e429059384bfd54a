//! `octroi demo`: the hub, simulated sensors and the console, on loopback. No
//! Kafka, no account, no configuration; Ctrl-C drains and shows where the data
//! lies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::run::{log_to_stderr, stop_signal};
use super::{Context, init, sensors, status_text};
use crate::cli::DemoArgs;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::exit::{Exit, Failure, OrExit};
use crate::server::{Addresses, Server};
use crate::status::Status;
use crate::words::Lang;

const POLICY: &str = include_str!("../../../../policies/demo/policy.toml");
const TARGETS: [&str; 4] = ["dc-rennes", "dc-morbihan", "dc-bretagne", "cloud-confiance"];
/// How often the table is shown where it cannot be redrawn.
const TABLE_EVERY: Duration = Duration::from_secs(10);

pub(super) fn run(args: &DemoArgs, context: &Context) -> Result<Exit, Failure> {
    log_to_stderr("warn", false)?;
    let dir = prepare(args).or_exit(Exit::Io)?;
    let config = Config::load(&dir.join("octroi.toml"), &context.environment).or_exit(Exit::Config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().or_exit(Exit::Io)?;
    runtime.block_on(async {
        let environment = context.environment.clone();
        let open = move || Server::open(config, &environment, Arc::new(SystemClock));
        let server = tokio::task::spawn_blocking(open).await.or_exit(Exit::Io)??;
        let (started_tell, started) = tokio::sync::oneshot::channel();
        let interrupted = stop_signal()?;
        let (args, lang, terminal, color) = (args.clone(), context.lang, context.terminal, context.color);
        let shown = dir.clone();
        let mut last: Option<watch::Receiver<Arc<Status>>> = None;
        let stop = async {
            let Ok((addresses, status)) = started.await else { return };
            show(&args, &addresses, status, &shown, interrupted, (lang, terminal, color)).await;
        };
        server
            .serve(stop, |addresses, status| {
                last = Some(status.clone());
                started_tell.send((addresses.clone(), status)).ok();
            })
            .await?;
        let status = last.map(|last| last.borrow().clone()).unwrap_or_default();
        report(&status, &dir, context.lang);
        Ok(if status.conservation.unaccounted == 0 { Exit::Ok } else { Exit::Finding })
    })
}

/// Writes configuration, policy and key into the demo's directory.
fn prepare(args: &DemoArgs) -> anyhow::Result<PathBuf> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("octroi-demo-{}", std::process::id())),
    };
    let mut config = format!(
        "[hub]\nid = \"demo\"\ndata_dir = \"data\"\npolicy = \"policy\"\n\n[[listener]]\nbind = \"127.0.0.1:{}\"\n\
         identify_by = \"username-only\"\n\n[journal]\nlimit = \"2 GiB\"\n\n[http]\nbind = \"127.0.0.1:{}\"\n",
        args.mqtt_port, args.http_port
    );
    for target in TARGETS {
        config += &format!("\n[outlet.{target}]\nkind = \"archive\"\ndirectory = \"archive/{target}\"\n");
    }
    init::write(&dir.join("octroi.toml"), &config)?;
    init::write(&dir.join("policy/policy.toml"), POLICY)?;
    let key = dir.join("keys/pseudo-mobilite");
    if !key.exists() {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        init::write(&key, &hex)?;
    }
    Ok(std::path::absolute(dir)?)
}

/// Runs the sensors and shows the table until it is time to stop; returns when every sensor has its last ack.
async fn show(
    args: &DemoArgs,
    addresses: &Addresses,
    mut status: watch::Receiver<Arc<Status>>,
    dir: &Path,
    interrupted: impl Future<Output = ()>,
    (lang, terminal, color): (Lang, bool, bool),
) {
    let console = format!("http://{}/", addresses.http);
    match lang {
        Lang::Fr => println!(
            "Console : {console}    (Ctrl-C arrête, termine les livraisons et dit où sont les données)"
        ),
        Lang::En => {
            println!("Console: {console}    (Ctrl-C stops, finishes deliveries and says where the data lies)")
        }
    }
    let (stop_tell, stop) = watch::channel(false);
    let mut gateways = JoinSet::new();
    if let Some(broker) = addresses.mqtt.first().copied() {
        for (source, share) in sensors::GATEWAYS {
            let per_second = f64::from(args.rate) * f64::from(*share) / 100.0;
            gateways.spawn(sensors::gateway(broker, source, per_second, stop.clone()));
        }
    }
    let until = async {
        match args.for_ {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let every = if terminal { Duration::from_secs(1) } else { TABLE_EVERY };
    let tables = async {
        loop {
            tokio::time::sleep(every).await;
            let status = status.borrow_and_update().clone();
            if terminal {
                // Home, and clear to the end: the table is redrawn in place.
                println!("\x1b[H\x1b[2J");
            }
            println!("{}\n{console}  {}", status_text::table(&status, lang, color, 110), dir.display());
        }
    };
    tokio::select! {
        () = interrupted => {}
        () = until => {}
        () = tables => {}
    }
    stop_tell.send_replace(true);
    while let Some(ended) = gateways.join_next().await {
        if let Ok(Err(error)) = ended {
            eprintln!("octroi: a simulated gateway lost its connection: {error}");
        }
    }
}

fn report(status: &Status, dir: &Path, lang: Lang) {
    let balance = &status.conservation;
    println!("{}", status_text::table(status, lang, false, 110));
    let (received, unaccounted) = (balance.received, balance.unaccounted);
    let (routed, quarantined, held, refused) =
        (balance.routed, balance.quarantined, balance.held, balance.refused);
    let pending: u64 = status.targets.iter().map(|target| target.pending).sum();
    match lang {
        Lang::Fr => println!(
            "Bilan : {received} reçus = {routed} acheminés + {quarantined} en quarantaine + {held} retenus + \
             {refused} refusés ; {pending} en attente ; {unaccounted} inexpliqué(s)"
        ),
        Lang::En => println!(
            "Conservation: {received} received = {routed} routed + {quarantined} quarantined + {held} held + \
             {refused} refused; {pending} pending; {unaccounted} unaccounted"
        ),
    }
    for target in TARGETS {
        println!("  {target:<16} {}", dir.join("archive").join(target).display());
    }
    println!("  {:<16} {}", "quarantine", dir.join("data/quarantine").display());
    let read = "find … -name '*.ndjson.zst' | xargs zstdcat | head";
    match lang {
        Lang::Fr => println!("À lire avec : {read}"),
        Lang::En => println!("Read them with: {read}"),
    }
}
