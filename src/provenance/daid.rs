//! Distributed Asset Identifiers:
//! `daid:v1.0:<timestamp>:<agent_id>:<entity_type>:<entity_id>:<hash>`.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::canonical::{put, put_string};

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
    /// More about it.
    pub metadata: &'a Value,
    /// Identifiers that it follows from, in any order.
    pub parents: &'a [String],
}

impl Parts<'_> {
    /// What the hash is over.
    pub fn preimage(&self) -> String {
        let mut parents: Vec<&String> = self.parents.iter().collect();
        parents.sort();
        let mut text = String::with_capacity(512);
        text.push_str("{\"entity_id\":");
        put_string(&mut text, self.entity_id);
        text.push_str(",\"metadata\":");
        put(&mut text, self.metadata);
        text.push_str(",\"operation\":");
        put_string(&mut text, self.operation);
        text.push_str(",\"parents\":[");
        for (index, parent) in parents.into_iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            put_string(&mut text, parent);
        }
        text.push_str("]}");
        text
    }

    /// The identifier of a preimage.
    pub fn identifier(&self, preimage: &str) -> String {
        let mut hash = hex(&Sha256::digest(preimage.as_bytes()));
        hash.truncate(HASH_DIGITS);
        format!(
            "daid:v1.0:{}:{}:{}:{}:{hash}",
            timestamp(self.at),
            plain(self.agent_id),
            plain(self.entity_type),
            plain(self.entity_id),
        )
    }
}

/// A part without the colon that divides parts.
fn plain(part: &str) -> String {
    part.replace(':', "_")
}

/// `2025-01-01T12:00:00.123456+00:00`; the fraction is left out when it is zero.
pub fn timestamp(at: Timestamp) -> String {
    let utc = TimeZone::UTC.to_datetime(at);
    let (date, time) = (utc.date(), utc.time());
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    let micros = time.subsec_nanosecond() / 1000;
    if micros > 0 {
        let _ = write!(text, ".{micros:06}");
    }
    text + "+00:00"
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hash(parts: &Parts) -> String {
        let identifier = parts.identifier(&parts.preimage());
        identifier.rsplit(':').next().unwrap().to_owned()
    }

    #[test]
    fn the_vectors_of_the_wire() {
        let at: Timestamp = "2025-01-01T12:00:00.123456Z".parse().unwrap();
        let metadata = json!({});
        let first = Parts {
            at,
            agent_id: "test-agent",
            entity_type: "composition",
            entity_id: "test-123",
            operation: "create",
            metadata: &metadata,
            parents: &[],
        };
        assert_eq!(
            first.identifier(&first.preimage()),
            "daid:v1.0:2025-01-01T12:00:00.123456+00:00:test-agent:composition:test-123:462a5efa7737fbea"
        );
        let metadata = json!({"key": "C major"});
        assert_eq!(
            hash(&Parts {
                metadata: &metadata,
                ..first
            }),
            "83dfd2b9ba53a1b6"
        );
        let metadata = json!({
            "parameter_id": "wet_dry", "value": 0.75, "user_id": "user_789",
            "session_id": "session_abc", "track_id": "track_123",
        });
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
        let metadata = json!({});
        let of = |parents: &[String]| {
            hash(&Parts {
                at,
                agent_id: "a",
                entity_type: "track",
                entity_id: "b",
                operation: "c",
                metadata: &metadata,
                parents,
            })
        };
        let (x, y) = ("x".to_owned(), "y".to_owned());
        assert_eq!(of(&[x.clone(), y.clone()]), of(&[y, x]));
    }
}
