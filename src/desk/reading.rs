//! Questions about the log: each waits until what was closed before it is on disk, then for the reader,
//! and is answered into its client's outbox. In order, one at a time.

use std::collections::VecDeque;
use std::time::Instant;

use super::Desk;
use super::client::ClientId;
use super::settle::Origin;
use crate::protocol::encode::Success;
use crate::provenance::query::Ask;
use crate::rig::Reject;

/// Questions that wait, of everyone.
const ASKED_MAX: usize = 64;
/// Questions that wait, of one client.
const ASKED_MAX_EACH: usize = 8;
/// When it is worth to ask again, in seconds.
const RETRY_AFTER_S: f64 = 0.5;

struct Asked {
    origin: Origin,
    ask: Ask,
    /// On disk before it is asked.
    ticket: u64,
    is_out: bool,
}

/// Questions that wait for their answers.
#[derive(Default)]
pub struct Questions {
    asked: VecDeque<Asked>,
    /// Those that wait for the engine still, before they come here.
    coming: usize,
}

impl Questions {
    /// How many there are.
    pub fn waiting(&self) -> usize {
        self.asked.len() + self.coming
    }

    fn of(&self, client: ClientId) -> usize {
        let those = self
            .asked
            .iter()
            .filter(|asked| asked.origin.client == client);
        those.count()
    }
}

impl Desk {
    /// Takes a question: it is asked when everything that was accepted before it is applied and on
    /// disk.
    pub(super) fn ask_log(
        &mut self,
        origin: &Origin,
        ask: Ask,
        now: Instant,
    ) -> Result<(), Reject> {
        if !self.log.as_ref().is_some_and(|log| log.can_be_read()) {
            let reason = match self.troubles(now).pop() {
                Some(trouble) => trouble,
                None => "this rig keeps none".to_owned(),
            };
            return Err(Reject::LogUnreadable(reason));
        }
        let questions = &self.questions;
        if questions.waiting() >= ASKED_MAX || questions.of(origin.client) >= ASKED_MAX_EACH {
            return Err(Reject::RateLimited {
                retry_after: RETRY_AFTER_S,
                limit: "log_questions",
            });
        }
        self.questions.coming += 1;
        self.log_when_settled(origin, ask, now);
        Ok(())
    }

    /// Everything before a question is applied.
    pub(super) fn queue_question(&mut self, origin: Origin, ask: Ask) {
        self.questions.coming = self.questions.coming.saturating_sub(1);
        let Some(log) = &mut self.log else { return };
        let ticket = log.await_closed();
        self.questions.asked.push_back(Asked {
            origin,
            ask,
            ticket,
            is_out: false,
        });
    }

    /// Asks what may be asked, and answers what has an answer.
    pub(super) fn read_log(&mut self) {
        loop {
            let Some(log) = &self.log else {
                self.questions = Questions::default();
                return;
            };
            let Some(first) = self.questions.asked.front_mut() else {
                return;
            };
            if !first.is_out {
                let is_gone = !self.clients.contains_key(&first.origin.client);
                if is_gone {
                    self.questions.asked.pop_front();
                    continue;
                }
                // What a dead disk does not take is not waited for: what it has can be read.
                if first.ticket > log.synced() && !log.is_dead() {
                    return;
                }
                first.is_out = log.ask(first.ask.clone());
                if first.is_out {
                    return;
                }
            }
            let answer = match log.answer() {
                Some(answer) => answer,
                None if first.is_out => return,
                None => Err("it is not answered any more".to_owned()),
            };
            let Some(asked) = self.questions.asked.pop_front() else {
                return;
            };
            match answer {
                Ok(told) => {
                    let _ = self.say(&asked.origin, &(told, Success));
                }
                Err(reason) => self.refuse(&asked.origin, &Reject::LogUnreadable(reason)),
            }
        }
    }
}
