//! `[[tracks]]`: the rig as it is before anyone has changed it.

use std::fmt;
use std::str::FromStr;

use rigd_rt::{CHANNELS_MAX, SENDS_MAX, TrackKind};

use super::field::{Kind, Setting, Value, settings};

/// Device channels that a track can name: all but the two of the `file` input.
pub const DEVICE_CHANNELS_MAX: u8 = CHANNELS_MAX as u8 - 2;

/// Where a track's sound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TrackInput {
    /// `device:3` (`first == last`, mono) or `device:3-4` (stereo): channels of the sound card,
    /// from 1 to [`DEVICE_CHANNELS_MAX`].
    Device {
        /// The only or the left channel.
        first: u8,
        /// The only or the right channel: `first` or `first + 1`.
        last: u8,
    },
    /// `file`: what plays from the box; stereo.
    File,
    /// `none`: silence.
    #[default]
    None,
}

impl TrackInput {
    /// Whether it is stereo, which decides the pan law.
    pub fn is_stereo(self) -> bool {
        match self {
            TrackInput::Device { first, last } => first != last,
            TrackInput::File => true,
            TrackInput::None => false,
        }
    }
}

impl fmt::Display for TrackInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrackInput::Device { first, last } if first == last => write!(f, "device:{first}"),
            TrackInput::Device { first, last } => write!(f, "device:{first}-{last}"),
            TrackInput::File => f.write_str("file"),
            TrackInput::None => f.write_str("none"),
        }
    }
}

/// A text that names no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnInput;

impl fmt::Display for NotAnInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an input is \"device:N\", \"device:N-M\" (two neighbouring channels), \"file\" or \
             \"none\", with channels from 1 to {DEVICE_CHANNELS_MAX}"
        )
    }
}

impl std::error::Error for NotAnInput {}

impl FromStr for TrackInput {
    type Err = NotAnInput;

    fn from_str(text: &str) -> Result<TrackInput, NotAnInput> {
        match text {
            "file" => return Ok(TrackInput::File),
            "none" => return Ok(TrackInput::None),
            _ => (),
        }
        let channels = text.strip_prefix("device:").ok_or(NotAnInput)?;
        let channel = |text: &str| {
            // `parse` alone would take "+1" and "01", which would not read back as written.
            let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
            match text.parse() {
                Ok(channel @ 1..=DEVICE_CHANNELS_MAX) if plain => Ok(channel),
                _ => Err(NotAnInput),
            }
        };
        let (first, last) = match channels.split_once('-') {
            Some((first, last)) => (channel(first)?, channel(last)?),
            None => (channel(channels)?, channel(channels)?),
        };
        if channels.contains('-') && last != first + 1 {
            return Err(NotAnInput);
        }
        Ok(TrackInput::Device { first, last })
    }
}

impl Setting for TrackInput {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }

    fn from_value(value: Value) -> Result<TrackInput, String> {
        let text = String::from_value(value)?;
        text.parse()
            .map_err(|error: NotAnInput| format!("cannot be \"{text}\": {error}"))
    }
}

const KINDS: [(&str, TrackKind); 4] = [
    ("mic", TrackKind::Mic),
    ("stem", TrackKind::Stem),
    ("bus", TrackKind::Bus),
    ("master", TrackKind::Master),
];

impl Setting for TrackKind {
    fn to_value(&self) -> Value {
        let word = KINDS.iter().find(|(_, kind)| kind == self);
        Value::Text(word.map_or("", |(word, _)| word).into())
    }

    fn from_value(value: Value) -> Result<TrackKind, String> {
        let text = String::from_value(value)?;
        let kind = KINDS.iter().find(|(word, _)| *word == text);
        kind.map(|(_, kind)| *kind)
            .ok_or_else(|| format!("cannot be \"{text}\""))
    }
}

settings! {
    /// One track at the start of a new rig.
    pub struct Track, section "tracks" of Track at |t| t;

    /// Its id on the wire: 1 to 64 of A-Z a-z 0-9 _ . - and no other track's.
    pub track_id: String = String::new(), Kind::Text(64), "";
    /// Its name for people; the id when left out.
    pub name: String = String::new(), Kind::Text(64), "";
    /// What it is for: "mic", "stem" (music), "bus" (fed by sends) or "master" (added when none is
    /// listed).
    pub kind: TrackKind = TrackKind::Mic, Kind::Choice(&["mic", "stem", "bus", "master"]), "";
    /// Where its sound comes from: "device:1", "device:3-4" (stereo), "file" (what plays from the
    /// box) or "none". Buses and the master have no input.
    pub input: TrackInput = TrackInput::None, Kind::Text(16), "";
    /// Gain before the effects; more makes a quiet microphone louder, and its noise too.
    pub input_gain_db: f64 = 0.0, Kind::Float(-24.0, 40.0), "dB";
    /// Fader, linear: 1 is unity.
    pub volume: f64 = 1.0, Kind::Float(0.0, 2.0), "";
    /// From -1 (left) to 1 (right).
    pub pan: f64 = 0.0, Kind::Float(-1.0, 1.0), "";
    /// Starts silent.
    pub mute: bool = false, Kind::Bool, "";
    /// Starts as one of the only tracks that are heard.
    pub solo: bool = false, Kind::Bool, "";
    /// Levels, after the fader, to buses by their id.
    pub sends: Vec<(String, f64)> = Vec::new(), Kind::Levels(SENDS_MAX, 0.0, 1.0), "";
}

impl Track {
    /// A track at unity, in the centre, without sends.
    pub fn new(track_id: &str, name: &str, kind: TrackKind, input: TrackInput) -> Track {
        Track {
            track_id: track_id.into(),
            name: name.into(),
            kind,
            input,
            ..Track::default()
        }
    }

    /// The sum that every rig has.
    pub fn master() -> Track {
        Track::new("master", "Master", TrackKind::Master, TrackInput::None)
    }

    /// Two microphones, the music and the master.
    pub fn default_rig() -> Vec<Track> {
        let mic = |id, name, channel| {
            let input = TrackInput::Device {
                first: channel,
                last: channel,
            };
            Track::new(id, name, TrackKind::Mic, input)
        };
        vec![
            mic("mic1", "Mic 1", 1),
            mic("mic2", "Mic 2", 2),
            Track::new("music", "Music", TrackKind::Stem, TrackInput::File),
            Track::master(),
        ]
    }
}

/// Whether clients may use this as an id: 1–64 of `A–Z a–z 0–9 _ . -`.
pub fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}
