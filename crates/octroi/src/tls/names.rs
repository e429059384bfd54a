//! Whom a client certificate names.
//!
//! It does not ask whether the certificate may be believed: TLS has verified it.
//!
//! INVARIANT: a name that is in doubt is no name, and its neighbours do not
//! stand in for it.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The tag of a URI among the general names (RFC 5280, 4.2.1.6).
const URI: u32 = 6;

/// The identities that a verified client certificate carries: its SAN URIs, then, only without any, its CN.
#[must_use]
pub fn identities(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    // An extension that cannot be read, or stands there twice, could have named somebody else.
    let Ok(names) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let uris = names.iter().filter_map(|name| {
        if let GeneralName::URI(uri) = name {
            return Some(Some(*uri));
        }
        matches!(name, GeneralName::Invalid(tag, _) if tag.0 == URI).then_some(None)
    });
    let uris: Vec<Option<&str>> = uris.collect();
    if !uris.is_empty() {
        return all_clear(&uris, "cert:URI=");
    }
    let common: Vec<Option<&str>> =
        certificate.subject().iter_common_name().map(|name| name.as_str().ok()).collect();
    // Two common names are two claims: neither counts.
    if common.len() == 1 { all_clear(&common, "cert:CN=") } else { Vec::new() }
}

/// All of them, or none if one is in doubt.
fn all_clear(names: &[Option<&str>], kind: &str) -> Vec<String> {
    let clear = |name: &&str| !name.is_empty() && !name.contains(|c: char| c.is_control() || c == '*');
    let clear: Option<Vec<&str>> = names.iter().map(|name| name.filter(clear)).collect();
    clear.unwrap_or_default().iter().map(|name| format!("{kind}{name}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn certificate(common: &[&str], uris: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Vec<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        // The library keeps one value per type: a second common name goes in under its identifier.
        for (at, name) in common.iter().enumerate() {
            let kind = if at == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
            params.distinguished_name.push(kind, DnValue::Utf8String((*name).to_owned()));
        }
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        identities(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn a_certificate_names_its_uris_and_only_without_any_its_common_name() {
        let names = |common: &[&str], uris: &[&str]| certificate(common, uris, |_| {});
        assert_eq!(names(&["lns.rennes.example"], &[]), ["cert:CN=lns.rennes.example"]);
        assert_eq!(names(&["lns"], &["urn:a"]), ["cert:URI=urn:a"]);
        assert_eq!(names(&["lns"], &["urn:a", "urn:b"]), ["cert:URI=urn:a", "cert:URI=urn:b"]);
        assert_eq!(names(&[], &[]), [""; 0]);
    }

    #[test]
    fn a_common_name_with_a_host_name_beside_it_counts() {
        let dns = |params: &mut CertificateParams| {
            params.subject_alt_names.push(SanType::DnsName("host.example".try_into().unwrap()));
        };
        assert_eq!(certificate(&["lns"], &[], dns), ["cert:CN=lns"]);
    }

    #[test]
    fn two_common_names_are_no_name() {
        assert_eq!(certificate(&["lns", "scada"], &[], |_| {}), [""; 0]);
    }

    #[test]
    fn a_wildcard_a_nul_or_a_control_character_is_no_name() {
        for name in ["*.rennes.example", "*", "lns\0.evil", "lns\n", ""] {
            assert_eq!(certificate(&[name], &[], |_| {}), [""; 0], "{name:?} as CN");
            // Neither does the honest CN beside it stand in.
            assert_eq!(certificate(&["lns"], &[name], |_| {}), [""; 0], "{name:?} as URI");
            assert_eq!(certificate(&["lns"], &["urn:a", name], |_| {}), [""; 0], "{name:?} as second URI");
        }
    }

    #[test]
    fn a_common_name_in_letters_that_cannot_be_read_does_not_give_way_to_another() {
        let bmp = |params: &mut CertificateParams| {
            let name = DnValue::BmpString("lns".try_into().unwrap());
            params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), name);
        };
        assert_eq!(certificate(&["scada"], &[], bmp), [""; 0]);
    }

    #[test]
    fn alternative_names_that_cannot_be_read_are_no_reason_to_take_the_common_name() {
        let broken = |params: &mut CertificateParams| {
            params
                .custom_extensions
                .push(rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 3, 0x86, 9]));
        };
        assert_eq!(certificate(&["lns"], &[], broken), [""; 0]);
    }

    #[test]
    fn bytes_that_are_no_certificate_name_nobody() {
        assert_eq!(identities(&CertificateDer::from(vec![0x30, 0])), [""; 0]);
    }
}
