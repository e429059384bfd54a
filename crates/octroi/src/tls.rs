//! TLS of listeners, by rustls: 1.2 and 1.3, ECDHE and AEAD only, a
//! post-quantum hybrid preferred. No session storage and no tickets: a resumed
//! session would let a revoked client in.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::TlsConfig;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file.
    #[error("`{path}` holds no usable {what}: {reason}")]
    Pem {
        /// Which.
        path: String,
        /// What was looked for.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The parts do not fit together.
    #[error("the listener's certificate, key, authorities and revocation lists do not fit together: {0}")]
    Parts(String),
}

fn pem<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let bad = |reason: String| TlsError::Pem { path: path.display().to_string(), what, reason };
    let items = T::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    let items = items.collect::<Result<Vec<T>, _>>().map_err(|error| bad(error.to_string()))?;
    if items.is_empty() { Err(bad("there is none in it".into())) } else { Ok(items) }
}

/// A listener's TLS.
///
/// # Errors
/// See [`TlsError`].
pub fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let parts = |error: &dyn std::fmt::Display| TlsError::Parts(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain: Vec<CertificateDer<'static>> = pem(&config.certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|error| TlsError::Pem {
        path: config.key.display().to_string(),
        what: "private key",
        reason: error.to_string(),
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| parts(&error))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in pem::<CertificateDer<'static>>(authorities, "certificate authority")? {
                roots.add(authority).map_err(|error| parts(&error))?;
            }
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            if let Some(lists) = &config.crl {
                let lists: Vec<CertificateRevocationListDer<'static>> = pem(lists, "revocation list")?;
                verifier = verifier.with_crls(lists).enforce_revocation_expiration();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(|error| parts(&error))?)
        }
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|error| parts(&error))?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(Arc::new(server))
}

/// The identities that a verified client certificate carries: its SAN URIs, then, only without any, its CN.
/// A name with a control character is none.
#[must_use]
pub fn identities(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let clean = |name: &&str| !name.is_empty() && !name.chars().any(char::is_control);
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<String> = names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .filter(clean)
        .map(|uri| format!("cert:URI={uri}"))
        .collect();
    if !uris.is_empty() {
        return uris;
    }
    let mut common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    // Two common names are two claims: neither counts.
    match (common.next(), common.next()) {
        (Some(name), None) if clean(&name) => vec![format!("cert:CN={name}")],
        _ => Vec::new(),
    }
}
