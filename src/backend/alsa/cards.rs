//! Which cards there are, what their devices offer, and what the names of PCMs say about clocks. Control
//! side; every function needs [`super::library::load`] before it.
//!
//! Cards are told apart by their id (`arecord -l`, /proc/asound/cards), such as `M2` or `Device_1`: their
//! numbers change with what is plugged in first.

use alsa::card::Iter;
use alsa::ctl::{Ctl, DeviceIter};
use alsa::pcm::{Format, HwParams, PCM};
use alsa::{Direction, Error};

/// Rates that are asked for, in Hz.
pub const RATES_HZ: [u32; 6] = [44_100, 48_000, 88_200, 96_000, 176_400, 192_000];

/// A sound card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Of now; the next start may give it another one.
    pub number: i32,
    /// What names it in settings.
    pub id: String,
    /// For a person.
    pub name: String,
    /// With where it is plugged in.
    pub long_name: String,
    /// The kernel's, such as `USB-Audio`.
    pub driver: String,
    /// In the order of their numbers.
    pub devices: Vec<Device>,
}

/// A device of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// On its card, from 0.
    pub number: u32,
    /// For a person.
    pub name: String,
    /// Whether it has a side to record from.
    pub records: bool,
    /// Whether it has a side to play to.
    pub plays: bool,
}

/// What one side of a device can do without conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Those that rigd speaks, the best first.
    pub formats: Vec<Format>,
    /// Those of [`RATES_HZ`].
    pub rates_hz: Vec<u32>,
    /// Fewest and most channels.
    pub channels: (u32, u32),
    /// Shortest and longest period, in frames.
    pub period_frames: (i64, i64),
}

impl Card {
    /// The name by which ALSA opens one of its devices without any conversion.
    pub fn pcm(&self, device: &Device) -> String {
        format!("hw:CARD={},DEV={}", self.id, device.number)
    }

    /// Whether it is a USB interface.
    pub fn is_usb(&self) -> bool {
        self.driver == "USB-Audio"
    }
}

/// All cards, in the order of their numbers. One that goes away meanwhile is left out.
pub fn cards() -> Vec<Card> {
    let present = Iter::new().map_while(Result::ok);
    present.filter_map(|card| read(&card).ok()).collect()
}

fn read(card: &alsa::Card) -> Result<Card, Error> {
    let control = Ctl::from_card(card, true)?;
    let info = control.card_info()?;
    let devices = DeviceIter::new(&control).filter_map(|number| {
        let number = u32::try_from(number).ok()?;
        let side = |direction| control.pcm_info(number, 0, direction).ok();
        let (records, plays) = (side(Direction::Capture), side(Direction::Playback));
        let name = [&plays, &records].into_iter().flatten().next()?;
        Some(Device {
            number,
            name: name.get_name().unwrap_or_default().to_owned(),
            records: records.is_some(),
            plays: plays.is_some(),
        })
    });
    Ok(Card {
        number: card.get_index(),
        id: info.get_id()?.to_owned(),
        name: info.get_name()?.to_owned(),
        long_name: info.get_longname()?.to_owned(),
        driver: info.get_driver()?.to_owned(),
        devices: devices.collect(),
    })
}

/// What a PCM can do in a direction. `Err` with `EBUSY` when somebody else has it.
pub fn offer(pcm: &str, direction: Direction) -> Result<Offer, Error> {
    let pcm = PCM::new(pcm, direction, true)?;
    let params = HwParams::any(&pcm)?;
    // A plugin would claim all rates.
    params.set_rate_resample(false)?;
    let formats = super::sample::FORMATS.into_iter();
    let rates = RATES_HZ.into_iter();
    Ok(Offer {
        formats: formats
            .filter(|format| params.test_format(*format).is_ok())
            .collect(),
        rates_hz: rates
            .filter(|rate| params.test_rate(*rate).is_ok())
            .collect(),
        channels: (params.get_channels_min()?, params.get_channels_max()?),
        period_frames: (params.get_period_size_min()?, params.get_period_size_max()?),
    })
}

/// The devices that `auto` takes, the best first: those that play and record, then those that only play, of
/// these USB interfaces first, since a board's own sockets and screens are always there.
pub fn best_first(cards: &[Card]) -> Vec<(&Card, &Device)> {
    let of = |card| devices_of(card);
    let mut devices: Vec<_> = cards.iter().flat_map(of).collect();
    devices.retain(|(_, device)| device.plays);
    devices.sort_by_key(|(card, device)| match device {
        Device { records: true, .. } => 0,
        _ if card.is_usb() => 1,
        _ => 2,
    });
    devices
}

fn devices_of(card: &Card) -> impl Iterator<Item = (&Card, &Device)> {
    card.devices.iter().map(move |device| (card, device))
}

/// What there is, for somebody who has asked for something else: `M2 (MOTU M2: plays and records)`.
pub fn list(cards: &[Card]) -> String {
    let devices = cards.iter().flat_map(devices_of);
    let names: Vec<String> = devices
        .map(|(card, device)| {
            let does = match (device.plays, device.records) {
                (true, true) => "plays and records",
                (true, false) => "plays",
                _ => "records",
            };
            format!(
                "{} ({}, {}: {does})",
                card.pcm(device),
                card.name,
                device.name
            )
        })
        .collect();
    if names.is_empty() {
        "no sound card".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u32, plays: bool, records: bool) -> Device {
        Device {
            number,
            name: "Audio".to_owned(),
            records,
            plays,
        }
    }

    fn card(id: &str, devices: Vec<Device>) -> Card {
        Card {
            number: 0,
            id: id.to_owned(),
            name: id.to_lowercase(),
            long_name: String::new(),
            driver: String::new(),
            devices,
        }
    }

    #[test]
    fn a_card_that_records_too_goes_before_one_that_only_plays() {
        let cards = [
            card("Mic", vec![device(0, false, true)]),
            card("HDMI", vec![device(3, true, false)]),
            card("M2", vec![device(0, true, true)]),
        ];
        let names = |cards: &[Card]| -> Vec<String> {
            let best = best_first(cards).into_iter();
            best.map(|(card, device)| card.pcm(device)).collect()
        };
        assert_eq!(names(&cards), ["hw:CARD=M2,DEV=0", "hw:CARD=HDMI,DEV=3"]);
        let mut dongle = card("Dongle", vec![device(0, true, false)]);
        dongle.driver = "USB-Audio".to_owned();
        let [_, hdmi, m2] = cards.clone();
        assert_eq!(
            names(&[hdmi, dongle, m2]),
            [
                "hw:CARD=M2,DEV=0",
                "hw:CARD=Dongle,DEV=0",
                "hw:CARD=HDMI,DEV=3"
            ]
        );
        assert_eq!(names(&cards[..2]), ["hw:CARD=HDMI,DEV=3"]);
        assert!(names(&cards[..1]).is_empty());
        assert_eq!(
            list(&cards[1..]),
            "hw:CARD=HDMI,DEV=3 (hdmi, Audio: plays), \
             hw:CARD=M2,DEV=0 (m2, Audio: plays and records)"
        );
        assert_eq!(list(&[]), "no sound card");
    }
}
