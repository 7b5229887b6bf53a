//! One track: where its sound comes from, its fader, where it goes, and its meters.

use crate::command::{NO_CHANNEL, TrackKind};
use crate::ramp::Ramp;
use crate::tone::Tone;
use crate::{Frame, SENDS_MAX, SLOTS};
use heapless::Vec;

/// Sends that are heard or still fading out.
const SENDS: usize = 2 * SENDS_MAX;
/// Effects of one chain that are heard or still fading out.
pub const CHAIN: usize = 24;
/// 60 dB over full scale: nothing that sounds is beyond it, and what is there is no sound.
const LOUDEST: f32 = 1000.0;
/// 300 dB under full scale: what is below it is silence to anybody. Let through, it would become
/// denormal on its way, and one mic of it would cost as much as four rigs.
const QUIETEST: f32 = 1e-15;
/// Full scale.
const FULL: f32 = 1.0;

const _: () = assert!(CHAIN <= SLOTS);

/// Where a track is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nobody's.
    Free,
    /// Heard.
    Live,
    /// Fading out.
    Leaving,
    /// Not heard; its effects are being cleared.
    Clearing,
}

/// A source of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub left: u8,
    pub right: u8,
    pub stereo: bool,
}

/// A way to a bus.
#[derive(Clone, Copy)]
pub struct Send {
    pub bus: u8,
    /// As it was set.
    pub level: f32,
    /// As it is heard: with solo and panic.
    pub gain: Ramp,
}

/// One window's measurements.
#[derive(Clone, Copy, Default)]
pub struct Meter {
    pub peak: [f32; 2],
    pub square: [f32; 2],
    pub clipped: bool,
}

/// See the module.
pub struct Track {
    pub life: Life,
    pub kind: TrackKind,
    /// Has computed nothing yet: what is set now is not ramped.
    pub fresh: bool,
    pub source: Source,
    pub next_source: Option<Source>,
    pub source_fade: Ramp,
    pub input_gain: Ramp,
    pub volume: f32,
    pub pan: f32,
    pub mute: bool,
    pub solo: bool,
    /// Fader, pan and mute in one, left and right.
    pub gain: [Ramp; 2],
    /// Solo: whether it is heard besides its sends.
    pub direct: Ramp,
    /// In when it comes, out when it goes.
    pub fade: Ramp,
    pub sends: Vec<Send, SENDS>,
    /// As it sounds: those that leave are still in it.
    pub chain: Vec<u8, CHAIN>,
    /// As the control side knows it.
    pub order: Vec<u8, CHAIN>,
    /// Whether `chain` has yet to follow `order`.
    pub unsettled: bool,
    pub meter: Meter,
    pub tone: Tone,
}

impl Track {
    /// A free place.
    pub fn free() -> Track {
        Track {
            life: Life::Free,
            kind: TrackKind::Mic,
            fresh: true,
            source: Source {
                left: NO_CHANNEL,
                right: NO_CHANNEL,
                stereo: false,
            },
            next_source: None,
            source_fade: Ramp::new(1.0),
            input_gain: Ramp::new(1.0),
            volume: 1.0,
            pan: 0.0,
            mute: false,
            solo: false,
            gain: [Ramp::new(0.0); 2],
            direct: Ramp::new(1.0),
            fade: Ramp::new(1.0),
            sends: Vec::new(),
            chain: Vec::new(),
            order: Vec::new(),
            unsettled: false,
            meter: Meter::new(),
            tone: Tone::silent(),
        }
    }

    /// Whether it is heard.
    pub fn sounds(&self) -> bool {
        matches!(self.life, Life::Live | Life::Leaving)
    }

    /// Reads its input; says how many samples had to be mended.
    pub fn read(&mut self, frames: &mut [Frame], inputs: &[&[f32]], from: usize) -> u32 {
        let channel = |index: u8| {
            inputs
                .get(usize::from(index))
                .and_then(|input| input.get(from..))
                .unwrap_or(&[])
        };
        let left = channel(self.source.left);
        let right = if self.source.right == NO_CHANNEL {
            left
        } else {
            channel(self.source.right)
        };
        let mut mended = 0;
        for (index, frame) in frames.iter_mut().enumerate() {
            let gain = self.input_gain.tick() * self.source_fade.tick();
            let raw =
                [left.get(index), right.get(index)].map(|sample| sample.copied().unwrap_or(0.0));
            for (to, sample) in frame.iter_mut().zip(raw) {
                let (sample, is_mended) = mend(sample);
                mended += u32::from(is_mended);
                *to = sample * gain;
                self.meter.clipped |= *to >= FULL || *to <= -FULL;
            }
        }
        // A mono input is one channel, however often it is read.
        if [NO_CHANNEL, self.source.left].contains(&self.source.right) {
            mended / 2
        } else {
            mended
        }
    }

    /// Fader, pan and fade.
    pub fn fade(&mut self, frames: &mut [Frame]) {
        let [left, right] = &mut self.gain;
        for frame in frames {
            let fade = self.fade.tick();
            frame[0] *= left.tick() * fade;
            frame[1] *= right.tick() * fade;
        }
    }

    /// Measures what is heard of it.
    pub fn measure(&mut self, frames: &[Frame]) {
        let meter = &mut self.meter;
        for frame in frames {
            for side in 0..2 {
                let sample = frame[side];
                let size = if sample < 0.0 { -sample } else { sample };
                if size > meter.peak[side] {
                    meter.peak[side] = size;
                }
                meter.square[side] += sample * sample;
                meter.clipped |= size > FULL;
            }
        }
    }

    /// Fader, pan and mute as gains left and right.
    pub fn gains(&self) -> [f32; 2] {
        if self.mute {
            return [0.0; 2];
        }
        let [left, right] = if self.source.stereo {
            balance(self.pan)
        } else {
            constant_power(self.pan)
        };
        [self.volume * left, self.volume * right]
    }
}

impl Meter {
    /// Nothing yet.
    pub const fn new() -> Meter {
        Meter {
            peak: [0.0; 2],
            square: [0.0; 2],
            clipped: false,
        }
    }
}

/// A sample that can be computed with, and whether it had to be changed.
fn mend(sample: f32) -> (f32, bool) {
    let is_sound = sample == 0.0 || (sample.is_normal() && (-LOUDEST..=LOUDEST).contains(&sample));
    if is_sound && !(-QUIETEST..=QUIETEST).contains(&sample) {
        return (sample, false);
    }
    (0.0, !is_sound)
}

/// Constant power: −3 dB each at the centre.
fn constant_power(pan: f32) -> [f32; 2] {
    if pan == 0.0 {
        return [core::f32::consts::FRAC_1_SQRT_2; 2];
    }
    let angle = (pan + 1.0) * core::f32::consts::FRAC_PI_4;
    [libm::cosf(angle), libm::sinf(angle)]
}

/// Unity at the centre; the far side is turned down.
fn balance(pan: f32) -> [f32; 2] {
    if pan > 0.0 {
        [1.0 - pan, 1.0]
    } else {
        [1.0, 1.0 + pan]
    }
}
