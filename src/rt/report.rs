//! Reports: what the engine says to the control side. Fixed size, `Copy`, nothing to drop.

/// One statement of the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Report {
    /// Every group up to `group` is in effect; the newest of them since `frame`.
    /// Never lost: the engine takes no group for whose report there is no room.
    Applied {
        /// Group number of [`crate::Command::Group`].
        group: u64,
        /// The first frame that was computed with it.
        frame: u64,
    },
    /// A removed effect's slot and memory are clean and may be used again. Never lost.
    SlotFreed {
        /// Slot.
        slot: u8,
    },
    /// A removed track's place may be used again. Never lost.
    TrackFreed {
        /// Place.
        track: u8,
    },
    /// One meter window ([`METER_FRAMES`] frames) of one track, after fader and pan (of the master: what
    /// is heard). Dropped when nobody reads.
    Meter {
        /// Place.
        track: u8,
        /// Whether a sample of the input or of the output was at or above full scale.
        clipped: bool,
        /// Highest absolute sample, left and right, linear.
        peak: [f32; 2],
        /// Mean square, left and right, linear.
        mean_square: [f32; 2],
        /// Deepest gain reduction of any effect in the chain, in dB, 0 or more.
        reduction_db: f32,
    },
    /// End of a meter window: the engine is alive. Dropped when nobody reads.
    Pulse {
        /// Frames computed so far.
        frame: u64,
        /// Input samples so far that were NaN, infinite, denormal or beyond any use, and were mended.
        mended: u32,
    },
    /// A notch of a `feedback` effect is somewhere else, deeper, or gone. At the ends of meter windows;
    /// kept until there is room.
    Notch {
        /// Slot of the effect.
        slot: u8,
        /// Which of its notches.
        index: u8,
        /// Its middle, in Hz.
        freq_hz: f32,
        /// Its depth, in dB, 0 or more; 0: it is gone.
        depth_db: f32,
    },
    /// A `feedback` effect cut its microphone, or gives its gain back. As [`Report::Notch`].
    Howl {
        /// Slot of the effect.
        slot: u8,
        /// Whether the microphone is silent.
        muted: bool,
        /// Its gain (to be, while it is muted), in dB, 0 or less.
        gain_db: f32,
    },
    /// From the backend: blocks that came too late so far, and how much of the time budget the
    /// engine used since the last such report (0…1 and more).
    Load {
        /// Overruns and underruns since the backend started.
        xruns: u32,
        /// Mean share of the budget.
        mean: f32,
        /// Worst block's share.
        worst: f32,
    },
}

/// Frames in a meter window; windows lie on the grid of the absolute frame.
pub const METER_FRAMES: u64 = 512;

const _: () = assert!(core::mem::size_of::<Report>() <= 32);
const _: () = assert!(!core::mem::needs_drop::<Report>());

/// Where the engine writes reports to (a wait-free ring, or an array in a test). Realtime thread.
pub trait Outbox {
    /// Reports that certainly fit now.
    fn room(&self) -> usize;
    /// Hands over a report; `false` when there was no room.
    fn push(&mut self, report: Report) -> bool;
}
