//! What the graph is told of the way through rigd, and what it tells of the way outside.
//!
//! JACK asks on a thread of its own whenever connections change. The lock is held for a moment only,
//! never while the server is asked anything.

use std::ffi::c_void;
use std::sync::Mutex;

use jack::jack_sys::{self, JackCaptureLatency, jack_latency_callback_mode_t};
use jack::{Client, LatencyType, Port, Unowned};

use super::lock;

/// Boxed: JACK keeps its address.
pub struct Latency(Mutex<Ways>);

struct Ways {
    inputs: Vec<Port<Unowned>>,
    outputs: Vec<Port<Unowned>>,
    /// From an input to the master, in frames.
    inside: u32,
}

impl Latency {
    /// No inputs yet.
    pub fn new(outputs: Vec<Port<Unowned>>) -> Box<Latency> {
        Box::new(Latency(Mutex::new(Ways {
            inputs: Vec::new(),
            outputs,
            inside: 0,
        })))
    }

    /// Answers when JACK asks. Before the client is active.
    pub fn tell(&self, client: &Client) {
        let address = std::ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: the client is open; whoever owns it keeps the box that `self` is in for longer.
        // Without an answer JACK takes rigd to be without latency, which is no reason to fail.
        unsafe { jack_sys::jack_set_latency_callback(client.raw(), Some(answer), address) };
    }

    /// The ports are these from now on.
    pub fn set_inputs(&self, inputs: Vec<Port<Unowned>>) {
        lock(&self.0).inputs = inputs;
    }

    /// The engine takes so many frames; says whether that is new.
    pub fn set_inside(&self, frames: u32) -> bool {
        let before = std::mem::replace(&mut lock(&self.0).inside, frames);
        before != frames
    }

    /// Lets the server ask everybody anew.
    pub fn recompute(&self, client: &Client) {
        // SAFETY: the client is open. Fails when the server is gone, which is noticed elsewhere.
        unsafe { jack_sys::jack_recompute_total_latencies(client.raw()) };
    }

    /// Frames from the slowest microphone to rigd, and from rigd to the slowest loudspeaker.
    pub fn outside(&self) -> (u32, u32) {
        let ways = lock(&self.0);
        let (_, before) = span(&ways.inputs, LatencyType::Capture);
        let (_, behind) = span(&ways.outputs, LatencyType::Playback);
        (before, behind)
    }
}

/// The shortest and the longest, in frames.
fn span(ports: &[Port<Unowned>], mode: LatencyType) -> (u32, u32) {
    let ranges = ports.iter().map(|port| port.get_latency_range(mode));
    ranges
        .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
        .unwrap_or((0, 0))
}

/// JACK's question. It is asked on the client's own thread, not the realtime one.
unsafe extern "C" fn answer(mode: jack_latency_callback_mode_t, latency: *mut c_void) {
    // SAFETY: `tell` has handed this address over, and what is there outlives the client.
    let latency = unsafe { &*latency.cast::<Latency>() };
    let ways = lock(&latency.0);
    let (from, to, mode) = if mode == JackCaptureLatency {
        (&ways.inputs, &ways.outputs, LatencyType::Capture)
    } else {
        (&ways.outputs, &ways.inputs, LatencyType::Playback)
    };
    let (shortest, longest) = span(from, mode);
    let range = (
        shortest.saturating_add(ways.inside),
        longest.saturating_add(ways.inside),
    );
    for port in to {
        port.set_latency_range(mode, range);
    }
}
