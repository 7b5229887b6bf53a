//! What may be asked of the rig. Already typed and bounded by `protocol`; whether it makes sense
//! here and now is `apply`'s to say.

use rigd_rt::{PanicMode, TrackKind};
use serde_json::Value;

use super::tone::ToneFields;

/// Names a plugin; old clients leave the track out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRef {
    /// The track that it should be on.
    pub track_id: Option<String>,
    /// Unique in the rig.
    pub plugin_id: String,
}

/// One value for one parameter. The value is whatever JSON came: whether it is a number in range is
/// a fact about the parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterChange {
    /// Which plugin.
    pub plugin: PluginRef,
    /// Which parameter.
    pub parameter_id: String,
    /// To what.
    pub value: Value,
}

/// What a message says about a track; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrackFields {
    /// For a person.
    pub name: Option<String>,
    /// `device:1`, `device:3-4`, `file`, `none`.
    pub input: Option<String>,
    /// −24…40 dB.
    pub input_gain_db: Option<Value>,
    /// Linear, 0…2.
    pub volume: Option<Value>,
    /// −1…1.
    pub pan: Option<Value>,
    /// Silences it.
    pub mute: Option<bool>,
    /// Silences the others.
    pub solo: Option<bool>,
    /// Bus id → 0…1; buses not named keep their level.
    pub sends: Option<Vec<(String, Value)>>,
}

/// A request for a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A new effect on a track.
    PluginAdd {
        /// Which track.
        track_id: String,
        /// What it should be, in a person's words.
        name: String,
        /// What it should be, exactly.
        plugin_path: Option<String>,
        /// Where in the chain; at its end when absent.
        position: Option<Value>,
        /// Its id; the rig makes one when absent.
        plugin_id: Option<String>,
    },
    /// An effect goes.
    PluginRemove(PluginRef),
    /// One value, at once.
    PluginParameter(ParameterChange),
    /// Many values, at one frame.
    Parameters(Vec<ParameterChange>),
    /// An effect is left out, or taken in again.
    PluginBypass {
        /// Which.
        plugin: PluginRef,
        /// Out or in.
        bypass: bool,
    },
    /// A preset is loaded.
    PluginPreset {
        /// Into which plugin.
        plugin: PluginRef,
        /// Looked up unless `data` is given.
        name: Option<String>,
        /// Values by parameter.
        data: Option<Vec<(String, Value)>>,
    },
    /// The present values are kept under a name.
    PresetSave {
        /// Of which plugin.
        plugin: PluginRef,
        /// The name.
        name: String,
    },
    /// An effect moves within its chain.
    PluginMove {
        /// Which.
        plugin: PluginRef,
        /// Where to.
        position: Value,
    },
    /// A new track.
    TrackAdd {
        /// Its id.
        track_id: String,
        /// What it is for.
        kind: TrackKind,
        /// The rest.
        fields: TrackFields,
    },
    /// A track and its effects go.
    TrackRemove {
        /// Which.
        track_id: String,
    },
    /// Some things of a track change.
    TrackUpdate {
        /// Which.
        track_id: String,
        /// What.
        fields: TrackFields,
    },
    /// A microphone takes on a whole chain.
    ChainLoad {
        /// Which track.
        track_id: String,
        /// Which chain.
        name: String,
    },
    /// A microphone's chain is kept under a name.
    ChainSave {
        /// Which track.
        track_id: String,
        /// The name.
        name: String,
    },
    /// A test tone.
    Tone(ToneFields),
    /// Make it safe.
    Panic(PanicMode),
    /// As it was before.
    Restore,
}

impl Request {
    /// Whether it counts against `operations_per_s`.
    pub fn is_operation(&self) -> bool {
        matches!(
            self,
            Request::PluginAdd { .. }
                | Request::PluginRemove(_)
                | Request::PluginMove { .. }
                | Request::PluginPreset { .. }
                | Request::PresetSave { .. }
                | Request::TrackAdd { .. }
                | Request::TrackRemove { .. }
                | Request::TrackUpdate { .. }
                | Request::ChainLoad { .. }
                | Request::ChainSave { .. }
                | Request::Tone(_)
        )
    }
}
