//! One-time codes: whoever brings one gets a token. Pure; time is passed in.
//!
//! A code is kept under a name that only the rig's secret can make of it, so what is kept tells nobody a
//! code, looking one up takes no longer when it is nearly right, and another secret voids them all.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::clock::{Life, Moment};
use super::role::Role;
use super::secret::Secret;
use super::token::{Claims, is_tracks};
use crate::rig::Reject;

/// How long a code is good unless said.
pub const LASTS: Duration = Duration::from_secs(600);
/// And at most, in seconds.
pub const LASTS_MAX_S: f64 = 86_400.0;
/// Codes that are open at a time.
pub const CODES_MAX: usize = 64;
/// Without letters that look like others.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Three times four of them: 60 bits.
const LENGTH: usize = 12;
/// What somebody may have chosen as a claim code is at least so long.
pub const CLAIM_MIN: usize = 8;

/// A token by a code is for one night,
const NIGHT: Duration = Duration::from_secs(12 * 3600);
/// or for long, when it is for those who own the box, and its screens: they may have no other way back.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// A new code, as people read it.
pub fn make() -> std::io::Result<String> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    let digit = |byte: &u8| char::from(DIGITS[usize::from(byte % 32)]);
    let groups: Vec<String> = bytes
        .chunks(4)
        .map(|group| group.iter().map(digit).collect())
        .collect();
    Ok(groups.join("-"))
}

/// A code as it is meant: people leave dashes out and mix letters up.
pub fn plain(code: &str) -> String {
    let digits = code.chars().filter(|c| c.is_alphanumeric());
    digits
        .map(|digit| match digit.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect()
}

/// What a code is kept under.
pub fn name(code: &str, secret: &Secret) -> String {
    secret.name("code", &plain(code))
}

/// What a code gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// As what.
    pub role: Role,
    /// A performer's.
    pub tracks: Vec<String>,
    /// How long the code is good.
    pub life: Life,
    /// Who made it, for the record.
    pub from: String,
}

impl Offer {
    /// As it is kept.
    pub fn to_json(&self) -> Value {
        let (boot, up) = self.life.made.clone().unzip();
        json!({
            "role": self.role.name(), "tracks": self.tracks, "from": self.from,
            "iat": self.life.iat, "exp": self.life.exp, "boot": boot, "up": up,
        })
    }

    /// Reads one that was kept.
    pub fn from_json(value: &Value) -> Option<Offer> {
        let boot = value["boot"].as_str().map(str::to_owned);
        let tracks: Vec<String> = serde_json::from_value(value["tracks"].clone()).ok()?;
        Some(Offer {
            role: Role::from_name(value["role"].as_str()?)?,
            tracks: Some(tracks).filter(|tracks| is_tracks(tracks))?,
            life: Life {
                iat: value["iat"].as_f64(),
                exp: value["exp"].as_f64()?,
                made: boot.zip(value["up"].as_f64()),
            },
            from: value["from"].as_str()?.to_owned(),
        })
    }

    /// Whether the code is still good.
    pub fn is_open(&self, now: &Moment) -> bool {
        self.life.ends(now) > now.uptime
    }

    /// What whoever brings the code is from now on.
    pub fn claims(&self, user_id: &str, generation: u64, now: &Moment) -> Claims {
        let lasts = match self.role {
            Role::Host | Role::Display => LONG,
            _ => NIGHT,
        };
        Claims {
            user_id: user_id.to_owned(),
            role: self.role,
            tracks: self.tracks.clone(),
            life: Life::new(lasts, now),
            generation,
        }
    }
}

/// The codes that a running rig has made. They end with it.
#[derive(Debug, Default)]
pub struct Codes(HashMap<String, Offer>);

impl Codes {
    /// Opens one, under its name.
    pub fn open(&mut self, name: String, offer: Offer, now: &Moment) -> Result<(), Reject> {
        self.0.retain(|_, offer| offer.is_open(now));
        if self.0.len() >= CODES_MAX {
            return Err(Reject::Capacity {
                what: "open invitations",
                limit: CODES_MAX as u64,
            });
        }
        self.0.insert(name, offer);
        Ok(())
    }

    /// Takes one: it is good once.
    pub fn take(&mut self, name: &str, now: &Moment) -> Option<Offer> {
        self.0.remove(name).filter(|offer| offer.is_open(now))
    }

    /// None is good any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(uptime_s: u64) -> Moment {
        Moment {
            wall_s: 0.0,
            uptime: Duration::from_secs(uptime_s),
            boot: "this",
        }
    }

    fn offer(now: &Moment) -> Offer {
        Offer {
            role: Role::Performer,
            tracks: vec!["mic1".to_owned()],
            life: Life::new(LASTS, now),
            from: "ana".to_owned(),
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_ten_minutes() {
        let mut codes = Codes::default();
        codes.open("a".into(), offer(&at(0)), &at(0)).unwrap();
        codes.open("b".into(), offer(&at(0)), &at(0)).unwrap();
        assert_eq!(codes.take("a", &at(599)), Some(offer(&at(0))));
        assert_eq!(codes.take("a", &at(599)), None);
        assert_eq!(codes.take("b", &at(600)), None);
    }

    #[test]
    fn only_so_many_are_open_and_old_ones_make_room() {
        let mut codes = Codes::default();
        let mut open = |n: usize, now: Moment| codes.open(n.to_string(), offer(&now), &now);
        assert!((0..CODES_MAX).all(|n| open(n, at(0)).is_ok()));
        assert!(matches!(open(100, at(1)), Err(Reject::Capacity { .. })));
        assert!(open(100, at(600)).is_ok());
    }

    #[test]
    fn codes_are_all_different_and_may_be_typed_carelessly() {
        let secret = Secret::random().unwrap();
        let codes: std::collections::HashSet<String> = (0..1000).map(|_| make().unwrap()).collect();
        assert_eq!(codes.len(), 1000);
        for code in codes.iter().take(50) {
            assert_eq!(code.len(), 14);
            let careless = code
                .to_lowercase()
                .replace('-', " ")
                .replace('0', "o")
                .replace('1', "l");
            assert_eq!(name(code, &secret), name(&careless, &secret));
        }
        assert_ne!(name("A", &secret), name("B", &secret));
        assert_ne!(name("A", &secret), name("A", &Secret::random().unwrap()));
    }

    #[test]
    fn what_is_kept_can_be_read_again() {
        let offer = offer(&at(5));
        assert_eq!(Offer::from_json(&offer.to_json()), Some(offer));
        assert_eq!(Offer::from_json(&json!({"role": "host"})), None);
    }
}
