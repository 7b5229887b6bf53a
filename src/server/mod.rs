//! Sockets: one port for the page, the machines' pages and the WebSocket. One task for each
//! connection; all on the control thread.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the listeners, and what every connection shares |
//! | `http.rs` | requests: pages, health, metrics, the upgrade |
//! | `api/` | the HTTP fallback |
//! | `guard.rs` | who may connect: `Host`, `Origin`, how many |
//! | `bearer.rs` | the token that comes with a request |
//! | `pair.rs` | a code comes in, a token goes out |
//! | `tally.rs` | what is counted before anything reaches the desk |
//! | `socket.rs` | one WebSocket client |

mod api;
mod bearer;
mod guard;
mod http;
mod pair;
mod socket;
mod tally;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;

use crate::desk::Desk;
use crate::telemetry::page::Page;
use guard::Guard;
use tally::Tally;

/// A request's headers must be complete within this time, and fit into [`HEADER_BYTES`].
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// What a request's headers may take.
const HEADER_BYTES: usize = 16 * 1024;
/// What the kernel may hold for a client that does not read, in bytes.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// TCP connections beyond the WebSocket ones: pages, health checks, half-open ones.
const OTHER_CONNECTIONS: usize = 128;

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
}

/// What every connection shares. Control thread.
pub struct Shared {
    /// Who decides.
    pub desk: Rc<RefCell<Desk>>,
    /// Tells the clock that something was received.
    pub nudge: Notify,
    /// Becomes true when the box goes away.
    ends: watch::Sender<bool>,
    settings: Settings,
    guard: RefCell<Guard>,
    tally: RefCell<Tally>,
    open: Cell<usize>,
}

impl Shared {
    /// For one run of the control thread.
    pub fn new(desk: Rc<RefCell<Desk>>, settings: Settings) -> Rc<Shared> {
        let guard = RefCell::new(Guard::new(&settings));
        Rc::new(Shared {
            ends: watch::channel(false).0,
            desk,
            nudge: Notify::new(),
            settings,
            guard,
            tally: RefCell::default(),
            open: Cell::new(0),
        })
    }
}

impl Shared {
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
            Ok((stream, peer)) => accept(stream, local, peer, &shared),
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
    if shared.open.get() >= shared.settings.connections + OTHER_CONNECTIONS {
        shared.tally.borrow_mut().turned_away("too many");
        return;
    }
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
    let place = Place::take(shared);
    let service = {
        let shared = Rc::clone(shared);
        service_fn(move |request| http::answer(request, local, peer, Rc::clone(&shared)))
    };
    spawn_local(async move {
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
