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

/// How many bytes at the beginning stand for themselves in a string. Eight are looked at in one step: this
/// is where the log spends its time.
fn plain_len(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::MAX / 255;
    const HIGH: u64 = EACH * 0x80;
    /// The high bit of the lowest byte that is below `limit` (and perhaps of bytes above it).
    fn below(word: u64, limit: u64) -> u64 {
        word.wrapping_sub(EACH * limit) & !word
    }
    let (strides, rest) = bytes.as_chunks::<8>();
    for (index, stride) in strides.iter().enumerate() {
        let word = u64::from_le_bytes(*stride);
        let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
        let special = (word | below(word, 0x20) | is(b'"') | is(b'\\') | is(0x7f)) & HIGH;
        if special != 0 {
            return 8 * index + special.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
    let plain = rest.iter().position(is_special).unwrap_or(rest.len());
    bytes.len() - rest.len() + plain
}

/// Appends the canonical text of a string.
pub fn put_string(text: &mut String, string: &str) {
    text.reserve(string.len() + 2);
    text.push('"');
    let mut rest = string;
    loop {
        let (plain, special) = rest.split_at(plain_len(rest.as_bytes()));
        text.push_str(plain);
        // JSON in a string is full of quotes.
        if let Some(behind) = special.strip_prefix('"') {
            text.push_str("\\\"");
            rest = behind;
            continue;
        }
        let mut chars = special.chars();
        let Some(c) = chars.next() else { break };
        rest = chars.as_str();
        match c {
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
    }
    text.push('"');
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

    #[test]
    fn what_is_special_is_found_wherever_it_is() {
        let specials = [0u8, 0x1f, b'"', b'\\', 0x7f, 0x80, 0xff];
        for len in 0..20 {
            assert_eq!(plain_len(&vec![b'~'; len]), len);
            assert_eq!(plain_len(&vec![b' '; len]), len);
            for at in 0..len {
                for special in specials {
                    let mut bytes = vec![b'!'; len];
                    bytes[at] = special;
                    assert_eq!(plain_len(&bytes), at, "{bytes:?}");
                    // And not one behind it.
                    bytes[len - 1] = special;
                    assert_eq!(plain_len(&bytes), at, "{bytes:?}");
                }
            }
        }
        for byte in (b' '..=b'~').filter(|byte| !b"\"\\".contains(byte)) {
            assert_eq!(plain_len(&[byte; 17]), 17);
        }
    }
}
