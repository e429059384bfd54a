//! Whether a connected client is still who it proved to be.
//!
//! A connection's session holds its [`Standing`] and asks it before each read
//! and whenever it wakes: an answer costs two loads as long as nothing changed.
//! A changed file is judged at once, the end of a certificate when it comes, by
//! the rules that a new handshake or CONNECT would meet.
//!
//! It closes nothing: the session does.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::Instant;

use super::credentials::Credentials;
use crate::clock::Clock;
use crate::config::IdentifyBy;
use crate::limits;
use crate::tls::{self, Fault};

/// Why a client is no longer who it proved to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// By its certificate.
    Certificate(Fault),
    /// Its password was changed or taken away.
    Password,
}

impl Lapse {
    /// As an MQTT 5 client reads it.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Certificate(Fault::Revoked) => "your certificate is revoked",
            Self::Certificate(Fault::Expired) => "your certificate has expired; connect with its successor",
            Self::Certificate(Fault::Untrusted) => {
                "no authority that the hub trusts vouches for your certificate"
            }
            Self::Password => "your password was changed or taken away",
        }
    }
}

/// What a connection proved, and what that is judged by.
pub struct Standing {
    by: IdentifyBy,
    clock: Arc<dyn Clock>,
    credentials: watch::Receiver<Arc<Credentials>>,
    /// There are others since the last look.
    changed: bool,
    /// As TLS verified it; empty: there was none.
    chain: Vec<CertificateDer<'static>>,
    /// The line of the password file by which a user came in.
    line: Option<(String, String)>,
    /// When to look though nothing changed: something ends.
    look: Option<Instant>,
}

impl Standing {
    /// A connection that has proved nothing yet, at a listener that identifies so.
    #[must_use]
    pub fn new(
        by: IdentifyBy,
        credentials: &watch::Receiver<Arc<Credentials>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut credentials = credentials.clone();
        // What a handshake goes by from here on: a later change is one to be judged.
        credentials.mark_unchanged();
        Self { by, clock, credentials, changed: false, chain: Vec::new(), line: None, look: None }
    }

    /// What this connection's handshake is to go by; `None`: the listener has no TLS.
    #[must_use]
    pub fn tls(&mut self) -> Option<Arc<ServerConfig>> {
        self.credentials.borrow_and_update().tls.clone()
    }

    /// TLS verified this chain.
    pub fn verified(&mut self, chain: &[CertificateDer<'_>], now: Instant) {
        self.chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        self.look_again(now);
    }

    /// The identities that the connection proves with this user name and password, the preferred first;
    /// empty: none.
    pub async fn identities(&mut self, user: Option<&str>, password: Option<&[u8]>) -> Vec<String> {
        match &self.by {
            IdentifyBy::Certificate => self.chain.first().map(tls::identities).unwrap_or_default(),
            IdentifyBy::UsernameOnly => user.iter().map(|user| format!("id:{user}")).collect(),
            IdentifyBy::Password(_) => {
                let passwords = self.credentials.borrow().passwords.clone();
                let (Some(passwords), Some(user), Some(password)) = (passwords, user, password) else {
                    return Vec::new();
                };
                if !passwords.verify(user, password).await {
                    return Vec::new();
                }
                self.line = passwords.hash_of(user).map(|hash| (user.to_owned(), hash.to_owned()));
                vec![format!("user:{user}")]
            }
        }
    }

    /// Why this client is no longer who it proved to be, if so. Cheap unless something changed or ended.
    pub fn lapse(&mut self, now: Instant) -> Option<Lapse> {
        // The sender is gone when the hub stops: nothing changes any more.
        let changed = self.changed || self.credentials.has_changed().unwrap_or(false);
        if !changed && self.look.is_none_or(|look| now < look) {
            return None;
        }
        self.changed = false;
        let credentials = Arc::clone(&self.credentials.borrow_and_update());
        self.look_again(now);
        self.judge(&credentials)
    }

    /// Ends when there is something to judge.
    pub async fn changed(&mut self) {
        match self.credentials.changed().await {
            Ok(()) => self.changed = true,
            Err(_) => std::future::pending().await,
        }
    }

    /// When [`Standing::lapse`] is to be asked though nothing changed.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.look
    }

    fn judge(&self, credentials: &Credentials) -> Option<Lapse> {
        if let (false, Some(clients)) = (self.chain.is_empty(), &credentials.clients)
            && let Err(fault) = clients.judge(&self.chain, self.clock.now())
        {
            return Some(Lapse::Certificate(fault));
        }
        let (user, hash) = self.line.as_ref()?;
        let stands =
            credentials.passwords.as_ref().and_then(|passwords| passwords.hash_of(user)) == Some(hash);
        (!stands).then_some(Lapse::Password)
    }

    /// When the chain ends, or a while before, for the wall clock may be set.
    fn look_again(&mut self, now: Instant) {
        self.look = tls::first_end(&self.chain).map(|end| {
            // A certificate is valid through the second of its end.
            let left = end.0.saturating_sub(self.clock.now().0).saturating_add(1_000_000);
            let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
            now + left.min(limits::CLOCK_LOOK)
        });
    }
}
