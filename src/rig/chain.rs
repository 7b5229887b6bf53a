//! Whole chains for a microphone: those that came with the box, those that users keep, and how a track
//! takes one on. Loading one is a row of ordinary changes at one frame, so that a client that has
//! never heard of chain presets follows all the same.

use std::collections::BTreeMap;

use rigd_rt::{Kind, TrackKind};
use serde_json::{Value, json};

use super::apply::{Accepted, NewPlugin, dispatch, insert_plugin};
use super::change::What;
use super::presets::from_factory;
use super::reject::Reject;
use super::request::{PluginRef, Request, TrackFields};
use super::state::{Plugin, State, Track};

/// Chains that users can keep.
pub const CHAINS_MAX: usize = 128;

/// One effect of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Which effect.
    pub kind: Kind,
    /// All its values, in the order of [`Kind::params`].
    pub values: Vec<f64>,
    /// Left out.
    pub bypassed: bool,
}

/// A chain with its sends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// In order.
    pub links: Vec<Link>,
    /// Bus id → 0…1.
    pub sends: Vec<(String, f64)>,
}

/// A chain of the box: presets of effects, and how much of the reverb and echo that all share.
struct Recipe {
    name: &'static str,
    links: &'static [(Kind, &'static str)],
    /// As send levels. Where no bus has such an effect, the chain gets one of its own.
    reverb: f64,
    echo: f64,
    /// Its own, with `wet_dry`, whatever the buses have.
    own: Option<(Kind, &'static str, f64)>,
}

/// Those of the box.
const FACTORY: [Recipe; 7] = [
    Recipe {
        name: "natural",
        links: &[
            (Kind::Hpf, "Voice"),
            (Kind::Feedback, "Default"),
            (Kind::Gate, "Gentle"),
            (Kind::Compressor, "Gentle"),
            (Kind::Eq, "Natural"),
            (Kind::Deesser, "Light"),
        ],
        reverb: 0.25,
        echo: 0.08,
        own: None,
    },
    Recipe {
        name: "warm",
        links: &[
            (Kind::Hpf, "Deep voice"),
            (Kind::Feedback, "Default"),
            (Kind::Gate, "Gentle"),
            (Kind::Compressor, "Even"),
            (Kind::Eq, "Warm"),
            (Kind::Deesser, "Light"),
        ],
        reverb: 0.3,
        echo: 0.1,
        own: None,
    },
    Recipe {
        name: "bright",
        links: &[
            (Kind::Hpf, "Voice"),
            (Kind::Feedback, "Default"),
            (Kind::Gate, "Gentle"),
            (Kind::Compressor, "Even"),
            (Kind::Eq, "Bright"),
            (Kind::Deesser, "Strong"),
        ],
        reverb: 0.25,
        echo: 0.08,
        own: None,
    },
    Recipe {
        name: "big hall",
        links: &[
            (Kind::Hpf, "Voice"),
            (Kind::Feedback, "Default"),
            (Kind::Gate, "Gentle"),
            (Kind::Compressor, "Even"),
            (Kind::Eq, "Natural"),
            (Kind::Deesser, "Light"),
        ],
        reverb: 0.0,
        echo: 0.0,
        own: Some((Kind::Reverb, "Big hall", 0.35)),
    },
    Recipe {
        name: "slap echo",
        links: &[
            (Kind::Hpf, "Voice"),
            (Kind::Feedback, "Default"),
            (Kind::Gate, "Gentle"),
            (Kind::Compressor, "Even"),
            (Kind::Eq, "Natural"),
            (Kind::Deesser, "Light"),
        ],
        reverb: 0.1,
        echo: 0.0,
        own: Some((Kind::Echo, "Slap", 0.28)),
    },
    Recipe {
        name: "talk",
        links: &[
            (Kind::Hpf, "Handling noise"),
            (Kind::Feedback, "Default"),
            (Kind::Gate, "Loud room"),
            (Kind::Compressor, "Talk"),
            (Kind::Eq, "Clear speech"),
            (Kind::Deesser, "Light"),
        ],
        reverb: 0.0,
        echo: 0.0,
        own: None,
    },
    Recipe {
        name: "off",
        links: &[],
        reverb: 0.0,
        echo: 0.0,
        own: None,
    },
];

/// The chain that the karaoke rig gives every microphone.
pub const NATURAL: &str = FACTORY[0].name;

impl Recipe {
    /// The chain in a rig with these buses.
    fn chain(&self, state: &State) -> Chain {
        let link = |kind, preset, wet: Option<f64>| {
            let mut values = from_factory(kind, preset);
            let wet_dry = kind.params().iter().position(|param| param.id == "wet_dry");
            if let (Some(wet), Some(index)) = (wet, wet_dry) {
                values[index] = wet;
            }
            Link {
                kind,
                values,
                bypassed: false,
            }
        };
        let mut chain = Chain::default();
        for (kind, preset) in self.links {
            chain.links.push(link(*kind, preset, None));
        }
        for (kind, level, preset) in [
            (Kind::Echo, self.echo, "Karaoke"),
            (Kind::Reverb, self.reverb, "Hall"),
        ] {
            match bus_with(state, kind) {
                Some(bus) => chain.sends.push((bus.id.clone(), level)),
                // As loud beside the dry voice as that send would be.
                None if level > 0.0 => {
                    let wet = level / (1.0 + level);
                    chain.links.push(link(kind, preset, Some(wet)));
                }
                None => {}
            }
        }
        if let Some((kind, preset, wet)) = self.own {
            chain.links.push(link(kind, preset, Some(wet)));
        }
        chain
    }
}

/// The first bus that carries an effect.
fn bus_with(state: &State, kind: Kind) -> Option<&Track> {
    let mut buses = state.tracks.iter().filter(|t| t.kind == TrackKind::Bus);
    buses.find(|bus| bus.plugins.iter().any(|plugin| plugin.kind == kind))
}

fn factory(name: &str) -> Option<&'static Recipe> {
    let name = name.to_lowercase();
    FACTORY.iter().find(|recipe| recipe.name == name)
}

/// What users keep, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chains(BTreeMap<String, Chain>);

impl Chains {
    /// Keeps a chain under a name.
    pub fn keep(&mut self, name: String, chain: Chain) {
        self.0.insert(name, chain);
    }

    /// A kept chain.
    pub fn get(&self, name: &str) -> Option<&Chain> {
        self.0.get(name)
    }

    /// All of them.
    pub fn kept(&self) -> impl Iterator<Item = (&str, &Chain)> {
        self.0.iter().map(|(name, chain)| (name.as_str(), chain))
    }
}

/// Every chain that there is in this rig: name, whether it came with the box, and what it is.
pub fn all(state: &State) -> Vec<(String, bool, Chain)> {
    let factory = FACTORY
        .iter()
        .map(|recipe| (recipe.name.to_owned(), true, recipe.chain(state)));
    let kept = state.chains.0.iter();
    factory
        .chain(kept.map(|(name, chain)| (name.clone(), false, chain.clone())))
        .collect()
}

fn find(state: &State, name: &str) -> Result<Chain, Reject> {
    let factory = factory(name).map(|recipe| recipe.chain(state));
    let kept = || state.chains.0.get(name).cloned();
    factory.or_else(kept).ok_or_else(|| {
        Reject::PresetLoadFailed(format!(
            "there is no chain \"{name}\"; track.presets.get shows those that there are"
        ))
    })
}

fn mic(state: &State, track_id: &str) -> Result<usize, Reject> {
    let index = state.find_track(track_id)?;
    if state.tracks[index].kind == TrackKind::Mic {
        return Ok(index);
    }
    Err(Reject::PresetLoadFailed(format!(
        "chain presets are for microphones, which \"{track_id}\" is not"
    )))
}

/// A microphone's chain becomes that of a preset: effects of a kind that is wanted stay and get its
/// values, the others go, what is missing comes. Whole, or not at all.
pub fn load(state: &mut State, track_id: &str, name: &str) -> Result<Accepted, Reject> {
    let track = mic(state, track_id)?;
    let chain = find(state, name)?;
    let mut taking = Taking {
        state: state.clone(),
        track,
        accepted: Accepted::default(),
    };
    taking.chain(&chain.links)?;
    taking.sends(&chain)?;
    let Taking {
        state: mut next,
        mut accepted,
        ..
    } = taking;
    let what = What::ChainLoaded {
        preset_name: name.to_owned(),
        track: Box::new(next.tracks[track].clone()),
    };
    accepted.changes.push(next.number(what));
    *state = next;
    Ok(accepted)
}

/// A track on its way to a new chain, in a copy of the state.
struct Taking {
    state: State,
    track: usize,
    accepted: Accepted,
}

impl Taking {
    fn plugins(&self) -> &[Plugin] {
        &self.state.tracks[self.track].plugins
    }

    fn take(&mut self, accepted: Accepted) {
        self.accepted.changes.extend(accepted.changes);
        self.accepted.commands.extend(accepted.commands);
    }

    fn ask(&mut self, request: Request) -> Result<(), Reject> {
        let accepted = dispatch(&mut self.state, request)?;
        self.take(accepted);
        Ok(())
    }

    fn chain(&mut self, links: &[Link]) -> Result<(), Reject> {
        let mut spare: Vec<Plugin> = self.plugins().to_vec();
        let mut kept = Vec::new();
        for link in links {
            let same = spare.iter().position(|plugin| plugin.kind == link.kind);
            kept.push(same.map(|index| spare.remove(index)));
        }
        for plugin in spare {
            self.ask(Request::PluginRemove(at(&plugin.id)))?;
        }
        for (position, (link, present)) in links.iter().zip(kept).enumerate() {
            let (id, was_bypassed) = match present {
                Some(plugin) => {
                    if plugin.values != link.values {
                        let ids = link.kind.params().iter().map(|param| param.id.to_owned());
                        let values = link.values.iter().map(|value| json!(value));
                        self.ask(Request::PluginPreset {
                            plugin: at(&plugin.id),
                            name: None,
                            data: Some(ids.zip(values).collect()),
                        })?;
                    }
                    (plugin.id, plugin.bypassed)
                }
                None => (self.add(position, link)?, false),
            };
            if was_bypassed != link.bypassed {
                self.ask(Request::PluginBypass {
                    plugin: at(&id),
                    bypass: link.bypassed,
                })?;
            }
            if self.plugins().get(position).is_none_or(|p| p.id != id) {
                self.ask(Request::PluginMove {
                    plugin: at(&id),
                    position: json!(position),
                })?;
            }
        }
        Ok(())
    }

    fn add(&mut self, position: usize, link: &Link) -> Result<String, Reject> {
        let readable = format!("{}.{}", self.state.tracks[self.track].id, link.kind.name());
        let is_free = readable.len() <= 64 && self.state.plugin(&readable).is_none();
        let new = NewPlugin {
            kind: link.kind,
            name: link.kind.name().to_owned(),
            id: is_free.then_some(readable),
            values: link.values.clone(),
            substituted_for: None,
        };
        let accepted = insert_plugin(&mut self.state, self.track, position, new)?;
        self.take(accepted);
        Ok(self.plugins()[position].id.clone())
    }

    fn sends(&mut self, chain: &Chain) -> Result<(), Reject> {
        let track = &self.state.tracks[self.track];
        let level = |bus: &str| {
            let send = track.sends.iter().find(|(present, _)| present == bus);
            send.map_or(0.0, |(_, level)| *level)
        };
        let there = |bus: &str| {
            let bus = self.state.track(bus);
            bus.is_some_and(|bus| bus.kind == TrackKind::Bus)
        };
        let sends: Vec<(String, Value)> = chain
            .sends
            .iter()
            .filter(|(bus, wanted)| there(bus) && level(bus) != *wanted)
            .map(|(bus, wanted)| (bus.clone(), json!(wanted)))
            .collect();
        if sends.is_empty() {
            return Ok(());
        }
        self.ask(Request::TrackUpdate {
            track_id: track.id.clone(),
            fields: TrackFields {
                sends: Some(sends),
                ..TrackFields::default()
            },
        })
    }
}

fn at(plugin_id: &str) -> PluginRef {
    PluginRef {
        track_id: None,
        plugin_id: plugin_id.to_owned(),
    }
}

/// A microphone's chain is kept under a name, with its sends to every bus that there is.
pub fn save(state: &mut State, track_id: &str, name: String) -> Result<Accepted, Reject> {
    let index = mic(state, track_id)?;
    if factory(&name).is_some() {
        return Err(Reject::PresetLoadFailed(format!(
            "\"{name}\" came with the box; choose another name"
        )));
    }
    let kept = &state.chains.0;
    if kept.len() >= CHAINS_MAX && !kept.contains_key(&name) {
        return Err(Reject::Capacity {
            what: "chain presets",
            limit: CHAINS_MAX as u64,
        });
    }
    let track = &state.tracks[index];
    let links = track.plugins.iter().map(|plugin| Link {
        kind: plugin.kind,
        values: plugin.values.clone(),
        bypassed: plugin.bypassed,
    });
    let buses = state.tracks.iter().filter(|t| t.kind == TrackKind::Bus);
    let sends = buses.map(|bus| {
        let send = track.sends.iter().find(|(id, _)| *id == bus.id);
        (bus.id.clone(), send.map_or(0.0, |(_, level)| *level))
    });
    let chain = Chain {
        links: links.collect(),
        sends: sends.collect(),
    };
    state.chains.keep(name.clone(), chain.clone());
    let what = What::ChainSaved {
        track_id: track_id.to_owned(),
        preset_name: name,
        chain,
    };
    Ok(Accepted {
        changes: vec![state.number(what)],
        commands: Vec::new(),
    })
}
