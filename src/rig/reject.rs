//! Why a request was refused: one enum, each with what a person should read and what a client
//! can act on. The wire's codes are in wire order.

use serde_json::{Value, json};

/// A refusal. Nothing was changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Reject {
    /// The message itself is wrong.
    InvalidMessage {
        /// The field at fault, where there is one.
        field: Option<String>,
        /// What is wrong with it.
        reason: String,
        /// The limit that was passed, where there is one.
        limit: Option<u64>,
    },
    /// No such message type.
    UnknownMessageType(String),
    /// The settings have turned it off.
    TurnedOff {
        /// The message type, as it was spelt.
        kind: &'static str,
        /// The setting.
        feature: &'static str,
    },
    /// Not signed in, or not allowed.
    Unauthorized {
        /// Who asked.
        user_id: String,
        /// What it would take.
        required_permission: &'static str,
        /// On this track, where it is about one.
        track_id: Option<String>,
    },
    /// No such token, or none where one is needed.
    AuthFailed(String),
    /// A limit on how much one may ask.
    RateLimited {
        /// Seconds until it would be accepted, above 0.
        retry_after: f64,
        /// Which setting under `[limits]`.
        limit: &'static str,
    },
    /// No such track.
    TrackNotFound {
        /// The track that was named.
        track_id: String,
        /// The plugin that was said to be on it, if it was about one.
        plugin_id: Option<String>,
    },
    /// No such plugin (on that track).
    PluginNotFound {
        /// The track that was named.
        track_id: Option<String>,
        /// The plugin that was named.
        plugin_id: String,
    },
    /// A parameter that is not there, or a value that it cannot take.
    InvalidParameter {
        /// The parameter that was named.
        parameter_id: String,
        /// The value, as it came.
        parameter_value: Box<Value>,
        /// What is wrong.
        validation_error: String,
        /// Lowest and highest value allowed, where the parameter is known.
        range: Option<(f64, f64)>,
    },
    /// A batch with faults; nothing of it was applied.
    InvalidBatch(Vec<(usize, Reject)>),
    /// A plugin could not be added.
    PluginAddFailed {
        /// Why.
        reason: String,
        /// The path that was asked for.
        plugin_path: Option<String>,
        /// The name that was asked for.
        name: String,
        /// What could be added.
        available: Vec<String>,
    },
    /// A preset could not be loaded or kept.
    PresetLoadFailed(String),
    /// Somebody else was faster.
    Overtaken {
        /// What it is now, where that is one value.
        current_value: Value,
        /// Number of the change that was faster.
        seq: u64,
    },
    /// The engine does not do that.
    EngineError(String),
    /// The log cannot be read.
    LogUnreadable(String),
    /// The box, or what looks after it, does not do that.
    DeviceFailed(String),
    /// No room.
    Capacity {
        /// Of what.
        what: &'static str,
        /// How many there can be.
        limit: u64,
    },
}

impl Reject {
    /// A track that is not there.
    pub fn no_track(track_id: &str) -> Reject {
        Reject::TrackNotFound {
            track_id: track_id.to_owned(),
            plugin_id: None,
        }
    }

    /// A missing or ill-typed field.
    pub fn field(field: &str, reason: impl Into<String>) -> Reject {
        Reject::InvalidMessage {
            field: Some(field.to_owned()),
            reason: reason.into(),
            limit: None,
        }
    }

    /// A message that is wrong as a whole.
    pub fn message(reason: impl Into<String>) -> Reject {
        Reject::InvalidMessage {
            field: None,
            reason: reason.into(),
            limit: None,
        }
    }

    /// A field, a count or a depth over its limit.
    pub fn over(field: Option<&str>, reason: impl Into<String>, limit: u64) -> Reject {
        Reject::InvalidMessage {
            field: field.map(str::to_owned),
            reason: reason.into(),
            limit: Some(limit),
        }
    }

    /// The wire's code.
    pub fn code(&self) -> &'static str {
        match self {
            Reject::InvalidMessage { .. } => "INVALID_MESSAGE",
            Reject::UnknownMessageType(_) | Reject::TurnedOff { .. } => "UNKNOWN_MESSAGE_TYPE",
            Reject::Unauthorized { .. } => "UNAUTHORIZED",
            Reject::AuthFailed(_) => "AUTH_FAILED",
            Reject::RateLimited { .. } => "RATE_LIMITED",
            Reject::TrackNotFound { .. } => "TRACK_NOT_FOUND",
            Reject::PluginNotFound { .. } => "PLUGIN_NOT_FOUND",
            Reject::InvalidParameter { .. } | Reject::InvalidBatch(_) => "INVALID_PARAMETER",
            Reject::PluginAddFailed { .. } => "PLUGIN_ADD_FAILED",
            Reject::PresetLoadFailed(_) => "PRESET_LOAD_FAILED",
            Reject::Overtaken { .. } => "PARAMETER_UPDATE_FAILED",
            Reject::EngineError(_) | Reject::LogUnreadable(_) => "ENGINE_ERROR",
            Reject::DeviceFailed(_) => "DEVICE_FAILED",
            Reject::Capacity { .. } => "CAPACITY",
        }
    }

    /// A sentence for a person, with what to do.
    pub fn sentence(&self) -> String {
        match self {
            Reject::InvalidMessage {
                field: Some(field),
                reason,
                ..
            } => {
                format!("The field \"{field}\" {reason}.")
            }
            Reject::InvalidMessage { reason, .. } => format!("This message {reason}."),
            Reject::UnknownMessageType(kind) => {
                format!("There is no message type \"{kind}\"; check its spelling.")
            }
            Reject::TurnedOff { kind, feature } => {
                format!("{kind} is turned off on this rig; {feature} in its settings turns it on.")
            }
            Reject::Unauthorized {
                required_permission,
                track_id: Some(track),
                ..
            } => {
                format!(
                    "This needs the permission {required_permission} on the track \"{track}\"; ask the host for it."
                )
            }
            Reject::Unauthorized {
                required_permission,
                ..
            } => {
                format!(
                    "This needs the permission {required_permission}; sign in as somebody who has it."
                )
            }
            Reject::AuthFailed(reason) => format!("Signing in failed: {reason}."),
            Reject::RateLimited { retry_after, limit } => {
                format!("Too many messages (limit {limit}); try again in {retry_after} s.")
            }
            Reject::TrackNotFound { track_id, .. } => {
                format!("There is no track \"{track_id}\"; track.list shows what there is.")
            }
            Reject::PluginNotFound {
                track_id: Some(track),
                plugin_id,
            } => {
                format!("There is no plugin \"{plugin_id}\" on track \"{track}\".")
            }
            Reject::PluginNotFound { plugin_id, .. } => {
                format!("There is no plugin \"{plugin_id}\".")
            }
            Reject::InvalidParameter {
                parameter_id,
                validation_error,
                ..
            } => {
                format!("The parameter \"{parameter_id}\" {validation_error}.")
            }
            Reject::InvalidBatch(faults) => format!(
                "Nothing of this batch was applied: {} of its changes cannot be, the first at index {}.",
                faults.len(),
                faults.first().map_or(0, |(index, _)| *index),
            ),
            Reject::PluginAddFailed { reason, .. } => {
                format!("The plugin could not be added: {reason}.")
            }
            Reject::PresetLoadFailed(reason) => format!("The preset could not be used: {reason}."),
            Reject::Overtaken { .. } => {
                "Somebody else has changed this meanwhile; look at what it is now, and try again."
                    .to_owned()
            }
            Reject::EngineError(reason) => format!("The engine refused: {reason}."),
            Reject::LogUnreadable(reason) => format!("The log cannot be read: {reason}."),
            Reject::DeviceFailed(reason) => format!("The box did not do it: {reason}."),
            Reject::Capacity { what, limit } => {
                format!("There is no room for more {what} (limit {limit}); remove one first.")
            }
        }
    }

    /// What a client can act on.
    pub fn details(&self) -> Value {
        match self {
            Reject::InvalidMessage {
                field,
                reason,
                limit,
            } => {
                let mut details = json!({ "reason": reason });
                if let Some(field) = field {
                    details["field"] = json!(field);
                }
                if let Some(limit) = limit {
                    details["limit"] = json!(limit);
                }
                details
            }
            Reject::UnknownMessageType(kind) => json!({ "type": kind }),
            Reject::TurnedOff { kind, feature } => {
                json!({ "type": kind, "feature": feature, "reason": "it is turned off" })
            }
            Reject::Unauthorized {
                user_id,
                required_permission,
                track_id,
            } => {
                let mut details =
                    json!({ "user_id": user_id, "required_permission": required_permission });
                if let Some(track_id) = track_id {
                    details["track_id"] = json!(track_id);
                }
                details
            }
            Reject::AuthFailed(reason) => json!({ "reason": reason }),
            Reject::RateLimited { retry_after, limit } => {
                json!({ "retry_after": retry_after, "limit": limit })
            }
            Reject::TrackNotFound {
                track_id,
                plugin_id,
            } => {
                let mut details = json!({ "track_id": track_id });
                if let Some(plugin_id) = plugin_id {
                    details["plugin_id"] = json!(plugin_id);
                }
                details
            }
            Reject::PluginNotFound {
                track_id,
                plugin_id,
            } => {
                json!({ "track_id": track_id, "plugin_id": plugin_id })
            }
            Reject::InvalidParameter {
                parameter_id,
                parameter_value,
                validation_error,
                range,
            } => {
                let mut details = json!({
                    "parameter_id": parameter_id,
                    "parameter_value": parameter_value,
                    "validation_error": validation_error,
                });
                if let Some((min, max)) = range {
                    details["min"] = json!(min);
                    details["max"] = json!(max);
                }
                details
            }
            Reject::InvalidBatch(faults) => {
                let failures: Vec<Value> = faults
                    .iter()
                    .map(|(index, fault)| {
                        let mut failure = fault.details();
                        failure["index"] = json!(index);
                        failure["code"] = json!(fault.code());
                        failure["error"] = json!(fault.sentence());
                        failure
                    })
                    .collect();
                json!({ "failures": failures })
            }
            Reject::PluginAddFailed {
                reason,
                plugin_path,
                name,
                available,
            } => json!({
                "reason": reason,
                "plugin_path": plugin_path,
                "name": name,
                "available": available,
            }),
            Reject::PresetLoadFailed(reason) | Reject::DeviceFailed(reason) => {
                json!({ "reason": reason })
            }
            Reject::Overtaken { current_value, seq } => json!({
                "current_value": current_value,
                "seq": seq,
                "reason": "it was changed by somebody else after base_seq",
            }),
            Reject::EngineError(reason) | Reject::LogUnreadable(reason) => {
                json!({ "engine_error": reason })
            }
            Reject::Capacity { limit, .. } => json!({ "limit": limit }),
        }
    }
}
