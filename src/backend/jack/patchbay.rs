//! What is connected, and what is to be again: at first what the settings say, and after the server
//! was gone what was connected before, by whomever.
//!
//! A server that ends may cut connections before it tells that it goes. So a connection that is cut is
//! only forgotten when the server is still there some time later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jack::{Client, PortFlags};

use super::names::{MASTER, Wish};

/// How long the server must outlive a connection for it to be forgotten.
const CUT_FOR_GOOD: Duration = Duration::from_secs(1);
/// The type of all ports here.
pub const AUDIO: &str = "32 bit float mono audio";

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A physical port, counted from 0, of the side that fits.
    Physical(usize),
    /// Any port by its whole name.
    Named(String),
}

/// Ports by their names without the client's, and the other ends.
type Patch = BTreeMap<String, BTreeSet<Peer>>;

/// See the module. Lives as long as rigd does, from client to client.
#[derive(Default)]
pub struct Patchbay {
    connects: bool,
    client: String,
    /// What this client is to connect anew, once each.
    restored: Patch,
    /// What a next client is to.
    remembered: Patch,
    /// As it was at the last look at it, and when that was.
    seen: Patch,
    seen_at: Option<Instant>,
    /// The other end has not been there yet.
    pending: Patch,
}

impl Patchbay {
    /// A new client, with the master's ports only.
    pub fn begin(&mut self, connects: bool, client: &str) {
        (self.connects, self.client) = (connects, client.to_owned());
        self.restored.clone_from(&self.remembered);
        (self.seen, self.seen_at) = (self.remembered.clone(), None);
        self.pending.clear();
        for (side, name) in MASTER.into_iter().enumerate() {
            self.expect_at(name, side);
        }
    }

    /// A new input port: what is to be connected to it.
    pub fn expect(&mut self, wish: &Wish) {
        self.expect_at(&wish.name, usize::from(wish.device.saturating_sub(1)));
    }

    fn expect_at(&mut self, name: &str, physical: usize) {
        let peers = match self.restored.remove(name) {
            Some(peers) => peers,
            None if self.connects => [Peer::Physical(physical)].into(),
            None => return,
        };
        self.pending.insert(name.to_owned(), peers);
    }

    /// A port is gone for good.
    pub fn forget(&mut self, name: &str) {
        self.restored.remove(name);
        self.remembered.remove(name);
        self.seen.remove(name);
        self.pending.remove(name);
    }

    /// A track's input has changed: its port moves from one physical port to another.
    pub fn rewire(&mut self, client: &Client, wish: &Wish, before: u8) {
        if !self.connects {
            return;
        }
        let before = Peer::Physical(usize::from(before.saturating_sub(1)));
        if let Some(port) = resolve(client, &before, PortFlags::IS_OUTPUT) {
            let _ = client.disconnect_ports_by_name(&port, &self.whole(&wish.name));
        }
        self.forget(&wish.name);
        self.expect(wish);
    }

    /// Connects what has come to be there.
    pub fn connect(&mut self, client: &Client, names: &[&str]) {
        let mut pending = std::mem::take(&mut self.pending);
        for (name, peers) in &mut pending {
            if !names.contains(&name.as_str()) {
                continue;
            }
            let is_master = MASTER.contains(&name.as_str());
            let side = if is_master {
                PortFlags::IS_INPUT
            } else {
                PortFlags::IS_OUTPUT
            };
            peers.retain(|peer| {
                let Some(port) = resolve(client, peer, side) else {
                    return true;
                };
                let mine = self.whole(name);
                let result = if is_master {
                    client.connect_ports_by_name(&mine, &port)
                } else {
                    client.connect_ports_by_name(&port, &mine)
                };
                match result {
                    Ok(()) => log::info!("connected {mine} with {port}"),
                    Err(jack::Error::PortAlreadyConnected(..)) => {}
                    Err(error) => {
                        log::debug!("{mine} and {port} are not connected yet: {error}");
                        return true;
                    }
                }
                false
            });
        }
        pending.retain(|_, peers| !peers.is_empty());
        self.pending = pending;
    }

    /// Looks again if there is anything new, and remembers what has lasted.
    pub fn look(&mut self, client: &Client, is_new: bool) {
        if !is_new {
            if self.seen_at.is_some_and(|at| at.elapsed() >= CUT_FOR_GOOD) {
                self.remembered.clone_from(&self.seen);
                self.seen_at = None;
            }
            return;
        }
        let mut seen = self.pending.clone();
        let prefix = format!("{}:", self.client);
        for mine in client.ports(None, Some(AUDIO), PortFlags::empty()) {
            let Some(name) = mine.strip_prefix(&prefix) else {
                continue;
            };
            let peers = seen.entry(name.to_owned()).or_default();
            if let Some(port) = client.port_by_name(&mine) {
                peers.extend(port.get_connections().into_iter().map(Peer::Named));
            }
        }
        for (name, peers) in &seen {
            let remembered = self.remembered.entry(name.clone()).or_default();
            remembered.extend(peers.iter().cloned());
        }
        (self.seen, self.seen_at) = (seen, Some(Instant::now()));
    }

    fn whole(&self, name: &str) -> String {
        format!("{}:{name}", self.client)
    }
}

/// The whole name of a port that is there.
fn resolve(client: &Client, peer: &Peer, side: PortFlags) -> Option<String> {
    match peer {
        Peer::Named(name) => client.port_by_name(name).map(|_| name.clone()),
        Peer::Physical(index) => client
            .ports(None, Some(AUDIO), PortFlags::IS_PHYSICAL | side)
            .into_iter()
            .nth(*index),
    }
}
