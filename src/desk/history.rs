//! What has just happened: the changes that somebody who was away can still be told one by one, and who
//! changed each thing last.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::client::ClientId;
use crate::rig::{Change, Request, What};
use crate::session::By;

/// Changes that are held; who missed more gets a snapshot.
pub const CHANGES_MAX: usize = 2048;

/// A change that everyone was told.
pub struct Past {
    /// What.
    pub change: Change,
    /// Whose.
    pub by: Arc<By>,
    /// When it was handed to the engine.
    pub at: Timestamp,
    /// The first frame computed with it.
    pub applied_frame: Option<u64>,
}

/// A thing that can be changed: a plugin or a track, and what of it.
type Thing = (String, &'static str);

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
    /// By whom, under which number.
    last: HashMap<Thing, (ClientId, u64)>,
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
        let mine = (client, change.seq);
        let mut put = |id: &str, what| self.last.insert((id.to_owned(), what), mine);
        match &change.what {
            What::Parameter {
                plugin_id,
                parameter_id,
                ..
            } => drop(put(plugin_id, parameter_id)),
            What::Bypassed { plugin_id, .. } => drop(put(plugin_id, BYPASS)),
            What::PresetLoaded {
                plugin_id, kind, ..
            } => {
                for param in kind.params() {
                    put(plugin_id, param.id);
                }
            }
            What::PluginMoved { track_id, .. } => drop(put(track_id, ORDER)),
            What::TrackUpdated(track) => drop(put(&track.id, TRACK)),
            What::PluginRemoved { plugin_id, .. } => self.forget(plugin_id),
            What::TrackRemoved { track_id } => self.forget(track_id),
            _ => {}
        }
    }

    /// Forgets what is gone, so that no more is held than there is.
    fn forget(&mut self, id: &str) {
        self.last.retain(|(of, _), _| of != id);
    }

    /// Forgets plugins that went with their track.
    pub fn keep_only(&mut self, is_there: impl Fn(&str) -> bool) {
        self.last.retain(|(of, _), _| is_there(of));
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
        let is_meant = |(of, which): &Thing| {
            of == id && what.map_or(!which.starts_with('/'), |what| what == *which)
        };
        let others = self
            .last
            .iter()
            .filter(|(thing, (by, seq))| is_meant(thing) && *by != client && *seq > base);
        others.map(|(_, (_, seq))| *seq).max()
    }
}
