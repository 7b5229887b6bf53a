//! Another sample rate for a whole channel.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Shortest filter, in frames at the lower of the two rates: keeps 20 kHz of 44.1 kHz.
const FILTER_FRAMES: usize = 1024;

/// `channel` at `rate_out_hz` instead of `rate_in_hz`: `round(frames · out / in)` frames, in time
/// with the original. What is not finite becomes silence, since one such sample would spread over
/// the length of the filter. Both rates above 0. Slow; control side.
pub fn resample(channel: Vec<f32>, rate_in_hz: u32, rate_out_hz: u32) -> Vec<f32> {
    if rate_in_hz == rate_out_hz || channel.is_empty() {
        return channel;
    }
    let (rate_in, rate_out) = (rate_in_hz as usize, rate_out_hz as usize);
    let scaled = channel.len() as u64 * u64::from(rate_out_hz) + u64::from(rate_in_hz / 2);
    let frames = (scaled / u64::from(rate_in_hz)) as usize;
    // A whole number of times the two rates meet, and an even one: the filter's centre then falls
    // on a frame at both rates, and its delay can be taken away exactly.
    let unit = rate_in / gcd(rate_in, rate_out);
    let least = FILTER_FRAMES.max((FILTER_FRAMES * rate_in).div_ceil(rate_out));
    let chunk = unit * least.div_ceil(unit).next_multiple_of(2);
    let window = WindowFunction::BlackmanHarris2;
    // Double precision, so that two processors agree to the last bit of nearly every sample.
    let mut resampler =
        Fft::<f64>::new_custom(rate_in, rate_out, chunk, 1, 1, window, FixedSync::Input)
            .expect("rates and chunk are above 0");
    let mut input = vec![vec![0.0; resampler.input_frames_max()]];
    let mut output = vec![vec![0.0; resampler.output_frames_max()]];
    let mut skip = resampler.output_delay();
    let mut done = Vec::with_capacity(frames);
    let mut rest = channel.iter();
    while done.len() < frames {
        let wanted = resampler.input_frames_next();
        for slot in &mut input[0][..wanted] {
            let sample = rest.next().copied().unwrap_or(0.0);
            *slot = if sample.is_finite() {
                f64::from(sample)
            } else {
                0.0
            };
        }
        let room = output[0].len();
        let from = SequentialSliceOfVecs::new(&input, 1, wanted).expect("wanted frames are there");
        let mut to =
            SequentialSliceOfVecs::new_mut(&mut output, 1, room).expect("as long as it is");
        let (_, made) = resampler
            .process_into_buffer(&from, &mut to, None)
            .expect("buffers have the lengths that the resampler asked for");
        let skipped = skip.min(made);
        skip -= skipped;
        let left = frames - done.len();
        let fresh = output[0][skipped..made].iter().take(left);
        done.extend(fresh.map(|sample| *sample as f32));
    }
    done
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
