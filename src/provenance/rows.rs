//! The state that survives, as rows of the database: a plugin a row of `plugin_configurations`, all
//! else a key and a JSON value in `state`.

use std::collections::BTreeMap;

use rigd_rt::{Kind, PanicMode, TrackKind};
use serde_json::{Map, Value, json};

use crate::protocol::encode::mode_name;
use crate::protocol::views::kind_name;
use crate::rig::chain::{Chain, Link};
use crate::rig::durable::Part;
use crate::rig::state::{builtin_path, defaults, parameter};
use crate::rig::{Durable, Plugin, Track};
use crate::session::Role;
use crate::session::people::Person;

/// One row to write (or, with no value, to delete).
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// Of `state`.
    State {
        /// Which.
        key: String,
        /// JSON.
        value: Option<String>,
    },
    /// Of `plugin_configurations`.
    Plugin {
        /// Which.
        id: String,
        /// Its columns.
        columns: Option<Columns>,
    },
}

/// A plugin's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// Its track.
    pub track_id: String,
    /// As it was asked for.
    pub name: String,
    /// `builtin:…`.
    pub plugin_path: String,
    /// Left out of the chain.
    pub bypassed: bool,
    /// JSON.
    pub parameters: String,
    /// The path that was asked for and is not here.
    pub substituted_for: Option<String>,
}

const ORDER: &str = "tracks";
const PANIC: &str = "panic";
const MADE: &str = "plugins_made";
const TRACK: &str = "track/";
const PRESET: &str = "preset/";
const CHAIN: &str = "chain/";
const PERSON: &str = "person/";

impl Row {
    /// A part of the state, as it is.
    pub fn of(part: &Part, state: &Durable) -> Row {
        let row = |key: String, value: Option<Value>| Row::State {
            key,
            value: value.map(|value| value.to_string()),
        };
        match part {
            Part::Order => {
                let ids: Vec<&str> = state.tracks.iter().map(|track| track.id.as_str()).collect();
                row(ORDER.to_owned(), Some(json!(ids)))
            }
            Part::Track(id) => row(format!("{TRACK}{id}"), state.track(id).map(track_value)),
            Part::Plugin(id) => Row::Plugin {
                id: id.clone(),
                columns: state
                    .plugin(id)
                    .map(|(track, plugin)| columns(track, plugin)),
            },
            Part::Preset(kind, name) => {
                let mut kept = state.presets.kept();
                let values = kept.find(|(k, n, _)| k == kind && n == name);
                let value = values.and_then(|(kind, _, values)| {
                    Some(named(kind_of(&format!("builtin:{kind}"))?, values))
                });
                row(format!("{PRESET}{kind}/{name}"), value)
            }
            Part::Chain(name) => {
                let chain = state.chains.get(name).map(chain_value);
                row(format!("{CHAIN}{name}"), chain)
            }
            Part::Panic => row(
                PANIC.to_owned(),
                state.panic.map(|mode| mode_name(mode).into()),
            ),
            Part::Person(id) => {
                let person = state.people.get(id).map(person_value);
                row(format!("{PERSON}{id}"), person)
            }
            Part::Made => row(MADE.to_owned(), Some(state.plugins_made.into())),
        }
    }
}

fn named(kind: Kind, values: &[f64]) -> Value {
    let params = kind.params().iter().zip(values);
    params
        .map(|(param, value)| (param.id.to_owned(), json!(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn track_value(track: &Track) -> Value {
    let plugins: Vec<&str> = track.plugins.iter().map(|p| p.id.as_str()).collect();
    json!({
        "name": track.name,
        "kind": kind_name(track.kind),
        "input": track.input.to_string(),
        "input_gain_db": track.input_gain_db,
        "volume": track.volume,
        "pan": track.pan,
        "mute": track.mute,
        "solo": track.solo,
        "sends": track.sends,
        "feed": track.feed,
        "plugins": plugins,
    })
}

fn columns(track: &Track, plugin: &Plugin) -> Columns {
    Columns {
        track_id: track.id.clone(),
        name: plugin.name.clone(),
        plugin_path: builtin_path(plugin.kind),
        bypassed: plugin.bypassed,
        parameters: named(plugin.kind, &plugin.values).to_string(),
        substituted_for: plugin.substituted_for.clone(),
    }
}

fn chain_value(chain: &Chain) -> Value {
    let link = |link: &Link| {
        json!({
            "plugin_path": builtin_path(link.kind),
            "parameters": named(link.kind, &link.values),
            "bypassed": link.bypassed,
        })
    };
    json!({
        "plugins": chain.links.iter().map(link).collect::<Vec<_>>(),
        "sends": chain.sends,
    })
}

fn person_value(person: &Person) -> Value {
    let role = person.role.as_ref();
    json!({
        "generation": person.generation,
        "good_from": person.good_from,
        "role": role.map(|(role, _)| role.name()),
        "tracks": role.map(|(_, tracks)| tracks),
    })
}

/// What `person/…` holds, if it can be read.
fn load_person(value: &Value) -> Option<Person> {
    let role = match value["role"].as_str() {
        Some(name) => Some((
            Role::from_name(name)?,
            serde_json::from_value(value["tracks"].clone()).ok()?,
        )),
        None => None,
    };
    Some(Person {
        generation: value["generation"].as_u64()?,
        good_from: value["good_from"].as_u64()?,
        role,
    })
}

fn kind_of(path: &str) -> Option<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| builtin_path(*kind) == path)
}

/// Values in the order of the kind's parameters; what is missing or can no longer be taken is at its
/// default.
fn values_of(kind: Kind, parameters: &Value) -> Vec<f64> {
    let mut values = defaults(kind);
    for (id, value) in parameters.as_object().into_iter().flatten() {
        if let (Some((index, param)), Some(value)) = (parameter(kind, id), value.as_f64())
            && (param.min..=param.max).contains(&value)
        {
            values[index] = value;
        }
    }
    values
}

/// The state that rows hold. What this rigd cannot read is left out, and said.
pub fn load(
    state: BTreeMap<String, String>,
    plugins: BTreeMap<String, Columns>,
) -> (Durable, Vec<String>) {
    let mut durable = Durable::default();
    let mut left_out = Vec::new();
    let value = |key: &str| -> Value {
        let text = state.get(key).map_or("null", String::as_str);
        serde_json::from_str(text).unwrap_or_default()
    };
    for id in value(ORDER).as_array().into_iter().flatten() {
        let Some(id) = id.as_str() else { continue };
        match load_track(id, &value(&format!("{TRACK}{id}")), &plugins, &mut left_out) {
            Some(track) => durable.tracks.push(track),
            None => left_out.push(format!("track {id}")),
        }
    }
    durable.panic = match value(PANIC).as_str() {
        Some("mute") => Some(PanicMode::Mute),
        Some("dry") => Some(PanicMode::Dry),
        _ => None,
    };
    durable.plugins_made = value(MADE).as_u64().unwrap_or(0);
    for key in state.keys() {
        if let Some((kind, name)) = key.strip_prefix(PRESET).and_then(|k| k.split_once('/')) {
            match kind_of(&format!("builtin:{kind}")) {
                Some(kind) => {
                    let values = values_of(kind, &value(key));
                    durable.presets.keep(kind, name, values);
                }
                None => left_out.push(format!("preset {name} of {kind}")),
            }
        }
        if let Some(id) = key.strip_prefix(PERSON) {
            match load_person(&value(key)) {
                Some(person) => durable.people.put(id.to_owned(), person),
                None => left_out.push(format!("what was said of {id}")),
            }
        }
        if let Some(name) = key.strip_prefix(CHAIN) {
            durable
                .chains
                .keep(name.to_owned(), load_chain(&value(key)));
        }
    }
    (durable, left_out)
}

fn load_track(
    id: &str,
    value: &Value,
    plugins: &BTreeMap<String, Columns>,
    left_out: &mut Vec<String>,
) -> Option<Track> {
    let kind = match value["kind"].as_str()? {
        "mic" => TrackKind::Mic,
        "stem" => TrackKind::Stem,
        "bus" => TrackKind::Bus,
        "master" => TrackKind::Master,
        _ => return None,
    };
    let mut track = Track::new(id, kind, value["input"].as_str()?.parse().ok()?);
    track.name = value["name"].as_str()?.to_owned();
    track.input_gain_db = value["input_gain_db"].as_f64()?;
    track.volume = value["volume"].as_f64()?;
    track.pan = value["pan"].as_f64()?;
    track.mute = value["mute"].as_bool()?;
    track.solo = value["solo"].as_bool()?;
    track.sends = load_sends(&value["sends"]);
    track.feed = value["feed"]
        .as_u64()
        .and_then(|feed| u8::try_from(feed).ok());
    for id in value["plugins"].as_array()? {
        let id = id.as_str()?;
        let Some(columns) = plugins.get(id) else {
            left_out.push(format!("plugin {id}"));
            continue;
        };
        let Some(kind) = kind_of(&columns.plugin_path) else {
            left_out.push(format!("plugin {id} ({})", columns.plugin_path));
            continue;
        };
        let parameters = serde_json::from_str(&columns.parameters).unwrap_or_default();
        let mut plugin = Plugin::new(id, &columns.name, kind);
        plugin.values = values_of(kind, &parameters);
        plugin.bypassed = columns.bypassed;
        plugin.substituted_for.clone_from(&columns.substituted_for);
        track.plugins.push(plugin);
    }
    Some(track)
}

fn load_sends(value: &Value) -> Vec<(String, f64)> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn load_chain(value: &Value) -> Chain {
    let link = |link: &Value| {
        let kind = kind_of(link["plugin_path"].as_str()?)?;
        Some(Link {
            kind,
            values: values_of(kind, &link["parameters"]),
            bypassed: link["bypassed"].as_bool().unwrap_or(false),
        })
    };
    Chain {
        links: value["plugins"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(link)
            .collect(),
        sends: load_sends(&value["sends"]),
    }
}
