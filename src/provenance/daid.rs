//! Distributed Asset Identifiers:
//! `daid:v1.0:<timestamp>:<agent_id>:<entity_type>:<entity_id>:<hash>`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::canonical::put_string;

/// Hex digits of the hash in an identifier.
const HASH_DIGITS: usize = 16;

/// What an identifier is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// When it happened.
    pub at: Timestamp,
    /// Whose log this is.
    pub agent_id: &'a str,
    /// `plugin_processing`, `track`, `session`, `configuration`.
    pub entity_type: &'a str,
    /// Which one.
    pub entity_id: &'a str,
    /// What happened to it.
    pub operation: &'a str,
    /// More about it: canonical JSON.
    pub metadata: &'a str,
    /// Identifiers that it follows from, in any order.
    pub parents: &'a [&'a str],
}

impl Parts<'_> {
    /// What the hash is over.
    pub fn preimage(&self) -> String {
        let mut text = String::new();
        self.put_preimage(&mut text);
        text
    }

    /// Appends what the hash is over.
    pub fn put_preimage(&self, text: &mut String) {
        let mut parents = self.parents.to_vec();
        parents.sort_unstable();
        text.push_str("{\"entity_id\":");
        put_string(text, self.entity_id);
        text.push_str(",\"metadata\":");
        text.push_str(self.metadata);
        text.push_str(",\"operation\":");
        put_string(text, self.operation);
        text.push_str(",\"parents\":[");
        for (index, parent) in parents.into_iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            put_string(text, parent);
        }
        text.push_str("]}");
    }

    /// The identifier of a preimage.
    pub fn identifier(&self, preimage: &str) -> String {
        let mut text = String::new();
        self.put_identifier(&mut text, preimage);
        text
    }

    /// Appends the identifier of a preimage.
    pub fn put_identifier(&self, text: &mut String, preimage: &str) {
        text.push_str("daid:v1.0:");
        put_timestamp(text, self.at);
        for part in [self.agent_id, self.entity_type, self.entity_id] {
            text.push(':');
            // The colon divides parts.
            for (index, piece) in part.split(':').enumerate() {
                if index > 0 {
                    text.push('_');
                }
                text.push_str(piece);
            }
        }
        text.push(':');
        put_hex(text, &Sha256::digest(preimage)[..HASH_DIGITS / 2]);
    }
}

/// `2025-01-01T12:00:00.123456+00:00`; the fraction is left out when it is zero.
pub fn timestamp(at: Timestamp) -> String {
    let mut text = String::with_capacity(32);
    put_timestamp(&mut text, at);
    text
}

/// Appends a time as [`timestamp`] spells it.
pub fn put_timestamp(text: &mut String, at: Timestamp) {
    let utc = TimeZone::UTC.to_datetime(at);
    let (date, time) = (utc.date(), utc.time());
    let mut spelt = *b"0000-00-00T00:00:00.000000";
    let mut put = |at: std::ops::Range<usize>, mut number: i32| {
        for digit in spelt[at].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    };
    put(0..4, date.year().into());
    put(5..7, date.month().into());
    put(8..10, date.day().into());
    put(11..13, time.hour().into());
    put(14..16, time.minute().into());
    put(17..19, time.second().into());
    let micros = time.subsec_nanosecond() / 1000;
    put(20..26, micros);
    let spelt = str::from_utf8(&spelt).unwrap_or_default();
    text.push_str(if micros > 0 { spelt } else { &spelt[..19] });
    text.push_str("+00:00");
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    put_hex(&mut text, bytes);
    text
}

/// Appends bytes as lower-case hex.
pub fn put_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        text.push_str(str::from_utf8(&digits).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::canonical::canonical;
    use serde_json::json;

    fn hash(parts: &Parts) -> String {
        let identifier = parts.identifier(&parts.preimage());
        identifier.rsplit(':').next().unwrap().to_owned()
    }

    #[test]
    fn the_vectors_of_the_wire() {
        let at: Timestamp = "2025-01-01T12:00:00.123456Z".parse().unwrap();
        let first = Parts {
            at,
            agent_id: "test-agent",
            entity_type: "composition",
            entity_id: "test-123",
            operation: "create",
            metadata: "{}",
            parents: &[],
        };
        assert_eq!(
            first.identifier(&first.preimage()),
            "daid:v1.0:2025-01-01T12:00:00.123456+00:00:test-agent:composition:test-123:462a5efa7737fbea"
        );
        let metadata = canonical(&json!({"key": "C major"}));
        assert_eq!(
            hash(&Parts {
                metadata: &metadata,
                ..first
            }),
            "83dfd2b9ba53a1b6"
        );
        let metadata = canonical(&json!({
            "parameter_id": "wet_dry", "value": 0.75, "user_id": "user_789",
            "session_id": "session_abc", "track_id": "track_123",
        }));
        let third = Parts {
            agent_id: "pi-rig-01",
            entity_type: "plugin_processing",
            entity_id: "plugin_456",
            operation: "plugin.parameter",
            metadata: &metadata,
            ..first
        };
        assert_eq!(hash(&third), "4d47bbf836c51bda");
    }

    #[test]
    fn whole_seconds_have_no_fraction() {
        assert_eq!(
            timestamp("2025-01-01T12:00:00Z".parse().unwrap()),
            "2025-01-01T12:00:00+00:00"
        );
        assert_eq!(
            timestamp("2025-01-01T12:00:00.000007Z".parse().unwrap()),
            "2025-01-01T12:00:00.000007+00:00"
        );
    }

    #[test]
    fn parents_come_in_any_order() {
        let at = Timestamp::UNIX_EPOCH;
        let of = |parents: &[&str]| {
            hash(&Parts {
                at,
                agent_id: "a",
                entity_type: "track",
                entity_id: "b",
                operation: "c",
                metadata: "{}",
                parents,
            })
        };
        assert_eq!(of(&["x", "y"]), of(&["y", "x"]));
    }
}
