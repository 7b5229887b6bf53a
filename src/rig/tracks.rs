//! Request → changes and commands, for tracks.

use rigd_rt::{Command, SENDS_MAX, TRACKS_MAX, TrackKind};
use serde_json::Value;

use super::apply::{Accepted, in_range};
use super::change::What;
use super::reject::Reject;
use super::request::TrackFields;
use super::state::{State, Track, input_command, level_commands, send_commands};
use crate::config::TrackInput;

fn accept(state: &mut State, what: What, commands: Vec<Command>) -> Accepted {
    Accepted {
        changes: vec![state.number(what)],
        commands,
    }
}

/// A new track: at unity unless the fields say otherwise.
pub fn add(
    state: &mut State,
    track_id: String,
    kind: TrackKind,
    fields: TrackFields,
) -> Result<Accepted, Reject> {
    if state.track(&track_id).is_some() {
        return Err(Reject::field(
            "track_id",
            format!("names a track that is there already: \"{track_id}\""),
        ));
    }
    if kind == TrackKind::Master {
        return Err(Reject::field(
            "kind",
            "must be mic, stem or bus: there is one master, and it is there",
        ));
    }
    if state.tracks.len() >= TRACKS_MAX {
        return Err(Reject::Capacity {
            what: "tracks",
            limit: TRACKS_MAX as u64,
        });
    }
    let explicit_input = fields.input.is_some();
    let input = match kind {
        TrackKind::Stem => TrackInput::File,
        TrackKind::Mic => TrackInput::Device { first: 1, last: 1 },
        _ => TrackInput::None,
    };
    let mut track = Track::new(&track_id, kind, input);
    edit(state, &mut track, fields)?;
    track.feed = state.feed_for(&track);
    if explicit_input && state.wiring.has(track.input) {
        track.feed = None;
    }
    let Some(place) = state.places.take_track() else {
        return Err(Reject::Capacity {
            what: "tracks until removed ones have faded",
            limit: TRACKS_MAX as u64,
        });
    };
    track.place = place;
    let mut commands = vec![Command::AddTrack {
        track: place,
        kind,
        stereo: track.is_stereo(),
    }];
    commands.extend(input_command(&track, &state.wiring));
    commands.extend(level_commands(&track));
    commands.extend(send_commands(&track, &state.tracks));
    let before_master = state.tracks.len() - 1;
    state.tracks.insert(before_master, track.clone());
    Ok(accept(state, What::TrackAdded(Box::new(track)), commands))
}

/// A track goes, with its effects and everyone's sends to it.
pub fn remove(state: &mut State, track_id: &str) -> Result<Accepted, Reject> {
    let index = state.find_track(track_id)?;
    if state.tracks[index].kind == TrackKind::Master {
        return Err(Reject::EngineError(
            "the master cannot be removed".to_owned(),
        ));
    }
    let gone = state.tracks.remove(index);
    for track in &mut state.tracks {
        track.sends.retain(|(bus, _)| *bus != gone.id);
    }
    let what = What::TrackRemoved { track_id: gone.id };
    Ok(accept(
        state,
        what,
        vec![Command::RemoveTrack { track: gone.place }],
    ))
}

/// Some things of a track change, together.
pub fn update(state: &mut State, track_id: &str, fields: TrackFields) -> Result<Accepted, Reject> {
    let index = state.find_track(track_id)?;
    let mut track = state.tracks[index].clone();
    let rewired = fields.input.is_some();
    edit(state, &mut track, fields)?;
    let before = &state.tracks[index];
    if rewired {
        track.feed = match before.feed {
            Some(feed) if track.input == before.input => Some(feed),
            _ if state.wiring.has(track.input) => None,
            _ => state.feed_for(&track),
        };
    }
    let mut commands = Vec::new();
    if rewired {
        commands.extend(input_command(&track, &state.wiring));
    }
    let levels = level_commands(&track);
    commands.extend(
        levels
            .iter()
            .zip(level_commands(before))
            .filter(|(new, old)| *new != old)
            .map(|(new, _)| *new),
    );
    commands.extend(
        send_commands(&track, &state.tracks)
            .into_iter()
            .filter(|send| !send_commands(before, &state.tracks).contains(send)),
    );
    // A send at 0 is one that is not there.
    track.sends.retain(|(_, level)| *level > 0.0);
    state.tracks[index] = track.clone();
    Ok(accept(state, What::TrackUpdated(Box::new(track)), commands))
}

/// Puts the fields into a track, or refuses them all.
fn edit(state: &State, track: &mut Track, fields: TrackFields) -> Result<(), Reject> {
    let number = |id, value: Option<Value>, min, max, present: f64| match value {
        Some(value) => in_range(id, &value, min, max),
        None => Ok(present),
    };
    if let Some(name) = fields.name {
        track.name = name;
    }
    if let Some(input) = fields.input {
        track.input = parse_input(track.kind, &input)?;
    }
    track.input_gain_db = number(
        "input_gain_db",
        fields.input_gain_db,
        -24.0,
        40.0,
        track.input_gain_db,
    )?;
    track.volume = number("volume", fields.volume, 0.0, 2.0, track.volume)?;
    track.pan = number("pan", fields.pan, -1.0, 1.0, track.pan)?;
    track.mute = fields.mute.unwrap_or(track.mute);
    track.solo = fields.solo.unwrap_or(track.solo);
    for (bus, level) in fields.sends.unwrap_or_default() {
        if !matches!(track.kind, TrackKind::Mic | TrackKind::Stem) {
            return Err(Reject::field("sends", "can be set on mics and stems only"));
        }
        if state
            .track(&bus)
            .is_none_or(|bus| bus.kind != TrackKind::Bus)
        {
            return Err(if state.track(&bus).is_none() {
                Reject::no_track(&bus)
            } else {
                Reject::field("sends", format!("must name buses, which \"{bus}\" is not"))
            });
        }
        let level = in_range("sends", &level, 0.0, 1.0)?;
        match track.sends.iter_mut().find(|(present, _)| *present == bus) {
            Some((_, present)) => *present = level,
            None => track.sends.push((bus, level)),
        }
    }
    if track.sends.iter().filter(|(_, level)| *level > 0.0).count() > SENDS_MAX {
        return Err(Reject::Capacity {
            what: "sends of this track",
            limit: SENDS_MAX as u64,
        });
    }
    Ok(())
}

fn parse_input(kind: TrackKind, input: &str) -> Result<TrackInput, Reject> {
    let parsed: TrackInput = input
        .parse()
        .map_err(|reason| Reject::field("input", format!("{reason}")))?;
    if matches!(kind, TrackKind::Bus | TrackKind::Master) && parsed != TrackInput::None {
        return Err(Reject::field(
            "input",
            "must be \"none\" here: buses and the master are fed by tracks",
        ));
    }
    Ok(parsed)
}

/// Whether an update makes a track quieter than it is, and nothing else. Such a one is never refused
/// for coming too often.
pub fn is_quieting(state: &State, track_id: &str, fields: &TrackFields) -> bool {
    let others = TrackFields {
        mute: None,
        volume: None,
        ..fields.clone()
    };
    let Some(track) = state
        .track(track_id)
        .filter(|_| others == TrackFields::default())
    else {
        return false;
    };
    let volume = fields
        .volume
        .as_ref()
        .map_or(Some(track.volume), |volume| volume.as_f64());
    let mute = fields.mute.unwrap_or(track.mute);
    match volume {
        Some(volume) if mute == track.mute => volume < track.volume,
        Some(volume) => mute && volume <= track.volume,
        None => false,
    }
}
