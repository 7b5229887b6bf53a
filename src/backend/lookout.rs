//! What `auto` would rather have than what it has: a card that was plugged in, or that the kernel found,
//! after rigd began. It only ever gets better: from no card to one, from one that only plays to one that
//! records too. Backend's thread.

use std::time::{Duration, Instant};

use super::Reopen;
use super::alsa::cards::{self, Card};
use super::alsa::names::{self, Names};
use super::alsa::{Alsa, library, mixer};
use crate::config::Config;

/// How often it is looked which cards there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A card that cannot be opened is tried again after that, then after twice as long each time, up to
const RETRY_MIN: Duration = Duration::from_secs(1);
/// this. When cards come or go, it begins anew.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// See the module.
pub struct Lookout {
    config: Config,
    has_card: bool,
    cards: Vec<Card>,
    look_at: Option<Instant>,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Lookout {
    /// `has_card`: what runs plays to a card, and only wants microphones.
    pub fn new(config: &Config, has_card: bool) -> Lookout {
        Lookout {
            config: config.clone(),
            has_card,
            cards: Vec::new(),
            look_at: None,
            retry_at: None,
            pause: RETRY_MIN,
        }
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
        if !names.any(|names| outdoes(&names, self.has_card))
            || self.retry_at.is_some_and(|at| now < at)
        {
            return None;
        }
        let opened = mixer::apply(&self.config.mixer, &self.config.alsa)
            .and_then(|()| Alsa::open(&self.config));
        match opened {
            Ok(alsa) if !self.has_card || alsa.records() => {
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

/// Whether that would be better than what runs.
fn outdoes(names: &Names, has_card: bool) -> bool {
    !has_card || names.capture.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_outdoes_none_and_one_that_records_outdoes_one_that_only_plays() {
        let names = |capture: Option<&str>| Names {
            capture: capture.map(str::to_owned),
            needs_capture: false,
            playback: "hw:CARD=M2".to_owned(),
        };
        assert!(outdoes(&names(None), false));
        assert!(outdoes(&names(Some("hw:CARD=M2")), false));
        assert!(outdoes(&names(Some("hw:CARD=M2")), true));
        assert!(!outdoes(&names(None), true));
    }
}
