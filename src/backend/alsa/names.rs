//! Which PCMs the settings mean: a pure function of the settings and the cards that are there.

use super::cards::{Card, Device, best_first};
use crate::config;

/// The setting that says that there are no microphones.
pub const NONE: &str = "none";

/// The PCMs of both sides, as ALSA names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// `None`: there are no microphones.
    pub capture: Option<String>,
    /// Whether it is wrong if that one cannot be opened; else it is tried.
    pub needs_capture: bool,
    /// Of the loudspeakers.
    pub playback: String,
    /// Whether it was plugged in: it was chosen by somebody, other than a board's own.
    pub is_usb: bool,
}

/// How good a choice of card is, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Whether there are microphones.
    pub records: bool,
    /// As [`Names::is_usb`].
    pub is_usb: bool,
}

impl Names {
    /// Of the card, if all of it can be opened.
    pub fn rank(&self) -> Rank {
        Rank {
            records: self.capture.is_some(),
            is_usb: self.is_usb,
        }
    }
}

/// Whether the settings name no card to play to.
pub fn are_left_to_rigd(settings: &config::Alsa) -> bool {
    settings.device.is_empty() && settings.playback.is_empty()
}

/// What is meant. Where the settings leave it to rigd, every device that plays, the best first; none where
/// none does.
pub fn meant(settings: &config::Alsa, cards: &[Card]) -> Vec<Names> {
    let sides: Vec<_> = if are_left_to_rigd(settings) {
        let both = |(card, device): (&Card, &Device)| {
            let name = card.pcm(device);
            let capture = device.records.then(|| name.clone());
            (capture, true, name, card.is_usb())
        };
        best_first(cards).into_iter().map(both).collect()
    } else {
        let device = if settings.playback.is_empty() {
            &settings.device
        } else {
            &settings.playback
        };
        let playback = pcm(device, cards, |device| device.plays).unwrap_or_else(|| hw(device));
        let capture = match settings.device.as_str() {
            "" => None,
            device => pcm(device, cards, |device| device.records),
        };
        // A card that only plays is as good.
        vec![(capture, false, playback, false)]
    };
    let named = |(capture, needs_capture, playback, is_usb)| {
        let (capture, needs_capture) = match settings.capture.as_str() {
            "" => (capture, needs_capture),
            NONE => (None, needs_capture),
            device => {
                let name = pcm(device, cards, |device| device.records);
                (Some(name.unwrap_or_else(|| hw(device))), true)
            }
        };
        Names {
            capture,
            needs_capture,
            playback,
            is_usb,
        }
    };
    sides.into_iter().map(named).collect()
}

/// A card's id stands for its first device that is of use, if it has one; a number becomes the id of the
/// card that has it now. Anything else is a PCM that ALSA knows.
fn pcm(name: &str, cards: &[Card], is_of_use: fn(&Device) -> bool) -> Option<String> {
    if let Some(card) = cards.iter().find(|card| card.id == name) {
        let mut devices = card.devices.iter();
        let device = devices.find(|device| is_of_use(device))?;
        return Some(card.pcm(device));
    }
    Some(by_id(name, cards).unwrap_or_else(|| name.to_owned()))
}

/// A card as a whole: ALSA will say that there is no such side.
fn hw(card: &str) -> String {
    format!("hw:CARD={card}")
}

/// `hw:1,0` and `plughw:1` with the card's id.
fn by_id(name: &str, cards: &[Card]) -> Option<String> {
    let (kind, rest) = name.split_once(':')?;
    let mut parts = rest.split(',');
    let number: i32 = parts.next()?.parse().ok()?;
    let card = cards.iter().find(|card| card.number == number)?;
    let mut renamed = format!("{kind}:CARD={}", card.id);
    for (key, part) in ["DEV", "SUBDEV"].iter().zip(parts) {
        part.parse::<u32>().ok()?;
        renamed.push_str(&format!(",{key}={part}"));
    }
    Some(renamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(number: i32, id: &str, sides: &[(bool, bool)]) -> Card {
        let devices = sides.iter().enumerate().map(|(number, side)| Device {
            number: number as u32,
            name: "Audio".to_owned(),
            records: side.0,
            plays: side.1,
        });
        Card {
            number,
            id: id.to_owned(),
            name: id.to_owned(),
            long_name: String::new(),
            driver: String::new(),
            devices: devices.collect(),
        }
    }

    fn names(device: &str, capture: &str, playback: &str) -> Option<(Option<String>, String)> {
        let cards = [
            card(0, "HDMI", &[(false, true)]),
            card(1, "M2", &[(false, false), (true, true)]),
        ];
        let settings = config::Alsa {
            device: device.to_owned(),
            capture: capture.to_owned(),
            playback: playback.to_owned(),
            ..config::Alsa::default()
        };
        let mut names = meant(&settings, &cards).into_iter();
        names.next().map(|names| (names.capture, names.playback))
    }

    #[test]
    fn microphones_count_most_and_what_was_plugged_in_before_what_is_built_in() {
        let rank = |records, is_usb| Some(Rank { records, is_usb });
        let ranks = [
            None,
            rank(false, false),
            rank(false, true),
            rank(true, false),
        ];
        assert!(ranks.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn cards_are_named_by_their_ids_whatever_the_settings_say() {
        let both = |name: &str| Some((Some(name.to_owned()), name.to_owned()));
        assert_eq!(names("", "", ""), both("hw:CARD=M2,DEV=1"));
        assert_eq!(names("M2", "", ""), both("hw:CARD=M2,DEV=1"));
        assert_eq!(names("hw:1,1", "", ""), both("hw:CARD=M2,DEV=1"));
        assert_eq!(names("plughw:0", "", ""), both("plughw:CARD=HDMI"));
        assert_eq!(
            names("HDMI", "", ""),
            Some((None, "hw:CARD=HDMI,DEV=0".to_owned()))
        );
        assert_eq!(names("hw:7", "", ""), both("hw:7"), "no such card");
        assert_eq!(names("studio", "", ""), both("studio"));
        let two = |a: &str, b: &str| Some((Some(a.to_owned()), b.to_owned()));
        let (m2, hdmi) = ("hw:CARD=M2,DEV=1", "hw:CARD=HDMI,DEV=0");
        assert_eq!(names("", "M2", "HDMI"), two(m2, hdmi));
        assert_eq!(names("M2", "", "HDMI"), two(m2, hdmi));
        assert_eq!(names("", "none", ""), Some((None, m2.to_owned())));
        assert_eq!(names("", "", "HDMI"), Some((None, hdmi.to_owned())));
        assert_eq!(meant(&config::Alsa::default(), &[]), []);
    }
}
