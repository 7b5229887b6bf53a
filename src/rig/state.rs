//! What is: tracks in order, each with its chain; presets; panic. Plus where each of them lives in
//! the engine, so that the whole engine can be built from the state at any time ([`State::build`]).

use rigd_rt::command::{NO_CHANNEL, TrackLevel};
use rigd_rt::{CHANNELS_MAX, Command, Kind, PanicMode, Param, Report, TRACK_PLACES, TrackKind};

use super::chain::Chains;
use super::durable::Durable;
use super::howl::Howl;
use super::places::{Memory, Places};
use super::presets::Presets;
use crate::backend::Format;
use crate::config::{self, TrackInput};
use crate::session::People;

/// The id of its limiter, which is always there and always last.
pub const LIMITER: &str = "limiter";

/// How microphones find their channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicFeed {
    /// By their `input`.
    Device,
    /// The backend reads a file: its channels feed the mics in order, one each.
    InOrder,
    /// The same, beginning again with the first channel when there are more mics than channels.
    InOrderLooped,
    /// The backend has ports, which others connect: every track with a device's input has two
    /// channels of its own, at [`port_channels`] of its place.
    Ports,
}

/// Left and right channel of the track in an engine place, on a backend with ports.
pub const fn port_channels(place: u8) -> [u8; 2] {
    [2 * place, 2 * place + 1]
}

const _: () = assert!(2 * TRACK_PLACES <= CHANNELS_MAX);

/// A track that wants its sound from a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its place in the engine.
    pub place: u8,
    /// Its id.
    pub track_id: String,
    /// The device's channel, from 1: of a stereo track the left one.
    pub first: u8,
    /// Of a stereo track the right one, else the same.
    pub last: u8,
}

/// One effect in a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Unique in the rig.
    pub id: String,
    /// As it was asked for.
    pub name: String,
    /// Which effect.
    pub kind: Kind,
    /// In the order of [`Kind::params`], each in its own unit.
    pub values: Vec<f64>,
    /// Left out of the chain.
    pub bypassed: bool,
    /// It rests because the processor is too slow. Temporary: not kept.
    pub shed: bool,
    /// The path that was asked for and is not here.
    pub substituted_for: Option<String>,
    /// Number of the newest change to it.
    pub seq: u64,
    /// Of `feedback`: what it does by itself. Measured, not set: no change, and not kept.
    pub howl: Howl,
    pub(super) slot: u8,
    pub(super) memory: Memory,
    /// Places of the tracks that it listens to, as the engine was told.
    pub(super) sidechain: u32,
}

impl Plugin {
    /// One at its defaults.
    pub fn new(id: &str, name: &str, kind: Kind) -> Plugin {
        Plugin {
            id: id.to_owned(),
            name: name.to_owned(),
            kind,
            values: defaults(kind),
            bypassed: false,
            shed: false,
            substituted_for: None,
            seq: 0,
            howl: Howl::default(),
            slot: 0,
            memory: Memory::default(),
            sidechain: 0,
        }
    }

    /// Whether it is the master's limiter.
    pub fn is_fixed(&self) -> bool {
        self.id == LIMITER
    }

    /// Index and description of a parameter.
    pub fn parameter(&self, id: &str) -> Option<(usize, &'static Param)> {
        parameter(self.kind, id)
    }
}

/// Index and description of a parameter of a kind.
pub fn parameter(kind: Kind, id: &str) -> Option<(usize, &'static Param)> {
    kind.params()
        .iter()
        .enumerate()
        .find(|(_, param)| param.id == id)
}

/// `builtin:<name>`.
pub fn builtin_path(kind: Kind) -> String {
    format!("builtin:{}", kind.name())
}

/// Values of a new effect.
pub fn defaults(kind: Kind) -> Vec<f64> {
    kind.params().iter().map(|param| param.default).collect()
}

/// One track.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Unique in the rig.
    pub id: String,
    /// For a person.
    pub name: String,
    /// What it is for.
    pub kind: TrackKind,
    /// Where its sound comes from.
    pub input: TrackInput,
    /// −24…40 dB.
    pub input_gain_db: f64,
    /// Linear, 0…2.
    pub volume: f64,
    /// −1…1.
    pub pan: f64,
    /// Silent.
    pub mute: bool,
    /// The others are silent.
    pub solo: bool,
    /// Bus id → 0…1.
    pub sends: Vec<(String, f64)>,
    /// The chain, in order.
    pub plugins: Vec<Plugin>,
    pub(super) place: u8,
    /// Which of a file's channels feeds this mic.
    pub feed: Option<u8>,
}

impl Track {
    /// A track at unity with nothing on it.
    pub fn new(id: &str, kind: TrackKind, input: TrackInput) -> Track {
        Track {
            id: id.to_owned(),
            name: id.to_owned(),
            kind,
            input,
            input_gain_db: 0.0,
            volume: 1.0,
            pan: 0.0,
            mute: false,
            solo: false,
            sends: Vec::new(),
            plugins: Vec::new(),
            place: 0,
            feed: None,
        }
    }

    /// As the settings want it at the start.
    pub fn from_settings(settings: &config::Track) -> Track {
        let name = if settings.name.is_empty() {
            &settings.track_id
        } else {
            &settings.name
        };
        Track {
            name: name.clone(),
            input_gain_db: settings.input_gain_db,
            volume: settings.volume,
            pan: settings.pan,
            mute: settings.mute,
            solo: settings.solo,
            sends: settings.sends.clone(),
            ..Track::new(&settings.track_id, settings.kind, settings.input)
        }
    }

    /// Its place in the engine, which reports and meters name.
    pub fn place(&self) -> u8 {
        self.place
    }

    pub(super) fn is_stereo(&self) -> bool {
        match (self.kind, self.input) {
            (TrackKind::Bus | TrackKind::Master, _) => true,
            (TrackKind::Mic, TrackInput::File | TrackInput::None) => false,
            (TrackKind::Stem, TrackInput::File | TrackInput::None) => true,
            (_, TrackInput::Device { first, last }) => first != last,
        }
    }
}

/// What the engine's inputs are.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// Frames per second.
    pub sample_rate_hz: u32,
    /// Channels of `device:N`; they come first.
    pub device_channels: u8,
    /// Channels of `file`; they come behind.
    pub file_channels: u8,
    /// How microphones find theirs.
    pub mic_feed: MicFeed,
}

impl Wiring {
    /// As a backend offers it.
    pub fn new(format: &Format, mic_feed: MicFeed) -> Wiring {
        Wiring {
            sample_rate_hz: format.sample_rate_hz,
            device_channels: format.device_channels,
            file_channels: format.file_channels,
            mic_feed,
        }
    }

    /// Whether an input is one that is really there.
    pub(super) fn has(&self, input: TrackInput) -> bool {
        matches!(input, TrackInput::Device { last, .. } if last <= self.device_channels)
    }

    /// Left and right channel of a track, as the engine numbers them.
    pub(super) fn channels(&self, track: &Track) -> (u8, u8) {
        if matches!(track.kind, TrackKind::Bus | TrackKind::Master) {
            return (NO_CHANNEL, NO_CHANNEL);
        }
        if self.mic_feed == MicFeed::Ports {
            let [left, right] = port_channels(track.place);
            return match track.input {
                TrackInput::Device { first, last } if first == last => (left, NO_CHANNEL),
                TrackInput::Device { .. } => (left, right),
                TrackInput::None | TrackInput::File => (NO_CHANNEL, NO_CHANNEL),
            };
        }
        let device = |channel: u8| {
            if channel <= self.device_channels {
                channel - 1
            } else {
                NO_CHANNEL
            }
        };
        // Of a backend whose channels are a file's.
        if let Some(feed) = track.feed.filter(|_| self.mic_feed != MicFeed::Device) {
            let channel = match self.mic_feed {
                MicFeed::InOrderLooped if self.device_channels > 0 => feed % self.device_channels,
                _ => feed,
            };
            return (device(channel.saturating_add(1)), NO_CHANNEL);
        }
        match track.input {
            TrackInput::None => (NO_CHANNEL, NO_CHANNEL),
            TrackInput::Device { first, last } if first == last => (device(first), NO_CHANNEL),
            TrackInput::Device { first, last } => (device(first), device(last)),
            TrackInput::File => match self.file_channels {
                0 => (NO_CHANNEL, NO_CHANNEL),
                1 => (self.device_channels, self.device_channels),
                _ => (self.device_channels, self.device_channels + 1),
            },
        }
    }
}

/// The authoritative state. One owner, one thread.
#[derive(Clone, Debug)]
pub struct State {
    /// Number of the newest accepted change.
    pub seq: u64,
    /// In the order of `track.list`; the master is last.
    pub tracks: Vec<Track>,
    /// Whether, and how, the rig was made safe.
    pub panic: Option<PanicMode>,
    /// Kept values.
    pub presets: Presets,
    /// Kept chains.
    pub chains: Chains,
    pub(super) places: Places,
    pub(super) wiring: Wiring,
    pub(super) plugins_made: u64,
    /// What the host has said about people.
    pub people: People,
}

impl State {
    /// A rig with these tracks (the master among them), no effects but the master's limiter.
    /// `pool_samples` is the engine's delay memory.
    pub fn new(tracks: Vec<Track>, wiring: Wiring, pool_samples: usize) -> State {
        let mut state = State {
            seq: 0,
            tracks: Vec::new(),
            panic: None,
            presets: Presets::default(),
            chains: Chains::default(),
            places: Places::new(pool_samples),
            wiring,
            plugins_made: 0,
            people: People::default(),
        };
        for mut track in tracks {
            if track.kind == TrackKind::Master && track.plugins.is_empty() {
                let limiter = Plugin::new(LIMITER, "Limiter", Kind::Limiter);
                track.plugins.push(limiter);
            }
            track.feed = state.feed_for(&track);
            state.tracks.push(track);
        }
        state
            .tracks
            .sort_by_key(|track| track.kind == TrackKind::Master);
        state
    }

    /// The rig as it was, numbered from `seq` on.
    pub fn restore(durable: Durable, seq: u64, wiring: Wiring, pool_samples: usize) -> State {
        let feeds: Vec<Option<u8>> = durable.tracks.iter().map(|track| track.feed).collect();
        let mut state = State::new(durable.tracks, wiring, pool_samples);
        if state.wiring.mic_feed != MicFeed::Device {
            for (track, feed) in state.tracks.iter_mut().zip(feeds) {
                // One that had an input of its own keeps it.
                let is_own = feed.is_none() && state.wiring.has(track.input);
                track.feed = if is_own { None } else { feed.or(track.feed) };
            }
        }
        state.seq = seq;
        state.panic = durable.panic;
        state.presets = durable.presets;
        state.chains = durable.chains;
        state.plugins_made = durable.plugins_made;
        state.people = durable.people;
        state
    }

    /// The engine's delay memory, in samples.
    pub fn pool_samples(&self) -> u64 {
        u64::from(self.places.pool_samples())
    }

    /// A track by id.
    pub fn track(&self, id: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// A plugin by id, with its track.
    pub fn plugin(&self, id: &str) -> Option<(&Track, &Plugin)> {
        self.tracks
            .iter()
            .find_map(|track| Some((track, track.plugins.iter().find(|plugin| plugin.id == id)?)))
    }

    /// The track that lives in an engine place.
    pub fn track_at(&self, place: u8) -> Option<&Track> {
        self.tracks.iter().find(|track| track.place == place)
    }

    /// The tracks that want their sound from a device.
    pub fn inputs(&self) -> Vec<Input> {
        self.tracks
            .iter()
            .filter_map(|track| match track.input {
                TrackInput::Device { first, last } => Some(Input {
                    place: track.place,
                    track_id: track.id.clone(),
                    first,
                    last,
                }),
                TrackInput::File | TrackInput::None => None,
            })
            .collect()
    }

    /// Frames that the slowest way from an input through to the master takes.
    pub fn latency_frames(&self) -> u32 {
        let of = |track: &Track| -> usize {
            let rate = self.wiring.sample_rate_hz;
            let plugins = track.plugins.iter();
            plugins.map(|plugin| plugin.kind.latency_frames(rate)).sum()
        };
        let slowest = |is_one: fn(&Track) -> bool| {
            let tracks = self.tracks.iter().filter(|track| is_one(track));
            tracks.map(of).max().unwrap_or(0)
        };
        let source = slowest(|track| matches!(track.kind, TrackKind::Mic | TrackKind::Stem));
        let bus = slowest(|track| track.kind == TrackKind::Bus);
        (source + bus + slowest(|track| track.kind == TrackKind::Master)) as u32
    }

    /// The engine is done with a removed effect.
    pub fn slot_freed(&mut self, slot: u8) {
        self.places.free_slot(slot);
    }

    /// What a `feedback` effect says of itself; the id of the plugin that lives in the slot.
    pub fn howl_reported(&mut self, slot: u8, report: &Report) -> Option<&str> {
        let mut plugins = self.tracks.iter_mut().flat_map(|track| &mut track.plugins);
        let plugin = plugins.find(|plugin| plugin.slot == slot && plugin.kind == Kind::Feedback)?;
        plugin.howl.fold(report);
        Some(&plugin.id)
    }

    /// The engine is done with a removed track.
    pub fn track_freed(&mut self, place: u8) {
        self.places.free_track(place);
    }

    /// Everything as commands for a new engine, in which all places are free again. Effects for
    /// which there is no memory (a smaller pool, a higher rate) are dropped from the state; their
    /// ids are returned.
    pub fn build(&mut self, wiring: Wiring) -> (Vec<Command>, Vec<String>) {
        self.wiring = wiring;
        self.places = Places::new(self.places.pool_samples() as usize);
        let mut dropped = Vec::new();
        let rate = self.wiring.sample_rate_hz;
        // The limiter first: it must never be the one that finds no memory.
        self.tracks
            .sort_by_key(|track| track.kind != TrackKind::Master);
        for track in &mut self.tracks {
            track.place = self.places.take_track().unwrap_or_default();
            track.plugins.retain_mut(|plugin| {
                let Some((slot, memory)) = self.places.take_slot(plugin.kind, rate) else {
                    dropped.push(plugin.id.clone());
                    return false;
                };
                (plugin.slot, plugin.memory, plugin.sidechain) = (slot, memory, 0);
                plugin.howl = Howl::default();
                true
            });
        }
        self.tracks
            .sort_by_key(|track| track.kind == TrackKind::Master);
        // Everything tells them, too.
        self.sidechains();
        (self.everything(), dropped)
    }

    /// Everything as commands that make an engine in which nothing is yet the same as the one that is
    /// there, but for what sounds in it.
    pub fn everything(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        for track in &self.tracks {
            commands.push(Command::AddTrack {
                track: track.place,
                kind: track.kind,
                stereo: track.is_stereo(),
            });
            commands.extend(input_command(track, &self.wiring));
            commands.extend(level_commands(track));
            for (position, plugin) in track.plugins.iter().enumerate() {
                commands.extend(plugin_commands(plugin, track.place, position));
            }
        }
        for track in &self.tracks {
            commands.extend(send_commands(track, &self.tracks));
        }
        let plugins = self.tracks.iter().flat_map(|track| &track.plugins);
        for plugin in plugins.filter(|plugin| plugin.sidechain != 0) {
            commands.push(Command::Sidechain {
                slot: plugin.slot,
                places: plugin.sidechain,
            });
        }
        commands.push(Command::Panic { mode: self.panic });
        commands
    }

    /// What tells the engine whom side chains listen to, where that has changed: the microphone that
    /// `mic` numbers in the order of `track.list` (from 1; 0 is all of them), never an effect's own track.
    pub(super) fn sidechains(&mut self) -> Vec<Command> {
        let mut plugins = self.tracks.iter().flat_map(|track| &track.plugins);
        if !plugins.any(|plugin| plugin.kind == Kind::Duck) {
            return Vec::new();
        }
        let bits = |track: &Track| 1u32 << track.place;
        let mics: Vec<u32> = self
            .tracks
            .iter()
            .filter(|track| track.kind == TrackKind::Mic)
            .map(bits)
            .collect();
        let mut commands = Vec::new();
        for track in &mut self.tracks {
            let own = bits(track);
            let ducks = track.plugins.iter_mut();
            for plugin in ducks.filter(|plugin| plugin.kind == Kind::Duck) {
                let mic = plugin.values.first().map_or(0, |mic| *mic as usize);
                let heard = match mic.checked_sub(1) {
                    None => mics.iter().fold(0, |all, mic| all | mic),
                    Some(index) => mics.get(index).copied().unwrap_or(0),
                };
                let heard = heard & !own;
                if plugin.sidechain != heard {
                    plugin.sidechain = heard;
                    commands.push(Command::Sidechain {
                        slot: plugin.slot,
                        places: heard,
                    });
                }
            }
        }
        commands
    }

    /// The lowest of a file's channels that no other mic has.
    pub(super) fn feed_for(&self, track: &Track) -> Option<u8> {
        if track.kind != TrackKind::Mic
            || track.input == TrackInput::None
            || matches!(self.wiring.mic_feed, MicFeed::Device | MicFeed::Ports)
        {
            return None;
        }
        (0..=u8::MAX).find(|channel| self.tracks.iter().all(|other| other.feed != Some(*channel)))
    }
}

/// What tells the engine where a track's sound comes from; nothing for buses and the master.
pub(super) fn input_command(track: &Track, wiring: &Wiring) -> Option<Command> {
    if matches!(track.kind, TrackKind::Bus | TrackKind::Master) {
        return None;
    }
    let (left, right) = wiring.channels(track);
    Some(Command::Input {
        track: track.place,
        left,
        right,
        stereo: track.is_stereo(),
    })
}

/// What tells the engine a track's faders and buttons.
pub(super) fn level_commands(track: &Track) -> [Command; 5] {
    let level = |level, value: f64| Command::Level {
        track: track.place,
        level,
        value: value as f32,
    };
    [
        level(TrackLevel::InputGain, decibels(track.input_gain_db)),
        level(TrackLevel::Volume, track.volume),
        level(TrackLevel::Pan, track.pan),
        Command::Mute {
            track: track.place,
            on: track.mute,
        },
        Command::Solo {
            track: track.place,
            on: track.solo,
        },
    ]
}

/// What tells the engine a track's sends.
pub(super) fn send_commands(track: &Track, tracks: &[Track]) -> Vec<Command> {
    let place_of = |id: &str| tracks.iter().find(|bus| bus.id == id).map(|bus| bus.place);
    track
        .sends
        .iter()
        .filter_map(|(bus, level)| {
            Some(Command::Send {
                track: track.place,
                bus: place_of(bus)?,
                level: *level as f32,
            })
        })
        .collect()
}

/// What puts a plugin with all its values into the engine.
pub(super) fn plugin_commands(plugin: &Plugin, track: u8, position: usize) -> Vec<Command> {
    let mut commands = vec![Command::AddEffect {
        track,
        slot: plugin.slot,
        kind: plugin.kind,
        position: position as u8,
        memory: plugin.memory.start,
        memory_len: plugin.memory.len,
    }];
    commands.extend(set_commands(plugin.slot, &plugin.values));
    if plugin.shed {
        commands.push(Command::Rest {
            slot: plugin.slot,
            on: true,
        });
    }
    if plugin.bypassed {
        commands.push(Command::Bypass {
            slot: plugin.slot,
            on: true,
        });
    }
    commands
}

/// What sets all parameters of a slot.
pub(super) fn set_commands(slot: u8, values: &[f64]) -> impl Iterator<Item = Command> + '_ {
    values
        .iter()
        .enumerate()
        .map(move |(param, value)| Command::Set {
            slot,
            param: param as u8,
            value: *value as f32,
        })
}

/// dB to a linear factor, by the same mathematics on every machine.
pub fn decibels(db: f64) -> f64 {
    libm::pow(10.0, db / 20.0)
}
