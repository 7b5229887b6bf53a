//! Who may connect. `Host` must be an address or a name of this box (a page on the web that points
//! its own name here is turned away), `Origin` must be the rig's own or a listed one (other pages'
//! scripts are), and one address may not connect too often.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, ORIGIN};

use super::Settings;
use crate::rig::Reject;
use crate::session::Bucket;

/// First connections of an address that are free.
const CONNECT_BURST: f64 = 20.0;
/// Addresses that are remembered; past that, all are forgotten.
const ADDRESSES_MAX: usize = 4096;

/// See the module.
pub struct Guard {
    allowed_origins: Vec<String>,
    names: Vec<String>,
    connects_per_s: f64,
    addresses: HashMap<IpAddr, Bucket>,
    started: Instant,
}

impl Guard {
    /// With the box's own names.
    pub fn new(settings: &Settings) -> Guard {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .to_lowercase();
        Guard {
            allowed_origins: settings.allowed_origins.clone(),
            names: vec![
                "localhost".to_owned(),
                "rig.local".to_owned(),
                format!("{host}.local"),
                host,
            ],
            connects_per_s: settings.connects_per_minute / 60.0,
            addresses: HashMap::new(),
            started: Instant::now(),
        }
    }

    /// Follows new settings.
    pub fn follow(&mut self, settings: &Settings) {
        self.allowed_origins.clone_from(&settings.allowed_origins);
        self.connects_per_s = settings.connects_per_minute / 60.0;
    }

    /// Refuses a request that was not meant for this box.
    pub fn check_host(&self, headers: &HeaderMap) -> Result<(), String> {
        let Some(host) = text(headers, &HOST) else {
            return Err("the request names no Host".to_owned());
        };
        let name = without_port(host);
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if is_address || self.names.contains(&name.to_lowercase()) {
            return Ok(());
        }
        Err(format!(
            "\"{name}\" is not a name of this box; use its address"
        ))
    }

    /// Refuses a page of somebody else's.
    pub fn check_origin(&self, headers: &HeaderMap, local: SocketAddr) -> Result<(), String> {
        let Some(origin) = text(headers, &ORIGIN) else {
            return Ok(());
        };
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        let is_own = text(headers, &HOST).is_some_and(|own| own.eq_ignore_ascii_case(host));
        let is_loopback = local.ip().is_loopback() && is_loopback_name(without_port(host));
        if is_own || is_loopback || self.allowed_origins.iter().any(|allowed| allowed == origin) {
            return Ok(());
        }
        Err(format!(
            "pages from {origin} may not connect; allowed_origins in the settings lists those that may"
        ))
    }

    /// Refuses an address that connects too often.
    pub fn check_rate(&mut self, peer: IpAddr) -> Result<(), Reject> {
        if peer.is_loopback() {
            return Ok(());
        }
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&peer) {
            self.addresses.clear();
        }
        let bucket = || Bucket::new("connects_per_minute", self.connects_per_s, CONNECT_BURST);
        let now = self.started.elapsed();
        self.addresses.entry(peer).or_insert_with(bucket).take(now)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_loopback_name(name: &str) -> bool {
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(&Settings {
            allowed_origins: vec!["https://stage.example".to_owned()],
            message_bytes: 0,
            connections: 0,
            connects_per_minute: 10.0,
            access_point: None,
        })
    }

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_name_from_the_web_that_points_here_is_turned_away() {
        for host in [
            "127.0.0.1:8000",
            "[::1]:8000",
            "localhost",
            "192.168.1.7",
            "rig.local:8000",
            "Localhost:1",
        ] {
            assert_eq!(guard().check_host(&headers(host, None)), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8000",
            "127.0.0.1.evil.example",
        ] {
            assert!(guard().check_host(&headers(host, None)).is_err(), "{host}");
        }
    }

    #[test]
    fn pages_of_others_are_turned_away() {
        let (loopback, lan) = (
            "127.0.0.1:8000".parse().unwrap(),
            "192.168.1.7:8000".parse().unwrap(),
        );
        let ok = |host, origin, local| guard().check_origin(&headers(host, origin), local).is_ok();
        assert!(ok("192.168.1.7:8000", Some("http://192.168.1.7:8000"), lan));
        assert!(ok("192.168.1.7:8000", Some("https://stage.example"), lan));
        assert!(ok("192.168.1.7:8000", None, lan));
        assert!(!ok("192.168.1.7:8000", Some("http://localhost:3000"), lan));
        assert!(ok(
            "127.0.0.1:8000",
            Some("http://localhost:3000"),
            loopback
        ));
        assert!(!ok("127.0.0.1:8000", Some("http://evil.example"), loopback));
        assert!(!ok("127.0.0.1:8000", Some("null"), loopback));
        assert!(!ok(
            "127.0.0.1:8000",
            Some("http://localhost.evil.example"),
            loopback
        ));
    }

    #[test]
    fn an_address_that_connects_without_end_is_slowed_down() {
        let mut guard = guard();
        let peer = "192.168.1.9".parse().unwrap();
        assert!((0..20).all(|_| guard.check_rate(peer).is_ok()));
        assert!(matches!(
            guard.check_rate(peer),
            Err(Reject::RateLimited {
                limit: "connects_per_minute",
                ..
            })
        ));
        assert!(
            (0..100).all(|_| guard.check_rate("127.0.0.1".parse().unwrap()).is_ok()),
            "loopback is exempt"
        );
    }
}
