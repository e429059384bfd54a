//! TLS of listeners, by rustls: 1.2 and 1.3, ECDHE and AEAD only, a
//! post-quantum hybrid preferred. What stands in files becomes what handshakes
//! use: the server's own [`Pair`], and the [`Clients`] it lets in.
//!
//! It reads no file and keeps nothing: `identity/credentials.rs` does.
//!
//! INVARIANT: no session is resumed (no session storage, no tickets): it would
//! let a revoked client in. A client that is connected is judged by the very
//! rules of a new handshake.

pub mod authority;
pub mod check;
mod names;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use octroi_policy::{Text, Timestamp, text};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, X509Certificate};

use crate::clock::Clock;
use crate::identity::material::{Material, Refusal};

pub use names::identities;

/// A date on which something ends, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// What ends then.
    pub what: Text,
}

/// The server's certificate and its key.
#[derive(Debug)]
pub struct Pair {
    pub(crate) key: Arc<CertifiedKey>,
    /// When the first certificate of the chain ends.
    pub end: Option<End>,
}

impl Pair {
    /// From `certificate`, a chain, and `key`.
    ///
    /// # Errors
    /// What no client would accept.
    pub fn load(certificate: &Material, key: &Material, now: Timestamp) -> Result<Self, Refusal> {
        let chain: Vec<CertificateDer<'static>> = pem(certificate, Kind::Certificate)?;
        let secret = PrivateKeyDer::from_pem_slice(key.bytes()?)
            .map_err(|error| unusable(key.path(), Kind::Key, &error))?;
        let end = dates(&chain, certificate.path(), now)?;
        let paired = CertifiedKey::from_der(chain, secret, &default_provider()).map_err(|error| {
            if matches!(error, Error::InconsistentKeys(_)) {
                mismatch(certificate.path(), key.path())
            } else {
                unusable(key.path(), Kind::Key, &error)
            }
        });
        Ok(Self { key: Arc::new(paired?), end })
    }
}

/// Who is let in: authorities and revocation lists.
#[derive(Debug)]
pub struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    /// When the first list or authority ends.
    pub end: Option<End>,
}

/// Why the certificate of a client that is connected stands no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A revocation list names it.
    Revoked,
    /// Its time is over.
    Expired,
    /// No authority that is trusted now vouches for it.
    Untrusted,
}

impl Clients {
    /// From `authorities`, and `lists` if revocation is checked.
    ///
    /// # Errors
    /// What would let nobody in, or whoever is revoked.
    pub fn load(authorities: &Material, lists: Option<&Material>, now: Timestamp) -> Result<Self, Refusal> {
        let certificates: Vec<CertificateDer<'static>> = pem(authorities, Kind::Authority)?;
        let mut ends: Vec<End> = dates(&certificates, authorities.path(), now)?.into_iter().collect();
        let roots = roots(&certificates, authorities.path())?;
        let provider = Arc::new(default_provider());
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let Some(file) = lists {
            let lists: Vec<CertificateRevocationListDer<'static>> = pem(file, Kind::RevocationList)?;
            for list in &lists {
                ends.push(judge_list(list, file.path(), &certificates, now)?);
            }
            verifier = verifier.with_crls(lists).enforce_revocation_expiration();
        }
        let at_fault = lists.map_or(authorities.path(), Material::path);
        let built = verifier.build();
        let verifier = built.map_err(|error| unusable(at_fault, Kind::RevocationList, &error))?;
        Ok(Self { verifier, end: ends.into_iter().min_by_key(|end| end.at) })
    }

    /// Whether a new handshake with this chain would be let in.
    ///
    /// A list that has expired since says nothing of a client that stood by it while it was valid: new
    /// handshakes are refused then, and who is connected stays until the next list judges.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), Fault> {
        let Some((leaf, intermediates)) = chain.split_first() else { return Err(Fault::Untrusted) };
        match self.verifier.verify_client_cert(leaf, intermediates, unix(now)) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(
                CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. },
            )) => Ok(()),
            Err(Error::InvalidCertificate(CertificateError::Revoked)) => Err(Fault::Revoked),
            Err(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => Err(Fault::Expired),
            Err(_) => Err(Fault::Untrusted),
        }
    }
}

/// What a listener's handshakes go by.
///
/// # Errors
/// The library and its cryptography do not fit together.
pub fn server(
    pair: &Pair,
    clients: Option<&Clients>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider: Arc<CryptoProvider> = Arc::new(default_provider());
    let time: Arc<dyn TimeProvider> = Arc::new(WallClock(Arc::clone(clock)));
    let builder = ServerConfig::builder_with_details(provider, time).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
    };
    let mut server = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&pair.key))));
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(Arc::new(server))
}

/// When the first of these certificates ends.
#[must_use]
pub fn first_end(chain: &[CertificateDer<'_>]) -> Option<Timestamp> {
    let ends = chain.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    ends.map(|(_, certificate)| timestamp(certificate.validity().not_after)).min()
}

/// The one clock, as the library wants it.
pub(crate) struct WallClock(pub(crate) Arc<dyn Clock>);

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.0.now()))
    }
}

fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(at.0).unwrap_or(0)))
}

pub(crate) fn timestamp(at: ASN1Time) -> Timestamp {
    Timestamp(at.timestamp().saturating_mul(1_000_000))
}

/// What a PEM file is to hold.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Certificate,
    Key,
    Authority,
    RevocationList,
}

impl Kind {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Certificate => ("certificate", "certificat"),
            Self::Key => ("private key", "clé privée"),
            Self::Authority => ("certificate authority", "autorité de certification"),
            Self::RevocationList => ("revocation list", "liste de révocation"),
        }
    }
}

pub(crate) fn pem<T: PemObject>(file: &Material, kind: Kind) -> Result<Vec<T>, Refusal> {
    let items = T::pem_slice_iter(file.bytes()?).collect::<Result<Vec<T>, _>>();
    let items = items.map_err(|error| unusable(file.path(), kind, &error))?;
    if items.is_empty() { Err(unusable(file.path(), kind, &"no such PEM block")) } else { Ok(items) }
}

/// Trust in these authorities, which stand in the file at `path`.
pub(crate) fn roots(authorities: &[CertificateDer<'static>], path: &Path) -> Result<RootCertStore, Refusal> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let added = roots.add(authority.clone());
        added.map_err(|error| unusable(path, Kind::Authority, &error))?;
    }
    Ok(roots)
}

pub(crate) fn unusable(path: &Path, kind: Kind, error: &dyn fmt::Display) -> Refusal {
    let (path, (en, fr)) = (path.display(), kind.words());
    Refusal {
        what: text!(
            "`{path}` holds no usable {en} ({error})",
            "`{path}` ne contient pas de {fr} utilisable ({error})"
        ),
        mend: text!(
            "`octroi tls check` says what is in it; put a PEM file there, whole",
            "`octroi tls check` dit ce qui s'y trouve ; déposez-y un fichier PEM complet"
        ),
        by_time: false,
    }
}

fn mismatch(certificate: &Path, key: &Path) -> Refusal {
    let (certificate, key) = (certificate.display(), key.display());
    Refusal {
        what: text!(
            "`{key}` is not the key of the certificate in `{certificate}`",
            "`{key}` n'est pas la clé du certificat de `{certificate}`"
        ),
        mend: text!("put the two there that belong together", "déposez les deux fichiers qui vont ensemble"),
        by_time: false,
    }
}

/// The first end of certificates, each of which must be valid.
fn dates(chain: &[CertificateDer<'_>], path: &Path, now: Timestamp) -> Result<Option<End>, Refusal> {
    let mut first: Option<End> = None;
    for der in chain {
        let parsed = X509Certificate::from_der(der);
        let (_, certificate) = parsed.map_err(|error| unusable(path, Kind::Certificate, &error))?;
        let (subject, path) = (certificate.subject().to_string(), path.display());
        let what =
            text!("the certificate of `{subject}` in `{path}`", "le certificat de `{subject}` dans `{path}`");
        let validity = certificate.validity();
        within(timestamp(validity.not_before), timestamp(validity.not_after), &what, now)?;
        let end = End { at: timestamp(validity.not_after), what };
        first = first.filter(|first| first.at <= end.at).or(Some(end));
    }
    Ok(first)
}

fn within(from: Timestamp, to: Timestamp, what: &Text, now: Timestamp) -> Result<(), Refusal> {
    let Text { en, fr } = what;
    let mend = text!("put one there that is valid now", "déposez-en un exemplaire valable à ce jour");
    if now < from {
        let what = text!("{en} is not valid before {from}", "{fr} n'est pas valable avant le {from}");
        return Err(Refusal { what, mend, by_time: true });
    }
    if now > to {
        let what = text!("{en} expired at {to}", "{fr} a expiré le {to}");
        return Err(Refusal { what, mend, by_time: true });
    }
    Ok(())
}

/// When a list ends that is valid, and signed by its authority, if that is one of these.
fn judge_list(
    list: &CertificateRevocationListDer<'_>,
    path: &Path,
    authorities: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<End, Refusal> {
    let bad = |error: &dyn fmt::Display| unusable(path, Kind::RevocationList, error);
    let (_, list) = CertificateRevocationList::from_der(list).map_err(|error| bad(&error))?;
    let next = list.next_update().ok_or_else(|| bad(&"it says not until when it holds"))?;
    let issuer = list.issuer().to_string();
    let parsed = authorities.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    let mut issuers = parsed.map(|(_, authority)| authority);
    let mut issuers = issuers.by_ref().filter(|authority| authority.subject() == list.issuer()).peekable();
    // Of another authority it may be an intermediate's: the handshake shows it.
    if issuers.peek().is_some()
        && !issuers.any(|authority| list.verify_signature(authority.public_key()).is_ok())
    {
        return Err(bad(&format_args!("`{issuer}` has not signed it")));
    }
    let path = path.display();
    let what = text!(
        "the revocation list of `{issuer}` in `{path}`",
        "la liste de révocation de `{issuer}` dans `{path}`"
    );
    within(timestamp(list.last_update()), timestamp(next), &what, now)?;
    Ok(End { at: timestamp(next), what })
}

#[cfg(test)]
pub(crate) mod tests;
