//! `mixer.set`: what a hardware mixer's controls are to be.

use std::fmt;

use super::field::{Setting, Value};

/// One control, and what it is to be: `"Master = 80%"`, `"Mic capture = 12dB"`, `"Mic,1 = on"`,
/// `"Input Source = Line"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dial {
    /// As `rigd devices` shows it.
    pub name: String,
    /// Which way it is on.
    pub side: Side,
    /// What it is to be.
    pub to: To,
}

/// Which way a control is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Wherever it can be set.
    Both,
    /// To the loudspeakers.
    Playback,
    /// From the microphones.
    Capture,
}

/// What a control is to be.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// On or off.
    Switch(bool),
    /// 0…100, of the card's own range.
    Percent(f64),
    /// As the card counts them.
    Db(f64),
    /// One of several.
    Choice(String),
}

/// All of them, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dials(pub Vec<Dial>);

impl Dial {
    /// Reads one; `Err` says what is wrong with it.
    pub fn parse(text: &str) -> Result<Dial, String> {
        let wrong = |what: &str| {
            Err(format!(
                "holds \"{text}\", {what}; write \"NAME = 80%\", \"NAME = -6dB\", \"NAME = on\" or \"NAME = \
                 CHOICE\", with \" capture\" or \" playback\" behind the name where only one is meant"
            ))
        };
        let Some((name, to)) = text.rsplit_once('=') else {
            return wrong("which has no \"=\"");
        };
        let (name, to) = (name.trim(), to.trim());
        let (name, side) = if let Some(name) = name.strip_suffix(" capture") {
            (name, Side::Capture)
        } else if let Some(name) = name.strip_suffix(" playback") {
            (name, Side::Playback)
        } else {
            (name, Side::Both)
        };
        if name.is_empty() || to.is_empty() {
            return wrong("which says too little");
        }
        let number = |unit: &str| to.strip_suffix(unit)?.trim().parse::<f64>().ok();
        let to = match to {
            "on" => To::Switch(true),
            "off" => To::Switch(false),
            _ => match (number("%"), number("dB")) {
                (Some(percent), _) if !(0.0..=100.0).contains(&percent) => {
                    return wrong("whose percentage is not from 0 to 100");
                }
                (Some(percent), _) => To::Percent(percent),
                (_, Some(db)) if db.is_finite() => To::Db(db),
                _ => To::Choice(to.to_owned()),
            },
        };
        Ok(Dial {
            name: name.to_owned(),
            side,
            to,
        })
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Switch(true) => f.write_str("on"),
            To::Switch(false) => f.write_str("off"),
            To::Percent(percent) => write!(f, "{percent}%"),
            To::Db(db) => write!(f, "{db}dB"),
            To::Choice(item) => f.write_str(item),
        }
    }
}

impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Both => "",
            Side::Playback => " playback",
            Side::Capture => " capture",
        };
        write!(f, "{}{side} = {}", self.name, self.to)
    }
}

impl fmt::Display for Dials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dials: Vec<String> = self.0.iter().map(Dial::to_string).collect();
        f.write_str(&dials.join(", "))
    }
}

impl Setting for Dials {
    fn to_value(&self) -> Value {
        Value::Texts(self.0.iter().map(Dial::to_string).collect())
    }

    fn from_value(value: Value) -> Result<Dials, String> {
        let texts = Vec::<String>::from_value(value)?;
        let dials = texts.iter().map(|text| Dial::parse(text));
        dials.collect::<Result<_, _>>().map(Dials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dials_are_read_and_written() {
        for (text, name, side, to) in [
            ("Master = 80%", "Master", Side::Both, To::Percent(80.0)),
            ("Mic capture = 12.5dB", "Mic", Side::Capture, To::Db(12.5)),
            (
                "PCM,1 playback = -6dB",
                "PCM,1",
                Side::Playback,
                To::Db(-6.0),
            ),
            (
                "Line 1-2 Phantom Power = on",
                "Line 1-2 Phantom Power",
                Side::Both,
                To::Switch(true),
            ),
            (
                "Input Source = Front Mic",
                "Input Source",
                Side::Both,
                To::Choice("Front Mic".into()),
            ),
        ] {
            let dial = Dial::parse(text).unwrap();
            assert_eq!(
                dial,
                Dial {
                    name: name.into(),
                    side,
                    to
                }
            );
            assert_eq!(dial.to_string(), text);
        }
        assert_eq!(Dial::parse(" Mic=off ").unwrap().to, To::Switch(false));
    }

    #[test]
    fn what_says_too_little_is_a_fault() {
        for text in [
            "Master",
            "= 3%",
            "Master =",
            "Master = 101%",
            "Master = -1%",
        ] {
            let fault = Dial::parse(text).unwrap_err();
            assert!(
                fault.contains(text) && fault.contains("NAME = 80%"),
                "{fault}"
            );
        }
    }
}
