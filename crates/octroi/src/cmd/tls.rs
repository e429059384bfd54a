//! `octroi tls init|issue|check|revoke`: a small authority on disk, and a look at
//! any listener's certificates.
//!
//! INVARIANT: no file is overwritten but the revocation list, which is replaced
//! whole; keys are readable by their owner alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::outlet::check::{facts, print_details};
use super::{Context, print_json};
use crate::cli::{ConfigArg, TlsCommand};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, TlsConfig};
use crate::durable;
use crate::exit::{Exit, Failure, OrExit};
use crate::outlet::check::Checked;
use crate::tls::authority::{self, Authority, Made};
use crate::tls::check;
use crate::words::Lang;

/// The files of an authority.
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const SERVER: &str = "server.pem";
const SERVER_KEY: &str = "server.key";
const LIST: &str = "ca.crl";
const CLIENTS: &str = "clients";
/// What clients on the same machine connect to.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long the first list is valid; `revoke` has its own `--days`.
const FIRST_LIST_DAYS: u32 = 30;
/// The longest common name (RFC 5280, `ub-common-name`).
const NAME_CHARS: usize = 64;

const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

/// Whose certificate is issued.
#[derive(Clone, Copy)]
enum Whose<'a> {
    /// The server's, for these hosts.
    Server(&'a [String]),
    /// A source's; its URI, if that is its identity.
    Source(Option<&'a str>),
}

pub(super) fn run(command: &TlsCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        TlsCommand::Init { dir, hosts, days } => init(dir, hosts, *days),
        TlsCommand::Issue { name, authority, uri, hosts, days } => {
            let whose = if hosts.is_empty() { Whose::Source(uri.as_deref()) } else { Whose::Server(hosts) };
            issue(&authority.dir, name, whose, *days)
        }
        TlsCommand::Check { dir, config } => check(dir.as_deref(), config, context),
        TlsCommand::Revoke { names, authority, days } => revoke(&authority.dir, names, *days),
    }
}

fn init(dir: &Path, hosts: &[String], days: u32) -> Result<Exit, Failure> {
    let files = [CA_KEY, CA, SERVER_KEY, SERVER, LIST].map(|name| dir.join(name));
    absent(&files)?;
    let now = SystemClock.now();
    let hosts: Vec<String> =
        if hosts.is_empty() { LOOPBACK.map(str::to_owned).into() } else { hosts.to_vec() };
    let (authority, ca) = Authority::make("Octroi CA", now).or_exit(Exit::Io)?;
    let server = authority.server(&hosts, days, now).or_exit(Exit::Usage)?;
    let list = authority.list(None, &[], FIRST_LIST_DAYS, now).or_exit(Exit::Io)?;
    make_directory(dir)?;
    let [ca_key, ca_file, server_key, server_file, list_file] = &files;
    for (path, text, mode) in [
        (ca_key, &ca.key, SECRET),
        (ca_file, &ca.certificate, PUBLIC),
        (server_key, &server.key, SECRET),
        (server_file, &server.certificate, PUBLIC),
        (list_file, &list, PUBLIC),
    ] {
        write_new(path, text, mode)?;
    }
    println!("the server's certificate is for {}, {days} days", hosts.join(", "));
    println!(
        "the revocation list is valid for {FIRST_LIST_DAYS} days: write the next one before with `octroi tls revoke`"
    );
    println!("next: octroi tls issue NAME --dir {}", dir.display());
    Ok(Exit::Ok)
}

fn issue(dir: &Path, name: &str, whose: Whose<'_>, days: u32) -> Result<Exit, Failure> {
    plain(name)?;
    let (certificate, key) = match whose {
        Whose::Server(_) => (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key"))),
        Whose::Source(_) => files_of(dir, name),
    };
    absent(&[certificate.clone(), key.clone()])?;
    let (authority, now) = (open(dir)?, SystemClock.now());
    let made = match whose {
        Whose::Server(hosts) => authority.server(hosts, days, now),
        Whose::Source(uri) => authority.client(name, uri, days, now),
    };
    let Made { certificate: pem, key: secret } = made.or_exit(Exit::Usage)?;
    make_directory(certificate.parent().unwrap_or(dir))?;
    write_new(&key, &secret, SECRET)?;
    write_new(&certificate, &pem, PUBLIC)?;
    match whose {
        Whose::Server(_) => println!("put both where the listener's `tls` names them: no restart is needed"),
        Whose::Source(Some(uri)) => println!("in the policy: identity = \"cert:URI={uri}\""),
        Whose::Source(None) => println!("in the policy: identity = \"cert:CN={name}\""),
    }
    Ok(Exit::Ok)
}

fn revoke(dir: &Path, names: &[String], days: u32) -> Result<Exit, Failure> {
    let authority = open(dir)?;
    let mut serials = Vec::new();
    for name in names {
        let path = if name.ends_with(".pem") { PathBuf::from(name) } else { files_of(dir, name).0 };
        let pem = read(&path, Exit::Finding)?;
        let serial = authority::serial(pem.as_bytes());
        serials.push(serial.with_context(|| format!("`{}`", path.display())).or_exit(Exit::Finding)?);
    }
    let path = dir.join(LIST);
    let last = path.exists().then(|| read(&path, Exit::Io)).transpose()?;
    let list = authority.list(last.as_deref(), &serials, days, SystemClock.now());
    let list = list.with_context(|| format!("`{}`", path.display())).or_exit(Exit::Io)?;
    let written = durable::replace_as(&path, list.as_bytes(), PUBLIC);
    written.with_context(|| format!("cannot write `{}`", path.display())).or_exit(Exit::Io)?;
    println!("wrote {}, valid for {days} days", path.display());
    for name in names {
        println!("revoked {name}");
    }
    Ok(Exit::Ok)
}

fn check(dir: Option<&Path>, config: &ConfigArg, context: &Context) -> Result<Exit, Failure> {
    let sets: Vec<(String, TlsConfig)> = match dir {
        Some(dir) => {
            let path = |name: &str| dir.join(name);
            let (certificate, key) = (path(SERVER), path(SERVER_KEY));
            let tls = TlsConfig { certificate, key, client_ca: Some(path(CA)), crl: Some(path(LIST)) };
            vec![(dir.display().to_string(), tls)]
        }
        None => {
            let config = Config::load(&config.config, &context.environment).or_exit(Exit::Config)?;
            let listeners = config.listeners.into_iter();
            listeners.filter_map(|listener| Some((listener.bind.to_string(), listener.tls?))).collect()
        }
    };
    let now = SystemClock.now();
    let looked: Vec<(String, Checked)> =
        sets.into_iter().map(|(of, tls)| (of, check::check(&tls, now))).collect();
    if context.json {
        let shown = looked
            .iter()
            .map(|(of, checked)| json!({ "of": of, "facts": facts(checked), "findings": checked.findings }));
        print_json(&shown.collect::<Vec<Value>>())?;
    } else {
        if looked.is_empty() {
            println!(
                "{}",
                match context.lang {
                    Lang::En => "no listener has TLS",
                    Lang::Fr => "aucune écoute n'a TLS",
                }
            );
        }
        for (of, checked) in &looked {
            let head = match (checked.is_missing_something(), context.lang) {
                (true, Lang::En) => "something is wrong",
                (true, Lang::Fr) => "quelque chose ne va pas",
                (false, Lang::En) => "good",
                (false, Lang::Fr) => "en ordre",
            };
            println!("{of}: {head}");
            print_details(checked, context.lang);
        }
    }
    let wrong = looked.iter().any(|(_, checked)| checked.is_missing_something());
    Ok(if wrong { Exit::Finding } else { Exit::Ok })
}

fn open(dir: &Path) -> Result<Authority, Failure> {
    let (certificate, key) = (read(&dir.join(CA), Exit::Io)?, read(&dir.join(CA_KEY), Exit::Io)?);
    let opened = Authority::open(&certificate, &key);
    opened
        .with_context(|| format!("`{}` is no directory of `octroi tls init`", dir.display()))
        .or_exit(Exit::Io)
}

/// Where a client's certificate and key are.
fn files_of(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let clients = dir.join(CLIENTS);
    (clients.join(format!("{name}.pem")), clients.join(format!("{name}.key")))
}

/// A name is one of a file, and of nobody else.
fn plain(name: &str) -> Result<(), Failure> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_CHARS || name.starts_with('.') || !name.chars().all(legal) {
        let reason =
            format!("`{name}` is no name; write 1 to {NAME_CHARS} of letters, digits, `-`, `_` and `.`");
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!("{reason}")));
    }
    Ok(())
}

fn absent(files: &[PathBuf]) -> Result<(), Failure> {
    match files.iter().find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Failure::new(
            Exit::Usage,
            anyhow::anyhow!(
                "`{}` is there already, and nothing is overwritten: move it away, or name another",
                path.display()
            ),
        )),
    }
}

fn read(path: &Path, exit: Exit) -> Result<String, Failure> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display())).or_exit(exit)
}

fn make_directory(dir: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.with_context(|| format!("cannot make `{}`", dir.display())).or_exit(Exit::Io)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write `{}`", path.display())).or_exit(Exit::Io)?;
    println!("wrote {}", path.display());
    Ok(())
}
