//! Files from and to the box, for hosts: a backup and a support bundle go out, a backup comes in.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::Either;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::body::Query;
use super::reply::{Refusal, json_answer, refusal, refusal_of, silent};
use super::upload::{self, Said, Sort};
use super::visit::Visit;
use crate::care::caretaker::Turn;
use crate::rig::Reject;
use crate::server::download::Download;
use crate::server::http::{Answer, typed};
use crate::server::{Caller, Shared};
use crate::session::By;

const TAR: &str = "application/x-tar";
/// What names no type.
pub(super) const OCTETS: &str = "application/octet-stream";

/// `GET /api/device/backup[?secrets=true]`.
pub async fn backup(visit: &mut Visit, query: &Query, caller: Caller) -> Result<Answer, Refusal> {
    let secrets = wants_secrets(visit, query, caller)?;
    let (turn, by) = admit(visit)?;
    record(
        visit.shared(),
        "device.backup",
        json!({ "secrets": secrets }),
        &by,
    );
    file(turn, "backup", move |turn| turn.backup(secrets)).await
}

/// `GET /api/device/support`.
pub async fn support(visit: &mut Visit) -> Result<Answer, Refusal> {
    let (turn, by) = admit(visit)?;
    record(visit.shared(), "device.support", json!({}), &by);
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
    let said = Said::read(request.headers());
    let mut body = request.into_body();
    let mut taken = async || {
        let secrets = wants_secrets(visit, query, caller)?;
        let (turn, by) = admit(visit)?;
        let sort = Sort {
            name: "a backup",
            types: &[TAR, OCTETS],
            max_mb: turn.config().device.restore_max_mb,
            setting: "restore_max_mb",
        };
        said.check(&turn, &sort)?;
        let shared = visit.shared();
        record(shared, "device.restore", json!({ "secrets": secrets }), &by);
        let whose = (*by).clone();
        let restore = move |pieces, go| turn.restore(pieces, secrets, whose, go);
        let accepted = upload::take(&mut body, restore).await;
        let accepted = accepted.map_err(|reason| {
            record(shared, "device.restore", json!({ "failed": reason }), &by);
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
        upload::drain(&mut body).await;
    }
    answer
}

pub(super) fn admit(visit: &Visit) -> Result<(Turn, Arc<By>), Refusal> {
    let admitted = visit.admit_to_device(Instant::now());
    admitted.map_err(|reject| refusal_of(&reject, visit.is_known()))
}

pub(super) fn record(shared: &Shared, operation: &'static str, details: Value, by: &Arc<By>) {
    let mut desk = shared.desk.borrow_mut();
    desk.record_device(operation, details, by, Instant::now());
    shared.nudge.notify_one();
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

pub(super) fn failed(reason: String) -> Refusal {
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
