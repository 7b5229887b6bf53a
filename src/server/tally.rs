//! What the server counts by itself, before anything reaches the desk.

use std::collections::BTreeMap;

use hyper::StatusCode;

use crate::telemetry::page::Page;

/// See the module.
#[derive(Debug, Default)]
pub struct Tally {
    accepted: u64,
    /// By why.
    turned_away: BTreeMap<&'static str, u64>,
    /// By the first digit of the status.
    answers: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// A TCP connection was accepted.
    pub fn accepted(&mut self) {
        self.accepted += 1;
    }

    /// A TCP connection was closed, and why: one of a few words.
    pub fn turned_away(&mut self, why: &'static str) {
        *self.turned_away.entry(why).or_default() += 1;
    }

    /// A request was answered.
    pub fn answered(&mut self, status: StatusCode) {
        let class = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        *self.answers.entry(class).or_default() += 1;
    }

    /// Writes what was counted.
    pub fn metrics(&self, page: &mut Page, open: usize) {
        let of = |counts: &BTreeMap<&'static str, u64>| {
            let counts = counts.iter();
            let counts = counts.map(|(of, count)| (*of, *count as f64));
            counts.collect::<Vec<_>>()
        };
        page.gauge("rigd_tcp_connections", "Open TCP connections.", open as f64);
        page.counter(
            "rigd_tcp_accepted_total",
            "TCP connections that were accepted.",
            self.accepted as f64,
        );
        page.counters(
            "rigd_tcp_turned_away_total",
            "TCP connections that were closed before their time.",
            "why",
            of(&self.turned_away),
        );
        page.counters(
            "rigd_http_answers_total",
            "HTTP requests answered, by class of status.",
            "status",
            of(&self.answers),
        );
    }
}
