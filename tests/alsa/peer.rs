//! The other end of the loop: what it plays comes from rigd's microphones, and what rigd plays is what it
//! records. Its buffers hold a whole test, so nothing of it has to be in time.

use alsa::pcm::{Access, Format, HwParams, PCM, State};
use alsa::{Direction, ValueOr};
use rigd::backend::alsa::sample::Layout;

use super::rig::{BLOCK, RATE, wait_for};

pub const CHANNELS: usize = 2;

/// A second and more.
pub const TAPE_FRAMES: usize = 65_536;

/// A `Dummy` card that runs and plays nothing: its high-resolution timer is the loop's clock, whose own
/// comes every 4 ms only.
pub struct Clock(PCM);

impl Clock {
    pub fn start(pcm: &str) -> Clock {
        let pcm = open(pcm, Direction::Playback, Format::S16LE, BLOCK, 16 * BLOCK);
        let params = pcm.sw_params_current().unwrap();
        // It goes on whether it is fed or not.
        let boundary = params.get_boundary().unwrap();
        params.set_stop_threshold(boundary).unwrap();
        pcm.sw_params(&params).unwrap();
        drop(params);
        let io = pcm.io_bytes();
        io.writei(&[0; 8 * BLOCK * 2 * CHANNELS]).unwrap();
        // It starts when it is written to.
        drop(io);
        Clock(pcm)
    }

    pub fn is_running(&self) -> bool {
        self.0.state() == State::Running
    }
}

pub struct Peer {
    layout: Layout,
    playback: PCM,
    capture: PCM,
}

impl Peer {
    pub fn open(pcm: &str, format: Format) -> Peer {
        let side = |direction| open(pcm, direction, format, BLOCK, TAPE_FRAMES);
        let (playback, capture) = (side(Direction::Playback), side(Direction::Capture));
        for side in [&playback, &capture] {
            let params = side.sw_params_current().unwrap();
            let boundary = params.get_boundary().unwrap();
            params.set_stop_threshold(boundary).unwrap();
            params.set_start_threshold(boundary).unwrap();
            side.sw_params(&params).unwrap();
        }
        Peer {
            layout: Layout::new(format, CHANNELS).unwrap(),
            playback,
            capture,
        }
    }

    /// Plays this to the first channel, and begins to record.
    pub fn start(&self, sound: &[f32]) {
        let silence = vec![0.0; sound.len()];
        let mut frames = vec![0; sound.len() * self.layout.frame_bytes()];
        self.layout.write(sound, 0, &mut frames);
        self.layout.write(&silence, 1, &mut frames);
        self.playback.prepare().unwrap();
        self.capture.prepare().unwrap();
        let io = self.playback.io_bytes();
        assert_eq!(io.writei(&frames).unwrap(), sound.len());
        self.capture.start().unwrap();
        self.playback.start().unwrap();
    }

    /// Frames that have been recorded and not been taken yet.
    pub fn recorded(&self) -> usize {
        self.capture.avail_update().unwrap() as usize
    }

    /// Both channels of as many frames.
    pub fn take(&self, frames: usize) -> [Vec<f32>; CHANNELS] {
        wait_for("the end of the tape", || {
            (self.recorded() >= frames).then_some(())
        });
        let mut bytes = vec![0; frames * self.layout.frame_bytes()];
        let io = self.capture.io_bytes();
        assert_eq!(io.readi(&mut bytes).unwrap(), frames);
        [0, 1].map(|channel| {
            let mut samples = vec![0.0; frames];
            self.layout.read(&bytes, channel, &mut samples);
            samples
        })
    }

    pub fn stop(&self) {
        self.playback.drop().unwrap();
        self.capture.drop().unwrap();
    }
}

fn open(name: &str, direction: Direction, format: Format, period: usize, buffer: usize) -> PCM {
    let pcm = PCM::new(name, direction, false).unwrap_or_else(|error| panic!("{name}: {error}"));
    {
        let params = HwParams::any(&pcm).unwrap();
        params.set_access(Access::RWInterleaved).unwrap();
        params.set_format(format).unwrap();
        params.set_channels(CHANNELS as u32).unwrap();
        params.set_rate(RATE, ValueOr::Nearest).unwrap();
        params
            .set_period_size(period as i64, ValueOr::Nearest)
            .unwrap();
        params.set_buffer_size(buffer as i64).unwrap();
        pcm.hw_params(&params).unwrap();
    }
    pcm
}
