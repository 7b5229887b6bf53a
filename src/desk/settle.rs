//! A group is applied: its sender gets the reply (and the `ack`), everyone else the broadcast, in
//! the order of the numbers.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Desk;
use super::client::{By, Client, ClientId, Resync};
use super::handover::InFlight;
use super::repeats::Given;
use crate::protocol::encode::{self, Envelope, Fields, Micros, Outcome, Told, frame, raw};
use crate::protocol::{Dialect, Kind, views};
use crate::provenance::query::Ask;
use crate::provenance::recorder::Circumstances;
use crate::rig::{Change, Reject, What};
use crate::sync::Key;

/// How long an answer waits for an engine that does not move.
const ENGINE_PATIENCE: Duration = Duration::from_millis(60);
/// Answers that are made before those who get them have their turn.
const SETTLED_AT_ONCE: usize = 64;
/// Acks that wait for the disk.
const ACKS_MAX: usize = 16_384;
/// Views of one plugin come at most this often.
const VIEW_EVERY: Duration = Duration::from_millis(50);

/// Whom to answer, and how.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The connection.
    pub client: ClientId,
    /// The message's id.
    pub id: String,
    /// Whose message it is.
    pub by: Arc<By>,
    /// What it was.
    pub kind: Kind,
    /// As it was spelt.
    pub dialect: Dialect,
    /// Echoed.
    pub t0_timestamp: Option<Box<RawValue>>,
    /// An `ack` is wanted too.
    pub requires_ack: bool,
    /// Names the message, should it come again.
    pub idempotency_key: Option<String>,
    /// What a batch's reply repeats.
    pub echo: Option<Box<BatchEcho>>,
}

/// What a batch's reply repeats.
#[derive(Clone, Debug)]
pub struct BatchEcho {
    /// The server's name for it.
    pub batch_id: String,
    /// In effect.
    pub debounce_ms: u64,
    /// As it came.
    pub apply_immediately: bool,
}

/// An answer that is owed.
pub struct Answer {
    /// To whom.
    pub origin: Origin,
    /// Index of its first change in the group.
    pub first: usize,
    /// How many changes of the group are its own.
    pub applied: usize,
    /// How many were replaced before they were applied.
    pub superseded: usize,
}

/// An `ack` that waits for the disk.
pub struct OwedAck {
    origin: Origin,
    data: Option<Box<RawValue>>,
    /// `None`: it will never be on disk.
    ticket: Option<u64>,
    since: Instant,
}

/// A group of changes that is on its way.
pub struct Settling {
    /// Who gets replies instead of broadcasts.
    pub client: ClientId,
    /// In order, each with whose it is.
    pub changes: Vec<(Arc<Change>, Arc<By>)>,
    /// In order.
    pub answers: Vec<Answer>,
}

/// What waits for the engine.
pub enum Waiting {
    /// Changes.
    Changes(Settling),
    /// Frames that may only go out when everything before them has.
    Frames {
        /// To whom.
        client: ClientId,
        /// Ready to send.
        frames: Vec<Utf8Bytes>,
        /// Whether it brings a lagging client up to date.
        is_resync: bool,
    },
    /// A question about the log.
    Question {
        /// Whose.
        origin: Box<Origin>,
        /// What is asked.
        ask: Ask,
    },
}

/// What the upper dialect's watchers of one plugin still have to be shown.
pub struct View {
    changed_by: String,
    /// The only connection that changed it since the last view, which needs no view then.
    only_by: Option<ClientId>,
    is_dirty: bool,
    sent: Option<Instant>,
}

impl View {
    /// When it is to be sent.
    pub fn due(&self) -> Option<Instant> {
        self.is_dirty.then_some(self.sent? + VIEW_EVERY)
    }
}

/// An id for a message of the server's own.
pub fn own_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("rigd_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A message of the server's own to one client.
pub fn own<F: Fields>(kind: &str, client: &Client, data: &F) -> Utf8Bytes {
    own_by(kind, &client.by, None, data)
}

fn own_by<F: Fields>(kind: &str, by: &By, seq: Option<u64>, data: &F) -> Utf8Bytes {
    let envelope = Envelope {
        id: &own_id(),
        kind,
        timestamp: Timestamp::now(),
        user_id: &by.user_id,
        session_id: &by.session_id,
        seq,
        t0_timestamp: None,
        t1_engine_call: None,
    };
    frame(envelope, data, false)
}

/// A reply to a message.
pub fn reply_as<F: Fields>(
    origin: &Origin,
    kind: &str,
    seq: Option<u64>,
    t1: Option<Timestamp>,
    data: &F,
) -> Utf8Bytes {
    let envelope = Envelope {
        id: &origin.id,
        kind,
        timestamp: Timestamp::now(),
        user_id: &origin.by.user_id,
        session_id: &origin.by.session_id,
        seq,
        t0_timestamp: origin.t0_timestamp.as_deref(),
        t1_engine_call: t1,
    };
    let is_flat = kind != "ERROR" && origin.kind.is_legacy(origin.dialect);
    frame(envelope, data, is_flat)
}

/// The `ack` behind a reply or an error. `durable`: nothing that was read or done could be lost.
pub fn ack(origin: &Origin, result: Result<&impl Fields, &Reject>, durable: bool) -> Utf8Bytes {
    match result {
        Ok(data) => ack_of(origin, true, "applied", raw(data), durable),
        Err(reject) => {
            let data = raw(&encode::error(reject));
            ack_of(origin, false, &reject.sentence(), data, false)
        }
    }
}

fn ack_of(
    origin: &Origin,
    success: bool,
    message: &str,
    data: Option<Box<RawValue>>,
    durable: bool,
) -> Utf8Bytes {
    let fields = AckFields {
        origin,
        success,
        message,
        data,
        durable,
    };
    own_by("ack", &origin.by, None, &fields)
}

struct AckFields<'a> {
    origin: &'a Origin,
    success: bool,
    message: &'a str,
    data: Option<Box<RawValue>>,
    durable: bool,
}

impl Fields for AckFields<'_> {
    fn put<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("original_message_id", &self.origin.id)?;
        map.serialize_entry("success", &self.success)?;
        map.serialize_entry("message", self.message)?;
        map.serialize_entry("timestamp", &Micros(Timestamp::now()))?;
        map.serialize_entry("durable", &self.durable)?;
        map.serialize_entry("data", &self.data)
    }
}

impl Fields for Option<Map<String, Value>> {
    fn put<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.iter().try_for_each(|fields| fields.put(map))
    }
}

impl Desk {
    /// Settles some of what waits for nothing more. The rest comes with the next tick: meanwhile these
    /// answers leave.
    pub(super) fn settle_some(&mut self, now: Instant) {
        for _ in 0..SETTLED_AT_ONCE {
            let Some((settled, frame)) = self.handover.take_applied(self.telemetry.frame()) else {
                return;
            };
            self.settle(settled, Some(frame), now);
        }
    }

    /// Settles what waits for nothing more.
    pub(super) fn settle_what_is_applied(&mut self, now: Instant) {
        while self.handover.owes() {
            self.settle_some(now);
        }
    }

    /// With no engine running, answers do not wait: what they answer is kept.
    pub(super) fn give_up_waiting(&mut self, now: Instant) {
        if !self.handover.is_waiting() || self.is_engine_alive(now) {
            return;
        }
        let patience = if self.handover.is_attached() {
            ENGINE_PATIENCE
        } else {
            Duration::ZERO
        };
        let Some(before) = now.checked_sub(patience) else {
            return;
        };
        self.settle_what_is_applied(now);
        while let Some(settled) = self.handover.take_older(before) {
            self.settle(settled, None, now);
        }
    }

    fn settle(&mut self, settled: InFlight, applied_frame: Option<u64>, now: Instant) {
        let changes = match settled.waiting {
            Waiting::Changes(changes) => changes,
            Waiting::Question { origin, ask } => {
                self.queue_question(*origin, ask);
                return;
            }
            Waiting::Frames {
                client,
                frames,
                is_resync,
            } => {
                let Some(client) = self.clients.get_mut(&client) else {
                    return;
                };
                if is_resync {
                    client.resync = Resync::Queued;
                    client.outbox.caught_up();
                }
                frames
                    .into_iter()
                    .for_each(|frame| client.outbox.state(Message::Text(frame)));
                return;
            }
        };
        let latency = now.saturating_duration_since(settled.since);
        let outcome = Outcome {
            applied_frame,
            engine_latency_us: applied_frame.map(|_| latency.as_micros() as u64),
        };
        if applied_frame.is_some() {
            self.telemetry.applied(latency);
        }
        let ticket = self.record(&changes, settled.at, applied_frame, now);
        for (change, by) in &changes.changes {
            log::debug!(seq = change.seq; "change {} by {}", change.seq, by.user_id);
        }
        self.tell_others(&changes, settled.at, applied_frame);
        self.answer(&changes, settled.at, outcome, ticket);
        if let Some((change, _)) = changes.changes.last() {
            self.settled_seq = change.seq;
            if self.news.receiver_count() > 0 {
                self.news.send_replace(change.seq);
            }
        }
        self.watch_plugins(&changes);
    }

    /// Puts a group on record. The ticket says when all of it is on disk, if that is awaited; `None`:
    /// something of it never will be.
    fn record(
        &mut self,
        group: &Settling,
        at: Timestamp,
        applied_frame: Option<u64>,
        now: Instant,
    ) -> Option<u64> {
        let now = now.saturating_duration_since(self.started);
        let is_awaited = group
            .answers
            .iter()
            .any(|answer| answer.origin.requires_ack);
        let log = self.log.as_mut()?;
        let mut ticket = Some(0);
        for (change, by) in &group.changes {
            let how = Circumstances {
                at,
                now,
                applied_frame,
                is_awaited,
            };
            let recorded = log.record(change, by, how);
            ticket = ticket.and(recorded);
        }
        ticket
    }

    /// Whether what has no change in it counts as kept: the disk has not failed.
    pub(super) fn is_disk_alive(&self) -> bool {
        let log = self.log.as_ref();
        log.is_some_and(|log| !log.is_dead())
    }

    /// Acknowledges what is on disk by now, and what a dead disk will not take.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        let (synced, is_dead) = match &self.log {
            Some(log) => (log.synced(), log.is_dead()),
            None => (0, true),
        };
        while let Some(owed) = self.acks.front() {
            let durable = owed.ticket.is_some_and(|ticket| ticket <= synced) && self.log.is_some();
            if !durable && !is_dead && owed.ticket.is_some() && self.acks.len() <= ACKS_MAX {
                return;
            }
            let Some(owed) = self.acks.pop_front() else {
                return;
            };
            if durable {
                let latency = now.saturating_duration_since(owed.since);
                self.telemetry.kept(latency);
            }
            if let Some(client) = self.clients.get_mut(&owed.origin.client) {
                let frame = ack_of(&owed.origin, true, "applied", owed.data, durable);
                client.outbox.reply(Message::Text(frame));
            }
        }
    }

    fn answer(&mut self, group: &Settling, at: Timestamp, outcome: Outcome, ticket: Option<u64>) {
        for answer in &group.answers {
            let origin = &answer.origin;
            let changes = &group.changes[answer.first..answer.first + answer.applied];
            let seq = changes.last().map(|(change, _)| change.seq);
            match (&origin.echo, changes) {
                (Some(echo), _) => {
                    let echo = views::object(json!({
                        "batch_id": echo.batch_id,
                        "applied": answer.applied,
                        "superseded": answer.superseded,
                        "debounce_ms": echo.debounce_ms,
                        "apply_immediately": echo.apply_immediately,
                    }));
                    match seq {
                        Some(_) => self.give(origin, seq, Some(at), &(echo, outcome), ticket),
                        // What was superseded altogether never reached the engine, and has nothing that
                        // could be lost.
                        None => self.give(origin, None, None, &(echo, Outcome::NONE), Some(0)),
                    }
                }
                // Of several changes the last one says what they came to.
                (None, [.., (change, _)]) => {
                    let extra = match &change.what {
                        What::PresetSaved { kind, .. } => Some(views::object(
                            json!({ "presets": views::presets(&self.state.presets, *kind) }),
                        )),
                        What::ChainSaved { .. } => Some(views::object(
                            json!({ "presets": views::chains(&self.state) }),
                        )),
                        _ => None,
                    };
                    let told = Told {
                        what: &change.what,
                        dialect: origin.dialect,
                    };
                    self.give(origin, seq, Some(at), &((told, extra), outcome), ticket);
                }
                (None, []) => {}
            }
        }
    }

    /// Replies to a change, remembers the reply if it may be asked for again, and owes the `ack` if one
    /// is wanted.
    pub(super) fn give<F: Fields>(
        &mut self,
        origin: &Origin,
        seq: Option<u64>,
        t1: Option<Timestamp>,
        data: &F,
        ticket: Option<u64>,
    ) {
        let kind = origin.kind.name(origin.dialect);
        if let Some(client) = self.clients.get_mut(&origin.client) {
            let frame = reply_as(origin, kind, seq, t1, data);
            client.outbox.reply(Message::Text(frame));
        }
        if origin.requires_ack {
            self.acks.push_back(OwedAck {
                origin: origin.clone(),
                data: raw(data),
                ticket,
                since: Instant::now(),
            });
        }
        if origin.idempotency_key.is_none() {
            return;
        }
        let Some(data) = raw(data) else { return };
        let given = Given {
            kind,
            seq,
            t1,
            data,
            ticket,
        };
        for again in self.repeats.answered(origin, given.clone()) {
            self.answer_again(&again, &given);
        }
    }

    /// The same answer to the same message.
    pub(super) fn answer_again(&mut self, origin: &Origin, given: &Given) {
        let data: Map<String, Value> = serde_json::from_str(given.data.get()).unwrap_or_default();
        if let Some(client) = self.clients.get_mut(&origin.client) {
            let frame = reply_as(origin, given.kind, given.seq, given.t1, &data);
            client.outbox.reply(Message::Text(frame));
        }
        if origin.requires_ack {
            self.acks.push_back(OwedAck {
                origin: origin.clone(),
                data: Some(given.data.clone()),
                ticket: given.ticket,
                since: Instant::now(),
            });
        }
    }

    /// Notes which plugins the upper dialect's clients must be shown.
    fn watch_plugins(&mut self, group: &Settling) {
        let is_upper = |client: &Client| client.dialect == Dialect::Upper;
        let is_on = self.fixed.switches.enable_session_broadcasting;
        if !is_on || !self.clients.values().any(is_upper) {
            return;
        }
        for (change, by) in &group.changes {
            let Some(plugin_id) = change.what.plugin_id() else {
                continue;
            };
            let view = self
                .views
                .entry(plugin_id.to_owned())
                .or_insert_with(|| View {
                    changed_by: String::new(),
                    only_by: Some(group.client),
                    is_dirty: false,
                    sent: None,
                });
            if !view.is_dirty {
                view.only_by = Some(group.client);
            } else if view.only_by != Some(group.client) {
                view.only_by = None;
            }
            view.is_dirty = true;
            view.changed_by.clone_from(&by.user_id);
        }
    }

    /// Shows the upper dialect's clients the plugins that changed, each at most once in 50 ms.
    pub(super) fn send_views(&mut self, now: Instant) {
        for (plugin_id, view) in &mut self.views {
            let is_due = view.sent.is_none_or(|sent| now >= sent + VIEW_EVERY);
            if !view.is_dirty || !is_due {
                continue;
            }
            view.is_dirty = false;
            view.sent = Some(now);
            let Some((track, plugin)) = self.state.plugin(plugin_id) else {
                continue;
            };
            let data = views::object(json!({
                "track_id": track.id,
                "plugin_id": plugin_id,
                "state": {
                    "bypassed": plugin.bypassed,
                    "parameters": views::Parameters(plugin.kind, &plugin.values),
                },
                "changed_by": view.changed_by,
                "timestamp": Micros(Timestamp::now()).to_string(),
            }));
            let by = By {
                user_id: view.changed_by.clone(),
                session_id: String::new(),
                ..By::rig()
            };
            let mut frame = None;
            for (id, client) in &mut self.clients {
                if client.dialect != Dialect::Upper
                    || !client.hears()
                    || view.only_by == Some(*id)
                    || !client.rules.interest.wants_view(&track.id, plugin_id)
                {
                    continue;
                }
                let frame: &Utf8Bytes = frame.get_or_insert_with(|| {
                    own_by("PLUGIN_STATE_UPDATE", &by, Some(plugin.seq), &data)
                });
                client.outbox.news(
                    Message::Text(frame.clone()),
                    Some(hash(&("view", plugin_id))),
                );
            }
        }
        self.views.retain(|_, view| {
            view.is_dirty || view.sent.is_some_and(|sent| now < sent + VIEW_EVERY)
        });
    }
}

impl Client {
    /// Refuses, and acknowledges that if it was asked for.
    pub(super) fn refuse(&mut self, origin: &Origin, reject: &Reject) {
        let frame = reply_as(origin, "ERROR", None, None, &encode::error(reject));
        self.outbox.reply(Message::Text(frame));
        if origin.requires_ack {
            self.outbox.reply(Message::Text(ack(
                origin,
                Err::<&Map<String, Value>, _>(reject),
                false,
            )));
        }
    }
}

/// Names something for coalescing.
pub fn hash(value: &impl Hash) -> Key {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
