//! Request → numbered changes and engine commands. Everything is checked first; what follows the
//! checks cannot fail, so a refused request has changed nothing.

use rigd_rt::{CHAIN_MAX, Command, Kind, Param};
use serde_json::Value;

use super::chain;
use super::change::{Change, What};
use super::presets::{PRESETS_MAX, Presets};
use super::reject::Reject;
use super::request::{ParameterChange, PluginRef, Request};
use super::state::{
    Plugin, State, Track, builtin_path, defaults, parameter, plugin_commands, set_commands,
};
use super::{tone, tracks};

/// What an accepted request comes to. All commands take effect at one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// In the order of their numbers.
    pub changes: Vec<Change>,
    /// For the engine, in order.
    pub commands: Vec<Command>,
}

impl Accepted {
    pub(super) fn one(state: &mut State, what: What, commands: Vec<Command>) -> Accepted {
        Accepted {
            changes: vec![state.number(what)],
            commands,
        }
    }
}

impl State {
    pub(super) fn number(&mut self, what: What) -> Change {
        Change {
            seq: self.next_seq(),
            what,
        }
    }

    /// A number for a change that nobody asked for.
    pub fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Where a plugin is: track index, plugin index.
    pub(super) fn find_plugin(&self, at: &PluginRef) -> Result<(usize, usize), Reject> {
        let not_found = || Reject::PluginNotFound {
            track_id: at.track_id.clone(),
            plugin_id: at.plugin_id.clone(),
        };
        if let Some(track_id) = &at.track_id {
            let Ok(track) = self.find_track(track_id) else {
                return Err(Reject::TrackNotFound {
                    track_id: track_id.clone(),
                    plugin_id: Some(at.plugin_id.clone()),
                });
            };
            let plugins = &self.tracks[track].plugins;
            let plugin = plugins.iter().position(|plugin| plugin.id == at.plugin_id);
            return plugin.map(|plugin| (track, plugin)).ok_or_else(not_found);
        }
        self.tracks
            .iter()
            .enumerate()
            .find_map(|(index, track)| {
                let plugin = track
                    .plugins
                    .iter()
                    .position(|plugin| plugin.id == at.plugin_id)?;
                Some((index, plugin))
            })
            .ok_or_else(not_found)
    }

    /// A plugin with its track.
    pub fn locate(&self, at: &PluginRef) -> Result<(&Track, &Plugin), Reject> {
        let (track, plugin) = self.find_plugin(at)?;
        let track = &self.tracks[track];
        Ok((track, &track.plugins[plugin]))
    }

    fn plugin_mut(&mut self, id: &str) -> Option<&mut Plugin> {
        self.tracks
            .iter_mut()
            .flat_map(|track| &mut track.plugins)
            .find(|plugin| plugin.id == id)
    }

    pub(super) fn find_track(&self, id: &str) -> Result<usize, Reject> {
        self.tracks
            .iter()
            .position(|track| track.id == id)
            .ok_or_else(|| Reject::no_track(id))
    }
}

/// Applies a request, or refuses it and changes nothing. Pure.
pub fn apply(state: &mut State, request: Request) -> Result<Accepted, Reject> {
    let mut accepted = dispatch(state, request)?;
    accepted.commands.extend(state.sidechains());
    for change in &accepted.changes {
        if let Some(plugin) = change.what.plugin_id().and_then(|id| state.plugin_mut(id)) {
            plugin.seq = change.seq;
        }
    }
    Ok(accepted)
}

pub(super) fn dispatch(state: &mut State, request: Request) -> Result<Accepted, Reject> {
    match request {
        Request::PluginAdd {
            track_id,
            name,
            plugin_path,
            position,
            plugin_id,
        } => plugin_add(state, track_id, name, plugin_path, position, plugin_id),
        Request::PluginRemove(at) => plugin_remove(state, &at),
        Request::PluginParameter(change) => parameters(state, std::slice::from_ref(&change)),
        Request::Parameters(changes) => parameters(state, &changes),
        Request::PluginBypass { plugin, bypass } => plugin_bypass(state, &plugin, bypass),
        Request::PluginPreset { plugin, name, data } => plugin_preset(state, &plugin, name, data),
        Request::PresetSave { plugin, name } => preset_save(state, &plugin, name),
        Request::PluginMove { plugin, position } => plugin_move(state, &plugin, &position),
        Request::TrackAdd {
            track_id,
            kind,
            fields,
        } => tracks::add(state, track_id, kind, fields),
        Request::TrackRemove { track_id } => tracks::remove(state, &track_id),
        Request::TrackUpdate { track_id, fields } => tracks::update(state, &track_id, fields),
        Request::ChainLoad { track_id, name } => chain::load(state, &track_id, &name),
        Request::ChainSave { track_id, name } => chain::save(state, &track_id, name),
        Request::Panic(mode) => {
            state.panic = Some(mode);
            Ok(Accepted::one(
                state,
                What::Panicked(mode),
                vec![Command::Panic { mode: Some(mode) }],
            ))
        }
        Request::Tone(fields) => tone::tone(state, &fields),
        Request::Restore => {
            state.panic = None;
            Ok(Accepted::one(
                state,
                What::Restored,
                vec![Command::Panic { mode: None }],
            ))
        }
    }
}

/// A value that a batch may set: everything about it is known to be right.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Track index in the state.
    track: usize,
    /// Plugin index in the track.
    plugin: usize,
    /// Parameter index in the plugin's kind.
    parameter: usize,
    /// In the parameter's unit.
    pub value: f64,
}

impl Checked {
    /// Which parameter.
    pub fn parameter_id(&self, state: &State) -> &'static str {
        let kind = state.tracks[self.track].plugins[self.plugin].kind;
        kind.params()[self.parameter].id
    }
}

/// Checks one change against the state as it is.
pub fn check(state: &State, change: &ParameterChange) -> Result<Checked, Reject> {
    let (track, plugin) = state.find_plugin(&change.plugin)?;
    let found = state.tracks[track].plugins[plugin].parameter(&change.parameter_id);
    let Some((parameter, param)) = found else {
        return Err(unknown_parameter(&change.parameter_id, &change.value));
    };
    let value = check_value(param, &change.value)?;
    Ok(Checked {
        track,
        plugin,
        parameter,
        value,
    })
}

/// Checks a whole batch: all of it, or every fault in it.
pub fn check_all(state: &State, changes: &[ParameterChange]) -> Result<Vec<Checked>, Reject> {
    let mut checked = Vec::with_capacity(changes.len());
    let mut faults = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        match check(state, change) {
            Ok(change) => checked.push(change),
            Err(fault) => faults.push((index, fault)),
        }
    }
    if faults.is_empty() {
        Ok(checked)
    } else {
        Err(Reject::InvalidBatch(faults))
    }
}

fn parameters(state: &mut State, changes: &[ParameterChange]) -> Result<Accepted, Reject> {
    let checked = match changes {
        [change] => vec![check(state, change)?],
        _ => check_all(state, changes)?,
    };
    let mut accepted = Accepted {
        changes: Vec::with_capacity(changes.len()),
        commands: Vec::with_capacity(changes.len()),
    };
    for Checked {
        track,
        plugin,
        parameter,
        value,
    } in checked
    {
        let track_id = state.tracks[track].id.clone();
        let plugin = &mut state.tracks[track].plugins[plugin];
        plugin.values[parameter] = value;
        let what = What::Parameter {
            track_id,
            plugin_id: plugin.id.clone(),
            parameter_id: plugin.kind.params()[parameter].id,
            value,
        };
        accepted.commands.push(Command::Set {
            slot: plugin.slot,
            param: parameter as u8,
            value: value as f32,
        });
        accepted.changes.push(state.number(what));
    }
    Ok(accepted)
}

fn unknown_parameter(id: &str, value: &Value) -> Reject {
    Reject::InvalidParameter {
        parameter_id: id.to_owned(),
        parameter_value: Box::new(value.clone()),
        validation_error: "is not one of this plugin's; plugin.parameters.get shows them"
            .to_owned(),
        range: None,
    }
}

/// The value, if the parameter can take it.
fn check_value(param: &Param, value: &Value) -> Result<f64, Reject> {
    let number = in_range(param.id, value, param.min, param.max)?;
    if let Some(step) = param.step {
        let steps = (number - param.min) / step;
        if steps != libm::round(steps) {
            let error = format!("goes in steps of {step} from {}", param.min);
            return Err(out_of_range(param.id, value, error, param.min, param.max));
        }
    }
    Ok(number)
}

/// The value as a number, if it is one and lies in a range (both ends allowed).
pub(super) fn in_range(id: &str, value: &Value, min: f64, max: f64) -> Result<f64, Reject> {
    match value.as_f64() {
        Some(number) if number.is_finite() && (min..=max).contains(&number) => Ok(number),
        Some(number) if number.is_finite() => Err(out_of_range(
            id,
            value,
            format!("must be from {min} to {max}"),
            min,
            max,
        )),
        _ => Err(out_of_range(
            id,
            value,
            "must be a finite number".to_owned(),
            min,
            max,
        )),
    }
}

fn out_of_range(id: &str, value: &Value, error: String, min: f64, max: f64) -> Reject {
    Reject::InvalidParameter {
        parameter_id: id.to_owned(),
        parameter_value: Box::new(value.clone()),
        validation_error: error,
        range: Some((min, max)),
    }
}

/// A whole number from 0 to `max`.
fn position_in(value: &Value, max: usize) -> Result<usize, Reject> {
    let number = in_range("position", value, 0.0, max as f64)?;
    if number != libm::trunc(number) {
        let error = "must be a whole number".to_owned();
        return Err(out_of_range("position", value, error, 0.0, max as f64));
    }
    Ok(number as usize)
}

/// What the box can load, as paths.
pub fn available() -> Vec<String> {
    Kind::ALL.into_iter().map(builtin_path).collect()
}

/// Finds the effect that is meant: the path first, then the name. The second part is the path that
/// was asked for, when it is not what was found.
fn resolve(name: &str, path: Option<&str>) -> Result<(Kind, Option<String>), Reject> {
    let by_path = |path: &str| {
        Kind::ALL
            .into_iter()
            .find(|kind| builtin_path(*kind) == path)
    };
    if let Some(kind) = path.and_then(by_path) {
        return Ok((kind, None));
    }
    let wanted = name.to_lowercase();
    let wanted = wanted
        .split_whitespace()
        .filter(|word| *word != "plugin")
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == wanted) {
        return Ok((kind, path.map(str::to_owned)));
    }
    let lower = path.unwrap_or_default().to_lowercase();
    let reason = if [".vst3", ".component", ".vst", ".dll"]
        .iter()
        .any(|end| lower.trim_end_matches('/').ends_with(end))
    {
        "VST3 and AU plugins are not loaded on this box, and no built-in effect has that name"
    } else {
        "the box has no such plugin, and no built-in effect has that name"
    };
    Err(Reject::PluginAddFailed {
        reason: reason.to_owned(),
        plugin_path: path.map(str::to_owned),
        name: name.to_owned(),
        available: available(),
    })
}

fn plugin_add(
    state: &mut State,
    track_id: String,
    name: String,
    plugin_path: Option<String>,
    position: Option<Value>,
    plugin_id: Option<String>,
) -> Result<Accepted, Reject> {
    let track = state.find_track(&track_id)?;
    let (kind, substituted_for) = resolve(&name, plugin_path.as_deref())?;
    if let Some(id) = plugin_id.as_deref()
        && state.plugin(id).is_some()
    {
        return Err(Reject::PluginAddFailed {
            reason: format!("the id \"{id}\" is taken"),
            plugin_path,
            name,
            available: available(),
        });
    }
    let chain = &state.tracks[track].plugins;
    // Behind the master's limiter there is no place.
    let last = chain.iter().filter(|plugin| !plugin.is_fixed()).count();
    let position = match position {
        Some(position) => position_in(&position, last)?,
        None => last,
    };
    let new = NewPlugin {
        kind,
        name,
        id: plugin_id,
        values: defaults(kind),
        substituted_for,
    };
    insert_plugin(state, track, position, new)
}

/// A plugin that is to be.
pub(super) struct NewPlugin {
    pub kind: Kind,
    pub name: String,
    /// Free in the rig; `None` to have one made.
    pub id: Option<String>,
    pub values: Vec<f64>,
    pub substituted_for: Option<String>,
}

/// Puts a plugin into a chain, if there is room for it.
pub(super) fn insert_plugin(
    state: &mut State,
    track: usize,
    position: usize,
    new: NewPlugin,
) -> Result<Accepted, Reject> {
    let NewPlugin {
        kind,
        name,
        id,
        values,
        substituted_for,
    } = new;
    if state.tracks[track].plugins.len() >= CHAIN_MAX {
        return Err(Reject::Capacity {
            what: "plugins on this track",
            limit: CHAIN_MAX as u64,
        });
    }
    let Some((slot, memory)) = state.places.take_slot(kind, state.wiring.sample_rate_hz) else {
        let samples = u64::from(state.places.pool_samples());
        return Err(Reject::Capacity {
            what: "delay memory (samples)",
            limit: samples,
        });
    };
    let id = id.unwrap_or_else(|| state.new_plugin_id(kind));
    let plugin = Plugin {
        values: values.clone(),
        substituted_for: substituted_for.clone(),
        slot,
        memory,
        ..Plugin::new(&id, &name, kind)
    };
    let commands = plugin_commands(&plugin, state.tracks[track].place, position);
    state.tracks[track].plugins.insert(position, plugin);
    let what = What::PluginAdded {
        track_id: state.tracks[track].id.clone(),
        plugin_id: id,
        name,
        kind,
        position,
        values,
        substituted_for,
        made: state.plugins_made,
    };
    Ok(Accepted::one(state, what, commands))
}

impl State {
    fn new_plugin_id(&mut self, kind: Kind) -> String {
        loop {
            self.plugins_made += 1;
            let id = format!("{}_{}", kind.name(), self.plugins_made);
            if self.plugin(&id).is_none() {
                return id;
            }
        }
    }

    /// Where a plugin is that users may take away, move or bypass.
    fn find_free_plugin(&self, at: &PluginRef) -> Result<(usize, usize), Reject> {
        let (track, plugin) = self.find_plugin(at)?;
        if self.tracks[track].plugins[plugin].is_fixed() {
            return Err(Reject::EngineError(
                "the master's limiter is always last and cannot be removed, moved or bypassed"
                    .to_owned(),
            ));
        }
        Ok((track, plugin))
    }
}

fn plugin_remove(state: &mut State, at: &PluginRef) -> Result<Accepted, Reject> {
    let (track, plugin) = state.find_free_plugin(at)?;
    let gone = state.tracks[track].plugins.remove(plugin);
    let what = What::PluginRemoved {
        track_id: state.tracks[track].id.clone(),
        plugin_id: gone.id,
    };
    Ok(Accepted::one(
        state,
        what,
        vec![Command::RemoveEffect { slot: gone.slot }],
    ))
}

fn plugin_bypass(state: &mut State, at: &PluginRef, bypass: bool) -> Result<Accepted, Reject> {
    let (track, plugin) = state.find_free_plugin(at)?;
    let track_id = state.tracks[track].id.clone();
    let plugin = &mut state.tracks[track].plugins[plugin];
    plugin.bypassed = bypass;
    let command = Command::Bypass {
        slot: plugin.slot,
        on: bypass,
    };
    let what = What::Bypassed {
        track_id,
        plugin_id: plugin.id.clone(),
        bypass,
    };
    Ok(Accepted::one(state, what, vec![command]))
}

fn plugin_move(state: &mut State, at: &PluginRef, position: &Value) -> Result<Accepted, Reject> {
    let (track, plugin) = state.find_free_plugin(at)?;
    let track = &mut state.tracks[track];
    let movable = track
        .plugins
        .iter()
        .filter(|plugin| !plugin.is_fixed())
        .count();
    let position = position_in(position, movable - 1)?;
    let moved = track.plugins.remove(plugin);
    let command = Command::MoveEffect {
        slot: moved.slot,
        position: position as u8,
    };
    let plugin_id = moved.id.clone();
    track.plugins.insert(position, moved);
    let order = track
        .plugins
        .iter()
        .map(|plugin| plugin.id.clone())
        .collect();
    let what = What::PluginMoved {
        track_id: track.id.clone(),
        plugin_id,
        position,
        order,
    };
    Ok(Accepted::one(state, what, vec![command]))
}

fn plugin_preset(
    state: &mut State,
    at: &PluginRef,
    name: Option<String>,
    data: Option<Vec<(String, Value)>>,
) -> Result<Accepted, Reject> {
    let (track, plugin) = state.find_plugin(at)?;
    let track_id = state.tracks[track].id.clone();
    let found = &state.tracks[track].plugins[plugin];
    let values = match (&data, &name) {
        (Some(data), _) => {
            let mut values = found.values.clone();
            for (id, value) in data {
                let (index, param) = found
                    .parameter(id)
                    .ok_or_else(|| unknown_parameter(id, value))?;
                values[index] = check_value(param, value)?;
            }
            values
        }
        (None, Some(name)) => {
            let named = state.presets.find(found.kind, name).ok_or_else(|| {
                let kind = found.kind.name();
                Reject::PresetLoadFailed(format!("there is no preset \"{name}\" for \"{kind}\""))
            })?;
            let mut values = found.values.clone();
            for (id, value) in named {
                if let Some((index, _)) = parameter(found.kind, id) {
                    values[index] = value;
                }
            }
            values
        }
        (None, None) => {
            return Err(Reject::field(
                "preset_name",
                "is missing (or give preset_data)",
            ));
        }
    };
    let plugin = &mut state.tracks[track].plugins[plugin];
    plugin.values.clone_from(&values);
    let commands = set_commands(plugin.slot, &values).collect();
    let (plugin_id, kind) = (plugin.id.clone(), plugin.kind);
    let what = What::PresetLoaded {
        track_id,
        plugin_id,
        preset_name: name,
        kind,
        values,
    };
    Ok(Accepted::one(state, what, commands))
}

fn preset_save(state: &mut State, at: &PluginRef, name: String) -> Result<Accepted, Reject> {
    let (track, plugin) = state.find_plugin(at)?;
    let track_id = state.tracks[track].id.clone();
    let plugin = &state.tracks[track].plugins[plugin];
    let (kind, plugin_id, values) = (plugin.kind, plugin.id.clone(), plugin.values.clone());
    if Presets::is_factory(kind, &name) {
        return Err(Reject::PresetLoadFailed(format!(
            "\"{name}\" came with the box; choose another name"
        )));
    }
    if !state.presets.has_room(kind, &name) {
        return Err(Reject::Capacity {
            what: "presets for this effect",
            limit: PRESETS_MAX as u64,
        });
    }
    state.presets.keep(kind, &name, values.clone());
    let what = What::PresetSaved {
        track_id,
        plugin_id,
        preset_name: name,
        kind,
        values,
    };
    Ok(Accepted::one(state, what, Vec::new()))
}
