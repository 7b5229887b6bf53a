//! `rigd devices`: what JACK and ALSA offer here.

use std::fmt::Write as _;
use std::io::Write as _;

use alsa::Direction;
use clap::Args;
use serde_json::{Value, json};

use crate::backend::alsa::cards::{self, Card, Device, Offer};
use crate::backend::alsa::mixer::{self, Control, Level};
use crate::backend::{alsa as cards_room, jack};
use crate::cli::Failure;

/// `rigd devices`.
#[derive(Args, Clone, Debug)]
pub struct DevicesArgs {
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints what there is. What cannot be asked says why, and is no failure.
pub fn run(args: &DevicesArgs) -> Result<(), Failure> {
    let jack = look_at_jack();
    let cards = look_at_cards();
    let text = if args.json {
        format!("{}\n", json!({ "jack": jack, "alsa": cards }))
    } else {
        jack_as_text(&jack) + &cards_as_text(&cards)
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::failed(format!("Cannot print: {error}.")))
}

fn look_at_jack() -> Value {
    match jack::server::look() {
        Ok(server) => json!({
            "running": true,
            "server": server.name,
            "sample_rate": server.sample_rate_hz,
            "block_frames": server.block_frames,
            "inputs": server.inputs,
            "outputs": server.outputs,
        }),
        Err(failure) => json!({ "running": false, "reason": failure.message }),
    }
}

fn look_at_cards() -> Value {
    match cards_room::library::load() {
        Ok(()) => json!({
            "available": true,
            "cards": cards::cards().iter().map(card).collect::<Vec<_>>(),
        }),
        Err(missing) => json!({
            "available": false,
            "reason": format!(
                "ALSA's library cannot be loaded ({missing}): install it (Debian's package libasound2)."
            ),
        }),
    }
}

fn card(card: &Card) -> Value {
    let (controls, trouble) = match mixer::controls(&card.id) {
        Ok(controls) => (controls, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    json!({
        "number": card.number,
        "id": card.id,
        "name": card.name,
        "long_name": card.long_name,
        "driver": card.driver,
        "devices": card.devices.iter().map(|one| device(card, one)).collect::<Vec<_>>(),
        "mixer": controls.iter().map(control).collect::<Vec<_>>(),
        "mixer_trouble": trouble,
    })
}

fn device(card: &Card, device: &Device) -> Value {
    let pcm = card.pcm(device);
    let side = |has: bool, direction| has.then(|| offer(cards::offer(&pcm, direction)));
    json!({
        "pcm": pcm,
        "name": device.name,
        "capture": side(device.records, Direction::Capture),
        "playback": side(device.plays, Direction::Playback),
    })
}

fn offer(offer: Result<Offer, alsa::Error>) -> Value {
    match offer {
        Ok(offer) => json!({
            "formats": offer.formats.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "rates_hz": offer.rates_hz,
            "channels": [offer.channels.0, offer.channels.1],
            "period_frames": [offer.period_frames.0, offer.period_frames.1],
        }),
        Err(error) if error.errno() == libc::EBUSY => {
            json!({ "reason": "somebody else has it (`rigd doctor` says who)" })
        }
        Err(error) => json!({ "reason": error.to_string() }),
    }
}

fn control(control: &Control) -> Value {
    let level = |level: &Level| {
        json!({
            "percent": level.percent,
            "db": level.db.map(|[now, ..]| now),
            "db_range": level.db.map(|[_, least, most]| [least, most]),
            "on": level.is_on,
        })
    };
    json!({
        "name": control.name,
        "playback": control.playback.as_ref().map(level),
        "capture": control.capture.as_ref().map(level),
        "choices": control.choice.as_ref().map(|(choices, _)| choices),
        "choice": control.choice.as_ref().map(|(_, now)| now),
    })
}

fn list(value: &Value) -> String {
    let items = value.as_array().into_iter().flatten();
    let words = items.map(|item| {
        item.as_str()
            .map_or_else(|| item.to_string(), str::to_owned)
    });
    words.collect::<Vec<_>>().join(" ")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn jack_as_text(jack: &Value) -> String {
    if jack["running"] == false {
        return format!("JACK: {}\n", word(&jack["reason"]));
    }
    let mut text = format!(
        "JACK: server \"{}\", {} Hz, blocks of {} frames\n",
        word(&jack["server"]),
        jack["sample_rate"],
        jack["block_frames"]
    );
    for side in ["inputs", "outputs"] {
        let _ = writeln!(text, "  {side:<9}{}", list(&jack[side]));
    }
    text
}

fn cards_as_text(alsa: &Value) -> String {
    if alsa["available"] == false {
        return format!("ALSA: {}\n", word(&alsa["reason"]));
    }
    let cards = alsa["cards"].as_array().map_or(&[][..], Vec::as_slice);
    if cards.is_empty() {
        return "ALSA: there is no sound card.\n".to_owned();
    }
    let mut text = String::new();
    for card in cards {
        let _ = writeln!(
            text,
            "ALSA: card {} \"{}\" ({})",
            word(&card["id"]),
            word(&card["long_name"]),
            word(&card["driver"])
        );
        for device in card["devices"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  {} {}", word(&device["pcm"]), word(&device["name"]));
            for (side, verb) in [("capture", "records"), ("playback", "plays")] {
                let offer = &device[side];
                if offer.is_null() {
                    continue;
                }
                let what = match offer["reason"].as_str() {
                    Some(reason) => reason.to_owned(),
                    None => format!(
                        "{}; {} Hz; {} to {} channels; blocks of {} to {} frames",
                        list(&offer["formats"]),
                        list(&offer["rates_hz"]),
                        offer["channels"][0],
                        offer["channels"][1],
                        offer["period_frames"][0],
                        offer["period_frames"][1]
                    ),
                };
                let _ = writeln!(text, "    {verb:<8} {what}");
            }
        }
        if let Some(trouble) = card["mixer_trouble"].as_str() {
            let _ = writeln!(text, "  mixer: {trouble}");
        }
        for control in card["mixer"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  mixer: {}", control_as_text(control));
        }
    }
    text
}

fn control_as_text(control: &Value) -> String {
    let mut parts = vec![word(&control["name"]).to_owned()];
    for side in ["playback", "capture"] {
        let level = &control[side];
        if level.is_null() {
            continue;
        }
        let mut words = vec![side.to_owned()];
        if let Some(percent) = level["percent"].as_f64() {
            words.push(format!("{percent:.0}%"));
        }
        if let (Some(db), [least, most]) = (
            level["db"].as_f64(),
            [0, 1].map(|end| level["db_range"][end].as_f64().unwrap_or_default()),
        ) {
            words.push(format!("{db:.1}dB of {least:.1}…{most:.1}"));
        }
        match level["on"].as_bool() {
            Some(true) => words.push("on".to_owned()),
            Some(false) => words.push("OFF".to_owned()),
            None => {}
        }
        parts.push(words.join(" "));
    }
    if control["choice"].is_string() {
        let choices = control["choices"].as_array().into_iter().flatten();
        let choices: Vec<&str> = choices.map(word).collect();
        parts.push(format!(
            "{} of {}",
            word(&control["choice"]),
            choices.join(", ")
        ));
    }
    parts.join("; ")
}
