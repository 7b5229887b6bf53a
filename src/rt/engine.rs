//! One block: groups take effect, spans go through tracks, buses and master, meters are read.

use crate::command::{Command, Inbox, PanicMode, TrackKind};
use crate::decibel;
use crate::effects::feedback::Twiddles;
use crate::effects::limiter::TruePeak;
use crate::mixer::Mixer;
use crate::ramp::Ramp;
use crate::report::{METER_FRAMES, Outbox, Report};
use crate::track::Meter;
use crate::{Frame, GRID, TRACK_PLACES, Tables};

/// Commands that one block takes in, unless a group in a file is due at its frame: the bound of a
/// block's work.
const COMMANDS_PER_BLOCK: u32 = 4096;
/// Room that is kept in the outbox for what must not be lost.
const RESERVE: usize = 256;
/// A panic is silent after so many frames.
const PANIC_FRAMES: u32 = 64;
/// And sound is back after so many ms.
const RESTORE_MS: u32 = 20;
/// On a device, sound comes up within so many ms.
const FADE_IN_MS: u32 = 500;

/// The realtime engine.
pub struct Engine {
    frame: u64,
    rate_hz: u32,
    is_running: bool,
    pool: &'static mut [f32],
    tables: Tables,
    mixer: Mixer,
    /// What each bus, and the master, has been sent in this span.
    sums: [[Frame; GRID]; TRACK_PLACES],
    /// What side chains hear: each track's peak, behind its fader, in the last cell of the grid and so
    /// far in this one.
    keys: [f32; TRACK_PLACES],
    peaks: [f32; TRACK_PLACES],
    /// The last thing that sound goes through: `rig.panic`'s mute.
    safety: Ramp,
    mended: u32,
}

impl Engine {
    /// An engine at `sample_rate_hz` (8000…192000) whose first frame has the number `first_frame`.
    /// `pool` is its delay memory and must be all zeros. Control side.
    pub fn new(sample_rate_hz: u32, first_frame: u64, pool: &'static mut [f32]) -> Engine {
        Engine {
            frame: first_frame,
            rate_hz: sample_rate_hz,
            is_running: false,
            pool,
            tables: Tables {
                true_peak: TruePeak::new(sample_rate_hz),
                twiddles: Twiddles::new(),
            },
            mixer: Mixer::new(sample_rate_hz),
            sums: [[[0.0; 2]; GRID]; TRACK_PLACES],
            keys: [0.0; TRACK_PLACES],
            peaks: [0.0; TRACK_PLACES],
            safety: Ramp::new(1.0),
            mended: 0,
        }
    }

    /// Lets the sound begin silent and come up within half a second, as behind a device's first
    /// blocks it must: loudspeakers are on, and nobody has a hand at the fader. Control side, before
    /// the first frame.
    pub fn fade_in(&mut self) {
        self.safety.snap(0.0);
        self.safety.go(1.0, self.rate_hz / 1000 * FADE_IN_MS);
    }

    /// Gives the memory back, for the next engine (which wants it zeroed). Control side.
    pub fn into_pool(self) -> &'static mut [f32] {
        self.pool
    }

    /// The number of the next frame. Any thread that has the engine.
    pub fn frame(&self) -> u64 {
        self.frame
    }

    /// Computes one block of `output[0].len()` frames (0: only takes commands in). `inputs` are the
    /// backend's channels; a missing or short one is silence. Realtime thread; wait-free.
    #[inline(never)]
    pub fn process(
        &mut self,
        inputs: &[&[f32]],
        output: [&mut [f32]; 2],
        inbox: &mut impl Inbox,
        outbox: &mut impl Outbox,
    ) {
        let [left, right] = output;
        let total = left.len().min(right.len());
        let mut done = 0;
        let mut taken = 0;
        self.take_groups(inbox, outbox, &mut taken);
        while done < total {
            let mut span = (GRID - (self.frame % GRID as u64) as usize).min(total - done);
            if let Some(Command::Group { at, .. }) = inbox.peek()
                && at > self.frame
            {
                span = span.min(usize::try_from(at - self.frame).unwrap_or(usize::MAX));
            }
            let frames = self.span(inputs, done, span, outbox);
            let here = left.iter_mut().zip(right.iter_mut()).skip(done);
            for ((left, right), frame) in here.zip(frames.iter().take(span)) {
                (*left, *right) = (frame[0], frame[1]);
            }
            done += span;
            if let Some(Command::Group { at, .. }) = inbox.peek()
                && at == self.frame
                && done < total
            {
                self.take_groups(inbox, outbox, &mut taken);
            }
        }
    }

    /// Lets every group that is due take effect at this frame.
    fn take_groups(&mut self, inbox: &mut impl Inbox, outbox: &mut impl Outbox, taken: &mut u32) {
        let mut newest = None;
        while let Some(Command::Group { id, at, len }) = inbox.peek() {
            let is_exact = at != 0 && at == self.frame;
            if at > self.frame
                || outbox.room() < RESERVE
                || (*taken >= COMMANDS_PER_BLOCK && !is_exact)
            {
                break;
            }
            inbox.pop();
            for _ in 0..len {
                if let Some(command) = inbox.pop() {
                    self.mixer.apply(command, self.is_running);
                }
            }
            *taken = taken.saturating_add(len + 1);
            newest = Some(id);
        }
        if let Some(group) = newest {
            self.mixer.settle(self.is_running);
            self.follow_panic();
            outbox.push(Report::Applied {
                group,
                frame: self.frame,
            });
        }
    }

    fn follow_panic(&mut self) {
        let goal = if self.mixer.panic == Some(PanicMode::Mute) {
            0.0
        } else {
            1.0
        };
        if self.safety.target() == goal {
            return;
        }
        let samples = match goal {
            _ if !self.is_running => 0,
            0.0 => PANIC_FRAMES,
            _ => self.rate_hz / 1000 * RESTORE_MS,
        };
        self.safety.go(goal, samples);
    }

    /// Computes a span that crosses neither the grid nor a group.
    fn span(
        &mut self,
        inputs: &[&[f32]],
        from: usize,
        frames: usize,
        outbox: &mut impl Outbox,
    ) -> [Frame; GRID] {
        let on_grid = self.frame.is_multiple_of(GRID as u64);
        if on_grid {
            self.mixer.sweep();
            // Here and not at the block's end: what is free decides what may be added.
            self.mixer.report_freed(outbox);
            self.mixer.settle(self.is_running);
            self.mixer.clear(GRID, self.pool);
            self.keys = core::mem::replace(&mut self.peaks, [0.0; TRACK_PLACES]);
        }
        self.is_running = true;
        for sum in &mut self.sums {
            *sum = [[0.0; 2]; GRID];
        }
        let mut master = [[0.0; 2]; GRID];
        for kind in [TrackKind::Mic, TrackKind::Stem, TrackKind::Bus] {
            for place in 0..TRACK_PLACES {
                self.track(place, kind, inputs, from, frames, on_grid, &mut master);
            }
        }
        let mut out = [[0.0; 2]; GRID];
        for place in 0..TRACK_PLACES {
            self.master(place, frames, on_grid, &master, &mut out);
        }
        for frame in out.iter_mut().take(frames) {
            let safety = self.safety.tick();
            *frame = frame.map(|sample| sample * safety);
        }
        // The master's meter shows what is heard.
        let masters = self
            .mixer
            .tracks
            .iter_mut()
            .filter(|track| track.kind == TrackKind::Master && track.sounds());
        for track in masters {
            track.measure(out.get(..frames).unwrap_or_default());
        }
        self.frame += frames as u64;
        if self.frame.is_multiple_of(METER_FRAMES) {
            self.report_meters(outbox);
        }
        out
    }

    /// A mic, a stem or a bus: input, chain, fader, sends, sum.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of the span, split off for its length"
    )]
    fn track(
        &mut self,
        place: usize,
        kind: TrackKind,
        inputs: &[&[f32]],
        from: usize,
        frames: usize,
        on_grid: bool,
        master: &mut [Frame; GRID],
    ) {
        let Mixer { tracks, slots, .. } = &mut self.mixer;
        let Some(track) = tracks
            .get_mut(place)
            .filter(|track| track.kind == kind && track.sounds())
        else {
            return;
        };
        let mut buffer = [[0.0; 2]; GRID];
        let Some(span) = buffer.get_mut(..frames) else {
            return;
        };
        if kind == TrackKind::Bus {
            for (frame, sum) in span
                .iter_mut()
                .zip(self.sums.get(place).into_iter().flatten())
            {
                let gain = track.input_gain.tick();
                *frame = sum.map(|sample| sample * gain);
            }
        } else {
            self.mended = self.mended.wrapping_add(track.read(span, inputs, from));
        }
        track.fresh = false;
        for number in &track.chain {
            if let Some(slot) = slots.get_mut(usize::from(*number)) {
                slot.process(span, self.pool, &self.tables, &self.keys, on_grid);
            }
        }
        if track.tone.is_on() {
            track.tone.add(span);
        }
        track.fade(span);
        track.measure(span);
        if let Some(peak) = self.peaks.get_mut(place) {
            for frame in span.iter() {
                let here = decibel::peak(*frame);
                if here > *peak {
                    *peak = here;
                }
            }
        }
        for send in &mut track.sends {
            let Some(sum) = self.sums.get_mut(usize::from(send.bus)) else {
                continue;
            };
            for (sum, frame) in sum.iter_mut().zip(span.iter()) {
                let gain = send.gain.tick();
                for side in 0..2 {
                    sum[side] += frame[side] * gain;
                }
            }
        }
        for (sum, frame) in master.iter_mut().zip(span.iter()) {
            let direct = track.direct.tick();
            for side in 0..2 {
                sum[side] += frame[side] * direct;
            }
        }
    }

    /// The master: chain, fader, and its limiter behind everything.
    fn master(
        &mut self,
        place: usize,
        frames: usize,
        on_grid: bool,
        sum: &[Frame; GRID],
        out: &mut [Frame; GRID],
    ) {
        let Mixer { tracks, slots, .. } = &mut self.mixer;
        let is_master =
            |track: &&mut crate::track::Track| track.kind == TrackKind::Master && track.sounds();
        let Some(track) = tracks.get_mut(place).filter(is_master) else {
            return;
        };
        let Some(span) = out.get_mut(..frames) else {
            return;
        };
        for (frame, sum) in span.iter_mut().zip(sum) {
            let gain = track.input_gain.tick();
            *frame = sum.map(|sample| sample * gain);
        }
        if track.tone.is_on() {
            track.tone.add(span);
        }
        track.fresh = false;
        let is_limiter = |number: &u8| {
            slots
                .get(usize::from(*number))
                .is_some_and(|slot| slot.effect.is_limiter())
        };
        // Whatever the fader says, the limiter has the last word.
        let last = track
            .chain
            .len()
            .checked_sub(1)
            .filter(|_| track.chain.last().is_some_and(is_limiter));
        if last.is_none() && track.chain.is_empty() {
            track.fade(span);
        }
        let end = track.chain.len();
        for index in 0..end {
            if last == Some(index) {
                track.fade(span);
            }
            let number = track.chain.get(index).copied().unwrap_or(u8::MAX);
            if let Some(slot) = slots.get_mut(usize::from(number)) {
                slot.process(span, self.pool, &self.tables, &self.keys, on_grid);
            }
            if last.is_none() && index + 1 == end {
                track.fade(span);
            }
        }
    }

    fn report_meters(&mut self, outbox: &mut impl Outbox) {
        for (place, track) in self.mixer.tracks.iter_mut().enumerate() {
            let meter = core::mem::replace(&mut track.meter, Meter::new());
            if !track.sounds() {
                continue;
            }
            let mut least = 1.0;
            for number in &track.chain {
                let Some(slot) = self.mixer.slots.get_mut(usize::from(*number)) else {
                    continue;
                };
                let gain = slot.effect.take_reduction();
                if gain < least {
                    least = gain;
                }
                if slot.take_poisoned() {
                    self.mended = self.mended.wrapping_add(1);
                }
                while outbox.room() > RESERVE
                    && let Some(news) = slot.effect.take_news(*number)
                {
                    outbox.push(news);
                }
            }
            if outbox.room() > RESERVE {
                let mean = 1.0 / METER_FRAMES as f32;
                outbox.push(Report::Meter {
                    track: place as u8,
                    clipped: meter.clipped,
                    peak: meter.peak,
                    mean_square: meter.square.map(|square| square * mean),
                    reduction_db: if least < 1.0 {
                        -20.0 * libm::log10f(least)
                    } else {
                        0.0
                    },
                });
            }
        }
        if outbox.room() > RESERVE {
            outbox.push(Report::Pulse {
                frame: self.frame,
                mended: self.mended,
            });
        }
    }
}
