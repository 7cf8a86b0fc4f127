//! What commands do to the allow-list and to leases: by the agent that runs, or without one
//! themselves. There is never a second hand at it.
use super::{Error, answers, attach};
use crate::{
    config::Config,
    control::{self, Question},
    dataplane::{self, attach::Running},
    lease::{self, Ledger, Span, View},
};
use serde_json::Value;
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Brings the filter up and leaves no agent behind. One that runs keeps the allow-list, and follows.
///
/// # Errors
/// See [`Error`].
pub fn start_once(config: &Config) -> Result<Running, Error> {
    match hand(config, Question::Grants)? {
        Hand::Own(mut ledger) => {
            let running = ledger.attach(config)?;
            ledger.commit();
            Ok(running)
        }
        Hand::Agent(answer) => {
            let (running, _) = attach(config, &answers::read_grants(answer)?)?;
            let answer = control::ask(&config.state.runtime, Question::Sync)?;
            answers::refusal(&answer).map_or(Ok(running), Err)
        }
    }
}

/// Puts the allow-list file into force: by the agent, or without one here.
///
/// # Errors
/// See [`Error`].
pub fn sync(config: &Config) -> Result<(), Error> {
    match hand(config, Question::Sync)? {
        Hand::Agent(_) => Ok(()),
        Hand::Own(mut ledger) => {
            let followed = ledger.follow();
            // the time of an entry runs from now on, whether anything filters or not
            ledger.commit();
            Ok(followed.map(drop)?)
        }
    }
}

/// Entries of the allow-list whose time is over; none if the agent that runs does not say.
///
/// # Errors
/// See [`Error`].
pub fn over(config: &Config) -> Result<Vec<Span>, Error> {
    match hand(config, Question::Over) {
        Ok(Hand::Own(ledger)) => Ok(ledger.over()),
        Ok(Hand::Agent(answer)) => Ok(serde_json::from_value(answer).unwrap_or_default()),
        Err(Error::Control(control::Error::Answer(_))) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// All leases.
///
/// # Errors
/// See [`Error`].
pub fn leases(config: &Config) -> Result<Vec<View>, Error> {
    match hand(config, Question::Leases)? {
        Hand::Agent(answer) => Ok(answers::read(answer)),
        Hand::Own(ledger) => Ok(answers::read(answers::views(ledger.leases()))),
    }
}

/// All leases, as an agent has them that runs.
///
/// # Errors
/// [`Error::Control`], [`Error::Said`].
pub fn leases_of_agent(runtime: &Path) -> Result<Vec<View>, Error> {
    let answer = control::ask(runtime, Question::Leases)?;
    answers::refusal(&answer).map_or_else(|| Ok(answers::read(answer)), Err)
}

/// Ends a lease; nothing if there is none of that name.
///
/// # Errors
/// See [`Error`].
pub fn revoke(config: &Config, id: lease::Id) -> Result<Vec<View>, Error> {
    match hand(config, Question::Revoke(id))? {
        Hand::Agent(answer) => Ok(answers::read(answer.get("ended").cloned().unwrap_or_default())),
        Hand::Own(mut ledger) => {
            let ended = ledger.release(&id, |_| true);
            match ledger.follow() {
                Ok(_) | Err(lease::Error::Dataplane(dataplane::Error::NotRunning(_))) => {}
                Err(error) => return Err(error.into()),
            }
            ledger.commit();
            Ok(answers::read(answers::views(ended.iter())))
        }
    }
}

/// Who does it: the agent, which has answered, or this process, which has the ledger then.
enum Hand {
    Agent(Value),
    Own(Box<Ledger>),
}

fn hand(config: &Config, question: Question) -> Result<Hand, Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        match Ledger::open(config, Duration::ZERO) {
            Ok(ledger) => return Ok(Hand::Own(Box::new(ledger))),
            Err(lease::Error::Store(lease::StoreError::Busy(_))) => {}
            Err(error) => return Err(error.into()),
        }
        match control::ask(&config.state.runtime, question) {
            Ok(answer) => {
                return answers::refusal(&answer).map_or(Ok(Hand::Agent(answer)), Err);
            }
            // it has just started or ended, or another command is at it
            Err(control::Error::NotRunning(_)) if Instant::now() < end => thread::sleep(STEP),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How long another process may take that writes the kernel's allow-list.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(20);
