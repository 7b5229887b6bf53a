//! The gate: a token → who that is. Counts wrong ones by address. Pure; time is passed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::clock::Moment;
use super::failures::Failures;
use super::people::People;
use super::role::{Grants, Rights, Role};
use super::secret::Secret;
use super::token::{BadToken, Claims};
use crate::rig::Reject;

/// Tokens that were let in and are remembered until they are over. Past that, those over first are
/// forgotten first; they go by the clock again.
const KNOWN_MAX: usize = 1024;

/// Somebody with a good token.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Who.
    pub user_id: String,
    /// What they may do.
    pub rights: Rights,
    /// The box's uptime when their token is over.
    pub ends: Duration,
    /// Of the token.
    pub generation: u64,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with the token.
    pub reason: BadToken,
    /// One too many from that address: it is answered, and then the connection ends.
    pub is_last: bool,
}

impl From<Refusal> for Reject {
    fn from(refusal: Refusal) -> Reject {
        Reject::AuthFailed(refusal.reason.to_string())
    }
}

/// See the module.
pub struct Gate {
    /// `None`: no token is good.
    secret: Option<Secret>,
    grants: Grants,
    failures: Failures,
    /// Tokens by a name that does not tell them → the box's uptime when they are over.
    known: HashMap<String, Duration>,
}

impl Gate {
    /// With a secret, if there is one.
    pub fn new(secret: Option<Secret>, grants: Grants) -> Gate {
        Gate {
            secret,
            grants,
            failures: Failures::default(),
            known: HashMap::new(),
        }
    }

    /// What tokens are signed with.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// What the roles may do.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// There is another secret: no older token is good.
    pub fn rotate(&mut self, secret: Secret) {
        self.secret = Some(secret);
        self.known.clear();
    }

    /// Those of a role.
    pub fn rights(&self, role: Role, tracks: &[String]) -> Rights {
        Rights::new(role, tracks, &self.grants)
    }

    /// Who has this token, from that address. A good one always enters.
    pub fn open(
        &mut self,
        token: &str,
        address: IpAddr,
        people: &People,
        now: &Moment,
    ) -> Result<Identity, Refusal> {
        match self.look_at(token, people, now) {
            Ok(identity) => {
                self.failures.succeeded(address);
                Ok(identity)
            }
            Err(reason) => Err(Refusal {
                reason,
                is_last: self.failures.failed(address, now.uptime),
            }),
        }
    }

    fn look_at(
        &mut self,
        token: &str,
        people: &People,
        now: &Moment,
    ) -> Result<Identity, BadToken> {
        let secret = self.secret.as_ref().ok_or(BadToken::NoSecret)?;
        let mut claims = Claims::read(token, secret)?;
        people.judge(&mut claims)?;
        let name = secret.name("token", token);
        // Who was let in once stays in: the clock may have been set since.
        let ends = match self.known.get(&name) {
            Some(ends) => *ends,
            None => claims.life.ends(now),
        };
        if ends <= now.uptime {
            return Err(BadToken::Expired);
        }
        self.remember(name, ends, now.uptime);
        Ok(Identity {
            rights: self.rights(claims.role, &claims.tracks),
            user_id: claims.user_id,
            ends,
            generation: claims.generation,
        })
    }

    fn remember(&mut self, name: String, ends: Duration, now: Duration) {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&name) {
            self.known.retain(|_, ends| *ends > now);
            let first = self.known.iter().min_by_key(|(_, ends)| **ends);
            if let Some(first) = first.map(|(name, _)| name.clone())
                && self.known.len() >= KNOWN_MAX
            {
                self.known.remove(&first);
            }
        }
        self.known.insert(name, ends);
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Life;
    use super::*;

    fn at(wall_s: f64, uptime_s: u64) -> Moment {
        Moment {
            wall_s,
            uptime: Duration::from_secs(uptime_s),
            boot: "this",
        }
    }

    fn token(exp: f64, secret: &Secret) -> String {
        let claims = Claims {
            user_id: "ana".to_owned(),
            role: Role::Guest,
            tracks: Vec::new(),
            life: Life {
                iat: Some(exp - 3600.0),
                exp,
                made: None,
            },
            generation: 0,
        };
        claims.sign(secret)
    }

    const ANA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn whoever_was_let_in_stays_in_when_the_clock_is_set() {
        let secret = Secret::random().unwrap();
        let mut gate = Gate::new(Some(secret.clone()), Grants::default());
        let people = People::default();
        let token = token(10_000.0, &secret);
        let early = at(9_000.0, 100);
        let ends = gate.open(&token, ANA, &people, &early).unwrap().ends;
        let set = at(2e9, 200);
        assert_eq!(gate.open(&token, ANA, &people, &set).unwrap().ends, ends);
        let over = at(2e9, ends.as_secs());
        let refused = gate.open(&token, ANA, &people, &over).unwrap_err();
        assert_eq!(refused.reason, BadToken::Expired);
        let mut other = Gate::new(Some(secret), Grants::default());
        let refused = other.open(&token, ANA, &people, &set).unwrap_err();
        assert_eq!(
            refused.reason,
            BadToken::Expired,
            "to who was never there it is old"
        );
    }

    #[test]
    fn wrong_ones_are_counted_and_a_good_one_always_enters() {
        let secret = Secret::random().unwrap();
        let mut gate = Gate::new(Some(secret.clone()), Grants::default());
        let people = People::default();
        let now = at(9_000.0, 100);
        let bad = |gate: &mut Gate| {
            let refusal = gate.open("x", ANA, &people, &now).unwrap_err();
            assert_eq!(refusal.reason, BadToken::NotOurs);
            refusal.is_last
        };
        let five: Vec<bool> = (0..5).map(|_| bad(&mut gate)).collect();
        assert_eq!(five, [false, false, false, false, true]);
        let good = token(10_000.0, &secret);
        assert!(gate.open(&good, ANA, &people, &now).is_ok());
        assert!(bad(&mut gate), "for 300 s");
        gate.rotate(Secret::random().unwrap());
        let refused = gate.open(&good, ANA, &people, &now).unwrap_err();
        assert_eq!(refused.reason, BadToken::Foreign);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let secret = Secret::random().unwrap();
        let mut gate = Gate::new(Some(secret.clone()), Grants::default());
        for number in 0..KNOWN_MAX + 50 {
            gate.remember(number.to_string(), Duration::from_secs(100), Duration::ZERO);
        }
        assert_eq!(gate.known.len(), KNOWN_MAX);
    }
}
