//! Who is here, and what a host does about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::Desk;
use super::client::{By, Client, ClientId};
use super::settle::{Origin, hash, own};
use crate::protocol::encode::Micros;
use crate::protocol::views::object;
use crate::protocol::{Given, SessionAsk, Whom};
use crate::provenance::event::{EntityType, Notice};
use crate::provenance::recorder::Circumstances;
use crate::rig::Reject;
use crate::session::clock::Moment;
use crate::session::people::{PEOPLE_MAX, Person};
use crate::session::secret::Secret;
use crate::session::vault::{News, Vault};
use crate::sync::Latest;

/// How often it is looked whose time is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Everyone is told who is here at most this often,
const PRESENCE_EVERY: Duration = Duration::from_millis(100);
/// and less often where many are: with n clients it is n messages with n entries each. So it is never
/// more than about 20 MB a second, and with 50 clients 8 times a second.
const PRESENCE_PER_PAIR: Duration = Duration::from_micros(10);

/// What everyone was told of who is here.
#[derive(Default)]
pub struct Presence {
    is_dirty: bool,
    /// How often it was marked.
    marks: u64,
    /// When, and a hash of it.
    sent: Option<(Instant, u64)>,
}

impl Presence {
    /// Somebody came, went, or is something else.
    pub fn mark(&mut self) {
        self.is_dirty = true;
        self.marks += 1;
    }

    /// Somebody came. What it gives is for [`Client::came`].
    pub fn mark_arrival(&mut self) -> Option<u64> {
        self.mark();
        Some(self.marks)
    }

    /// When it is to be told again.
    pub fn due(&self, clients: usize) -> Option<Instant> {
        let pairs = u32::try_from(clients * clients).unwrap_or(u32::MAX);
        let (sent, _) = self.sent.filter(|_| self.is_dirty)?;
        Some(sent + PRESENCE_EVERY + PRESENCE_PER_PAIR * pairs)
    }
}

impl Client {
    fn entry(&self) -> Value {
        let mut entry = json!({
            "connection_id": self.connection_id,
            "user_id": self.by.user_id,
            "session_id": self.by.session_id,
            "role": self.rights.role.name(),
            "verified": self.by.verified,
            "since": Micros(self.since),
        });
        if let Some(tracks) = &self.rights.tracks {
            entry["tracks"] = json!(**tracks);
        }
        entry
    }
}

impl Desk {
    /// Lets go whose time is over, notices another secret, and tells who is here.
    pub(super) fn look_after_people(&mut self, now: Instant) {
        let is_time = self
            .people_looked_at
            .is_none_or(|last| now >= last + LOOK_EVERY);
        if is_time {
            self.people_looked_at = Some(now);
            self.end_those_whose_time_is_over(Moment::now().uptime);
            self.note_who_has_left(now);
        }
        while let Some(news) = self.door.vault.as_ref().and_then(Vault::news) {
            match news {
                News::Secret(secret) => self.rotate(secret, now),
                News::Kept => self.door.trouble = None,
            }
        }
        self.send_presence(now);
    }

    /// Puts on record that somebody with a token has come, if they were away.
    pub(super) fn note_who_comes(&mut self, id: ClientId) {
        let Some(by) = self.clients.get(&id).map(|client| Arc::clone(&client.by)) else {
            return;
        };
        if by.verified && self.attendance.came(&by.user_id) {
            self.record_presence("session.join", by.user_id.clone(), &by);
        }
    }

    fn note_who_has_left(&mut self, now: Instant) {
        let clients = &self.clients;
        let is_here = |user_id: &str| clients.values().any(|client| client.is(user_id));
        let time = now.saturating_duration_since(self.started);
        for user_id in self.attendance.look(is_here, time) {
            self.record_presence("session.leave", user_id, &Arc::new(By::rig()));
        }
    }

    fn record_presence(&mut self, operation: &'static str, subject: String, by: &Arc<By>) {
        let notice = Notice {
            operation,
            entity_type: EntityType::Session,
            subject,
            details: json!({}),
            person: None,
        };
        self.record_notice(notice, by, false, Instant::now());
    }

    /// There is another secret: everyone who came by the old one goes.
    fn rotate(&mut self, secret: Secret, now: Instant) {
        log::info!("there is a new secret: everyone is signed out");
        self.door.gate.rotate(secret);
        self.door.codes.clear();
        let proved = self.clients.iter().filter(|(_, client)| client.by.verified);
        let those: Vec<ClientId> = proved.map(|(id, _)| *id).collect();
        let notice = Notice {
            operation: "session.rotate",
            entity_type: EntityType::Session,
            subject: "everyone".to_owned(),
            details: json!({ "connections": those.len() }),
            person: None,
        };
        self.record_notice(notice, &Arc::new(By::rig()), false, now);
        for id in those {
            self.end(id, "everyone has been signed out");
        }
    }

    /// Tells everyone who is here, if that is new and it is time.
    pub(super) fn send_presence(&mut self, now: Instant) {
        let is_early = self
            .presence
            .due(self.clients.len())
            .is_some_and(|due| now < due);
        if !self.presence.is_dirty || is_early {
            return;
        }
        self.presence.is_dirty = false;
        let here = self.clients.values().filter(|client| client.hears());
        let users: Value = here.map(Client::entry).collect();
        let print = hash(&users.to_string());
        if self.presence.sent.is_some_and(|(_, told)| told == print) {
            return;
        }
        let data = object(json!({ "users": users }));
        let mut frame = None;
        for client in self.clients.values_mut() {
            // Who has not said who it is need not be told that it is here.
            let is_news = client.came.take() != Some(self.presence.marks);
            if is_news && client.hears() {
                let frame = frame.get_or_insert_with(|| own("session.presence", client, &data));
                let message = Message::Text(frame.clone());
                client.outbox.latest(Latest::Presence, message);
            }
        }
        self.presence.sent = Some((now, print));
    }

    pub(super) fn session(
        &mut self,
        origin: &Origin,
        ask: SessionAsk,
        now: Instant,
    ) -> Result<(), Reject> {
        match ask {
            SessionAsk::List => self.list(origin),
            SessionAsk::Invite { given, ttl_s } => self.invite(origin, given, ttl_s, now),
            SessionAsk::End(whom) => self.sign_out(origin, whom, now),
            SessionAsk::Role { user_id, given } => self.give_role(origin, user_id, &given, now),
        }
    }

    fn list(&mut self, origin: &Origin) -> Result<(), Reject> {
        let here = self.clients.values().filter(|client| client.hears());
        let users: Vec<Value> = here
            .map(|client| {
                let mut entry = client.entry();
                entry["address"] = json!(*client.by.address);
                entry
            })
            .collect();
        self.say(origin, &object(json!({ "users": users, "success": true })))
    }

    fn sign_out(&mut self, origin: &Origin, whom: Whom, now: Instant) -> Result<(), Reject> {
        let those: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, client)| match &whom {
                Whom::Connection(id) => client.connection_id == *id,
                Whom::User(id) => client.by.user_id == *id,
            })
            .map(|(id, _)| *id)
            .collect();
        let mut details = json!({ "connections": those.len() });
        let (subject, person) = match &whom {
            Whom::Connection(id) => {
                let Some(client) = those.first().and_then(|id| self.clients.get(id)) else {
                    let reason = "names no connection that is open; session.list shows them";
                    return Err(Reject::field("connection_id", reason));
                };
                details["connection_id"] = json!(id);
                (client.by.user_id.clone(), None)
            }
            Whom::User(id) => {
                // Those who only claimed the name have nothing that could be taken from them.
                let is_claimed = !those.is_empty() && !self.is_proved(id);
                let person = (!is_claimed).then(|| self.state.people.signed_out(id));
                (id.clone(), person)
            }
        };
        let person = person.filter(|_| self.state.people.has_room_for(&subject));
        let ticket = self.put_on_record(origin, "session.end", &subject, details, person, now);
        let data = match whom {
            Whom::Connection(id) => json!({ "connection_id": id, "user_id": subject }),
            Whom::User(id) => json!({ "user_id": id }),
        };
        let mut data = object(data);
        data.insert("connections".to_owned(), those.len().into());
        data.insert("success".to_owned(), true.into());
        self.give(origin, None, None, &data, ticket);
        for id in those {
            self.end(id, "a host has ended this session");
        }
        Ok(())
    }

    fn give_role(
        &mut self,
        origin: &Origin,
        user_id: String,
        given: &Given,
        now: Instant,
    ) -> Result<(), Reject> {
        let Given { role, tracks } = given;
        // A name that somebody only claims is worth nothing tomorrow; and nobody gets anything by
        // claiming the name of one who has proved it.
        let is_claimed =
            !self.is_proved(&user_id) && self.clients.values().any(|c| c.by.user_id == user_id);
        if !is_claimed && !self.state.people.has_room_for(&user_id) {
            return Err(Reject::Capacity {
                what: "people with a role of their own",
                limit: PEOPLE_MAX as u64,
            });
        }
        let person = (!is_claimed).then(|| self.state.people.given(&user_id, *role, tracks));
        let rights = self.door.gate.rights(*role, tracks);
        let mut connections = 0;
        let those = self.clients.values_mut().filter(|client| {
            client.by.user_id == user_id
                && client.by.verified != is_claimed
                && client.ends.is_none()
        });
        for client in those {
            connections += 1;
            client.rights = rights.clone();
            client.by = Arc::new(By {
                role: *role,
                ..(*client.by).clone()
            });
        }
        self.presence.mark();
        let mut details = json!({ "to_role": role.name(), "connections": connections });
        let mut data = object(json!({ "user_id": user_id, "role": role.name() }));
        if let Some(tracks) = &rights.tracks {
            details["tracks"] = json!(**tracks);
            data.insert("tracks".to_owned(), json!(**tracks));
        }
        data.insert("connections".to_owned(), connections.into());
        data.insert("success".to_owned(), true.into());
        let ticket = self.put_on_record(origin, "session.role", &user_id, details, person, now);
        self.give(origin, None, None, &data, ticket);
        Ok(())
    }

    /// Whether somebody has proved to be this, here or at another time.
    fn is_proved(&self, user_id: &str) -> bool {
        let mut clients = self.clients.values();
        self.state.people.get(user_id).is_some() || clients.any(|client| client.is(user_id))
    }

    /// Puts something about people on record, and what is said of them from now on. The ticket says when
    /// it is on disk.
    fn put_on_record(
        &mut self,
        origin: &Origin,
        operation: &'static str,
        subject: &str,
        details: Value,
        person: Option<Person>,
        now: Instant,
    ) -> Option<u64> {
        let notice = Notice {
            operation,
            entity_type: EntityType::Session,
            subject: subject.to_owned(),
            details,
            person,
        };
        self.record_notice(notice, &origin.by, origin.requires_ack, now)
    }

    pub(super) fn record_notice(
        &mut self,
        notice: Notice,
        by: &Arc<By>,
        is_awaited: bool,
        now: Instant,
    ) -> Option<u64> {
        if let Some(person) = &notice.person {
            let subject = notice.subject.clone();
            self.state.people.put(subject, person.clone());
        }
        let how = Circumstances {
            at: Timestamp::now(),
            now: now.saturating_duration_since(self.started),
            applied_frame: None,
            is_awaited,
        };
        self.log.as_mut()?.record_notice(notice, by, how)
    }
}
