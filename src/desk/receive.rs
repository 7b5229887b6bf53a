//! A message comes in: who says it, may they, how often, and what becomes of it.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Desk;
use super::client::{By, Client, ClientId, Meters, Resync};
use super::interest::Interest;
use super::settle::{Answer, BatchEcho, Origin, Settling, Waiting, ack, own_id, reply_as};
use crate::protocol::decode::Batch;
use crate::protocol::encode::{self, Success};
use crate::protocol::views::{self, object};
use crate::protocol::{Body, Dialect, Head, Incoming, Kind, Limits, decode};
use crate::provenance::query::Ask;
use crate::rig::batch::{as_request, check_batch, debounce_ms, last_of_each, overtake};
use crate::rig::{Accepted, PluginRef, Reject, Request, What, apply, is_quieting};
use crate::session::{Bucket, Buckets, Role};
use crate::sync::Outbox;

/// Operations may come in bursts of so many seconds' worth.
const OPERATIONS_BURST_S: u32 = 2;
/// What a message without any claim is from.
const LEGACY: (&str, &str) = ("legacy_user", "legacy_session");

impl Desk {
    /// A client is there; it is told so.
    pub fn connect(&mut self, connection_id: String, address: &str) -> ClientId {
        self.next_client += 1;
        let id = ClientId(self.next_client);
        let limits = &self.fixed.limits;
        let bucket =
            |name, per_s: u32, burst: u32| Bucket::new(name, f64::from(per_s), f64::from(burst));
        let mut client = Client {
            connection_id,
            role: self.fixed.anonymous,
            by: Arc::new(By {
                user_id: LEGACY.0.to_owned(),
                session_id: LEGACY.1.to_owned(),
                role: self.fixed.anonymous,
                verified: false,
                address: address.into(),
            }),
            auth_user_id: None,
            auth_session_id: None,
            dialect: Dialect::default(),
            dialect_is_fixed: false,
            is_fresh: true,
            interest: Interest::default(),
            wants_batches: false,
            meters: None,
            buckets: Buckets {
                messages: bucket(
                    "messages_per_s",
                    limits.messages_per_s,
                    limits.message_burst,
                ),
                batches: bucket("batches_per_s", limits.batches_per_s, limits.batches_per_s),
                operations: bucket(
                    "operations_per_s",
                    limits.operations_per_s,
                    limits.operations_per_s * OPERATIONS_BURST_S,
                ),
            },
            legacy_ids: 0,
            resync: Resync::None,
            outbox: Outbox::new(limits.backlog_messages),
        };
        let status = object(json!({
            "connected": true,
            "connection_id": client.connection_id,
            "server": concat!("rigd/", env!("CARGO_PKG_VERSION")),
            "protocol": 1,
            "authenticated": false,
            "seq": self.settled_seq,
            "epoch": self.fixed.epoch,
        }));
        let frame = super::settle::own("connection.status", &client, &status);
        client.outbox.reply(Message::Text(frame));
        self.clients.insert(id, client);
        id
    }

    /// A client is gone. What it has pending is applied all the same.
    pub fn disconnect(&mut self, id: ClientId) {
        self.clients.remove(&id);
    }

    /// A client, while it is there.
    pub fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// A text frame from a client.
    pub fn receive(&mut self, id: ClientId, text: &str, now: Instant) {
        let limits = Limits {
            batch_changes: self.fixed.limits.batch_changes,
        };
        let Incoming { head, body } = decode(text, limits);
        // Who speaks is awake: what it is owed comes before what it asks for.
        self.resync_if_lagging(id);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        self.telemetry.message();
        let base_seq = head.base_seq;
        let origin = client.origin(id, head);
        let body = body.and_then(|body| {
            self.admit(id, &origin, &body, now)?;
            Ok(body)
        });
        let body = match body {
            Ok(body) => body,
            Err(reject) => return self.refuse(&origin, &reject),
        };
        let changes = matches!(body, Body::Change(_) | Body::Batch(_));
        if changes && self.is_repeated(&origin, now) {
            return;
        }
        let overtaken = match (&body, base_seq) {
            (Body::Change(request), Some(base)) => self.overtaken(id, request, base),
            _ => Ok(()),
        };
        let result = overtaken.and_then(|()| self.dispatch(&origin, body, now));
        if let Err(reject) = result {
            for again in self.repeats.refused(&origin) {
                self.refuse(&again, &reject);
            }
            self.refuse(&origin, &reject);
        }
    }

    /// A frame from a client that is not text.
    pub fn receive_binary(&mut self, id: ClientId) {
        self.telemetry.message();
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let origin = client.origin(id, Head::default());
        self.refuse(
            &origin,
            &Reject::message("must be a text frame: binary frames are not understood"),
        );
    }

    pub(super) fn refuse(&mut self, origin: &Origin, reject: &Reject) {
        self.telemetry.refused(reject.code());
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
        let Some(client) = self.clients.get_mut(&id) else {
            return Ok(());
        };
        let admitted = client.buckets.messages.take(time);
        if !is_safe {
            admitted?;
        }
        client.role.check(&origin.by.user_id, body)?;
        match body {
            Body::Change(request) if request.is_operation() && !is_safe => {
                client.buckets.operations.take(time)
            }
            Body::Batch(batch) => {
                let admitted = client.buckets.batches.take(time);
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
                let data: Value = serde_json::from_str(data.get()).unwrap_or_default();
                self.say_as(origin, "heartbeat_response", &Echo(data))
            }
            Body::Cursor(data) => {
                self.relay_cursor(origin, &data);
                Ok(())
            }
            Body::Log(ask) => self.ask_log(origin, ask, now),
            Body::Auth {
                token,
                user_id,
                session_id,
            } => self.auth(origin, token, user_id, session_id),
        }
    }

    fn change(&mut self, origin: &Origin, request: Request, now: Instant) -> Result<(), Reject> {
        if request.is_operation() && self.handover.is_choked() {
            return Err(Reject::EngineError(
                "the engine stands still; try again when it runs".to_owned(),
            ));
        }
        let accepted = apply(&mut self.state, request)?;
        self.overtake(&accepted);
        self.note(origin.client, &accepted);
        let by = Arc::clone(&origin.by);
        let changes: Vec<_> = accepted
            .changes
            .into_iter()
            .map(|change| (change, Arc::clone(&by)))
            .collect();
        let applied = changes.len();
        let answer = Answer {
            origin: origin.clone(),
            first: 0,
            applied,
            superseded: 0,
        };
        let settling = Settling {
            client: origin.client,
            changes,
            answers: vec![answer],
        };
        self.handover
            .hand_over(&accepted.commands, Waiting::Changes(settling), now);
        Ok(())
    }

    /// Remembers who changed what.
    pub(super) fn note(&mut self, client: ClientId, accepted: &Accepted) {
        let mut is_track_gone = false;
        for change in &accepted.changes {
            self.history.note(client, change);
            is_track_gone |= matches!(change.what, What::TrackRemoved { .. });
        }
        if is_track_gone {
            let state = &self.state;
            self.history
                .keep_only(|id| state.plugin(id).is_some() || state.track(id).is_some());
        }
    }

    fn overtake(&mut self, accepted: &Accepted) {
        for change in &accepted.changes {
            overtake(&mut self.batcher, &self.state, &change.what);
        }
    }

    fn batch(&mut self, origin: &Origin, batch: Batch, now: Instant) -> Result<(), Reject> {
        let changes = check_batch(&self.state, batch.changes)?;
        let debounce_ms = debounce_ms(batch.debounce_ms);
        self.next_batch += 1;
        let mut origin = origin.clone();
        origin.echo = Some(Box::new(BatchEcho {
            batch_id: format!("batch_{}", self.next_batch),
            debounce_ms,
            apply_immediately: batch.apply_immediately,
        }));
        if !batch.apply_immediately {
            let time = self.micros(now);
            self.batcher
                .submit(origin.client, origin, changes, debounce_ms * 1000, time);
            return Ok(());
        }
        let given = changes.len();
        let last = last_of_each(&changes);
        let accepted = apply(&mut self.state, as_request(&last))?;
        self.overtake(&accepted);
        self.note(origin.client, &accepted);
        let by = Arc::clone(&origin.by);
        let changes: Vec<_> = accepted
            .changes
            .into_iter()
            .map(|change| (change, Arc::clone(&by)))
            .collect();
        let client = origin.client;
        let answer = Answer {
            origin,
            first: 0,
            applied: last.len(),
            superseded: given - last.len(),
        };
        let settling = Settling {
            client,
            changes,
            answers: vec![answer],
        };
        self.handover
            .hand_over(&accepted.commands, Waiting::Changes(settling), now);
        Ok(())
    }

    /// Hands over the debounced groups whose time has come.
    pub(super) fn flush_due(&mut self, now: Instant) {
        let time = self.micros(now);
        while let Some(group) = self.batcher.take_due(time) {
            // All of it was valid on arrival, and what has ceased to be was taken out since.
            let Ok(accepted) = apply(&mut self.state, as_request(&group.changes)) else {
                log::error!("a pending group could not be applied; it is dropped");
                continue;
            };
            self.note(group.client, &accepted);
            let mut accepted_changes = accepted.changes.into_iter();
            let mut changes = Vec::new();
            let mut answers = Vec::new();
            for waiting in group.batches {
                let first = changes.len();
                let by = &waiting.batch.by;
                changes.extend(
                    accepted_changes
                        .by_ref()
                        .take(waiting.applied)
                        .map(|change| (change, Arc::clone(by))),
                );
                let (applied, superseded) = (waiting.applied, waiting.superseded);
                answers.push(Answer {
                    origin: waiting.batch,
                    first,
                    applied,
                    superseded,
                });
            }
            let settling = Settling {
                client: group.client,
                changes,
                answers,
            };
            if accepted.commands.is_empty() {
                self.handover.wait_for_last(Waiting::Changes(settling), now);
            } else {
                self.handover
                    .hand_over(&accepted.commands, Waiting::Changes(settling), now);
            }
        }
        self.settle_what_is_applied(now);
    }

    fn find(&self, plugin: &PluginRef) -> Result<(String, rigd_rt::Kind), Reject> {
        self.state
            .locate(plugin)
            .map(|(track, plugin)| (track.id.clone(), plugin.kind))
    }

    fn parameters(&self, at: &PluginRef, origin: &Origin) -> Result<Map<String, Value>, Reject> {
        let (track, plugin) = self.state.locate(at)?;
        let parameters = views::Parameters(plugin.kind, &plugin.values);
        let mut data = object(if origin.kind.is_legacy(origin.dialect) {
            json!({ "pluginId": plugin.id, "parameters": parameters, "bypassed": plugin.bypassed, "success": true })
        } else {
            json!({
                "track_id": track.id,
                "plugin_id": plugin.id,
                "parameters": parameters,
                "parameter_info": views::Info(plugin.kind),
                "bypassed": plugin.bypassed,
                "success": true,
            })
        });
        if plugin.kind == rigd_rt::Kind::Feedback {
            data.extend(views::howl(&plugin.howl));
        }
        Ok(data)
    }

    pub(super) fn snapshot(&self, origin: &Origin, now: Instant) -> Utf8Bytes {
        let data = views::snapshot(
            &self.state,
            &self.fixed.epoch,
            self.telemetry.engine(self.is_engine_alive(now)),
        );
        reply_as(origin, "state.snapshot", Some(self.state.seq), None, &data)
    }

    /// A lagging client gets everything anew, once all that it holds is applied.
    pub(super) fn promise_snapshot(&mut self, id: ClientId) {
        let now = Instant::now();
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let mut origin = client.origin(id, Head::default());
        origin.id = own_id();
        let frame = self.snapshot(&origin, now);
        self.frames_when_settled(id, vec![frame], true, now);
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
        client.wants_batches = batch.unwrap_or(client.wants_batches);
        if let Some(dialect) = dialect {
            client.dialect = dialect;
            client.dialect_is_fixed = true;
        }
        let data = object(json!({
            "batch": client.wants_batches, "dialect": client.dialect.name(), "success": true,
        }));
        self.say(origin, &data)
    }

    fn auth(
        &mut self,
        origin: &Origin,
        token: Option<String>,
        user_id: Option<String>,
        session_id: Option<String>,
    ) -> Result<(), Reject> {
        if token.is_some() {
            return Err(Reject::AuthFailed(
                "this box does not know any tokens yet; sign in without one".to_owned(),
            ));
        }
        let anonymous = self.fixed.anonymous;
        let Some(client) = self.clients.get_mut(&origin.client) else {
            return Ok(());
        };
        if anonymous == Role::Nobody {
            return Err(Reject::AuthFailed("a token is needed here".to_owned()));
        }
        let user_id = user_id.unwrap_or_else(|| "anonymous_user".to_owned());
        let session_id =
            session_id.unwrap_or_else(|| format!("anonymous_{}", uuid::Uuid::new_v4()));
        client.auth_user_id = Some(user_id.clone());
        client.auth_session_id = Some(session_id.clone());
        client.by = Arc::new(By {
            user_id: user_id.clone(),
            session_id: session_id.clone(),
            ..(*client.by).clone()
        });
        let mut origin = origin.clone();
        origin.by = Arc::clone(&client.by);
        let data = object(json!({
            "session_id": session_id,
            "user_id": user_id,
            "role": client.role.name(),
            "permissions": client.role.permissions(),
            "success": true,
        }));
        self.say_as(&origin, "AUTH_SUCCESS", &data)
    }

    fn relay_cursor(&mut self, origin: &Origin, data: &serde_json::value::RawValue) {
        let data: Value = serde_json::from_str(data.get()).unwrap_or_default();
        let mut relayed = origin.clone();
        relayed.id = own_id();
        relayed.t0_timestamp = None;
        let frame = reply_as(&relayed, "USER_CURSOR_UPDATE", None, None, &Echo(data));
        for (id, client) in &mut self.clients {
            if *id != origin.client && client.by.session_id == origin.by.session_id {
                client.outbox.change(Message::Text(frame.clone()), None);
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

    fn say_as<F: encode::Fields>(
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

impl Client {
    /// Whom to answer, and how. Takes note of the dialect and of who the sender says it is.
    fn origin(&mut self, client: ClientId, head: Head) -> Origin {
        let (kind, dialect) = head.kind.unwrap_or((Kind::Heartbeat, self.dialect));
        let is_greeting = kind == Kind::Auth && self.is_fresh;
        if head.kind.is_some() && (kind.shows_dialect() || is_greeting) && !self.dialect_is_fixed {
            self.dialect = dialect;
        }
        self.is_fresh = false;
        let said = |claim: Option<String>, by_auth: &Option<String>, otherwise: &str| {
            claim
                .or_else(|| by_auth.clone())
                .unwrap_or_else(|| otherwise.to_owned())
        };
        let by = By {
            user_id: said(head.user_id, &self.auth_user_id, LEGACY.0),
            session_id: said(head.session_id, &self.auth_session_id, LEGACY.1),
            ..(*self.by).clone()
        };
        if by != *self.by {
            self.by = Arc::new(by);
        }
        Origin {
            client,
            id: head.id.unwrap_or_else(|| {
                self.legacy_ids += 1;
                format!("legacy_{}", self.legacy_ids)
            }),
            by: Arc::clone(&self.by),
            kind,
            dialect,
            t0_timestamp: head.t0_timestamp,
            requires_ack: head.requires_ack,
            idempotency_key: head.idempotency_key,
            echo: None,
        }
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

/// Any JSON as a message's data.
struct Echo(Value);

impl encode::Fields for Echo {
    fn put<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match &self.0 {
            Value::Object(fields) => fields.put(map),
            _ => Ok(()),
        }
    }
}
