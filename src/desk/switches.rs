//! What the settings have turned off (`[features]`, the migration guide's flags): it is refused in so many
//! words, and `status.features` says it.

use crate::config::{Anonymous, Config, Features};
use crate::protocol::{Body, Dialect, Kind};
use crate::rig::{Reject, Request};

/// What there is besides what can be turned off.
const ALWAYS: [&str; 4] = ["meters", "binary_meters", "panic", "http"];

/// `status.features`: what is on by its name, what is off with `no_` before it.
pub fn features(config: &Config) -> Vec<&'static str> {
    let Features {
        enable_new_plugin_system,
        enable_session_broadcasting,
        enable_daid_tracking,
        enable_parameter_batching,
    } = config.features;
    let or = |is_on, on, off| if is_on { on } else { off };
    let mut features = ALWAYS.to_vec();
    features.extend([
        or(enable_parameter_batching, "batch", "no_batch"),
        or(
            enable_parameter_batching,
            "parameter_batching",
            "no_parameter_batching",
        ),
        or(
            enable_new_plugin_system,
            "new_plugin_system",
            "no_new_plugin_system",
        ),
        or(
            enable_session_broadcasting,
            "session_broadcasting",
            "no_session_broadcasting",
        ),
        or(enable_daid_tracking, "daid_tracking", "no_daid_tracking"),
        match config.anonymous() {
            Anonymous::Host => "anonymous_host",
            Anonymous::Guest => "anonymous_guest",
            Anonymous::Off => "no_anonymous",
        },
    ]);
    features
}

/// Refuses what is turned off.
pub fn check(features: &Features, kind: Kind, dialect: Dialect, body: &Body) -> Result<(), Reject> {
    let off = |feature| {
        Err(Reject::TurnedOff {
            kind: kind.name(dialect),
            feature,
        })
    };
    // Whoever wants to know what is off can; and a rig that is silent can be brought back.
    let is_for_all = matches!(
        body,
        Body::Auth { .. }
            | Body::Heartbeat(_)
            | Body::StatusGet
            | Body::Change(Request::Panic(_) | Request::Restore)
    );
    if !features.enable_new_plugin_system && !kind.is_legacy(dialect) && !is_for_all {
        return off("enable_new_plugin_system");
    }
    match body {
        Body::Cursor(_) | Body::Subscribe { .. } if !features.enable_session_broadcasting => {
            off("enable_session_broadcasting")
        }
        Body::Log(_) if !features.enable_daid_tracking => off("enable_daid_tracking"),
        Body::Batch(_) if !features.enable_parameter_batching => off("enable_parameter_batching"),
        Body::Features {
            batch: Some(true), ..
        } if !features.enable_parameter_batching => off("enable_parameter_batching"),
        _ => Ok(()),
    }
}
