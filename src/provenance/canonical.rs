//! Canonical JSON: one text for one value, whoever writes it. Keys sorted at every depth, no spaces,
//! everything outside printable ASCII as `\uXXXX`, floats as the shortest text that reads back and
//! always with a point or an exponent. It is what Python's `json.dumps(value, sort_keys=True,
//! separators=(",", ":"))` writes.

use std::fmt::Write;

use serde_json::{Number, Value};

/// The canonical text of a value.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    put(&mut text, value);
    text
}

/// Appends the canonical text of a value.
pub fn put(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => put_number(text, number),
        Value::String(string) => put_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                put(text, item);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                put_string(text, name);
                text.push(':');
                put(text, value);
            }
            text.push('}');
        }
    }
}

fn put_number(text: &mut String, number: &Number) {
    match number.as_f64() {
        Some(float) if number.is_f64() => put_float(text, float),
        _ => {
            let _ = write!(text, "{number}");
        }
    }
}

/// The shortest digits that read back; plain from 1e-4 to below 1e16, with an exponent of at least two
/// digits beyond.
fn put_float(text: &mut String, float: f64) {
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float == 0.0 || (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        text.push_str(&plain);
        if !plain.contains('.') {
            text.push_str(".0");
        }
        return;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(text, "{digits}e{sign}{:02}", exponent.unsigned_abs());
}

/// Whether a byte stands for itself in a string.
fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Appends the canonical text of a string.
pub fn put_string(text: &mut String, string: &str) {
    // Most of it is plain, and goes eight bytes at a time: this is where the log spends its time.
    const STRIDE: usize = 8;
    text.reserve(string.len() + string.len() / STRIDE + 2);
    text.push('"');
    let bytes = string.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let stride = bytes.get(at..at + STRIDE).unwrap_or_default();
        if !stride.is_empty() && stride.iter().fold(true, |all, byte| all & is_plain(*byte)) {
            text.push_str(&string[at..at + STRIDE]);
            at += STRIDE;
        } else if is_plain(*byte) {
            text.push(char::from(*byte));
            at += 1;
        } else {
            at += put_special(text, &string[at..]);
        }
    }
    text.push('"');
}

/// Appends the first character of a string, which is not plain. Says how long it is.
fn put_special(text: &mut String, string: &str) -> usize {
    let Some(c) = string.chars().next() else {
        return string.len();
    };
    match c {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\u{8}' => text.push_str("\\b"),
        '\u{c}' => text.push_str("\\f"),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    c.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn floats_are_the_shortest_that_read_back() {
        for (float, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.75, "0.75"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123_456_789.125, "123456789.125"),
            (1e15, "1000000000000000.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(canonical(&json!(float)), text);
            assert_eq!(canonical(&json!(-float)), canonical(&json!(-float)));
        }
        assert_eq!(
            canonical(&json!([1, -1, u64::MAX, i64::MIN])),
            "[1,-1,18446744073709551615,-9223372036854775808]"
        );
    }

    #[test]
    fn keys_are_sorted_at_every_depth_and_strings_are_ascii() {
        let value =
            json!({"b": {"z": null, "a": [true, false]}, "a": "é/\u{7f}\u{1f3a4}\"\\\n\u{1}"});
        assert_eq!(
            canonical(&value),
            r#"{"a":"\u00e9/\u007f\ud83c\udfa4\"\\\n\u0001","b":{"a":[true,false],"z":null}}"#
        );
    }
}
