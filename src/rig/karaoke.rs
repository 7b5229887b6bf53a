//! The rig that `preset = "karaoke"` starts with: a whole chain on every microphone, a reverb and an
//! echo that all share, the music under the voice, and a limiter with a venue's ceiling.

use rigd_rt::{Kind, TrackKind};

use super::apply::{NewPlugin, dispatch, insert_plugin};
use super::chain::{self, NATURAL};
use super::presets::from_factory;
use super::reject::Reject;
use super::request::{Request, TrackFields};
use super::state::{LIMITER, State};

/// The music's fader: 3 dB down.
const MUSIC_VOLUME: f64 = 0.7;

/// Sets a new rig up. Whatever does not fit (a bus where all tracks are taken, delay memory) is left
/// out, and said.
pub fn set_up(state: &mut State) -> Vec<Reject> {
    let mut left_out = Vec::new();
    let mut note = |result: Result<(), Reject>| left_out.extend(result.err());
    for (kind, preset, name) in [
        (Kind::Reverb, "Hall", "Reverb"),
        (Kind::Echo, "Karaoke", "Echo"),
    ] {
        note(bus(state, kind, preset, name));
    }
    let of_kind = |state: &State, kind: TrackKind| -> Vec<String> {
        let tracks = state.tracks.iter().filter(|track| track.kind == kind);
        tracks.map(|track| track.id.clone()).collect()
    };
    for mic in of_kind(state, TrackKind::Mic) {
        note(chain::load(state, &mic, NATURAL).map(drop));
    }
    for stem in of_kind(state, TrackKind::Stem) {
        note(music(state, &stem));
    }
    let limiters = state.tracks.iter_mut().flat_map(|track| &mut track.plugins);
    for limiter in limiters.filter(|plugin| plugin.id == LIMITER) {
        limiter.values = from_factory(Kind::Limiter, "Venue");
    }
    // This is what is there before anyone has changed anything.
    state.seq = 0;
    for plugin in state.tracks.iter_mut().flat_map(|track| &mut track.plugins) {
        plugin.seq = 0;
    }
    left_out
}

/// A bus with one effect, of which only the wet sound is heard.
fn bus(state: &mut State, kind: Kind, preset: &str, name: &str) -> Result<(), Reject> {
    let id = kind.name();
    if state.track(id).is_none() {
        let fields = TrackFields {
            name: Some(name.to_owned()),
            ..TrackFields::default()
        };
        let add = Request::TrackAdd {
            track_id: id.to_owned(),
            kind: TrackKind::Bus,
            fields,
        };
        dispatch(state, add)?;
    }
    let track = state.find_track(id)?;
    if state.tracks[track].kind != TrackKind::Bus || !state.tracks[track].plugins.is_empty() {
        return Ok(());
    }
    let mut values = from_factory(kind, preset);
    for (param, value) in kind.params().iter().zip(&mut values) {
        if param.id == "wet_dry" {
            *value = 1.0;
        }
    }
    let new = NewPlugin {
        kind,
        name: name.to_owned(),
        id: Some(format!("{id}.{id}")),
        values,
        substituted_for: None,
    };
    insert_plugin(state, track, 0, new).map(drop)
}

/// The music makes room for the voice.
fn music(state: &mut State, stem: &str) -> Result<(), Reject> {
    let track = state.find_track(stem)?;
    if state.tracks[track].volume == 1.0 {
        state.tracks[track].volume = MUSIC_VOLUME;
    }
    let new = NewPlugin {
        kind: Kind::Duck,
        name: Kind::Duck.name().to_owned(),
        id: Some(format!("{stem}.duck")).filter(|id| id.len() <= 64),
        values: from_factory(Kind::Duck, "Under the voice"),
        substituted_for: None,
    };
    insert_plugin(state, track, 0, new).map(drop)
}
