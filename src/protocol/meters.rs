//! Meters as JSON and as binary frames.

use serde_json::{Map, Value, json};

/// The least level that is shown, in dB of full scale.
pub const SILENCE_DB: f32 = -144.0;

/// What one track did since the last frame of meters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Highest absolute sample, left and right, linear.
    pub peak: [f32; 2],
    /// Mean square, left and right, linear.
    pub mean_square: [f32; 2],
    /// Deepest gain reduction in dB, 0 or more.
    pub reduction_db: f32,
    /// A sample was at or above full scale.
    pub clipped: bool,
}

fn db(linear: f32) -> f32 {
    let db = 20.0 * libm::log10f(linear);
    // Also where the logarithm is −inf.
    if db > SILENCE_DB { db } else { SILENCE_DB }
}

impl Reading {
    fn peak_db(&self) -> [f32; 2] {
        self.peak.map(db)
    }

    fn rms_db(&self) -> [f32; 2] {
        self.mean_square.map(|mean| db(libm::sqrtf(mean)))
    }
}

/// The data of a `meters` message: tracks by id.
pub fn json<'a>(
    frame: u64,
    readings: impl Iterator<Item = (&'a str, Reading)>,
) -> Map<String, Value> {
    let round = |db: f32| (f64::from(db) * 100.0).round() / 100.0;
    let tracks: Map<String, Value> = readings
        .map(|(id, reading)| {
            let track = json!({
                "peak_db": reading.peak_db().map(round),
                "rms_db": reading.rms_db().map(round),
                "gain_reduction_db": round(reading.reduction_db),
                "clipped": reading.clipped,
            });
            (id.to_owned(), track)
        })
        .collect();
    super::views::object(json!({ "frame": frame, "tracks": tracks }))
}

/// A binary frame, little-endian: `u8` version 1, `u8` tracks, `u16` 0, `u64` frame, then for each
/// track in the order of `track.list` `f32` peak left and right, rms left and right (dB), gain
/// reduction (dB), `u32` flags (bit 0: clipped).
pub fn binary(frame: u64, readings: &[Reading]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + readings.len() * 24);
    bytes.extend([1, readings.len() as u8, 0, 0]);
    bytes.extend(frame.to_le_bytes());
    for reading in readings {
        let [peak_left, peak_right] = reading.peak_db();
        let [rms_left, rms_right] = reading.rms_db();
        for value in [
            peak_left,
            peak_right,
            rms_left,
            rms_right,
            reading.reduction_db,
        ] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(u32::from(reading.clipped).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_layout_is_the_wires() {
        let reading = Reading {
            peak: [1.0, 0.5],
            mean_square: [0.25, 0.0],
            reduction_db: 3.0,
            clipped: true,
        };
        let bytes = binary(0x0102_0304, &[reading, Reading::default()]);
        assert_eq!(bytes.len(), 12 + 2 * 24);
        assert_eq!(bytes[..4], [1, 2, 0, 0]);
        assert_eq!(bytes[4..12], [4, 3, 2, 1, 0, 0, 0, 0]);
        let float = |at: usize| f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(float(12), 0.0);
        assert!((float(16) + 6.0206).abs() < 1e-3);
        assert!((float(20) + 6.0206).abs() < 1e-3);
        assert_eq!(float(24), SILENCE_DB);
        assert_eq!(float(28), 3.0);
        assert_eq!(bytes[32..36], [1, 0, 0, 0]);
    }
}
