//! The token that comes with a request: in `Authorization`, or, since a browser's WebSocket cannot set
//! that, as a subprotocol. Never in the address, where logs and histories would keep it.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

/// In front of a token among the subprotocols.
const PREFIX: &str = "bearer.";
/// The subprotocol that the rig speaks. A client that offers it too is not sent its token back.
const OWN: &str = "rigd";

/// What came with a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// The token.
    pub token: Option<String>,
    /// The subprotocol to answer with, where one has to be.
    pub protocol: Option<HeaderValue>,
}

impl Bearer {
    /// Looks for it.
    pub fn find(headers: &HeaderMap) -> Bearer {
        let offered: Vec<&str> = headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        let by_protocol = offered.iter().find(|name| name.starts_with(PREFIX));
        let own = offered.iter().find(|name| **name == OWN);
        let protocol = own.or(by_protocol);
        Bearer {
            token: in_authorization(headers)
                .or(by_protocol.map(|name| &name[PREFIX.len()..]))
                .map(str::to_owned),
            protocol: protocol.and_then(|name| HeaderValue::from_str(name).ok()),
        }
    }
}

/// A scheme that is none of ours is no token, and so is nothing at all.
fn in_authorization(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(authorization: Option<&str>, protocols: &[&str]) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        for value in protocols {
            headers.append(SEC_WEBSOCKET_PROTOCOL, value.parse().unwrap());
        }
        let found = Bearer::find(&headers);
        let protocol = found
            .protocol
            .map(|value| value.to_str().unwrap().to_owned());
        (found.token, protocol)
    }

    #[test]
    fn a_token_comes_in_a_header_or_as_a_subprotocol() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(find(None, &[]), (None, None));
        assert_eq!(find(Some("Bearer a.b.c"), &[]), (some("a.b.c"), None));
        assert_eq!(find(Some("bearer  a.b.c"), &[]), (some("a.b.c"), None));
        assert_eq!(find(Some("Bearer"), &[]), (some(""), None));
        assert_eq!(find(Some("Basic YTpi"), &[]), (None, None));
        let sent_back = (some("a.b.c"), some("bearer.a.b.c"));
        assert_eq!(find(None, &["bearer.a.b.c"]), sent_back);
        let not_sent_back = (some("a.b.c"), some("rigd"));
        assert_eq!(find(None, &["rigd, bearer.a.b.c"]), not_sent_back);
        assert_eq!(find(None, &["bearer.a.b.c", "rigd"]), not_sent_back);
        assert_eq!(find(None, &["chat"]), (None, None));
    }
}
