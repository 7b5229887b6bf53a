//! A card's hardware mixer: what it has, and what the settings want of it. Control side; every function
//! that asks the card needs [`super::library::load`] before it.

use alsa::mixer::{Mixer, Selem, SelemChannelId};
use alsa::{Error, Round};

use super::cards;
use super::names;
use crate::cli::Failure;
use crate::config;
use crate::config::mixer::{Dial, Side, To};

/// What plays and what records have their own words for the same thing.
pub(super) const PLAYBACK: bool = true;
const CAPTURE: bool = false;

/// One control, as ALSA's simple mixer shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Its name, with a comma and its number behind it where several have that name.
    pub name: String,
    /// On the way to the loudspeakers.
    pub playback: Option<Level>,
    /// On the way from the microphones.
    pub capture: Option<Level>,
    /// What it can be, and is, where it is a choice.
    pub choice: Option<(Vec<String>, String)>,
}

/// A volume, a switch, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    /// 0…100, of the range of the card's own numbers.
    pub percent: Option<f64>,
    /// The same in dB, where the card tells, with the lowest and the highest.
    pub db: Option<[f64; 3]>,
    /// Whether it is on.
    pub is_on: Option<bool>,
}

pub(super) fn open(card: &str) -> Result<Mixer, Error> {
    Mixer::new(&format!("hw:CARD={card}"), false)
}

/// Every control of a card, by its id, in ALSA's order.
pub fn controls(card: &str) -> Result<Vec<Control>, Error> {
    let mixer = open(card)?;
    let selems = mixer.iter().filter_map(Selem::new);
    Ok(selems.map(|selem| read(&selem)).collect())
}

fn name(selem: &Selem) -> String {
    let id = selem.get_id();
    let name = id.get_name().unwrap_or_default().to_owned();
    match id.get_index() {
        0 => name,
        index => format!("{name},{index}"),
    }
}

pub(super) fn read(selem: &Selem) -> Control {
    let choice = selem.is_enumerated().then(|| {
        let items: Vec<String> = selem
            .iter_enum()
            .map(|items| items.flatten().collect())
            .unwrap_or_default();
        let now = selem.get_enum_item(SelemChannelId::mono()).unwrap_or(0);
        let now = items.get(now as usize).cloned().unwrap_or_default();
        (items, now)
    });
    Control {
        name: name(selem),
        playback: level(selem, PLAYBACK),
        capture: level(selem, CAPTURE),
        choice,
    }
}

fn level(selem: &Selem, is_playback: bool) -> Option<Level> {
    let first = SelemChannelId::mono();
    let (has_volume, has_switch) = has(selem, is_playback);
    if !has_volume && !has_switch {
        return None;
    }
    let (volume, range, db, db_range, switch) = if is_playback {
        (
            selem.get_playback_volume(first),
            selem.get_playback_volume_range(),
            selem.get_playback_vol_db(first),
            selem.get_playback_db_range(),
            selem.get_playback_switch(first),
        )
    } else {
        (
            selem.get_capture_volume(first),
            selem.get_capture_volume_range(),
            selem.get_capture_vol_db(first),
            selem.get_capture_db_range(),
            selem.get_capture_switch(first),
        )
    };
    let (least, most) = range;
    let percent = |volume: i64| 100.0 * (volume - least) as f64 / (most - least).max(1) as f64;
    let db = db.ok().filter(|_| has_volume);
    Some(Level {
        percent: volume.ok().filter(|_| has_volume).map(percent),
        db: db.map(|db| {
            let db = [db, db_range.0, db_range.1];
            db.map(|db| f64::from(db.to_db()))
        }),
        is_on: switch.ok().filter(|_| has_switch).map(|on| on != 0),
    })
}

/// Whether there is a volume, and a switch, on that side.
fn has(selem: &Selem, is_playback: bool) -> (bool, bool) {
    if is_playback {
        (selem.has_playback_volume(), selem.has_playback_switch())
    } else {
        (selem.has_capture_volume(), selem.has_capture_switch())
    }
}

/// Sets what the settings want, if they want anything; says what is not there.
pub fn apply(mixer: &config::Mixer, alsa: &config::Alsa) -> Result<(), Failure> {
    if mixer.set.0.is_empty() {
        return Ok(());
    }
    super::library::load().map_err(|missing| {
        Failure::failed(format!(
            "The mixer cannot be set, since ALSA's library cannot be loaded ({missing}): install it \
             (Debian's package libasound2), or leave mixer.set empty."
        ))
    })?;
    let card = card(mixer, alsa).ok_or_else(|| {
        Failure::failed(
            "The mixer cannot be set, since no card is named: name one in mixer.card (`rigd devices` shows \
             them).",
        )
    })?;
    let opened = open(&card).map_err(|error| {
        Failure::failed(format!(
            "The mixer of the card \"{card}\" cannot be opened ({error}): `rigd devices` shows which cards \
             there are."
        ))
    })?;
    for dial in &mixer.set.0 {
        turn(&opened, &card, dial)?;
    }
    log::info!("the mixer of {card} is set: {}", mixer.set);
    Ok(())
}

/// Whether the card that the settings would set is there.
pub fn is_there(mixer: &config::Mixer, alsa: &config::Alsa) -> bool {
    super::library::load().is_ok() && card(mixer, alsa).is_some_and(|card| open(&card).is_ok())
}

fn card(mixer: &config::Mixer, alsa: &config::Alsa) -> Option<String> {
    match mixer.card.as_str() {
        "" => {
            let names = names::meant(alsa, &cards::cards());
            card_of(&names.first()?.playback).map(str::to_owned)
        }
        card => Some(card.to_owned()),
    }
}

/// The card of a PCM's name.
pub(super) fn card_of(pcm: &str) -> Option<&str> {
    let rest = pcm.split_once("CARD=")?.1;
    rest.split(',').next()
}

fn turn(mixer: &Mixer, card: &str, dial: &Dial) -> Result<(), Failure> {
    let all: Vec<Selem> = mixer.iter().filter_map(Selem::new).collect();
    let Some(selem) = all.iter().find(|selem| name(selem) == dial.name) else {
        let names: Vec<String> = all.iter().map(name).collect();
        let names = match names.as_slice() {
            [] => "none at all".to_owned(),
            names => names.join(", "),
        };
        return Err(Failure::failed(format!(
            "The card \"{card}\" has no control \"{}\" (mixer.set); it has {names}.",
            dial.name
        )));
    };
    let refused = |error: Error| {
        Failure::failed(format!(
            "The control \"{}\" of the card \"{card}\" does not take \"{}\" ({error}).",
            dial.name, dial.to
        ))
    };
    if let To::Choice(item) = &dial.to {
        return choose(selem, card, dial, item);
    }
    let mut is_set = false;
    for is_playback in [PLAYBACK, CAPTURE] {
        let is_meant = match dial.side {
            Side::Both => true,
            Side::Playback => is_playback,
            Side::Capture => !is_playback,
        };
        let (has_volume, has_switch) = has(selem, is_playback);
        let can = match dial.to {
            To::Switch(_) => has_switch,
            _ => has_volume,
        };
        if is_meant && can {
            set(selem, is_playback, &dial.to).map_err(refused)?;
            is_set = true;
        }
    }
    if is_set {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "The control \"{}\" of the card \"{card}\" has nothing that could be \"{}\" (mixer.set): `rigd \
         devices` shows what it has.",
        dial.name, dial.to
    )))
}

pub(super) fn set(selem: &Selem, is_playback: bool, to: &To) -> Result<(), Error> {
    match (to, is_playback) {
        (To::Switch(on), PLAYBACK) => selem.set_playback_switch_all(i32::from(*on)),
        (To::Switch(on), CAPTURE) => selem.set_capture_switch_all(i32::from(*on)),
        (To::Db(db), PLAYBACK) => selem.set_playback_db_all(millibel(*db), Round::Floor),
        (To::Db(db), CAPTURE) => selem.set_capture_db_all(millibel(*db), Round::Floor),
        (To::Percent(percent), PLAYBACK) => {
            let value = share(selem.get_playback_volume_range(), *percent);
            selem.set_playback_volume_all(value)
        }
        (To::Percent(percent), CAPTURE) => {
            let value = share(selem.get_capture_volume_range(), *percent);
            selem.set_capture_volume_all(value)
        }
        // Chosen elsewhere.
        (To::Choice(_), _) => Ok(()),
    }
}

fn millibel(db: f64) -> alsa::mixer::MilliBel {
    alsa::mixer::MilliBel::from_db(db as f32)
}

fn share((least, most): (i64, i64), percent: f64) -> i64 {
    least + ((most - least) as f64 * percent / 100.0).round() as i64
}

fn choose(selem: &Selem, card: &str, dial: &Dial, item: &str) -> Result<(), Failure> {
    let items: Vec<String> = selem
        .iter_enum()
        .map(|items| items.flatten().collect())
        .unwrap_or_default();
    let place = items.iter().position(|name| name == item);
    let result = match place {
        Some(place) => selem.set_enum_item(SelemChannelId::mono(), place as u32),
        None => {
            let what = if items.is_empty() {
                "is no choice: write \"on\", \"off\", \"80%\" or \"-6dB\"".to_owned()
            } else {
                format!("can be {}", items.join(", "))
            };
            return Err(Failure::failed(format!(
                "The control \"{}\" of the card \"{card}\" cannot be \"{item}\" (mixer.set): it {what}.",
                dial.name
            )));
        }
    };
    result.map_err(|error| {
        Failure::failed(format!(
            "The control \"{}\" of the card \"{card}\" does not take \"{item}\" ({error}).",
            dial.name
        ))
    })
}
