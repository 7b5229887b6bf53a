//! Connections come and go, and say who they are.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::Desk;
use super::client::{By, Client, ClientId, Proof, Resync};
use super::settle::{Origin, own};
use crate::protocol::views::object;
use crate::protocol::{Dialect, Head, Kind};
use crate::rig::Reject;
use crate::session::clock::Moment;
use crate::session::gate::Refusal;
use crate::session::{Buckets, Door, Identity, Rights, Role};
use crate::sync::Outbox;

/// What a message without any claim is from.
const LEGACY: (&str, &str) = ("legacy_user", "legacy_session");
/// The session of those who come by HTTP and have proved who they are.
const VISITS: &str = "http";
/// Why a connection is closed.
const TOO_MANY_WRONG: &str = "too many wrong tokens";

impl Desk {
    /// Lets people in by this door from now on, without which no token is good.
    pub fn admit_by(&mut self, door: Door) {
        self.door = door;
    }

    /// Who has this token. Wrong ones are counted by address. For requests that are no WebSocket.
    pub fn authorise(&mut self, token: &str, address: IpAddr) -> Result<Identity, Refusal> {
        let now = Moment::now();
        self.door
            .gate
            .open(token, address, &self.state.people, &now)
    }

    /// What people without a token may do from now on, those who are here included, but for whom a host
    /// has given another role. `features` are those of `status.get`.
    pub fn admit_anonymous(&mut self, role: Role, features: Vec<&'static str>) {
        self.fixed.features = features;
        if role == self.fixed.anonymous {
            return;
        }
        let before = self.anonymous();
        self.fixed.anonymous = role;
        let rights = self.anonymous();
        for client in self.clients.values_mut() {
            if client.proof.is_none() && client.rights == before {
                client.rights = rights.clone();
                client.by = Arc::new(By {
                    role,
                    ..(*client.by).clone()
                });
            }
        }
        self.presence.mark();
    }

    /// What somebody without a token may do.
    pub fn anonymous(&self) -> Rights {
        self.door.gate.rights(self.fixed.anonymous, &[])
    }

    /// A client without a token is there; it is told so.
    pub fn connect(&mut self, connection_id: String, address: &str) -> ClientId {
        let rights = self.anonymous();
        let by = By {
            user_id: LEGACY.0.to_owned(),
            session_id: LEGACY.1.to_owned(),
            role: rights.role,
            verified: false,
            address: address.into(),
        };
        self.welcome(connection_id, by, rights, None)
    }

    /// A client that has shown its token is there; it is told so. Refused when that user has too many
    /// connections.
    pub fn connect_as(
        &mut self,
        connection_id: String,
        address: &str,
        identity: Identity,
    ) -> Result<ClientId, Reject> {
        self.check_room(&identity.user_id, None)?;
        let by = By {
            user_id: identity.user_id,
            session_id: own_session(),
            role: identity.rights.role,
            verified: true,
            address: address.into(),
        };
        let proof = Proof {
            ends: identity.ends,
        };
        let id = self.welcome(connection_id, by, identity.rights, Some(proof));
        self.note_who_comes(id);
        Ok(id)
    }

    fn welcome(
        &mut self,
        connection_id: String,
        by: By,
        rights: Rights,
        proof: Option<Proof>,
    ) -> ClientId {
        self.next_client += 1;
        let id = ClientId(self.next_client);
        let limits = &self.fixed.limits;
        let mut client = Client {
            connection_id,
            rights,
            peer: by
                .address
                .parse()
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            by: Arc::new(by),
            proof,
            since: jiff::Timestamp::now(),
            came: None,
            ends: None,
            came_to: None,
            auth_user_id: None,
            auth_session_id: None,
            dialect: if self.fixed.switches.enable_new_plugin_system {
                Dialect::default()
            } else {
                Dialect::Legacy
            },
            dialect_is_fixed: false,
            is_fresh: true,
            outbox: Outbox::new(
                limits.backlog_messages,
                &self.stream,
                Rc::clone(&self.everything),
            ),
            rules: Rc::clone(&self.everything),
            is_asleep: false,
            meters: None,
            buckets: Buckets::new(limits),
            visit: None,
            legacy_ids: 0,
            resync: Resync::None,
        };
        let status = object(json!({
            "connected": true,
            "connection_id": client.connection_id,
            "server": concat!("rigd/", env!("CARGO_PKG_VERSION")),
            "protocol": 1,
            "authenticated": client.by.verified,
            "seq": self.settled_seq,
            "epoch": self.fixed.epoch,
        }));
        let frame = own("connection.status", &client, &status);
        client.outbox.reply(Message::Text(frame));
        let came = self.presence.mark_arrival();
        client.came = came.filter(|_| !client.by.verified);
        self.clients.insert(id, client);
        id
    }

    /// A client is gone. What it has pending is applied all the same.
    pub fn disconnect(&mut self, id: ClientId) {
        if let Some(visit) = self.clients.remove(&id).and_then(|client| client.visit) {
            self.end_visit(&visit);
        }
        self.presence.mark();
        self.asleep.retain(|asleep| *asleep != id);
    }

    /// A client, while it is there.
    pub fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// Refuses one connection too many of a user who has proved who it is.
    pub fn check_room(&self, user_id: &str, besides: Option<ClientId>) -> Result<(), Reject> {
        let limit = self.fixed.limits.connections_per_user;
        let others = self.clients.iter().filter(|(id, client)| {
            let stays = client.ends.is_none() && client.visit.is_none();
            Some(**id) != besides && stays && client.is(user_id)
        });
        if others.count() < limit as usize {
            return Ok(());
        }
        Err(Reject::Capacity {
            what: "connections of yours",
            limit: u64::from(limit),
        })
    }

    pub(super) fn auth(
        &mut self,
        origin: &Origin,
        token: Option<String>,
        user_id: Option<String>,
        session_id: Option<String>,
    ) -> Result<(), Reject> {
        match token {
            Some(token) => self.auth_by(origin, &token, session_id),
            None => self.auth_without(origin, user_id, session_id),
        }
    }

    fn auth_by(
        &mut self,
        origin: &Origin,
        token: &str,
        session_id: Option<String>,
    ) -> Result<(), Reject> {
        let Some(client) = self.clients.get(&origin.client) else {
            return Ok(());
        };
        let identity = match self.authorise(token, client.peer) {
            Ok(identity) => identity,
            Err(refusal) => {
                if refusal.is_last {
                    self.end(origin.client, TOO_MANY_WRONG);
                }
                return Err(refusal.into());
            }
        };
        self.check_room(&identity.user_id, Some(origin.client))?;
        let Some(client) = self.clients.get_mut(&origin.client) else {
            return Ok(());
        };
        let is_again = client.is(&identity.user_id);
        let session_id = session_id.unwrap_or_else(|| match is_again {
            true => client.by.session_id.clone(),
            false => own_session(),
        });
        client.proof = Some(Proof {
            ends: identity.ends,
        });
        client.become_somebody(By {
            user_id: identity.user_id,
            session_id,
            role: identity.rights.role,
            verified: true,
            address: Arc::clone(&client.by.address),
        });
        client.rights = identity.rights;
        self.note_who_comes(origin.client);
        self.say_who(origin)
    }

    fn auth_without(
        &mut self,
        origin: &Origin,
        user_id: Option<String>,
        session_id: Option<String>,
    ) -> Result<(), Reject> {
        let rights = self.anonymous();
        if rights.role == Role::Nobody {
            return Err(Reject::AuthFailed("a token is needed here".to_owned()));
        }
        let Some(client) = self.clients.get_mut(&origin.client) else {
            return Ok(());
        };
        let user_id = user_id.unwrap_or_else(|| "anonymous_user".to_owned());
        let session_id =
            session_id.unwrap_or_else(|| format!("anonymous_{}", uuid::Uuid::new_v4()));
        client.auth_user_id = Some(user_id.clone());
        client.auth_session_id = Some(session_id.clone());
        client.proof = None;
        client.become_somebody(By {
            user_id,
            session_id,
            role: rights.role,
            verified: false,
            address: Arc::clone(&client.by.address),
        });
        client.rights = rights;
        self.say_who(origin)
    }

    fn say_who(&mut self, origin: &Origin) -> Result<(), Reject> {
        let Some(client) = self.clients.get_mut(&origin.client) else {
            return Ok(());
        };
        client.came = None;
        self.presence.mark();
        let mut origin = origin.clone();
        origin.by = Arc::clone(&client.by);
        let mut data = object(json!({
            "session_id": client.by.session_id,
            "user_id": client.by.user_id,
            "role": client.rights.role.name(),
            "permissions": client.rights.permissions.names(),
            "success": true,
        }));
        if let Some(tracks) = &client.rights.tracks {
            data.insert("tracks".to_owned(), json!(**tracks));
        }
        self.say_as(&origin, "AUTH_SUCCESS", &data)
    }

    /// Closes a connection once it has heard what it is to hear. It may do nothing any more.
    pub(super) fn end(&mut self, id: ClientId, why: &'static str) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.ends = Some(why);
            client.rights = Rights::nobody();
            client.meters = None;
            client.outbox.wake();
            self.presence.mark();
        }
    }

    /// Closes the connections whose tokens are over.
    pub(super) fn end_those_whose_time_is_over(&mut self, uptime: Duration) {
        let over: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, client)| client.proof.is_some_and(|proof| proof.ends <= uptime))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.end(id, "the token has expired");
        }
    }
}

fn own_session() -> String {
    format!("session_{}", uuid::Uuid::new_v4())
}

impl Client {
    /// Whether this is that user, and has proved it.
    pub(super) fn is(&self, user_id: &str) -> bool {
        self.by.verified && self.by.user_id == user_id
    }

    /// A visit has shown its token.
    pub(super) fn become_proved(&mut self, identity: Identity) {
        self.proof = Some(Proof {
            ends: identity.ends,
        });
        self.become_somebody(By {
            user_id: identity.user_id,
            session_id: VISITS.to_owned(),
            role: identity.rights.role,
            verified: true,
            address: Arc::clone(&self.by.address),
        });
        self.rights = identity.rights;
    }

    fn become_somebody(&mut self, by: By) {
        if *self.by != by {
            self.by = Arc::new(by);
        }
    }

    /// Whom to answer, and how. Takes note of the dialect and of who the sender says it is.
    pub(super) fn origin(&mut self, client: ClientId, head: Head) -> Origin {
        let (kind, dialect) = head.kind.unwrap_or((Kind::Heartbeat, self.dialect));
        let is_greeting = kind == Kind::Auth && self.is_fresh;
        if head.kind.is_some() && (kind.shows_dialect() || is_greeting) && !self.dialect_is_fixed {
            self.dialect = dialect;
        }
        self.is_fresh = false;
        // Who has proved who it is needs no claims.
        if !self.by.verified {
            self.note_claims(head.user_id, head.session_id);
        }
        Origin {
            client,
            id: head.id.unwrap_or_else(|| {
                self.legacy_ids += 1;
                format!("legacy_{}", self.legacy_ids)
            }),
            by: Arc::clone(&self.by),
            kind,
            dialect,
            t0_timestamp: head.t0_timestamp,
            requires_ack: head.requires_ack,
            idempotency_key: head.idempotency_key,
            echo: None,
        }
    }

    fn note_claims(&mut self, user_id: Option<String>, session_id: Option<String>) {
        let by_auth = self.auth_user_id.as_deref();
        let user_id = user_id.as_deref().or(by_auth).unwrap_or(LEGACY.0);
        let by_auth = self.auth_session_id.as_deref();
        let session_id = session_id.as_deref().or(by_auth).unwrap_or(LEGACY.1);
        if self.by.user_id == user_id && self.by.session_id == session_id {
            return;
        }
        let by = By {
            user_id: user_id.to_owned(),
            session_id: session_id.to_owned(),
            role: self.by.role,
            verified: self.by.verified,
            address: Arc::clone(&self.by.address),
        };
        self.become_somebody(by);
    }
}
