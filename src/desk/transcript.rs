//! `log_messages`: every message in and out, in the log, without the secrets in it. So many lines a
//! second at most, and short ones: it helps to find a fault and must not be one.

use std::time::Duration;

use serde_json::Value;

use super::client::ClientId;
use crate::session::Bucket;

/// Lines a second, below what a system's journal takes from one service; and at once.
const LINES_PER_S: f64 = 200.0;
const LINES_BURST: f64 = 400.0;
/// Characters of a message that are written.
const TEXT_MAX: usize = 1024;
/// What stands for a secret.
const MASK: &str = "***";
/// Fields whose values are secrets, or have one in them.
const SECRETS: [&str; 9] = [
    "token",
    "access_token",
    "refresh_token",
    "authorization",
    "password",
    "secret",
    "code",
    "url",
    "svg",
];

/// See the module.
pub struct Transcript {
    lines: Bucket,
    left_out: u64,
}

impl Transcript {
    /// Nothing was written yet.
    pub fn new() -> Transcript {
        Transcript {
            lines: Bucket::new("log_messages", LINES_PER_S, LINES_BURST),
            left_out: 0,
        }
    }

    /// Writes a message, `way` "from" or "to" a client. `now` is since any fixed start.
    pub fn write(&mut self, way: &str, client: ClientId, address: &str, text: &str, now: Duration) {
        if self.lines.take(now).is_err() {
            self.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            log::info!("{left_out} messages are left out here: more than {LINES_PER_S} a second");
        }
        let shown = shown(text);
        log::info!("message {way} client {} at {address}: {shown}", client.0);
    }
}

/// As it is written: without secrets and control characters, in one line, and not too long.
fn shown(text: &str) -> String {
    let Ok(mut message) = serde_json::from_str::<Value>(text) else {
        // What cannot be read may hold a secret anywhere.
        return format!("({} bytes that are not JSON)", text.len());
    };
    mask(&mut message);
    let text = message.to_string();
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // An error's code is none of those that let somebody in.
            let is_error = fields.contains_key("error");
            for (name, value) in fields.iter_mut() {
                let name = name.to_ascii_lowercase();
                let is_code = name == "code" && is_error;
                if SECRETS.contains(&name.as_str()) && !is_code && !value.is_null() {
                    *value = MASK.into();
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) if is_token(text) => *value = MASK.into(),
        _ => {}
    }
}

/// Whether a text has a JWT in it: wherever it comes, it is a secret.
fn is_token(text: &str) -> bool {
    text.find("eyJ")
        .is_some_and(|start| text[start..].matches('.').count() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl";

    #[test]
    fn no_secret_is_written() {
        for text in [
            r#"{"type":"AUTH","data":{"token":"sesame"}}"#,
            r#"{"type":"AUTH","token":"sesame"}"#,
            r#"{"type":"AUTH","data":{"TO\u006bEN":"sesame"}}"#,
            r#"{"type":"session.invite","data":{"code":"sesame","url":"http://x/#sesame","svg":"sesame"}}"#,
            r#"{"type":"x","data":{"a":[{"Authorization":{"deep":["sesame"]}}]}}"#,
            r#"{"type":"AUTH","data":{"token":"sesame"}"#,
            r#"{"type":"AUTH","token":"sesa"#,
            "sesame",
        ] {
            let shown = shown(text);
            assert!(!shown.contains("sesa"), "{shown}");
        }
        let echoed = format!(r#"{{"type":"heartbeat","data":{{"note":"my {JWT}"}}}}"#);
        assert_eq!(
            shown(&echoed),
            r#"{"type":"heartbeat","data":{"note":"***"}}"#
        );
    }

    #[test]
    fn everything_else_is() {
        let error =
            r#"{"id":"1","type":"ERROR","data":{"error":"No.","code":"CAPACITY","details":{}}}"#;
        assert_eq!(shown(error), error);
        let long = format!(r#"{{"type":"heartbeat","data":"{}"}}"#, "ä".repeat(5000));
        assert!(shown(&long).chars().count() < TEXT_MAX + 40);
        assert!(!shown("{\"a\":\"line\\nbreak\"}").contains('\n'));
    }

    #[test]
    fn lines_are_bounded_and_what_is_left_out_is_counted() {
        let mut transcript = Transcript::new();
        for _ in 0..1000 {
            transcript.write("from", ClientId(1), "127.0.0.1", "{}", Duration::ZERO);
        }
        assert_eq!(transcript.left_out, 600);
        transcript.write(
            "from",
            ClientId(1),
            "127.0.0.1",
            "{}",
            Duration::from_secs(1),
        );
        assert_eq!(transcript.left_out, 0);
    }
}
