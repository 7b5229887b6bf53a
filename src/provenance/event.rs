//! What happened, in a record for people: one for each accepted change, and one for each gesture at
//! the parameters of a plugin.

use std::sync::Arc;

use jiff::Timestamp;
use rigd_rt::Kind;
use serde_json::{Map, Value, json};

use super::canonical::canonical;
use crate::protocol::encode::mode_name;
use crate::protocol::views::{Parameters, kind_name, object};
use crate::rig::state::builtin_path;
use crate::rig::{Durable, Track, What};
use crate::session::By;
use crate::session::people::Person;

/// What kind of thing an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityType {
    /// A plugin.
    Plugin,
    /// A track.
    Track,
    /// People.
    Session,
    /// The rig as a whole.
    Configuration,
}

impl EntityType {
    /// Its name in an identifier.
    pub fn name(self) -> &'static str {
        match self {
            EntityType::Plugin => "plugin_processing",
            EntityType::Track => "track",
            EntityType::Session => "session",
            EntityType::Configuration => "configuration",
        }
    }
}

/// One record, before it has its place in the chain.
#[derive(Clone, Debug)]
pub struct Event {
    /// `plugin.add`, …
    pub operation: &'static str,
    /// What kind of thing it is about.
    pub entity_type: EntityType,
    /// Which one.
    pub entity_id: String,
    /// Who did it.
    pub by: Arc<By>,
    /// Number of its first change.
    pub seq_first: u64,
    /// Number of its last change.
    pub seq_last: u64,
    /// When.
    pub at: Timestamp,
    /// Since the process began.
    pub monotonic_us: u64,
    /// The first frame computed with it; `None` with no engine running.
    pub applied_frame: Option<u64>,
    /// What changed, and whose change it is: canonical JSON.
    pub metadata: String,
}

/// Something about people or the box, which is no change of the rig: it has no number of its own, and carries that of
/// the newest change before it.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `session.role`, …
    pub operation: &'static str,
    /// People, or the rig as a whole.
    pub entity_type: EntityType,
    /// About whom; [`RIG`].
    pub subject: String,
    /// No code, no token.
    pub details: Value,
    /// What is said of them from now on.
    pub person: Option<Person>,
}

impl Notice {
    /// The subject as the id of an entity, which may hold no colon.
    pub fn entity_id(&self) -> String {
        self.subject.replace(':', "_")
    }
}

/// Where the rig as a whole is meant.
pub const RIG: &str = "rig";

/// The operation of a change.
pub fn operation(what: &What) -> &'static str {
    match what {
        What::PluginAdded { .. } => "plugin.add",
        What::PluginRemoved { .. } => "plugin.remove",
        What::Parameter { .. } => "plugin.parameter",
        What::Bypassed { .. } => "plugin.bypass",
        What::PresetLoaded { .. } => "plugin.preset",
        What::PresetSaved { .. } => "plugin.preset.save",
        What::PluginMoved { .. } => "plugin.move",
        What::TrackAdded(_) => "track.add",
        What::TrackRemoved { .. } => "track.remove",
        What::TrackUpdated(_) => "track.update",
        What::ChainLoaded { .. } => "track.preset",
        What::ChainSaved { .. } => "track.preset.save",
        What::Toned { .. } => "rig.tone",
        What::Shed { .. } => "plugin.shed",
        What::Panicked(_) => "rig.panic",
        What::Restored => "rig.restore",
    }
}

/// What a change is about: type, id, and the track that it is on.
pub fn entity(what: &What) -> (EntityType, &str, Option<&str>) {
    match what {
        What::PluginAdded {
            track_id,
            plugin_id,
            ..
        }
        | What::PluginRemoved {
            track_id,
            plugin_id,
        }
        | What::Parameter {
            track_id,
            plugin_id,
            ..
        }
        | What::Bypassed {
            track_id,
            plugin_id,
            ..
        }
        | What::PresetLoaded {
            track_id,
            plugin_id,
            ..
        }
        | What::PresetSaved {
            track_id,
            plugin_id,
            ..
        }
        | What::PluginMoved {
            track_id,
            plugin_id,
            ..
        }
        | What::Shed {
            track_id,
            plugin_id,
            ..
        } => (EntityType::Plugin, plugin_id, Some(track_id)),
        What::TrackAdded(track) | What::TrackUpdated(track) => {
            (EntityType::Track, &track.id, Some(&track.id))
        }
        What::TrackRemoved { track_id }
        | What::ChainSaved { track_id, .. }
        | What::Toned { track_id, .. } => (EntityType::Track, track_id, Some(track_id)),
        What::ChainLoaded { track, .. } => (EntityType::Track, &track.id, Some(&track.id)),
        What::Panicked(_) | What::Restored => (EntityType::Configuration, RIG, None),
    }
}

/// Who, where and what: the metadata of an event. `before` is the state before the change.
pub fn metadata(what: &What, by: &By, before: &Durable) -> String {
    let (_, _, track_id) = entity(what);
    with_who(track_id, by, details(what, before))
}

/// Details with whose they are, as canonical JSON.
pub fn with_who(track_id: Option<&str>, by: &By, details: Value) -> String {
    let mut map = object(details);
    if let Some(track_id) = track_id {
        map.insert("track_id".to_owned(), track_id.into());
    }
    map.insert("user_id".to_owned(), by.user_id.clone().into());
    map.insert("session_id".to_owned(), by.session_id.clone().into());
    canonical(&Value::Object(map))
}

fn parameters(kind: Kind, values: &[f64]) -> Value {
    json!(Parameters(kind, values))
}

fn details(what: &What, before: &Durable) -> Value {
    match what {
        What::PluginAdded {
            name,
            kind,
            position,
            values,
            substituted_for,
            ..
        } => {
            let mut details = json!({
                "name": name,
                "plugin_path": builtin_path(*kind),
                "position": position,
                "parameters": parameters(*kind, values),
            });
            if let Some(path) = substituted_for {
                details["substituted_for"] = json!(path);
            }
            details
        }
        What::Bypassed { bypass, .. } => json!({ "bypass": bypass }),
        What::PresetLoaded {
            preset_name,
            kind,
            values,
            ..
        } => json!({ "preset_name": preset_name, "parameters": parameters(*kind, values) }),
        What::PresetSaved {
            preset_name,
            kind,
            values,
            ..
        } => json!({ "preset_name": preset_name, "parameters": parameters(*kind, values) }),
        What::PluginMoved {
            position, order, ..
        } => json!({ "position": position, "order": order }),
        What::TrackAdded(track) => fields(track),
        What::TrackUpdated(track) => {
            let now = fields(track);
            let then = before.track(&track.id).map(fields).unwrap_or_default();
            let mut changes = Map::new();
            for (name, to) in now.as_object().into_iter().flatten() {
                let from = &then[name.as_str()];
                if from != to {
                    changes.insert(name.clone(), json!({ "from": from, "to": to }));
                }
            }
            json!({ "changes": changes })
        }
        What::ChainLoaded { preset_name, .. } => json!({ "preset_name": preset_name }),
        What::ChainSaved {
            preset_name, chain, ..
        } => {
            let plugins: Vec<String> = chain.links.iter().map(|l| builtin_path(l.kind)).collect();
            json!({ "preset_name": preset_name, "plugins": plugins })
        }
        What::Panicked(mode) => json!({ "mode": mode_name(*mode) }),
        What::Toned {
            freq_hz,
            level_db,
            seconds,
            ..
        } => json!({ "freq_hz": freq_hz, "level_db": level_db, "seconds": seconds }),
        What::Shed { shed, .. } => json!({ "shed": shed }),
        What::Parameter { .. }
        | What::PluginRemoved { .. }
        | What::TrackRemoved { .. }
        | What::Restored => json!({}),
    }
}

/// A track without its chain.
fn fields(track: &Track) -> Value {
    let sends: Map<String, Value> = track
        .sends
        .iter()
        .map(|(bus, level)| (bus.clone(), json!(level)))
        .collect();
    json!({
        "name": track.name,
        "kind": kind_name(track.kind),
        "input": track.input.to_string(),
        "input_gain_db": track.input_gain_db,
        "volume": track.volume,
        "pan": track.pan,
        "mute": track.mute,
        "solo": track.solo,
        "sends": sends,
    })
}
