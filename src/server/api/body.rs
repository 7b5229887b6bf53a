//! What came with a request: its body, its query. All of it bounded in size and time.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::reply::{Refusal, refusal};
use crate::rig::Reject;

/// A body must be complete within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Fields in a query.
const FIELDS_MAX: usize = 32;

/// The whole body, which must be JSON by its type: a form of another page cannot say so.
pub async fn read(request: Request<Incoming>, bytes_max: usize) -> Result<String, Refusal> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|text| text.split(';').next());
    if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        let sentence = "The body must be JSON, sent with Content-Type: application/json.";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::new(status, "UNSUPPORTED_MEDIA_TYPE", sentence));
    }
    let too_long = || {
        let reason = format!("must not be longer than {bytes_max} bytes");
        let reject = Reject::over(None, reason, bytes_max as u64);
        refusal(&reject).at(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let body = request.into_body();
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_long());
    }
    let body = timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect());
    let bytes = match body.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_long()),
        Ok(Err(_)) => return Err(refusal(&Reject::message("was cut short"))),
        Err(_) => {
            let sentence = "The body did not come in time; send it again.";
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(Refusal::new(status, "REQUEST_TIMEOUT", sentence));
        }
    };
    String::from_utf8(bytes.into()).map_err(|_| refusal(&Reject::message("is not UTF-8")))
}

/// The fields of a body.
pub fn object(text: &str) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(refusal(&Reject::message("must be a JSON object"))),
        Err(error) => Err(refusal(&Reject::message(format!("is not JSON ({error})")))),
    }
}

/// What stands behind the `?`.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Its fields, decoded.
    pub fn read(query: Option<&str>) -> Result<Query, Refusal> {
        let fields = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let fields: Vec<_> = fields.into_owned().take(FIELDS_MAX + 1).collect();
        if fields.len() > FIELDS_MAX {
            let reason = format!("has more than {FIELDS_MAX} fields in its query");
            return Err(refusal(&Reject::over(None, reason, FIELDS_MAX as u64)));
        }
        Ok(Query(fields))
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// A number from 0, if it is there.
    pub fn number<T: std::str::FromStr + PartialOrd + Default>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        match text.parse::<T>() {
            Ok(number) if number >= T::default() => Ok(Some(number)),
            _ => Err(refusal(&Reject::field(name, "must be a number from 0"))),
        }
    }

    /// All of them, as a message's.
    pub fn fields(self) -> Map<String, Value> {
        let fields = self.0.into_iter();
        fields
            .map(|(name, value)| (name, Value::String(value)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_bounded() {
        let query =
            Query::read(Some("track_id=mic1&plugin_id=a%20b+c&timeout_s=2.5&n=-1")).unwrap();
        assert_eq!(query.get("plugin_id"), Some("a b c"));
        assert_eq!(query.number::<f64>("timeout_s").unwrap(), Some(2.5));
        assert_eq!(query.number::<u64>("nothing").unwrap(), None);
        assert!(query.number::<u64>("n").is_err());
        assert!(query.number::<f64>("track_id").is_err());
        assert!(Query::read(Some(&"a=1&".repeat(100))).is_err());
    }
}
