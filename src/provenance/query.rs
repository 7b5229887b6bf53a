//! Questions to the log, and what answers them. On any connection that can read.

use std::collections::{HashSet, VecDeque};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::daid::timestamp;
use super::record::{COLUMNS, Record};

/// Events in one answer, at most.
pub const LIMIT_MAX: usize = 1000;
/// Events in one answer, unless said.
pub const LIMIT: usize = 100;
/// Nodes of one lineage, at most.
pub const NODES_MAX: usize = 1000;

/// What is asked of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// `daid.query`.
    Query(Query),
    /// `daid.lineage`.
    Lineage(Lineage),
    /// `daid.verify`.
    Verify,
}

/// Which events; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// `plugin_processing`, `track`, `session`, `configuration`.
    pub entity_type: Option<String>,
    /// Which plugin, track, …
    pub entity_id: Option<String>,
    /// Whose change.
    pub user_id: Option<String>,
    /// Which group of people's.
    pub session_id: Option<String>,
    /// What was done.
    pub operation: Option<String>,
    /// Not before this; as [`time`] gives it.
    pub since: Option<String>,
    /// Not after this; as [`time`] gives it.
    pub until: Option<String>,
}

/// Events, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which ones.
    pub filter: Filter,
    /// Only rows behind this one.
    pub after: i64,
    /// At most so many; 1 to [`LIMIT_MAX`].
    pub limit: usize,
}

/// Where a lineage begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// At one event.
    Daid(String),
    /// At an entity's newest event (backward) or its oldest (forward).
    Entity(String),
}

/// Which way a lineage goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From an event to what it follows from.
    Backward,
    /// From an event to what follows from it.
    Forward,
}

impl Direction {
    /// By its name.
    pub fn from_name(name: &str) -> Option<Direction> {
        match name {
            "backward" => Some(Direction::Backward),
            "forward" => Some(Direction::Forward),
            _ => None,
        }
    }
}

/// How an entity came to be as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Lineage {
    /// From where.
    pub from: Origin,
    /// Which way.
    pub direction: Direction,
}

/// A time of ISO 8601 as the log spells times; without an offset it is UTC. `None`: it is none.
pub fn time(text: &str) -> Option<String> {
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let utc = text
            .parse::<DateTime>()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()?;
        Some(utc.timestamp())
    })?;
    Some(timestamp(at))
}

/// A cursor: the number of the last row that was shown, which no growth of the log changes. `None`: it
/// is none.
pub fn cursor(text: &str) -> Option<i64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// The events of a query, and the row behind which the rest is, if there is more.
pub fn events(db: &Connection, query: &Query) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
    let mut sql = format!("SELECT {COLUMNS} FROM daid_events WHERE row > ?");
    let mut values: Vec<&dyn ToSql> = vec![&query.after];
    let filter = &query.filter;
    for (condition, value) in [
        (" AND entity_type = ?", &filter.entity_type),
        (" AND entity_id = ?", &filter.entity_id),
        (" AND user_id = ?", &filter.user_id),
        (" AND session_id = ?", &filter.session_id),
        (" AND action = ?", &filter.operation),
        (" AND timestamp >= ?", &filter.since),
        (" AND timestamp <= ?", &filter.until),
    ] {
        if let Some(value) = value {
            sql.push_str(condition);
            values.push(value);
        }
    }
    sql.push_str(" ORDER BY row LIMIT ?");
    let one_more = query.limit as i64 + 1;
    values.push(&one_more);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut events = Vec::new();
    let (mut seen, mut last) = (0, query.after);
    while let Some(row) = rows.next()? {
        if seen == query.limit {
            return Ok((events, Some(last)));
        }
        seen += 1;
        last = row.get(0)?;
        // A row that rigd cannot have written hides no others; verify names it.
        events.extend(Record::read(row).ok());
    }
    Ok((events, None))
}

/// The nodes of a lineage, beginning where it begins, and whether there are more than
/// [`NODES_MAX`].
pub fn lineage(db: &Connection, lineage: &Lineage) -> rusqlite::Result<(Vec<Record>, bool)> {
    match lineage.direction {
        Direction::Backward => backward(db, beginnings(db, &lineage.from)?),
        Direction::Forward => forward(db, &lineage.from),
    }
}

fn by_id(db: &Connection, id: &str) -> rusqlite::Result<Option<Record>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM daid_events WHERE id = ?1"))?
        .query_row([id], Record::read)
        .optional()
}

/// The event itself, or the newest of each kind of entity with that id.
fn beginnings(db: &Connection, from: &Origin) -> rusqlite::Result<Vec<Record>> {
    match from {
        Origin::Daid(id) => Ok(by_id(db, id)?.into_iter().collect()),
        Origin::Entity(id) => db
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM daid_events WHERE row IN
                 (SELECT max(row) FROM daid_events WHERE entity_id = ?1 GROUP BY entity_type)
                 ORDER BY row DESC"
            ))?
            .query_map([id], Record::read)?
            .collect(),
    }
}

fn backward(db: &Connection, from: Vec<Record>) -> rusqlite::Result<(Vec<Record>, bool)> {
    let mut known: HashSet<String> = from.iter().map(|record| record.id.clone()).collect();
    let mut waiting = VecDeque::from(from);
    let mut nodes = Vec::new();
    while let Some(record) = waiting.pop_front() {
        if nodes.len() == NODES_MAX {
            return Ok((nodes, true));
        }
        for parent in record.parent_ids() {
            if !known.insert(parent.clone()) {
                continue;
            }
            // One that was pruned is not there any more.
            waiting.extend(by_id(db, &parent)?);
        }
        nodes.push(record);
    }
    Ok((nodes, false))
}

/// Children are about the same entity and come later, so one pass over its events finds all.
fn forward(db: &Connection, from: &Origin) -> rusqlite::Result<(Vec<Record>, bool)> {
    let (entity_id, after, mut nodes) = match from {
        Origin::Entity(id) => (id.clone(), i64::MIN, Vec::new()),
        Origin::Daid(id) => match by_id(db, id)? {
            Some(record) => (record.entity_id.clone(), record.row, vec![record]),
            None => return Ok((Vec::new(), false)),
        },
    };
    let is_whole_entity = nodes.is_empty();
    let mut known: HashSet<String> = nodes.iter().map(|record| record.id.clone()).collect();
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM daid_events WHERE entity_id = ?1 AND row > ?2 ORDER BY row"
    ))?;
    let mut rows = statement.query(params![entity_id, after])?;
    while let Some(row) = rows.next()? {
        let Ok(record) = Record::read(row) else {
            continue;
        };
        let follows = || record.parent_ids().iter().any(|id| known.contains(id));
        if !is_whole_entity && !follows() {
            continue;
        }
        if nodes.len() == NODES_MAX {
            return Ok((nodes, true));
        }
        known.insert(record.id.clone());
        nodes.push(record);
    }
    Ok((nodes, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelt_as_in_the_log() {
        for (text, spelt) in [
            ("2025-01-01T12:00:00Z", "2025-01-01T12:00:00+00:00"),
            (
                "2025-01-01T13:00:00.5+01:00",
                "2025-01-01T12:00:00.500000+00:00",
            ),
            (
                "2025-01-01T12:00:00.123456+00:00",
                "2025-01-01T12:00:00.123456+00:00",
            ),
            ("2025-01-01T12:00:00", "2025-01-01T12:00:00+00:00"),
            ("2025-01-01", "2025-01-01T00:00:00+00:00"),
        ] {
            assert_eq!(time(text).as_deref(), Some(spelt), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "12:00",
            "2025-13-01T00:00:00Z",
            "1735732800",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_cursor_is_a_number_and_nothing_else() {
        assert_eq!(cursor("17"), Some(17));
        for text in ["", "-1", "+1", "1.0", "x", "99999999999999999999"] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
