//! `rigd tone`: asks the rig that runs on this box, or another, for a test tone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::cli::Failure;
use crate::config::Config;

/// How long the rig may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The id of the message that is waited for.
const ID: &str = "tone";

/// `rigd tone`.
#[derive(Args, Clone, Debug)]
pub struct ToneArgs {
    /// On which track; the master if left out
    #[arg(long, value_name = "ID")]
    pub track: Option<String>,
    /// Its frequency
    #[arg(long, value_name = "HZ", default_value_t = 1000.0)]
    pub freq: f64,
    /// Its peak, in dB of full scale
    #[arg(
        long,
        value_name = "DB",
        default_value_t = -20.0,
        allow_negative_numbers = true
    )]
    pub level_db: f64,
    /// How long; 0 ends one that sounds
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Where the rig listens; the first address of the settings if left out
    #[arg(long, value_name = "ADDR:PORT")]
    pub address: Option<SocketAddr>,
    /// A host's token, where one is needed
    #[arg(long, env = "RIGD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Settings; without it, rigd.toml in the state folder, if there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Asks, and waits until the tone has begun.
pub fn run(args: &ToneArgs, config: &Config) -> Result<(), Failure> {
    let first = config.listen.first().copied();
    let Some(address) = args.address.or(first).map(reachable) else {
        return Err(Failure::usage("Name the rig's address with --address."));
    };
    let failed = |error: std::io::Error| Failure::failed(format!("The tone failed: {error}."));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime
        .block_on(async { timeout(PATIENCE, ask(args, address)).await })
        .unwrap_or_else(|_| {
            Err(Failure::failed(format!(
                "The rig at {address} does not answer: is that its address?"
            )))
        })
}

/// A rig that listens on every network of this box can be reached by the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn ask(args: &ToneArgs, address: SocketAddr) -> Result<(), Failure> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        Failure::failed(format!(
            "No rig can be reached at {address} ({error}): start rigd serve, or name its address with \
             --address."
        ))
    })?;
    let broken = |error| Failure::failed(format!("The rig at {address} broke off: {error}."));
    let (mut socket, _) = client_async(format!("ws://{address}/ws"), stream)
        .await
        .map_err(broken)?;
    let mut messages = Vec::new();
    if let Some(token) = &args.token {
        messages.push(json!({ "id": "auth", "type": "auth", "data": { "token": token } }));
    }
    let data = json!({
        "track_id": args.track,
        "freq_hz": args.freq,
        "level_db": args.level_db,
        "seconds": args.seconds,
    });
    messages.push(json!({ "id": ID, "type": "rig.tone", "user_id": "rigd-tone", "data": data }));
    for message in messages {
        let message = Message::text(message.to_string());
        socket.send(message).await.map_err(broken)?;
    }
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message.map_err(broken)? else {
            continue;
        };
        let reply: Value = serde_json::from_str(&text).unwrap_or_default();
        if reply["type"] == "ERROR" {
            let sentence = reply["data"]["error"]
                .as_str()
                .unwrap_or("The rig refuses.");
            return Err(Failure::failed(sentence));
        }
        if reply["id"] == ID {
            // The rig has what it was asked for; how this ends is all one.
            let _ = socket.close(None).await;
            return Ok(());
        }
    }
    Err(Failure::failed(format!(
        "The rig at {address} closed the connection without an answer."
    )))
}
