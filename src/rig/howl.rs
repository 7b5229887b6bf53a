//! What a `feedback` effect does by itself, as far as the engine has told.

use rigd_rt::Report;
use rigd_rt::effects::feedback::NOTCHES;

/// One notch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Notch {
    /// Its middle, in Hz.
    pub freq_hz: f32,
    /// Its depth, in dB, above 0.
    pub depth_db: f32,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Howl {
    /// By number.
    notches: [Option<Notch>; NOTCHES],
    /// Whether the microphone is silent, as the last resort.
    pub muted: bool,
    /// What its gain is, or will be when it is heard again, in dB, 0 or less.
    pub gain_db: f32,
}

impl Howl {
    /// Takes in what the engine says.
    pub fn fold(&mut self, report: &Report) {
        match *report {
            Report::Notch {
                index,
                freq_hz,
                depth_db,
                ..
            } => {
                if let Some(notch) = self.notches.get_mut(usize::from(index)) {
                    *notch = (depth_db > 0.0).then_some(Notch { freq_hz, depth_db });
                }
            }
            Report::Howl { muted, gain_db, .. } => {
                (self.muted, self.gain_db) = (muted, gain_db);
            }
            _ => {}
        }
    }

    /// The notches that are there, by frequency.
    pub fn notches(&self) -> Vec<Notch> {
        let mut notches: Vec<Notch> = self.notches.iter().flatten().copied().collect();
        notches.sort_by(|a, b| a.freq_hz.total_cmp(&b.freq_hz));
        notches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_it_was_told_last() {
        let mut howl = Howl::default();
        let mut notch = |index, freq_hz, depth_db| {
            howl.fold(&Report::Notch {
                slot: 3,
                index,
                freq_hz,
                depth_db,
            });
            howl.notches()
        };
        let (high, low) = (
            Notch {
                freq_hz: 3000.0,
                depth_db: 12.0,
            },
            Notch {
                freq_hz: 400.0,
                depth_db: 18.0,
            },
        );
        assert_eq!(notch(0, 3000.0, 12.0), [high]);
        assert_eq!(notch(1, 400.0, 12.0).len(), 2);
        assert_eq!(notch(1, 400.0, 18.0), [low, high]);
        assert_eq!(notch(0, 3000.0, 0.0), [low]);
        assert_eq!(notch(u8::MAX, 3000.0, 12.0), [low]);
        howl.fold(&Report::Howl {
            slot: 3,
            muted: true,
            gain_db: -6.0,
        });
        assert!(howl.muted && howl.gain_db == -6.0);
    }
}
