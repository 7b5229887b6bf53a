//! The box's own Wi-Fi network: who joins it asks for pages of the web, to see whether there is one, and is
//! led to the page where the Wi-Fi is entered. Only on that network's own address, only while it is there,
//! and to pages only: what changes something is never answered under a foreign name.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};

use super::api;
use super::http::{Answer, plain};
use crate::care::wifi::AccessPoint;

/// The page.
pub const PAGE: &str = "/wifi";
/// How often the file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of that network.
#[derive(Debug, Default)]
pub struct Portal {
    file: Option<PathBuf>,
    looked: Option<Instant>,
    point: Option<AccessPoint>,
}

impl Portal {
    /// By this file, as [`AccessPoint::read`] has it.
    pub fn new(file: Option<PathBuf>) -> Portal {
        Portal {
            file,
            ..Portal::default()
        }
    }

    /// The network, while it is there. The file is in memory, not on a disk.
    pub fn point(&mut self, now: Instant) -> Option<&AccessPoint> {
        let file = self.file.as_ref()?;
        let is_fresh = |looked: Instant| now.saturating_duration_since(looked) < LOOK_EVERY;
        if !self.looked.is_some_and(is_fresh) {
            self.looked = Some(now);
            self.point = AccessPoint::read(file);
        }
        self.point.as_ref()
    }

    /// Leads somebody to the page who came to the box's address by the name of something else.
    pub fn lead(&mut self, at: IpAddr, method: &Method, path: &str) -> Option<Answer> {
        let point = self.point(Instant::now())?;
        let is_page = matches!(*method, Method::GET | Method::HEAD)
            && !path.starts_with(api::PREFIX)
            && path != "/ws";
        if point.address != at || !is_page {
            return None;
        }
        let host = match point.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let mut answer = plain(
            StatusCode::FOUND,
            "NO_INTERNET",
            "This is a karaoke rig's own network; the web is not here.",
        );
        let headers = answer.headers_mut();
        headers.insert(
            LOCATION,
            HeaderValue::from_str(&format!("http://{host}{PAGE}")).ok()?,
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_only_on_that_network_and_only_while_it_is_there() {
        let file = std::env::temp_dir().join(format!("rigd-portal-{}", uuid::Uuid::new_v4()));
        let (own, other) = ("10.42.0.1".parse().unwrap(), "192.168.1.7".parse().unwrap());
        let mut portal = Portal::new(Some(file.clone()));
        assert!(portal.lead(own, &Method::GET, "/generate_204").is_none());
        std::fs::write(&file, "10.42.0.1\nrig-AB12\n").unwrap();
        portal.looked = None;
        let answer = portal.lead(own, &Method::GET, "/generate_204").unwrap();
        assert_eq!(answer.headers()[LOCATION], "http://10.42.0.1/wifi");
        assert!(portal.lead(other, &Method::GET, "/generate_204").is_none());
        assert!(portal.lead(own, &Method::POST, "/x").is_none());
        assert!(portal.lead(own, &Method::GET, "/api/state").is_none());
        assert!(portal.lead(own, &Method::GET, "/ws").is_none());
        std::fs::remove_file(file).unwrap();
    }
}
