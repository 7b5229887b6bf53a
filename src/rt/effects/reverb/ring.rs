//! Delay lines as rings, read and written a span at a time.

use crate::GRID;

/// As good as silence; denormals never come near.
const SILENCE: f32 = 1e-15;

/// One signal for the time of a span.
pub type Span = [f32; GRID];

/// Copies a ring's samples from a place on.
#[inline]
pub fn read(ring: &[f32], at: usize, to: &mut [f32]) {
    let end = ring.len().saturating_sub(at).min(to.len());
    if let Some((first, second)) = to.split_at_mut_checked(end) {
        let from = ring.get(at..).unwrap_or_default();
        first
            .iter_mut()
            .zip(from)
            .for_each(|(to, from)| *to = *from);
        second
            .iter_mut()
            .zip(ring)
            .for_each(|(to, from)| *to = *from);
    }
}

/// Copies samples into a ring, from a place on.
#[inline]
pub fn write(ring: &mut [f32], at: usize, from: &[f32]) {
    let end = ring.len().saturating_sub(at).min(from.len());
    if let Some((first, second)) = from.split_at_checked(end) {
        let to = ring.get_mut(at..).unwrap_or_default();
        to.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        let to = ring.iter_mut();
        to.zip(second).for_each(|(to, from)| *to = *from);
    }
}

/// A place in a ring, so many samples on.
#[inline]
pub fn onward(at: usize, samples: usize, len: usize) -> usize {
    let at = at + samples;
    if at >= len { at - len } else { at }
}

/// Without what is as good as silence.
#[inline]
pub fn flushed(sample: f32) -> f32 {
    if (-SILENCE..=SILENCE).contains(&sample) {
        0.0
    } else {
        sample
    }
}
