//! What runs in JACK's process callback, and what JACK's other thread tells.

use std::array::from_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::mpsc;

use jack::{
    AudioIn, AudioOut, Client, ClientStatus, Control, Frames, NotificationHandler, Port, PortId,
    ProcessHandler, ProcessScope,
};
use rigd_rt::{CHANNELS_MAX, TRACK_PLACES};

use crate::backend::{Deck, realtime};
use crate::ring::{Giver, Taker};

/// Channels that the engine is handed: two for each place of a track.
pub const CHANNELS: usize = 2 * TRACK_PLACES;

/// What the callback is to do from its next block on.
pub enum Change {
    /// Here is the engine.
    Deck(Box<Deck>),
    /// A channel is fed by this port, or by none. The one before goes back.
    Port(usize, Option<Port<AudioIn>>),
}

/// Why the client is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// The server is gone, or has thrown the client out.
    Gone = 1,
    /// An engine runs at one rate.
    RateChanged = 2,
}

/// What the callbacks tell the control side, and the other way round.
pub struct Shared {
    /// Of the server, when the client was opened.
    pub sample_rate_hz: u32,
    /// Of the newest block.
    pub block_frames: AtomicU32,
    /// Late cycles of the whole graph that have not been counted yet.
    pub xruns: AtomicU32,
    /// The graph: ports, connections, order, latencies.
    pub has_changed: AtomicBool,
    /// The server runs faster than the clock.
    pub is_freewheeling: AtomicBool,
    end: AtomicU8,
}

impl Shared {
    /// Nothing has happened yet.
    pub fn new(sample_rate_hz: u32, block_frames: u32) -> Shared {
        Shared {
            sample_rate_hz,
            block_frames: AtomicU32::new(block_frames),
            xruns: AtomicU32::new(0),
            has_changed: AtomicBool::new(true),
            is_freewheeling: AtomicBool::new(false),
            end: AtomicU8::new(0),
        }
    }

    /// Whether, and why, it is over.
    pub fn end(&self) -> Option<End> {
        match self.end.load(Ordering::Acquire) {
            0 => None,
            2 => Some(End::RateChanged),
            _ => Some(End::Gone),
        }
    }

    fn end_with(&self, end: End) {
        self.end.store(end as u8, Ordering::Release);
    }
}

/// The process callback's own. All its memory is there from the start.
pub struct Stage {
    /// None yet, or none any more.
    deck: Option<Box<Deck>>,
    inputs: [Option<Port<AudioIn>>; CHANNELS],
    master: [Port<AudioOut>; 2],
    changes: Taker<Change>,
    /// Ports that are not used any more.
    old: Giver<Port<AudioIn>>,
    shared: Arc<Shared>,
    home: mpsc::Sender<Deck>,
    is_settled: bool,
}

impl Stage {
    /// Without an engine: silent.
    pub fn new(
        master: [Port<AudioOut>; 2],
        changes: Taker<Change>,
        old: Giver<Port<AudioIn>>,
        shared: Arc<Shared>,
        home: mpsc::Sender<Deck>,
    ) -> Stage {
        Stage {
            deck: None,
            inputs: from_fn(|_| None),
            master,
            changes,
            old,
            shared,
            home,
            is_settled: false,
        }
    }

    /// Takes in what has changed. Realtime thread; wait-free: nothing is dropped here.
    #[cfg_attr(feature = "rtsan", rtsan_standalone::nonblocking)]
    fn take_changes(&mut self) {
        while self.old.has_room() {
            let before = match self.changes.take() {
                None => return,
                Some(Change::Deck(deck)) => {
                    // Given once in the life of a stage.
                    self.deck = Some(deck);
                    None
                }
                Some(Change::Port(channel, port)) => match self.inputs.get_mut(channel) {
                    Some(place) => std::mem::replace(place, port),
                    None => port,
                },
            };
            if let Some(before) = before {
                let _ = self.old.give(before);
            }
        }
    }
}

impl ProcessHandler for Stage {
    /// One block. Realtime thread; wait-free, but for its very first call.
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        if !self.is_settled {
            self.is_settled = true;
            realtime::settle_in();
        }
        self.take_changes();
        let mut channels: [&[f32]; CHANNELS_MAX] = [&[]; CHANNELS_MAX];
        for (channel, port) in channels.iter_mut().zip(&self.inputs) {
            if let Some(port) = port {
                *channel = port.as_slice(scope);
            }
        }
        let [left, right] = &mut self.master;
        let (left, right) = (left.as_mut_slice(scope), right.as_mut_slice(scope));
        let Some(deck) = &mut self.deck else {
            left.fill(0.0);
            right.fill(0.0);
            return Control::Continue;
        };
        for _ in 0..self.shared.xruns.swap(0, Ordering::Relaxed) {
            deck.xrun();
        }
        deck.process(&channels[..CHANNELS], [left, right]);
        Control::Continue
    }

    fn buffer_size(&mut self, _: &Client, size: Frames) -> Control {
        // The engine takes blocks of any size.
        self.shared.block_frames.store(size, Ordering::Relaxed);
        self.shared.has_changed.store(true, Ordering::Release);
        Control::Continue
    }
}

impl Drop for Stage {
    /// After the client is closed, so never on its threads.
    fn drop(&mut self) {
        if let Some(deck) = self.deck.take() {
            let _ = self.home.send(*deck);
        }
    }
}

/// What JACK tells on a thread of its own, beside the sound.
pub struct Watcher {
    shared: Arc<Shared>,
    cpus: Vec<usize>,
}

impl Watcher {
    /// `cpus` are those that the audio thread may run on; none named means any.
    pub fn new(shared: Arc<Shared>, cpus: Vec<usize>) -> Watcher {
        Watcher { shared, cpus }
    }

    fn changed(&self) {
        self.shared.has_changed.store(true, Ordering::Release);
    }
}

impl NotificationHandler for Watcher {
    fn thread_init(&self, _: &Client) {
        realtime::pin(&self.cpus);
    }

    unsafe fn shutdown(&mut self, _: ClientStatus, _: &str) {
        self.shared.end_with(End::Gone);
    }

    fn freewheel(&mut self, _: &Client, is_freewheeling: bool) {
        let flag = &self.shared.is_freewheeling;
        flag.store(is_freewheeling, Ordering::Relaxed);
    }

    fn sample_rate(&mut self, _: &Client, rate_hz: Frames) -> Control {
        if rate_hz != self.shared.sample_rate_hz {
            self.shared.end_with(End::RateChanged);
        }
        Control::Continue
    }

    fn port_registration(&mut self, _: &Client, _: PortId, _: bool) {
        self.changed();
    }

    fn ports_connected(&mut self, _: &Client, _: PortId, _: PortId, _: bool) {
        self.changed();
    }

    fn graph_reorder(&mut self, _: &Client) -> Control {
        self.changed();
        Control::Continue
    }

    fn xrun(&mut self, _: &Client) -> Control {
        self.shared.xruns.fetch_add(1, Ordering::Relaxed);
        Control::Continue
    }
}
