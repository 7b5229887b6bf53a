//! Wires everything: listeners, backend, engine, the control thread, systemd, shutdown. The only
//! room that knows all others. `control.rs` is what the control thread does, `reloading.rs` what follows
//! new settings.
//!
//! | thread | what |
//! |---|---|
//! | `rigd-audio` | the backend's: calls the engine, and nothing else |
//! | `rigd-backend` | looks after the backend, and opens it again when its device or server was gone |
//! | `rigd-control` | sockets, desk, batcher: one small runtime, restarted here if it panics |
//! | `rigd-vault` | looks after the secret and the codes in the state folder |
//! | `rigd-record` | writes `--output` |
//! | `rigd-watchdog` | looks whether sound and control still move |
//! | `rigd-care` | while a host has something done to the box |
//! | main | waits for signals, and reads the settings again; begins rigd anew |

mod control;
mod reloading;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rigd_rt::Engine;
use sd_notify::NotifyState;
use tokio::sync::watch;

use control::{Link, control};
use reloading::Reload;

use crate::backend::keeper::{Keeper, NEWS};
use crate::backend::{self, Deck, Wanted};
use crate::care::pending::{self, Done};
use crate::care::{self, Caretaker};
use crate::cli::Failure;
use crate::config::{Anonymous, Config};
use crate::desk::load::Policy;
use crate::desk::{Desk, Fixed, switches};
use crate::provenance;
use crate::provenance::prune::Retention;
use crate::rig::karaoke;
use crate::rig::state::Wiring;
use crate::rig::{State, Track};
use crate::ring::rings;
use crate::server;
use crate::server::tls::Tls;
use crate::session::{By, Door, Role};
use crate::signals::{Asked, Signals, begin_anew};
use crate::systemd::{
    self,
    status::StatusLine,
    watchdog::{self, Vital},
};

/// How long the control thread may take to end before the process does so without it.
const CONTROL_ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How long the backend may take to end before the process does so without it.
const BACKEND_ENDS_WITHIN: Duration = Duration::from_secs(3);

/// Connections that may wait in the kernel to be accepted.
const CONNECTS_WAITING: i32 = 1024;

/// Serves until SIGTERM or SIGINT. At SIGHUP the settings are read again. `file`: the settings file, if
/// one was named.
pub fn serve(
    mut config: Config,
    file: Option<PathBuf>,
    read_again: &dyn Fn() -> Result<Config, Failure>,
) -> Result<(), Failure> {
    crate::log::init();
    if config.realtime.lock_memory {
        backend::realtime::lock_memory();
    }
    let mut signals = Signals::catch()?;
    let taken_up = pending::finish(&config.state_dir);
    if taken_up.is_some() {
        // Settings may have come and gone with it.
        config = read_again()?;
    }
    let listeners = bind(&config.listen)?;
    let mut backend = backend::open(&config)?;
    let lookout = backend.lookout();
    let (format, mic_feed) = (backend.format(), backend.mic_feed());
    let (control_ends, engine_ends) = rings();
    let pool = pool(&config);
    let pool_samples = pool.len();
    let wiring = Wiring::new(&format, mic_feed);
    let mut opened = provenance::open(&config.state_dir)?;
    let state = match opened.state.take() {
        Some(durable) => State::restore(durable, opened.seq, wiring, pool_samples),
        None => {
            let mut state = new_rig(&config, wiring, pool_samples);
            state.seq = opened.seq;
            state
        }
    };
    care::update::tidy(&config.state_dir);
    let engine = Box::new(Engine::new(format.sample_rate_hz, 0, pool));
    let vital = Arc::new(Vital::default());
    let mut deck = Deck::new(engine, engine_ends, format.sample_rate_hz);
    deck.count_blocks_on(vital.blocks());
    let (stop, stopped) = watch::channel(false);
    let (attached, is_attached) = mpsc::channel();
    let (done, ended) = mpsc::channel();
    let tls = Tls::open(&config.tls, &config.state_dir)
        .map_err(|error| Failure::failed(format!("There is no TLS: {error}.")))?;
    if let Some(tls) = &tls {
        log::info!(
            "the certificate's SHA-256 fingerprint is {}",
            tls.fingerprint
        );
    }
    let fingerprint = tls.as_ref().map(|tls| tls.fingerprint.clone());
    let listening: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();
    let door = Door::open(
        &config.state_dir,
        config.roles.grants(),
        config.tls.scheme(),
        listening,
    );
    let fixed = fixed(&config);
    let run = provenance::writer::Run {
        agent_id: config.agent_id.clone(),
        epoch: fixed.epoch.clone(),
        retention: Retention::new(config.log_max_mb, config.log_max_days),
    };
    let keeps_events = config.features.enable_daid_tracking;
    let cpus = config.realtime.control_cpus.clone();
    let (resettle, settings) = mpsc::channel();
    let at_start = config.clone();
    let (want, wanted) = watch::channel(Wanted::default());
    let (news, is_news) = mpsc::sync_channel(NEWS);
    let caretaker = Caretaker::new(config.clone(), file);
    let entrusted = caretaker.clone();
    let mut link = Link {
        caretaker: caretaker.clone(),
        want,
        news: is_news,
        seq: None,
        server: server_settings(&config),
        tls,
        settings,
        status: StatusLine::default(),
        vital: Arc::clone(&vital),
    };
    let control_side = move || {
        backend::realtime::pin(&cpus);
        let log = opened.begin(state.durable(), state.seq, run, keeps_events);
        let mut desk = Desk::new(fixed, state);
        desk.follow_settings(at_start.limits.clone(), load_policy(&at_start));
        desk.keep(log);
        desk.admit_by(door);
        desk.entrust(entrusted);
        put_on_record(&mut desk, taken_up);
        desk.attach(control_ends, format, mic_feed);
        link.publish(&desk);
        let _ = attached.send(());
        control(desk, &listeners, &stopped, &mut link);
        let _ = done.send(());
    };
    std::thread::Builder::new()
        .name("rigd-control".to_owned())
        .spawn(control_side)
        .map_err(|error| {
            Failure::failed(format!("The control thread could not be started: {error}."))
        })?;
    // Everything is in the ring before the first block: the engine starts complete.
    let _ = is_attached.recv();
    let session = backend
        .start(deck)
        .map_err(|error| Failure::failed(format!("The sound could not be started: {error}.")))?;
    let (change_backend, backend_changes) = mpsc::channel();
    let keeper = Keeper::new(
        session,
        lookout,
        pool_samples,
        wanted,
        news,
        backend_changes,
        Arc::clone(&vital),
    );
    let (ends_with, backend_ended) = mpsc::channel();
    std::thread::Builder::new()
        .name("rigd-backend".to_owned())
        .spawn(move || ends_with.send(keeper.run()))
        .map_err(|error| {
            Failure::failed(format!(
                "The backend's thread could not be started: {error}."
            ))
        })?;
    watchdog::start(Arc::clone(&vital)).map_err(|error| {
        Failure::failed(format!(
            "The watchdog's thread could not be started: {error}."
        ))
    })?;
    systemd::tell(NotifyState::Ready);
    let mut reload = Reload {
        config,
        read_again,
        control: resettle,
        fingerprint,
        backend: change_backend,
    };
    let asked = loop {
        match signals.wait(&caretaker) {
            Asked::Reload => reload.reload(),
            asked => break asked,
        }
    };
    vital.end();
    if asked == Asked::BeginAnew {
        log::info!("rigd ends and begins anew");
        systemd::tell_of_beginning_anew();
    } else {
        log::info!("rigd is ending");
        systemd::tell(NotifyState::Stopping);
    }
    let _ = stop.send(true);
    if ended.recv_timeout(CONTROL_ENDS_WITHIN).is_err() {
        log::error!("the control side did not end in time; rigd ends without it");
    }
    drop(reload);
    let ended = match backend_ended.recv_timeout(BACKEND_ENDS_WITHIN) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::failed(format!(
            "The sound did not end well: {error}."
        ))),
        Err(_) => {
            log::error!("the backend did not end in time; rigd ends without it");
            Ok(())
        }
    };
    // Whoever wants it to end meanwhile does not want it back.
    if asked == Asked::BeginAnew && !signals.is_told_to_end() {
        return Err(begin_anew());
    }
    ended
}

/// What was taken to its end at the start, in the log that is there now.
fn put_on_record(desk: &mut Desk, done: Option<Done>) {
    let now = Instant::now();
    match done {
        Some(Done::Restored(plan)) => {
            let details = serde_json::json!({
                "made": plan.made, "secrets": plan.secrets, "settings": plan.settings, "in_effect": true,
            });
            desk.record_device("device.restore", details, &Arc::new(plan.by.into()), now);
        }
        Some(Done::Failed(plan, reason)) => {
            let details = serde_json::json!({ "made": plan.made, "failed": reason });
            desk.record_device("device.restore", details, &Arc::new(plan.by.into()), now);
        }
        Some(Done::Reset) => {
            let details = serde_json::json!({ "in_effect": true });
            desk.record_device("device.reset", details, &Arc::new(By::rig()), now);
        }
        None => {}
    }
}

fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    addresses
        .iter()
        .map(|address| {
            let listener = TcpListener::bind(address)
                .and_then(|listener| {
                    // The standard library asks for 128: too few when a whole hall comes back at once.
                    rustix::net::listen(&listener, CONNECTS_WAITING)?;
                    listener.set_nonblocking(true)?;
                    Ok(listener)
                })
                .map_err(|error| {
                    let advice = match error.kind() {
                        io::ErrorKind::AddrInUse => {
                            "another program uses that port (perhaps another rigd): stop it, or choose another with --listen"
                        }
                        io::ErrorKind::PermissionDenied => "ports below 1024 need a right that rigd does not have",
                        _ => "choose an address of this box with --listen",
                    };
                    Failure::failed(format!("Cannot listen on {address}: {error}; {advice}."))
                })?;
            Ok(listener)
        })
        .collect()
}

/// The engine's delay memory. Claimed once; engines come and go, it stays.
pub fn pool(config: &Config) -> &'static mut [f32] {
    pool_of(config.audio.delay_pool_mb as usize * (1 << 20) / size_of::<f32>())
}

/// Delay memory of so many samples, never given back.
pub fn pool_of(samples: usize) -> &'static mut [f32] {
    let pool = vec![0.0; samples].leak();
    // Zeroed memory is not there until it is written to; the audio thread must not be the one to.
    pool.iter_mut()
        .for_each(|sample| *std::hint::black_box(sample) = 0.0);
    pool
}

/// The rig of the settings.
pub fn new_rig(config: &Config, wiring: Wiring, pool_samples: usize) -> State {
    let tracks = config.tracks.iter().map(Track::from_settings).collect();
    let mut state = State::new(tracks, wiring, pool_samples);
    if config.preset == "karaoke" {
        for reject in karaoke::set_up(&mut state) {
            log::warn!(
                "of the karaoke preset something is left out: {}",
                reject.sentence()
            );
        }
    }
    state
}

fn server_settings(config: &Config) -> server::Settings {
    server::Settings {
        allowed_origins: config.allowed_origins.clone(),
        message_bytes: config.limits.message_bytes,
        connections: config.limits.connections as usize,
        connects_per_minute: f64::from(config.limits.connects_per_minute),
        access_point: config.device.access_point.clone(),
    }
}

/// What the settings allow when the processor is too slow.
fn load_policy(config: &Config) -> Policy {
    Policy {
        sheds: config.realtime.shed_load,
        load_max: config.realtime.load_max as f32,
    }
}

/// What people without a token are.
fn anonymous(config: &Config) -> Role {
    match config.anonymous() {
        Anonymous::Host => Role::Host,
        Anonymous::Guest => Role::Guest,
        Anonymous::Off => Role::Nobody,
    }
}

fn fixed(config: &Config) -> Fixed {
    Fixed {
        epoch: uuid::Uuid::new_v4().to_string(),
        limits: config.limits.clone(),
        anonymous: anonymous(config),
        log_messages: config.log_messages,
        features: switches::features(config),
        switches: config.features.clone(),
    }
}
