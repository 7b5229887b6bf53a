//! Requests: the page, health, metrics, and the upgrade to a WebSocket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue,
    RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::bearer::Bearer;
use super::download::Download;
use super::socket::Arrival;
use super::tls::Stream;
use super::{Caller, Place, Shared, api, pair, socket};
use crate::desk::Desk;
use crate::protocol::encode;
use crate::remote;
use crate::rig::Reject;
use crate::telemetry::page::Page;

/// A response, whole or on its way from a file.
pub type Answer = Response<Either<Full<Bytes>, Download>>;

const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'";

/// Answers one request.
pub async fn answer(
    request: Request<Incoming>,
    caller: Caller,
    shared: Rc<Shared>,
) -> Result<Answer, Infallible> {
    let Caller { local, peer, .. } = caller;
    let host = shared.guard.borrow().check_host(request.headers());
    let answer = match host {
        Err(reason) => {
            let mut portal = shared.portal.borrow_mut();
            let led = portal.lead(caller.at, request.method(), request.uri().path());
            led.unwrap_or_else(|| plain(StatusCode::MISDIRECTED_REQUEST, "FORBIDDEN_HOST", &reason))
        }
        Ok(()) if request.uri().path() == "/ws" => upgrade(request, local, peer, &shared),
        Ok(()) if request.uri().path() == pair::PATH => {
            pair::answer(request, local, peer, &shared).await
        }
        Ok(()) if request.uri().path().starts_with(api::PREFIX) => {
            api::answer(request, caller, &shared).await
        }
        Ok(()) => page(&request, &shared),
    };
    shared.tally.borrow_mut().answered(answer.status());
    Ok(answer)
}

fn page(request: &Request<Incoming>, shared: &Shared) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            "Only GET is served here.",
        );
        let allows = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allows);
        return answer;
    }
    let now = Instant::now();
    let mut desk = shared.desk.borrow_mut();
    desk.tick(now);
    match request.uri().path() {
        "/healthz" => {
            let running = desk.is_engine_alive(now);
            let status = if running {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            let troubles = desk.troubles(now);
            let word = if troubles.is_empty() {
                "ok"
            } else {
                "degraded"
            };
            let engine = desk.telemetry().engine(running);
            json_answer(
                status,
                &json!({
                    "status": word, "degraded": troubles, "engine": engine, "clients": desk.clients(),
                }),
            )
        }
        "/metrics" => typed(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            Bytes::from(metrics(&desk, shared, now)),
        ),
        path => match remote::find(path) {
            Some(asset) => typed(
                StatusCode::OK,
                asset.content_type,
                Bytes::from_static(asset.body),
            ),
            None => plain(
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                "There is no such page; the remote is at /, the WebSocket at /ws.",
            ),
        },
    }
}

fn metrics(desk: &Desk, shared: &Shared, now: Instant) -> String {
    let mut page = Page::default();
    page.gauges(
        "rigd_build",
        "1, for this version.",
        "version",
        [(env!("CARGO_PKG_VERSION"), 1.0)],
    );
    desk.metrics(&mut page, now);
    shared.metrics(&mut page);
    page.into_text()
}

fn upgrade(
    mut request: Request<Incoming>,
    local: SocketAddr,
    peer: SocketAddr,
    shared: &Rc<Shared>,
) -> Answer {
    if let Err(reason) = shared.guard.borrow().check_origin(request.headers(), local) {
        return plain(StatusCode::FORBIDDEN, "FORBIDDEN_ORIGIN", &reason);
    }
    let mut response = match create_response_with_body(&request, || Either::Left(Full::default())) {
        Ok(response) => response,
        Err(error) => {
            let mut answer = plain(
                StatusCode::UPGRADE_REQUIRED,
                "UPGRADE_REQUIRED",
                &format!("This is the WebSocket: connect to it with one ({error})."),
            );
            answer.headers_mut().insert(
                hyper::header::UPGRADE,
                HeaderValue::from_static("websocket"),
            );
            return answer;
        }
    };
    let bearer = Bearer::find(request.headers());
    let arrival = match arrival(&bearer, &request, peer, shared) {
        Ok(arrival) => arrival,
        Err((status, reject)) => return refused(status, &reject),
    };
    // Who has shown a good token enters, whatever others do at the same address.
    let is_proved = arrival.identity.is_some();
    let rate = shared.guard.borrow_mut().check_rate(peer.ip());
    if let Err(reject) = rate
        && !is_proved
    {
        return refused(StatusCode::TOO_MANY_REQUESTS, &reject);
    }
    let limit = shared.settings.borrow().connections;
    let mut desk = shared.desk.borrow_mut();
    if desk.clients() >= limit && !desk.make_room(is_proved) {
        let reject = Reject::Capacity {
            what: "connections",
            limit: limit as u64,
        };
        return refused(StatusCode::SERVICE_UNAVAILABLE, &reject);
    }
    drop(desk);
    if let Some(protocol) = bearer.protocol {
        let headers = response.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let shared = Rc::clone(shared);
    // The request's own place ends with the handshake; this is the WebSocket's.
    let place = Place::take(&shared);
    spawn_local(async move {
        // hyper gives the bare stream back, and with it its own buffers' memory.
        match upgraded
            .await
            .map(|upgraded| upgraded.downcast::<TokioIo<Stream>>())
        {
            Ok(Ok(parts)) => {
                let (stream, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
                socket::serve(stream, read, peer, arrival, shared).await
            }
            Ok(Err(_)) => log::error!("an upgraded connection was not the one that was accepted"),
            Err(error) => log::debug!("an upgrade from {peer} was not finished: {error}"),
        }
        drop(place);
    });
    response
}

/// Who comes: somebody with a token, or nobody in particular. A bad token is refused here.
fn arrival(
    bearer: &Bearer,
    request: &Request<Incoming>,
    peer: SocketAddr,
    shared: &Shared,
) -> Result<Arrival, (StatusCode, Reject)> {
    let host = request.headers().get(HOST);
    let host = host.and_then(|host| host.to_str().ok()).map(str::to_owned);
    let Some(token) = &bearer.token else {
        let identity = None;
        return Ok(Arrival { identity, host });
    };
    let mut desk = shared.desk.borrow_mut();
    let identity = desk
        .authorise(token, peer.ip())
        .map_err(|refusal| (StatusCode::UNAUTHORIZED, refusal.into()))?;
    desk.check_room(&identity.user_id, None)
        .map_err(|reject| (StatusCode::SERVICE_UNAVAILABLE, reject))?;
    let identity = Some(identity);
    Ok(Arrival { identity, host })
}

/// A refusal as a response.
pub fn refused(status: StatusCode, reject: &Reject) -> Answer {
    let mut answer = json_answer(status, &Value::Object(encode::error(reject)));
    if let Reject::RateLimited { retry_after, .. } = reject {
        let seconds = HeaderValue::from(retry_after.ceil() as u64);
        answer.headers_mut().insert(RETRY_AFTER, seconds);
    }
    if status == StatusCode::UNAUTHORIZED {
        let headers = answer.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A refusal that only HTTP knows.
pub fn plain(status: StatusCode, code: &str, sentence: &str) -> Answer {
    json_answer(
        status,
        &json!({ "error": sentence, "code": code, "details": {} }),
    )
}

/// A response with JSON in it.
pub fn json_answer(status: StatusCode, body: &Value) -> Answer {
    typed(status, "application/json", Bytes::from(body.to_string()))
}

/// A response with the headers that every one has.
pub fn typed(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
