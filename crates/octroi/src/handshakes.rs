//! The threads of the handshakes. Their cryptography takes a processor for
//! long enough for others to notice: in a storm of thousands it would stand in
//! the runtime's queue before everybody's messages, and on the processor
//! before the journal. So it has threads of its own, on half of the processors
//! at most, which let others go first after each turn.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Where handshakes run. The threads end with the last of its clones; what runs on them by then is given up.
#[derive(Clone)]
pub struct Handshakes(Arc<Threads>);

struct Threads(Option<Runtime>);

impl Handshakes {
    /// On a machine of so many processors: half of them are left to others.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(processors: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads((processors / 2).max(1)).thread_name("handshakes").enable_time();
        Ok(Self(Arc::new(Threads(Some(builder.build()?)))))
    }

    /// Has a handshake run there; the set owns it.
    pub fn spawn<F>(&self, set: &mut JoinSet<F::Output>, handshake: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let Threads(Some(runtime)) = &*self.0 else { return };
        set.spawn_on(giving_way(handshake), runtime.handle());
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The last clone may go where tasks run, and nobody may wait there.
            runtime.shutdown_background();
        }
    }
}

/// That work; whoever waits for the processor has it after each poll. The kernel would let them wait for
/// milliseconds, at each step of a message's way to the disk.
async fn giving_way<F: Future>(work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        std::thread::yield_now();
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_are_polled_at_once_than_half_of_the_processors_and_none_where_others_are() {
        static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let (handshakes, mut set) = (Handshakes::start(4).unwrap(), JoinSet::new());
        for _ in 0..100 {
            handshakes.spawn(&mut set, async {
                for _ in 0..5 {
                    let now = AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1;
                    MOST.fetch_max(now, Ordering::SeqCst);
                    let until = tokio::time::Instant::now() + Duration::from_micros(200);
                    while tokio::time::Instant::now() < until {
                        std::hint::spin_loop();
                    }
                    AT_ONCE.fetch_sub(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                std::thread::current().name().map(str::to_owned)
            });
        }
        let threads = set.join_all().await;
        assert!(threads.iter().all(|name| name.as_deref() == Some("handshakes")), "{threads:?}");
        assert_eq!(threads.len(), 100);
        assert!((1..=2).contains(&MOST.load(Ordering::SeqCst)), "{MOST:?} at once");
    }

    #[tokio::test]
    async fn who_waits_for_its_peer_holds_back_nobody_and_is_given_up_with_the_threads() {
        let (handshakes, mut set) = (Handshakes::start(1).unwrap(), JoinSet::new());
        for _ in 0..100 {
            handshakes.spawn(&mut set, std::future::pending());
        }
        handshakes.spawn(&mut set, std::future::ready(2));
        assert_eq!(set.join_next().await.unwrap().unwrap(), 2);
        drop(handshakes);
        while let Some(ended) = set.join_next().await {
            assert!(ended.unwrap_err().is_cancelled());
        }
    }
}
