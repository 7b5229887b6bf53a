//! Updates, by `rigd update` and a host's page: on the device image, a new version for the slot that is not running. RAUC checks who
//! signed it and writes it; what starts next, and whether it stays, is the image's to see.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::cli::Failure;

/// What does it.
const RAUC: &str = "rauc";
/// What is said where there is none.
pub const NOT_THERE: &str = "this box has no rauc, so it has no slots to update: it does not run the device image; install the newer package instead";

/// What installs a bundle.
pub fn rauc(bundle: &Path) -> Command {
    let mut rauc = Command::new(RAUC);
    rauc.arg("install").arg(bundle);
    rauc
}

/// Whether this box has what installs bundles.
pub fn is_there() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(RAUC).is_file())
}

/// Why it could not be started, and what to do.
pub fn not_started(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => NOT_THERE.to_owned(),
        _ => format!("rauc cannot be started ({error})"),
    }
}

/// `rigd update`.
#[derive(Args, Clone, Debug)]
pub struct UpdateArgs {
    /// The bundle, or its address (https://…)
    #[arg(value_name = "FILE.raucb")]
    pub bundle: PathBuf,
    /// Start the new version at once: sound is away for as long as the box takes to start
    #[arg(long)]
    pub reboot: bool,
}

/// Writes the bundle to the other slot.
pub fn run(args: &UpdateArgs) -> Result<(), Failure> {
    let is_address = args
        .bundle
        .to_str()
        .is_some_and(|text| text.contains("://"));
    if !is_address && !args.bundle.is_file() {
        let message = format!("There is no file {}.", args.bundle.display());
        return Err(Failure::usage(message));
    }
    let ended = rauc(&args.bundle).status().map_err(|error| {
        Failure::failed(format!("There is no update: {}.", not_started(&error)))
    })?;
    if !ended.success() {
        return Err(Failure::failed(
            "The update is not installed, for the reason above; the version that runs stays.",
        ));
    }
    if !args.reboot {
        println!(
            "The update is in the other slot, and will be tried when the box is switched on again."
        );
        return Ok(());
    }
    let asked = Command::new("systemctl").arg("reboot").status();
    match asked {
        Ok(ended) if ended.success() => Ok(()),
        _ => Err(Failure::failed(
            "The update is in the other slot, but the box could not be started again: switch it off and on.",
        )),
    }
}
