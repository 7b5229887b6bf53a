//! What is to change in the rig: plugins, parameters, tracks.

use rigd_rt::TrackKind;
use serde_json::Value;

use super::{ID_MAX, NAME_MAX, VALUES_MAX};
use crate::protocol::fields::{Fields, missing};
use crate::protocol::incoming::{Batch, Body, Limits};
use crate::rig::{ParameterChange, PluginRef, Reject, TrackFields};

/// A place in a chain, which must be a number; whether it is one of the chain's is for the rig to say.
pub fn position(data: &Fields) -> Result<Option<Value>, Reject> {
    match any(data, "position") {
        Some(value) if !value.is_number() => {
            Err(Reject::field("position", "must be a whole number"))
        }
        position => Ok(position),
    }
}

/// A plugin: an old message names it without its track.
pub fn plugin(data: &Fields, is_legacy: bool) -> Result<PluginRef, Reject> {
    let track_id = if is_legacy {
        data.string("track_id", ID_MAX)?
    } else {
        Some(data.required("track_id", ID_MAX)?)
    };
    Ok(PluginRef {
        track_id,
        plugin_id: data.required("plugin_id", ID_MAX)?,
    })
}

pub fn parameter_change(data: &Fields, is_legacy: bool) -> Result<ParameterChange, Reject> {
    Ok(ParameterChange {
        plugin: plugin(data, is_legacy)?,
        parameter_id: data.required("parameter_id", ID_MAX)?,
        value: data
            .value("parameter_value")
            .ok_or_else(|| missing("parameter_value"))?,
    })
}

pub fn batch(data: &Fields, limits: Limits) -> Result<Batch, Reject> {
    let changes = if let Some(changes) = data.list("changes", limits.batch_changes)? {
        changes
            .into_iter()
            .map(|change| parameter_change(&change?, false))
            .collect()
    } else if let Some(parameters) = data.list("parameters", limits.batch_changes)? {
        let plugin = plugin(data, false)?;
        let change = |parameter: Result<Fields, Reject>| {
            let parameter = parameter?;
            Ok(ParameterChange {
                plugin: plugin.clone(),
                parameter_id: parameter.required("parameter_id", ID_MAX)?,
                value: parameter
                    .value("parameter_value")
                    .ok_or_else(|| missing("parameter_value"))?,
            })
        };
        parameters.into_iter().map(change).collect()
    } else {
        return Err(missing("changes"));
    };
    Ok(Batch {
        changes,
        debounce_ms: data.number("debounce_ms")?,
        apply_immediately: data.boolean("apply_immediately")?.unwrap_or(false),
    })
}

/// A value that is there and not null, whatever it is.
pub fn any(data: &Fields, name: &'static str) -> Option<Value> {
    data.value(name).filter(|value| !value.is_null())
}

pub fn track_fields(data: &Fields) -> Result<TrackFields, Reject> {
    Ok(TrackFields {
        name: match data.string("name", NAME_MAX)? {
            Some(name) => Some(printable("name", name)?),
            None => None,
        },
        input: data.string("input", ID_MAX)?,
        input_gain_db: any(data, "input_gain_db"),
        volume: any(data, "volume"),
        pan: any(data, "pan"),
        mute: data.boolean("mute")?,
        solo: data.boolean("solo")?,
        sends: data.values("sends", VALUES_MAX)?,
    })
}

pub fn track_kind(name: &str) -> Result<TrackKind, Reject> {
    Ok(match name {
        "mic" => TrackKind::Mic,
        "stem" => TrackKind::Stem,
        "bus" => TrackKind::Bus,
        "master" => TrackKind::Master,
        _ => return Err(Reject::field("kind", "must be mic, stem or bus")),
    })
}

pub fn meters_subscribe(data: &Fields) -> Result<Body, Reject> {
    let rate_hz = data.number("rate_hz")?.ok_or_else(|| missing("rate_hz"))?;
    if !(1.0..=60.0).contains(&rate_hz) {
        return Err(Reject::InvalidParameter {
            parameter_id: "rate_hz".to_owned(),
            parameter_value: Box::new(rate_hz.into()),
            validation_error: "must be from 1 to 60".to_owned(),
            range: Some((1.0, 60.0)),
        });
    }
    let binary = match data.string("format", ID_MAX)?.as_deref() {
        None | Some("json") => false,
        Some("binary") => true,
        Some(_) => return Err(Reject::field("format", "must be json or binary")),
    };
    Ok(Body::MetersSubscribe { rate_hz, binary })
}

/// An id that a client chooses.
pub fn client_id(field: &str, id: String) -> Result<String, Reject> {
    if id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    {
        Ok(id)
    } else {
        Err(Reject::field(field, "may hold only A–Z a–z 0–9 _ . -"))
    }
}

pub fn printable(field: &str, text: String) -> Result<String, Reject> {
    if text.chars().any(char::is_control) {
        return Err(Reject::field(field, "must be printable text"));
    }
    Ok(text)
}
