//! Whether one step of a part may wait for the others.
//!
//! Journal, side logs, aggregates and relays are loops over a step. A thread
//! of its own waits within it. Who drives all of them in turn, in one thread,
//! cannot: nobody would ever move what it waits for. That is how the hub runs
//! in simulation.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Whether a step may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Others go on meanwhile.
    Waits,
    /// Look once, and come again.
    Never,
}

impl Patience {
    /// How long to wait where a thread would wait for so long.
    #[must_use]
    pub fn at_most(self, wait: Duration) -> Duration {
        match self {
            Self::Waits => wait,
            Self::Never => Duration::ZERO,
        }
    }

    /// The answer to what was asked of another part; `None`: there will be none.
    ///
    /// # Errors
    /// Not yet: ask this again.
    pub fn hear<T>(self, mut told: oneshot::Receiver<T>) -> Result<Option<T>, oneshot::Receiver<T>> {
        match self {
            Self::Waits => Ok(told.blocking_recv().ok()),
            Self::Never => match told.try_recv() {
                Ok(answer) => Ok(Some(answer)),
                Err(TryRecvError::Closed) => Ok(None),
                Err(TryRecvError::Empty) => Err(told),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_waits_hears_what_is_there_and_asks_again_for_what_is_not() {
        let (tell, told) = oneshot::channel();
        let told = Patience::Never.hear(told).unwrap_err();
        tell.send(7).unwrap();
        assert_eq!(Patience::Never.hear(told).unwrap(), Some(7));
        let (tell, told) = oneshot::channel::<u8>();
        drop(tell);
        assert_eq!(Patience::Never.hear(told).unwrap(), None);
    }

    #[test]
    fn who_waits_hears_what_comes_later() {
        let (tell, told) = oneshot::channel();
        let teller = std::thread::spawn(move || tell.send(7));
        assert_eq!(Patience::Waits.hear(told).unwrap(), Some(7));
        teller.join().unwrap().unwrap();
        assert!(Patience::Never.at_most(Duration::MAX).is_zero());
    }
}
