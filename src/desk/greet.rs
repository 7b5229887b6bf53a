//! Connections come and go, and say who they are.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::Desk;
use super::client::{By, Client, ClientId, Resync};
use super::settle::{Origin, own};
use crate::config::Limits;
use crate::protocol::views::object;
use crate::protocol::{Dialect, Head, Kind};
use crate::rig::Reject;
use crate::session::{Bucket, Buckets, Role};
use crate::sync::Outbox;

/// Operations may come in bursts of so many seconds' worth.
const OPERATIONS_BURST_S: u32 = 2;
/// What a message without any claim is from.
const LEGACY: (&str, &str) = ("legacy_user", "legacy_session");

impl Desk {
    /// A client is there; it is told so.
    pub fn connect(&mut self, connection_id: String, address: &str) -> ClientId {
        self.next_client += 1;
        let id = ClientId(self.next_client);
        let limits = &self.fixed.limits;
        let mut client = Client {
            connection_id,
            role: self.fixed.anonymous,
            by: Arc::new(By {
                user_id: LEGACY.0.to_owned(),
                session_id: LEGACY.1.to_owned(),
                role: self.fixed.anonymous,
                verified: false,
                address: address.into(),
            }),
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
            buckets: buckets(limits),
            visit: None,
            legacy_ids: 0,
            resync: Resync::None,
        };
        let status = object(json!({
            "connected": true,
            "connection_id": client.connection_id,
            "server": concat!("rigd/", env!("CARGO_PKG_VERSION")),
            "protocol": 1,
            "authenticated": false,
            "seq": self.settled_seq,
            "epoch": self.fixed.epoch,
        }));
        let frame = own("connection.status", &client, &status);
        client.outbox.reply(Message::Text(frame));
        self.clients.insert(id, client);
        id
    }

    /// A client is gone. What it has pending is applied all the same.
    pub fn disconnect(&mut self, id: ClientId) {
        if let Some(visit) = self.clients.remove(&id).and_then(|client| client.visit) {
            self.end_visit(&visit);
        }
        self.asleep.retain(|asleep| *asleep != id);
    }

    /// A client, while it is there.
    pub fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    pub(super) fn auth(
        &mut self,
        origin: &Origin,
        token: Option<String>,
        user_id: Option<String>,
        session_id: Option<String>,
    ) -> Result<(), Reject> {
        if token.is_some() {
            return Err(Reject::AuthFailed(
                "this box does not know any tokens yet; sign in without one".to_owned(),
            ));
        }
        let anonymous = self.fixed.anonymous;
        let Some(client) = self.clients.get_mut(&origin.client) else {
            return Ok(());
        };
        if anonymous == Role::Nobody {
            return Err(Reject::AuthFailed("a token is needed here".to_owned()));
        }
        let user_id = user_id.unwrap_or_else(|| "anonymous_user".to_owned());
        let session_id =
            session_id.unwrap_or_else(|| format!("anonymous_{}", uuid::Uuid::new_v4()));
        client.auth_user_id = Some(user_id.clone());
        client.auth_session_id = Some(session_id.clone());
        client.by = Arc::new(By {
            user_id: user_id.clone(),
            session_id: session_id.clone(),
            ..(*client.by).clone()
        });
        let mut origin = origin.clone();
        origin.by = Arc::clone(&client.by);
        let data = object(json!({
            "session_id": session_id,
            "user_id": user_id,
            "role": client.role.name(),
            "permissions": client.role.permissions(),
            "success": true,
        }));
        self.say_as(&origin, "AUTH_SUCCESS", &data)
    }
}

/// What somebody who has not asked anything yet may ask.
pub(super) fn buckets(limits: &Limits) -> Buckets {
    let bucket =
        |name, per_s: u32, burst: u32| Bucket::new(name, f64::from(per_s), f64::from(burst));
    Buckets {
        messages: bucket(
            "messages_per_s",
            limits.messages_per_s,
            limits.message_burst,
        ),
        batches: bucket("batches_per_s", limits.batches_per_s, limits.batches_per_s),
        operations: bucket(
            "operations_per_s",
            limits.operations_per_s,
            limits.operations_per_s * OPERATIONS_BURST_S,
        ),
    }
}

impl Client {
    /// Whom to answer, and how. Takes note of the dialect and of who the sender says it is.
    pub(super) fn origin(&mut self, client: ClientId, head: Head) -> Origin {
        let (kind, dialect) = head.kind.unwrap_or((Kind::Heartbeat, self.dialect));
        let is_greeting = kind == Kind::Auth && self.is_fresh;
        if head.kind.is_some() && (kind.shows_dialect() || is_greeting) && !self.dialect_is_fixed {
            self.dialect = dialect;
        }
        self.is_fresh = false;
        let said = |claim: Option<String>, by_auth: &Option<String>, otherwise: &str| {
            claim
                .or_else(|| by_auth.clone())
                .unwrap_or_else(|| otherwise.to_owned())
        };
        let by = By {
            user_id: said(head.user_id, &self.auth_user_id, LEGACY.0),
            session_id: said(head.session_id, &self.auth_session_id, LEGACY.1),
            ..(*self.by).clone()
        };
        if by != *self.by {
            self.by = Arc::new(by);
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
}
