//! An answer of the desk → a response: the status that fits, errors in the shape of the wire's and flat.

use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::protocol::encode::{self, Micros};
use crate::rig::Reject;
use crate::server::http::{Answer, typed};

/// A request that is not answered with what it asked for.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    body: Map<String, Value>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Refusal {
    /// With a code that only HTTP knows.
    pub fn new(status: StatusCode, code: &str, sentence: &str) -> Refusal {
        let mut data = Map::new();
        data.insert("error".to_owned(), sentence.into());
        data.insert("code".to_owned(), code.into());
        data.insert("details".to_owned(), json!({}));
        Refusal::of(status, None, data)
    }

    /// The shape of the wire's `ERROR`, its data also beside it: for who looks there first.
    fn of(status: StatusCode, id: Option<&str>, data: Map<String, Value>) -> Refusal {
        let mut body = Map::new();
        body.insert("id".to_owned(), id.into());
        body.insert("type".to_owned(), "ERROR".into());
        let now = Micros(Timestamp::now()).to_string();
        body.insert("timestamp".to_owned(), now.into());
        body.insert("data".to_owned(), Value::Object(data.clone()));
        body.extend(data);
        Refusal {
            status,
            body,
            header: None,
        }
    }

    /// With one more header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Refusal {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// With another status.
    pub fn at(mut self, status: StatusCode) -> Refusal {
        self.status = status;
        self
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        let body = Value::Object(refusal.body).to_string();
        let mut answer = json_answer(refusal.status, body);
        if let Some(header) = refusal.header {
            let (name, value) = *header;
            answer.headers_mut().insert(name, value);
        }
        if refusal.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        }
        answer
    }
}

/// Refused before the desk saw it.
pub fn refusal(reject: &Reject) -> Refusal {
    refused(None, encode::error(reject), true)
}

/// Refused, for one who may do something or not.
pub fn refusal_of(reject: &Reject, is_known: bool) -> Refusal {
    refused(None, encode::error(reject), is_known)
}

/// Refused by the desk. `is_known`: whoever asked may do something.
fn refused(id: Option<&str>, data: Map<String, Value>, is_known: bool) -> Refusal {
    let code = data.get("code").and_then(Value::as_str).unwrap_or_default();
    let retry_after = data["details"]["retry_after"].as_f64();
    let status = match data["details"].get("feature") {
        Some(_) => StatusCode::FORBIDDEN,
        None => status_of(code, is_known),
    };
    let refusal = Refusal::of(status, id, data);
    match retry_after {
        Some(seconds) => refusal.with(RETRY_AFTER, HeaderValue::from(seconds.ceil() as u64)),
        None => refusal,
    }
}

fn status_of(code: &str, is_known: bool) -> StatusCode {
    match code {
        "UNAUTHORIZED" if is_known => StatusCode::FORBIDDEN,
        "UNAUTHORIZED" | "AUTH_FAILED" => StatusCode::UNAUTHORIZED,
        "TRACK_NOT_FOUND" | "PLUGIN_NOT_FOUND" => StatusCode::NOT_FOUND,
        "PLUGIN_ADD_FAILED"
        | "PRESET_LOAD_FAILED"
        | "PARAMETER_UPDATE_FAILED"
        | "CAPACITY"
        | "DEVICE_FAILED" => StatusCode::CONFLICT,
        "RATE_LIMITED" => StatusCode::TOO_MANY_REQUESTS,
        "ENGINE_ERROR" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A frame of the desk's, as far as it is looked at here.
#[derive(Deserialize)]
pub struct Frame<'a> {
    /// Of the message that it answers.
    #[serde(default)]
    pub id: Option<String>,
    /// The message type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Number of the change.
    #[serde(default)]
    pub seq: Option<u64>,
    /// The payload.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

impl<'a> Frame<'a> {
    /// Reads what the desk has written.
    pub fn read(text: &'a str) -> Result<Frame<'a>, Refusal> {
        // The desk's own frames are messages; whatever is not has no answer in it.
        serde_json::from_str(text).map_err(|_| silent())
    }

    /// The error that it is, if it is one.
    pub fn check(self, is_known: bool) -> Result<Frame<'a>, Refusal> {
        if self.kind != "ERROR" {
            return Ok(self);
        }
        let data = serde_json::from_str(self.data.get()).unwrap_or_default();
        Err(refused(self.id.as_deref(), data, is_known))
    }
}

/// No answer came.
pub fn silent() -> Refusal {
    let sentence = "No answer came in time; ask again.";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ENGINE_ERROR", sentence)
}

/// Done, and nothing to say.
pub fn empty() -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// JSON, written already.
pub fn json_answer(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    typed(status, "application/json", body.into())
}
