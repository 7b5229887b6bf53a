//! Many parameter changes at once: checked as a whole, reduced to the last value of every key.

use std::hash::Hash;

use serde_json::json;

use super::apply::check;
use super::change::What;
use super::reject::Reject;
use super::request::{ParameterChange, PluginRef, Request};
use super::state::State;
use crate::batcher::Batcher;

/// Names a parameter: plugin and parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamKey {
    /// Unique in the rig.
    pub plugin_id: String,
    /// Of its kind.
    pub parameter_id: &'static str,
}

/// Every change of a batch as key and value, or every fault in it. An entry that could not even be
/// read carries its own fault.
pub fn check_batch(
    state: &State,
    changes: Vec<Result<ParameterChange, Reject>>,
) -> Result<Vec<(ParamKey, f64)>, Reject> {
    let mut keys = Vec::with_capacity(changes.len());
    let mut faults = Vec::new();
    for (index, change) in changes.into_iter().enumerate() {
        match change.and_then(|change| check(state, &change).map(|checked| (change, checked))) {
            Ok((change, checked)) => {
                let parameter_id = checked.parameter_id(state);
                keys.push((
                    ParamKey {
                        plugin_id: change.plugin.plugin_id,
                        parameter_id,
                    },
                    checked.value,
                ));
            }
            Err(fault) => faults.push((index, fault)),
        }
    }
    if faults.is_empty() {
        Ok(keys)
    } else {
        Err(Reject::InvalidBatch(faults))
    }
}

/// The last value of every key, in the order of those values.
pub fn last_of_each(changes: &[(ParamKey, f64)]) -> Vec<(ParamKey, f64)> {
    let is_last =
        |index: usize, key: &ParamKey| !changes[index + 1..].iter().any(|(later, _)| later == key);
    changes
        .iter()
        .enumerate()
        .filter(|(index, (key, _))| is_last(*index, key))
        .map(|(_, change)| change.clone())
        .collect()
}

/// Checked changes as one request.
pub fn as_request(changes: &[(ParamKey, f64)]) -> Request {
    let change = |(key, value): &(ParamKey, f64)| ParameterChange {
        plugin: PluginRef {
            track_id: None,
            plugin_id: key.plugin_id.clone(),
        },
        parameter_id: key.parameter_id.to_owned(),
        value: json!(value),
    };
    Request::Parameters(changes.iter().map(change).collect())
}

/// How long a debounced batch waits for a pause, in ms: what was asked for, within bounds.
pub fn debounce_ms(asked: Option<f64>) -> u64 {
    const DEFAULT: f64 = 50.0;
    asked.unwrap_or(DEFAULT).clamp(50.0, 1000.0).round() as u64
}

/// Takes pending changes out that something newer has overtaken: a value for their key, a preset or
/// the end of their plugin.
pub fn overtake<C, B>(pending: &mut Batcher<C, ParamKey, f64, B>, state: &State, what: &What)
where
    C: Copy + Eq + Hash + Ord,
{
    match what {
        What::Parameter {
            plugin_id,
            parameter_id,
            ..
        } => {
            pending.remove(|key| key.parameter_id == *parameter_id && key.plugin_id == *plugin_id);
        }
        What::PresetLoaded { plugin_id, .. } | What::PluginRemoved { plugin_id, .. } => {
            pending.remove(|key| key.plugin_id == *plugin_id);
        }
        What::TrackRemoved { .. } => pending.remove(|key| state.plugin(&key.plugin_id).is_none()),
        _ => {}
    }
}
