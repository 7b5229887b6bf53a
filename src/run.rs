//! Wires everything: listeners, backend, engine, the control thread, systemd, shutdown. The only
//! file that knows all rooms.
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

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rigd_rt::Engine;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::backend::keeper::{Change, Keeper, NEWS, News};
use crate::backend::{self, Deck, Wanted};
use crate::care::pending::{self, Done};
use crate::care::{self, Caretaker};
use crate::cli::Failure;
use crate::config::{Anonymous, Config};
use crate::desk::load::Policy;
use crate::desk::{Desk, Fixed, LOOK_EVERY, Wake, switches};
use crate::provenance;
use crate::provenance::prune::Retention;
use crate::reload::{self, Plan};
use crate::rig::karaoke;
use crate::rig::state::Wiring;
use crate::rig::{State, Track};
use crate::ring::rings;
use crate::server::tls::Tls;
use crate::server::{self, Shared};
use crate::session::{By, Door, Role};
use crate::signals::{Asked, Signals, begin_anew};
use crate::systemd::{
    self,
    status::StatusLine,
    watchdog::{self, Vital},
};
use crate::ticker::Ticker;

/// How long the control thread may take to end before the process does so without it.
const CONTROL_ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How long clients may take to hear that the box goes away.
const GOODBYE: Duration = Duration::from_millis(200);
/// How long the backend may take to end before the process does so without it.
const BACKEND_ENDS_WITHIN: Duration = Duration::from_secs(3);
/// How long a reload waits for the backend.
const BACKEND_CHANGES_WITHIN: Duration = Duration::from_secs(10);
/// A control thread that panics is restarted after this pause.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

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
    // What is in memory is nobody else's: tokens and the secret are among it.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
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
    let backend = backend::open(&config)?;
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

/// What goes between the control side and the others: the backend's keeper, the watchdog, systemd.
/// Control thread.
struct Link {
    /// Who looks after the box, by the settings.
    caretaker: Caretaker,
    want: watch::Sender<Wanted>,
    news: mpsc::Receiver<News>,
    /// Of the state whose wants were published.
    seq: Option<u64>,
    /// What the server is told.
    server: server::Settings,
    /// What it encrypts with.
    tls: Option<Tls>,
    /// What is in effect from now on.
    settings: mpsc::Receiver<Resettled>,
    status: StatusLine,
    vital: Arc<Vital>,
}

impl Link {
    /// Tells the keeper what the tracks want, if that may be new.
    fn publish(&mut self, desk: &Desk) {
        if self.seq.replace(desk.seq()) == Some(desk.seq()) {
            return;
        }
        let wanted = desk.wanted();
        self.want.send_if_modified(|before| {
            let is_new = *before != wanted;
            if is_new {
                *before = wanted;
            }
            is_new
        });
    }

    /// Takes new settings in.
    fn resettle(&mut self, shared: &Shared) {
        while let Ok(Resettled { config, tls }) = self.settings.try_recv() {
            if let Some(tls) = tls {
                shared.set_tls(tls.clone());
                self.tls = Some(tls);
            }
            self.server = server_settings(&config);
            shared.set_settings(self.server.clone());
            let policy = load_policy(&config);
            self.caretaker.follow(config.clone());
            let mut desk = shared.desk.borrow_mut();
            desk.admit_anonymous(anonymous(&config), switches::features(&config));
            desk.follow_settings(config.limits, policy);
        }
    }

    /// Takes in what has become of the backend.
    fn follow(&mut self, desk: &mut Desk) {
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Gone => drop(desk.detach()),
                News::Engine {
                    ends,
                    format,
                    mic_feed,
                    attached,
                } => {
                    desk.attach(ends, format, mic_feed);
                    self.seq = None;
                    self.publish(desk);
                    let _ = attached.send(desk.wanted());
                }
                News::Format(format) => desk.reformat(format),
                News::Trouble(trouble) => desk.set_backend_trouble(trouble),
            }
        }
        self.publish(desk);
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

/// Runs the control side until it is told to stop. The desk is kept whatever happens around it.
fn control(
    desk: Desk,
    listeners: &[TcpListener],
    stopped: &watch::Receiver<bool>,
    link: &mut Link,
) {
    let desk = Rc::new(RefCell::new(desk));
    let mut is_first = true;
    contain(|| {
        desk.borrow_mut().forget_clients();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let runtime = Detached(Some(runtime));
        let shared = Shared::new(Rc::clone(&desk), link.server.clone(), link.tls.clone());
        let everything = run(
            shared,
            listeners,
            stopped.clone(),
            std::mem::take(&mut is_first),
            link,
        );
        match &runtime.0 {
            Some(runtime) => LocalSet::new().block_on(runtime, everything),
            None => Ok(()),
        }
    });
    desk.borrow_mut().finish_log();
}

/// A runtime whose blocking threads are not waited for: one may be at a backup.
struct Detached(Option<tokio::runtime::Runtime>);

impl Drop for Detached {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Does something until it ends well: a failure or a panic in it costs what it held, and it is begun
/// anew. The sound is on another thread and does not notice.
fn contain(mut attempt: impl FnMut() -> io::Result<()>) {
    loop {
        match catch_unwind(AssertUnwindSafe(&mut attempt)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => log::error!("the control side failed and is restarted: {error}"),
            Err(_) => log::error!("the control side panicked and is restarted; sound goes on"),
        }
        std::thread::sleep(RESTART_PAUSE);
    }
}

async fn run(
    shared: Rc<Shared>,
    listeners: &[TcpListener],
    mut stopped: watch::Receiver<bool>,
    is_first: bool,
    link: &mut Link,
) -> io::Result<()> {
    for listener in listeners {
        let listener = listener.try_clone()?;
        let address = listener.local_addr()?;
        tokio::task::spawn_local({
            let shared = Rc::clone(&shared);
            async move {
                if let Err(error) = server::listen(listener, shared).await {
                    log::error!("listening on {address} ended: {error}");
                }
            }
        });
        if is_first {
            let scheme = if shared.is_encrypted() {
                "https"
            } else {
                "http"
            };
            log::info!("rigd is listening on {scheme}://{address}");
        }
    }
    tokio::select! {
        ended = clockwork(&shared, link) => ended,
        _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
    }?;
    shared.desk.borrow_mut().fall_silent();
    shared.desk.borrow_mut().answer_last_chore(Instant::now());
    shared.say_goodbye();
    // The engine is heard to the end, so that what it did is on record.
    let _ = tokio::time::timeout(GOODBYE, clockwork(&shared, link)).await;
    Ok(())
}

/// Lets the desk move: often while the engine owes an answer, else when something is due.
async fn clockwork(shared: &Shared, link: &mut Link) -> io::Result<()> {
    let ticker = Ticker::new()?;
    let begun = Instant::now();
    let log = shared.desk.borrow().log_health();
    let on_disk = async || match &log {
        Some(health) => health.news.notified().await,
        None => std::future::pending().await,
    };
    loop {
        link.resettle(shared);
        link.follow(&mut shared.desk.borrow_mut());
        let now = Instant::now();
        let wake = shared.desk.borrow_mut().tick(now);
        link.vital.control_runs(begun, now);
        link.status
            .tell(now, || shared.desk.borrow().status_line(now));
        match wake {
            Wake::Soon => tokio::task::yield_now().await,
            Wake::Often => ticker.wait(LOOK_EVERY).await?,
            Wake::At(time) => {
                tokio::select! {
                    () = tokio::time::sleep_until(time.into()) => {}
                    () = shared.nudge.notified() => {}
                    () = on_disk() => {}
                }
            }
        }
    }
}

/// What the control side is told after a reload.
struct Resettled {
    config: Config,
    /// Another certificate.
    tls: Option<Tls>,
}

/// The settings, read again. Main thread.
struct Reload<'a> {
    /// In effect.
    config: Config,
    read_again: &'a dyn Fn() -> Result<Config, Failure>,
    control: mpsc::Sender<Resettled>,
    /// Of the certificate that is shown.
    fingerprint: Option<String>,
    backend: mpsc::Sender<Change>,
}

impl Reload<'_> {
    fn reload(&mut self) {
        let mut begins = vec![sd_notify::NotifyState::Reloading];
        begins.extend(sd_notify::NotifyState::monotonic_usec_now());
        let _ = sd_notify::notify(&begins);
        match (self.read_again)() {
            Ok(wanted) => self.follow(&wanted),
            Err(faults) => log::error!("the settings stay as they were: {faults}"),
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }

    /// The certificate, if it is another one by now: they are renewed under the same name. One that
    /// cannot be used leaves the old one.
    fn read_certificate(&mut self, plan: &mut Plan, then: &mut Config) -> Option<Tls> {
        match Tls::open(&then.tls, &then.state_dir) {
            Ok(tls) => {
                let tls = tls.filter(|tls| self.fingerprint.as_ref() != Some(&tls.fingerprint))?;
                log::info!(
                    "the certificate is another one: its SHA-256 fingerprint is {}",
                    tls.fingerprint
                );
                self.fingerprint = Some(tls.fingerprint.clone());
                Some(tls)
            }
            Err(error) => {
                log::error!("the certificate stays as it was: {error}");
                then.tls = self.config.tls.clone();
                plan.at_once.retain(|name| !name.starts_with("tls."));
                None
            }
        }
    }

    fn follow(&mut self, wanted: &Config) {
        let (mut plan, mut then) = reload::plan(&self.config, wanted);
        let tls = self.read_certificate(&mut plan, &mut then);
        if !plan.restart.is_empty() {
            let names = plan.restart.join(", ");
            log::warn!(
                "changed in the settings, and without effect until rigd is started anew: {names}"
            );
        }
        if plan.at_once.is_empty() && plan.sound.is_empty() && tls.is_none() {
            log::info!("the settings were read again: nothing that could change now has");
            return;
        }
        let _ = self.control.send(Resettled {
            config: then.clone(),
            tls,
        });
        if !plan.at_once.is_empty() {
            log::info!("in effect: {}", plan.at_once.join(", "));
        }
        let before = std::mem::replace(&mut self.config, then.clone());
        if plan.sound.is_empty() {
            return;
        }
        let (done, is_done) = mpsc::sync_channel(1);
        let change = Change {
            from: before.clone(),
            to: then,
            done,
        };
        let names = plan.sound.join(", ");
        log::info!("the sound is opened again for {names}");
        if self.backend.send(change).is_err() {
            log::error!("the backend's thread has ended: start rigd anew");
            return;
        }
        match is_done.recv_timeout(BACKEND_CHANGES_WITHIN) {
            Ok(Ok(())) => log::info!("in effect: {names}"),
            Ok(Err(reason)) => {
                log::error!("without effect: {names}. {reason}");
                let config = &mut self.config;
                (config.audio, config.jack, config.alsa) = (before.audio, before.jack, before.alsa);
                config.mixer = before.mixer;
                (config.realtime.priority, config.realtime.cpus) =
                    (before.realtime.priority, before.realtime.cpus);
            }
            Err(_) => log::warn!("the backend takes its time; rigd does not wait for it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::backend::null::Null;
    use rigd_rt::Report;

    /// The newest frame that the engine tells of.
    fn frame(reports: &mut crate::ring::ReportReader) -> u64 {
        reports
            .filter_map(|report| match report {
                Report::Pulse { frame, .. } => Some(frame),
                _ => None,
            })
            .last()
            .unwrap_or(0)
    }

    #[test]
    fn a_panic_of_the_control_side_does_not_stop_the_sound_and_it_is_begun_anew() {
        let mut config = Config::default();
        config.realtime.priority = 0;
        config.audio.delay_pool_mb = 1;
        let backend = Box::new(Null::open(&config).unwrap());
        let rate = backend.format().sample_rate_hz;
        let (mut control, engine_ends) = rings();
        care::update::tidy(&config.state_dir);
        let engine = Box::new(Engine::new(rate, 0, pool(&config)));
        let session = backend.start(Deck::new(engine, engine_ends, rate)).unwrap();
        let mut attempts = 0;
        let mut frames = Vec::new();
        contain(|| {
            attempts += 1;
            let seen = frames.last().copied().unwrap_or(0);
            let until = Instant::now() + Duration::from_secs(10);
            let now = loop {
                match frame(&mut control.reports) {
                    now if now > seen => break now,
                    _ => assert!(Instant::now() < until, "the sound has stopped"),
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            frames.push(now);
            match attempts {
                1 => panic!("as the test wants it"),
                2 => Err(io::Error::other("as the test wants it")),
                _ => Ok(()),
            }
        });
        assert_eq!(attempts, 3);
        assert!(frames.is_sorted() && frames.len() == 3, "{frames:?}");
        assert!(session.is_running());
        drop(session.stop().unwrap());
    }
}
