//! Replies, broadcasts and errors → one text frame. Frames are shared: a broadcast is encoded once
//! for each dialect and cloned by reference.

use std::cell::RefCell;
use std::fmt;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::dialect::{Dialect, Kind};
use super::views::{Info, Parameters, track_object};
use crate::rig::state::builtin_path;
use crate::rig::{Reject, What};
use rigd_rt::PanicMode;

/// What every message from the server carries besides its data.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    /// The client's id in replies, the server's own elsewhere.
    pub id: &'a str,
    /// The message type.
    pub kind: &'a str,
    /// Now.
    pub timestamp: Timestamp,
    /// The changer's.
    pub user_id: &'a str,
    /// The changer's.
    pub session_id: &'a str,
    /// The change's number.
    pub seq: Option<u64>,
    /// As it came.
    pub t0_timestamp: Option<&'a RawValue>,
    /// When the change was handed to the engine's ring.
    pub t1_engine_call: Option<Timestamp>,
}

/// Something that writes its fields into an object.
pub trait Fields {
    /// Writes them.
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;

    /// Takes the place of the whole object: what somebody sent, to the letter.
    fn verbatim(&self) -> Option<&RawValue> {
        None
    }
}

impl Fields for Map<String, Value> {
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.iter()
            .try_for_each(|(name, value)| map.serialize_entry(name, value))
    }
}

impl<A: Fields, B: Fields> Fields for (A, B) {
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.0.put(map)?;
        self.1.put(map)
    }
}

impl<F: Fields> Fields for &F {
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        (*self).put(map)
    }

    fn verbatim(&self) -> Option<&RawValue> {
        (*self).verbatim()
    }
}

/// `success: true`.
pub struct Success;

impl Fields for Success {
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("success", &true)
    }
}

/// Fields as an object of their own.
struct Object<'a, F>(&'a F);

impl<F: Fields> Serialize for Object<'_, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(raw) = self.0.verbatim() {
            return raw.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        self.0.put(&mut map)?;
        map.end()
    }
}

/// An envelope with data in it (and beside it, for old clients).
struct Message<'a, F> {
    envelope: Envelope<'a>,
    data: &'a F,
    is_flat: bool,
}

impl<F: Fields> Serialize for Message<'_, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let envelope = &self.envelope;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", envelope.id)?;
        map.serialize_entry("type", envelope.kind)?;
        map.serialize_entry("timestamp", &Micros(envelope.timestamp))?;
        map.serialize_entry("data", &Object(self.data))?;
        map.serialize_entry("user_id", envelope.user_id)?;
        map.serialize_entry("session_id", envelope.session_id)?;
        if let Some(seq) = envelope.seq {
            map.serialize_entry("seq", &seq)?;
        }
        if let Some(t0) = envelope.t0_timestamp {
            map.serialize_entry("t0_timestamp", t0)?;
        }
        if let Some(t1) = envelope.t1_engine_call {
            map.serialize_entry("t1_engine_call", &Micros(t1))?;
        }
        if self.is_flat {
            self.data.put(&mut map)?;
        }
        map.end()
    }
}

/// A time on the wire: ISO 8601 UTC with microseconds.
pub struct Micros(pub Timestamp);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the place where frames are written keeps for the next one.
const SCRATCH_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// A frame is written here, and then takes exactly the memory that it needs.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One text frame. `is_flat` repeats the data's fields at the top, as old clients want them.
pub fn frame<F: Fields>(envelope: Envelope<'_>, data: &F, is_flat: bool) -> Utf8Bytes {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        let message = Message {
            envelope,
            data,
            is_flat,
        };
        // Writing known types to memory cannot fail.
        let _ = serde_json::to_writer(&mut *scratch, &message);
        let frame = Utf8Bytes::try_from(scratch.as_slice().to_vec());
        scratch.shrink_to(SCRATCH_BYTES_MAX);
        frame.unwrap_or_default()
    })
}

/// Data as an object in a string, to be put into an `ack`.
pub fn raw<F: Fields>(data: &F) -> Option<Box<RawValue>> {
    RawValue::from_string(serde_json::to_string(&Object(data)).ok()?).ok()
}

/// An error's data.
pub fn error(reject: &Reject) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("error".to_owned(), reject.sentence().into());
    data.insert("code".to_owned(), reject.code().into());
    data.insert("details".to_owned(), reject.details());
    data
}

/// How a change fared in the engine: the tail of a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The first frame computed with it; `None` with no engine running.
    pub applied_frame: Option<u64>,
    /// Handed over → applied, as seen from the control side.
    pub engine_latency_us: Option<u64>,
}

impl Outcome {
    /// What never reached the engine.
    pub const NONE: Outcome = Outcome {
        applied_frame: None,
        engine_latency_us: None,
    };
}

impl Fields for Outcome {
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("success", &true)?;
        map.serialize_entry("applied_frame", &self.applied_frame)?;
        map.serialize_entry("engine_latency_us", &self.engine_latency_us)
    }
}

/// Who changed it, and since when it is heard: the tail of a broadcast.
pub struct ChangedBy<'a> {
    /// The changer's user id.
    pub user_id: &'a str,
    /// The first frame computed with it.
    pub applied_frame: Option<u64>,
    /// Old clients call it `changedBy`.
    pub is_legacy: bool,
}

impl Fields for ChangedBy<'_> {
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry(
            if self.is_legacy {
                "changedBy"
            } else {
                "changed_by"
            },
            self.user_id,
        )?;
        map.serialize_entry("applied_frame", &self.applied_frame)
    }
}

/// The message type that tells of a change.
pub fn kind_of(what: &What) -> Kind {
    match what {
        What::PluginAdded { .. } => Kind::PluginAdd,
        What::PluginRemoved { .. } => Kind::PluginRemove,
        What::Parameter { .. } => Kind::PluginParameter,
        What::Bypassed { .. } => Kind::PluginBypass,
        What::PresetLoaded { .. } => Kind::PluginPreset,
        What::PresetSaved { .. } => Kind::PluginPresetSave,
        What::PluginMoved { .. } => Kind::PluginMove,
        What::TrackAdded(_) => Kind::TrackAdd,
        What::TrackRemoved { .. } => Kind::TrackRemove,
        What::TrackUpdated(_) => Kind::TrackUpdate,
        What::ChainLoaded { .. } => Kind::TrackPreset,
        What::ChainSaved { .. } => Kind::TrackPresetSave,
        What::Toned { .. } => Kind::RigTone,
        What::Shed { .. } => Kind::PluginShed,
        What::Panicked(_) => Kind::RigPanic,
        What::Restored => Kind::RigRestore,
    }
}

/// `rig.panic`'s modes on the wire.
pub fn mode_name(mode: PanicMode) -> &'static str {
    match mode {
        PanicMode::Mute => "mute",
        PanicMode::Dry => "dry",
    }
}

/// A change in the fields of a dialect.
pub struct Told<'a> {
    /// The change.
    pub what: &'a What,
    /// Whose fields.
    pub dialect: Dialect,
}

impl Fields for Told<'_> {
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if kind_of(self.what).is_legacy(self.dialect) {
            put_legacy(self.what, map)
        } else {
            put_snake(self.what, map)
        }
    }
}

fn put_snake<M: SerializeMap>(what: &What, map: &mut M) -> Result<(), M::Error> {
    let plugin = |map: &mut M, track_id: &str, plugin_id: &str| {
        map.serialize_entry("track_id", track_id)?;
        map.serialize_entry("plugin_id", plugin_id)
    };
    match what {
        What::PluginAdded {
            track_id,
            plugin_id,
            name,
            kind,
            position,
            values,
            substituted_for,
            made: _,
        } => {
            plugin(map, track_id, plugin_id)?;
            map.serialize_entry("name", name)?;
            map.serialize_entry("plugin_path", &builtin_path(*kind))?;
            map.serialize_entry("plugin_format", "BUILTIN")?;
            map.serialize_entry("position", position)?;
            map.serialize_entry("parameters", &Parameters(*kind, values))?;
            map.serialize_entry("parameter_info", &Info(*kind))?;
            match substituted_for {
                Some(path) => map.serialize_entry("substituted_for", path),
                None => Ok(()),
            }
        }
        What::PluginRemoved {
            track_id,
            plugin_id,
        } => plugin(map, track_id, plugin_id),
        What::Parameter {
            track_id,
            plugin_id,
            parameter_id,
            value,
        } => {
            plugin(map, track_id, plugin_id)?;
            map.serialize_entry("parameter_id", parameter_id)?;
            map.serialize_entry("parameter_value", value)
        }
        What::Bypassed {
            track_id,
            plugin_id,
            bypass,
        } => {
            plugin(map, track_id, plugin_id)?;
            map.serialize_entry("bypass", bypass)
        }
        What::PresetLoaded {
            track_id,
            plugin_id,
            preset_name,
            kind,
            values,
        } => {
            plugin(map, track_id, plugin_id)?;
            map.serialize_entry("preset_name", preset_name)?;
            map.serialize_entry("parameters", &Parameters(*kind, values))
        }
        What::PresetSaved {
            track_id,
            plugin_id,
            preset_name,
            ..
        } => {
            plugin(map, track_id, plugin_id)?;
            map.serialize_entry("preset_name", preset_name)
        }
        What::PluginMoved {
            track_id,
            plugin_id,
            position,
            order,
        } => {
            plugin(map, track_id, plugin_id)?;
            map.serialize_entry("position", position)?;
            map.serialize_entry("order", order)
        }
        What::TrackAdded(track) | What::TrackUpdated(track) => {
            let object = track_object(track);
            object.put(map)?;
            map.serialize_entry("track", &object)
        }
        What::ChainLoaded { preset_name, track } => {
            let object = track_object(track);
            object.put(map)?;
            map.serialize_entry("preset_name", preset_name)?;
            map.serialize_entry("track", &object)
        }
        What::ChainSaved {
            track_id,
            preset_name,
            ..
        } => {
            map.serialize_entry("track_id", track_id)?;
            map.serialize_entry("preset_name", preset_name)
        }
        What::TrackRemoved { track_id } => map.serialize_entry("track_id", track_id),
        What::Panicked(mode) => map.serialize_entry("mode", mode_name(*mode)),
        What::Toned {
            track_id,
            freq_hz,
            level_db,
            seconds,
        } => {
            map.serialize_entry("track_id", track_id)?;
            map.serialize_entry("freq_hz", freq_hz)?;
            map.serialize_entry("level_db", level_db)?;
            map.serialize_entry("seconds", seconds)
        }
        What::Shed {
            track_id,
            plugin_id,
            shed,
        } => {
            plugin(map, track_id, plugin_id)?;
            map.serialize_entry("shed", shed)
        }
        What::Restored => Ok(()),
    }
}

fn put_legacy<M: SerializeMap>(what: &What, map: &mut M) -> Result<(), M::Error> {
    match what {
        What::PluginAdded {
            track_id,
            plugin_id,
            name,
            kind,
            position,
            values,
            ..
        } => {
            map.serialize_entry("pluginId", plugin_id)?;
            map.serialize_entry(
                "plugin",
                &LegacyPlugin {
                    track_id,
                    plugin_id,
                    name,
                    kind: *kind,
                    position: *position,
                    values,
                },
            )
        }
        What::PluginRemoved {
            track_id,
            plugin_id,
        } => {
            map.serialize_entry("pluginId", plugin_id)?;
            map.serialize_entry("trackId", track_id)
        }
        What::Parameter {
            plugin_id,
            parameter_id,
            value,
            ..
        } => {
            map.serialize_entry("pluginId", plugin_id)?;
            map.serialize_entry("parameterId", parameter_id)?;
            map.serialize_entry("value", value)
        }
        What::Bypassed {
            plugin_id, bypass, ..
        } => {
            map.serialize_entry("pluginId", plugin_id)?;
            map.serialize_entry("bypassed", bypass)
        }
        What::PresetLoaded {
            plugin_id,
            preset_name,
            kind,
            values,
            ..
        } => {
            map.serialize_entry("pluginId", plugin_id)?;
            map.serialize_entry("presetName", preset_name)?;
            map.serialize_entry("parameters", &Parameters(*kind, values))
        }
        _ => put_snake(what, map),
    }
}

struct LegacyPlugin<'a> {
    track_id: &'a str,
    plugin_id: &'a str,
    name: &'a str,
    kind: rigd_rt::Kind,
    position: usize,
    values: &'a [f64],
}

impl Serialize for LegacyPlugin<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", self.plugin_id)?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("trackId", self.track_id)?;
        map.serialize_entry("position", &self.position)?;
        map.serialize_entry("parameters", &Parameters(self.kind, self.values))?;
        map.serialize_entry("bypassed", &false)?;
        map.end()
    }
}
