//! A certificate authority of one test, made by the `openssl` command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process;

/// An authority, and where its certificates go.
pub struct Pki {
    directory: PathBuf,
}

/// A certificate with its key, PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Both in one file, as Kafka reads its key store.
    pub store: PathBuf,
}

/// How long a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// For a month.
    Month,
    /// It ended when it was made.
    Expired,
}

const CURVE: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Pki {
    /// A new authority with its files in `directory`.
    pub fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory).expect("the authority's directory is made");
        let pki = Self { directory: directory.to_owned() };
        let (key, authority) = (pki.path("ca.key"), pki.authority());
        let subject = ["-subj", "/CN=octroi test authority", "-days", "30"];
        let files = ["-keyout", text(&key), "-out", text(&authority)];
        openssl(&[&["req", "-x509"], CURVE.as_slice(), &subject, &files].concat());
        pki
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate for `localhost` (as a server) and of that name (as a client).
    pub fn issue(&self, name: &str, validity: Validity) -> Identity {
        let [certificate, key, store, request, extensions] =
            ["pem", "key", "store.pem", "csr", "ext"].map(|end| self.path(&format!("{name}.{end}")));
        let subject = format!("/CN={name}");
        let make = ["-subj", &subject, "-keyout", text(&key), "-out", text(&request)];
        openssl(&[&["req", "-new"], CURVE.as_slice(), &make].concat());
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
        fs::write(&extensions, names).expect("the extensions are written");
        let (authority, authority_key) = (self.authority(), self.path("ca.key"));
        let days = if validity == Validity::Expired { "0" } else { "30" };
        let sign =
            ["x509", "-req", "-CA", text(&authority), "-CAkey", text(&authority_key), "-CAcreateserial"];
        let files =
            ["-in", text(&request), "-out", text(&certificate), "-extfile", text(&extensions), "-days", days];
        openssl(&[sign.as_slice(), &files].concat());
        let read = |path: &Path| fs::read_to_string(path).expect("openssl has just written it");
        fs::write(&store, read(&key) + &read(&certificate)).expect("the key store is written");
        Identity { certificate, key, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are text")
}

fn openssl(arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(arguments);
    let finished = process::run(&mut command, Duration::from_secs(30)).expect("`openssl` starts");
    assert_eq!(finished.code, 0, "openssl {arguments:?}: {}", finished.err);
}
