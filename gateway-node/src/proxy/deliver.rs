//! What a node said becomes what a client gets: whole, in chunks, from the cache, or not at all.

use alloc::vec::Vec;

use super::{
    cache::Entry,
    core::Proxy,
    http::Answer,
    job::{Job, JobId},
    message::{self, Code, Opt, option},
    method::Method,
    refusal::Refusal,
    reply,
    transfer::Transfer,
};
use crate::{Instant, Random};

const GONE: Refusal = Refusal::new(502, "nobody waits for the response");

const UNASKED: Refusal = Refusal::new(502, "the node confirmed what it was not asked about");

impl<R: Random> Proxy<R> {
    /// There is more to send or to fetch.
    pub(super) fn go_on(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(transfer) = &job.transfer else { return };
        if let Some((Code::CONTENT, options)) = transfer.head()
            && job.ask.method == Method::Head
        {
            let length =
                message::uint(options, option::SIZE2).and_then(|n| usize::try_from(n).ok());
            let answer = reply::answer(&self.settings, &job.ask, Code::CONTENT, options, true);
            return self.finish_head(id, answer, length);
        }
        if self.is_streaming(job) || transfer.received().len() > self.settings.limits.collect {
            if let Err(refusal) = self.stream(id) {
                return self.fail(id, refusal);
            }
            if self.is_backlogged(id) {
                return;
            }
        }
        self.take_turn(now, id);
    }

    fn is_streaming(&self, job: &Job) -> bool {
        let connection = job.connection.and_then(|id| self.connections.get(&id));
        connection.is_some_and(|connection| connection.is_chunked())
    }

    fn is_backlogged(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let connection = job.connection.and_then(|id| self.connections.get(&id));
        job.paused = connection.is_some_and(|c| c.output().len() > self.settings.limits.backlog);
        job.paused
    }

    /// Passes on what has come so far, beginning the response if need be.
    fn stream(&mut self, id: JobId) -> Result<(), Refusal> {
        let too_large = Refusal::new(502, "the response is larger than a client of HTTP/1.0 gets");
        let job = self.jobs.get_mut(&id).ok_or(GONE)?;
        let connection = job.connection.and_then(|id| self.connections.get_mut(&id));
        let (Some(connection), Some(transfer)) = (connection, &mut job.transfer) else {
            return Err(GONE);
        };
        if !connection.is_chunked() {
            if !job.ask.modern {
                return Err(too_large);
            }
            let (code, options) = transfer.head().ok_or(GONE)?;
            let answer = reply::answer(&self.settings, &job.ask, code, options, true)?;
            connection.begin_chunks(&answer);
        }
        connection.chunk(&transfer.take());
        Ok(())
    }

    pub(super) fn complete(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if self.is_streaming(job) {
            if self.stream(id).is_ok()
                && let Some(client) = self.jobs.get(&id).and_then(|job| job.connection)
                && let Some(connection) = self.connections.get_mut(&client)
            {
                connection.end_chunks();
            }
            return self.finish(id);
        }
        let Some((code, options)) = job.transfer.as_ref().and_then(Transfer::head) else { return };
        if code == Code::NOT_ACCEPTABLE && job.ask.accepts.len() > 1 {
            return self.ask_for_next_format(id);
        }
        let options = options.to_vec();
        let answer = match code {
            Code::VALID => self.valid(now, id, &options),
            other => self.reply(now, id, other, &options),
        };
        let answer = answer.unwrap_or_else(Answer::from);
        self.deliver(id, answer);
        self.finish(id);
    }

    /// RFC 8075 §7, notes 3 and 4.
    fn valid(&mut self, now: Instant, id: JobId, options: &[Opt]) -> Result<Answer, Refusal> {
        let job = self.jobs.get_mut(&id).ok_or(UNASKED)?;
        let own = job.stored.as_ref().and_then(Entry::etag).map(<[u8]>::to_vec);
        let asked = job.ask.if_none_match.tags.iter().chain(&own);
        let etag = message::first(options, option::ETAG);
        // A node that confirms without a tag can only mean the one it was asked about.
        let etag = etag.or_else(|| asked.clone().next().map(Vec::as_slice)).ok_or(UNASKED)?;
        let etag = asked.clone().find(|asked| *asked == etag).ok_or(UNASKED)?.clone();
        self.counters.validated += 1;
        if own.as_ref() == Some(&etag)
            && let (Some(mut entry), Some(key)) = (job.stored.take(), job.ask.key())
        {
            entry.revalidate(options, now);
            self.cache.store(key, entry.clone());
            return Ok(reply::stored(&self.settings, &job.ask, &entry, now));
        }
        Ok(reply::not_modified(&self.settings, &etag, options))
    }

    fn reply(
        &mut self,
        now: Instant,
        id: JobId,
        code: Code,
        options: &[Opt],
    ) -> Result<Answer, Refusal> {
        let job = self.jobs.get_mut(&id).ok_or(GONE)?;
        let payload = job.transfer.as_mut().map(Transfer::take).unwrap_or_default();
        if let Some(key) = job.ask.key() {
            if code == Code::CONTENT && !job.ask.directives.no_store {
                let entry = Entry::new(options, &payload, now);
                let answer = reply::stored(&self.settings, &job.ask, &entry, now);
                self.cache.store(key, entry);
                return Ok(answer);
            }
            if code == Code::NOT_FOUND {
                self.cache.remove(&key);
            }
        } else if code.class() == 2 && !job.ask.method.is_safe() {
            self.cache.invalidate(job.ask.target.endpoint, &job.ask.target.options);
        }
        let answer = reply::answer(&self.settings, &job.ask, code, options, !payload.is_empty())?;
        Ok(Answer { body: payload, ..answer })
    }

    pub(super) fn answer_from_cache(&mut self, now: Instant, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        let Some(entry) = job.ask.key().and_then(|key| self.cache.find(&key)) else { return false };
        let accepted = job.ask.directives.accepts(entry.age(now), entry.max_age());
        if !accepted || !entry.is_fresh(now) {
            return false;
        }
        let answer = reply::stored(&self.settings, &job.ask, entry, now);
        self.counters.hits += 1;
        self.deliver(id, answer);
        self.finish(id);
        true
    }

    fn finish_head(&mut self, id: JobId, answer: Result<Answer, Refusal>, length: Option<usize>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(refusal) => return self.fail(id, refusal),
        };
        if let Some(client) = self.jobs.get(&id).and_then(|job| job.connection)
            && let Some(connection) = self.connections.get_mut(&client)
        {
            connection.answer_head(&answer, length);
        }
        self.finish(id);
    }

    fn deliver(&mut self, id: JobId, answer: Answer) {
        let Some(job) = self.jobs.get(&id) else { return };
        let method = job.ask.method;
        if let Some(client) = job.connection {
            self.say(client, method, answer);
        }
    }

    /// Forgets the job and lets its client's next request in.
    fn finish(&mut self, id: JobId) {
        let client = self.jobs.get(&id).and_then(|job| job.connection);
        self.remove(id);
        self.ready.extend(client);
    }

    /// Tells the client; one that already got a part of a response is cut off.
    pub(super) fn fail(&mut self, id: JobId, refusal: Refusal) {
        if let Some(job) = self.jobs.get(&id) {
            if !job.ask.method.is_safe() {
                self.cache.invalidate(job.ask.target.endpoint, &job.ask.target.options);
            }
            if self.is_streaming(job) {
                let client = job.connection.and_then(|client| self.connections.get_mut(&client));
                if let Some(connection) = client {
                    connection.abort();
                }
            } else {
                self.deliver(id, Answer::from(refusal));
            }
        }
        self.finish(id);
    }
}
