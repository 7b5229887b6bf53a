//! A card that comes up mute is made audible: many do, and nobody on a box without a screen would look for
//! the reason in a mixer. Only what is off, or at its very bottom, is touched; what was merely turned down
//! stays so. Control side.

use alsa::mixer::Selem;

use super::mixer::{self, Control, Level};
use crate::config;
use crate::config::mixer::To;

/// Controls on the way to the loudspeakers, by the names that drivers give them. Others are left alone: a
/// microphone's way past rigd straight to the loudspeakers has a control too, and would howl.
const OUTPUTS: [&str; 14] = [
    "Analogue",
    "DAC",
    "Digital",
    "Front",
    "Headphone",
    "Headphones",
    "Line Out",
    "Main",
    "Master",
    "Master Digital",
    "Master Front",
    "PCM",
    "Playback",
    "Speaker",
];

/// USB interfaces put their own name in front.
const SUFFIXES: [&str; 2] = [" Output", " Playback"];

/// No louder than what comes in.
const UNITY_DB: f64 = 0.0;
const FULL_PERCENT: f64 = 100.0;

/// Makes the card of this PCM audible, but for the controls that `mixer.set` names. What cannot be done is in
/// the log: there is sound without it, or the card says so itself.
pub fn wake(settings: &config::Mixer, pcm: &str) {
    let Some(card) = mixer::card_of(pcm).filter(|_| settings.audible) else {
        return;
    };
    let mixer = match mixer::open(card) {
        Ok(mixer) => mixer,
        Err(error) => {
            log::debug!("{card} has no mixer that can be opened ({error})");
            return;
        }
    };
    for selem in mixer.iter().filter_map(Selem::new) {
        let control = mixer::read(&selem);
        let is_set = |name: &str| settings.set.0.iter().any(|dial| dial.name == name);
        if is_set(&control.name) {
            continue;
        }
        for to in wanted(&control) {
            match mixer::set(&selem, mixer::PLAYBACK, &to) {
                Ok(()) => log::info!("{card} was mute: {} = {to}", control.name),
                Err(error) => log::warn!(
                    "{card} is mute, and \"{}\" cannot be {to} ({error}): see [mixer] in the settings",
                    control.name
                ),
            }
        }
    }
}

/// What makes a control audible; nothing where it is, or is no output's.
fn wanted(control: &Control) -> Vec<To> {
    // Of several with one name each has its number behind a comma.
    let name = control.name.split(',').next().unwrap_or_default();
    let is_output = OUTPUTS.contains(&name) || SUFFIXES.iter().any(|end| name.ends_with(end));
    let (true, Some(level)) = (is_output, &control.playback) else {
        return Vec::new();
    };
    let switch = (level.is_on == Some(false)).then_some(To::Switch(true));
    volume(level).into_iter().chain(switch).collect()
}

/// The volume, before the switch: nothing is louder in between.
fn volume(level: &Level) -> Option<To> {
    if level.percent? > 0.0 {
        return None;
    }
    Some(match level.db {
        // A card that only makes louder is at unity there.
        Some([_, least, most]) if most > least && least < UNITY_DB => To::Db(UNITY_DB.min(most)),
        Some([_, least, most]) if most > least => return None,
        _ => To::Percent(FULL_PERCENT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(name: &str, percent: f64, db: Option<[f64; 3]>, is_on: Option<bool>) -> Control {
        Control {
            name: name.to_owned(),
            playback: Some(Level {
                percent: Some(percent),
                db,
                is_on,
            }),
            capture: None,
            choice: None,
        }
    }

    #[test]
    fn what_is_off_or_at_its_bottom_comes_to_unity() {
        let mute = control("Master", 0.0, Some([-60.0, -60.0, 12.0]), Some(false));
        assert_eq!(wanted(&mute), [To::Db(0.0), To::Switch(true)]);
        let mute = control("PCM,1", 0.0, Some([-60.0, -60.0, -3.0]), None);
        assert_eq!(wanted(&mute), [To::Db(-3.0)], "as far as it goes");
        let mute = control("UMC204HD 192k Output", 0.0, None, Some(true));
        assert_eq!(wanted(&mute), [To::Percent(100.0)]);
    }

    #[test]
    fn what_was_only_turned_down_stays_so() {
        let low = control("Speaker", 4.0, Some([-50.0, -60.0, 0.0]), Some(true));
        assert_eq!(wanted(&low), []);
        let off = control("Speaker", 4.0, Some([-50.0, -60.0, 0.0]), Some(false));
        assert_eq!(wanted(&off), [To::Switch(true)]);
        let unity = control("Master", 0.0, Some([0.0, 0.0, 24.0]), None);
        assert_eq!(wanted(&unity), [], "its bottom is unity");
    }

    #[test]
    fn a_microphones_way_to_the_loudspeakers_stays_shut() {
        for name in [
            "Mic",
            "Line",
            "Sidetone",
            "Loopback Mixer",
            "Beep",
            "IEC958",
        ] {
            assert_eq!(wanted(&control(name, 0.0, None, Some(false))), [], "{name}");
        }
    }
}
