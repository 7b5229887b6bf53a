//! A file on its way in, piece by piece: what reads it does so on a thread of its own, while it comes, and
//! no more than a few pieces are in memory.

use std::io::{self, Read};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::reply::{Refusal, refusal};
use crate::care::caretaker::Turn;
use crate::care::update::NOT_WHOLE;
use crate::rig::Reject;

/// The next piece of a file must come within this time.
const PIECE_WITHIN: Duration = Duration::from_secs(10);
/// Pieces that wait to be read; each is as large as the connection's buffer at most.
const PIECES_WAITING: usize = 4;
/// What is read of a file that is refused, so that whoever sends it gets to read why,
const DRAINED_BYTES: usize = 8 << 20;
/// and for how long.
const DRAINED_WITHIN: Duration = Duration::from_secs(5);

/// What may come.
pub struct Sort {
    /// What it is called, with its article.
    pub name: &'static str,
    /// Its types. None of them is one that a form of another page could send.
    pub types: &'static [&'static str],
    /// How long it may be,
    pub max_mb: u32,
    /// by this setting.
    pub setting: &'static str,
}

/// What is said of a file before it comes.
pub struct Said {
    length: Option<HeaderValue>,
    kind: Option<HeaderValue>,
}

impl Said {
    /// By the request's headers.
    pub fn read(headers: &HeaderMap) -> Said {
        Said {
            length: headers.get(CONTENT_LENGTH).cloned(),
            kind: headers.get(CONTENT_TYPE).cloned(),
        }
    }

    /// Whether it can be taken. How long it is.
    pub fn check(&self, turn: &Turn, sort: &Sort) -> Result<u64, Refusal> {
        let text = |value: &Option<HeaderValue>| {
            let text = value.as_ref().and_then(|value| value.to_str().ok());
            text.unwrap_or_default().to_owned()
        };
        if !sort.types.contains(&text(&self.kind).as_str()) {
            let sentence = format!(
                "The body must be {}, sent with Content-Type: {}.",
                sort.name, sort.types[0]
            );
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::new(status, "UNSUPPORTED_MEDIA_TYPE", &sentence));
        }
        let Ok(bytes) = text(&self.length).parse::<u64>() else {
            let sentence = "How long the file is must be said first, by Content-Length.";
            let status = StatusCode::LENGTH_REQUIRED;
            return Err(Refusal::new(status, "LENGTH_REQUIRED", sentence));
        };
        let most = u64::from(sort.max_mb) << 20;
        if bytes > most {
            let reason = format!(
                "must not be longer than {} MiB ({} under [device])",
                sort.max_mb, sort.setting
            );
            return Err(
                refusal(&Reject::over(None, reason, most)).at(StatusCode::PAYLOAD_TOO_LARGE)
            );
        }
        turn.check_room(bytes).map_err(|reason| {
            refusal(&Reject::DeviceFailed(reason)).at(StatusCode::INSUFFICIENT_STORAGE)
        })?;
        Ok(bytes)
    }
}

/// Has a file read while it comes. `read` is told when all of it has come; when that never happens, who
/// asked has gone.
pub async fn take<T: Send + 'static>(
    body: &mut Incoming,
    read: impl FnOnce(Pieces, oneshot::Receiver<()>) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (go, may_go) = oneshot::channel();
    let (sender, pieces) = mpsc::channel(PIECES_WAITING);
    let reading = spawn_blocking(move || {
        let from = Pieces {
            pieces,
            piece: Bytes::new(),
        };
        read(from, may_go)
    });
    // When this is dropped, with who asked, nothing is accepted.
    loop {
        match timeout(PIECE_WITHIN, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let Ok(piece) = frame.into_data() else {
                    continue;
                };
                // What is behind the end of what is wanted is read, and looked at by nobody.
                let is_read = sender.send(piece).await.is_ok();
                if !is_read && reading.is_finished() {
                    // It was not waited for: it is no good, or there is no room for it.
                    break;
                }
            }
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => return Err(NOT_WHOLE.to_owned()),
        }
    }
    drop(sender);
    let _ = go.send(());
    match reading.await {
        Ok(taken) => taken,
        Err(_) => Err("it could not be looked at".to_owned()),
    }
}

/// Reads what is refused, within bounds.
pub async fn drain(body: &mut Incoming) {
    let drained = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAINED_BYTES {
                return;
            }
        }
    };
    let _ = timeout(DRAINED_WITHIN, drained).await;
}

/// A body as something that is read, on another thread.
pub struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let bytes = self.piece.len().min(into.len());
        into[..bytes].copy_from_slice(&self.piece.split_to(bytes));
        Ok(bytes)
    }
}
