//! `rigd update`: on the device image, a new version for the slot that is not running. RAUC checks who
//! signed it and writes it; what starts next, and whether it stays, is the image's to see.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::cli::Failure;

/// What does it.
const RAUC: &str = "rauc";

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
    let ended = Command::new(RAUC)
        .arg("install")
        .arg(&args.bundle)
        .status()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::failed(
                "This box has no rauc, so it has no slots to update: it does not run the device image. Install the newer package instead.",
            ),
            _ => Failure::failed(format!("rauc cannot be started: {error}.")),
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
