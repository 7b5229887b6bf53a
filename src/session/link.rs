//! The link that lets a phone in: an address of the box that others can reach, with the code behind `#`,
//! where no server and no log sees it. As text, and as a QR code.

use std::net::{IpAddr, SocketAddr};

use qrcode::QrCode;
use qrcode::render::{svg, unicode};
use qrcode::types::QrError;

/// Pixels of a drawing's side, at least; it can be drawn in any size.
const SIDE: u32 = 240;

/// A link to a page of this rig.
pub fn to(base: &str, code: &str) -> String {
    format!("{base}/#pair={code}")
}

/// A QR code as a drawing.
pub fn svg(link: &str) -> Result<String, QrError> {
    let code = QrCode::new(link)?;
    let drawn = code
        .render::<svg::Color>()
        .min_dimensions(SIDE, SIDE)
        .build();
    // Without what only a file of its own needs, it can be part of a page.
    let start = drawn.find("<svg").unwrap_or(0);
    Ok(drawn[start..].to_owned())
}

/// A QR code for a terminal; most are dark.
pub fn text(link: &str) -> Result<String, QrError> {
    let code = QrCode::new(link)?;
    Ok(code
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build())
}

/// The address among those that are listened to that others reach best.
pub fn best(listening: &[SocketAddr]) -> Option<SocketAddr> {
    let of_the_box = if_addrs::get_if_addrs().unwrap_or_default();
    let of_the_box: Vec<(String, IpAddr)> = of_the_box
        .into_iter()
        .map(|interface| (interface.name.clone(), interface.ip()))
        .collect();
    best_of(listening, &of_the_box)
}

fn best_of(listening: &[SocketAddr], of_the_box: &[(String, IpAddr)]) -> Option<SocketAddr> {
    let named = listening
        .iter()
        .filter(|address| !address.ip().is_unspecified());
    let reachable = named.clone().find(|address| !address.ip().is_loopback());
    if let Some(address) = reachable {
        return Some(*address);
    }
    let everywhere = listening
        .iter()
        .filter(|address| address.ip().is_unspecified());
    let found = everywhere.filter_map(|address| {
        let fits = |ip: &IpAddr| ip.is_ipv4() || address.is_ipv6();
        let mut ips: Vec<(u8, IpAddr)> = of_the_box
            .iter()
            .filter(|(_, ip)| fits(ip))
            .map(|(name, ip)| (rank(name, ip), *ip))
            .collect();
        ips.sort_by_key(|(rank, _)| *rank);
        let (_, ip) = ips.first()?;
        Some(SocketAddr::new(*ip, address.port()))
    });
    found
        .chain(named.copied())
        .chain(listening.first().copied())
        .next()
}

/// How likely an address is not the one that a phone can reach.
fn rank(name: &str, ip: &IpAddr) -> u8 {
    let is_virtual = ["docker", "veth", "br-", "virbr", "tun", "tap"];
    match ip {
        _ if ip.is_loopback() => 5,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 4,
        IpAddr::V6(_) => 3,
        _ if is_virtual.iter().any(|kind| name.starts_with(kind)) => 2,
        IpAddr::V4(ip) if !ip.is_private() => 1,
        IpAddr::V4(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(listening: &[&str], of_the_box: &[(&str, &str)]) -> Option<String> {
        let listening: Vec<SocketAddr> = listening.iter().map(|a| a.parse().unwrap()).collect();
        let of_the_box: Vec<(String, IpAddr)> = of_the_box
            .iter()
            .map(|(name, ip)| ((*name).to_owned(), ip.parse().unwrap()))
            .collect();
        best_of(&listening, &of_the_box).map(|address| address.to_string())
    }

    #[test]
    fn phones_are_sent_where_they_can_come() {
        let at_home = [
            ("lo", "127.0.0.1"),
            ("docker0", "172.17.0.1"),
            ("wlan0", "192.168.1.7"),
            ("wlan0", "fe80::1"),
        ];
        let home = Some("192.168.1.7:8000".to_owned());
        assert_eq!(best(&["0.0.0.0:8000"], &at_home), home);
        assert_eq!(best(&["[::]:8000"], &at_home), home);
        assert_eq!(
            best(&["127.0.0.1:1", "10.42.0.1:80"], &at_home),
            Some("10.42.0.1:80".into())
        );
        assert_eq!(
            best(&["127.0.0.1:8000"], &at_home),
            Some("127.0.0.1:8000".into())
        );
        assert_eq!(
            best(&["0.0.0.0:8000"], &[("lo", "127.0.0.1")]),
            Some("127.0.0.1:8000".into())
        );
        assert_eq!(best(&["0.0.0.0:8000"], &[]), Some("0.0.0.0:8000".into()));
        assert_eq!(best(&[], &at_home), None);
    }

    #[test]
    fn a_link_is_drawn() {
        let link = to("http://192.168.1.7:8000", "7K3M-92XQ-FDTN");
        assert_eq!(link, "http://192.168.1.7:8000/#pair=7K3M-92XQ-FDTN");
        let drawn = svg(&link).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>"));
        assert!(!drawn.contains("7K3M"), "only as dots");
        let lines: Vec<String> = text(&link).unwrap().lines().map(str::to_owned).collect();
        assert!(lines.len() > 12 && lines[0].chars().count() < 80);
    }
}
