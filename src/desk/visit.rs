//! Visits: HTTP requests, each a client for as long as it takes. A visit is answered like any other
//! client, hears nothing of others, and is not one of the people who are here. Since it is so short, how
//! much may be asked is counted for whom it comes from.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Desk;
use super::client::{Client, ClientId};
use super::settle::hash;
use crate::rig::Reject;
use crate::session::Buckets;
use crate::sync::Outbox;

/// Visitors that are remembered. Past that the one that has been quiet for longest is forgotten, which
/// costs nothing: by then it might ask as much as a new one.
const VISITORS_MAX: usize = 1024;
/// Polls that may wait at a time, of everyone.
const POLLS_MAX: usize = 64;
/// And of one visitor: several phones may share an address.
const POLLS_MAX_EACH: usize = 16;
/// When it is worth to poll again, in seconds.
const RETRY_AFTER_S: f64 = 1.0;

/// Whom a visit comes from, for counting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Visitor {
    /// Somebody who has proved it.
    User(String),
    /// Anybody there.
    Address(IpAddr),
}

impl Visitor {
    /// Who an address stands for: of IPv6, everyone behind one network has as many as they like.
    pub fn at(address: IpAddr) -> Visitor {
        Visitor::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 => v4,
        })
    }
}

struct Account {
    buckets: Buckets,
    seen: Duration,
    polls: usize,
}

/// What visitors have asked lately.
#[derive(Default)]
pub struct Visitors {
    accounts: HashMap<Visitor, Account>,
    polls: usize,
}

impl Visitors {
    /// What a visitor may still ask.
    pub fn buckets(
        &mut self,
        visitor: &Visitor,
        now: Duration,
        full: impl FnOnce() -> Buckets,
    ) -> &mut Buckets {
        if self.accounts.len() >= VISITORS_MAX && !self.accounts.contains_key(visitor) {
            let idle = self
                .accounts
                .iter()
                .filter(|(_, account)| account.polls == 0);
            let quiet = idle.min_by_key(|(_, account)| account.seen);
            if let Some(quiet) = quiet.map(|(visitor, _)| visitor.clone()) {
                self.accounts.remove(&quiet);
            }
        }
        let account = self
            .accounts
            .entry(visitor.clone())
            .or_insert_with(|| Account {
                buckets: full(),
                seen: now,
                polls: 0,
            });
        account.seen = now;
        &mut account.buckets
    }

    /// What visitors may ask is something else from now on.
    pub fn refill(&mut self, full: &Buckets) {
        let accounts = self.accounts.values_mut();
        accounts.for_each(|account| account.buckets = *full);
    }

    fn begin_poll(&mut self, visitor: &Visitor) -> Result<(), Reject> {
        let Some(account) = self.accounts.get_mut(visitor) else {
            return Ok(());
        };
        if self.polls >= POLLS_MAX || account.polls >= POLLS_MAX_EACH {
            return Err(Reject::RateLimited {
                retry_after: RETRY_AFTER_S,
                limit: "polls",
            });
        }
        self.polls += 1;
        account.polls += 1;
        Ok(())
    }

    fn end_poll(&mut self, visitor: &Visitor) {
        self.polls = self.polls.saturating_sub(1);
        if let Some(account) = self.accounts.get_mut(visitor) {
            account.polls = account.polls.saturating_sub(1);
        }
    }

    /// Polls that wait.
    pub fn polls(&self) -> usize {
        self.polls
    }
}

/// That a client is a visit.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Whose.
    pub visitor: Visitor,
    /// It waits for news.
    is_polling: bool,
}

impl Client {
    /// Whether it is told what others do.
    pub(super) fn hears(&self) -> bool {
        self.visit.is_none() && self.rights.may_look()
    }
}

impl Desk {
    /// A request is there, with a token or without.
    pub fn visit(&mut self, address: IpAddr, token: Option<&str>) -> Result<ClientId, Reject> {
        let address = address.to_canonical();
        let identity = match token {
            Some(token) => Some(self.authorise(token, address)?),
            None => None,
        };
        let visitor = match &identity {
            Some(identity) => Visitor::User(identity.user_id.clone()),
            None => Visitor::at(address),
        };
        let id = self.connect(String::new(), &address.to_string());
        let outbox = Outbox::new(0, &self.stream, Rc::clone(&self.everything)).deaf();
        if let Some(client) = self.clients.get_mut(&id) {
            client.outbox = outbox;
            client.visit = Some(Box::new(Visit {
                visitor,
                is_polling: false,
            }));
            if let Some(identity) = identity {
                client.become_proved(identity);
            }
        }
        Ok(id)
    }

    /// A visit waits for news, until it ends.
    pub fn begin_poll(&mut self, id: ClientId) -> Result<(), Reject> {
        let visit = self
            .clients
            .get_mut(&id)
            .and_then(|client| client.visit.as_mut());
        let Some(visit) = visit.filter(|visit| !visit.is_polling) else {
            return Ok(());
        };
        self.visitors.begin_poll(&visit.visitor)?;
        visit.is_polling = true;
        Ok(())
    }

    /// A visit is over.
    pub(super) fn end_visit(&mut self, visit: &Visit) {
        if visit.is_polling {
            self.visitors.end_poll(&visit.visitor);
        }
    }

    /// What a client may still ask.
    pub(super) fn buckets(&mut self, id: ClientId, now: Instant) -> Option<&mut Buckets> {
        let client = self.clients.get_mut(&id)?;
        let Some(visit) = &client.visit else {
            return Some(&mut client.buckets);
        };
        let time = now.saturating_duration_since(self.started);
        let limits = &self.fixed.limits;
        let full = || Buckets::new(limits);
        Some(self.visitors.buckets(&visit.visitor, time, full))
    }

    /// Whose change it is when somebody asks whether it was another's: visits of one person at one place
    /// are the same.
    pub(super) fn author(&self, id: ClientId) -> ClientId {
        let client = self.clients.get(&id);
        let visit = client.and_then(|client| Some((client, client.visit.as_ref()?)));
        visit.map_or(id, |(client, visit)| {
            let by = &client.by;
            ClientId(1 << 63 | hash(&(&visit.visitor, &by.user_id, &by.session_id)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn address(last: u32) -> Visitor {
        Visitor::at(IpAddr::V4((0x0a00_0000 + last).into()))
    }

    fn full() -> Buckets {
        Buckets::new(&Limits::default())
    }

    #[test]
    fn visitors_that_are_remembered_are_bounded_and_the_quiet_ones_go() {
        let mut visitors = Visitors::default();
        for number in 0..VISITORS_MAX as u32 + 100 {
            let now = Duration::from_millis(number.into());
            visitors.buckets(&address(0), now, full);
            visitors.buckets(&address(number), now, full);
        }
        assert_eq!(visitors.accounts.len(), VISITORS_MAX);
        assert!(visitors.accounts.contains_key(&address(0)));
        assert!(!visitors.accounts.contains_key(&address(1)));
    }

    #[test]
    fn polls_are_bounded_for_each_and_for_all() {
        let mut visitors = Visitors::default();
        let mut begun = Vec::new();
        for number in 0..10 {
            let visitor = address(number);
            visitors.buckets(&visitor, Duration::ZERO, full);
            while visitors.begin_poll(&visitor).is_ok() {
                begun.push(visitor.clone());
            }
            assert!(begun.len() <= POLLS_MAX_EACH * (number as usize + 1));
        }
        assert_eq!((begun.len(), visitors.polls()), (POLLS_MAX, POLLS_MAX));
        begun.iter().for_each(|visitor| visitors.end_poll(visitor));
        assert_eq!(visitors.polls(), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_visitor() {
        let at = |text: &str| Visitor::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
    }
}
