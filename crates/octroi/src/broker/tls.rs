//! TLS towards a broker, by rustls: its certificate is verified against the
//! configured authorities alone. The files are read as they are now.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ClientConfig, Error};

use crate::clock::Clock;
use crate::config::BrokerTls;
use crate::identity::material::{Material, Refusal};
use crate::tls::{Kind, Pair, WallClock, pem, roots, unusable};

/// What a handshake goes by. Blocking.
pub(super) fn client(tls: &BrokerTls, clock: &Arc<dyn Clock>) -> Result<Arc<ClientConfig>, Refusal> {
    let bad = |error: Error| unusable(&tls.ca, Kind::Authority, &error);
    let roots = roots(&pem(&Material::read(&tls.ca), Kind::Authority)?, &tls.ca)?;
    let time = Arc::new(WallClock(Arc::clone(clock)));
    let builder = ClientConfig::builder_with_details(Arc::new(default_provider()), time)
        .with_safe_default_protocol_versions()
        .map_err(bad)?
        .with_root_certificates(roots);
    Ok(Arc::new(match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let pair = Pair::load(&Material::read(certificate), &Material::read(key), clock.now())?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.key)))
        }
    }))
}

/// Whether a broker says with this that it does not take the hub's certificate, or wants one.
pub(super) fn is_about_our_certificate(error: &io::Error) -> bool {
    let said = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(
        said,
        Some(Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        ))
    )
}
