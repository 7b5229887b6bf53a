//! Codes: a host makes one, and whoever brings it gets a token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::Desk;
use super::client::By;
use super::settle::Origin;
use crate::care::Caretaker;
use crate::protocol::Given;
use crate::protocol::views::object;
use crate::provenance::event::{EntityType, Notice};
use crate::rig::Reject;
use crate::session::Role;
use crate::session::clock::{Life, Moment};
use crate::session::code::{self, LASTS, LASTS_MAX_S, Offer};
use crate::session::link;

/// How a code is looked up.
pub enum Lookup {
    /// It was one of this run's, and is used up now.
    Found(Offer),
    /// The state folder has to be asked.
    Ask(oneshot::Receiver<Option<Offer>>),
}

impl Desk {
    pub(super) fn invite(
        &mut self,
        origin: &Origin,
        given: Given,
        ttl_s: Option<f64>,
        now: Instant,
    ) -> Result<(), Reject> {
        let lasts_s = ttl_s.unwrap_or(LASTS.as_secs_f64());
        if !(1.0..=LASTS_MAX_S).contains(&lasts_s) {
            let reason = format!("must be from 1 to {LASTS_MAX_S} seconds");
            return Err(Reject::field("ttl_s", reason));
        }
        let failed = |error: String| Reject::EngineError(format!("no code can be made ({error})"));
        let secret = self.door.gate.secret();
        let secret = secret.ok_or_else(|| failed("this rig has no secret".to_owned()))?;
        let code = code::make().map_err(|error| failed(error.to_string()))?;
        let name = code::name(&code, secret);
        let moment = Moment::now();
        let offer = Offer {
            role: given.role,
            tracks: given.tracks,
            life: Life::new(Duration::from_secs_f64(lasts_s), &moment),
            from: origin.by.user_id.clone(),
        };
        let url = link::to(&self.base(origin), &code);
        let svg = link::svg(&url).map_err(|error| failed(error.to_string()))?;
        let mut data = object(json!({
            "code": code, "url": url, "svg": svg, "role": offer.role.name(),
            "expires_in_s": lasts_s, "success": true,
        }));
        let mut details = json!({ "for_role": offer.role.name(), "lasts_s": lasts_s });
        if offer.role == Role::Performer {
            data.insert("tracks".to_owned(), json!(offer.tracks));
            details["tracks"] = json!(offer.tracks);
        }
        self.door.codes.open(name, offer, &moment)?;
        let notice = Notice {
            operation: "session.invite",
            entity_type: EntityType::Session,
            subject: origin.by.user_id.clone(),
            details,
            person: None,
        };
        let ticket = self.record_notice(notice, &origin.by, origin.requires_ack, now);
        self.give(origin, None, None, &data, ticket);
        Ok(())
    }

    /// The rig's address for others: as the host reached it, if others can do so too.
    fn base(&self, origin: &Origin) -> String {
        let scheme = self.door.scheme;
        let client = self.clients.get(&origin.client);
        if let Some(host) = client.and_then(|client| client.came_to.as_deref())
            && !is_loopback(host)
        {
            return format!("{scheme}://{host}");
        }
        match link::best(&self.door.listening) {
            Some(address) => format!("{scheme}://{address}"),
            None => format!("{scheme}://localhost"),
        }
    }

    /// Looks a code up, for somebody at that address. Wrong ones are counted: past a few in a row nobody
    /// there is listened to for a while.
    pub fn look_up(&mut self, code: &str, address: IpAddr) -> Result<Lookup, Reject> {
        self.check_patience(address)?;
        let now = Moment::now();
        let secret = self.door.gate.secret();
        let name = secret.map(|secret| code::name(code, secret));
        if let Some(offer) = name.and_then(|name| self.door.codes.take(&name, &now)) {
            return Ok(Lookup::Found(offer));
        }
        match self.door.vault.as_ref().map(|vault| vault.take(code)) {
            Some(Some(answer)) => Ok(Lookup::Ask(answer)),
            Some(None) => Err(Reject::RateLimited {
                retry_after: 1.0,
                limit: "codes_at_once",
            }),
            None => Err(self.wrong_code(address)),
        }
    }

    /// Asks whether a code is the one that makes the first host, without using it up.
    pub fn ask_claim(
        &mut self,
        code: &str,
        address: IpAddr,
    ) -> Result<oneshot::Receiver<bool>, Reject> {
        self.check_patience(address)?;
        match self.door.vault.as_ref().map(|vault| vault.is_claim(code)) {
            Some(Some(answer)) => Ok(answer),
            Some(None) => Err(Reject::RateLimited {
                retry_after: 1.0,
                limit: "codes_at_once",
            }),
            None => Err(self.wrong_code(address)),
        }
    }

    /// Lets somebody look after the box who has shown that code, or counts a wrong one.
    pub fn admit_claimer(
        &mut self,
        is_right: bool,
        address: IpAddr,
    ) -> Result<(Caretaker, Arc<By>), Reject> {
        if !is_right {
            return Err(self.wrong_code(address));
        }
        self.door.wrong_codes.succeeded(address);
        let by = By {
            user_id: "claim_code".to_owned(),
            session_id: "pairing".to_owned(),
            role: Role::Host,
            verified: true,
            address: address.to_canonical().to_string().into(),
        };
        Ok((self.caretaker()?, Arc::new(by)))
    }

    /// Refuses an address that has brought too many wrong codes.
    fn check_patience(&mut self, address: IpAddr) -> Result<(), Reject> {
        match self
            .door
            .wrong_codes
            .known_for(address, Moment::now().uptime)
        {
            Some(wait) => Err(Reject::RateLimited {
                retry_after: wait.as_secs_f64().ceil().max(1.0),
                limit: "wrong_codes",
            }),
            None => Ok(()),
        }
    }

    /// A code that nobody knows.
    pub fn wrong_code(&mut self, address: IpAddr) -> Reject {
        self.door.wrong_codes.failed(address, Moment::now().uptime);
        Reject::AuthFailed("this code is wrong, used up or over; ask for a new one".to_owned())
    }

    /// Notes that the box has a host, if that is what a code gives. Done when the receiver says so.
    pub fn note_claim(&self, offer: &Offer) -> Option<oneshot::Receiver<()>> {
        let vault = self
            .door
            .vault
            .as_ref()
            .filter(|_| offer.role == Role::Host)?;
        vault.claim()
    }

    /// Gives somebody a token for a code.
    pub fn pair(
        &mut self,
        offer: &Offer,
        user_id: &str,
        address: IpAddr,
    ) -> Result<Map<String, Value>, Reject> {
        self.door.wrong_codes.succeeded(address);
        let moment = Moment::now();
        let generation = self.state.people.generation(user_id);
        let claims = offer.claims(user_id, generation, &moment);
        let Some(secret) = self.door.gate.secret() else {
            let reason = "this rig has no secret to sign with";
            return Err(Reject::EngineError(reason.to_owned()));
        };
        let token = claims.sign(secret);
        let rights = self.door.gate.rights(offer.role, &offer.tracks);
        let mut details = json!({ "from": offer.from, "for_role": offer.role.name() });
        let mut data = object(json!({
            "token": token,
            "role": offer.role.name(),
            "user_id": user_id,
            "permissions": rights.permissions.names(),
            "expires_in_s": claims.life.ends(&moment).saturating_sub(moment.uptime).as_secs(),
            "success": true,
        }));
        if let Some(tracks) = &rights.tracks {
            details["tracks"] = json!(**tracks);
            data.insert("tracks".to_owned(), json!(**tracks));
        }
        let by = Arc::new(By {
            user_id: user_id.to_owned(),
            session_id: "pairing".to_owned(),
            role: offer.role,
            verified: true,
            address: address.to_canonical().to_string().into(),
        });
        let notice = Notice {
            operation: "session.pair",
            entity_type: EntityType::Session,
            subject: user_id.to_owned(),
            details,
            person: None,
        };
        self.record_notice(notice, &by, false, Instant::now());
        Ok(data)
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        match port.bytes().all(|byte| byte.is_ascii_digit()) {
            true => name,
            false => host,
        }
    });
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
