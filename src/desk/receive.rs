//! A message comes in: who says it, may they, how often, and what becomes of it.

use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Desk;
use super::client::{ClientId, Meters};
use super::interest::{Interest, Rules};
use super::settle::{Origin, Waiting, ack, own_id, reply_as};
use super::switches;
use crate::protocol::encode::{self, Success};
use crate::protocol::views::{self, object};
use crate::protocol::{Body, Dialect, Head, Incoming, Kind, Limits, decode};
use crate::provenance::query::Ask;
use crate::rig::{Reject, Request, is_quieting};
use crate::session::role::{Permission, Reach};

impl Desk {
    /// A text frame from a client.
    /// Says whether it came too often: then others come first.
    pub fn receive(&mut self, id: ClientId, text: &str, now: Instant) -> bool {
        self.write_down("from", id, text);
        let is_too_often = self.see_to(id, text, now);
        self.telemetry.handled(now.elapsed());
        is_too_often
    }

    fn see_to(&mut self, id: ClientId, text: &str, now: Instant) -> bool {
        let limits = Limits {
            batch_changes: self.fixed.limits.batch_changes,
        };
        let Incoming { head, body } = decode(text, limits);
        // Who speaks is awake: what it is owed comes before what it asks for.
        self.resync_if_lagging(id);
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        if client.ends.is_some() {
            return false;
        }
        let kind = head.kind.map(|(kind, _)| kind);
        self.telemetry.message(kind, text.len());
        let base_seq = head.base_seq;
        let origin = client.origin(id, head);
        let body = match body {
            Ok(body) => self.admit(id, &origin, &body, now).map(|()| body),
            // What cannot be understood counts, too; and who may not say it need not say it well.
            Err(reject) => Err(self
                .count(id, now)
                .err()
                .or_else(|| self.uninvited(id, &origin, kind, &reject))
                .unwrap_or(reject)),
        };
        let body = match body {
            Ok(body) => body,
            Err(reject) => {
                self.refuse(&origin, &reject);
                return matches!(reject, Reject::RateLimited { .. });
            }
        };
        let changes = matches!(body, Body::Change(_) | Body::Batch(_));
        if changes && self.is_repeated(&origin, now) {
            return false;
        }
        let overtaken = match (&body, base_seq) {
            (Body::Change(request), Some(base)) => self.overtaken(self.author(id), request, base),
            _ => Ok(()),
        };
        let result = overtaken.and_then(|()| self.dispatch(&origin, body, now));
        if let Err(reject) = result {
            for again in self.repeats.refused(&origin) {
                self.refuse(&again, &reject);
            }
            self.refuse(&origin, &reject);
        }
        false
    }

    /// Why a message that cannot be understood was not for this client to send, if it was not.
    fn uninvited(
        &self,
        id: ClientId,
        origin: &Origin,
        kind: Option<Kind>,
        reject: &Reject,
    ) -> Option<Reject> {
        let rights = &self.clients.get(&id)?.rights;
        let user_id = &origin.by.user_id;
        match (kind, reject) {
            (Some(kind), _) => rights.check_kind(user_id, kind).err(),
            // Before signing in there are no other messages than those that sign in.
            (None, Reject::UnknownMessageType(_)) => rights
                .check(user_id, Permission::PluginRead, Reach::None)
                .err(),
            (None, _) => None,
        }
    }

    /// Takes note of one more message.
    pub(super) fn count(&mut self, id: ClientId, now: Instant) -> Result<(), Reject> {
        let time = now.saturating_duration_since(self.started);
        match self.buckets(id, now) {
            Some(buckets) => buckets.messages.take(time),
            None => Ok(()),
        }
    }

    /// A frame from a client that is not text.
    pub fn receive_binary(&mut self, id: ClientId, bytes: usize) {
        self.telemetry.message(None, bytes);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let origin = client.origin(id, Head::default());
        let reject = Reject::message("must be a text frame: binary frames are not understood");
        let reject = self.count(id, Instant::now()).err().unwrap_or(reject);
        self.refuse(&origin, &reject);
    }

    pub(super) fn refuse(&mut self, origin: &Origin, reject: &Reject) {
        self.telemetry.refused(reject.code());
        log::debug!(client = origin.client.number(), code = reject.code(); "{}", reject.sentence());
        if let Some(client) = self.clients.get_mut(&origin.client) {
            client.refuse(origin, reject);
        }
    }

    /// Who may, and how often.
    fn admit(
        &mut self,
        id: ClientId,
        origin: &Origin,
        body: &Body,
        now: Instant,
    ) -> Result<(), Reject> {
        let time = now.saturating_duration_since(self.started);
        // The safe direction is always open.
        let is_safe = match body {
            Body::Change(Request::Panic(_)) => true,
            Body::Change(Request::TrackUpdate { track_id, fields }) => {
                is_quieting(&self.state, track_id, fields)
            }
            _ => false,
        };
        let admitted = self.count(id, now);
        if !is_safe {
            admitted?;
        }
        if let Some(client) = self.clients.get(&id) {
            let user_id = &origin.by.user_id;
            client
                .rights
                .check_message(user_id, origin.kind, body, &self.state)?;
        }
        if !is_safe {
            switches::check(&self.fixed.switches, origin.kind, origin.dialect, body)?;
        }
        let Some(buckets) = self.buckets(id, now) else {
            return Ok(());
        };
        match body {
            Body::Change(request) if request.is_operation() && !is_safe => {
                buckets.operations.take(time)
            }
            Body::Batch(batch) => {
                let admitted = buckets.batches.take(time);
                // A debounced one merges into the pending group, which costs no more than it did.
                if batch.apply_immediately {
                    admitted
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }

    fn dispatch(&mut self, origin: &Origin, body: Body, now: Instant) -> Result<(), Reject> {
        match body {
            Body::Change(request) => self.change(origin, request, now),
            Body::Batch(batch) => self.batch(origin, batch, now),
            Body::ParametersGet(plugin) => {
                let data = self.parameters(&plugin, origin)?;
                self.say_when_settled(origin, &data, now);
                Ok(())
            }
            Body::PresetsGet(plugin) => {
                let (track_id, found) = self.find(&plugin)?;
                let presets = views::presets(&self.state.presets, found);
                let data = object(json!({
                    "track_id": track_id, "plugin_id": plugin.plugin_id, "presets": presets, "success": true,
                }));
                self.say_when_settled(origin, &data, now);
                Ok(())
            }
            Body::ChainsGet => {
                let data =
                    object(json!({ "presets": views::chains(&self.state), "success": true }));
                self.say_when_settled(origin, &data, now);
                Ok(())
            }
            Body::TrackList => {
                let data = object(json!({ "tracks": views::tracks(&self.state), "success": true }));
                self.say_when_settled(origin, &data, now);
                Ok(())
            }
            Body::StateGet => {
                let mut frames = vec![self.snapshot(origin, now)];
                if origin.requires_ack {
                    frames.push(ack(origin, Ok(&Success), self.is_disk_alive()));
                }
                self.frames_when_settled(origin.client, frames, false, now);
                Ok(())
            }
            Body::StateResume { since_seq, epoch } => {
                self.resume(origin, since_seq, epoch.as_deref(), now);
                Ok(())
            }
            Body::Subscribe {
                track_ids,
                plugin_ids,
                types,
            } => self.subscribe(
                origin,
                Interest {
                    track_ids,
                    plugin_ids,
                    types,
                },
            ),
            Body::StatusGet => {
                self.read_reports(now);
                self.say(origin, &self.status(now))
            }
            Body::PluginList => self.say(origin, &(Success, views::plugin_list())),
            Body::Features { batch, dialect } => self.features(origin, batch, dialect),
            Body::MetersSubscribe { rate_hz, binary } => {
                if let Some(client) = self.clients.get_mut(&origin.client) {
                    client.meters = Some(Box::new(Meters::new(rate_hz, binary, now)));
                }
                let format = if binary { "binary" } else { "json" };
                self.say(
                    origin,
                    &object(json!({ "rate_hz": rate_hz, "format": format, "success": true })),
                )
            }
            Body::MetersUnsubscribe => {
                if let Some(client) = self.clients.get_mut(&origin.client) {
                    client.meters = None;
                }
                self.say(origin, &Success)
            }
            Body::Heartbeat(data) => {
                if serde_json::from_str::<Value>(data.get()).is_err() {
                    let reason = "holds a number that is too large, or text that is not Unicode";
                    return Err(Reject::field("data", reason));
                }
                self.say_as(origin, "heartbeat_response", &Echo(data))
            }
            Body::Cursor(data) => {
                self.relay_cursor(origin, &data);
                Ok(())
            }
            Body::Log(ask) => self.ask_log(origin, ask, now),
            Body::Session(ask) => self.session(origin, ask, now),
            Body::Device(ask) => self.device(origin, ask, now),
            Body::Auth {
                token,
                user_id,
                session_id,
            } => self.auth(origin, token, user_id, session_id),
        }
    }

    fn features(
        &mut self,
        origin: &Origin,
        batch: Option<bool>,
        dialect: Option<Dialect>,
    ) -> Result<(), Reject> {
        let Some(client) = self.clients.get_mut(&origin.client) else {
            return Ok(());
        };
        if let Some(wants_batches) = batch {
            let interest = client.rules.interest.clone();
            client.hear_by(Rules {
                interest,
                wants_batches,
            });
        }
        if let Some(dialect) = dialect {
            client.dialect = dialect;
            client.dialect_is_fixed = true;
        }
        let data = object(json!({
            "batch": client.rules.wants_batches, "dialect": client.dialect.name(), "success": true,
        }));
        self.say(origin, &data)
    }

    fn relay_cursor(&mut self, origin: &Origin, data: &RawValue) {
        let data: Value = serde_json::from_str(data.get()).unwrap_or_default();
        let data = data.as_object().cloned();
        let mut relayed = origin.clone();
        relayed.id = own_id();
        relayed.t0_timestamp = None;
        let frame = reply_as(&relayed, "USER_CURSOR_UPDATE", None, None, &data);
        for (id, client) in &mut self.clients {
            let is_there = client.visit.is_none() && *id != origin.client;
            if is_there && client.by.session_id == origin.by.session_id {
                client.outbox.news(Message::Text(frame.clone()), None);
            }
        }
    }

    /// A question about the log waits for what was accepted before it, too.
    pub(super) fn log_when_settled(&mut self, origin: &Origin, ask: Ask, now: Instant) {
        let origin = Box::new(origin.clone());
        self.handover
            .wait_for_last(Waiting::Question { origin, ask }, now);
        self.settle_what_is_applied(now);
    }

    pub(super) fn say<F: encode::Fields>(
        &mut self,
        origin: &Origin,
        data: &F,
    ) -> Result<(), Reject> {
        self.say_as(origin, origin.kind.name(origin.dialect), data)
    }

    pub(super) fn say_as<F: encode::Fields>(
        &mut self,
        origin: &Origin,
        kind: &str,
        data: &F,
    ) -> Result<(), Reject> {
        let durable = self.is_disk_alive();
        if let Some(client) = self.clients.get_mut(&origin.client) {
            for frame in answer_frames(origin, kind, None, data, durable) {
                client.outbox.reply(Message::Text(frame));
            }
        }
        Ok(())
    }

    /// What is read is what is applied: the answer waits for what was accepted before it.
    fn say_when_settled<F: encode::Fields>(&mut self, origin: &Origin, data: &F, now: Instant) {
        let kind = origin.kind.name(origin.dialect);
        let frames = answer_frames(origin, kind, None, data, self.is_disk_alive());
        self.frames_when_settled(origin.client, frames, false, now);
    }

    pub(super) fn frames_when_settled(
        &mut self,
        client: ClientId,
        frames: Vec<Utf8Bytes>,
        is_resync: bool,
        now: Instant,
    ) {
        self.handover.wait_for_last(
            Waiting::Frames {
                client,
                frames,
                is_resync,
            },
            now,
        );
        self.settle_what_is_applied(now);
    }
}

/// A reply, and the `ack` behind it if one is wanted.
pub(super) fn answer_frames<F: encode::Fields>(
    origin: &Origin,
    kind: &str,
    seq: Option<u64>,
    data: &F,
    durable: bool,
) -> Vec<Utf8Bytes> {
    let mut frames = vec![reply_as(origin, kind, seq, None, data)];
    if origin.requires_ack {
        frames.push(ack(origin, Ok(data), durable));
    }
    frames
}

/// Any JSON as a message's data, as it came.
struct Echo(Box<RawValue>);

impl encode::Fields for Echo {
    fn put<M: serde::ser::SerializeMap>(&self, _: &mut M) -> Result<(), M::Error> {
        Ok(())
    }

    fn verbatim(&self) -> Option<&RawValue> {
        (self.0.get() != "null").then_some(&*self.0)
    }
}
