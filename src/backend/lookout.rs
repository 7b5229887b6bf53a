//! What `auto` would rather have than what it has: a card that was plugged in, or that the kernel found,
//! after rigd began. It only ever gets better: from no card to one, from a board's own that only plays to one
//! that was plugged in, from one that only plays to one that records too, which stays. Backend's thread.

use std::time::{Duration, Instant};

use super::Reopen;
use super::alsa::cards::{self, Card};
use super::alsa::names::{self, Rank};
use super::alsa::{Alsa, library, mixer};
use crate::config::{BackendChoice, Config};

/// How often it is looked which cards there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A card that cannot be opened is tried again after that, then after twice as long each time, up to
const RETRY_MIN: Duration = Duration::from_secs(1);
/// this. When cards come or go, it begins anew.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// See the module.
pub struct Lookout {
    config: Config,
    has: Option<Rank>,
    cards: Vec<Card>,
    look_at: Option<Instant>,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Lookout {
    /// Of what runs, which has the rank of its card; `None` where there can be nothing better, or the
    /// settings say what runs.
    pub fn where_it_is_due(config: &Config, has: Option<Rank>) -> Option<Lookout> {
        let is_due =
            config.audio.backend == BackendChoice::Auto && has.is_none_or(|rank| !rank.records);
        is_due.then(|| Lookout {
            config: config.clone(),
            has,
            cards: Vec::new(),
            look_at: None,
            retry_at: None,
            pause: RETRY_MIN,
        })
    }

    /// How to open what is better, once it is there and can be opened. May be called as often as one likes.
    pub fn better(&mut self, now: Instant) -> Option<Reopen> {
        if self.look_at.is_some_and(|at| now < at) || library::load().is_err() {
            return None;
        }
        self.look_at = Some(now + LOOK_EVERY);
        let cards = cards::cards();
        if cards != self.cards {
            self.cards = cards;
            self.retry_at = None;
            self.pause = RETRY_MIN;
        }
        let mut names = names::meant(&self.config.alsa, &self.cards).into_iter();
        if !names.any(|names| Some(names.rank()) > self.has)
            || self.retry_at.is_some_and(|at| now < at)
        {
            return None;
        }
        let opened = mixer::apply(&self.config.mixer, &self.config.alsa)
            .and_then(|()| Alsa::open(&self.config));
        match opened {
            Ok(alsa) if Some(alsa.rank()) > self.has => {
                log::info!("{} is there now", alsa.name());
                let config = self.config.clone();
                return Some(Box::new(move || super::open(&config)));
            }
            Ok(_) => {}
            Err(failure) => log::debug!("{failure}"),
        }
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(RETRY_MAX);
        None
    }
}
