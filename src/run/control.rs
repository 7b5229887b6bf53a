//! The control side: sockets, desk and batcher in one small runtime, begun anew if it panics.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::LocalSet;

use super::{anonymous, load_policy, server_settings};
use crate::backend::Wanted;
use crate::backend::keeper::News;
use crate::care::Caretaker;
use crate::config::Config;
use crate::desk::{Desk, LOOK_EVERY, Wake, switches};
use crate::server::tls::Tls;
use crate::server::{self, Shared};
use crate::systemd::{status::StatusLine, watchdog::Vital};
use crate::ticker::Ticker;

/// How long clients may take to hear that the box goes away.
const GOODBYE: Duration = Duration::from_millis(200);
/// A control thread that panics is restarted after this pause.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// What the control side is told after a reload.
pub struct Resettled {
    pub config: Config,
    /// Another certificate.
    pub tls: Option<Tls>,
}

/// What goes between the control side and the others: the backend's keeper, the watchdog, systemd.
/// Control thread.
pub struct Link {
    /// Who looks after the box, by the settings.
    pub caretaker: Caretaker,
    pub want: watch::Sender<Wanted>,
    pub news: mpsc::Receiver<News>,
    /// Of the state whose wants were published.
    pub seq: Option<u64>,
    /// What the server is told.
    pub server: server::Settings,
    /// What it encrypts with.
    pub tls: Option<Tls>,
    /// What is in effect from now on.
    pub settings: mpsc::Receiver<Resettled>,
    pub status: StatusLine,
    pub vital: Arc<Vital>,
}

impl Link {
    /// Tells the keeper what the tracks want, if that may be new.
    pub fn publish(&mut self, desk: &Desk) {
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

/// Runs the control side until it is told to stop. The desk is kept whatever happens around it.
pub fn control(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::null::Null;
    use crate::backend::{Backend, Deck};
    use crate::ring::rings;
    use crate::run::pool;
    use rigd_rt::{Engine, Report};

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
