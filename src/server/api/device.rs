//! Files from and to the box, for hosts: a backup and a support bundle go out, a backup comes in.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Either};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::body::Query;
use super::reply::{Refusal, json_answer, refusal, refusal_of, silent};
use super::visit::Visit;
use crate::care::caretaker::{Accepted, Turn};
use crate::rig::Reject;
use crate::server::Caller;
use crate::server::download::Download;
use crate::server::http::{Answer, typed};
use crate::session::By;

/// The next piece of a file must come within this time.
const PIECE_WITHIN: Duration = Duration::from_secs(10);
/// Pieces that wait to be unpacked; each is as large as the connection's buffer at most.
const PIECES_WAITING: usize = 4;
/// What is read of a file that is refused, so that whoever sends it gets to read why,
const DRAINED_BYTES: usize = 8 << 20;
/// and for how long.
const DRAINED_WITHIN: Duration = Duration::from_secs(5);
const TAR: &str = "application/x-tar";

/// `GET /api/device/backup[?secrets=true]`.
pub async fn backup(visit: &mut Visit, query: &Query, caller: Caller) -> Result<Answer, Refusal> {
    let secrets = wants_secrets(visit, query, caller)?;
    let (turn, by) = admit(visit)?;
    record(visit, "device.backup", json!({ "secrets": secrets }), &by);
    file(turn, "backup", move |turn| turn.backup(secrets)).await
}

/// `GET /api/device/support`.
pub async fn support(visit: &mut Visit) -> Result<Answer, Refusal> {
    let (turn, by) = admit(visit)?;
    record(visit, "device.support", json!({}), &by);
    file(turn, "support", Turn::support).await
}

/// `POST /api/device/restore[?secrets=true]`, with a backup as its body. What is answered is that it was
/// accepted; rigd then begins anew with it.
pub async fn restore(
    visit: &mut Visit,
    request: Request<Incoming>,
    query: &Query,
    caller: Caller,
) -> Result<Answer, Refusal> {
    let length = request.headers().get(CONTENT_LENGTH).cloned();
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let mut body = request.into_body();
    let mut taken = async || {
        let secrets = wants_secrets(visit, query, caller)?;
        let (turn, by) = admit(visit)?;
        check(&turn, length.as_ref(), kind.as_ref())?;
        record(visit, "device.restore", json!({ "secrets": secrets }), &by);
        let accepted = take(turn, &mut body, secrets, (*by).clone()).await;
        let accepted = accepted.map_err(|reason| {
            record(visit, "device.restore", json!({ "failed": reason }), &by);
            let reason = format!("the backup was not restored, nothing is changed: {reason}");
            failed(reason).at(StatusCode::BAD_REQUEST)
        })?;
        Ok(json_answer(
            StatusCode::OK,
            json!({
                "made": accepted.made, "takes": accepted.takes, "leaves": accepted.leaves,
                "restarts": true, "success": true,
            })
            .to_string(),
        ))
    };
    let answer = taken().await;
    if answer.is_err() {
        drain(&mut body).await;
    }
    answer
}

fn admit(visit: &Visit) -> Result<(Turn, Arc<By>), Refusal> {
    let admitted = visit.admit_to_device(Instant::now());
    admitted.map_err(|reject| refusal_of(&reject, visit.is_known()))
}

fn record(visit: &Visit, operation: &'static str, details: Value, by: &Arc<By>) {
    let mut desk = visit.shared().desk.borrow_mut();
    desk.record_device(operation, details, by, Instant::now());
    visit.shared().nudge.notify_one();
}

/// Whether keys are to be moved: only when that is said, and only where nobody can listen.
fn wants_secrets(visit: &Visit, query: &Query, caller: Caller) -> Result<bool, Refusal> {
    let wants = match query.get("secrets") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            let reason = "must be true or false: whether this rig's keys are meant, too";
            return Err(refusal(&Reject::field("secrets", reason)));
        }
    };
    let is_private = visit.shared().is_encrypted() || caller.peer.ip().to_canonical().is_loopback();
    if wants && !is_private {
        let sentence = "Keys are not sent where others can read them: turn on [tls], or do it on the box with --secrets.";
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "NOT_ENCRYPTED",
            sentence,
        ));
    }
    Ok(wants)
}

fn failed(reason: String) -> Refusal {
    refusal(&Reject::DeviceFailed(reason))
}

/// Makes a file on a thread of its own, and sends it.
async fn file(
    turn: Turn,
    what: &str,
    make: impl FnOnce(&Turn) -> Result<File, String> + Send + 'static,
) -> Result<Answer, Refusal> {
    let made = spawn_blocking(move || make(&turn).map(|file| (file, turn))).await;
    let (file, turn) = made.map_err(|_| silent())?.map_err(failed)?;
    let name = format!(
        "rigd-{what}-{}.tar",
        Timestamp::now().strftime("%Y-%m-%d-%H%M%S")
    );
    let download = Download::begin(file, turn).map_err(|error| failed(error.to_string()))?;
    let mut answer: Answer = typed(StatusCode::OK, TAR, Bytes::new());
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    let (parts, _) = answer.into_parts();
    Ok(Response::from_parts(parts, Either::Right(download)))
}

/// Whether what comes can be taken.
fn check(
    turn: &Turn,
    length: Option<&HeaderValue>,
    kind: Option<&HeaderValue>,
) -> Result<(), Refusal> {
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if ![TAR, "application/octet-stream"].contains(&kind) {
        let sentence = format!("The body must be a backup, sent with Content-Type: {TAR}.");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::new(status, "UNSUPPORTED_MEDIA_TYPE", &sentence));
    }
    let length: Option<u64> = length
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    let Some(bytes) = length else {
        let sentence = "How long the backup is must be said first, by Content-Length.";
        let status = StatusCode::LENGTH_REQUIRED;
        return Err(Refusal::new(status, "LENGTH_REQUIRED", sentence));
    };
    let most = u64::from(turn.config().device.restore_max_mb) << 20;
    if bytes > most {
        let reason = format!(
            "must not be longer than {} MiB (restore_max_mb under [device])",
            most >> 20
        );
        return Err(refusal(&Reject::over(None, reason, most)).at(StatusCode::PAYLOAD_TOO_LARGE));
    }
    turn.check_room(bytes).map_err(|reason| {
        refusal(&Reject::DeviceFailed(reason)).at(StatusCode::INSUFFICIENT_STORAGE)
    })
}

/// Has a backup unpacked and looked at while it comes.
async fn take(turn: Turn, body: &mut Incoming, secrets: bool, by: By) -> Result<Accepted, String> {
    let (go, may_go) = oneshot::channel();
    let (sender, pieces) = mpsc::channel(PIECES_WAITING);
    let unpacked = spawn_blocking(move || {
        let from = Pieces {
            pieces,
            piece: Bytes::new(),
        };
        turn.restore(from, secrets, by, may_go)
    });
    // When this is dropped, with who asked, nothing is accepted.
    loop {
        match timeout(PIECE_WITHIN, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let Ok(piece) = frame.into_data() else {
                    continue;
                };
                // What is behind the end of the archive is read, and looked at by nobody.
                let _ = sender.send(piece).await;
            }
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => return Err("it did not come whole".to_owned()),
        }
    }
    drop(sender);
    let _ = go.send(());
    match unpacked.await {
        Ok(accepted) => accepted,
        Err(_) => Err("it could not be looked at".to_owned()),
    }
}

/// A body as something that is read, on another thread.
struct Pieces {
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

async fn drain(body: &mut Incoming) {
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
