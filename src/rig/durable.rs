//! What of the state survives a restart, and how it follows from changes. The log's own copy of the
//! state is kept by this alone, so log and state cannot disagree.

use rigd_rt::{PanicMode, TrackKind};

use super::chain::Chains;
use super::change::What;
use super::presets::Presets;
use super::state::{Plugin, State, Track, parameter};
use crate::session::People;

/// What survives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durable {
    /// In order, the master last.
    pub tracks: Vec<Track>,
    /// Kept values.
    pub presets: Presets,
    /// Kept chains.
    pub chains: Chains,
    /// Whether, and how, the rig was made safe.
    pub panic: Option<PanicMode>,
    /// Numbers that the rig has given to plugins without a name: no id is made twice.
    pub plugins_made: u64,
    /// What the host has said about people.
    pub people: People,
}

/// A part that a change touched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The list of tracks.
    Order,
    /// A track, with the order of its chain.
    Track(String),
    /// A plugin.
    Plugin(String),
    /// A kept preset: kind of effect, name.
    Preset(&'static str, String),
    /// A kept chain.
    Chain(String),
    /// Panic.
    Panic,
    /// How many plugins were made.
    Made,
    /// What is said of somebody.
    Person(String),
}

impl Durable {
    /// A track by id.
    pub fn track(&self, id: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    fn track_mut(&mut self, id: &str) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.id == id)
    }

    /// A plugin by id, with its track.
    pub fn plugin(&self, id: &str) -> Option<(&Track, &Plugin)> {
        self.tracks
            .iter()
            .find_map(|track| Some((track, track.plugins.iter().find(|plugin| plugin.id == id)?)))
    }

    fn plugin_mut(&mut self, id: &str) -> Option<&mut Plugin> {
        let plugins = self.tracks.iter_mut().flat_map(|track| &mut track.plugins);
        plugins.into_iter().find(|plugin| plugin.id == id)
    }

    /// Follows one change; says what it touched.
    pub fn follow(&mut self, what: &What) -> Vec<Part> {
        match what {
            What::PluginAdded {
                track_id,
                plugin_id,
                name,
                kind,
                position,
                values,
                substituted_for,
                made,
            } => {
                self.plugins_made = *made;
                let plugin = Plugin {
                    values: values.clone(),
                    substituted_for: substituted_for.clone(),
                    ..Plugin::new(plugin_id, name, *kind)
                };
                if let Some(track) = self.track_mut(track_id) {
                    let position = (*position).min(track.plugins.len());
                    track.plugins.insert(position, plugin);
                }
                vec![
                    Part::Track(track_id.clone()),
                    Part::Plugin(plugin_id.clone()),
                    Part::Made,
                ]
            }
            What::PluginRemoved {
                track_id,
                plugin_id,
            } => {
                if let Some(track) = self.track_mut(track_id) {
                    track.plugins.retain(|plugin| plugin.id != *plugin_id);
                }
                vec![
                    Part::Track(track_id.clone()),
                    Part::Plugin(plugin_id.clone()),
                ]
            }
            What::Parameter {
                plugin_id,
                parameter_id,
                value,
                ..
            } => {
                if let Some(plugin) = self.plugin_mut(plugin_id)
                    && let Some((index, _)) = parameter(plugin.kind, parameter_id)
                {
                    plugin.values[index] = *value;
                }
                vec![Part::Plugin(plugin_id.clone())]
            }
            What::Bypassed {
                plugin_id, bypass, ..
            } => {
                if let Some(plugin) = self.plugin_mut(plugin_id) {
                    plugin.bypassed = *bypass;
                }
                vec![Part::Plugin(plugin_id.clone())]
            }
            What::PresetLoaded {
                plugin_id, values, ..
            } => {
                if let Some(plugin) = self.plugin_mut(plugin_id) {
                    plugin.values.clone_from(values);
                }
                vec![Part::Plugin(plugin_id.clone())]
            }
            What::PresetSaved {
                kind,
                preset_name,
                values,
                ..
            } => {
                self.presets.keep(*kind, preset_name, values.clone());
                vec![Part::Preset(kind.name(), preset_name.clone())]
            }
            What::PluginMoved {
                track_id, order, ..
            } => {
                if let Some(track) = self.track_mut(track_id) {
                    let place = |plugin: &Plugin| order.iter().position(|id| *id == plugin.id);
                    track.plugins.sort_by_key(place);
                }
                vec![Part::Track(track_id.clone())]
            }
            What::TrackAdded(track) => {
                let before_master = self
                    .tracks
                    .iter()
                    .position(|track| track.kind == TrackKind::Master)
                    .unwrap_or(self.tracks.len());
                self.tracks.insert(before_master, (**track).clone());
                vec![Part::Order, Part::Track(track.id.clone())]
            }
            What::TrackRemoved { track_id } => self.remove_track(track_id),
            What::TrackUpdated(track) => {
                if let Some(present) = self.track_mut(&track.id) {
                    let plugins = std::mem::take(&mut present.plugins);
                    *present = Track {
                        plugins,
                        ..(**track).clone()
                    };
                }
                vec![Part::Track(track.id.clone())]
            }
            // The changes before it made it so; a tone is heard, and over.
            What::ChainLoaded { .. } | What::Toned { .. } => Vec::new(),
            // Temporary: nothing of it is kept.
            What::Shed {
                plugin_id, shed, ..
            } => {
                if let Some(plugin) = self.plugin_mut(plugin_id) {
                    plugin.shed = *shed;
                }
                Vec::new()
            }
            What::ChainSaved {
                preset_name, chain, ..
            } => {
                self.chains.keep(preset_name.clone(), chain.clone());
                vec![Part::Chain(preset_name.clone())]
            }
            What::Panicked(mode) => {
                self.panic = Some(*mode);
                vec![Part::Panic]
            }
            What::Restored => {
                self.panic = None;
                vec![Part::Panic]
            }
        }
    }

    fn remove_track(&mut self, track_id: &str) -> Vec<Part> {
        let mut parts = vec![Part::Order, Part::Track(track_id.to_owned())];
        if let Some(index) = self.tracks.iter().position(|track| track.id == track_id) {
            let gone = self.tracks.remove(index);
            parts.extend(
                gone.plugins
                    .into_iter()
                    .map(|plugin| Part::Plugin(plugin.id)),
            );
        }
        for track in &mut self.tracks {
            let sends = track.sends.len();
            track.sends.retain(|(bus, _)| bus != track_id);
            if track.sends.len() < sends {
                parts.push(Part::Track(track.id.clone()));
            }
        }
        parts
    }

    /// Every part that there is.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::Order, Part::Panic, Part::Made];
        for track in &self.tracks {
            parts.push(Part::Track(track.id.clone()));
            let plugins = track.plugins.iter();
            parts.extend(plugins.map(|plugin| Part::Plugin(plugin.id.clone())));
        }
        let presets = self.presets.kept();
        parts.extend(presets.map(|(kind, name, _)| Part::Preset(kind, name.to_owned())));
        let chains = self.chains.kept();
        parts.extend(chains.map(|(name, _)| Part::Chain(name.to_owned())));
        let people = self.people.iter();
        parts.extend(people.map(|(id, _)| Part::Person(id.to_owned())));
        parts
    }
}

impl State {
    /// What of it survives.
    pub fn durable(&self) -> Durable {
        Durable {
            tracks: self.tracks.clone(),
            presets: self.presets.clone(),
            chains: self.chains.clone(),
            panic: self.panic,
            plugins_made: self.plugins_made,
            people: self.people.clone(),
        }
    }
}
