//! Reports → status and metrics. What the engine and the wire did, in numbers of bounded size.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::backend::Format;
use crate::protocol::views::object;

/// An engine that has said nothing for so long stands still (or for three blocks, if that is longer).
const SILENCE: Duration = Duration::from_millis(60);
/// Upper ends of the latency histogram's buckets, in seconds.
const BUCKETS_S: [f64; 8] = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128];

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
    messages: u64,
    refused: BTreeMap<&'static str, u64>,
    latency: [u64; BUCKETS_S.len()],
    latency_sum_s: f64,
    latency_count: u64,
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
    pub fn message(&mut self) {
        self.messages += 1;
    }

    /// A message was refused.
    pub fn refused(&mut self, code: &'static str) {
        *self.refused.entry(code).or_default() += 1;
    }

    /// A group took so long from hand-over to being known as applied.
    pub fn applied(&mut self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        for (count, _) in self
            .latency
            .iter_mut()
            .zip(BUCKETS_S)
            .filter(|(_, end)| seconds <= *end)
        {
            *count += 1;
        }
        self.latency_sum_s += seconds;
        self.latency_count += 1;
    }

    /// Frames that the engine has computed, as far as is known.
    pub fn frame(&self) -> u64 {
        self.frame
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

    /// Prometheus text.
    pub fn metrics(&self, clients: usize, polls: usize, seq: u64, uptime: Duration) -> String {
        let mut text = String::new();
        let mut one = |name: &str, kind: &str, help: &str, value: f64| {
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        };
        one(
            "rigd_uptime_seconds",
            "gauge",
            "Since start.",
            uptime.as_secs_f64(),
        );
        one(
            "rigd_connections",
            "gauge",
            "Open WebSocket connections.",
            clients as f64,
        );
        one(
            "rigd_polls",
            "gauge",
            "Long polls that wait for news.",
            polls as f64,
        );
        one(
            "rigd_messages_total",
            "counter",
            "Messages from clients.",
            self.messages as f64,
        );
        one(
            "rigd_seq",
            "gauge",
            "Number of the newest change.",
            seq as f64,
        );
        one(
            "rigd_frames_total",
            "counter",
            "Frames computed.",
            self.frame as f64,
        );
        one(
            "rigd_xruns_total",
            "counter",
            "Blocks that came too late.",
            f64::from(self.xruns()),
        );
        one(
            "rigd_dsp_load",
            "gauge",
            "Mean share of the block time that is used.",
            f64::from(self.load_mean),
        );
        one(
            "rigd_dsp_load_worst",
            "gauge",
            "The worst block's share.",
            f64::from(self.load_worst),
        );
        one(
            "rigd_input_samples_mended_total",
            "counter",
            "Unusable input samples.",
            f64::from(self.mended()),
        );
        text.push_str("# HELP rigd_errors_total Refused messages by code.\n# TYPE rigd_errors_total counter\n");
        for (code, count) in &self.refused {
            let _ = writeln!(text, "rigd_errors_total{{code=\"{code}\"}} {count}");
        }
        let name = "rigd_apply_latency_seconds";
        let _ = writeln!(
            text,
            "# HELP {name} Handed to the engine until known as applied.\n# TYPE {name} histogram"
        );
        for (end, count) in BUCKETS_S.iter().zip(&self.latency) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{end}\"}} {count}");
        }
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", self.latency_count);
        let _ = writeln!(
            text,
            "{name}_sum {}\n{name}_count {}",
            self.latency_sum_s, self.latency_count
        );
        text
    }
}
