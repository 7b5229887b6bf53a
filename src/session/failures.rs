//! Who has guessed wrong how often: per address, bounded. Pure; time is passed in.
//!
//! Five in a row, and for five minutes the address is known as one that guesses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Wrong ones in a row until the address is known for it.
const IN_A_ROW: u32 = 5;
/// For so long; and a row is forgotten when nothing came for so long.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Addresses that are remembered. Past that the one that has been quiet for longest is forgotten.
const ADDRESSES_MAX: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Row {
    count: u32,
    last: Duration,
    known_until: Option<Duration>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Failures(HashMap<IpAddr, Row>);

impl Failures {
    /// A wrong one. Says whether that was one too many, and none is listened to patiently any more.
    pub fn failed(&mut self, address: IpAddr, now: Duration) -> bool {
        let address = subject(address);
        self.forget_old(now);
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&address) {
            let quiet = self.0.iter().min_by_key(|(_, row)| row.last);
            if let Some(quiet) = quiet.map(|(address, _)| *address) {
                self.0.remove(&quiet);
            }
        }
        let row = self.0.entry(address).or_insert(Row {
            count: 0,
            last: now,
            known_until: None,
        });
        row.count += 1;
        row.last = now;
        if row.known_until.is_none() && row.count >= IN_A_ROW {
            row.known_until = Some(now + KNOWN_FOR);
        }
        row.known_until.is_some()
    }

    /// A right one: the row is over.
    pub fn succeeded(&mut self, address: IpAddr) {
        if let Some(row) = self.0.get_mut(&subject(address)) {
            row.count = 0;
        }
    }

    /// For how long the address is still known as one that guesses.
    pub fn known_for(&mut self, address: IpAddr, now: Duration) -> Option<Duration> {
        self.forget_old(now);
        let until = self.0.get(&subject(address))?.known_until?;
        Some(until.saturating_sub(now))
    }

    fn forget_old(&mut self, now: Duration) {
        self.0.retain(|_, row| match row.known_until {
            Some(until) => now < until,
            None => now < row.last + KNOWN_FOR,
        });
    }
}

/// Who an address stands for: of IPv6, everyone behind one network has as many as they like.
fn subject(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn address(last: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + last).into())
    }

    #[test]
    fn the_fifth_in_a_row_is_one_too_many_and_for_five_minutes_each_is() {
        let mut failures = Failures::default();
        let (one, other) = (address(1), address(2));
        let four: Vec<bool> = (0..4).map(|_| failures.failed(one, at(10))).collect();
        assert_eq!(four, [false; 4]);
        assert_eq!(failures.known_for(one, at(10)), None);
        assert!(failures.failed(one, at(11)));
        assert!(!failures.failed(other, at(11)), "others have done nothing");
        assert_eq!(failures.known_for(one, at(12)), Some(at(299)));
        failures.succeeded(one);
        assert!(failures.failed(one, at(310)));
        assert!(!failures.failed(one, at(311)), "then it is forgotten");
    }

    #[test]
    fn a_right_one_ends_the_row() {
        let mut failures = Failures::default();
        for _ in 0..3 {
            assert!((0..4).all(|_| !failures.failed(address(1), at(1))));
            failures.succeeded(address(1));
        }
    }

    #[test]
    fn addresses_are_bounded_and_one_ipv6_network_is_one_address() {
        let mut failures = Failures::default();
        for number in 0..100_000 {
            failures.failed(address(number), Duration::from_millis(u64::from(number)));
        }
        assert!(failures.0.len() <= ADDRESSES_MAX);
        let of = |last: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, last));
        let last = (0..5).map(|n| failures.failed(of(n), at(200))).last();
        assert_eq!(last, Some(true));
    }
}
