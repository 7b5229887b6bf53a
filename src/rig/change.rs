//! What an accepted request did: numbered, applied at one frame, told to everyone.

use rigd_rt::{Kind, PanicMode};

use super::chain::Chain;
use super::state::Track;

/// One numbered change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The rig-wide number.
    pub seq: u64,
    /// What happened.
    pub what: What,
}

/// What happened, with everything that a client is told about it.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A plugin is there.
    PluginAdded {
        /// Its track.
        track_id: String,
        /// Its id.
        plugin_id: String,
        /// As it was asked for.
        name: String,
        /// Which effect.
        kind: Kind,
        /// Where in the chain.
        position: usize,
        /// Its values, in the order of [`Kind::params`].
        values: Vec<f64>,
        /// The path that was asked for and is not here.
        substituted_for: Option<String>,
        /// Numbers that the rig has given to plugins without a name, this one's included.
        made: u64,
    },
    /// A plugin is gone.
    PluginRemoved {
        /// Its track.
        track_id: String,
        /// Its id.
        plugin_id: String,
    },
    /// A parameter has a value.
    Parameter {
        /// Its track.
        track_id: String,
        /// Its plugin.
        plugin_id: String,
        /// The parameter.
        parameter_id: &'static str,
        /// In its own unit.
        value: f64,
    },
    /// A plugin is bypassed or not.
    Bypassed {
        /// Its track.
        track_id: String,
        /// Its id.
        plugin_id: String,
        /// Out or in.
        bypass: bool,
    },
    /// A preset was loaded.
    PresetLoaded {
        /// Its track.
        track_id: String,
        /// Its plugin.
        plugin_id: String,
        /// The preset's name, if it had one.
        preset_name: Option<String>,
        /// Which effect.
        kind: Kind,
        /// All values after it.
        values: Vec<f64>,
    },
    /// A preset was kept.
    PresetSaved {
        /// Its track.
        track_id: String,
        /// The plugin that it was taken from.
        plugin_id: String,
        /// Its name.
        preset_name: String,
        /// Which effect it is for.
        kind: Kind,
        /// What was kept, in the order of [`Kind::params`].
        values: Vec<f64>,
    },
    /// A chain has a new order.
    PluginMoved {
        /// The track.
        track_id: String,
        /// Which plugin moved.
        plugin_id: String,
        /// Where to.
        position: usize,
        /// The chain.
        order: Vec<String>,
    },
    /// A track is there.
    TrackAdded(Box<Track>),
    /// A track is gone.
    TrackRemoved {
        /// Which.
        track_id: String,
    },
    /// A track is different.
    TrackUpdated(Box<Track>),
    /// A microphone has a whole new chain; the changes that made it so come before this one.
    ChainLoaded {
        /// The chain's name.
        preset_name: String,
        /// The track as it is now.
        track: Box<Track>,
    },
    /// A chain was kept.
    ChainSaved {
        /// The track that it was taken from.
        track_id: String,
        /// Its name.
        preset_name: String,
        /// What was kept.
        chain: Chain,
    },
    /// A test tone begins, or ends. No part of the state.
    Toned {
        /// Where.
        track_id: String,
        /// In Hz.
        freq_hz: f64,
        /// Its peak, in dB of full scale.
        level_db: f64,
        /// How long; 0: it ends.
        seconds: f64,
    },
    /// The rig lets an effect rest because the processor is too slow, or work again.
    Shed {
        /// Its track.
        track_id: String,
        /// Its id.
        plugin_id: String,
        /// Whether it rests.
        shed: bool,
    },
    /// The rig was made safe.
    Panicked(PanicMode),
    /// And is as it was.
    Restored,
}

impl What {
    /// The plugin whose state it changes, for those who watch plugins.
    pub fn plugin_id(&self) -> Option<&str> {
        match self {
            What::PluginAdded { plugin_id, .. }
            | What::Parameter { plugin_id, .. }
            | What::Bypassed { plugin_id, .. }
            | What::Shed { plugin_id, .. }
            | What::PresetLoaded { plugin_id, .. } => Some(plugin_id),
            _ => None,
        }
    }
}
