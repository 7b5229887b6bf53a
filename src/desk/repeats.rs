//! Messages that are sent again because the answer got lost: a change whose `idempotency_key` the same
//! user used a short while ago is answered again, and not applied again.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::Desk;
use super::settle::Origin;

/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Answers that are remembered; the oldest are forgotten first.
const ANSWERS_MAX: usize = 4096;
/// And their bytes, together.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Copies of one message that wait for its answer.
const WAITING_MAX: usize = 16;

/// User, whether that is proved, and key.
type Name = (String, bool, String);

/// An answer that was given.
#[derive(Clone)]
pub struct Given {
    /// The type of the reply.
    pub kind: &'static str,
    /// Number of its newest change.
    pub seq: Option<u64>,
    /// When it was handed to the engine.
    pub t1: Option<Timestamp>,
    /// Its data.
    pub data: Box<RawValue>,
    /// What says that it is on disk; `None`: nothing is kept.
    pub ticket: Option<u64>,
}

enum Answer {
    /// Not yet; those who asked again meanwhile.
    Owed(Vec<Origin>),
    Given(Given),
}

/// What becomes of a message with a key.
pub enum Known {
    /// It is new, and now remembered.
    New,
    /// Its answer is owed; this one will get it too.
    Waits,
    /// This was the answer.
    Answered(Given),
}

/// See the module.
#[derive(Default)]
pub struct Repeats {
    answers: HashMap<Name, Answer>,
    /// In the order in which they came.
    names: VecDeque<(Instant, Name)>,
    bytes: usize,
}

impl Repeats {
    /// Looks a message up, or remembers it.
    pub fn look_up(&mut self, origin: &Origin, now: Instant) -> Known {
        let Some(name) = name(origin) else {
            return Known::New;
        };
        self.forget_old(now);
        match self.answers.get_mut(&name) {
            Some(Answer::Given(given)) => Known::Answered(given.clone()),
            Some(Answer::Owed(waiting)) => {
                if waiting.len() < WAITING_MAX {
                    waiting.push(origin.clone());
                }
                Known::Waits
            }
            None => {
                self.answers.insert(name.clone(), Answer::Owed(Vec::new()));
                self.names.push_back((now, name));
                Known::New
            }
        }
    }

    /// It was refused: nothing was applied, and the next try is a new one. Those who asked again
    /// meanwhile are given back.
    pub fn refused(&mut self, origin: &Origin) -> Vec<Origin> {
        let Some(name) = name(origin) else {
            return Vec::new();
        };
        match self.answers.remove(&name) {
            Some(Answer::Owed(waiting)) => waiting,
            Some(given) => {
                self.answers.insert(name, given);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// It was answered. Those who asked again meanwhile are given back.
    pub fn answered(&mut self, origin: &Origin, given: Given) -> Vec<Origin> {
        let Some(name) = name(origin) else {
            return Vec::new();
        };
        let Some(answer) = self.answers.get_mut(&name) else {
            return Vec::new();
        };
        self.bytes += given.data.get().len();
        match std::mem::replace(answer, Answer::Given(given)) {
            Answer::Owed(waiting) => waiting,
            Answer::Given(_) => Vec::new(),
        }
    }

    /// What the answers take that are remembered.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((since, _)) = self.names.front() {
            let is_old = now.saturating_duration_since(*since) >= REMEMBERED;
            if !is_old && self.names.len() < ANSWERS_MAX && self.bytes < BYTES_MAX {
                return;
            }
            let Some((_, name)) = self.names.pop_front() else {
                return;
            };
            if let Some(Answer::Given(given)) = self.answers.remove(&name) {
                self.bytes = self.bytes.saturating_sub(given.data.get().len());
            }
        }
    }
}

fn name(origin: &Origin) -> Option<Name> {
    let key = origin.idempotency_key.clone()?;
    Some((origin.by.user_id.clone(), origin.by.verified, key))
}

impl Desk {
    /// Whether the same user has sent this before; then it is answered, or will be.
    pub(super) fn is_repeated(&mut self, origin: &Origin, now: Instant) -> bool {
        match self.repeats.look_up(origin, now) {
            Known::New => false,
            Known::Waits => true,
            Known::Answered(given) => {
                self.answer_again(origin, &given);
                true
            }
        }
    }
}
