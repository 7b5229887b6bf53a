//! What makes rigd end, read its settings again, or begin anew: signals, and what a host wants. Main thread.

use std::os::unix::process::CommandExt;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::care::Caretaker;
use crate::cli::Failure;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT.
    End,
    /// SIGHUP.
    Reload,
    /// A host, by what cannot be done while rigd runs.
    BeginAnew,
}

/// SIGTERM, SIGINT and SIGHUP, caught from the moment this is made.
pub struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches them.
    pub fn catch() -> Result<Signals, Failure> {
        let failed = |error| Failure::failed(format!("Signals cannot be caught: {error}."));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed)?;
        let inside = runtime.enter();
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let hangup = signal(SignalKind::hangup()).map_err(failed)?;
        drop(inside);
        Ok(Signals {
            runtime,
            terminate,
            interrupt,
            hangup,
        })
    }

    /// Whether a signal to end has come meanwhile.
    pub fn is_told_to_end(&mut self) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => true,
                _ = self.interrupt.recv() => true,
                () = std::future::ready(()) => false,
            }
        })
    }

    /// The next one, or what a host wants that comes to the same.
    pub fn wait(&mut self, caretaker: &Caretaker) -> Asked {
        self.runtime.block_on(async {
            tokio::select! {
                () = caretaker.is_to_begin_anew() => Asked::BeginAnew,
                _ = self.terminate.recv() => Asked::End,
                _ = self.interrupt.recv() => Asked::End,
                _ = self.hangup.recv() => Asked::Reload,
            }
        })
    }
}

/// The same program once more, in this process's place: whoever watches over it need not do anything.
/// Comes back only when that cannot be.
pub fn begin_anew() -> Failure {
    let error = match std::env::current_exe() {
        Ok(program) => {
            let mut arguments = std::env::args_os();
            let name = arguments.next().unwrap_or_default();
            let mut again = std::process::Command::new(program);
            again.arg0(name).args(arguments).exec()
        }
        Err(error) => error,
    };
    Failure::failed(format!(
        "rigd has ended and cannot begin anew by itself ({error}): start it."
    ))
}
