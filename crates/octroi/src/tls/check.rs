//! What a look at a listener's certificates finds: what keeps a hub from
//! starting or clients from coming in, what soon will, and what is weak.
//! Looking changes nothing.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use octroi_policy::{Timestamp, text};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::{Clients, Kind, Pair, pem, timestamp};
use crate::config::TlsConfig;
use crate::identity::material::Material;
use crate::outlet::check::Checked;

const DAY_MICROS: i64 = 86_400_000_000;
/// A certificate that ends so soon is to be replaced.
const CERTIFICATE_SOON_DAYS: i64 = 30;
/// The same of a revocation list, which is made anew far more often.
const LIST_SOON_DAYS: i64 = 3;

/// The least that is advised of an RSA key; other keys that TLS takes are strong enough.
const RSA_BITS: usize = 3_072;

/// Looks at everything that the listener's `tls` names.
#[must_use]
pub fn check(tls: &TlsConfig, now: Timestamp) -> Checked {
    let mut checked = Checked { reached: true, ..Checked::default() };
    let (certificate, key) = (Material::read(&tls.certificate), Material::read(&tls.key));
    if let Err(refusal) = Pair::load(&certificate, &key, now) {
        checked.missing(refusal.what, refusal.mend);
    }
    own(&certificate, now, &mut checked);
    permissions(&tls.key, &mut checked);
    if let Some(authorities) = &tls.client_ca {
        let (authorities, lists) = (Material::read(authorities), tls.crl.as_deref().map(Material::read));
        if let Err(refusal) = Clients::load(&authorities, lists.as_ref(), now) {
            checked.missing(refusal.what, refusal.mend);
        }
        of_clients(&authorities, lists.as_ref(), now, &mut checked);
    }
    checked
}

/// The server's own chain.
fn own(file: &Material, now: Timestamp, checked: &mut Checked) {
    // What cannot be read has been told.
    let chain: Vec<CertificateDer<'static>> = pem(file, Kind::Certificate).unwrap_or_default();
    let chain: Vec<X509Certificate<'_>> = parsed(&chain);
    for certificate in &chain {
        one(certificate, "certificate", file.path(), now, checked);
    }
    if let Some(leaf) = chain.first() {
        let names = names(leaf);
        checked.fact("names", if names.is_empty() { "–".to_owned() } else { names.join(", ") });
        if names.is_empty() {
            let path = file.path().display();
            checked.missing(
                text!(
                    "the certificate in `{path}` has no host name or address (subjectAltName): clients refuse it",
                    "le certificat de `{path}` ne porte ni nom d'hôte ni adresse (subjectAltName) : les clients le refusent"
                ),
                text!("have it issued for the names that clients connect to", "faites-le émettre pour les noms utilisés par les clients"),
            );
        }
    }
    for (child, parent) in chain.iter().zip(chain.iter().skip(1)) {
        if child.issuer() != parent.subject() || child.verify_signature(Some(parent.public_key())).is_err() {
            let (child, parent, path) =
                (child.subject().to_string(), parent.subject().to_string(), file.path().display());
            checked.missing(
                text!(
                    "in `{path}`, `{child}` is followed by `{parent}`, which has not signed it",
                    "dans `{path}`, `{child}` est suivi de `{parent}`, qui ne l'a pas signé"
                ),
                text!(
                    "put the server's certificate first, then each authority that signed the one before",
                    "placez d'abord le certificat du serveur, puis chaque autorité signataire du précédent"
                ),
            );
        }
    }
}

/// Authorities of clients, and their lists.
fn of_clients(authorities: &Material, lists: Option<&Material>, now: Timestamp, checked: &mut Checked) {
    let ders: Vec<CertificateDer<'static>> = pem(authorities, Kind::Authority).unwrap_or_default();
    let known: Vec<X509Certificate<'_>> = parsed(&ders);
    for authority in &known {
        one(authority, "client_ca", authorities.path(), now, checked);
        if !authority.is_ca() {
            let (subject, path) = (authority.subject().to_string(), authorities.path().display());
            checked.missing(
                text!(
                    "`{subject}` in `{path}` is no authority",
                    "`{subject}` dans `{path}` n'est pas une autorité"
                ),
                text!(
                    "take it out: `client_ca` holds authorities only",
                    "retirez-le : `client_ca` ne contient que des autorités"
                ),
            );
        }
    }
    let Some(file) = lists else {
        checked.advice(
            text!(
                "no revocation list is configured: a stolen certificate opens the door until it ends",
                "aucune liste de révocation n'est configurée : un certificat volé ouvre la porte jusqu'à sa fin"
            ),
            text!("add `crl` to the listener's `tls`", "ajoutez `crl` au `tls` de l'écoute"),
        );
        return;
    };
    let ders: Vec<CertificateRevocationListDer<'static>> =
        pem(file, Kind::RevocationList).unwrap_or_default();
    let lists: Vec<CertificateRevocationList<'_>> =
        ders.iter().filter_map(|der| Some(CertificateRevocationList::from_der(der).ok()?.1)).collect();
    for list in &lists {
        let issuer = list.issuer().to_string();
        let Some(next) = list.next_update().map(timestamp) else { continue };
        checked.fact(
            "crl",
            format!("{issuer}, until {next}, {} revoked", list.iter_revoked_certificates().count()),
        );
        if soon(next, LIST_SOON_DAYS, now) {
            let path = file.path().display();
            checked.advice(
                text!(
                    "the revocation list of `{issuer}` in `{path}` ends at {next}: no client comes in after that",
                    "la liste de révocation de `{issuer}` dans `{path}` prend fin le {next} : plus aucun client n'entre ensuite"
                ),
                text!("have the next one put there, by a timer", "faites déposer la suivante, par une tâche planifiée"),
            );
        }
    }
    for authority in &known {
        if !lists.iter().any(|list| list.issuer() == authority.subject()) {
            let (subject, path) = (authority.subject().to_string(), file.path().display());
            checked.missing(
                text!(
                    "`{path}` has no revocation list of `{subject}`: its clients are all refused",
                    "`{path}` ne contient pas de liste de révocation de `{subject}` : tous ses clients sont refusés"
                ),
                text!("append the authority's list to the file", "ajoutez la liste de cette autorité au fichier"),
            );
        }
    }
}

/// What is asked of every certificate: its end and its key.
fn one(
    certificate: &X509Certificate<'_>,
    fact: &'static str,
    path: &Path,
    now: Timestamp,
    checked: &mut Checked,
) {
    let (subject, end) = (certificate.subject().to_string(), timestamp(certificate.validity().not_after));
    checked.fact(fact, format!("{subject}, until {end}"));
    let path = path.display();
    if soon(end, CERTIFICATE_SOON_DAYS, now) {
        let days = (end.0 - now.0) / DAY_MICROS;
        checked.advice(
            text!(
                "the certificate of `{subject}` in `{path}` ends in {days} day(s), at {end}",
                "le certificat de `{subject}` dans `{path}` prend fin dans {days} jour(s), le {end}"
            ),
            text!(
                "put its successor there: the hub takes it up without a restart",
                "déposez son successeur : le hub le prend en compte sans redémarrage"
            ),
        );
    }
    if let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed()
        && key.key_size() < RSA_BITS
    {
        let bits = key.key_size();
        checked.advice(
            text!(
                "the key of `{subject}` in `{path}` is weak: RSA, {bits} bits",
                "la clé de `{subject}` dans `{path}` est faible : RSA, {bits} bits"
            ),
            text!(
                "have the next one made with RSA of 3072 bits or P-256",
                "faites produire la suivante en RSA 3072 bits ou P-256"
            ),
        );
    }
}

fn permissions(key: &Path, checked: &mut Checked) {
    let Ok(metadata) = fs::metadata(key) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        let key = key.display();
        checked.missing(
            text!(
                "the key `{key}` has mode {mode:03o}: others than its owner may change it, or anyone may read it",
                "la clé `{key}` est en mode {mode:03o} : d'autres que son propriétaire peuvent la modifier, ou tous la lire"
            ),
            text!("`chmod 600 {key}`", "`chmod 600 {key}`"),
        );
    }
}

fn parsed<'a>(ders: &'a [CertificateDer<'static>]) -> Vec<X509Certificate<'a>> {
    ders.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect()
}

/// Host names and addresses.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let host = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            return Some((*name).to_owned());
        }
        let GeneralName::IPAddress(bytes) = *name else { return None };
        let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
        address.ok().map(|address| address.to_string())
    };
    names.iter().filter_map(host).collect()
}

/// Whether something that has not ended does so within days.
fn soon(end: Timestamp, days: i64, now: Timestamp) -> bool {
    end >= now && end.0 - now.0 < days * DAY_MICROS
}

#[cfg(test)]
mod tests {
    use crate::outlet::check::Weight;
    use crate::tls::authority::Made;
    use crate::tls::tests::Pki;

    use super::*;

    /// A fresh set whose key only its owner may read.
    fn good() -> Pki {
        let pki = Pki::new();
        mode(&pki, 0o600);
        pki
    }

    fn mode(pki: &Pki, mode: u32) {
        fs::set_permissions(pki.path("server.key"), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What a look finds, each with its weight.
    fn found(pki: &Pki) -> Vec<(Weight, String)> {
        let checked = check(&pki.files(), pki.clock().now());
        for finding in &checked.findings {
            let (message, mend) = (&finding.message, &finding.mend);
            assert!(message.en != message.fr && !mend.en.is_empty() && !mend.fr.is_empty(), "{finding:?}");
        }
        checked.findings.into_iter().map(|finding| (finding.weight, finding.message.en)).collect()
    }

    #[track_caller]
    fn finds(pki: &Pki, expected: &[(Weight, &str)]) {
        let found = found(pki);
        let fits = |(found, expected): (&(Weight, String), &(Weight, &str))| {
            found.0 == expected.0 && found.1.contains(expected.1)
        };
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(fits), "{found:#?}");
    }

    use Weight::{Advice, Missing};

    #[test]
    fn a_fresh_set_is_good_and_says_what_it_holds() {
        let pki = good();
        finds(&pki, &[]);
        let facts: Vec<_> =
            check(&pki.files(), pki.clock().now()).facts.into_iter().map(|(name, _)| name).collect();
        assert_eq!(facts, ["certificate", "names", "client_ca", "crl"]);
    }

    #[test]
    fn what_ends_soon_is_told_before_and_what_has_ended_after() {
        const LIST_ENDS: i64 = 60 * DAY_MICROS;
        const SERVER_ENDS: i64 = 90 * DAY_MICROS;
        let pki = good();
        let list = (Advice, "the revocation list of `CN=test`");
        for (at, expected) in [
            (LIST_ENDS - 3 * DAY_MICROS, vec![]),
            (LIST_ENDS - 3 * DAY_MICROS + 1, vec![list]),
            (LIST_ENDS, vec![list]),
            (LIST_ENDS + 1, vec![(Advice, "the certificate of `CN=localhost`"), (Missing, "expired at")]),
            (SERVER_ENDS, vec![(Advice, "ends in 0 day(s)"), (Missing, "expired at")]),
            (
                SERVER_ENDS + 1,
                vec![(Missing, "the certificate of `CN=localhost`"), (Missing, "the revocation list")],
            ),
        ] {
            pki.clock.pass(at);
            finds(&pki, &expected);
            pki.clock.pass(-at);
        }
    }

    #[test]
    fn a_key_of_another_certificate_or_open_to_others_is_found() {
        let pki = good();
        for (open, wrong) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true), (0o660, true)] {
            mode(&pki, open);
            assert_eq!(!found(&pki).is_empty(), wrong, "{open:o}");
        }
        mode(&pki, 0o600);
        let Made { certificate, .. } = pki.server();
        pki.write("server.pem", &certificate);
        finds(&pki, &[(Missing, "is not the key of the certificate in")]);
    }

    #[test]
    fn a_chain_out_of_order_is_found() {
        let pki = good();
        let (server, ca) = (pki.read("server.pem"), pki.read("ca.pem"));
        pki.write("server.pem", &(server.clone() + &ca));
        finds(&pki, &[]);
        let other = Pki::new().read("ca.pem");
        pki.write("server.pem", &(server + &other));
        finds(&pki, &[(Missing, "`CN=localhost` is followed by `CN=test`, which has not signed it")]);
    }

    #[test]
    fn a_certificate_without_a_host_name_is_found() {
        let pki = good();
        pki.serve(&pki.client("lns"));
        mode(&pki, 0o600);
        // Of 30 days to begin with.
        finds(&pki, &[(Missing, "has no host name or address")]);
        pki.clock.pass(1);
        finds(&pki, &[(Advice, "ends in 29 day(s)"), (Missing, "has no host name or address")]);
    }

    #[test]
    fn an_authority_without_a_list_or_that_is_none_is_found() {
        let pki = good();
        let (ca, list) = (pki.read("ca.pem"), pki.read("ca.crl"));
        let client = pki.client("lns").certificate;
        pki.write("ca.pem", &(ca.clone() + &client));
        finds(&pki, &[(Missing, "`CN=lns` in"), (Missing, "has no revocation list of `CN=lns`")]);
        pki.write("ca.pem", &ca);
        pki.write("ca.crl", &list.replace("X509 CRL", "OTHER"));
        finds(
            &pki,
            &[(Missing, "holds no usable revocation list"), (Missing, "has no revocation list of `CN=test`")],
        );
        let files = TlsConfig { crl: None, ..pki.files() };
        let checked = check(&files, pki.clock().now());
        assert!(!checked.is_missing_something() && checked.findings.len() == 1, "{checked:?}");
    }
}
