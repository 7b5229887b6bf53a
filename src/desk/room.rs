//! When there is no room: somebody who has shown a token always finds some, whoever else holds
//! connections open.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use super::Desk;
use super::client::{Client, ClientId};
use crate::session::Role;

/// Why a connection is closed.
const NEEDED: &str = "the place is needed for somebody who has signed in";

impl Desk {
    /// Closes one connection for another. Who has shown a token (`is_proved`) gets the place of somebody who
    /// has not; others only of somebody who may do nothing yet. Of the address that has most, who came
    /// first. Says whether there is room now.
    pub fn make_room(&mut self, is_proved: bool) -> bool {
        let may_go = |client: &Client| {
            let is_here = client.visit.is_none() && client.ends.is_none();
            let is_nobody = client.rights.role == Role::Nobody;
            is_here && !client.by.verified && (is_proved || is_nobody)
        };
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for client in self.clients.values().filter(|client| may_go(client)) {
            *counts.entry(client.peer).or_default() += 1;
        }
        let those = self.clients.iter().filter(|(_, client)| may_go(client));
        let first = those.min_by_key(|(id, client)| {
            let is_somebody = client.rights.role != Role::Nobody;
            (is_somebody, Reverse(counts[&client.peer]), **id)
        });
        let Some(id) = first.map(|(id, _): (&ClientId, _)| *id) else {
            return false;
        };
        self.end(id, NEEDED);
        true
    }
}
