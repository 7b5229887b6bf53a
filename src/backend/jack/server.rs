//! A look at the server, for `rigd devices`: it is asked, and left alone again.

use jack::{Client, ClientOptions, PortFlags};

use super::{load_library, no_server};
use crate::cli::Failure;

/// What a running server has.
pub struct Server {
    /// `JACK_DEFAULT_SERVER`, or "default".
    pub name: String,
    /// Frames per second.
    pub sample_rate_hz: u32,
    /// Frames in a block.
    pub block_frames: u32,
    /// Physical ports that sound comes from: `device:1` is the first one.
    pub inputs: Vec<String>,
    /// Physical ports that sound goes to.
    pub outputs: Vec<String>,
}

/// Asks the running server.
pub fn look() -> Result<Server, Failure> {
    load_library()?;
    let (client, _) = Client::new("rigd-devices", ClientOptions::NO_START_SERVER)
        .map_err(|error| no_server(&error))?;
    let physical = |side| {
        let type_name = Some(super::patchbay::AUDIO);
        client.ports(None, type_name, PortFlags::IS_PHYSICAL | side)
    };
    Ok(Server {
        name: std::env::var("JACK_DEFAULT_SERVER").unwrap_or_else(|_| "default".to_owned()),
        sample_rate_hz: client.sample_rate(),
        block_frames: client.buffer_size(),
        inputs: physical(PortFlags::IS_OUTPUT),
        outputs: physical(PortFlags::IS_INPUT),
    })
}
