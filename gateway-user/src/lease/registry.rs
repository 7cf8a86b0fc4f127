//! The thread that owns the ledger.
//!
//! Work comes as closures and is done one after the other. Answers of one batch wait for one
//! commit, so a thousand requests at once cost the disk hardly more than one.
use super::{Ledger, Refusal, store};
use crate::{agent, config::auth::Name, dataplane};
use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
};
use tokio::sync::oneshot;

/// Pieces of work that one commit may serve.
const BATCH: usize = 256;

/// Why something about leases was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The allow-list.
    #[error(transparent)]
    Allow(#[from] crate::allow::Error),
    /// The kernel.
    #[error(transparent)]
    Dataplane(#[from] dataplane::Error),
    /// The agent's own rules.
    #[error(transparent)]
    Agent(Box<agent::Error>),
    /// No instant to measure from.
    #[error("the kernel does not name its run (/proc/sys/kernel/random/boot_id)")]
    Clock(#[source] std::io::Error),
    /// No policy for any of these names.
    #[error("no policy for {}", listed(.0))]
    Unknown(Vec<Name>),
    /// The policy says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The agent is ending.
    #[error("the agent is ending")]
    Gone,
}

impl From<agent::Error> for Error {
    fn from(error: agent::Error) -> Self {
        Self::Agent(Box::new(error))
    }
}

fn listed(names: &[Name]) -> String {
    let texts: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
    if texts.is_empty() { "a certificate without a name".to_owned() } else { texts.join(", ") }
}

type Reply = Box<dyn FnOnce() + Send>;
type Work = Box<dyn FnOnce(&mut Ledger) -> Reply + Send>;

/// A way to the thread; it ends after the last one of them.
#[derive(Clone)]
pub struct Registry {
    work: Sender<Work>,
}

impl Registry {
    /// Hands the ledger to a thread of its own.
    pub fn start(ledger: Ledger) -> Self {
        let (work, inbox) = mpsc::channel();
        thread::spawn(move || serve(ledger, &inbox));
        Self { work }
    }

    /// Has something done, and waits until it is done and on the disk.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, answer) = oneshot::channel();
        let work: Work = Box::new(move |ledger| {
            let result = work(ledger);
            Box::new(move || drop(sender.send(result)))
        });
        self.work.send(work).map_err(|_| Error::Gone)?;
        answer.await.map_err(|_| Error::Gone)
    }
}

fn serve(mut ledger: Ledger, inbox: &Receiver<Work>) {
    let mut replies = Vec::new();
    loop {
        match inbox.recv_timeout(ledger.wait()) {
            Ok(work) => {
                replies.push(work(&mut ledger));
                while replies.len() < BATCH
                    && let Ok(work) = inbox.try_recv()
                {
                    replies.push(work(&mut ledger));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        ledger.tick();
        ledger.commit();
        replies.drain(..).for_each(|reply| reply());
    }
    ledger.commit();
}
