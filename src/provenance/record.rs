//! One row of the log: what is written, what is chained, what is read back and what a client sees. The
//! one place that knows the columns of `daid_events`.

use std::fmt::Write;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{CachedStatement, Connection, Row, params};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::canonical::{canonical, put_string};
use super::chain::link;
use super::daid::Parts;

/// The columns, in the order of [`Record::read`].
pub const COLUMNS: &str = "row, id, user_id, action, details, timestamp, seq_first, seq_last, epoch, \
     monotonic_us, applied_frame, entity_type, entity_id, session_id, role, verified, address, parents, \
     preimage, chain";

/// A row, as it is in the database.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the columns of wire.md section 6")]
pub struct Record {
    /// Its number; the first is 1.
    pub row: i64,
    /// The identifier.
    pub id: String,
    pub user_id: String,
    /// The operation.
    pub action: String,
    /// The metadata, as JSON.
    pub details: String,
    pub timestamp: String,
    pub seq_first: i64,
    pub seq_last: i64,
    pub epoch: String,
    pub monotonic_us: i64,
    pub applied_frame: Option<i64>,
    pub entity_type: String,
    pub entity_id: String,
    pub session_id: String,
    pub role: String,
    pub verified: bool,
    pub address: String,
    /// Identifiers, as a JSON list.
    pub parents: String,
    /// What the identifier's hash is over.
    pub preimage: String,
    /// Hash over this row and all before it.
    pub chain: String,
}

/// 0 or 1 and nothing else.
struct Flag(bool);

impl FromSql for Flag {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Flag> {
        match value.as_i64()? {
            0 => Ok(Flag(false)),
            1 => Ok(Flag(true)),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

impl Record {
    /// Reads a row of [`COLUMNS`]; fails on what rigd cannot have written.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
        Ok(Record {
            row: row.get(0)?,
            id: row.get(1)?,
            user_id: row.get(2)?,
            action: row.get(3)?,
            details: row.get(4)?,
            timestamp: row.get(5)?,
            seq_first: row.get(6)?,
            seq_last: row.get(7)?,
            epoch: row.get(8)?,
            monotonic_us: row.get(9)?,
            applied_frame: row.get(10)?,
            entity_type: row.get(11)?,
            entity_id: row.get(12)?,
            session_id: row.get(13)?,
            role: row.get(14)?,
            verified: row.get::<_, Flag>(15)?.0,
            address: row.get(16)?,
            parents: row.get(17)?,
            preimage: row.get(18)?,
            chain: row.get(19)?,
        })
    }

    /// What [`Record::insert`] wants.
    pub fn inserter(db: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
        db.prepare_cached(&format!(
            "INSERT INTO daid_events ({COLUMNS})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)"
        ))
    }

    /// Writes it.
    pub fn insert(&self, inserter: &mut CachedStatement<'_>) -> rusqlite::Result<()> {
        inserter.execute(params![
            self.row,
            self.id,
            self.user_id,
            self.action,
            self.details,
            self.timestamp,
            self.seq_first,
            self.seq_last,
            self.epoch,
            self.monotonic_us,
            self.applied_frame,
            self.entity_type,
            self.entity_id,
            self.session_id,
            self.role,
            self.verified,
            self.address,
            self.parents,
            self.preimage,
            self.chain,
        ])?;
        Ok(())
    }

    /// The hash that this row must carry behind a row with the hash `before`: over every column but
    /// the hash itself, in the order of the table.
    pub fn link_to(&self, before: &str) -> String {
        self.link_in(before, &mut String::new())
    }

    /// The same, with memory to work in.
    pub fn link_in(&self, before: &str, text: &mut String) -> String {
        // The canonical JSON of a list of the columns.
        text.clear();
        let number = |text: &mut String, number: i64| {
            let _ = write!(text, "{number},");
        };
        let string = |text: &mut String, string: &str| {
            put_string(text, string);
            text.push(',');
        };
        text.push('[');
        number(text, self.row);
        string(text, &self.id);
        string(text, &self.user_id);
        string(text, &self.action);
        string(text, &self.details);
        string(text, &self.timestamp);
        number(text, self.seq_first);
        number(text, self.seq_last);
        string(text, &self.epoch);
        number(text, self.monotonic_us);
        match self.applied_frame {
            Some(frame) => number(text, frame),
            None => text.push_str("null,"),
        }
        string(text, &self.entity_type);
        string(text, &self.entity_id);
        string(text, &self.session_id);
        string(text, &self.role);
        text.push_str(if self.verified { "true," } else { "false," });
        string(text, &self.address);
        string(text, &self.parents);
        put_string(text, &self.preimage);
        text.push(']');
        link(before, text)
    }

    /// Whether the identifier follows from the preimage, and the preimage from the other columns.
    pub fn is_what_it_is_called(&self) -> bool {
        let Ok(metadata) = serde_json::from_str::<Value>(&self.details) else {
            return false;
        };
        let Ok(parents) = serde_json::from_str::<Vec<String>>(&self.parents) else {
            return false;
        };
        let Ok(at) = self.timestamp.parse::<Timestamp>() else {
            return false;
        };
        let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
        let parts = Parts {
            at,
            agent_id: agent_of(&self.id).unwrap_or_default(),
            entity_type: &self.entity_type,
            entity_id: &self.entity_id,
            operation: &self.action,
            metadata: &canonical(&metadata),
            parents: &parents,
        };
        self.preimage == parts.preimage() && self.id == parts.identifier(&self.preimage)
    }

    /// The identifiers that it follows from.
    pub fn parent_ids(&self) -> Vec<String> {
        serde_json::from_str(&self.parents).unwrap_or_default()
    }
}

/// Whose log an identifier is from. Read from the right: the time has colons too.
fn agent_of(id: &str) -> Option<&str> {
    id.rsplit(':').nth(3)
}

/// JSON in a column, as it is; text that is none (somebody has been at it) as a string.
struct Json<'a>(&'a str);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(self.0) {
            Ok(json) => json.serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

/// As a client sees it.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(19))?;
        map.serialize_entry("daid", &self.id)?;
        map.serialize_entry("seq_first", &self.seq_first)?;
        map.serialize_entry("seq_last", &self.seq_last)?;
        map.serialize_entry("epoch", &self.epoch)?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.serialize_entry("monotonic_us", &self.monotonic_us)?;
        map.serialize_entry("applied_frame", &self.applied_frame)?;
        map.serialize_entry("entity_type", &self.entity_type)?;
        map.serialize_entry("entity_id", &self.entity_id)?;
        map.serialize_entry("operation", &self.action)?;
        map.serialize_entry("user_id", &self.user_id)?;
        map.serialize_entry("session_id", &self.session_id)?;
        map.serialize_entry("role", &self.role)?;
        map.serialize_entry("verified", &self.verified)?;
        map.serialize_entry("address", &self.address)?;
        map.serialize_entry("metadata", &Json(&self.details))?;
        map.serialize_entry("parents", &Json(&self.parents))?;
        map.serialize_entry("preimage", &self.preimage)?;
        map.serialize_entry("chain", &self.chain)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_is_chained_as_the_canonical_list_of_its_columns() {
        let mut record = Record {
            row: 7,
            id: "daid:v1.0:x".to_owned(),
            user_id: "Zoë \u{1f3a4}".to_owned(),
            action: "plugin.parameter".to_owned(),
            details: "{\"a\":\"\\\\ \\n\"}".to_owned(),
            timestamp: "2025-01-01T12:00:00+00:00".to_owned(),
            seq_first: 1,
            seq_last: 2,
            epoch: "e".to_owned(),
            monotonic_us: 3,
            applied_frame: None,
            entity_type: "track".to_owned(),
            entity_id: "\u{7f}\u{8}\u{0}".to_owned(),
            session_id: String::new(),
            role: "host".to_owned(),
            verified: true,
            address: "::1".to_owned(),
            parents: "[]".to_owned(),
            preimage: "/\t\r\n".to_owned(),
            chain: String::new(),
        };
        for frame in [None, Some(64)] {
            record.applied_frame = frame;
            record.verified = frame.is_none();
            let columns = json!([
                record.row,
                record.id,
                record.user_id,
                record.action,
                record.details,
                record.timestamp,
                record.seq_first,
                record.seq_last,
                record.epoch,
                record.monotonic_us,
                record.applied_frame,
                record.entity_type,
                record.entity_id,
                record.session_id,
                record.role,
                record.verified,
                record.address,
                record.parents,
                record.preimage,
            ]);
            assert_eq!(
                record.link_to("before"),
                link("before", &canonical(&columns))
            );
        }
    }
}
