//! Looks after the backend that runs, on a thread of its own: asking a device or a server may take
//! its time, and neither clients nor sound wait for that. When the backend has ended and can come
//! back, it is opened again and gets a new engine, which the control side builds from the state.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rigd_rt::Engine;
use tokio::sync::watch;

use super::lookout::Lookout;
use super::{Backend, Deck, Format, Reopen, Session, Wanted, Work};
use crate::config::Config;
use crate::rig::state::MicFeed;
use crate::ring::{ControlEnds, rings};
use crate::systemd::watchdog::Vital;

/// How often the backend is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The first pause before another attempt to open it; each one after is twice as long, up to
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// this.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long the control side may take to attach a new engine before that is tried again.
const ATTACHED_WITHIN: Duration = Duration::from_secs(5);
/// News that may wait for the control side; more make the keeper wait, which harms nobody.
pub const NEWS: usize = 16;

/// What the control side must know.
pub enum News {
    /// The engine is gone.
    Gone,
    /// A new engine is there. It starts when `attached` is told that everything is in its ring.
    Engine {
        /// Of its rings.
        ends: ControlEnds,
        /// What the backend offers.
        format: Format,
        /// How microphones find their channels.
        mic_feed: MicFeed,
        /// To be told what the tracks want now.
        attached: SyncSender<Wanted>,
    },
    /// The block size or the latency is another one.
    Format(Format),
    /// What is wrong, or that nothing is any more.
    Trouble(Option<String>),
}

/// Another backend, or the same one with other settings, is to be opened.
pub struct Change {
    /// What is in effect.
    pub from: Config,
    /// What is to be.
    pub to: Config,
    /// Told what has come of it; `Err` says what is in effect instead.
    pub done: SyncSender<Result<(), String>>,
}

/// See the module.
pub struct Keeper {
    /// `None` while there is none.
    session: Option<Box<dyn Session>>,
    reopen: Option<Reopen>,
    lookout: Option<Lookout>,
    wanted: watch::Receiver<Wanted>,
    news: SyncSender<News>,
    changes: Receiver<Change>,
    change: Option<Change>,
    vital: Arc<Vital>,
    told: Option<String>,
    format: Option<Format>,
    /// Number of the next engine's first frame.
    frame: u64,
    pool: Option<&'static mut [f32]>,
    pool_samples: usize,
}

/// How long to wait before an attempt: 100 ms, 200 ms, … 2 s.
fn pause(attempt: u32) -> Duration {
    PAUSE_MIN
        .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
        .min(PAUSE_MAX)
}

impl Keeper {
    /// Of a backend that runs, and its lookout, until nobody can want a change any more. The engine has a
    /// delay memory of `pool_samples`. `vital` is told when sound is due.
    pub fn new(
        session: Box<dyn Session>,
        lookout: Option<Lookout>,
        pool_samples: usize,
        wanted: watch::Receiver<Wanted>,
        news: SyncSender<News>,
        changes: Receiver<Change>,
        vital: Arc<Vital>,
    ) -> Keeper {
        vital.expect_sound(!session.is_paced_elsewhere());
        Keeper {
            reopen: session.reopen(),
            lookout,
            format: session.format(),
            session: Some(session),
            wanted,
            news,
            changes,
            change: None,
            vital,
            told: None,
            frame: 0,
            pool: None,
            pool_samples,
        }
    }

    /// Runs until it is to stop; `Err` when the backend did not end well then.
    pub fn run(mut self) -> std::io::Result<()> {
        while !self.is_to_stop_within(LOOK_EVERY) {
            if let Some(change) = self.change.take() {
                self.make(change);
                continue;
            }
            match self.session.as_mut() {
                Some(session) if session.is_running() => {
                    self.look();
                    self.look_out();
                }
                Some(_) if self.reopen.is_some() => self.replace(),
                _ => self.tell(Some(
                    "the audio thread has ended: start rigd anew".to_owned(),
                )),
            }
        }
        match self.session.take() {
            Some(session) => session.stop().map(drop),
            None => Ok(()),
        }
    }

    fn is_to_stop_within(&mut self, time: Duration) -> bool {
        match self.changes.recv_timeout(time) {
            Ok(change) => {
                self.change = Some(change);
                false
            }
            Err(error) => error == RecvTimeoutError::Disconnected,
        }
    }

    /// Opens what is wanted instead of what runs; where that cannot be, what ran before.
    fn make(&mut self, change: Change) {
        let Change { from, to, done } = change;
        let anew = |config: Config| -> Reopen { Box::new(move || super::open(&config)) };
        let before = self.reopen.replace(anew(to)).unwrap_or_else(|| {
            // Not over what was recorded.
            let mut from = from;
            from.audio.output = None;
            anew(from)
        });
        self.end_session();
        let result = match self.begin_and_look() {
            Ok(()) => Ok(()),
            Err(reason) => {
                self.reopen = Some(before);
                match self.begin_and_look() {
                    Ok(()) => Err(format!("{reason} What was in effect before still is.")),
                    Err(and) => {
                        self.lose(format!("the sound cannot be opened again ({and})"));
                        Err(reason)
                    }
                }
            }
        };
        // What there is to be heard of it was heard by then, or nobody waits.
        let _ = done.try_send(result);
        if self.session.is_none() {
            self.keep_trying();
        }
    }

    fn look(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let Some(session) = self.session.as_mut() else {
            return;
        };
        session.tend(&wanted);
        let (trouble, format) = (session.trouble(), session.format());
        self.tell(trouble);
        if format != self.format {
            self.format.clone_from(&format);
            // The control side is only gone when all ends.
            let _ = format.map(|format| self.news.send(News::Format(format)));
        }
    }

    /// Takes what is better than what runs, if it is there.
    fn look_out(&mut self) {
        let lookout = self.lookout.as_mut();
        let Some(better) = lookout.and_then(|lookout| lookout.better(Instant::now())) else {
            return;
        };
        self.reopen = Some(better);
        self.end_session();
        self.keep_trying();
    }

    fn tell(&mut self, trouble: Option<String>) {
        if trouble == self.told {
            return;
        }
        match &trouble {
            Some(trouble) => log::warn!("{trouble}"),
            None => log::info!("the sound is well again"),
        }
        self.told.clone_from(&trouble);
        let _ = self.news.send(News::Trouble(trouble));
    }

    /// The backend has ended: its engine comes home, and the backend is tried until it is there.
    fn replace(&mut self) {
        let ended = self.session.as_ref().map(|session| session.ended());
        self.lose(ended.unwrap_or_default());
        self.end_session();
        self.keep_trying();
    }

    fn lose(&mut self, what: String) {
        self.tell(Some(format!(
            "{what}: rigd looks for it again and again, and what is changed meanwhile is kept"
        )));
    }

    fn end_session(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        self.vital.expect_sound(false);
        let _ = self.news.send(News::Gone);
        match session.stop() {
            Ok(deck) => self.take_home(deck),
            Err(error) => log::error!("{error}; there will be a new one, with other memory"),
        }
    }

    /// Until it is there, other settings come, or all ends.
    fn keep_trying(&mut self) {
        let mut attempt = 0;
        while !self.is_to_stop_within(pause(attempt)) && self.change.is_none() {
            attempt += 1;
            match self.begin_and_look() {
                Ok(()) => return,
                Err(reason) => log::debug!("attempt {attempt}: {reason}"),
            }
        }
    }

    fn begin_and_look(&mut self) -> Result<(), String> {
        let session = self.begin()?;
        self.format = session.format();
        self.reopen = session.reopen();
        self.vital.expect_sound(!session.is_paced_elsewhere());
        self.session = Some(session);
        self.look();
        Ok(())
    }

    /// Opens the backend and starts it with a new engine.
    fn begin(&mut self) -> Result<Box<dyn Session>, String> {
        let reopen = self.reopen.as_ref().ok_or("nothing opens it")?;
        let mut backend: Box<dyn Backend> = reopen().map_err(|failure| failure.message)?;
        self.lookout = backend.lookout();
        let (format, mic_feed) = (backend.format(), backend.mic_feed());
        let rate_hz = format.sample_rate_hz;
        let (ends, engine_ends) = rings();
        let pool = match self.pool.take() {
            Some(pool) => pool,
            None => crate::run::pool_of(self.pool_samples),
        };
        let engine = Box::new(Engine::new(rate_hz, self.frame, pool));
        let mut deck = Deck::new(engine, engine_ends, rate_hz);
        deck.count_blocks_on(self.vital.blocks());
        let (attached, is_attached) = std::sync::mpsc::sync_channel(1);
        let news = News::Engine {
            ends,
            format,
            mic_feed,
            attached,
        };
        if self.news.send(news).is_err() {
            self.take_home(deck);
            return Err("the control side has ended".to_owned());
        }
        // Everything is in the ring before the first block: the engine starts complete.
        let Some(wanted) = self.wait_for(&is_attached) else {
            let _ = self.news.send(News::Gone);
            self.take_home(deck);
            return Err("the control side did not attach the engine".to_owned());
        };
        // A backend that cannot start keeps the deck: the next engine gets other memory.
        let mut session = backend.start(deck).map_err(|error| error.to_string())?;
        session.tend(&wanted);
        Ok(session)
    }

    fn wait_for(&self, is_attached: &Receiver<Wanted>) -> Option<Wanted> {
        let deadline = Instant::now() + ATTACHED_WITHIN;
        is_attached
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok()
    }

    fn take_home(&mut self, deck: Deck) {
        self.frame = self.frame.max(deck.frame());
        let Work::Rig(engine, _) = deck.into_work() else {
            return;
        };
        let pool = engine.into_pool();
        pool.fill(0.0);
        self.pool = Some(pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_but_never_stop() {
        let pauses: Vec<u128> = (0..8).map(|n| pause(n).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000, 2000, 2000]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
