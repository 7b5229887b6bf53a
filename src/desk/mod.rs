//! The desk: where control meets the engine. Owns the state, the batcher, the groups that are on
//! their way to the engine, and what every client still has to hear. Single-threaded, never waits.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | the desk, and its clock tick |
//! | `client.rs` | one connection, as the desk knows it |
//! | `greet.rs` | connections come and go, and say who they are |
//! | `receive.rs` | a message comes in |
//! | `change.rs` | what becomes of an accepted change |
//! | `look.rs` | what is shown of the state |
//! | `handover.rs` | groups on their way to the engine |
//! | `history.rs` | what has just happened, for those who come back |
//! | `repeats.rs` | messages that come again |
//! | `interest.rs` | which changes a client wants to hear of |
//! | `reading.rs` | questions about the log |
//! | `settle.rs` | a group is applied: replies, acks, views |
//! | `tell.rs` | what everyone else is told |
//! | `visit.rs` | HTTP requests, each a client for as long as it takes |
//! | `room.rs` | who leaves when somebody with a token finds no room |
//! | `metrics.rs` | what waits and what that takes, for `/metrics` |
//! | `switches.rs` | what the settings have turned off |
//! | `transcript.rs` | `log_messages` |
//! | `load.rs` | a processor that is too slow |
//! | `people.rs` | who is here, and what a host does about it |
//! | `pairing.rs` | codes, and tokens for them |
//! | `device.rs` | what a host asks of the box |
//! | `howls.rs` | what `feedback` effects do by themselves |
//!
//! A message goes in by [`Desk::receive`]; its answer is put into the client's outbox, at once or
//! when the engine has applied it; [`Desk::tick`] moves everything that waits for time or engine.

mod change;
mod client;
mod device;
mod greet;
mod handover;
mod history;
mod howls;
mod interest;
pub mod load;
mod look;
mod metrics;
mod pairing;
mod people;
mod reading;
mod receive;
mod repeats;
mod room;
mod settle;
pub mod switches;
mod tell;
mod transcript;
mod visit;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rigd_rt::{Kind, Report};
use serde_json::json;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use client::Resync;
pub use client::{Client, ClientId};
use device::Chore;
pub use pairing::Lookup;
pub use visit::Visitor;

use crate::backend::{Format, Wanted};
use crate::batcher::Batcher;
use crate::care::Caretaker;
use crate::config::{Features, Limits};
use crate::protocol;
use crate::provenance::Log;
use crate::provenance::writer::Health;
use crate::rig::batch::ParamKey;
use crate::rig::state::{MicFeed, Wiring};
use crate::rig::{self, State};
use crate::ring::ControlEnds;
use crate::session::attendance::Attendance;
use crate::session::{Buckets, Door, Role};
use crate::sync::{Latest, Stream};
use crate::telemetry::Telemetry;
use handover::Handover;
use history::History;
use howls::Howls;
use interest::Rules;
use load::Load;
use people::Presence;
use reading::Questions;
use repeats::Repeats;
use settle::{Origin, OwedAck, View};
use tell::Broadcast;
use transcript::Transcript;
use visit::Visitors;

/// How often the report ring is looked at while somebody waits for the engine.
pub const LOOK_EVERY: Duration = Duration::from_micros(200);
/// How often it is looked at otherwise.
const IDLE_LOOK_EVERY: Duration = Duration::from_millis(20);

/// When [`Desk::tick`] wants to be called next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wake {
    /// When everybody else had a turn: there is more to answer.
    Soon,
    /// Every [`LOOK_EVERY`]: the engine owes an answer.
    Often,
    /// Then, or when something is received.
    At(Instant),
}

/// What the desk is told at its start.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Names this run.
    pub epoch: String,
    /// What one may ask.
    pub limits: Limits,
    /// What everyone who has not signed in may do.
    pub anonymous: Role,
    /// What is on and off.
    pub switches: Features,
    /// Messages are written to the log.
    pub log_messages: bool,
    /// `status.features`.
    pub features: Vec<&'static str>,
}

/// See the module.
pub struct Desk {
    fixed: Fixed,
    state: State,
    batcher: Batcher<ClientId, ParamKey, f64, Origin>,
    handover: Handover,
    clients: BTreeMap<ClientId, Client>,
    visitors: Visitors,
    /// What every client hears of the others.
    stream: Stream<Broadcast>,
    /// The rules of those who have not asked for others.
    everything: Rc<Rules>,
    /// Who wants to be woken when the stream goes on.
    asleep: Vec<ClientId>,
    next_client: u64,
    next_batch: u64,
    views: HashMap<String, View>,
    howls: Howls,
    load: Load,
    /// Number of the newest change that everyone was told.
    settled_seq: u64,
    /// The same, for those who wait for it.
    news: watch::Sender<u64>,
    history: History,
    repeats: Repeats,
    log: Option<Log>,
    /// In the order of their tickets.
    acks: VecDeque<OwedAck>,
    questions: Questions,
    door: Door,
    presence: Presence,
    attendance: Attendance,
    people_looked_at: Option<Instant>,
    telemetry: Telemetry,
    caretaker: Option<Caretaker>,
    chore: Option<Box<Chore>>,
    /// Boxed: most rigs write none.
    transcript: Option<Box<Transcript>>,
    backend_trouble: Option<String>,
    started: Instant,
}

impl Desk {
    /// A desk with no engine, and with no log: nothing is kept.
    pub fn new(fixed: Fixed, state: State) -> Desk {
        Desk {
            stream: Stream::new(fixed.limits.backlog_messages),
            everything: Rc::default(),
            asleep: Vec::new(),
            transcript: fixed.log_messages.then(|| Box::new(Transcript::new())),
            fixed,
            settled_seq: state.seq,
            news: watch::channel(state.seq).0,
            history: History::new(state.seq),
            repeats: Repeats::default(),
            state,
            batcher: Batcher::default(),
            handover: Handover::default(),
            clients: BTreeMap::new(),
            visitors: Visitors::default(),
            next_client: 0,
            next_batch: 0,
            views: HashMap::new(),
            howls: Howls::default(),
            load: Load::default(),
            log: None,
            acks: VecDeque::new(),
            questions: Questions::default(),
            door: Door::closed(),
            presence: Presence::default(),
            attendance: Attendance::default(),
            people_looked_at: None,
            telemetry: Telemetry::default(),
            caretaker: None,
            chore: None,
            backend_trouble: None,
            started: Instant::now(),
        }
    }

    /// Puts everything on record from now on.
    pub fn keep(&mut self, log: Log) {
        self.log = Some(log);
    }

    /// Keeps what has happened so far; nothing is on record from now on.
    pub fn finish_log(&mut self) {
        self.read_reports(Instant::now());
        self.settle_what_is_applied(Instant::now());
        let now = self.started.elapsed();
        if let Some(log) = self.log.take() {
            log.finish(now, self.telemetry.frame());
        }
    }

    /// What says when the disk has taken something.
    pub fn log_health(&self) -> Option<Arc<Health>> {
        self.log.as_ref()?.health().map(Arc::clone)
    }

    /// Takes the control ends of a new engine's rings and sends it the whole state.
    pub fn attach(&mut self, ends: ControlEnds, format: Format, mic_feed: MicFeed) {
        let (commands, dropped) = self.state.build(Wiring::new(&format, mic_feed));
        for plugin_id in dropped {
            log::warn!(
                "the plugin {plugin_id} was dropped: its delay memory does not fit (audio.delay_pool_mb)"
            );
            let number = self.state.next_seq();
            if let Some(log) = &mut self.log {
                log.record_dropped(number, &plugin_id, self.started.elapsed());
                self.settled_seq = number;
            }
        }
        // A new engine has no notches.
        let plugins = self.state.tracks.iter().flat_map(|track| &track.plugins);
        for plugin in plugins.filter(|plugin| plugin.kind == Kind::Feedback) {
            self.howls.mark(&plugin.id);
        }
        if let Some(log) = &mut self.log {
            log.stage(&format, self.state.pool_samples());
        }
        self.telemetry.attached(format);
        // It has yet to say something; until it could have, it counts as alive.
        self.telemetry.alive_at(Instant::now());
        self.handover.attach(ends, commands, self.state.seq);
    }

    /// Gives the rings' control ends back (the engine is gone). Changes are accepted, kept and
    /// applied by the next engine.
    pub fn detach(&mut self) -> Option<ControlEnds> {
        self.handover.detach()
    }

    /// Forgets all connections: their sockets are gone.
    pub fn forget_clients(&mut self) {
        self.clients.clear();
        self.visitors = Visitors::default();
        self.asleep.clear();
    }

    /// The backend's block size or latency is another one.
    pub fn reformat(&mut self, format: Format) {
        self.telemetry.reformatted(format);
    }

    /// What is wrong with the backend, for `status.degraded`.
    pub fn set_backend_trouble(&mut self, trouble: Option<String>) {
        self.backend_trouble = trouble;
    }

    /// Follows new settings. `backlog_messages` holds for connections to come.
    pub fn follow_settings(&mut self, limits: Limits, policy: load::Policy) {
        for client in self.clients.values_mut() {
            client.buckets = Buckets::new(&limits);
        }
        self.visitors.refill(&Buckets::new(&limits));
        self.fixed.limits = limits;
        self.set_load_policy(policy);
    }

    /// What the tracks want of the backend.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            inputs: self.state.inputs(),
            latency_frames: self.state.latency_frames(),
        }
    }

    /// Number of the newest accepted change: what is wanted cannot be new while this is the same and
    /// no engine was attached.
    pub fn seq(&self) -> u64 {
        self.state.seq
    }

    /// Number of the newest change that everyone was told, for who waits for a newer one.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.send_replace(self.settled_seq);
        self.news.subscribe()
    }

    /// Names this run.
    pub fn epoch(&self) -> &str {
        &self.fixed.epoch
    }

    /// What is measured.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Connections; visits are none, and those that are being closed.
    pub fn clients(&self) -> usize {
        let stay = |client: &&Client| client.visit.is_none() && client.ends.is_none();
        self.clients.values().filter(stay).count()
    }

    /// Whether an engine is there and moves.
    pub fn is_engine_alive(&self, now: Instant) -> bool {
        self.handover.is_attached() && self.telemetry.is_alive(now)
    }

    /// Lets everything move that waits for time or engine; says when to come again.
    pub fn tick(&mut self, now: Instant) -> Wake {
        self.read_reports(now);
        self.settle_some(now);
        self.keep_snapshot(now);
        self.handover.send_waiting();
        self.flush_due(now);
        self.give_up_waiting(now);
        self.send_views(now);
        self.send_howls(now);
        self.send_meters(now);
        self.look_after_people(now);
        if let Some(log) = &mut self.log {
            log.tick(now.saturating_duration_since(self.started));
        }
        self.acknowledge(now);
        self.read_log();
        self.look_after_device(now);
        if self.handover.owes() {
            return Wake::Soon;
        }
        if self.handover.is_waiting() {
            return Wake::Often;
        }
        let due = self
            .batcher
            .next_due()
            .map(|micros| self.started + Duration::from_micros(micros));
        let meters = self
            .clients
            .values()
            .filter_map(|client| client.meters.as_ref().map(|meters| meters.due));
        let views = self.views.values().filter_map(View::due);
        let log = self.log.as_ref().and_then(Log::next_due);
        let log = log.map(|due| self.started + due);
        let next = due
            .into_iter()
            .chain(meters)
            .chain(views)
            .chain(self.howls.due())
            .chain(self.presence.due(self.clients.len()))
            .chain(log)
            .min();
        let idle = now + IDLE_LOOK_EVERY;
        Wake::At(next.map_or(idle, |next| next.min(idle)))
    }

    /// What the next frame for a client is; a lagging client that has read everything gets the
    /// snapshot that it was promised.
    pub fn next_frame(&mut self, id: ClientId) -> Option<Message> {
        let frame = self.next_or_snapshot(id)?;
        self.telemetry.sent(frame.len());
        if let Message::Text(text) = &frame {
            self.write_down("to", id, text);
        }
        Some(frame)
    }

    fn next_or_snapshot(&mut self, id: ClientId) -> Option<Message> {
        let frame = self.pop_frame(id);
        if frame.is_some() {
            return frame;
        }
        let client = self.clients.get_mut(&id)?;
        if client.resync == Resync::Queued {
            client.resync = Resync::None;
        }
        self.resync_if_lagging(id);
        self.pop_frame(id)
    }

    /// Puts a message into the log, if all of them are to be there.
    fn write_down(&mut self, way: &str, id: ClientId, text: &str) {
        let Some(transcript) = &mut self.transcript else {
            return;
        };
        if let Some(client) = self.clients.get(&id) {
            let time = self.started.elapsed();
            transcript.write(way, id, &client.by.address, text, time);
        }
    }

    /// Promises a lagging client its snapshot, one at a time.
    fn resync_if_lagging(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let is_owed = client.outbox.is_lagging() && client.visit.is_none();
        if is_owed && client.resync == Resync::None {
            client.resync = Resync::Promised;
            self.promise_snapshot(id);
        }
    }

    fn read_reports(&mut self, now: Instant) {
        let mut applied = None;
        while let Some(report) = self.handover.next_report() {
            if !matches!(report, Report::Load { .. }) {
                self.telemetry.alive_at(now);
            }
            match report {
                Report::Applied { frame, .. } => {
                    applied = Some(frame);
                    self.journal(frame, now);
                }
                Report::SlotFreed { slot } => self.state.slot_freed(slot),
                Report::TrackFreed { track } => self.state.track_freed(track),
                Report::Meter { track, .. } => {
                    for meters in self
                        .clients
                        .values_mut()
                        .filter_map(|client| client.meters.as_mut())
                    {
                        meters.fold(usize::from(track), &report);
                    }
                }
                Report::Pulse { frame, mended } => self.telemetry.pulse(frame, mended),
                Report::Notch { slot, .. } | Report::Howl { slot, .. } => {
                    self.note_howl(slot, &report);
                }
                Report::Load { xruns, mean, worst } => {
                    self.telemetry.load(xruns, mean, worst);
                    self.note_load(mean, worst, now);
                }
            }
        }
        if let Some(frame) = applied {
            self.telemetry.at_frame(frame);
        }
    }

    /// Puts what the engine has applied at a frame into the journal.
    fn journal(&mut self, frame: u64, now: Instant) {
        let now = now.saturating_duration_since(self.started);
        while let Some((seq, commands)) = self.handover.take_sent() {
            if let Some(log) = &mut self.log {
                log.journal(frame, seq, commands, now);
            }
        }
    }

    /// Gives the journal the whole rig, now and then.
    fn keep_snapshot(&mut self, now: Instant) {
        let now = now.saturating_duration_since(self.started);
        if let Some(log) = &mut self.log
            && log.wants_snapshot(now)
            && self.handover.is_settled()
        {
            let everything = self.state.everything();
            log.snapshot(self.telemetry.frame(), self.state.seq, everything, now);
        }
    }

    fn send_meters(&mut self, now: Instant) {
        let frame = self.telemetry.frame();
        let is_over = self.load.is_over();
        let state = &self.state;
        for client in self.clients.values_mut() {
            let Some(meters) = &mut client.meters else {
                continue;
            };
            if meters.due > now {
                continue;
            }
            meters.due = (meters.due + meters.every).max(now);
            let Some(readings) = meters.take() else {
                continue;
            };
            let of = |track: &rig::Track| readings[usize::from(track.place())];
            let message = if meters.binary {
                let readings: Vec<_> = state.tracks.iter().map(of).collect();
                Message::binary(protocol::meters::binary(frame, &readings))
            } else {
                let tracks = state
                    .tracks
                    .iter()
                    .map(|track| (track.id.as_str(), of(track)));
                let mut data = protocol::meters::json(frame, tracks);
                if is_over {
                    data.insert("overloaded".to_owned(), true.into());
                }
                Message::Text(settle::own("meters", client, &data))
            };
            client.outbox.latest(Latest::Meters, message);
        }
    }

    /// The data of `status.get`.
    fn status(&self, now: Instant) -> serde_json::Map<String, serde_json::Value> {
        let mut status = self.telemetry.status();
        let degraded = self.troubles(now);
        status.insert("success".to_owned(), true.into());
        status.insert("seq".to_owned(), self.settled_seq.into());
        status.insert("epoch".to_owned(), self.fixed.epoch.clone().into());
        status.insert("clients".to_owned(), self.clients().into());
        status.insert(
            "uptime_s".to_owned(),
            json!(self.started.elapsed().as_secs_f64()),
        );
        status.insert("features".to_owned(), json!(self.fixed.features));
        status.insert("degraded".to_owned(), json!(degraded));
        status
    }

    /// What does not work as it should, in sentences for a person.
    pub fn troubles(&self, now: Instant) -> Vec<String> {
        let mut troubles = Vec::new();
        if !self.is_engine_alive(now) {
            let engine =
                "the audio engine does not run: changes are kept and applied when it is back";
            troubles.push(engine.to_owned());
        }
        troubles.extend(self.backend_trouble.clone());
        troubles.extend(self.load.trouble());
        troubles.extend(self.door.trouble.clone());
        troubles.extend(self.log.iter().flat_map(Log::troubles));
        troubles
    }

    /// How the rig is, in one line for a person.
    pub fn status_line(&self, now: Instant) -> String {
        let sound = self.telemetry.format().map_or_else(
            || "no sound yet".to_owned(),
            |format| format!("{} at {} Hz", format.backend, format.sample_rate_hz),
        );
        let (clients, xruns) = (self.clients(), self.telemetry.xruns());
        let mut line = format!("{sound}, clients: {clients}, xruns: {xruns}");
        for trouble in self.troubles(now) {
            line.push_str("; ");
            line.push_str(&trouble);
        }
        line
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_micros() as u64
    }
}
