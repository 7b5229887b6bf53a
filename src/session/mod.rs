//! Who is this, what may they do, how much. Identity (tokens, pairing, roles by user) comes here;
//! until then a connection is anonymous and has the role that `allow_anonymous` gives it.

pub mod limits;

pub use limits::{Bucket, Buckets};

use std::sync::Arc;

use crate::protocol::Body;
use crate::rig::{Reject, Request};

/// Whose change it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The user.
    pub user_id: String,
    /// The group of people.
    pub session_id: String,
    /// What the connection may do.
    pub role: Role,
    /// Whether the user has been proved.
    pub verified: bool,
    /// Where the connection comes from.
    pub address: Arc<str>,
}

impl By {
    /// The rig itself.
    pub fn rig() -> By {
        By {
            user_id: "rigd".to_owned(),
            session_id: "rigd".to_owned(),
            role: Role::Host,
            verified: true,
            address: "".into(),
        }
    }
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Host,
    /// Read.
    Guest,
    /// Nothing yet: it has not said who it is.
    Nobody,
}

impl Role {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Role::Host => "host",
            Role::Guest => "guest",
            Role::Nobody => "nobody",
        }
    }

    /// What it may do.
    pub fn permissions(self) -> &'static [&'static str] {
        match self {
            Role::Host => &[
                "plugin:read",
                "plugin:write",
                "plugin:add",
                "plugin:remove",
                "track:modify",
                "session:manage",
                "log:read",
            ],
            Role::Guest => &["plugin:read"],
            Role::Nobody => &[],
        }
    }

    /// Refuses what this role may not do.
    pub fn check(self, user_id: &str, body: &Body) -> Result<(), Reject> {
        let Some(needed) = needed(body) else {
            return Ok(());
        };
        if self.permissions().contains(&needed) {
            return Ok(());
        }
        Err(Reject::Unauthorized {
            user_id: user_id.to_owned(),
            required_permission: needed,
        })
    }
}

/// The permission that a message needs.
fn needed(body: &Body) -> Option<&'static str> {
    Some(match body {
        Body::Auth { .. } | Body::Heartbeat(_) => return None,
        Body::Change(request) => match request {
            Request::PluginAdd { .. } => "plugin:add",
            Request::PluginRemove(_) => "plugin:remove",
            Request::TrackAdd { .. }
            | Request::TrackRemove { .. }
            | Request::TrackUpdate { .. }
            | Request::ChainLoad { .. }
            | Request::ChainSave { .. } => "track:modify",
            Request::Tone(_) => "session:manage",
            _ => "plugin:write",
        },
        Body::Batch(_) => "plugin:write",
        Body::Log(_) => "log:read",
        _ => "plugin:read",
    })
}
