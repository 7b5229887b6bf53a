//! A test tone: heard and on record, but no part of the state. A new engine does not know of it.

use rigd_rt::{Command, TrackKind};
use serde_json::Value;

use super::apply::{Accepted, in_range};
use super::change::What;
use super::reject::Reject;
use super::state::{State, decibels};

/// What is played when nothing is said: 1 kHz at −20 dB for two seconds.
const FREQ_HZ: f64 = 1000.0;
const LEVEL_DB: f64 = -20.0;
const SECONDS: f64 = 2.0;
/// The highest that is played, as a share of the rate.
const FREQ_MAX: f64 = 0.45;
const FREQ_RANGE_HZ: (f64, f64) = (20.0, 20_000.0);
const LEVEL_RANGE_DB: (f64, f64) = (-80.0, -6.0);
const SECONDS_MAX: f64 = 60.0;

/// What a message says about a tone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToneFields {
    /// The master when left out.
    pub track_id: Option<String>,
    /// 20…20 000 Hz, and below 0.45 of the rate.
    pub freq_hz: Option<Value>,
    /// Its peak, −80…−6 dB of full scale.
    pub level_db: Option<Value>,
    /// 0…60; 0 ends it.
    pub seconds: Option<Value>,
}

pub(super) fn tone(state: &mut State, fields: &ToneFields) -> Result<Accepted, Reject> {
    let track = match &fields.track_id {
        Some(track_id) => state.find_track(track_id)?,
        None => {
            let mut tracks = state.tracks.iter();
            let master = tracks.position(|track| track.kind == TrackKind::Master);
            master.ok_or_else(|| Reject::no_track("master"))?
        }
    };
    let number = |id, value: &Option<Value>, otherwise, min, max| match value {
        Some(value) => in_range(id, value, min, max),
        None => Ok(otherwise),
    };
    let rate = f64::from(state.wiring.sample_rate_hz);
    let (lowest, highest) = FREQ_RANGE_HZ;
    let freq_hz = number(
        "freq_hz",
        &fields.freq_hz,
        FREQ_HZ,
        lowest,
        highest.min(FREQ_MAX * rate),
    )?;
    let (least, most) = LEVEL_RANGE_DB;
    let level_db = number("level_db", &fields.level_db, LEVEL_DB, least, most)?;
    let seconds = number("seconds", &fields.seconds, SECONDS, 0.0, SECONDS_MAX)?;
    let track = &state.tracks[track];
    let command = Command::Tone {
        track: track.place,
        freq_hz: freq_hz as f32,
        level: decibels(level_db) as f32,
        frames: libm::round(seconds * rate) as u32,
    };
    let what = What::Toned {
        track_id: track.id.clone(),
        freq_hz,
        level_db,
        seconds,
    };
    Ok(Accepted::one(state, what, vec![command]))
}
