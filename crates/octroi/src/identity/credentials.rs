//! What a listener goes by to tell who is at the other end: certificate, key,
//! authorities, revocation lists, passwords, as they stand in files. They are
//! read at the start and looked at again from then on (`watcher.rs`); what has
//! changed replaces the old whole.
//!
//! INVARIANT: what cannot be used is fatal at the start, unless the time alone
//! is against it: then the listener is shut until there is something else, or
//! the time has come. Later it changes nothing: the old stays in force. Either
//! is shown as long as it holds.

use std::path::PathBuf;
use std::sync::Arc;

use octroi_policy::{Text, Timestamp, text};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};

use super::material::{Material, Refusal};
use super::passwords::Passwords;
use crate::clock::Clock;
use crate::config::{IdentifyBy, Listener};
use crate::status::{CredentialState, CredentialStatus};
use crate::tls::{self, Clients, End, Pair};

/// What a listener goes by at one time.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// TLS, if the listener has it.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who has a certificate to show.
    pub clients: Option<Arc<Clients>>,
    /// Who has a password.
    pub passwords: Option<Arc<Passwords>>,
    /// Since the start there was nothing to go by: nobody is let in.
    pub is_shut: bool,
}

/// A value that stands in a file or two, and whether those have another by now.
struct Kept<T> {
    name: &'static str,
    files: (PathBuf, Option<PathBuf>),
    load: Load<T>,
    end: fn(&T) -> Option<&End>,
    /// `None`: nothing that can be used was there since the start.
    value: Option<Arc<T>>,
    /// Of the files as they were looked at last.
    seen: blake3::Hash,
    /// Of the files that were taken or refused last.
    judged: blake3::Hash,
    refused: Option<Refusal>,
}

type Load<T> = Box<dyn Fn(&Material, Option<&Material>, Timestamp) -> Result<T, Refusal> + Send>;

fn read((first, second): &(PathBuf, Option<PathBuf>)) -> (Material, Option<Material>) {
    (Material::read(first), second.as_deref().map(Material::read))
}

impl<T> Kept<T> {
    fn open(
        name: &'static str,
        files: (PathBuf, Option<PathBuf>),
        load: Load<T>,
        end: fn(&T) -> Option<&End>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let (first, second) = read(&files);
        let (value, refused) = match load(&first, second.as_ref(), now) {
            Ok(value) => (Some(Arc::new(value)), None),
            Err(refusal) if refusal.by_time => (None, Some(refusal)),
            Err(refusal) => return Err(refusal),
        };
        let digest = Material::digest(std::iter::once(&first).chain(&second));
        Ok(Self { name, files, load, end, value, seen: digest, judged: digest, refused })
    }

    /// Looks at the files. What two looks in a row found alike is settled: a file half written, or a
    /// certificate whose key is about to follow, is neither taken nor complained of. Whether it is taken.
    fn look(&mut self, now: Timestamp) -> bool {
        let (first, second) = read(&self.files);
        let digest = Material::digest(std::iter::once(&first).chain(&second));
        let settled = std::mem::replace(&mut self.seen, digest) == digest;
        // What only the time is against may be right by now.
        let is_new = digest != self.judged || self.value.is_none();
        if !settled || !is_new {
            return false;
        }
        self.judged = digest;
        match (self.load)(&first, second.as_ref(), now) {
            Ok(value) => {
                (self.value, self.refused) = (Some(Arc::new(value)), None);
                true
            }
            Err(refusal) => {
                self.refused = Some(refusal);
                false
            }
        }
    }

    fn is_shut(&self) -> bool {
        self.value.is_none()
    }

    fn status(&self, listener: &str, now: Timestamp) -> CredentialStatus {
        let end = self.value.as_deref().and_then(self.end);
        let over = end.filter(|end| end.at < now).map(over);
        let kept = if self.is_shut() { shut } else { kept_the_old };
        let refused = self.refused.as_ref().map(kept);
        let state = match (&over, &refused) {
            _ if self.is_shut() => CredentialState::Shut,
            (Some(_), _) => CredentialState::Expired,
            (None, Some(_)) => CredentialState::Refused,
            (None, None) => CredentialState::InForce,
        };
        let reasons: Vec<Text> = over.into_iter().chain(refused).collect();
        CredentialStatus {
            listener: listener.to_owned(),
            part: self.name.to_owned(),
            state,
            reason: Text::join(&reasons, ". ", ". "),
            valid_until: end.map(|end| end.at.to_string()).unwrap_or_default(),
        }
    }
}

fn over(end: &End) -> Text {
    let (Text { en, fr }, at) = (&end.what, end.at);
    text!(
        "{en} expired at {at}: put a valid one there; clients may be turned away until then",
        "{fr} a expiré le {at} : déposez-en un exemplaire valable ; des clients peuvent être refusés d'ici là"
    )
}

fn kept_the_old(refusal: &Refusal) -> Text {
    let (Text { en, fr }, Text { en: mend_en, fr: mend_fr }) = (&refusal.what, &refusal.mend);
    text!(
        "{en}; what was read before stays in force. {mend_en}",
        "{fr} ; ce qui a été lu auparavant reste en vigueur. {mend_fr}"
    )
}

fn shut(refusal: &Refusal) -> Text {
    let (Text { en, fr }, Text { en: mend_en, fr: mend_fr }) = (&refusal.what, &refusal.mend);
    text!(
        "{en}; the listener is shut, and opens by itself once it is mended: {mend_en}",
        "{fr} ; le point d'écoute est fermé et s'ouvrira de lui-même une fois la correction faite : {mend_fr}"
    )
}

/// The credentials of one listener, kept like their files.
pub struct Holder {
    listener: String,
    clock: Arc<dyn Clock>,
    pair: Option<Kept<Pair>>,
    clients: Option<Kept<Clients>>,
    passwords: Option<Kept<Passwords>>,
    tell: watch::Sender<Arc<Credentials>>,
}

impl Holder {
    /// Reads everything. Blocking.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn open(
        listener: &Listener,
        checks: &Arc<Semaphore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Refusal> {
        let now = clock.now();
        let pair = listener.tls.as_ref().map(|tls| {
            let load: Load<Pair> = Box::new(|chain, key, now| Pair::load(chain, key.unwrap_or(chain), now));
            let files = (tls.certificate.clone(), Some(tls.key.clone()));
            Kept::open("certificate", files, load, |pair| pair.end.as_ref(), now)
        });
        let authorities =
            listener.tls.as_ref().and_then(|tls| Some((tls.client_ca.clone()?, tls.crl.clone())));
        let clients = authorities.map(|files| {
            let load: Load<Clients> = Box::new(Clients::load);
            Kept::open("client_ca", files, load, |clients| clients.end.as_ref(), now)
        });
        let passwords = match &listener.identify_by {
            IdentifyBy::Password(path) => {
                let checks = Arc::clone(checks);
                let load: Load<Passwords> = Box::new(move |file, _, _| Passwords::load(file, &checks));
                Some(Kept::open("passwords", (path.clone(), None), load, |_| None, now))
            }
            IdentifyBy::Certificate | IdentifyBy::UsernameOnly => None,
        };
        let (tell, _) = watch::channel(Arc::default());
        let listener = listener.bind.to_string();
        let (pair, clients, passwords) = (pair.transpose()?, clients.transpose()?, passwords.transpose()?);
        let holder = Self { listener, clock, pair, clients, passwords, tell };
        holder.publish()?;
        Ok(holder)
    }

    /// The credentials in force, from now on.
    #[must_use]
    pub fn credentials(&self) -> watch::Receiver<Arc<Credentials>> {
        self.tell.subscribe()
    }

    /// Looks at every file, and puts in force what has changed. Blocking.
    pub fn look(&mut self) -> Vec<CredentialStatus> {
        let now = self.clock.now();
        let pair = self.pair.as_mut().is_some_and(|kept| kept.look(now));
        let clients = self.clients.as_mut().is_some_and(|kept| kept.look(now));
        let passwords = self.passwords.as_mut().is_some_and(|kept| kept.look(now));
        if (pair || clients || passwords)
            && let Err(refusal) = self.publish()
        {
            tracing::error!(listener = self.listener, %refusal, "credentials are not taken");
        }
        self.status(now)
    }

    /// How each stands.
    fn status(&self, now: Timestamp) -> Vec<CredentialStatus> {
        let pair = self.pair.iter().map(|kept| kept.status(&self.listener, now));
        let clients = self.clients.iter().map(|kept| kept.status(&self.listener, now));
        let passwords = self.passwords.iter().map(|kept| kept.status(&self.listener, now));
        pair.chain(clients).chain(passwords).collect()
    }

    /// What keeps the listener shut.
    pub fn shut_by(&self) -> Option<&Refusal> {
        let pair = self.pair.as_ref().filter(|kept| kept.is_shut()).and_then(|kept| kept.refused.as_ref());
        let clients = self.clients.as_ref().filter(|kept| kept.is_shut());
        pair.or(clients.and_then(|kept| kept.refused.as_ref()))
    }

    fn publish(&self) -> Result<(), Refusal> {
        if self.shut_by().is_some() {
            self.tell.send_replace(Arc::new(Credentials { is_shut: true, ..Credentials::default() }));
            return Ok(());
        }
        let clients = self.clients.as_ref().and_then(|kept| kept.value.clone());
        let pair = self.pair.as_ref().and_then(|kept| kept.value.as_deref());
        let server = |pair| tls::server(pair, clients.as_deref(), &self.clock);
        let tls = pair.map(server).transpose().map_err(|error| Refusal {
            what: text!("TLS cannot be set up ({error})", "TLS ne peut pas être mis en place ({error})"),
            mend: text!("tell Octroi's developers", "signalez-le aux développeurs d'Octroi"),
            by_time: false,
        })?;
        let passwords = self.passwords.as_ref().and_then(|kept| kept.value.clone());
        self.tell.send_replace(Arc::new(Credentials { tls, clients, passwords, is_shut: false }));
        Ok(())
    }
}
