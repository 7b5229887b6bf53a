//! A clock that ticks more often than the runtime's millisecond, and only while it is awaited.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};
use tokio::io::unix::AsyncFd;

/// A kernel timer. Control thread.
pub struct Ticker(AsyncFd<OwnedFd>);

impl Ticker {
    /// A timer at rest. `Err` when the process has no file descriptor left.
    pub fn new() -> io::Result<Ticker> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an `OwnedFd` is one open file for as long as the `AsyncFd` owns it.
        let registered = unsafe { AsyncFd::register(timer) };
        Ok(Ticker(registered.map_err(io::Error::from)?))
    }

    /// Waits so long, to within the kernel's timer slack.
    pub async fn wait(&self, time: Duration) -> io::Result<()> {
        let once = Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let never = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let spec = Itimerspec {
            it_interval: never,
            it_value: once,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
        loop {
            let mut guard = self.0.readable().await?;
            let read = guard.try_io(|timer| {
                let mut ticks = [0; 8];
                Ok(rustix::io::read(timer.get_ref(), &mut ticks)?)
            });
            if let Ok(read) = read {
                return read.map(|_| ());
            }
        }
    }
}
