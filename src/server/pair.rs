//! `POST /api/pair {code, user_id}` → `{token, role, …}`: how a phone comes in without typing a token.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::Shared;
use super::http::{Answer, json_answer, plain, refused};
use crate::desk::Lookup;
use crate::protocol::decode::pairing;
use crate::rig::Reject;

/// Where.
pub const PATH: &str = "/api/pair";
/// What a request may hold.
const BODY_BYTES: usize = 4096;
/// And how long it may take.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// How long the disk may take to say whether it has a code.
const DISK_WITHIN: Duration = Duration::from_secs(10);

/// Answers one request.
pub async fn answer(
    request: Request<Incoming>,
    local: SocketAddr,
    peer: SocketAddr,
    shared: &Rc<Shared>,
) -> Answer {
    if let Err(reason) = shared.guard.borrow().check_origin(request.headers(), local) {
        return plain(StatusCode::FORBIDDEN, "FORBIDDEN_ORIGIN", &reason);
    }
    if request.method() != Method::POST {
        let sentence = "Only POST is served here.";
        let mut answer = plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            sentence,
        );
        let allows = HeaderValue::from_static("POST");
        answer.headers_mut().insert(ALLOW, allows);
        return answer;
    }
    let body = Limited::new(request.into_body(), BODY_BYTES).collect();
    let body = match timeout(BODY_WITHIN, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let reject = Reject::over(None, "is too long or was cut off", BODY_BYTES as u64);
            return refused(StatusCode::PAYLOAD_TOO_LARGE, &reject);
        }
        Err(_) => {
            let reject = Reject::message("did not arrive in time");
            return refused(StatusCode::REQUEST_TIMEOUT, &reject);
        }
    };
    match pair(&body, peer, shared).await {
        Ok(data) => json_answer(StatusCode::OK, &data),
        Err(reject) => refused(status_of(&reject), &reject),
    }
}

async fn pair(body: &[u8], peer: SocketAddr, shared: &Rc<Shared>) -> Result<Value, Reject> {
    let (code, user_id) = pairing(body)?;
    let address = peer.ip();
    let found = shared.desk.borrow_mut().look_up(&code, address)?;
    let offer = match found {
        Lookup::Found(offer) => Some(offer),
        // A code that the disk gives too late is used up: better that than good twice.
        Lookup::Ask(answer) => timeout(DISK_WITHIN, answer)
            .await
            .map_err(|_| Reject::EngineError("the disk does not answer".to_owned()))?
            .ok()
            .flatten(),
    };
    let Some(offer) = offer else {
        return Err(shared.desk.borrow_mut().wrong_code(address));
    };
    let noted = shared.desk.borrow().note_claim(&offer);
    if let Some(noted) = noted {
        // With a dead disk the host comes in all the same: whoever made the code could have.
        let _ = timeout(DISK_WITHIN, noted).await;
    }
    let data = shared.desk.borrow_mut().pair(&offer, &user_id, address)?;
    shared.nudge.notify_one();
    Ok(Value::Object(data))
}

fn status_of(reject: &Reject) -> StatusCode {
    match reject {
        Reject::InvalidMessage { .. } => StatusCode::BAD_REQUEST,
        Reject::AuthFailed(_) => StatusCode::UNAUTHORIZED,
        Reject::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}
