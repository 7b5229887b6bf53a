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

/// Says something to systemd, if it listens. Any thread.
pub fn tell(state: NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::debug!("systemd could not be told: {error}");
    }
}
