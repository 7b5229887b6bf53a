//! A client of a JACK server: a port for each track with a device's input, and the master's pair.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the client: opened, followed, closed |
//! | `stage.rs` | what runs in JACK's process callback |
//! | `names.rs` | which ports there must be, and what they are called |
//! | `patchbay.rs` | what is connected, and what is to be again |
//! | `server.rs` | a look at the server |
//! | `latency.rs` | what the graph is told of the way through rigd |
//!
//! libjack is loaded when the backend is opened, so rigd runs where it is not installed. The callback
//! never waits: ports, and the engine itself, come to it and go from it through wait-free rings, and
//! everything else is done by the thread that looks after the backend ([`super::keeper`]).

mod latency;
mod names;
mod patchbay;
pub mod server;
mod stage;

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use jack::{AsyncClient, AudioIn, AudioOut, Client, ClientOptions, Port, Unowned, jack_sys};

use super::{Backend, Deck, Format, Reopen, Session, Wanted};
use crate::cli::Failure;
use crate::config::Config;
use crate::rig::state::MicFeed;
use crate::ring::{Giver, Taker, handover};
use latency::Latency;
use names::{MASTER, Wish, wishes};
use patchbay::Patchbay;
use stage::{CHANNELS, Change, End, Shared, Stage, Watcher};

/// Changes that may be on their way to the callback, and ports on their way back.
const HANDOVER: usize = 2 * CHANNELS;
/// A port whose track is gone stays so long, while the engine fades its sound out.
const LINGER: Duration = Duration::from_millis(100);
/// How long the engine may take to come home once the client is closed.
const HOMECOMING: Duration = Duration::from_secs(1);

/// An opened client, whose callback is called and is silent: it has no engine yet.
pub struct Jack {
    running: Running,
    format: Format,
}

impl Jack {
    /// Becomes a client of the running server. Control side; waits for the server.
    pub fn open(config: &Config) -> Result<Jack, Failure> {
        Jack::open_with(config, Arc::default())
    }

    fn open_with(config: &Config, patchbay: Arc<Mutex<Patchbay>>) -> Result<Jack, Failure> {
        load_library()?;
        let name = &config.jack.client_name;
        let (client, _) =
            Client::new(name, ClientOptions::NO_START_SERVER).map_err(|error| no_server(&error))?;
        let failed = |error: jack::Error| {
            Failure::failed(format!(
                "The JACK server does not take rigd on ({error}): restart the server, or start rigd \
                 with --backend null."
            ))
        };
        let mut master = Vec::new();
        for side in MASTER {
            let port = client.register_port(side, AudioOut::default());
            master.push(port.map_err(failed)?);
        }
        let outputs: Vec<Port<Unowned>> = master.iter().map(Port::clone_unowned).collect();
        let Ok(master) = <[Port<AudioOut>; 2]>::try_from(master) else {
            unreachable!("there are two sides")
        };
        let shared = Arc::new(Shared::new(client.sample_rate(), client.buffer_size()));
        let latency = Latency::new(outputs);
        latency.tell(&client);
        let (giver, changes) = handover(HANDOVER);
        let (old, returned) = handover(HANDOVER);
        let (home, homecoming) = mpsc::channel();
        let watcher = Watcher::new(Arc::clone(&shared), config.realtime.cpus.clone());
        let stage = Stage::new(master, changes, old, Arc::clone(&shared), home);
        let client = match client.activate_async(watcher, stage) {
            Ok(client) => client,
            Err(error) => {
                // The client is not closed then, and might yet ask.
                std::mem::forget(latency);
                return Err(failed(error));
            }
        };
        let name = client.as_client().name().to_owned();
        let rate = shared.sample_rate_hz;
        if rate != config.audio.sample_rate {
            log::info!(
                "JACK runs at {rate} Hz, so rigd does (audio.sample_rate is {})",
                config.audio.sample_rate
            );
        }
        lock(&patchbay).begin(config.jack.connect, &name);
        let running = Running {
            client: Some(client),
            giver,
            returned,
            homecoming,
            ports: BTreeMap::new(),
            latency,
            patchbay,
            config: config.clone(),
            name,
            shared,
        };
        let format = running.offers();
        Ok(Jack { running, format })
    }
}

impl Backend for Jack {
    fn format(&self) -> Format {
        self.format.clone()
    }

    fn mic_feed(&self) -> MicFeed {
        MicFeed::Ports
    }

    fn start(self: Box<Self>, mut deck: Deck) -> io::Result<Box<dyn Session>> {
        let mut running = self.running;
        deck.fade_in();
        // The ring is new, so there is room.
        if running.giver.give(Change::Deck(Box::new(deck))).is_err() {
            return Err(io::Error::other("the audio thread takes nothing"));
        }
        log::info!(
            "JACK client \"{}\": {} Hz, {} frames a block",
            running.name,
            self.format.sample_rate_hz,
            self.format.block_frames
        );
        Ok(Box::new(running))
    }
}

/// A port as the control side knows it.
struct Placed {
    wish: Wish,
    port: Port<Unowned>,
    /// Its track is gone, or has another input, since then.
    unwanted: Option<Instant>,
}

struct Running {
    /// Goes first: while it is there, callbacks may come. `None` only while it is closed.
    client: Option<AsyncClient<Watcher, Stage>>,
    giver: Giver<Change>,
    returned: Taker<Port<AudioIn>>,
    homecoming: mpsc::Receiver<Deck>,
    /// By engine channel.
    ports: BTreeMap<usize, Placed>,
    latency: Box<Latency>,
    patchbay: Arc<Mutex<Patchbay>>,
    config: Config,
    name: String,
    shared: Arc<Shared>,
}

impl Session for Running {
    fn is_running(&self) -> bool {
        self.shared.end().is_none()
    }

    fn is_paced_elsewhere(&self) -> bool {
        true
    }

    fn ended(&self) -> String {
        match self.shared.end() {
            Some(End::RateChanged) => "the JACK server's sample rate has changed",
            _ => "the JACK server is gone, or has thrown rigd out",
        }
        .to_owned()
    }

    fn tend(&mut self, wanted: &Wanted) {
        let Some(client) = self.client.take() else {
            return;
        };
        self.follow(client.as_client(), wanted);
        self.client = Some(client);
    }

    fn format(&self) -> Option<Format> {
        Some(self.offers())
    }

    fn trouble(&self) -> Option<String> {
        let is_freewheeling = self.shared.is_freewheeling.load(Ordering::Relaxed);
        is_freewheeling.then(|| {
            "the JACK server is freewheeling: nothing is heard in real time until it stops"
                .to_owned()
        })
    }
    fn reopen(&self) -> Option<Reopen> {
        let config = self.config.clone();
        let patchbay = Arc::clone(&self.patchbay);
        Some(Box::new(move || {
            let jack = Jack::open_with(&config, Arc::clone(&patchbay))?;
            Ok(Box::new(jack))
        }))
    }

    fn stop(mut self: Box<Self>) -> io::Result<Deck> {
        if let Some(client) = self.client.take() {
            // With the server gone this fails, and closes the client all the same. Either way the
            // stage goes after it, and sends the engine home.
            drop(client.deactivate());
        }
        self.homecoming
            .recv_timeout(HOMECOMING)
            .map_err(|_| io::Error::other("the audio thread kept the engine"))
    }
}

impl Running {
    /// As the server is now.
    fn offers(&self) -> Format {
        let rate = self.shared.sample_rate_hz;
        let ms = |frames: u32| f64::from(frames) * 1000.0 / f64::from(rate);
        let (latency_in, latency_out) = self.latency.outside();
        Format {
            backend: "jack",
            sample_rate_hz: rate,
            block_frames: self.shared.block_frames.load(Ordering::Relaxed),
            device_channels: CHANNELS as u8,
            file_channels: 0,
            latency_in_ms: ms(latency_in),
            latency_out_ms: ms(latency_out),
        }
    }

    /// Makes the ports what they must be, and connects what is to be connected. Control side; asks
    /// the server only when there is something to do.
    fn follow(&mut self, client: &Client, wanted: &Wanted) {
        while let Some(port) = self.returned.take() {
            // When the server is gone, so is the port.
            let _ = client.unregister_port(port);
        }
        let wishes = wishes(&wanted.inputs);
        let has_new = self.place(client, &wishes);
        let has_less = self.give_up(&wishes);
        let mut is_stale = self.latency.set_inside(wanted.latency_frames);
        if has_new || has_less {
            let inputs = self.ports.values();
            self.latency
                .set_inputs(inputs.map(|placed| placed.port.clone()).collect());
            is_stale = true;
        }
        if is_stale {
            self.latency.recompute(client);
        }
        let has_changed = self.shared.has_changed.swap(false, Ordering::AcqRel);
        if has_changed || has_new {
            let names = self.ports.values().map(|placed| placed.wish.name.as_str());
            let names: Vec<&str> = names.chain(MASTER).collect();
            lock(&self.patchbay).connect(client, &names);
        }
        if self.shared.end().is_none() {
            lock(&self.patchbay).look(client, has_changed || has_new);
        }
    }

    /// Adds the ports that are missing; says whether there was one.
    fn place(&mut self, client: &Client, wishes: &[Wish]) -> bool {
        let mut has_new = false;
        for wish in wishes {
            if let Some(placed) = self.ports.get_mut(&wish.channel)
                && placed.wish.name == wish.name
            {
                placed.unwanted = None;
                if placed.wish.device != wish.device {
                    lock(&self.patchbay).rewire(client, wish, placed.wish.device);
                    placed.wish = wish.clone();
                    has_new = true;
                }
                continue;
            }
            // A name that has yet to be given up, by a track that is gone, comes free at a later look.
            if !self.giver.has_room() || self.is_taken(wish) {
                continue;
            }
            let port = match client.register_port(&wish.name, AudioIn::default()) {
                Ok(port) => port,
                Err(error) => {
                    log::debug!("the port {} is not there yet: {error}", wish.name);
                    continue;
                }
            };
            let placed = Placed {
                wish: wish.clone(),
                port: port.clone_unowned(),
                unwanted: None,
            };
            let _ = self.giver.give(Change::Port(wish.channel, Some(port)));
            if let Some(before) = self.ports.insert(wish.channel, placed) {
                lock(&self.patchbay).forget(&before.wish.name);
            }
            lock(&self.patchbay).expect(wish);
            has_new = true;
        }
        has_new
    }

    /// Whether a port of another channel has the name that is wished for; it then goes at once.
    fn is_taken(&mut self, wish: &Wish) -> bool {
        let mut others = self.ports.iter_mut();
        let other = others.find(|(_, placed)| placed.wish.name == wish.name);
        match other {
            Some((_, placed)) if placed.unwanted.is_some() => {
                placed.unwanted = Instant::now().checked_sub(LINGER);
                true
            }
            other => other.is_some(),
        }
    }

    /// Takes away the ports that nobody wants; says whether there was one.
    fn give_up(&mut self, wishes: &[Wish]) -> bool {
        let now = Instant::now();
        let mut gone = Vec::new();
        for (channel, placed) in &mut self.ports {
            let is_wanted = |wish: &Wish| wish.channel == *channel && wish.name == placed.wish.name;
            if wishes.iter().any(is_wanted) {
                continue;
            }
            let since = *placed.unwanted.get_or_insert(now);
            if now.saturating_duration_since(since) >= LINGER && self.giver.has_room() {
                let _ = self.giver.give(Change::Port(*channel, None));
                gone.push(*channel);
            }
        }
        for channel in &gone {
            if let Some(placed) = self.ports.remove(channel) {
                lock(&self.patchbay).forget(&placed.wish.name);
            }
        }
        !gone.is_empty()
    }
}

/// What a lock guards here is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn load_library() -> Result<(), Failure> {
    if let Err(error) = jack_sys::library() {
        return Err(Failure::failed(format!(
            "JACK's client library cannot be loaded ({error}): install it (Debian's package \
             libjack-jackd2-0), or start rigd with --backend null."
        )));
    }
    // libjack says the same things again at every attempt; what matters is said by rigd.
    jack::set_logger(jack::LoggerType::Custom {
        info: whisper,
        error: whisper,
    });
    Ok(())
}

unsafe extern "C" fn whisper(message: *const c_char) {
    if !message.is_null() {
        // SAFETY: libjack hands a string over that is there during the call.
        let message = unsafe { CStr::from_ptr(message) };
        log::debug!("libjack: {}", message.to_string_lossy().trim_end());
    }
}

fn no_server(error: &jack::Error) -> Failure {
    let server = std::env::var("JACK_DEFAULT_SERVER").unwrap_or_else(|_| "default".to_owned());
    let reason = match error {
        jack::Error::ClientError(status) if status.contains(jack::ClientStatus::VERSION_ERROR) => {
            "its version is not that of libjack"
        }
        _ => "it does not answer",
    };
    Failure::failed(format!(
        "No JACK server named \"{server}\" can be used ({reason}): start one as the same user (such \
         as `jackd -d alsa`), name another in JACK_DEFAULT_SERVER, or start rigd with --backend null."
    ))
}
