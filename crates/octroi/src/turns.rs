//! Work that takes a processor for long enough for others to notice, done a
//! few at a time: the cryptography of TLS handshakes. In a storm of thousands
//! they would otherwise stand in the runtime's queue before everybody else.
//!
//! A turn is held while a future is polled, and not while it waits for its
//! peer: who is slow holds back nobody.
//!
//! INVARIANT: a future is polled only with a turn, and gives it back with the
//! poll.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

type Turn = Result<OwnedSemaphorePermit, AcquireError>;

/// So many at a time, in the order in which they asked.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    /// On a machine of so many processors: half of them are left to others.
    #[must_use]
    pub fn of(processors: usize) -> Self {
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// That future, polled in turn.
    pub fn take<F: Future + Unpin>(&self, work: F) -> InTurn<F> {
        InTurn { work, turns: Arc::clone(&self.0), next: None }
    }
}

/// See [`Turns::take`].
pub struct InTurn<F> {
    work: F,
    turns: Arc<Semaphore>,
    /// The turn that it waits for.
    next: Option<Pin<Box<dyn Future<Output = Turn> + Send>>>,
}

impl<F: Future + Unpin> Future for InTurn<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { work, turns, next } = self.get_mut();
        let free = if next.is_none() { Arc::clone(turns).try_acquire_owned().ok() } else { None };
        let _turn = match free {
            Some(turn) => Ok(turn),
            None => {
                let waits = next.get_or_insert_with(|| Box::pin(Arc::clone(turns).acquire_owned()));
                std::task::ready!(waits.as_mut().poll(context))
            }
        };
        *next = None;
        Pin::new(work).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Busy for a moment whenever it is polled, and ready with the last of them.
    struct Busy<'a> {
        polls: usize,
        at_once: &'a AtomicUsize,
        most: &'a AtomicUsize,
    }

    impl Future for Busy<'_> {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let until = tokio::time::Instant::now() + Duration::from_micros(200);
            while tokio::time::Instant::now() < until {
                std::hint::spin_loop();
            }
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            self.polls -= 1;
            context.waker().wake_by_ref();
            if self.polls == 0 { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_are_polled_at_once_than_there_are_turns_and_all_come_to_their_end() {
        static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let turns = Turns::of(4);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            tasks.spawn(turns.take(Busy { polls: 5, at_once: &AT_ONCE, most: &MOST }));
        }
        assert_eq!(tasks.join_all().await.len(), 100);
        assert!((1..=2).contains(&MOST.load(Ordering::SeqCst)), "{MOST:?} at once");
    }

    #[tokio::test]
    async fn who_waits_for_its_peer_or_is_given_up_keeps_no_turn() {
        let turns = Turns::of(1);
        let moment = Duration::from_millis(20);
        let mut silent = Box::pin(turns.take(Box::pin(std::future::pending::<()>())));
        assert!(tokio::time::timeout(moment, silent.as_mut()).await.is_err());
        let held = Arc::clone(&turns.0).acquire_owned().await.unwrap();
        let waits = turns.take(Box::pin(std::future::ready(1)));
        assert!(tokio::time::timeout(moment, waits).await.is_err(), "somebody has the only turn");
        drop(held);
        assert_eq!(turns.take(Box::pin(std::future::ready(2))).await, 2);
    }
}
