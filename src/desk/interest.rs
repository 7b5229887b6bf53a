//! `client.subscribe`: which changes of others a client wants to hear of.

use serde_json::json;

use super::Desk;
use super::settle::Origin;
use crate::protocol::Kind;
use crate::protocol::encode::kind_of;
use crate::protocol::views::object;
use crate::provenance::event::{EntityType, entity};
use crate::rig::{Reject, What};

/// What of the stream a client hears, and how.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Which changes.
    pub interest: Interest,
    /// Whether batches of others come whole.
    pub wants_batches: bool,
}

/// Absent: everything. A change is told when it fits all that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// On or of these tracks.
    pub track_ids: Option<Vec<String>>,
    /// Of these plugins.
    pub plugin_ids: Option<Vec<String>>,
    /// Of these types.
    pub types: Option<Vec<Kind>>,
}

impl Interest {
    /// Whether a change is wanted. What concerns the whole rig (panic) concerns every track.
    pub fn wants(&self, what: &What) -> bool {
        let kind = kind_of(what);
        // Who wants batches wants the changes in them.
        let is_kind = |wanted: &Kind| {
            *wanted == kind
                || (*wanted == Kind::PluginParameterBatch && kind == Kind::PluginParameter)
        };
        if !self
            .types
            .as_ref()
            .is_none_or(|types| types.iter().any(is_kind))
        {
            return false;
        }
        let (entity_type, id, track_id) = entity(what);
        if entity_type == EntityType::Configuration {
            return true;
        }
        let holds = |list: &Option<Vec<String>>, id: Option<&str>| {
            let Some(list) = list else { return true };
            id.is_some_and(|id| list.iter().any(|wanted| wanted == id))
        };
        let plugin_id = Some(id).filter(|_| entity_type == EntityType::Plugin);
        holds(&self.track_ids, track_id) && holds(&self.plugin_ids, plugin_id)
    }

    /// Whether a view of a plugin is wanted.
    pub fn wants_view(&self, track_id: &str, plugin_id: &str) -> bool {
        let holds = |list: &Option<Vec<String>>, id: &str| {
            list.as_ref()
                .is_none_or(|list| list.iter().any(|wanted| wanted == id))
        };
        holds(&self.track_ids, track_id) && holds(&self.plugin_ids, plugin_id)
    }
}

impl Desk {
    /// Notes what a client wants to hear of.
    pub(super) fn subscribe(&mut self, origin: &Origin, interest: Interest) -> Result<(), Reject> {
        let names = |types: &Vec<Kind>| -> Vec<&str> {
            types.iter().map(|kind| kind.name(origin.dialect)).collect()
        };
        let data = object(json!({
            "track_ids": interest.track_ids,
            "plugin_ids": interest.plugin_ids,
            "types": interest.types.as_ref().map(names),
            "success": true,
        }));
        if let Some(client) = self.clients.get_mut(&origin.client) {
            let wants_batches = client.rules.wants_batches;
            client.hear_by(Rules {
                interest,
                wants_batches,
            });
        }
        self.say(origin, &data)
    }
}
