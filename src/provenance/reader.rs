//! The reader thread: answers questions about the log, one at a time, each on a connection of its own
//! that cannot write: what the writer does to the file meanwhile cannot confuse it. Nobody waits for
//! it: whoever asked is told when there is an answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::chain::Key;
use super::database::{self, Unusable};
use super::query::{self, Ask};
use super::record::Record;
use super::verify::verify;
use super::writer::Health;
use crate::protocol::encode::Fields;

/// Bytes of events in one answer; the rest is behind its cursor. Below the megabyte that clients take
/// without being told to.
const PAGE_BYTES_MAX: usize = 768 * 1024;

/// Fields of an answer, written already: the control thread only copies them.
#[derive(Debug, Default)]
pub struct Told(Vec<(&'static str, Box<RawValue>)>);

impl Told {
    fn add(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), Unread> {
        self.0.push((name, to_raw_value(value)?));
        Ok(())
    }
}

impl Fields for Told {
    fn put<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.0
            .iter()
            .try_for_each(|(name, value)| map.serialize_entry(name, value))
    }
}

/// Why there is no answer; for a person.
pub type Answer = Result<Told, String>;

enum Unread {
    Database(Unusable),
    Json(serde_json::Error),
}

impl From<rusqlite::Error> for Unread {
    fn from(error: rusqlite::Error) -> Unread {
        Unread::Database(error.into())
    }
}

impl From<Unusable> for Unread {
    fn from(error: Unusable) -> Unread {
        Unread::Database(error)
    }
}

impl From<serde_json::Error> for Unread {
    fn from(error: serde_json::Error) -> Unread {
        Unread::Json(error)
    }
}

/// The control side's end.
pub struct Reader {
    questions: SyncSender<Ask>,
    answers: Receiver<Answer>,
}

impl Reader {
    /// Starts the thread; `health` is told of each answer.
    pub fn start(path: PathBuf, key: Key, health: Arc<Health>) -> std::io::Result<Reader> {
        // One question is out at a time, so one place each is room enough.
        let (questions, asked) = sync_channel::<Ask>(1);
        let (answer, answers) = sync_channel(1);
        let library = Library { path, key };
        std::thread::Builder::new()
            .name("rigd-reader".to_owned())
            .spawn(move || {
                while let Ok(ask) = asked.recv() {
                    if answer.send(library.answer(&ask)).is_err() {
                        return;
                    }
                    health.news.notify_one();
                }
            })?;
        Ok(Reader { questions, answers })
    }

    /// Asks. Whether the thread took it: not while it holds one, and not when it is gone.
    pub fn ask(&self, ask: Ask) -> bool {
        self.questions.try_send(ask).is_ok()
    }

    /// The answer to the question that is out, when there is one.
    pub fn answer(&self) -> Option<Answer> {
        match self.answers.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("the reader has ended".to_owned())),
        }
    }
}

struct Library {
    path: PathBuf,
    key: Key,
}

impl Library {
    fn answer(&self, ask: &Ask) -> Answer {
        self.try_answer(ask).map_err(|error| match error {
            Unread::Database(error) => error.to_string(),
            Unread::Json(error) => error.to_string(),
        })
    }

    fn try_answer(&self, ask: &Ask) -> Result<Told, Unread> {
        let db = database::open_to_read(&self.path)?;
        let mut told = Told::default();
        // Everything in an answer is of one moment.
        let moment = db.unchecked_transaction()?;
        match ask {
            Ask::Query(asked) => {
                let (records, next) = query::events(&moment, asked)?;
                let (events, cut) = listed(&records)?;
                let next = cut.or(next).map(|row| row.to_string());
                told.add("events", &events)?;
                told.add("next_cursor", &next)?;
            }
            Ask::Lineage(asked) => {
                let (records, is_cut) = query::lineage(&moment, asked)?;
                let (nodes, cut) = listed(&records)?;
                told.add("nodes", &nodes)?;
                if is_cut || cut.is_some() {
                    told.add("truncated", &true)?;
                }
            }
            Ask::Verify => {
                let verdict = verify(&moment, &self.key)?;
                told.add("valid", &verdict.is_valid())?;
                told.add("rows", &verdict.rows)?;
                if let Some(row) = verdict.first_bad {
                    told.add("first_bad", &row)?;
                }
            }
        }
        Ok(told)
    }
}

/// As many as one answer holds, at least one; and the last row of them, if that is not all.
fn listed(records: &[Record]) -> Result<(Box<RawValue>, Option<i64>), Unread> {
    let mut list = String::from("[");
    let mut last = None;
    for record in records {
        let text = serde_json::to_string(record)?;
        if last.is_some() {
            if list.len() + text.len() > PAGE_BYTES_MAX {
                list.push(']');
                return Ok((RawValue::from_string(list)?, last));
            }
            list.push(',');
        }
        list.push_str(&text);
        last = Some(record.row);
    }
    list.push(']');
    Ok((RawValue::from_string(list)?, None))
}
