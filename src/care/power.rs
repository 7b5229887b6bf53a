//! Reboot and power-off: systemd-logind is asked, which asks polkit whether rigd's user may, and then has
//! systemd stop everything in order, rigd too. The question is one call on the system bus; `busctl`, which
//! comes with systemd, makes it, rather than a D-Bus library of some fifty crates.

use std::process::{Command, Stdio};

/// How long logind may take to answer, in seconds.
const ANSWERS_WITHIN_S: &str = "--timeout=10";
const CALL: [&str; 7] = [
    "--system",
    ANSWERS_WITHIN_S,
    "--",
    "call",
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
];

/// What becomes of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It starts anew.
    Reboot,
    /// It is switched off.
    Off,
}

impl Power {
    fn method(self) -> &'static str {
        match self {
            Power::Reboot => "Reboot",
            Power::Off => "PowerOff",
        }
    }

    /// Asks for it, and waits for the answer. `Err` says what to do.
    pub(super) fn ask(self) -> Result<(), String> {
        // The last word: nobody is asked for a password.
        let asked = Command::new("busctl")
            .args(CALL)
            .args([self.method(), "b", "false"])
            .stdin(Stdio::null())
            .output();
        match asked {
            Ok(answer) if answer.status.success() => Ok(()),
            Ok(answer) => Err(refused(&String::from_utf8_lossy(&answer.stderr))),
            Err(error) => Err(format!(
                "systemd-logind cannot be asked: busctl, a part of systemd, cannot be run ({error})"
            )),
        }
    }
}

/// What logind, or who stands before it, has said.
fn refused(said: &str) -> String {
    let said = said.trim().lines().last().unwrap_or_default().trim();
    let is_denied = ["denied", "authentication", "not authorized"]
        .iter()
        .any(|word| said.to_lowercase().contains(word));
    let advice = if is_denied {
        "rigd's user may not do that; its package brings a rule for polkit, which polkitd must be installed for"
    } else {
        "it takes a systemd with logind and a system bus"
    };
    format!("systemd-logind does not do it ({said}): {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whose_it_is_and_what_would_help() {
        let denied = refused("Call failed: Interactive authentication required.\n");
        assert!(
            denied.contains("polkit") && denied.contains("Interactive"),
            "{denied}"
        );
        let absent = refused("Failed to connect to bus: No such file or directory\n");
        assert!(
            absent.contains("logind and a system bus") && absent.contains("No such file"),
            "{absent}"
        );
    }
}
