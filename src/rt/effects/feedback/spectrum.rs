//! The power spectrum of what went by, computed a little in each grid cell.
//!
//! A fast Fourier transform of real samples by one of half as many complex points (J. Cooley, J. Tukey, "An
//! Algorithm for the Machine Calculation of Complex Fourier Series", Mathematics of Computation 19, 1965:
//! radix 2, decimation in time), under a Hann window of which three quarters overlap. A transform is a
//! list of steps (gathering, the stages, powers), and so many of them are done in a cell that it ends
//! before the next one begins: no cell costs much more than another.

use core::f64::consts::PI;

use crate::{Frame, GRID};

/// Samples in a window at the highest rate.
const POINTS_MAX: usize = 8192;
/// Below −120 dB it is silence, and its square would come near denormals.
const SILENCE: f32 = 1e-6;
/// The same for what comes out.
const NO_POWER: f32 = 1e-20;
/// Steps besides the stages from the third on: gathering, the first two stages, powers.
const STEPS_BESIDES: usize = 3;

/// Samples in a window at a rate in Hz: some 32 to 64 ms, a power of two.
pub fn points(rate_hz: u32) -> usize {
    (rate_hz as usize / 32)
        .next_power_of_two()
        .clamp(256, POINTS_MAX)
}

/// Samples of memory for windows of so many samples.
pub const fn memory(points: usize) -> usize {
    points / 2 * 5
}

/// e^(−πij/h) at index h + j, for every power of two h up to half of [`POINTS_MAX`]: the factors of
/// all stages of all lengths, each stage's side by side.
pub struct Twiddles {
    re: [f32; POINTS_MAX],
    im: [f32; POINTS_MAX],
}

impl Twiddles {
    /// Computes them. Control side.
    pub fn new() -> Twiddles {
        let mut twiddles = Twiddles {
            re: [0.0; POINTS_MAX],
            im: [0.0; POINTS_MAX],
        };
        let places = twiddles.re.iter_mut().zip(&mut twiddles.im);
        for (index, (re, im)) in places.enumerate().skip(1) {
            let half = 1usize << index.ilog2();
            let angle = PI * (index - half) as f64 / half as f64;
            (*re, *im) = (libm::cos(angle) as f32, -libm::sin(angle) as f32);
            // Not quite nothing at a quarter turn.
            if 2 * (index - half) == half {
                *re = 0.0;
            }
        }
        twiddles
    }

    fn stage(&self, half: usize) -> (&[f32], &[f32]) {
        let part = |table| <[f32]>::get(table, half..2 * half).unwrap_or_default();
        (part(&self.re), part(&self.im))
    }
}

impl Default for Twiddles {
    fn default() -> Twiddles {
        Twiddles::new()
    }
}

/// Its memory, in parts.
struct Parts<'a> {
    /// The newest samples.
    ring: &'a mut [f32],
    re: &'a mut [f32],
    im: &'a mut [f32],
    /// A value for each bin from 0 Hz to below half the rate; a sine of full scale gives 1.
    power: &'a mut [f32],
}

fn parts(memory: &mut [f32], points: usize) -> Option<Parts<'_>> {
    let half = points / 2;
    let (ring, rest) = memory.split_at_mut_checked(points)?;
    let (re, rest) = rest.split_at_mut_checked(half)?;
    let (im, rest) = rest.split_at_mut_checked(half)?;
    let power = rest.get_mut(..half)?;
    Some(Parts {
        ring,
        re,
        im,
        power,
    })
}

/// See the module.
pub struct Spectrum {
    points: usize,
    /// Where the next sample goes: the oldest one is there.
    at: usize,
    /// The next step of the transform that is under way.
    step: usize,
    steps: usize,
    steps_a_cell: usize,
    /// Cells until a new one begins.
    cells: usize,
    cells_a_hop: usize,
}

impl Spectrum {
    /// At a rate in Hz.
    pub fn new(rate_hz: u32) -> Spectrum {
        let points = points(rate_hz);
        let steps = STEPS_BESIDES + (points / 2).trailing_zeros() as usize - 2;
        let cells_a_hop = (points / 4 / GRID).max(1);
        Spectrum {
            points,
            at: 0,
            step: steps,
            steps,
            steps_a_cell: steps.div_ceil(cells_a_hop),
            cells: cells_a_hop,
            cells_a_hop,
        }
    }

    /// Samples in a window.
    pub fn points(&self) -> usize {
        self.points
    }

    /// Grid cells from one spectrum to the next.
    pub fn cells_a_hop(&self) -> usize {
        self.cells_a_hop
    }

    /// Takes samples in: both sides in one.
    pub fn write(&mut self, memory: &mut [f32], frames: &[Frame]) {
        let Some(ring) = memory.get_mut(..self.points) else {
            return;
        };
        for [left, right] in frames {
            let sample = 0.5 * (left + right);
            let size = if sample < 0.0 { -sample } else { sample };
            if let Some(place) = ring.get_mut(self.at) {
                *place = if size > SILENCE { sample } else { 0.0 };
            }
            self.at = (self.at + 1) & (self.points - 1);
        }
    }

    /// On the grid: a cell's share of the work. Gives the powers when a spectrum is complete.
    pub fn work<'a>(
        &mut self,
        memory: &'a mut [f32],
        twiddles: &Twiddles,
    ) -> Option<&'a mut [f32]> {
        self.cells = self.cells.saturating_sub(1);
        if self.cells == 0 {
            self.cells = self.cells_a_hop;
            self.step = 0;
        } else if self.step >= self.steps {
            return None;
        }
        let mut parts = parts(memory, self.points)?;
        for _ in 0..self.steps_a_cell {
            self.one_step(&mut parts, twiddles);
            self.step += 1;
            if self.step == self.steps {
                return Some(parts.power);
            }
        }
        None
    }

    fn one_step(&self, parts: &mut Parts<'_>, twiddles: &Twiddles) {
        match self.step {
            0 => self.gather(parts, twiddles),
            1 => first_two_stages(parts.re, parts.im),
            step if step + 1 < self.steps => stage(parts.re, parts.im, 1 << step, twiddles),
            _ => powers(parts, twiddles),
        }
    }

    /// Window, even samples to the real and odd ones to the imaginary side, places with their bits
    /// reversed.
    fn gather(&self, parts: &mut Parts<'_>, twiddles: &Twiddles) {
        let half = self.points / 2;
        let mask = self.points - 1;
        let shift = half.leading_zeros() + 1;
        let (cos, _) = twiddles.stage(half);
        let sample = |index: usize| {
            let turn = cos.get(index & (half - 1)).copied().unwrap_or(0.0);
            let turn = if index < half { turn } else { -turn };
            let sample = parts.ring.get((self.at + index) & mask);
            sample.copied().unwrap_or(0.0) * (0.5 - 0.5 * turn)
        };
        for (place, (re, im)) in parts.re.iter_mut().zip(parts.im.iter_mut()).enumerate() {
            let pair = 2 * (place.reverse_bits() >> (shift & (usize::BITS - 1)));
            (*re, *im) = (sample(pair), sample(pair + 1));
        }
    }
}

/// Stages with factors of 1 and −i, in one pass.
fn first_two_stages(re: &mut [f32], im: &mut [f32]) {
    for (re, im) in re.chunks_exact_mut(4).zip(im.chunks_exact_mut(4)) {
        if let ([r0, r1, r2, r3], [i0, i1, i2, i3]) = (re, im) {
            let (ar, ai, br, bi) = (*r0 + *r1, *i0 + *i1, *r0 - *r1, *i0 - *i1);
            let (cr, ci, dr, di) = (*r2 + *r3, *i2 + *i3, *r2 - *r3, *i2 - *i3);
            (*r0, *i0, *r2, *i2) = (ar + cr, ai + ci, ar - cr, ai - ci);
            (*r1, *i1, *r3, *i3) = (br + di, bi - dr, br - di, bi + dr);
        }
    }
}

/// Butterflies between halves of `half` points.
fn stage(re: &mut [f32], im: &mut [f32], half: usize, twiddles: &Twiddles) {
    let (cos, sin) = twiddles.stage(half);
    let whole = (2 * half).max(1);
    for (re, im) in re.chunks_exact_mut(whole).zip(im.chunks_exact_mut(whole)) {
        let (Some((ar, br)), Some((ai, bi))) =
            (re.split_at_mut_checked(half), im.split_at_mut_checked(half))
        else {
            return;
        };
        let upper = ar.iter_mut().zip(ai.iter_mut());
        let lower = br.iter_mut().zip(bi.iter_mut());
        for (((ar, ai), (br, bi)), (cos, sin)) in upper.zip(lower).zip(cos.iter().zip(sin)) {
            let (tr, ti) = (*br * cos - *bi * sin, *br * sin + *bi * cos);
            (*br, *bi) = (*ar - tr, *ai - ti);
            (*ar, *ai) = (*ar + tr, *ai + ti);
        }
    }
}

/// The spectrum of the real samples out of that of the complex ones, squared.
fn powers(parts: &mut Parts<'_>, twiddles: &Twiddles) {
    let half = parts.power.len();
    let (cos, sin) = twiddles.stage(half);
    // The window takes half of the amplitude, and a sine has two sides.
    let scale = 4.0 / (half as f32 * half as f32);
    let square = |re: f32, im: f32| {
        let power = (re * re + im * im) * scale;
        if power > NO_POWER { power } else { 0.0 }
    };
    if let (Some(power), Some(re), Some(im)) =
        (parts.power.first_mut(), parts.re.first(), parts.im.first())
    {
        *power = square(0.5 * (re + im), 0.0);
    }
    // Bins k and half − k come of the same two points.
    let ahead = parts.re.iter().zip(parts.im.iter()).skip(1);
    let back = parts.re.iter().zip(parts.im.iter()).rev();
    let turns = cos.iter().zip(sin).skip(1);
    let bins = parts.power.iter_mut().skip(1);
    for (((power, (ar, ai)), (br, bi)), (cos, sin)) in bins.zip(ahead).zip(back).zip(turns) {
        let (er, ei) = (0.5 * (ar + br), 0.5 * (ai - bi));
        let (or, oi) = (0.5 * (ai + bi), 0.5 * (br - ar));
        *power = square(er + or * cos - oi * sin, ei + or * sin + oi * cos);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// The spectrum of these samples, which are followed by nothing.
    fn spectrum(rate_hz: u32, samples: &[f32]) -> Vec<f32> {
        let mut spectrum = Spectrum::new(rate_hz);
        let twiddles = Twiddles::new();
        let mut memory = vec![0.0; memory(points(rate_hz))];
        for sample in samples {
            spectrum.write(&mut memory, &[[*sample; 2]]);
        }
        // The window is taken in the first cell.
        spectrum.cells = 1;
        loop {
            if let Some(power) = spectrum.work(&mut memory, &twiddles) {
                return power.to_vec();
            }
        }
    }

    #[test]
    fn it_is_the_discrete_fourier_transform() {
        for rate_hz in [8_000, 48_000, 192_000] {
            let points = points(rate_hz);
            let mut state = 1u32;
            let samples: Vec<f32> = (0..points)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 24) as f32 - 0.5
                })
                .collect();
            let power = spectrum(rate_hz, &samples);
            for bin in [
                0,
                1,
                2,
                3,
                points / 8,
                points / 4,
                points / 3,
                points / 2 - 1,
            ] {
                let (mut re, mut im) = (0.0, 0.0);
                for (n, sample) in samples.iter().enumerate() {
                    let place = n as f64 / points as f64;
                    let sample = f64::from(*sample) * (0.5 - 0.5 * libm::cos(2.0 * PI * place));
                    let turn = 2.0 * PI * ((bin * n) % points) as f64 / points as f64;
                    re += sample * libm::cos(turn);
                    im -= sample * libm::sin(turn);
                }
                let scale = if bin == 0 { 2.0 } else { 4.0 } / points as f64;
                let wanted = (re * re + im * im) * scale * scale;
                let got = f64::from(power[bin]);
                assert!(
                    (got - wanted).abs() < 1e-4 * wanted + 1e-9,
                    "{rate_hz} Hz, bin {bin}: {got} for {wanted}"
                );
            }
        }
    }

    #[test]
    fn a_sine_of_full_scale_gives_1() {
        for rate_hz in [8_000, 44_100, 48_000, 96_000, 192_000] {
            let points = points(rate_hz);
            assert!((0.03..0.065).contains(&(points as f64 / f64::from(rate_hz))));
            let bin = points / 16;
            let samples: Vec<f32> = (0..points)
                .map(|n| libm::sin(2.0 * PI * (bin * n) as f64 / points as f64) as f32)
                .collect();
            let power = spectrum(rate_hz, &samples);
            assert!((power[bin] - 1.0).abs() < 1e-4, "{}", power[bin]);
            assert!((power[bin + 1] - 0.25).abs() < 1e-4);
            assert!(power[bin + 2] < 1e-9 && power[bin / 2] < 1e-9);
        }
    }
}
