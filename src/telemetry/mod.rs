//! Reports → status and metrics. What the engine and the wire did, in numbers of bounded size.
//!
//! | file | noun |
//! |---|---|
//! | `mod.rs` | what was counted and measured |
//! | `histogram.rs` | how long something took, how often |
//! | `page.rs` | the text of `/metrics` |

mod histogram;
pub mod page;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::backend::Format;
use crate::protocol::views::object;
use crate::protocol::{Dialect, Kind};
use histogram::Histogram;
use page::Page;

/// An engine that has said nothing for so long stands still (or for three blocks, if that is longer).
const SILENCE: Duration = Duration::from_millis(60);

/// See the module.
#[derive(Default)]
pub struct Telemetry {
    format: Option<Format>,
    alive: Option<Instant>,
    frame: u64,
    /// Of this engine, and of those before it.
    mended: u32,
    mended_before: u32,
    xruns: u32,
    xruns_before: u32,
    load_mean: f32,
    load_worst: f32,
    /// By type: as many as there are types.
    messages: BTreeMap<&'static str, u64>,
    sent: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// By code: as many as there are codes.
    refused: BTreeMap<&'static str, u64>,
    applied: Histogram,
    handled: Histogram,
    kept: Histogram,
}

impl Telemetry {
    /// There is a new engine on this backend.
    pub fn attached(&mut self, format: Format) {
        self.format = Some(format);
        self.mended_before += std::mem::take(&mut self.mended);
        self.xruns_before += std::mem::take(&mut self.xruns);
    }

    /// The backend's block size or latency is another one.
    pub fn reformatted(&mut self, format: Format) {
        self.format = Some(format);
    }

    /// The engine said something.
    pub fn alive_at(&mut self, now: Instant) {
        self.alive = Some(now);
    }

    /// Whether the engine moves.
    pub fn is_alive(&self, now: Instant) -> bool {
        let blocks = self.format.as_ref().map_or(0.0, |format| {
            3.0 * f64::from(
                format
                    .block_frames
                    .max(rigd_rt::report::METER_FRAMES as u32),
            ) / f64::from(format.sample_rate_hz)
        });
        let silence = SILENCE.max(Duration::from_secs_f64(blocks));
        self.alive
            .is_some_and(|alive| now.saturating_duration_since(alive) < silence)
    }

    /// The end of a meter window.
    pub fn pulse(&mut self, frame: u64, mended: u32) {
        self.frame = frame;
        if mended > self.mended {
            log::warn!(
                "{} input samples were not usable numbers and were mended",
                mended - self.mended
            );
        }
        self.mended = mended;
    }

    /// The engine was at least here.
    pub fn at_frame(&mut self, frame: u64) {
        self.frame = self.frame.max(frame);
    }

    /// How busy the realtime thread was.
    pub fn load(&mut self, xruns: u32, mean: f32, worst: f32) {
        (self.xruns, self.load_mean, self.load_worst) = (xruns, mean, worst);
    }

    /// A message came in.
    pub fn message(&mut self, kind: Option<Kind>, bytes: usize) {
        let name = kind.map_or("unknown", |kind| kind.name(Dialect::Dotted));
        *self.messages.entry(name).or_default() += 1;
        self.bytes_in += bytes as u64;
    }

    /// It was seen to, for so long.
    pub fn handled(&mut self, took: Duration) {
        self.handled.observe(took);
    }

    /// A message went out.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += 1;
        self.bytes_out += bytes as u64;
    }

    /// A message was refused.
    pub fn refused(&mut self, code: &'static str) {
        *self.refused.entry(code).or_default() += 1;
    }

    /// A group took so long from hand-over to being known as applied.
    pub fn applied(&mut self, latency: Duration) {
        self.applied.observe(latency);
    }

    /// A change was on disk so long after it was applied.
    pub fn kept(&mut self, latency: Duration) {
        self.kept.observe(latency);
    }

    /// Frames that the engine has computed, as far as is known.
    pub fn frame(&self) -> u64 {
        self.frame
    }

    /// What the backend offers, while there is one.
    pub fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }

    /// Blocks that came too late.
    pub fn xruns(&self) -> u32 {
        self.xruns_before + self.xruns
    }

    /// Input samples that were not usable numbers.
    fn mended(&self) -> u32 {
        self.mended_before + self.mended
    }

    /// The `engine` of a snapshot.
    pub fn engine(&self, running: bool) -> Value {
        json!({
            "running": running,
            "backend": self.format.as_ref().map(|format| format.backend),
            "sample_rate": self.format.as_ref().map(|format| format.sample_rate_hz),
            "block_frames": self.format.as_ref().map(|format| format.block_frames),
        })
    }

    /// The engine's part of `status.get`.
    pub fn status(&self) -> Map<String, Value> {
        let format = self.format.as_ref();
        object(json!({
            "backend": format.map(|format| format.backend),
            "sample_rate": format.map(|format| format.sample_rate_hz),
            "block_frames": format.map(|format| format.block_frames),
            "frame": self.frame,
            "xruns": self.xruns(),
            "dsp_load": self.load_mean,
            "dsp_load_worst": self.load_worst,
            "input_samples_mended": self.mended(),
            "latency_ms": {
                "in": format.map(|format| format.latency_in_ms),
                "out": format.map(|format| format.latency_out_ms),
            },
        }))
    }

    /// Writes what was counted and measured.
    pub fn metrics(&self, page: &mut Page) {
        let of = |counts: &BTreeMap<&'static str, u64>| {
            let counts = counts.iter();
            let counts = counts.map(|(of, count)| (*of, *count as f64));
            counts.collect::<Vec<_>>()
        };
        page.counters(
            "rigd_messages_total",
            "Messages from clients by type, in the dotted dialect.",
            "type",
            of(&self.messages),
        );
        page.counter(
            "rigd_messages_sent_total",
            "Messages to clients.",
            self.sent as f64,
        );
        page.counters(
            "rigd_message_bytes_total",
            "Bytes of messages.",
            "way",
            [("in", self.bytes_in as f64), ("out", self.bytes_out as f64)],
        );
        page.counters(
            "rigd_errors_total",
            "Refused messages by code.",
            "code",
            of(&self.refused),
        );
        page.counter("rigd_frames_total", "Frames computed.", self.frame as f64);
        page.counter(
            "rigd_xruns_total",
            "Blocks that came too late.",
            f64::from(self.xruns()),
        );
        page.gauge(
            "rigd_dsp_load",
            "Mean share of the block time that is used.",
            f64::from(self.load_mean),
        );
        page.gauge(
            "rigd_dsp_load_worst",
            "The worst block's share.",
            f64::from(self.load_worst),
        );
        page.counter(
            "rigd_input_samples_mended_total",
            "Unusable input samples.",
            f64::from(self.mended()),
        );
        page.gauge(
            "rigd_resident_memory_bytes",
            "Memory of the whole process.",
            resident_bytes() as f64,
        );
        page.histogram(
            "rigd_apply_latency_seconds",
            "Handed to the engine until known as applied.",
            &self.applied,
        );
        page.histogram(
            "rigd_handle_seconds",
            "A message's way through the desk, without waiting for the engine.",
            &self.handled,
        );
        page.histogram(
            "rigd_ack_latency_seconds",
            "Applied until on disk, for changes with requires_ack.",
            &self.kept,
        );
    }
}

/// What the process takes of memory; 0 where the system does not say.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * rustix::param::page_size()
}
