//! One WebSocket client: reads messages to the desk, writes what its outbox holds, keeps it alive.
//!
//! One task, one poll function: reading never waits for writing, so that a client that reads slowly
//! can still ask for silence.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::Shared;
use super::pieces::Pieces;
use super::tls::Stream;
use crate::desk::ClientId;
use crate::rig::Reject;
use crate::session::{self, Identity};

/// Small: they are most of what an idle client costs, and larger ones are hardly faster (cargo bench -- wire).
const READ_BUFFER_BYTES: usize = 1024;
const WRITE_BUFFER_BYTES: usize = 2048;
/// Well beyond what is in it when a piece of a message comes on top.
const WRITE_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Messages that one client may have handled before the others get their turn.
const READS_PER_TURN: usize = 32;
/// How often the times below are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The server asks whether the client is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// A client that has not said anything, not even pong, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// A client that has not read anything is given up.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Who may do nothing before signing in must do so by then.
const AUTH_WITHIN: Duration = Duration::from_secs(30);
/// How long a close may take, in time and in bytes that are thrown away meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_STALLED: Duration = Duration::from_secs(30);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// How a client comes.
pub struct Arrival {
    /// Who it has proved to be.
    pub identity: Option<Identity>,
    /// The address or name of the rig that it connected to.
    pub host: Option<String>,
}

impl Arrival {
    fn enter(self, peer: SocketAddr, shared: &Shared) -> Result<ClientId, Reject> {
        let mut desk = shared.desk.borrow_mut();
        let name = uuid::Uuid::new_v4().to_string();
        let address = peer.ip().to_canonical().to_string();
        let id = match self.identity {
            Some(identity) => desk.connect_as(name, &address, identity)?,
            None => desk.connect(name, &address),
        };
        if let Some(client) = desk.client(id) {
            client.came_to = self.host;
        }
        Ok(id)
    }
}

/// Serves one client until it is gone.
pub async fn serve(
    stream: Stream,
    already_read: Vec<u8>,
    peer: SocketAddr,
    arrival: Arrival,
    shared: Rc<Shared>,
) {
    let limit = shared.settings.borrow().message_bytes;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    let socket =
        WebSocketStream::from_partially_read(stream, already_read, Role::Server, Some(config))
            .await;
    let Ok(id) = arrival.enter(peer, &shared) else {
        // There was room when the handshake began.
        log::debug!("a client from {peer} came when there was no room any more");
        return;
    };
    // However this ends, the desk forgets the client.
    let registered = Registered {
        id,
        shared: Rc::clone(&shared),
    };
    log::info!(client = id.number(); "client {} from {peer} is there", id.number());
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = Instant::now();
    let mut client = Client {
        socket,
        pieces: Pieces::default(),
        id,
        shared,
        looks,
        since: now,
        heard: now,
        written: now,
        pinged: now,
        stalled: false,
    };
    let mut ends = client.shared.ends.subscribe();
    let end = tokio::select! {
        end = poll_fn(|cx| client.poll(cx)) => end,
        _ = ends.wait_for(|ends| *ends) => {
            // What was said before, first: it may be the answer to why.
            let last = poll_fn(|cx| Poll::Ready(client.write(cx, Instant::now()))).await;
            last.unwrap_or(End::Close(CloseCode::Away, "the rig is ending"))
        }
    };
    log::info!(client = id.number(); "client {} ends: {end}", id.number());
    drop(registered);
    if let End::Close(code, reason) = end {
        client.close(code, reason).await;
    }
}

struct Registered {
    id: ClientId,
    shared: Rc<Shared>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.desk.borrow_mut().disconnect(self.id);
    }
}

enum End {
    /// The peer is gone, or has been told to go.
    Gone,
    /// The peer is to be told why.
    Close(CloseCode, &'static str),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Gone => f.write_str("it is gone"),
            End::Close(_, reason) => f.write_str(reason),
        }
    }
}

struct Client {
    socket: WebSocketStream<Stream>,
    pieces: Pieces,
    id: ClientId,
    shared: Rc<Shared>,
    looks: Interval,
    since: Instant,
    heard: Instant,
    written: Instant,
    pinged: Instant,
    stalled: bool,
}

impl Client {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let now = Instant::now();
        while self.looks.poll_tick(cx).is_ready() {
            if let Some(end) = self.look(now) {
                return Poll::Ready(end);
            }
        }
        let reading = self.read(cx, now);
        if let Some(end) = self.write(cx, now) {
            return Poll::Ready(end);
        }
        if let Some(end) = self.ending() {
            return Poll::Ready(end);
        }
        match reading {
            Reading::Ended(end) => return Poll::Ready(end),
            // There is more to read; the others first.
            Reading::More => cx.waker().wake_by_ref(),
            Reading::Waits => {}
        }
        if let Some(client) = self.shared.desk.borrow_mut().client(self.id) {
            client.outbox.set_waker(cx.waker());
        }
        Poll::Pending
    }

    /// What the desk wants to end, once the client has been told what it is to hear.
    fn ending(&self) -> Option<End> {
        let mut desk = self.shared.desk.borrow_mut();
        let client = desk.client(self.id)?;
        let is_told = client.outbox.is_empty() && self.pieces.is_empty();
        let why = client.ends.filter(|_| is_told)?;
        Some(End::Close(CloseCode::Policy, why))
    }

    fn look(&mut self, now: Instant) -> Option<End> {
        if now.duration_since(self.heard) > SILENCE_MAX {
            return Some(End::Gone);
        }
        if self.stalled && now.duration_since(self.written) > STALL_MAX {
            return Some(End::Close(CloseCode::Again, "nothing was read for 30 s"));
        }
        let role = self
            .shared
            .desk
            .borrow_mut()
            .client(self.id)
            .map(|client| client.rights.role);
        if role == Some(session::Role::Nobody) && now.duration_since(self.since) > AUTH_WITHIN {
            return Some(End::Close(
                CloseCode::Policy,
                "nobody signed in within 30 s",
            ));
        }
        if now.duration_since(self.pinged) >= PING_EVERY && !self.stalled {
            self.pinged = now;
            if self
                .socket
                .start_send_unpin(Message::Ping(Bytes::new()))
                .is_err()
            {
                return Some(End::Gone);
            }
        }
        None
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Reading {
        for _ in 0..READS_PER_TURN {
            let is_full = self
                .shared
                .desk
                .borrow_mut()
                .client(self.id)
                .is_none_or(|client| client.outbox.is_full());
            if is_full {
                // Written first: see `write`, which wakes this task when there is room again.
                return Reading::Waits;
            }
            let message = match self.socket.poll_next_unpin(cx) {
                Poll::Pending => return Reading::Waits,
                Poll::Ready(None) => return Reading::Ended(End::Gone),
                Poll::Ready(Some(Err(error))) => return Reading::Ended(end_for(&error)),
                Poll::Ready(Some(Ok(message))) => message,
            };
            self.heard = now;
            match message {
                Message::Text(text) => {
                    let mut desk = self.shared.desk.borrow_mut();
                    let is_too_often = desk.receive(self.id, &text, Instant::now());
                    self.shared.nudge.notify_one();
                    if is_too_often {
                        return Reading::More;
                    }
                }
                Message::Binary(bytes) => {
                    let mut desk = self.shared.desk.borrow_mut();
                    desk.receive_binary(self.id, bytes.len());
                }
                // Pings are answered, and closing is finished, by the next flush.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
        Reading::More
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<End> {
        let was_full = self
            .shared
            .desk
            .borrow_mut()
            .client(self.id)
            .is_some_and(|client| client.outbox.is_full());
        let was_stalled = std::mem::take(&mut self.stalled);
        loop {
            match self.socket.poll_ready_unpin(cx) {
                Poll::Pending => {
                    self.stalled = true;
                    break;
                }
                Poll::Ready(Err(_)) => return Some(End::Gone),
                Poll::Ready(Ok(())) => {}
            }
            let Some(frame) = self.next_frame() else {
                break;
            };
            if self.socket.start_send_unpin(frame).is_err() {
                return Some(End::Gone);
            }
            self.written = now;
        }
        match self.socket.poll_flush_unpin(cx) {
            Poll::Ready(Ok(())) => self.written = now,
            Poll::Ready(Err(_)) => return Some(End::Gone),
            Poll::Pending => self.stalled = true,
        }
        if self.stalled && !was_stalled {
            self.written = now;
        }
        if was_full
            && self
                .shared
                .desk
                .borrow_mut()
                .client(self.id)
                .is_some_and(|client| !client.outbox.is_full())
        {
            cx.waker().wake_by_ref();
        }
        None
    }

    fn next_frame(&mut self) -> Option<Message> {
        if let Some(piece) = self.pieces.next() {
            return Some(piece);
        }
        let message = self.shared.desk.borrow_mut().next_frame(self.id)?;
        Some(self.pieces.begin(message))
    }

    /// Says why, and waits a little for the peer to hear it: a socket that is closed with unread
    /// bytes in it would take the close frame with it.
    async fn close(mut self, code: CloseCode, reason: &'static str) {
        let linger = if code == CloseCode::Again {
            LINGER_STALLED
        } else {
            LINGER
        };
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let told = async {
            // An error here means that the peer has gone already.
            let _ = self.socket.send(Message::Close(Some(frame))).await;
            let mut stream = self.socket.get_mut();
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
            let mut thrown = 0;
            let mut buffer = vec![0; READ_BUFFER_BYTES];
            while thrown < LINGER_BYTES {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => thrown += read,
                }
            }
        };
        let _ = timeout(linger, told).await;
    }
}

enum Reading {
    Waits,
    More,
    Ended(End),
}

fn end_for(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            End::Close(CloseCode::Size, "the message is too long")
        }
        Error::Utf8(_) => End::Close(CloseCode::Invalid, "the text is not UTF-8"),
        Error::Protocol(_) => End::Close(CloseCode::Protocol, "that is not a WebSocket frame"),
        _ => End::Gone,
    }
}
