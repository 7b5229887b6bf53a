//! Changes a message as what it is, JSON: a value for another, a field less, one of another's fields. Bytes alone
//! mostly make what is no JSON at all, and the first check would see nearly everything.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Map, Value, json};

/// What fields are called, some of them.
const NAMES: [&str; 24] = [
    "type", "id", "data", "track_id", "plugin_id", "parameter_id", "parameter_value", "value", "position",
    "changes", "parameters", "debounce_ms", "apply_immediately", "idempotency_key", "base_seq", "since_seq",
    "requires_ack", "user_id", "token", "role", "tracks", "sends", "trackId", "bypass",
];
const STRING_MAX: usize = 256;

/// Numbers from a seed (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u32) -> Dice {
        Dice(u64::from(seed) << 1 | 1)
    }

    pub fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % count.max(1)
    }
}

/// Changes a text somehow; `None` when it is no JSON.
pub fn mutate(text: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut message: Value = serde_json::from_slice(text).ok()?;
    for _ in 0..1 + dice.below(3) {
        change(&mut message, dice);
    }
    serde_json::to_vec(&message).ok()
}

fn change(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(fields) if !fields.is_empty() && dice.below(8) > 0 => {
            let nth = dice.below(fields.len());
            let name = fields.keys().nth(nth).cloned().unwrap_or_default();
            match dice.below(12) {
                0 => drop(fields.remove(&name)),
                1 => add(fields, dice),
                2 => {
                    let moved = fields.remove(&name).unwrap_or_default();
                    fields.insert(NAMES[dice.below(NAMES.len())].to_owned(), moved);
                }
                _ => fields.values_mut().nth(nth).into_iter().for_each(|value| change(value, dice)),
            }
        }
        Value::Array(list) if !list.is_empty() && dice.below(8) > 0 => {
            let nth = dice.below(list.len());
            match dice.below(6) {
                0 => drop(list.remove(nth)),
                1 => list.push(list[nth].clone()),
                _ => change(&mut list[nth], dice),
            }
        }
        Value::String(text) if dice.below(8) > 0 => {
            let mut bytes = std::mem::take(text).into_bytes();
            let length = bytes.len();
            bytes.resize((length + 16).min(STRING_MAX.max(length)), 0);
            let room = bytes.len();
            let length = fuzzer_mutate(&mut bytes, length, room);
            bytes.truncate(length);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        other => *other = leaf(dice),
    }
}

fn add(fields: &mut Map<String, Value>, dice: &mut Dice) {
    fields.insert(NAMES[dice.below(NAMES.len())].to_owned(), leaf(dice));
}

fn leaf(dice: &mut Dice) -> Value {
    match dice.below(10) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3 => json!(dice.below(10)),
        4 => json!(dice.below(1 << 20) as f64 / 1024.0 - 100.0),
        5 => json!([0.5, -1.0, 1e300, 9_007_199_254_740_992.0, -0.0, 1e-300][dice.below(6)]),
        6 => json!([]),
        7 => json!({}),
        8 => json!(["mic1", "master", "limiter", "r", "reverb"][dice.below(5)]),
        _ => json!(""),
    }
}
