//! A rig in this process: desk, engine, ALSA backend, and the keeper that opens it again.

use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rigd::backend::alsa::Alsa;
use rigd::backend::keeper::{Change, Keeper, NEWS, News};
use rigd::backend::{Backend, Deck, Format, Wanted};
use rigd::config::{Config, Features};
use rigd::desk::{ClientId, Desk, Fixed};
use rigd::rig::state::{MicFeed, Wiring};
use rigd::rig::{State, Track};
use rigd::ring::rings;
use rigd::run;
use rigd::session::Role;
use rigd_rt::Engine;
use serde_json::Value;
use tokio::sync::watch;

pub const RATE: u32 = 48_000;
pub const BLOCK: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that another thread does.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// White noise of a linear congruential generator, within ±0.25, in whole steps of 16 bits.
pub fn noise(frames: usize) -> Vec<f32> {
    let mut state = 1_u32;
    (0..frames)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 18) as f32 / 32_768.0 - 0.25
        })
        .collect()
}

pub struct Rig {
    pub desk: Desk,
    pub format: Format,
    /// What the keeper has said last.
    pub trouble: Option<String>,
    /// How often it has told that the engine is gone.
    pub gone: usize,
    client: ClientId,
    want: watch::Sender<Wanted>,
    news: Receiver<News>,
    /// Its end is the keeper's.
    stop: Sender<Change>,
    keeper: JoinHandle<std::io::Result<()>>,
}

impl Rig {
    pub fn start(config: &Config) -> Rig {
        let alsa = Alsa::open(config).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(alsa.mic_feed(), MicFeed::Device);
        Rig::of(Box::new(alsa), config)
    }

    /// Of a backend that is open.
    pub fn of(mut backend: Box<dyn Backend>, config: &Config) -> Rig {
        let lookout = backend.lookout();
        let (format, mic_feed) = (backend.format(), backend.mic_feed());
        let pool = run::pool(config);
        let pool_samples = pool.len();
        let tracks = config.tracks.iter().map(Track::from_settings).collect();
        let state = State::new(tracks, Wiring::new(&format, mic_feed), pool_samples);
        let mut limits = config.limits.clone();
        (limits.messages_per_s, limits.message_burst) = (1_000_000, 1_000_000);
        (limits.operations_per_s, limits.batches_per_s) = (1000, 1000);
        let fixed = Fixed {
            epoch: "test".to_owned(),
            limits,
            anonymous: Role::Host,
            features: Vec::new(),
            switches: Features::default(),
            log_messages: false,
        };
        let (control, engine_ends) = rings();
        let engine = Box::new(Engine::new(format.sample_rate_hz, 0, pool));
        let deck = Deck::new(engine, engine_ends, format.sample_rate_hz);
        let mut desk = Desk::new(fixed, state);
        desk.attach(control, format.clone(), mic_feed);
        let client = desk.connect("test".to_owned(), "127.0.0.1");
        let (want, wanted) = watch::channel(desk.wanted());
        let (news_in, news) = std::sync::mpsc::sync_channel(NEWS);
        let (stop, stopped) = std::sync::mpsc::channel();
        let session = backend.start(deck).unwrap();
        let keeper = Keeper::new(
            session,
            lookout,
            pool_samples,
            wanted,
            news_in,
            stopped,
            std::sync::Arc::default(),
        );
        Rig {
            desk,
            format,
            trouble: None,
            gone: 0,
            client,
            want,
            news,
            stop,
            keeper: std::thread::spawn(|| keeper.run()),
        }
    }

    pub fn say(&mut self, message: Value) {
        let now = Instant::now();
        self.desk.receive(self.client, &message.to_string(), now);
        self.go_on();
    }

    /// What the control side would do now.
    pub fn go_on(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Gone => {
                    self.gone += 1;
                    drop(self.desk.detach());
                }
                News::Engine {
                    ends,
                    format,
                    mic_feed,
                    attached,
                } => {
                    self.format = format.clone();
                    self.desk.attach(ends, format, mic_feed);
                    let _ = attached.send(self.desk.wanted());
                }
                News::Format(format) => self.desk.reformat(format),
                News::Trouble(trouble) => self.trouble = trouble,
            }
        }
        self.desk.tick(Instant::now());
        while self.desk.next_frame(self.client).is_some() {}
        let _ = self.want.send(self.desk.wanted());
    }

    /// Goes on until the engine has computed so many more frames.
    pub fn run_for(&mut self, frames: u64) {
        let until = self.desk.telemetry().frame() + frames;
        self.run_until("the sound", |rig| rig.desk.telemetry().frame() >= until);
    }

    pub fn run_until(&mut self, what: &str, is_so: impl Fn(&Rig) -> bool) {
        wait_for(what, || {
            self.go_on();
            is_so(self).then_some(())
        });
    }

    pub fn xruns(&self) -> u32 {
        self.desk.telemetry().xruns()
    }

    pub fn end(self) {
        drop(self.stop);
        self.keeper.join().unwrap().unwrap();
    }
}
