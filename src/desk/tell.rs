//! Everyone but the sender is told: a change at a time or, for those who want them, a batch whole. Each
//! broadcast is encoded once a dialect and shared.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Desk;
use super::client::{By, Client, ClientId};
use super::interest::Interest;
use super::settle::{Answer, Settling, hash, own_id};
use crate::protocol::encode::{self, ChangedBy, Envelope, Told, frame};
use crate::protocol::{Dialect, Kind, views};
use crate::rig::{Change, What};
use crate::sync::Key;

impl Desk {
    pub(super) fn tell_others(
        &mut self,
        group: &Settling,
        at: Timestamp,
        applied_frame: Option<u64>,
    ) {
        let hears = |id: &ClientId, client: &Client| *id != group.client && client.hears();
        if !self.clients.iter().any(|(id, client)| hears(id, client)) {
            return;
        }
        let is_batch = group
            .answers
            .iter()
            .any(|answer| answer.origin.echo.is_some());
        for (change, by) in &group.changes {
            let mut frames: [Option<Utf8Bytes>; 3] = Default::default();
            let key = key_of(&change.what);
            for (id, client) in &mut self.clients {
                if !hears(id, client)
                    || (is_batch && client.wants_batches)
                    || !client.interest.wants(&change.what)
                {
                    continue;
                }
                let frame = frames[client.dialect as usize].get_or_insert_with(|| {
                    broadcast(change, by, client.dialect, at, applied_frame)
                });
                client.outbox.change(Message::Text(frame.clone()), key);
            }
        }
        if is_batch {
            self.tell_batches(group, at, applied_frame);
        }
    }

    fn tell_batches(&mut self, group: &Settling, at: Timestamp, applied_frame: Option<u64>) {
        for answer in group.answers.iter().filter(|answer| answer.applied > 0) {
            let mut frames: [Option<Utf8Bytes>; 3] = Default::default();
            let changes = &group.changes[answer.first..answer.first + answer.applied];
            for (id, client) in &mut self.clients {
                if *id == group.client || !client.hears() || !client.wants_batches {
                    continue;
                }
                let frame = if client.interest == Interest::default() {
                    let shared = &mut frames[client.dialect as usize];
                    shared
                        .get_or_insert_with(|| {
                            batch_broadcast(answer, changes, client.dialect, at, applied_frame)
                        })
                        .clone()
                } else {
                    let wanted = changes.iter();
                    let wanted = wanted.filter(|(change, _)| client.interest.wants(&change.what));
                    let wanted: Vec<_> = wanted.cloned().collect();
                    if wanted.is_empty() {
                        continue;
                    }
                    batch_broadcast(answer, &wanted, client.dialect, at, applied_frame)
                };
                client.outbox.change(Message::Text(frame), None);
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
pub(super) fn broadcast(
    change: &Change,
    by: &By,
    dialect: Dialect,
    at: Timestamp,
    applied_frame: Option<u64>,
) -> Utf8Bytes {
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
        t1_engine_call: Some(at),
    };
    let tail = ChangedBy {
        user_id: &by.user_id,
        applied_frame,
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
    changes: &[(Change, Arc<By>)],
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
