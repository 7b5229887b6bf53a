//! What may be asked of a rig.

use proptest::prelude::*;
use rigd::rig::{ParameterChange, PluginRef, Request, TrackFields};
use rigd_rt::{Kind, PanicMode, TrackKind};
use serde_json::json;

const TRACKS: [&str; 7] = ["mic1", "mic2", "music", "master", "t0", "t1", "bus"];
const KINDS: [Kind; 5] = [
    Kind::Gain,
    Kind::Eq,
    Kind::Gate,
    Kind::Duck,
    Kind::Compressor,
];

fn track_id() -> impl Strategy<Value = String> {
    prop::sample::select(&TRACKS[..]).prop_map(str::to_owned)
}

fn plugin() -> impl Strategy<Value = PluginRef> {
    let ids = prop::sample::select(&["p0", "p1", "p2", "gain_1", "eq_2", "limiter"][..]);
    ids.prop_map(|id| PluginRef {
        track_id: None,
        plugin_id: id.to_owned(),
    })
}

fn parameter() -> impl Strategy<Value = ParameterChange> {
    let ids = KINDS
        .iter()
        .flat_map(|kind| kind.params())
        .collect::<Vec<_>>();
    (plugin(), prop::sample::select(ids), 0.0f64..=1.0).prop_map(|(plugin, param, share)| {
        let value = param.min + share * (param.max - param.min);
        ParameterChange {
            plugin,
            parameter_id: param.id.to_owned(),
            value: json!(value.clamp(param.min, param.max)),
        }
    })
}

fn fields() -> impl Strategy<Value = TrackFields> {
    let sends = prop::option::of(prop::sample::select(&[0.0, 0.1, 1.0][..]));
    (
        prop::option::of("\\PC{0,8}"),
        prop::option::of(prop::sample::select(
            &["device:1", "device:2", "file", "none"][..],
        )),
        prop::option::of(0.0f64..2.0),
        prop::option::of(-1.0f64..1.0),
        prop::option::of(any::<bool>()),
        sends,
    )
        .prop_map(|(name, input, volume, pan, mute, send)| TrackFields {
            name,
            input: input.map(str::to_owned),
            volume: volume.map(|volume| json!(volume)),
            pan: pan.map(|pan| json!(pan)),
            mute,
            solo: mute.map(|mute| !mute),
            sends: send.map(|level| vec![("bus".to_owned(), json!(level))]),
            input_gain_db: pan.map(|pan| json!(pan * 20.0)),
        })
}

pub fn request() -> impl Strategy<Value = Request> {
    let names = || prop::sample::select(&["mine", "a/b", "natural", "Default"][..]);
    let kinds = prop::sample::select(
        &[
            (TrackKind::Mic, "t0"),
            (TrackKind::Stem, "t1"),
            (TrackKind::Bus, "bus"),
        ][..],
    );
    prop_oneof![
        4 => (track_id(), prop::sample::select(&KINDS[..]), prop::option::of(plugin()), prop::option::of(0u8..4), any::<bool>())
            .prop_map(|(track_id, kind, plugin, position, is_other)| Request::PluginAdd {
                track_id,
                name: kind.name().to_owned(),
                plugin_path: is_other.then(|| "/x.lv2".to_owned()),
                position: position.map(|position| json!(position)),
                plugin_id: plugin.map(|plugin| plugin.plugin_id),
            }),
        1 => plugin().prop_map(Request::PluginRemove),
        6 => parameter().prop_map(Request::PluginParameter),
        2 => prop::collection::vec(parameter(), 1..4).prop_map(Request::Parameters),
        2 => (plugin(), any::<bool>()).prop_map(|(plugin, bypass)| Request::PluginBypass { plugin, bypass }),
        2 => (plugin(), names()).prop_map(|(plugin, name)| Request::PluginPreset { plugin, name: Some(name.to_owned()), data: None }),
        1 => (plugin(), names()).prop_map(|(plugin, name)| Request::PresetSave { plugin, name: name.to_owned() }),
        2 => (plugin(), 0u8..4).prop_map(|(plugin, position)| Request::PluginMove { plugin, position: json!(position) }),
        2 => (kinds, fields()).prop_map(|((kind, id), fields)| Request::TrackAdd { track_id: id.to_owned(), kind, fields }),
        1 => track_id().prop_map(|track_id| Request::TrackRemove { track_id }),
        3 => (track_id(), fields()).prop_map(|(track_id, fields)| Request::TrackUpdate { track_id, fields }),
        1 => (track_id(), names()).prop_map(|(track_id, name)| Request::ChainLoad { track_id, name: name.to_owned() }),
        1 => (track_id(), names()).prop_map(|(track_id, name)| Request::ChainSave { track_id, name: name.to_owned() }),
        1 => prop::sample::select(&[PanicMode::Mute, PanicMode::Dry][..]).prop_map(Request::Panic),
        1 => Just(Request::Restore),
    ]
}
