//! Sockets: one port for the page, the machines' pages and the WebSocket. One task for each
//! connection; all on the control thread.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the listeners, and what every connection shares |
//! | `http.rs` | requests: pages, health, metrics, the upgrade |
//! | `api/` | the HTTP fallback |
//! | `portal.rs` | phones on the box's own Wi-Fi network are led to the page |
//! | `guard.rs` | who may connect: `Host`, `Origin`, how many |
//! | `download.rs` | a file on its way out |
//! | `bearer.rs` | the token that comes with a request |
//! | `pair.rs` | a code comes in, a token goes out |
//! | `tls.rs` | handshakes, and the certificate |
//! | `hall.rs` | connections that are no WebSocket yet |
//! | `tally.rs` | what is counted before anything reaches the desk |
//! | `socket.rs` | one WebSocket client |
//! | `pieces.rs` | a long message on its way to one |

mod api;
mod bearer;
mod download;
mod guard;
mod hall;
mod http;
mod pair;
mod pieces;
mod portal;
mod socket;
mod tally;
pub mod tls;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;

use crate::care::wifi::AccessPoint;
use crate::desk::Desk;
use crate::telemetry::page::Page;
use guard::Guard;
use hall::{GuestId, Hall};
use portal::Portal;
use tally::Tally;
use tls::{Stream, Tls};

/// A request's headers must be complete within this time, and fit into [`HEADER_BYTES`].
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// What a request's headers may take.
const HEADER_BYTES: usize = 16 * 1024;
/// What the kernel may hold for a client that does not read, in bytes.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// TCP connections beyond the WebSocket ones: pages, health checks, half-open ones. Past that one of
/// them is closed for the next. As many as there may be phones: all of them come back at once after a restart.
const OTHER_CONNECTIONS: usize = 256;

/// What the server is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Further origins whose pages may connect.
    pub allowed_origins: Vec<String>,
    /// The longest message, in bytes.
    pub message_bytes: usize,
    /// WebSocket connections.
    pub connections: usize,
    /// New connections an address and minute, beyond the first 20.
    pub connects_per_minute: f64,
    /// The file that is there while the box has a Wi-Fi network of its own.
    pub access_point: Option<PathBuf>,
}

/// What every connection shares. Control thread.
pub struct Shared {
    /// Who decides.
    pub desk: Rc<RefCell<Desk>>,
    /// Tells the clock that something was received.
    pub nudge: Notify,
    /// Becomes true when the box goes away.
    ends: watch::Sender<bool>,
    settings: RefCell<Settings>,
    /// What connections are encrypted with.
    tls: RefCell<Option<Tls>>,
    guard: RefCell<Guard>,
    portal: RefCell<Portal>,
    tally: RefCell<Tally>,
    hall: RefCell<Hall>,
    open: Cell<usize>,
}

impl Shared {
    /// For one run of the control thread.
    pub fn new(desk: Rc<RefCell<Desk>>, settings: Settings, tls: Option<Tls>) -> Rc<Shared> {
        let guard = RefCell::new(Guard::new(&settings));
        let portal = RefCell::new(Portal::new(settings.access_point.clone()));
        Rc::new(Shared {
            ends: watch::channel(false).0,
            desk,
            nudge: Notify::new(),
            settings: RefCell::new(settings),
            tls: RefCell::new(tls),
            guard,
            portal,
            tally: RefCell::default(),
            hall: RefCell::default(),
            open: Cell::new(0),
        })
    }
}

impl Shared {
    /// Whether connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.borrow().is_some()
    }

    /// The box's own Wi-Fi network, while it is there.
    fn access_point(&self) -> Option<AccessPoint> {
        let mut portal = self.portal.borrow_mut();
        portal.point(Instant::now()).cloned()
    }

    /// What the server is told from now on.
    pub fn set_settings(&self, settings: Settings) {
        self.portal
            .replace(Portal::new(settings.access_point.clone()));
        self.guard.borrow_mut().follow(&settings);
        self.settings.replace(settings);
    }

    /// What connections to come are encrypted with.
    pub fn set_tls(&self, tls: Tls) {
        self.tls.replace(Some(tls));
    }

    /// Tells every client that the box goes away.
    pub fn say_goodbye(&self) {
        self.ends.send_replace(true);
    }

    /// The server's part of `/metrics`.
    fn metrics(&self, page: &mut Page) {
        self.tally.borrow().metrics(page, self.open.get());
    }
}

/// Accepts connections for ever.
pub async fn listen(listener: std::net::TcpListener, shared: Rc<Shared>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let local = listener.local_addr()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                accept(stream, local, peer, &shared);
                // However many come at once, those who have come get their turn.
                tokio::task::yield_now().await;
            }
            // Out of file descriptors or the like: those that are open go on.
            Err(error) => {
                log::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn accept(stream: TcpStream, local: SocketAddr, peer: SocketAddr, shared: &Rc<Shared>) {
    shared.tally.borrow_mut().accepted();
    // Sockets on their way out count as well.
    let connections = shared.settings.borrow().connections;
    let is_full = shared.open.get() >= connections + 2 * OTHER_CONNECTIONS;
    let guest = shared.hall.borrow_mut().enter(peer.ip(), OTHER_CONNECTIONS);
    let Some(guest) = guest.ok().filter(|_| !is_full) else {
        shared.tally.borrow_mut().turned_away("too many");
        return;
    };
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
    let place = Place::take(shared);
    let seat = Seat(Rc::clone(shared), guest);
    // A listener on all of the box's addresses does not say which one it was.
    let at = stream.local_addr().unwrap_or(local).ip().to_canonical();
    let caller = Caller {
        local,
        at,
        peer,
        guest,
    };
    let task = spawn_local(async move {
        let shared = &seat.0;
        let tls = shared.tls.borrow().clone();
        let stream = match tls {
            Some(tls) => match tls.accept(stream, peer).await {
                Some(stream) => stream,
                None => return shared.tally.borrow_mut().turned_away("tls"),
            },
            None => Stream::Left(stream),
        };
        let service = service_fn(|request| http::answer(request, caller, Rc::clone(shared)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            log::debug!("a request from {peer} ended: {error}");
        }
        drop(place);
    });
    let mut hall = shared.hall.borrow_mut();
    hall.is_run_by(guest, task.abort_handle());
}

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    local: SocketAddr,
    at: IpAddr,
    peer: SocketAddr,
    guest: GuestId,
}

/// A place in the hall.
struct Seat(Rc<Shared>, GuestId);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.hall.borrow_mut().leave(self.1);
    }
}

/// Whoever asks is not sent away while this is there.
struct Served<'a>(&'a Shared, GuestId);

impl<'a> Served<'a> {
    fn begin(shared: &'a Shared, guest: GuestId) -> Served<'a> {
        shared.hall.borrow_mut().serve(guest, true);
        Served(shared, guest)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.hall.borrow_mut().serve(self.1, false);
    }
}

/// One of the connections that may be open.
struct Place(Rc<Shared>);

impl Place {
    fn take(shared: &Rc<Shared>) -> Place {
        shared.open.set(shared.open.get() + 1);
        Place(Rc::clone(shared))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}
