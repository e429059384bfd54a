//! What changes on disk, and whom that concerns.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use super::credentials::Holder;
use super::passwords::password_line;
use super::standing::{Lapse, Standing};
use super::watcher::{Shown, Watcher};
use crate::config::{IdentifyBy, Listener, Transport};
use crate::status::CredentialState::{self, Expired, InForce, Refused, Shut};
use crate::tls::Fault;
use crate::tls::authority::Made;
use crate::tls::tests::{Pki, chain_of};

const DAY: i64 = 86_400_000_000;

fn listener(pki: &Pki, identify_by: IdentifyBy) -> Listener {
    let bind = "127.0.0.1:8883".parse().unwrap();
    Listener { bind, transport: Transport::Tcp, identify_by, tls: Some(pki.files()) }
}

fn holder(pki: &Pki, identify_by: IdentifyBy) -> Holder {
    Holder::open(&listener(pki, identify_by), &Arc::new(Semaphore::new(1)), pki.clock()).unwrap()
}

/// Looks until what is on disk is settled.
fn settle(holder: &mut Holder) -> Vec<CredentialState> {
    holder.look();
    holder.look().into_iter().map(|status| status.state).collect()
}

/// A connection by that certificate.
fn connected(pki: &Pki, holder: &Holder, made: &Made) -> Standing {
    let mut standing = Standing::new(IdentifyBy::Certificate, &holder.credentials(), pki.clock());
    assert!(standing.tls().is_some());
    standing.verified(&chain_of(made), Instant::now());
    assert_eq!(standing.lapse(Instant::now()), None);
    standing
}

#[tokio::test]
async fn a_new_list_ends_whom_it_names_and_nobody_else() {
    let pki = Pki::new();
    let mut holder = holder(&pki, IdentifyBy::Certificate);
    let (good, bad) = (pki.client("good"), pki.client("bad"));
    let mut standings = [&good, &bad].map(|made| connected(&pki, &holder, made));
    pki.write("ca.crl", &pki.list(&[&bad]));
    holder.look();
    assert_eq!(standings[1].lapse(Instant::now()), None, "one look is not enough: it could be half written");
    holder.look();
    assert_eq!(standings[0].lapse(Instant::now()), None);
    assert_eq!(standings[1].lapse(Instant::now()), Some(Lapse::Certificate(Fault::Revoked)));
}

/// As Kubernetes mounts a secret: the file is a link into a directory that is itself a link, and that is swapped.
#[tokio::test]
async fn a_file_behind_links_that_are_swapped_is_seen() {
    let pki = Pki::new();
    let (list, bad) = (pki.path("ca.crl"), pki.client("bad"));
    let lists = [pki.list(&[]), pki.list(&[&bad])];
    for (version, text) in ["v1", "v2"].iter().zip(lists) {
        std::fs::create_dir(pki.path(version)).unwrap();
        pki.write(&format!("{version}/ca.crl"), &text);
    }
    std::fs::remove_file(&list).unwrap();
    symlink("data/ca.crl", &list).unwrap();
    symlink("v1", pki.path("data")).unwrap();
    let mut holder = holder(&pki, IdentifyBy::Certificate);
    let mut standing = connected(&pki, &holder, &bad);
    symlink("v2", pki.path("next")).unwrap();
    std::fs::rename(pki.path("next"), pki.path("data")).unwrap();
    assert_eq!(settle(&mut holder), [InForce, InForce]);
    assert_eq!(standing.lapse(Instant::now()), Some(Lapse::Certificate(Fault::Revoked)));
}

#[tokio::test]
async fn a_revocation_between_handshake_and_connect_is_not_missed() {
    let pki = Pki::new();
    let mut holder = holder(&pki, IdentifyBy::Certificate);
    let bad = pki.client("bad");
    let mut standing = Standing::new(IdentifyBy::Certificate, &holder.credentials(), pki.clock());
    // The handshake goes by this, however long it takes.
    assert!(standing.tls().is_some());
    pki.write("ca.crl", &pki.list(&[&bad]));
    settle(&mut holder);
    standing.verified(&chain_of(&bad), Instant::now());
    assert_eq!(standing.lapse(Instant::now()), Some(Lapse::Certificate(Fault::Revoked)));
}

#[tokio::test]
async fn rotations_concern_nobody_whose_authority_stays() {
    let pki = Pki::new();
    let mut holder = holder(&pki, IdentifyBy::Certificate);
    let mut standing = connected(&pki, &holder, &pki.client("good"));
    let (other, ca) = (Pki::new(), pki.read("ca.pem"));
    pki.serve(&pki.server());
    pki.write("ca.pem", &(ca + &other.read("ca.pem")));
    pki.write("ca.crl", &(pki.list(&[]) + &other.list(&[])));
    let before = holder.credentials().borrow().clone();
    assert_eq!(settle(&mut holder), [InForce, InForce]);
    let after = holder.credentials().borrow().clone();
    assert!(!Arc::ptr_eq(&before.tls.clone().unwrap(), &after.tls.clone().unwrap()), "it was taken up");
    assert_eq!(standing.lapse(Instant::now()), None);
    // Its authority leaves.
    pki.write("ca.pem", &other.read("ca.pem"));
    pki.write("ca.crl", &other.list(&[]));
    assert_eq!(settle(&mut holder), [InForce, InForce]);
    assert_eq!(standing.lapse(Instant::now()), Some(Lapse::Certificate(Fault::Untrusted)));
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_is_shown_until_it_is_mended() {
    let pki = Pki::new();
    let mut holder = holder(&pki, IdentifyBy::Certificate);
    let bad = pki.client("bad");
    let mut standing = connected(&pki, &holder, &bad);
    let (key, before) = (pki.read("server.key"), Arc::clone(&holder.credentials().borrow()));
    pki.write("server.key", &pki.server().key);
    assert_eq!(settle(&mut holder), [Refused, InForce]);
    assert!(Arc::ptr_eq(&before, &holder.credentials().borrow()));
    let reason = holder.look().remove(0).reason;
    assert!(reason.en.contains("is not the key of") && reason.en.contains("stays in force"), "{}", reason.en);

    // A broken pair holds no revocation back.
    pki.write("ca.crl", &pki.list(&[&bad]));
    assert_eq!(settle(&mut holder), [Refused, InForce]);
    assert_eq!(standing.lapse(Instant::now()), Some(Lapse::Certificate(Fault::Revoked)));
    pki.write("ca.crl", "nothing");
    assert_eq!(settle(&mut holder), [Refused, Refused]);
    assert_eq!(standing.lapse(Instant::now()), None, "nothing new to judge");
    pki.write("server.key", &key);
    assert_eq!(settle(&mut holder), [InForce, Refused]);
    assert_eq!(
        standing.lapse(Instant::now()),
        Some(Lapse::Certificate(Fault::Revoked)),
        "by the list in force"
    );
}

#[tokio::test]
async fn the_end_of_a_certificate_ends_its_session_though_nothing_changes() {
    let pki = Pki::new();
    let holder = holder(&pki, IdentifyBy::Certificate);
    let mut standing = connected(&pki, &holder, &pki.client("lns"));
    let now = Instant::now();
    // The wall clock may be set: it is looked at again before the day comes.
    assert!(standing.deadline().unwrap() <= now + Duration::from_secs(30));
    pki.clock.pass(30 * DAY - 5_000_000);
    assert_eq!(standing.lapse(now + Duration::from_secs(31)), None);
    let left = standing.deadline().unwrap() - (now + Duration::from_secs(31));
    assert_eq!(left, Duration::from_secs(6), "through the second of its end");
    pki.clock.pass(6_000_000);
    assert_eq!(standing.lapse(now + Duration::from_secs(36)), None, "not due");
    let lapse = standing.lapse(now + Duration::from_secs(37));
    assert_eq!(lapse, Some(Lapse::Certificate(Fault::Expired)));
}

#[tokio::test]
async fn a_list_that_expires_is_shown_and_ends_nobody() {
    let pki = Pki::new();
    let mut holder = holder(&pki, IdentifyBy::Certificate);
    pki.clock.pass(31 * DAY);
    let mut standing = connected(&pki, &holder, &pki.client("lns"));
    pki.clock.pass(29 * DAY + 1);
    let status = holder.look();
    assert_eq!(status[1].state, Expired);
    assert!(status[1].reason.fr.contains("des clients peuvent être refusés"), "{:?}", status[1].reason);
    assert_eq!(standing.lapse(Instant::now() + Duration::from_secs(60)), None);
    pki.write("ca.crl", &pki.list(&[]));
    assert_eq!(settle(&mut holder), [InForce, InForce]);
    assert_eq!(standing.lapse(Instant::now()), None);
}

#[tokio::test]
async fn a_changed_password_ends_its_users_session_and_another_users_does_not() {
    let pki = Pki::new();
    let line =
        |user: &str, password: &str, salt| password_line(user, password.as_bytes(), &[salt; 16]).unwrap();
    let (a, b) = (line("a", "one", 1), line("b", "two", 2));
    pki.write("passwords", &format!("{a}\n{b}\n"));
    let by = IdentifyBy::Password(pki.path("passwords"));
    let mut holder = holder(&pki, by.clone());
    let mut standings = Vec::new();
    for (user, password) in [("a", "one"), ("b", "two")] {
        let mut standing = Standing::new(by.clone(), &holder.credentials(), pki.clock());
        assert_eq!(standing.identities(Some(user), Some(b"wrong")).await, [""; 0]);
        assert_eq!(standing.identities(Some(user), None).await, [""; 0]);
        assert_eq!(
            standing.identities(Some(user), Some(password.as_bytes())).await,
            [format!("user:{user}")]
        );
        standings.push(standing);
    }
    for (text, lapses) in [
        (format!("# a comment\n{b}\n{a}\n"), [None, None]),
        (format!("{a}\n{}\n", line("b", "three", 3)), [None, Some(Lapse::Password)]),
        (String::new(), [Some(Lapse::Password), Some(Lapse::Password)]),
    ] {
        pki.write("passwords", &text);
        assert_eq!(settle(&mut holder), [InForce, InForce, InForce]);
        let found: Vec<_> = standings.iter_mut().map(|standing| standing.lapse(Instant::now())).collect();
        assert_eq!(found, lapses, "{text}");
    }
}

#[tokio::test]
async fn a_start_with_what_cannot_be_used_is_refused() {
    let pki = Pki::new();
    let open = || {
        let listeners = [listener(&pki, IdentifyBy::Certificate)];
        Watcher::open(&listeners, &pki.clock(), Shown::default())
            .map(|_| ())
            .map_err(|refusal| refusal.to_string())
    };
    assert_eq!(open(), Ok(()));
    pki.clock.pass(60 * DAY + 1);
    assert_eq!(open(), Ok(()), "the list has expired: the listener is shut");
    pki.write("server.key", &pki.server().key);
    assert!(open().unwrap_err().contains("is not the key of"));
}

#[tokio::test]
async fn a_listener_is_shut_while_only_the_time_is_against_its_files_and_opens_by_itself() {
    let pki = Pki::new();
    pki.clock.pass(60 * DAY + 1);
    let mut holder = holder(&pki, IdentifyBy::Certificate);
    let mut credentials = holder.credentials();
    let is_shut = |holder: &Holder| holder.credentials().borrow().is_shut;
    assert!(is_shut(&holder) && credentials.borrow_and_update().tls.is_none());
    assert_eq!(settle(&mut holder), [InForce, Shut]);
    let reason = holder.look().remove(1).reason;
    assert!(reason.en.contains("the listener is shut") && reason.fr.contains("est fermé"), "{reason:?}");
    pki.write("ca.crl", "nothing");
    assert_eq!(settle(&mut holder), [InForce, Shut], "another fault opens nothing");
    pki.write("ca.crl", &pki.list(&[]));
    assert_eq!(settle(&mut holder), [InForce, InForce]);
    assert!(!is_shut(&holder) && credentials.borrow_and_update().tls.is_some());
}

#[tokio::test]
async fn a_listener_whose_certificate_begins_later_opens_when_its_time_comes() {
    let pki = Pki::new();
    pki.clock.pass(-2 * DAY);
    let mut holder = holder(&pki, IdentifyBy::Certificate);
    assert_eq!(settle(&mut holder), [Shut, Shut]);
    pki.clock.pass(2 * DAY);
    assert_eq!(settle(&mut holder), [InForce, InForce]);
    assert!(!holder.credentials().borrow().is_shut);
}
