//! The HTTP fallback: the same messages, rights and limits, for who has no WebSocket. Each request is a
//! visit to the desk, for as long as it takes.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the requests that there are |
//! | `body.rs` | what came with a request: its body, its query |
//! | `visit.rs` | one message to the desk, and its answer |
//! | `events.rs` | the long poll |
//! | `device.rs` | files from and to the box |
//! | `wifi.rs` | the networks in reach, and joining one |
//! | `update.rs` | an update for the box |
//! | `upload.rs` | a file on its way in |
//! | `reply.rs` | an answer of the desk → a response |

mod body;
mod device;
mod events;
mod reply;
mod update;
mod upload;
mod visit;
mod wifi;

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use super::bearer::Bearer;
use super::http::Answer;
use super::{Caller, Served, Shared};
use crate::rig::Reject;
use body::Query;
use reply::{Refusal, refusal};
use visit::Visit;

/// What every path of the fallback begins with.
pub const PREFIX: &str = "/api/";

/// A path of the fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    State,
    Status,
    Events,
    Parameters,
    Message,
    Device,
    Backup,
    Restore,
    Support,
    Update,
    Wifi,
    Reset,
    Reboot,
    PowerOff,
}

impl Endpoint {
    fn find(path: &str) -> Option<Endpoint> {
        Some(match path.strip_prefix(PREFIX)? {
            "state" => Endpoint::State,
            "status" => Endpoint::Status,
            "events" => Endpoint::Events,
            "plugins/parameters" => Endpoint::Parameters,
            "message" => Endpoint::Message,
            "device" => Endpoint::Device,
            "device/backup" => Endpoint::Backup,
            "device/restore" => Endpoint::Restore,
            "device/support" => Endpoint::Support,
            "device/update" => Endpoint::Update,
            "device/wifi" => Endpoint::Wifi,
            "device/reset" => Endpoint::Reset,
            "device/reboot" => Endpoint::Reboot,
            "device/power-off" => Endpoint::PowerOff,
            _ => return None,
        })
    }

    /// The methods that it answers to.
    fn allows(self) -> &'static str {
        match self {
            Endpoint::State | Endpoint::Status | Endpoint::Events | Endpoint::Device => {
                "GET, HEAD, OPTIONS"
            }
            // Asked for the head alone, the file would be made in vain.
            Endpoint::Backup | Endpoint::Support => "GET, OPTIONS",
            Endpoint::Parameters | Endpoint::Wifi => "GET, HEAD, OPTIONS, POST",
            Endpoint::Message
            | Endpoint::Restore
            | Endpoint::Update
            | Endpoint::Reset
            | Endpoint::Reboot
            | Endpoint::PowerOff => "OPTIONS, POST",
        }
    }
}

/// Answers one request.
pub async fn answer(request: Request<Incoming>, caller: Caller, shared: &Rc<Shared>) -> Answer {
    let allowed = {
        let guard = shared.guard.borrow();
        guard.check_origin(request.headers(), caller.local)
    };
    if let Err(reason) = allowed {
        return Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN_ORIGIN", &reason).into();
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let mut answer = match serve(request, caller, shared).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.into(),
    };
    if let Some(origin) = origin {
        // It may connect, so it may read as well.
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    answer
}

async fn serve(
    request: Request<Incoming>,
    caller: Caller,
    shared: &Rc<Shared>,
) -> Result<Answer, Refusal> {
    let endpoint = Endpoint::find(request.uri().path()).ok_or_else(|| {
        let sentence = "There is no such request; the README lists those under /api/.";
        Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", sentence)
    })?;
    let method = request.method().clone();
    let allows = endpoint.allows();
    if method == Method::OPTIONS {
        return Ok(preflight(allows));
    }
    if !allows.split(", ").any(|name| name == method.as_str()) {
        let sentence = format!("This answers to {allows}.");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let refusal = Refusal::new(status, "METHOD_NOT_ALLOWED", &sentence);
        return Err(refusal.with(ALLOW, HeaderValue::from_static(allows)));
    }
    let token = Bearer::find(request.headers()).token;
    let query = Query::read(request.uri().query())?;
    if matches!(endpoint, Endpoint::Restore | Endpoint::Update) {
        // Who may not is told so before the file comes.
        let _served = Served::begin(shared, caller.guest);
        let mut visit = Visit::begin(shared, caller.peer.ip(), token.as_deref())?;
        return match endpoint {
            Endpoint::Update => update::answer(&visit, request).await,
            _ => device::restore(&mut visit, request, &query, caller).await,
        };
    }
    let text = match method {
        Method::POST => {
            let bytes_max = shared.settings.borrow().message_bytes;
            body::read(request, bytes_max).await?
        }
        _ => String::new(),
    };
    // Everything is here: from now on it is the rig that takes its time.
    let _served = Served::begin(shared, caller.guest);
    let mut visit = Visit::begin(shared, caller.peer.ip(), token.as_deref())?;
    match endpoint {
        Endpoint::State => visit.data(&message("state.get")).await,
        Endpoint::Status => visit.data(&message("status.get")).await,
        Endpoint::Message => visit.message(&text).await,
        Endpoint::Events => events::answer(&mut visit, &query).await,
        Endpoint::Device => visit.data(&message("device.get")).await,
        Endpoint::Reboot => visit.data(&message("device.reboot")).await,
        Endpoint::PowerOff => visit.data(&message("device.power_off")).await,
        Endpoint::Reset => {
            let mut fields = body::object(&text)?;
            fields.insert("type".to_owned(), "device.reset".into());
            visit.data(&Value::Object(fields).to_string()).await
        }
        Endpoint::Wifi if method == Method::POST => {
            wifi::join(&visit, &body::object(&text)?, caller).await
        }
        Endpoint::Wifi => wifi::look(&visit, caller).await,
        Endpoint::Backup => device::backup(&mut visit, &query, caller).await,
        Endpoint::Support => device::support(&mut visit).await,
        // They take no text.
        Endpoint::Restore | Endpoint::Update => Err(reply::silent()),
        Endpoint::Parameters => {
            let fields = match method {
                Method::POST => body::object(&text)?,
                _ => query.fields(),
            };
            parameters(&mut visit, fields, method == Method::POST).await
        }
    }
}

/// One parameter is set, one plugin's are read, or everyone's.
async fn parameters(
    visit: &mut Visit,
    mut fields: Map<String, Value>,
    is_post: bool,
) -> Result<Answer, Refusal> {
    let has = |name: &str| fields.contains_key(name);
    let sets = ["value", "parameter_value"].into_iter().any(has);
    if sets && !is_post {
        let reason = "must not be in a GET: POST changes a parameter";
        return Err(refusal(&Reject::field("value", reason)));
    }
    let is_one = has("plugin_id") || has("pluginId");
    let names_parameter = has("parameter_id") || has("parameterId");
    if !is_one && !sets && !names_parameter {
        return visit.all_parameters(&message("state.get")).await;
    }
    let kind = if sets || (is_post && names_parameter) {
        "plugin.parameter"
    } else {
        "plugin.parameters.get"
    };
    fields.insert("type".to_owned(), kind.into());
    visit.data(&Value::Object(fields).to_string()).await
}

fn message(kind: &str) -> String {
    json!({ "type": kind }).to_string()
}

/// What a browser asks before a page of another origin may.
fn preflight(allows: &'static str) -> Answer {
    let mut answer = reply::empty();
    let headers = answer.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allows));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(allows),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    answer
}
