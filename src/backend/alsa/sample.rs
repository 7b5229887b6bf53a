//! A card's samples and the engine's.
//!
//! Full scale is ±1: a whole number of `n` bits stands for itself over 2^(n−1). To the card it is rounded
//! to the nearest, ties to even, and held at full scale. There is no dither: what rounding adds at 16 bits lies
//! at −98 dB, far below any microphone's own noise, and the same sound gives the same bits.

use alsa::pcm::Format;

/// What rigd speaks, the best first.
pub const FORMATS: [Format; 5] = [
    Format::FloatLE,
    Format::S32LE,
    Format::S243LE,
    Format::S24LE,
    Format::S16LE,
];

/// How frames lie in memory: channels beside each other, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    coding: Coding,
    /// In a frame; at least one.
    pub channels: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Float,
    S32,
    /// In the lower three of four bytes.
    S24,
    /// In three bytes.
    S243,
    S16,
}

const FULL_16: f32 = 32_768.0;
const FULL_24: f32 = 8_388_608.0;
/// In double precision, where 32 bits are exact.
const FULL_32: f64 = 2_147_483_648.0;

impl Layout {
    /// `None` for a format that is not in [`FORMATS`].
    pub fn new(format: Format, channels: usize) -> Option<Layout> {
        let coding = match format {
            Format::FloatLE => Coding::Float,
            Format::S32LE => Coding::S32,
            Format::S24LE => Coding::S24,
            Format::S243LE => Coding::S243,
            Format::S16LE => Coding::S16,
            _ => return None,
        };
        (channels > 0).then_some(Layout { coding, channels })
    }

    /// Bytes of one frame.
    pub fn frame_bytes(self) -> usize {
        self.channels * self.sample_bytes()
    }

    fn sample_bytes(self) -> usize {
        match self.coding {
            Coding::Float | Coding::S32 | Coding::S24 => 4,
            Coding::S243 => 3,
            Coding::S16 => 2,
        }
    }

    /// One channel of some frames. Realtime thread; wait-free.
    pub fn read(self, frames: &[u8], channel: usize, samples: &mut [f32]) {
        let places = frames.chunks_exact(self.frame_bytes()).zip(samples);
        let at = channel * self.sample_bytes();
        match self.coding {
            Coding::Float => {
                for (frame, sample) in places {
                    *sample = f32::from_le_bytes(bytes(frame, at));
                }
            }
            Coding::S32 => {
                for (frame, sample) in places {
                    let whole = i32::from_le_bytes(bytes(frame, at));
                    *sample = (f64::from(whole) / FULL_32) as f32;
                }
            }
            Coding::S24 => {
                for (frame, sample) in places {
                    let [a, b, c, _] = bytes(frame, at);
                    *sample = from_24([a, b, c]);
                }
            }
            Coding::S243 => {
                for (frame, sample) in places {
                    *sample = from_24(bytes(frame, at));
                }
            }
            Coding::S16 => {
                for (frame, sample) in places {
                    *sample = f32::from(i16::from_le_bytes(bytes(frame, at))) / FULL_16;
                }
            }
        }
    }

    /// The other way round. Realtime thread; wait-free.
    pub fn write(self, samples: &[f32], channel: usize, frames: &mut [u8]) {
        let places = frames.chunks_exact_mut(self.frame_bytes()).zip(samples);
        let at = channel * self.sample_bytes();
        match self.coding {
            Coding::Float => {
                for (frame, sample) in places {
                    put(frame, at, sample.to_le_bytes());
                }
            }
            Coding::S32 => {
                for (frame, sample) in places {
                    // A cast to a whole number holds it at the ends of the range.
                    let whole = (f64::from(*sample) * FULL_32).round_ties_even() as i32;
                    put(frame, at, whole.to_le_bytes());
                }
            }
            Coding::S24 => {
                for (frame, sample) in places {
                    put(frame, at, to_24(*sample).to_le_bytes());
                }
            }
            Coding::S243 => {
                for (frame, sample) in places {
                    let [a, b, c, _] = to_24(*sample).to_le_bytes();
                    put(frame, at, [a, b, c]);
                }
            }
            Coding::S16 => {
                for (frame, sample) in places {
                    let whole = (*sample * FULL_16).round_ties_even() as i16;
                    put(frame, at, whole.to_le_bytes());
                }
            }
        }
    }
}

fn from_24([a, b, c]: [u8; 3]) -> f32 {
    // The sign is spread by the shift back.
    (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 / FULL_24
}

fn to_24(sample: f32) -> i32 {
    let whole = (sample * FULL_24).round_ties_even() as i32;
    whole.clamp(-(1 << 23), (1 << 23) - 1)
}

fn bytes<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    frame
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or([0; N])
}

fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = frame.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(format: Format, samples: &[f32]) -> Vec<f32> {
        let layout = Layout::new(format, 3).unwrap();
        let mut frames = vec![0xAA; layout.frame_bytes() * samples.len()];
        layout.write(samples, 1, &mut frames);
        let mut back = vec![9.0; samples.len()];
        layout.read(&frames, 1, &mut back);
        let untouched = frames
            .chunks_exact(layout.frame_bytes())
            .all(|frame| frame.starts_with(&[0xAA, 0xAA]) && frame.ends_with(&[0xAA, 0xAA]));
        assert!(untouched, "the channels beside it are left alone");
        back
    }

    #[test]
    fn what_a_format_can_say_comes_back_bit_by_bit() {
        let float = [0.0, -0.0, 1e-30, 0.1, -0.7, 1.5];
        let back = there_and_back(Format::FloatLE, &float);
        assert!(
            back.iter()
                .zip(float)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        for (format, bits) in [
            (Format::S32LE, 24),
            (Format::S24LE, 24),
            (Format::S243LE, 24),
            (Format::S16LE, 16),
        ] {
            let full = 1_i64 << (bits - 1);
            let wholes = [0, 1, -1, 2, -2, 12_345, -12_345, full - 1, 1 - full, -full];
            let samples = wholes.map(|whole| whole as f32 / full as f32);
            assert_eq!(there_and_back(format, &samples), samples, "{format:?}");
        }
    }

    #[test]
    fn numbers_are_rounded_and_held_at_full_scale() {
        for (format, bits) in [
            (Format::S32LE, 32),
            (Format::S24LE, 24),
            (Format::S243LE, 24),
            (Format::S16LE, 16),
        ] {
            let full = (1_i64 << (bits - 1)) as f32;
            let most = ((1_i64 << (bits - 1)) - 1) as f32 / full;
            let step = 1.0 / full;
            let got = there_and_back(
                format,
                &[
                    0.6 * step,
                    -0.6 * step,
                    0.4 * step,
                    1.0,
                    7.0,
                    -7.0,
                    f32::NAN,
                ],
            );
            let expected = [step, -step, 0.0, most, most, -1.0, 0.0];
            assert_eq!(got, expected, "{format:?}");
        }
    }

    #[test]
    fn the_bytes_are_those_that_alsa_documents() {
        let bytes = |format| {
            let layout = Layout::new(format, 1).unwrap();
            let mut frames = vec![0; layout.frame_bytes() * 2];
            layout.write(&[0.5, -1.0], 0, &mut frames);
            frames
        };
        assert_eq!(bytes(Format::S16LE), [0, 0x40, 0, 0x80]);
        assert_eq!(bytes(Format::S243LE), [0, 0, 0x40, 0, 0, 0x80]);
        assert_eq!(bytes(Format::S24LE), [0, 0, 0x40, 0, 0, 0, 0x80, 0xFF]);
        assert_eq!(bytes(Format::S32LE), [0, 0, 0, 0x40, 0, 0, 0, 0x80]);
        assert_eq!(bytes(Format::FloatLE), [0, 0, 0, 0x3F, 0, 0, 0x80, 0xBF]);
        assert_eq!(Layout::new(Format::S16BE, 2), None);
        assert_eq!(Layout::new(Format::S16LE, 0), None);
    }
}
