//! A certificate authority for trials, and for a hub whose few sources need no
//! greater one: certificates, keys and revocation lists as PEM text.
//!
//! It touches no file and keeps no book: whom it revoked stands in the list
//! itself, which the next one takes up.

use std::net::IpAddr;

use octroi_policy::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// How long the authority itself is valid.
const AUTHORITY_DAYS: u32 = 3_650;
/// What is made is valid since a little before: clocks differ.
const BACKDATED: Duration = Duration::minutes(10);
/// Bytes of a serial number (RFC 5280 allows 20).
const SERIAL: usize = 16;

/// Nothing could be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The library refused.
    #[error("the certificate, key or list cannot be made")]
    Make(#[from] rcgen::Error),
    /// Something that was made earlier.
    #[error("what stands there is no {0} of this authority")]
    Foreign(&'static str),
    /// No random number.
    #[error("the machine gives no random bytes")]
    Random(#[from] getrandom::Error),
}

/// A certificate and its key, PEM.
#[derive(Debug)]
pub struct Made {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// An authority that can sign.
pub struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// A new one of that name.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn make(name: &str, now: Timestamp) -> Result<(Self, Made), AuthorityError> {
        let mut params = named(name, AUTHORITY_DAYS, now)?;
        // It signs clients and servers, and no further authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let made = Made { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() };
        Ok((Self(Issuer::new(params, key)), made))
    }

    /// From what [`Authority::make`] made.
    ///
    /// # Errors
    /// It is not that.
    pub fn open(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key).map_err(|_| AuthorityError::Foreign("key"))?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key);
        issuer.map(Self).map_err(|_| AuthorityError::Foreign("certificate"))
    }

    /// A server's certificate for these host names and addresses.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn server(&self, hosts: &[String], days: u32, now: Timestamp) -> Result<Made, AuthorityError> {
        let mut params = named(hosts.first().map_or("octroi", String::as_str), days, now)?;
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into()?),
            });
        }
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate: `uri` is its identity if there is one, else the name.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn client(
        &self,
        name: &str,
        uri: Option<&str>,
        days: u32,
        now: Timestamp,
    ) -> Result<Made, AuthorityError> {
        let mut params = named(name, days, now)?;
        if let Some(uri) = uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Made, AuthorityError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Made { certificate: params.signed_by(&key, &self.0)?.pem(), key: key.serialize_pem() })
    }

    /// The next revocation list, valid for so many days: what `last`, PEM, has revoked, and `more`.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn list(
        &self,
        last: Option<&str>,
        more: &[SerialNumber],
        days: u32,
        now: Timestamp,
    ) -> Result<String, AuthorityError> {
        let (mut revoked, number) = last.map_or(Ok((Vec::new(), 0)), taken_up)?;
        let at = date(now);
        for serial in more {
            if !revoked.iter().any(|known| known.serial_number == *serial) {
                revoked.push(RevokedCertParams {
                    serial_number: serial.clone(),
                    revocation_time: at,
                    reason_code: None,
                    invalidity_date: None,
                });
            }
        }
        let list = CertificateRevocationListParams {
            this_update: at - BACKDATED,
            next_update: at + Duration::days(days.into()),
            crl_number: SerialNumber::from(number + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.0)?.pem()?)
    }
}

/// The serial number of a certificate, PEM.
///
/// # Errors
/// It is none.
pub fn serial(certificate: &[u8]) -> Result<SerialNumber, AuthorityError> {
    let foreign = AuthorityError::Foreign("certificate");
    let Ok(der) = CertificateDer::from_pem_slice(certificate) else { return Err(foreign) };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return Err(foreign) };
    Ok(SerialNumber::from_slice(certificate.raw_serial()))
}

/// What a list has revoked, and its number.
fn taken_up(list: &str) -> Result<(Vec<RevokedCertParams>, u64), AuthorityError> {
    let foreign = || AuthorityError::Foreign("revocation list");
    let der = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).map_err(|_| foreign())?;
    let (_, list) = CertificateRevocationList::from_der(&der).map_err(|_| foreign())?;
    let number = list.crl_number().and_then(|number| u64::try_from(number).ok()).ok_or_else(foreign)?;
    let revoked = list.iter_revoked_certificates().map(|entry| RevokedCertParams {
        serial_number: SerialNumber::from_slice(entry.raw_serial()),
        revocation_time: entry.revocation_date.to_datetime(),
        reason_code: None,
        invalidity_date: None,
    });
    Ok((revoked.collect(), number))
}

fn named(name: &str, days: u32, now: Timestamp) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0; SERIAL];
    getrandom::fill(&mut serial)?;
    // Positive, and of one length.
    serial[0] = serial[0] & 0x7F | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = date(now) - BACKDATED;
    params.not_after = date(now) + Duration::days(days.into());
    Ok(params)
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::microseconds(at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    #[test]
    fn a_list_takes_up_the_last_one_and_revokes_a_certificate_once() {
        let (made, keys) = Authority::make("demo", NOW).unwrap();
        let authority = Authority::open(&keys.certificate, &keys.key).unwrap();
        let serials: Vec<SerialNumber> = ["a", "b"]
            .map(|name| serial(authority.client(name, None, 9, NOW).unwrap().certificate.as_bytes()).unwrap())
            .into();
        let first = made.list(None, &[], 9, NOW).unwrap();
        let second = authority.list(Some(&first), &serials[..1], 9, NOW).unwrap();
        let third = authority.list(Some(&second), &serials, 9, NOW).unwrap();
        for (list, number, revoked) in [(&first, 1, 0), (&second, 2, 1), (&third, 3, 2)] {
            let (entries, found) = taken_up(list).unwrap();
            assert_eq!((found, entries.len()), (number, revoked));
            let named: Vec<_> = entries.into_iter().map(|entry| entry.serial_number).collect();
            assert_eq!(named, serials[..revoked]);
        }
    }

    #[test]
    fn what_another_made_is_refused() {
        let (_, keys) = Authority::make("demo", NOW).unwrap();
        let (authority, _) = Authority::make("demo", NOW).unwrap();
        assert!(Authority::open(&keys.key, &keys.key).is_err());
        assert!(Authority::open(&keys.certificate, &keys.certificate).is_err());
        assert!(authority.list(Some(&keys.certificate), &[], 9, NOW).is_err());
        assert!(serial(keys.key.as_bytes()).is_err());
    }
}
