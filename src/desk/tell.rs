//! Everyone but the sender is told: a change at a time or, for those who want them, a batch whole. Each
//! broadcast is encoded once a dialect, when the first has room for it, and shared.

use std::cell::OnceCell;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Desk;
use super::client::{By, ClientId};
use super::history::Past;
use super::interest::Interest;
use super::settle::{Answer, Settling, hash, own_id};
use crate::protocol::encode::{self, ChangedBy, Envelope, Told, frame};
use crate::protocol::{Dialect, Kind, views};
use crate::rig::{Change, What};
use crate::sync::Key;

/// A change on its way to everyone but its sender.
pub struct Broadcast {
    past: Past,
    sender: ClientId,
    /// Those who want batches hear of it in one.
    in_batch: bool,
    /// What was encoded so far, by dialect.
    frames: [OnceCell<Utf8Bytes>; 3],
}

impl Broadcast {
    fn frame(&self, dialect: Dialect) -> Message {
        let frame = self.frames[dialect as usize].get_or_init(|| broadcast(&self.past, dialect));
        Message::Text(frame.clone())
    }
}

impl Desk {
    pub(super) fn tell_others(
        &mut self,
        group: &Settling,
        at: Timestamp,
        applied_frame: Option<u64>,
    ) {
        let in_batch = group
            .answers
            .iter()
            .any(|answer| answer.origin.echo.is_some());
        let is_on = self.fixed.switches.enable_session_broadcasting;
        let is_alone = !is_on || self.clients.keys().all(|id| *id == group.client);
        let before = self.stream.end();
        for (change, by) in &group.changes {
            let past = Past {
                change: Arc::clone(change),
                by: Arc::clone(by),
                at,
                applied_frame,
            };
            if !is_alone {
                let key = key_of(&change.what);
                let broadcast = Broadcast {
                    past: past.clone(),
                    sender: group.client,
                    in_batch,
                    frames: Default::default(),
                };
                self.stream.push(broadcast, key);
            }
            self.history.push(past);
        }
        if let Some(sender) = self.clients.get_mut(&group.client) {
            sender.outbox.knows_since(before);
        }
        for id in self.asleep.drain(..) {
            if let Some(client) = self.clients.get_mut(&id) {
                client.is_asleep = false;
                client.outbox.wake();
            }
        }
        if in_batch && is_on {
            self.tell_batches(group, at, applied_frame);
        }
    }

    /// What a client hears next; with nothing to hear, it is woken when there is something.
    pub(super) fn pop_frame(&mut self, id: ClientId) -> Option<Message> {
        let client = self.clients.get_mut(&id)?;
        let (hears, dialect) = (client.hears(), client.dialect);
        let frame = client.outbox.pop(&self.stream, |rules, told: &Broadcast| {
            let is_heard = told.sender != id
                && hears
                && !(told.in_batch && rules.wants_batches)
                && rules.interest.wants(&told.past.change.what);
            is_heard.then(|| told.frame(dialect))
        });
        if frame.is_none() && !client.is_asleep {
            client.is_asleep = true;
            self.asleep.push(id);
        }
        frame
    }

    fn tell_batches(&mut self, group: &Settling, at: Timestamp, applied_frame: Option<u64>) {
        for answer in group.answers.iter().filter(|answer| answer.applied > 0) {
            let mut frames: [Option<Utf8Bytes>; 3] = Default::default();
            let changes = &group.changes[answer.first..answer.first + answer.applied];
            for (id, client) in &mut self.clients {
                if *id == group.client || !client.hears() || !client.rules.wants_batches {
                    continue;
                }
                let frame = if client.rules.interest == Interest::default() {
                    let shared = &mut frames[client.dialect as usize];
                    shared
                        .get_or_insert_with(|| {
                            batch_broadcast(answer, changes, client.dialect, at, applied_frame)
                        })
                        .clone()
                } else {
                    let wanted = changes.iter();
                    let wanted =
                        wanted.filter(|(change, _)| client.rules.interest.wants(&change.what));
                    let wanted: Vec<_> = wanted.cloned().collect();
                    if wanted.is_empty() {
                        continue;
                    }
                    batch_broadcast(answer, &wanted, client.dialect, at, applied_frame)
                };
                client.outbox.news(Message::Text(frame), None);
            }
        }
    }
}

fn key_of(what: &What) -> Option<Key> {
    match what {
        What::Parameter {
            plugin_id,
            parameter_id,
            ..
        } => Some(hash(&(plugin_id, parameter_id))),
        _ => None,
    }
}

/// A change as others are told of it.
pub(super) fn broadcast(past: &Past, dialect: Dialect) -> Utf8Bytes {
    let Past {
        change,
        by,
        at,
        applied_frame,
    } = past;
    let kind = encode::kind_of(&change.what);
    let is_legacy = kind.is_legacy(dialect);
    let envelope = Envelope {
        id: &own_id(),
        kind: kind.name(dialect),
        timestamp: Timestamp::now(),
        user_id: &by.user_id,
        session_id: &by.session_id,
        seq: Some(change.seq),
        t0_timestamp: None,
        t1_engine_call: Some(*at),
    };
    let tail = ChangedBy {
        user_id: &by.user_id,
        applied_frame: *applied_frame,
        is_legacy,
    };
    frame(
        envelope,
        &(
            Told {
                what: &change.what,
                dialect,
            },
            tail,
        ),
        is_legacy,
    )
}

fn batch_broadcast(
    answer: &Answer,
    changes: &[(Arc<Change>, Arc<By>)],
    dialect: Dialect,
    at: Timestamp,
    applied_frame: Option<u64>,
) -> Utf8Bytes {
    let by = &answer.origin.by;
    let list: Vec<Value> = changes
        .iter()
        .filter_map(|(change, _)| match &change.what {
            What::Parameter {
                track_id,
                plugin_id,
                parameter_id,
                value,
            } => Some(json!({
                "track_id": track_id,
                "plugin_id": plugin_id,
                "parameter_id": parameter_id,
                "value": value,
                "seq": change.seq,
            })),
            _ => None,
        })
        .collect();
    let batch_id = answer.origin.echo.as_ref().map(|echo| &echo.batch_id);
    let data = views::object(json!({ "batch_id": batch_id, "changes": list }));
    let envelope = Envelope {
        id: &own_id(),
        kind: Kind::PluginParameterBatch.name(dialect),
        timestamp: Timestamp::now(),
        user_id: &by.user_id,
        session_id: &by.session_id,
        seq: changes.last().map(|(change, _)| change.seq),
        t0_timestamp: None,
        t1_engine_call: Some(at),
    };
    let tail = ChangedBy {
        user_id: &by.user_id,
        applied_frame,
        is_legacy: false,
    };
    frame(envelope, &(data, tail), false)
}
