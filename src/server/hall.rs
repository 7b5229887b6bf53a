//! The hall: connections that are not, or not yet, a WebSocket: handshakes, requests, and who keeps a
//! connection for the next one. So many there can be; past that the one that has been here for longest
//! goes, of the address that has most of them here. So who comes always has some time to show a token,
//! however many others hold connections open.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::task::AbortHandle;

use crate::desk::Visitor;

/// Names a connection in the hall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestId(u64);

struct Guest {
    id: GuestId,
    visitor: Visitor,
    task: Option<AbortHandle>,
    /// It is being answered: it stays.
    is_served: bool,
}

/// See the module.
#[derive(Default)]
pub struct Hall {
    /// In the order in which they came.
    guests: Vec<Guest>,
    next: u64,
}

impl Hall {
    /// Lets a connection in, which somebody else may have to leave for. `Err`: those who are here are
    /// being answered, all of them.
    pub fn enter(&mut self, address: IpAddr, guests_max: usize) -> Result<GuestId, Full> {
        if self.guests.len() >= guests_max {
            let longest = self.longest_of_most().ok_or(Full)?;
            let guest = self.guests.remove(longest);
            if let Some(task) = guest.task {
                task.abort();
            }
        }
        self.next += 1;
        let id = GuestId(self.next);
        self.guests.push(Guest {
            id,
            visitor: Visitor::at(address),
            task: None,
            is_served: false,
        });
        Ok(id)
    }

    /// What ends it.
    pub fn is_run_by(&mut self, id: GuestId, task: AbortHandle) {
        if let Some(guest) = self.find(id) {
            guest.task = Some(task);
        }
    }

    /// It is being answered, or not any more.
    pub fn serve(&mut self, id: GuestId, is_served: bool) {
        if let Some(guest) = self.find(id) {
            guest.is_served = is_served;
        }
    }

    /// It is gone, or a WebSocket.
    pub fn leave(&mut self, id: GuestId) {
        self.guests.retain(|guest| guest.id != id);
    }

    fn find(&mut self, id: GuestId) -> Option<&mut Guest> {
        self.guests.iter_mut().find(|guest| guest.id == id)
    }

    fn longest_of_most(&self) -> Option<usize> {
        let mut counts: HashMap<&Visitor, usize> = HashMap::new();
        for guest in &self.guests {
            *counts.entry(&guest.visitor).or_default() += 1;
        }
        let waiting = self.guests.iter().enumerate();
        let waiting = waiting.filter(|(_, guest)| !guest.is_served);
        // Of equals the last is taken, so those who came first come last.
        waiting
            .rev()
            .max_by_key(|(_, guest)| counts[&guest.visitor])
            .map(|(index, _)| index)
    }
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + last).into())
    }

    fn ids(hall: &Hall) -> Vec<u64> {
        hall.guests.iter().map(|guest| guest.id.0).collect()
    }

    #[test]
    fn the_longest_of_the_busiest_address_leaves() {
        let mut hall = Hall::default();
        for last in [1, 2, 2, 2, 3] {
            hall.enter(address(last), 5).unwrap();
        }
        hall.enter(address(4), 5).unwrap();
        assert_eq!(ids(&hall), [1, 3, 4, 5, 6]);
        hall.enter(address(4), 5).unwrap();
        assert_eq!(ids(&hall), [1, 4, 5, 6, 7]);
    }

    #[test]
    fn who_is_being_answered_stays() {
        let mut hall = Hall::default();
        let first = hall.enter(address(1), 2).unwrap();
        let second = hall.enter(address(1), 2).unwrap();
        hall.serve(first, true);
        hall.enter(address(1), 2).unwrap();
        assert_eq!(ids(&hall), [1, 3]);
        hall.serve(GuestId(3), true);
        assert_eq!(hall.enter(address(1), 2), Err(Full));
        hall.serve(first, false);
        hall.leave(second);
        hall.enter(address(1), 2).unwrap();
        assert_eq!(ids(&hall), [3, 4]);
    }
}
