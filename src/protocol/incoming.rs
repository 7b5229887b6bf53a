//! What a message says and asks, once it is understood.

use serde_json::value::RawValue;

use super::dialect::{Dialect, Kind};
use crate::provenance::query::Ask;
use crate::rig::{ParameterChange, PluginRef, Reject, Request};
use crate::session::Role;

/// How much one message may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Changes in a batch.
    pub batch_changes: usize,
}

/// The envelope.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The client's message id.
    pub id: Option<String>,
    /// What kind of message, if it is a known one, and in which dialect.
    pub kind: Option<(Kind, Dialect)>,
    /// Claimed.
    pub user_id: Option<String>,
    /// Claimed.
    pub session_id: Option<String>,
    /// Echoed untouched.
    pub t0_timestamp: Option<Box<RawValue>>,
    /// One `ack` is wanted.
    pub requires_ack: bool,
    /// Names the message, should it come again.
    pub idempotency_key: Option<String>,
    /// Only if nobody else has changed it after this number.
    pub base_seq: Option<u64>,
}

/// A message, as far as it could be understood.
#[derive(Debug)]
pub struct Incoming {
    /// Whom to answer, and how.
    pub head: Head,
    /// What is asked.
    pub body: Result<Body, Reject>,
}

/// A batch of parameter changes.
#[derive(Clone, Debug)]
pub struct Batch {
    /// In the order given; a malformed entry carries its own fault.
    pub changes: Vec<Result<ParameterChange, Reject>>,
    /// Wait for a pause of so many milliseconds.
    pub debounce_ms: Option<f64>,
    /// Do not wait.
    pub apply_immediately: bool,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Body {
    /// Something is to change.
    Change(Request),
    /// Many parameters are to change.
    Batch(Batch),
    /// A plugin's parameters.
    ParametersGet(PluginRef),
    /// A plugin's presets.
    PresetsGet(PluginRef),
    /// The chains that a microphone can take on.
    ChainsGet,
    /// Every kind of plugin.
    PluginList,
    /// Every track.
    TrackList,
    /// Everything.
    StateGet,
    /// What has changed since.
    StateResume {
        /// The newest number that is known.
        since_seq: u64,
        /// Of which run.
        epoch: Option<String>,
    },
    /// Which changes this client wants to hear of; `None` is all.
    Subscribe {
        /// On these tracks.
        track_ids: Option<Vec<String>>,
        /// Of these plugins.
        plugin_ids: Option<Vec<String>>,
        /// Of these types.
        types: Option<Vec<Kind>>,
    },
    /// How the box is.
    StatusGet,
    /// How this client wants to be spoken to.
    Features {
        /// Whole batches in one message.
        batch: Option<bool>,
        /// This dialect from now on.
        dialect: Option<Dialect>,
    },
    /// Meters, so many a second.
    MetersSubscribe {
        /// 1…60.
        rate_hz: f64,
        /// Binary frames rather than JSON.
        binary: bool,
    },
    /// No more meters.
    MetersUnsubscribe,
    /// For the others of the same session.
    Cursor(Box<RawValue>),
    /// To be sent back.
    Heartbeat(Box<RawValue>),
    /// About the log.
    Log(Ask),
    /// About people.
    Session(SessionAsk),
    /// About the box.
    Device(DeviceAsk),
    /// Who this is.
    Auth {
        /// A claim with proof.
        token: Option<String>,
        /// A claim without.
        user_id: Option<String>,
        /// A claim without.
        session_id: Option<String>,
    },
}

/// What a host asks about people.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionAsk {
    /// Who is here.
    List,
    /// A code with which somebody can come.
    Invite {
        /// As what.
        given: Given,
        /// For so long.
        ttl_s: Option<f64>,
    },
    /// Somebody goes.
    End(Whom),
    /// Somebody is something else.
    Role {
        /// Who.
        user_id: String,
        /// What.
        given: Given,
    },
}

/// What a host asks of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAsk {
    /// What it is, and what it may be asked.
    Get,
    /// It starts anew.
    Reboot,
    /// It is switched off.
    PowerOff,
    /// It forgets everything.
    Reset,
}

/// Whom a host means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One connection.
    Connection(String),
    /// A user, with all their connections.
    User(String),
}

/// A role, and a performer's tracks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// What.
    pub role: Role,
    /// Where.
    pub tracks: Vec<String>,
}
