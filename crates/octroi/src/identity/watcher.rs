//! Looks at the files of every listener twice a second, and shows how each
//! stands. By content: it does not matter how a file was replaced (written
//! over, renamed, behind Kubernetes' symbolic links), nor what its times say.
//! The files are small.
//!
//! It decides nothing: `credentials.rs` does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};

use super::credentials::{Credentials, Holder};
use super::material::Refusal;
use crate::clock::Clock;
use crate::config::Listener;
use crate::limits;
use crate::status::{CredentialState, CredentialStatus};

/// How the credentials of all listeners stand, swapped whole.
pub type Shown = Arc<ArcSwap<Vec<CredentialStatus>>>;

/// The credentials of all listeners.
pub struct Watcher {
    holders: Vec<Holder>,
    shown: Shown,
}

impl Watcher {
    /// Reads everything. A listener whose files only the time is against is shut. Blocking.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn open(listeners: &[Listener], clock: &Arc<dyn Clock>, shown: Shown) -> Result<Self, Refusal> {
        let checks = Arc::new(Semaphore::new(limits::PASSWORD_CHECKS));
        let holders = listeners.iter().map(|listener| Holder::open(listener, &checks, Arc::clone(clock)));
        let mut watcher = Self { holders: holders.collect::<Result<_, _>>()?, shown };
        watcher.look();
        Ok(watcher)
    }

    /// What keeps listeners shut.
    pub fn shut_by(&self) -> impl Iterator<Item = &Refusal> {
        self.holders.iter().filter_map(Holder::shut_by)
    }

    /// What each listener goes by, in the configuration's order.
    #[must_use]
    pub fn credentials(&self) -> Vec<watch::Receiver<Arc<Credentials>>> {
        self.holders.iter().map(Holder::credentials).collect()
    }

    /// Looks until the hub has ended.
    pub async fn run(mut self, mut ended: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(limits::CREDENTIALS_EVERY) => {}
                _ = ended.wait_for(|ended| *ended) => return,
            }
            // Disks may be slow: not on a task that others wait for.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(watcher) => self = watcher,
                Err(error) => {
                    tracing::error!(%error, "credentials are no longer looked at: restart the hub");
                    return;
                }
            }
        }
    }

    /// Looks once, and says what stands otherwise than it did.
    fn look(&mut self) {
        let now: Vec<CredentialStatus> = self.holders.iter_mut().flat_map(Holder::look).collect();
        let before = self.shown.load();
        for status in &now {
            let same =
                |old: &&CredentialStatus| (&old.listener, &old.part) == (&status.listener, &status.part);
            let old = before.iter().find(same);
            if old.is_none_or(|old| old != status) {
                say(status, old.is_none());
            }
        }
        if **before != now {
            self.shown.store(Arc::new(now));
        }
    }
}

fn say(status: &CredentialStatus, first: bool) {
    let CredentialStatus { listener, part, state, reason, valid_until } = status;
    match state {
        CredentialState::InForce if first => {}
        CredentialState::InForce => tracing::info!(listener, part, valid_until, "credentials are in force"),
        CredentialState::Refused | CredentialState::Expired | CredentialState::Shut => {
            tracing::error!(listener, part, "{}", reason.en);
        }
    }
}
