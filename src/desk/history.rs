//! What has just happened: the changes that somebody who was away can still be told one by one, and who
//! changed each thing last.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Desk;
use super::client::ClientId;
use super::receive::answer_frames;
use super::settle::Origin;
use super::tell::broadcast;
use crate::protocol::views::object;
use crate::rig::{Change, Reject, Request, What};
use crate::session::By;

/// Changes that are held; who missed more gets a snapshot.
pub const CHANGES_MAX: usize = 2048;

/// A change that everyone was told.
#[derive(Clone)]
pub struct Past {
    /// What.
    pub change: Arc<Change>,
    /// Whose.
    pub by: Arc<By>,
    /// When it was handed to the engine.
    pub at: Timestamp,
    /// The first frame computed with it.
    pub applied_frame: Option<u64>,
}

/// Of each thing of a plugin or a track that was changed: by whom last, under which number.
type Last = Vec<(&'static str, ClientId, u64)>;

/// What stands for a plugin's bypass, a chain's order and a track's own fields.
const BYPASS: &str = "/bypass";
const ORDER: &str = "/order";
const TRACK: &str = "/track";

/// See the module.
#[derive(Default)]
pub struct History {
    recent: VecDeque<Past>,
    /// Number of the newest change that is not held any more, or was never.
    before: u64,
    /// By plugin or track.
    last: HashMap<String, Last>,
}

impl History {
    /// Nothing has happened since `seq`.
    pub fn new(seq: u64) -> History {
        History {
            before: seq,
            ..History::default()
        }
    }

    /// Everyone was told this.
    pub fn push(&mut self, past: Past) {
        if self.recent.len() == CHANGES_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.before = oldest.change.seq;
        }
        self.recent.push_back(past);
    }

    /// The changes after `seq`, if all of them are still held.
    pub fn since(&self, seq: u64) -> Option<impl Iterator<Item = &Past>> {
        let newest = self
            .recent
            .back()
            .map_or(self.before, |past| past.change.seq);
        if !(self.before..=newest).contains(&seq) {
            return None;
        }
        let first = self.recent.partition_point(|past| past.change.seq <= seq);
        Some(self.recent.range(first..))
    }

    /// Notes who changed what.
    pub fn note(&mut self, client: ClientId, change: &Change) {
        let mut put = |id: &str, what: &'static str| {
            let last = match self.last.get_mut(id) {
                Some(last) => last,
                None => self.last.entry(id.to_owned()).or_default(),
            };
            let mine = (what, client, change.seq);
            match last.iter_mut().find(|(which, ..)| *which == what) {
                Some(present) => *present = mine,
                None => last.push(mine),
            }
        };
        match &change.what {
            What::Parameter {
                plugin_id,
                parameter_id,
                ..
            } => put(plugin_id, parameter_id),
            What::Bypassed { plugin_id, .. } => put(plugin_id, BYPASS),
            What::PresetLoaded {
                plugin_id, kind, ..
            } => {
                for param in kind.params() {
                    put(plugin_id, param.id);
                }
            }
            What::PluginMoved { track_id, .. } => put(track_id, ORDER),
            What::TrackUpdated(track) => put(&track.id, TRACK),
            What::PluginRemoved { plugin_id, .. } => self.forget(plugin_id),
            What::TrackRemoved { track_id } => self.forget(track_id),
            _ => {}
        }
    }

    /// Forgets what is gone, so that no more is held than there is.
    fn forget(&mut self, id: &str) {
        self.last.remove(id);
    }

    /// Forgets plugins that went with their track.
    pub fn keep_only(&mut self, is_there: impl Fn(&str) -> bool) {
        self.last.retain(|of, _| is_there(of));
    }

    /// Number of the newest change by somebody else, after `base`, to what a request would change.
    pub fn overtaken(&self, client: ClientId, request: &Request, base: u64) -> Option<u64> {
        let (id, what) = match request {
            Request::PluginParameter(change) => {
                (&change.plugin.plugin_id, Some(change.parameter_id.as_str()))
            }
            Request::PluginBypass { plugin, .. } => (&plugin.plugin_id, Some(BYPASS)),
            Request::PluginPreset { plugin, .. } => (&plugin.plugin_id, None),
            Request::TrackUpdate { track_id, .. } => (track_id, Some(TRACK)),
            Request::PluginMove { plugin, .. } => (&plugin.plugin_id, Some(ORDER)),
            _ => return None,
        };
        let is_meant = |which: &str| what.map_or(!which.starts_with('/'), |what| what == which);
        let others = self
            .last
            .get(id)?
            .iter()
            .filter(|(which, by, seq)| is_meant(which) && *by != client && *seq > base);
        others.map(|(_, _, seq)| *seq).max()
    }
}

impl Desk {
    /// Refuses what somebody else has changed after `base`.
    pub(super) fn overtaken(
        &self,
        client: ClientId,
        request: &Request,
        base: u64,
    ) -> Result<(), Reject> {
        let Some(seq) = self.history.overtaken(client, request, base) else {
            return Ok(());
        };
        let current_value = match request {
            Request::PluginParameter(change) => {
                let found = self.state.locate(&change.plugin);
                found.ok().and_then(|(_, plugin)| {
                    let (index, _) = plugin.parameter(&change.parameter_id)?;
                    Some(json!(plugin.values[index]))
                })
            }
            Request::PluginBypass { plugin, .. } => {
                let found = self.state.locate(plugin);
                found.ok().map(|(_, plugin)| json!(plugin.bypassed))
            }
            _ => None,
        };
        Err(Reject::Overtaken {
            current_value: current_value.unwrap_or_default(),
            seq,
        })
    }

    /// Tells a client that comes back what it has missed, or everything anew.
    pub(super) fn resume(
        &mut self,
        origin: &Origin,
        since_seq: u64,
        epoch: Option<&str>,
        now: Instant,
    ) {
        let durable = self.is_disk_alive();
        let is_this_run = epoch.is_none_or(|epoch| epoch == self.fixed.epoch);
        let missed = self.history.since(since_seq).filter(|_| is_this_run);
        let Some((missed, client)) = missed.zip(self.clients.get_mut(&origin.client)) else {
            let frames = vec![self.snapshot(origin, now)];
            self.frames_when_settled(origin.client, frames, false, now);
            return;
        };
        let frames: Vec<Utf8Bytes> = missed
            .filter(|past| client.rules.interest.wants(&past.change.what))
            .map(|past| broadcast(past, client.dialect))
            .collect();
        let data = object(json!({
            "since_seq": since_seq, "count": frames.len(), "success": true,
        }));
        let kind = origin.kind.name(origin.dialect);
        for frame in answer_frames(origin, kind, None, &data, durable) {
            client.outbox.reply(Message::Text(frame));
        }
        for frame in frames {
            client.outbox.reply(Message::Text(frame));
        }
    }
}
