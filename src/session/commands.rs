//! `rigd token` and `rigd pair`: for who is at the box, whether rigd runs or not.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::{Span, SpanRelativeTo};

use super::clock::{Life, Moment};
use super::code::{self, LASTS, Offer};
use super::link;
use super::role::Role;
use super::secret::{FILE, Secret};
use super::token::{Claims, TRACKS_MAX, is_name, is_tracks};
use super::vault;
use crate::cli::Failure;
use crate::config::Config;
use crate::provenance::database;

/// The longest that a token may last, in seconds: ten years.
const LASTS_MAX_S: i64 = 10 * 365 * 24 * 3600;

/// `rigd token`.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// What they may do
    #[arg(long, value_parser = ["host", "performer", "guest", "display"], required_unless_present = "rotate", requires = "user")]
    pub role: Option<String>,
    /// Who they are
    #[arg(long, value_name = "NAME", requires = "role")]
    pub user: Option<String>,
    /// How long it is good: 90s, 30m, 12h, 7d
    #[arg(long, value_name = "TIME", default_value = "12h")]
    pub ttl: String,
    /// Where a performer may change something
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub tracks: Vec<String>,
    /// Change the secret first: everyone is signed out, and open codes are void
    #[arg(long)]
    pub rotate: bool,
    /// The folder with the secret
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
}

/// `rigd pair`.
#[derive(Args, Clone, Debug)]
pub struct PairArgs {
    /// What they may do
    #[arg(long, value_parser = ["host", "performer", "guest", "display"], required_unless_present = "claim")]
    pub role: Option<String>,
    /// The box's own code, which makes its first host: as it is, or a new one
    #[arg(long, conflicts_with_all = ["role", "tracks"])]
    pub claim: bool,
    /// Where a performer may change something
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub tracks: Vec<String>,
    /// The folder with the secret
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
}

/// Prints a token.
pub fn token(args: &TokenArgs, config: &Config) -> Result<(), Failure> {
    let folder = &config.state_dir;
    let lasts = lasts(&args.ttl)?;
    let whose = match (&args.role, &args.user) {
        (Some(role), Some(user)) => Some((known(role)?, user)),
        _ => None,
    };
    if let Some((role, user)) = whose {
        check_tracks(role, &args.tracks)?;
        if !is_name(user) {
            let message = "--user must be 1 to 128 printable characters.";
            return Err(Failure::usage(message));
        }
    }
    let secret = secret(folder, args.rotate)?;
    let Some((role, user)) = whose else {
        eprintln!("Everyone is signed out.");
        return Ok(());
    };
    let claims = Claims {
        user_id: user.clone(),
        role,
        tracks: args.tracks.clone(),
        life: Life::new(lasts, &Moment::now()),
        generation: generation(folder, user),
    };
    print(&format!("{}\n", claims.sign(&secret)))
}

/// Prints a link and its QR code.
pub fn pair(args: &PairArgs, config: &Config) -> Result<(), Failure> {
    let folder = &config.state_dir;
    let failed = |error: io::Error| {
        let folder = folder.display();
        Failure::failed(format!("The code cannot be kept in {folder}: {error}."))
    };
    let (code, role, lasts) = if args.claim {
        let made = std::fs::create_dir_all(folder).and_then(|()| vault::claim_code(folder));
        let code = made.map_err(failed)?.ok_or_else(|| {
            Failure::failed(
                "The box has a host already, who lets others in; rigd pair --role host makes another.",
            )
        })?;
        (code, Role::Host, "until the box has a host".to_owned())
    } else {
        let role = known(args.role.as_deref().unwrap_or_default())?;
        check_tracks(role, &args.tracks)?;
        let secret = secret(folder, false)?;
        let code = code::make().map_err(failed)?;
        let offer = Offer {
            role,
            tracks: args.tracks.clone(),
            life: Life::new(LASTS, &Moment::now()),
            from: "the box".to_owned(),
        };
        vault::leave(folder, &code::name(&code, &secret), &offer).map_err(failed)?;
        let lasts = format!("within {} minutes", LASTS.as_secs() / 60);
        (code, role, lasts)
    };
    let (scheme, listening) =
        vault::listening(folder).unwrap_or_else(|| ("http".to_owned(), config.listen.clone()));
    let address = link::best(&listening);
    let base = match address {
        Some(address) => format!("{scheme}://{address}"),
        None => format!("{scheme}://localhost"),
    };
    let url = link::to(&base, &code);
    let drawn = link::text(&url)
        .map_err(|error| Failure::failed(format!("The link cannot be drawn: {error}.")))?;
    if address.is_some_and(|address| address.ip().is_loopback()) {
        eprintln!(
            "rigd listens on this box only, so no phone can open this; let them in with --listen 0.0.0.0:8000."
        );
    }
    print(&format!(
        "{drawn}\n\n{url}\n\nThe code {code} makes a {} once, {lasts}.\n",
        role.name()
    ))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::failed(format!("It cannot be printed: {error}.")))
}

fn known(role: &str) -> Result<Role, Failure> {
    Role::from_name(role).ok_or_else(|| Failure::usage(format!("There is no role \"{role}\".")))
}

fn check_tracks(role: Role, tracks: &[String]) -> Result<(), Failure> {
    if !is_tracks(tracks) {
        let message = format!(
            "--tracks takes at most {TRACKS_MAX} track ids with commas between them, like mic1,mic2."
        );
        return Err(Failure::usage(message));
    }
    if role == Role::Performer && tracks.is_empty() {
        eprintln!("Without --tracks this performer can only look.");
    }
    if role != Role::Performer && !tracks.is_empty() {
        eprintln!("--tracks is for a performer, and changes nothing here.");
    }
    Ok(())
}

/// How long, in people's words.
fn lasts(text: &str) -> Result<Duration, Failure> {
    let wrong = || {
        let message = format!(
            "--ttl takes a time from 1s to ten years, like 90s, 30m, 12h or 7d, not \"{text}\"."
        );
        Failure::usage(message)
    };
    let span: Span = text.parse().map_err(|_| wrong())?;
    let lasts = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    match lasts.as_secs() {
        1..=LASTS_MAX_S => lasts.try_into().map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

fn secret(folder: &Path, rotate: bool) -> Result<Secret, Failure> {
    let secret = std::fs::create_dir_all(folder).and_then(|()| match rotate {
        true => Secret::rotate(folder),
        false => Secret::open(folder),
    });
    secret.map_err(|error| {
        Failure::failed(format!(
            "The secret {} cannot be used: {error}; run this as root or as the user that rigd runs as.",
            folder.join(FILE).display()
        ))
    })
}

/// How often the host has signed this user out or given them another role: this token is newer.
fn generation(folder: &Path, user: &str) -> u64 {
    let path = folder.join(database::FILE);
    if !path.exists() {
        return 0;
    }
    let loaded = database::open_unwritable(&path).and_then(|db| database::load(&db));
    match loaded {
        Ok(loaded) => loaded.map_or(0, |(state, _)| state.people.generation(user)),
        Err(error) => {
            eprintln!(
                "What the host has said of {user} cannot be read ({error}): if they were signed out, this token is not good."
            );
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_people_write_them() {
        let seconds = |text| lasts(text).map(|lasts| lasts.as_secs()).ok();
        for (text, wanted) in [
            ("90s", 90),
            ("30m", 1800),
            ("12h", 43_200),
            ("1h30m", 5400),
            ("7d", 604_800),
            ("2w", 1_209_600),
        ] {
            assert_eq!(seconds(text), Some(wanted), "{text}");
        }
        for text in [
            "",
            "0s",
            "-1h",
            "12",
            "soon",
            "11000d",
            "1mo",
            "9999999999999d",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
