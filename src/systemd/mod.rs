//! What rigd tells systemd, and what happens when it does not: readiness, the watchdog, the line in
//! `systemctl status`. Without systemd nothing of this is sent, and troubles are logged all the same.
//!
//! | file | noun |
//! |---|---|
//! | `watchdog.rs` | who looks whether sound and control still move |
//! | `status.rs` | the line in `systemctl status` |

pub mod status;
pub mod watchdog;

use sd_notify::NotifyState;

/// How long rigd may take to be back after it has begun anew: a large log is looked through first.
const BACK_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// rigd ends and begins anew in the same process: for systemd it is one reload, during which the watchdog
/// has more patience. [`watchdog::start`] takes that back.
pub fn tell_of_beginning_anew() {
    let mut begins = vec![NotifyState::Reloading];
    begins.extend(NotifyState::monotonic_usec_now());
    if let Err(error) = sd_notify::notify(&begins) {
        log::debug!("systemd could not be told: {error}");
    }
    if sd_notify::watchdog_enabled().is_some() {
        tell(NotifyState::WatchdogUsec(BACK_WITHIN.as_micros() as u32));
    }
}

/// Says something to systemd, if it listens. Any thread.
pub fn tell(state: NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::debug!("systemd could not be told: {error}");
    }
}
