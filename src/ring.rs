//! The two wait-free rings between the control side and the realtime thread. The only file that
//! names `rtrb`.
//!
//! Commands cross in groups, each committed as one chunk: the engine sees all of a group or none
//! of it. The ring holds two groups of the largest size; what does not fit now stays with the
//! caller ([`CommandSender::send`] says so) and is coalesced there.
//!
//! A third ring takes the sound of a recording from the realtime thread to the one that writes it.
//! Further ones hand over what has an owner, such as a port: [`handover`].

use rigd_rt::{Command, GROUP_MAX, Inbox, Outbox, Report};

/// Commands that fit into the ring.
pub const COMMANDS: usize = 2 * (GROUP_MAX + 1);
/// Reports that fit into the ring: some 5 s of meters of a full rig when nobody reads.
pub const REPORTS: usize = 8192;

/// The control side's ends.
pub struct ControlEnds {
    /// Groups to the engine.
    pub commands: CommandSender,
    /// What the engine says.
    pub reports: ReportReader,
}

/// The realtime thread's ends. `Send`, so that a backend can take them onto its thread.
pub struct EngineEnds {
    /// Groups from the control side.
    pub commands: CommandReader,
    /// What the engine says.
    pub reports: ReportSender,
}

/// Two new rings.
pub fn rings() -> (ControlEnds, EngineEnds) {
    let (commands_in, commands_out) = rtrb::RingBuffer::new(COMMANDS);
    let blank = Report::Pulse {
        frame: 0,
        mended: 0,
    };
    let (reports_in, reports_out) = present(REPORTS, blank);
    (
        ControlEnds {
            commands: CommandSender(commands_in),
            reports: ReportReader(reports_out),
        },
        EngineEnds {
            commands: CommandReader(commands_out),
            reports: ReportSender(reports_in),
        },
    )
}

/// A ring whose memory has all been written to. Memory is not there before, and where the realtime
/// thread writes, it must not be the one that waits for it.
fn present<T: Copy>(places: usize, blank: T) -> (rtrb::Producer<T>, rtrb::Consumer<T>) {
    let (mut writer, mut reader) = rtrb::RingBuffer::new(places);
    while writer.push(blank).is_ok() {}
    while reader.pop().is_ok() {}
    (writer, reader)
}

/// Writes groups. Control side; wait-free.
pub struct CommandSender(rtrb::Producer<Command>);

impl CommandSender {
    /// Sends one group under `id`, to take effect at frame `at` (0: at once). `false`, and nothing
    /// sent, when there is no room for all of it now.
    #[must_use]
    pub fn send(&mut self, id: u64, at: u64, commands: &[Command]) -> bool {
        debug_assert!(commands.len() <= GROUP_MAX);
        let Ok(chunk) = self.0.write_chunk_uninit(commands.len() + 1) else {
            return false;
        };
        let len = commands.len() as u32;
        let header = Command::Group { id, at, len };
        chunk.fill_from_iter(std::iter::once(header).chain(commands.iter().copied()));
        true
    }
}

/// Reads commands. Realtime thread; wait-free.
pub struct CommandReader(rtrb::Consumer<Command>);

impl Inbox for CommandReader {
    fn peek(&mut self) -> Option<Command> {
        self.0.peek().ok().copied()
    }

    fn pop(&mut self) -> Option<Command> {
        self.0.pop().ok()
    }
}

/// Writes reports. Realtime thread; wait-free.
pub struct ReportSender(rtrb::Producer<Report>);

impl Outbox for ReportSender {
    fn room(&self) -> usize {
        self.0.slots()
    }

    fn push(&mut self, report: Report) -> bool {
        self.0.push(report).is_ok()
    }
}

/// Reads reports. Control side; wait-free.
pub struct ReportReader(rtrb::Consumer<Report>);

impl Iterator for ReportReader {
    type Item = Report;

    /// The next report, or `None` when there is none *now*.
    fn next(&mut self) -> Option<Report> {
        self.0.pop().ok()
    }
}

/// A ring for a recording: so many frames.
pub fn audio_ring(frames: usize) -> (AudioSender, AudioReader) {
    let (sender, reader) = present(frames, [0.0; 2]);
    (AudioSender(sender), AudioReader(reader))
}

/// Writes frames of a recording. Realtime thread; wait-free.
pub struct AudioSender(rtrb::Producer<[f32; 2]>);

impl AudioSender {
    /// Hands a whole block over; `false`, and nothing handed over, when there is no room for it.
    #[must_use]
    pub fn send(&mut self, left: &[f32], right: &[f32]) -> bool {
        let Ok(chunk) = self.0.write_chunk_uninit(left.len().min(right.len())) else {
            return false;
        };
        chunk.fill_from_iter(left.iter().zip(right).map(|(left, right)| [*left, *right]));
        true
    }

    /// Whether nobody reads any more: room will never come.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

/// Reads frames of a recording.
pub struct AudioReader(rtrb::Consumer<[f32; 2]>);

impl AudioReader {
    /// Whether no more will come than is there.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

impl Iterator for AudioReader {
    type Item = [f32; 2];

    /// The next frame, or `None` when there is none *now*.
    fn next(&mut self) -> Option<[f32; 2]> {
        self.0.pop().ok()
    }
}

/// A ring of so many places for things that have an owner: what the realtime thread is done with
/// goes back through a second one, so that it never drops anything.
pub fn handover<T>(places: usize) -> (Giver<T>, Taker<T>) {
    let (giver, taker) = rtrb::RingBuffer::new(places);
    (Giver(giver), Taker(taker))
}

/// Hands things over. Either side; wait-free.
pub struct Giver<T>(rtrb::Producer<T>);

impl<T> Giver<T> {
    /// Whether the next one fits.
    pub fn has_room(&self) -> bool {
        self.0.slots() > 0
    }

    /// Hands one over, or gives it back when there is no room.
    pub fn give(&mut self, thing: T) -> Result<(), T> {
        self.0
            .push(thing)
            .map_err(|rtrb::PushError::Full(thing)| thing)
    }
}

/// Takes things over. Either side; wait-free.
pub struct Taker<T>(rtrb::Consumer<T>);

impl<T> Taker<T> {
    /// The next one, or `None` when there is none *now*.
    pub fn take(&mut self) -> Option<T> {
        self.0.pop().ok()
    }
}
