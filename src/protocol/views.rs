//! Tracks, plugins and snapshots as JSON.

use rigd_rt::{Kind, Param, Scale, TrackKind};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::encode::mode_name;
use crate::rig::chain;
use crate::rig::howl::Howl;
use crate::rig::presets::Presets;
use crate::rig::state::{builtin_path, defaults};
use crate::rig::{Plugin, State, Track};

/// `{id: value}` for a kind's parameters.
pub struct Parameters<'a>(pub Kind, pub &'a [f64]);

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.params().iter().zip(self.1);
        serializer.collect_map(entries.map(|(param, value)| (param.id, value)))
    }
}

/// `{id: {name, min, …}}` for a kind's parameters.
pub struct Info(pub Kind);

impl Serialize for Info {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .params()
                .iter()
                .map(|param| (param.id, OneInfo(param))),
        )
    }
}

struct OneInfo(&'static Param);

impl Serialize for OneInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let param = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", param.name)?;
        map.serialize_entry("min", &param.min)?;
        map.serialize_entry("max", &param.max)?;
        map.serialize_entry("default", &param.default)?;
        map.serialize_entry("unit", param.unit)?;
        if let Some(step) = param.step {
            map.serialize_entry("step", &step)?;
        }
        let scale = match param.scale {
            Scale::Linear => "linear",
            Scale::Log => "log",
        };
        map.serialize_entry("scale", scale)?;
        map.end()
    }
}

/// A track's kind on the wire.
pub fn kind_name(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Mic => "mic",
        TrackKind::Stem => "stem",
        TrackKind::Bus => "bus",
        TrackKind::Master => "master",
    }
}

/// A track as it is now, with its chain.
pub fn track_object(track: &Track) -> Map<String, Value> {
    let sends: Map<String, Value> = track
        .sends
        .iter()
        .map(|(bus, level)| (bus.clone(), json!(level)))
        .collect();
    let plugins: Vec<Value> = track
        .plugins
        .iter()
        .enumerate()
        .map(|(position, plugin)| plugin_object(plugin, position))
        .collect();
    let value = json!({
        "track_id": track.id,
        "name": track.name,
        "kind": kind_name(track.kind),
        "input": track.input.to_string(),
        "input_gain_db": track.input_gain_db,
        "volume": track.volume,
        "pan": track.pan,
        "mute": track.mute,
        "solo": track.solo,
        "sends": sends,
        "plugins": plugins,
    });
    object(value)
}

fn plugin_object(plugin: &Plugin, position: usize) -> Value {
    let mut value = json!({
        "plugin_id": plugin.id,
        "name": plugin.name,
        "plugin_path": builtin_path(plugin.kind),
        "plugin_format": "BUILTIN",
        "position": position,
        "bypassed": plugin.bypassed,
        "parameters": Parameters(plugin.kind, &plugin.values),
        "parameter_info": Info(plugin.kind),
    });
    if let Some(path) = &plugin.substituted_for {
        value["substituted_for"] = json!(path);
    }
    if plugin.shed {
        value["shed"] = json!(true);
    }
    if let (Kind::Feedback, Value::Object(map)) = (plugin.kind, &mut value) {
        map.extend(howl(&plugin.howl));
    }
    value
}

/// What a `feedback` effect does by itself, in tenths of a Hz and of a dB.
pub fn howl(howl: &Howl) -> Map<String, Value> {
    let tenths = |value: f32| (f64::from(value) * 10.0).round() / 10.0;
    let notches: Vec<Value> = howl
        .notches()
        .into_iter()
        .map(
            |notch| json!({ "freq_hz": tenths(notch.freq_hz), "depth_db": tenths(notch.depth_db) }),
        )
        .collect();
    object(json!({
        "notches": notches,
        "howl_muted": howl.muted,
        "howl_gain_db": tenths(howl.gain_db),
    }))
}

/// Every track, in order.
pub fn tracks(state: &State) -> Vec<Value> {
    state
        .tracks
        .iter()
        .map(|track| Value::Object(track_object(track)))
        .collect()
}

/// Everything: the data of a `state.snapshot`.
pub fn snapshot(state: &State, epoch: &str, engine: Value) -> Map<String, Value> {
    object(json!({
        "success": true,
        "seq": state.seq,
        "epoch": epoch,
        "tracks": tracks(state),
        "panic": state.panic.map(mode_name),
        "engine": engine,
    }))
}

/// Every kind of plugin that the box can load: the data of `plugin.list`.
pub fn plugin_list() -> Map<String, Value> {
    let plugins: Vec<Value> = Kind::ALL
        .into_iter()
        .map(|kind| {
            json!({
                "name": kind.name(),
                "plugin_path": builtin_path(kind),
                "plugin_format": "BUILTIN",
                "parameters": Parameters(kind, &defaults(kind)),
                "parameter_info": Info(kind),
            })
        })
        .collect();
    object(json!({ "plugins": plugins }))
}

/// A kind's presets.
pub fn presets(presets: &Presets, kind: Kind) -> Value {
    presets
        .of(kind)
        .into_iter()
        .map(|(name, factory, values)| {
            let data: Map<String, Value> = values
                .into_iter()
                .map(|(id, value)| (id.to_owned(), json!(value)))
                .collect();
            json!({ "name": name, "factory": factory, "data": data })
        })
        .collect()
}

/// The chains that a microphone can take on.
pub fn chains(state: &State) -> Value {
    chain::all(state)
        .into_iter()
        .map(|(name, factory, chain)| {
            let plugins: Vec<Value> = chain
                .links
                .iter()
                .map(|link| {
                    json!({
                        "plugin_path": builtin_path(link.kind),
                        "bypassed": link.bypassed,
                        "parameters": Parameters(link.kind, &link.values),
                    })
                })
                .collect();
            let sends: Map<String, Value> = chain
                .sends
                .into_iter()
                .map(|(bus, level)| (bus, json!(level)))
                .collect();
            json!({ "name": name, "factory": factory, "plugins": plugins, "sends": sends })
        })
        .collect()
}

/// The map inside a JSON object.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
