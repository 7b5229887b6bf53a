//! What is in one commit: events as rows of the log, each behind the one before it; the state that they
//! come to; the journal; and the seal over the end. On the append thread, in a transaction of the
//! [`writer`](super::writer)'s.

use std::collections::{HashMap, HashSet};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::SEQ_MARK;
use super::canonical::put_string;
use super::chain::Key;
use super::daid::{Parts, put_timestamp, timestamp};
use super::database::{self, Unusable};
use super::event::{EntityType, Event};
use super::head;
use super::journal::{Group, Stage};
use super::record::Record;
use super::recorder::{Taken, Touched};
use super::rows::Row;
use super::runs;

/// Entities whose newest event is remembered.
const PARENTS_MAX: usize = 4096;

/// What is committed together.
pub struct Batch {
    /// Events, and the state behind them.
    pub taken: Taken,
    /// In order.
    pub journal: Vec<Group>,
    /// What the run is played on, once an engine is there.
    pub stage: Option<Stage>,
    /// Numbers up to this one are reserved: no later run uses them.
    pub seq_mark: u64,
}

/// Writes what happens in one run of one rig. What it remembers of the database saves asking for it
/// each time.
pub struct Committer {
    agent_id: String,
    epoch: String,
    /// Entity → its newest event.
    parents: HashMap<EntityType, HashMap<String, String>>,
    seq_mark: Option<u64>,
    stage: Option<Stage>,
    /// The row that is being written, and what is hashed of it; kept for their memory.
    record: Record,
    hashed: String,
}

impl Committer {
    /// For a run of a rig, both by name.
    pub fn new(agent_id: &str, epoch: &str) -> Committer {
        Committer {
            agent_id: agent_id.to_owned(),
            epoch: epoch.to_owned(),
            parents: HashMap::new(),
            seq_mark: None,
            stage: None,
            record: Record::default(),
            hashed: String::new(),
        }
    }

    /// The run.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// What was written last may not be in the database.
    pub fn forget(&mut self) {
        self.parents.clear();
        self.seq_mark = None;
        self.stage = None;
    }

    /// Writes a batch. `is_own`: the state in the database is the one that the batch goes on from; into
    /// another goes no part of a state, only a whole one.
    pub fn write(
        &mut self,
        db: &Connection,
        key: &Key,
        batch: &Batch,
        is_own: bool,
    ) -> Result<(), Unusable> {
        let taken = &batch.taken;
        let newest = head::settle(db, key)?;
        let is_state_written = is_own || taken.is_everything;
        let last = taken.rows.iter().filter_map(|row| row.touch.last);
        let mut wanted: HashSet<usize> = last.filter(|_| is_state_written).collect();
        let mut identifiers = HashMap::new();
        let (mut row, mut chain) = (newest.row, newest.chain);
        let mut inserter = Record::inserter(db)?;
        for (index, event) in taken.events.iter().enumerate() {
            row += 1;
            self.append(db, &mut inserter, event, row, &mut chain)?;
            if wanted.remove(&index) {
                identifiers.insert(index, self.record.id.clone());
            }
        }
        if taken.is_everything {
            delete_others(db, &taken.rows)?;
        }
        for touched in taken.rows.iter().filter(|_| is_state_written) {
            put(db, touched, &taken.events, &identifiers)?;
        }
        if row > newest.row || !newest.is_sealed {
            head::put(db, key, row, &chain, newest.checkpoint.as_ref())?;
        }
        if batch.stage != self.stage {
            if let Some(stage) = &batch.stage {
                runs::put_stage(db, stage)?;
            }
            self.stage.clone_from(&batch.stage);
        }
        runs::append(db, &self.epoch, &batch.journal)?;
        if self.seq_mark != Some(batch.seq_mark) {
            database::keep_number(db, SEQ_MARK, batch.seq_mark)?;
            self.seq_mark = Some(batch.seq_mark);
        }
        Ok(())
    }

    /// Writes one event as row number `row`, behind one with the hash `chain`.
    fn append(
        &mut self,
        db: &Connection,
        inserter: &mut CachedStatement<'_>,
        event: &Event,
        row: u64,
        chain: &mut String,
    ) -> Result<(), Unusable> {
        if self.parents.values().map(HashMap::len).sum::<usize>() >= PARENTS_MAX {
            self.parents.clear();
        }
        let newest = self.parents.entry(event.entity_type).or_default();
        if !newest.contains_key(&event.entity_id)
            && let Some(id) = newest_of(db, event)?
        {
            newest.insert(event.entity_id.clone(), id);
        }
        let parent = newest.get(&event.entity_id).map(String::as_str);
        let parts = Parts {
            at: event.at,
            agent_id: &self.agent_id,
            entity_type: event.entity_type.name(),
            entity_id: &event.entity_id,
            operation: event.operation,
            metadata: &event.metadata,
            parents: parent.as_slice(),
        };
        let record = &mut self.record;
        record.row = row as i64;
        record.preimage.clear();
        parts.put_preimage(&mut record.preimage);
        record.id.clear();
        parts.put_identifier(&mut record.id, &record.preimage);
        record.user_id.clone_from(&event.by.user_id);
        record.action.replace_range(.., event.operation);
        record.details.clone_from(&event.metadata);
        record.timestamp.clear();
        put_timestamp(&mut record.timestamp, event.at);
        record.seq_first = event.seq_first as i64;
        record.seq_last = event.seq_last as i64;
        record.epoch.clone_from(&self.epoch);
        record.monotonic_us = event.monotonic_us as i64;
        record.applied_frame = event.applied_frame.map(|frame| frame as i64);
        let entity_type = event.entity_type.name();
        record.entity_type.replace_range(.., entity_type);
        record.entity_id.clone_from(&event.entity_id);
        record.session_id.clone_from(&event.by.session_id);
        record.role.replace_range(.., event.by.role.name());
        record.verified = event.by.verified;
        record.address.replace_range(.., &event.by.address);
        record.parents.clear();
        record.parents.push('[');
        if let Some(parent) = parent {
            put_string(&mut record.parents, parent);
        }
        record.parents.push(']');
        record.chain = record.link_in(chain, &mut self.hashed);
        record.insert(inserter)?;
        chain.clone_from(&record.chain);
        match newest.get_mut(&event.entity_id) {
            Some(newest) => newest.clone_from(&record.id),
            None => drop(newest.insert(event.entity_id.clone(), record.id.clone())),
        }
        Ok(())
    }
}

fn newest_of(db: &Connection, event: &Event) -> Result<Option<String>, Unusable> {
    let newest = db
        .prepare_cached(
            "SELECT id FROM daid_events WHERE entity_id = ?1 AND entity_type = ?2
             ORDER BY row DESC LIMIT 1",
        )?
        .query_row(params![event.entity_id, event.entity_type.name()], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(newest)
}

/// What is not among the rows of a whole state goes. Rows of an older system stay.
fn delete_others(db: &Connection, rows: &[Touched]) -> rusqlite::Result<()> {
    db.execute("DELETE FROM state", [])?;
    let mut query = db.prepare(
        "SELECT id FROM plugin_configurations
         WHERE is_legacy = 0 AND track_id IS NOT NULL AND plugin_path IS NOT NULL",
    )?;
    let present: Vec<String> = query
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in present {
        let is_wanted = |touched: &Touched| matches!(&touched.row, Row::Plugin { id: wanted, .. } if *wanted == id);
        if !rows.iter().any(is_wanted) {
            delete_plugin(db, &id)?;
        }
    }
    Ok(())
}

fn delete_plugin(db: &Connection, id: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM plugin_configurations WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// Writes a row of the state. `identifiers`: of the events that changed a row last.
fn put(
    db: &Connection,
    touched: &Touched,
    events: &[Event],
    identifiers: &HashMap<usize, String>,
) -> rusqlite::Result<()> {
    match &touched.row {
        Row::State {
            key,
            value: Some(value),
        } => {
            db.prepare_cached("INSERT OR REPLACE INTO state (key, value) VALUES (?1, ?2)")?
                .execute(params![key, value])?;
        }
        Row::State { key, value: None } => {
            db.prepare_cached("DELETE FROM state WHERE key = ?1")?
                .execute([key])?;
        }
        Row::Plugin { id, columns: None } => delete_plugin(db, id)?,
        Row::Plugin {
            id,
            columns: Some(columns),
        } => {
            let touch = touched.touch;
            if touch.is_anew {
                delete_plugin(db, id)?;
            }
            let first = touch.first.and_then(|index| events.get(index));
            let last = touch.last.and_then(|index| events.get(index));
            db.prepare_cached(
                "INSERT INTO plugin_configurations (id, track_id, name, plugin_path, bypassed, parameters,
                 substituted_for, session_id, created_by, created_at, updated_at, daid_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT (id) DO UPDATE SET track_id = ?2, name = ?3, plugin_path = ?4, bypassed = ?5,
                 parameters = ?6, substituted_for = ?7, is_legacy = 0, session_id = coalesce(?8, session_id),
                 updated_at = coalesce(?11, updated_at), daid_id = coalesce(?12, daid_id)",
            )?
            .execute(params![
                id,
                columns.track_id,
                columns.name,
                columns.plugin_path,
                columns.bypassed,
                columns.parameters,
                columns.substituted_for,
                last.map(|event| &event.by.session_id),
                first.map(|event| &event.by.user_id),
                first.map(|event| timestamp(event.at)),
                last.map(|event| timestamp(event.at)),
                touch.last.and_then(|index| identifiers.get(&index)),
            ])?;
        }
    }
    Ok(())
}
