//! `rigd log`: the log for people and scripts at the box. Reads only, also while rigd is running.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use rusqlite::Connection;
use serde::Serialize;

use super::chain::Key;
use super::database::{self, Unusable};
use super::query::{self, Direction, Filter, LIMIT_MAX, Lineage, Origin, Query};
use super::record::Record;
use super::verify::verify;
use crate::cli::Failure;

/// `rigd log`.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Print events, oldest first, one JSON object a line
    Query(QueryArgs),
    /// Print how something came to be as it is, one JSON object a line
    Lineage(LineageArgs),
    /// Check that the log is as rigd wrote it; exit code 1 when it is not
    Verify(FolderArgs),
    /// Print all events, or those that fit, as JSON lines or CSV
    Export(ExportArgs),
}

/// Where the log is.
#[derive(Args, Clone, Debug)]
pub struct FolderArgs {
    /// The folder that rigd keeps its state in
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Which events.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Only about this kind of thing: plugin_processing, track, session, configuration
    #[arg(long, value_name = "TYPE")]
    pub entity_type: Option<String>,
    /// Only about this plugin, track, ...
    #[arg(long, value_name = "ID")]
    pub entity_id: Option<String>,
    /// Only changes of this user
    #[arg(long, alias = "user-id", value_name = "NAME")]
    pub user: Option<String>,
    /// Only changes of this session
    #[arg(long, alias = "session-id", value_name = "ID")]
    pub session: Option<String>,
    /// Only this operation, such as plugin.add
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,
    /// Not before this time (ISO 8601, such as 2026-01-31T20:00:00Z; UTC unless it says otherwise)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<String>,
    /// Not after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<String>,
}

/// `rigd log query`.
#[derive(Args, Clone, Debug)]
pub struct QueryArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many events, 1 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = query::LIMIT as u64,
          value_parser = clap::value_parser!(u64).range(1..=LIMIT_MAX as u64))]
    limit: u64,
    /// Go on where an earlier query ended
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    cursor: Option<i64>,
}

/// `rigd log lineage`.
#[derive(Args, Clone, Debug)]
pub struct LineageArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Begin at this event
    #[arg(
        long,
        required_unless_present = "entity_id",
        conflicts_with = "entity_id"
    )]
    daid: Option<String>,
    /// Begin at the newest event of this plugin, track, ... (the oldest when going forward)
    #[arg(long, value_name = "ID")]
    entity_id: Option<String>,
    /// To what it follows from, or to what follows from it
    #[arg(long, value_enum, default_value_t = Way::Backward)]
    direction: Way,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    Backward,
    Forward,
}

/// `rigd log export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// JSON lines or comma-separated values with a heading
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

fn time(text: &str) -> Result<String, String> {
    query::time(text).ok_or_else(|| "this is no time of ISO 8601".to_owned())
}

fn cursor(text: &str) -> Result<i64, String> {
    query::cursor(text).ok_or_else(|| "give the cursor as it was printed".to_owned())
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Filter {
        Filter {
            entity_type: args.entity_type,
            entity_id: args.entity_id,
            user_id: args.user,
            session_id: args.session,
            operation: args.operation,
            since: args.since,
            until: args.until,
        }
    }
}

/// Why a command ends early.
enum Stop {
    /// Nobody reads on: no failure.
    Hung,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::Hung,
            _ => Stop::Failed(Failure::failed(format!("Cannot print the log: {error}."))),
        }
    }
}

impl From<Unusable> for Stop {
    fn from(error: Unusable) -> Stop {
        Stop::Failed(Failure::failed(format!("Cannot read the log: {error}.")))
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Unusable::from(error).into()
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Stop {
        io::Error::from(error).into()
    }
}

impl From<csv::Error> for Stop {
    fn from(error: csv::Error) -> Stop {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => error.into(),
            other => io::Error::other(format!("{other:?}")).into(),
        }
    }
}

/// Does what `rigd log` was asked for. `folder` finds the state folder that the settings name.
pub fn run(
    command: LogCommand,
    folder: impl FnOnce() -> Result<PathBuf, Failure>,
) -> Result<(), Failure> {
    let given = match &command {
        LogCommand::Query(args) => &args.folder,
        LogCommand::Lineage(args) => &args.folder,
        LogCommand::Verify(args) => args,
        LogCommand::Export(args) => &args.folder,
    };
    let folder = match &given.state_dir {
        Some(folder) => folder.clone(),
        None => folder()?,
    };
    let out = BufWriter::new(io::stdout().lock());
    match print(command, &folder, out) {
        Ok(()) | Err(Stop::Hung) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn print(command: LogCommand, folder: &Path, mut out: impl Write) -> Result<(), Stop> {
    let db = open(folder)?;
    match command {
        LogCommand::Query(args) => {
            let asked = Query {
                filter: args.filter.into(),
                after: args.cursor.unwrap_or(0),
                limit: args.limit as usize,
            };
            let (events, next) = query::events(&db, &asked)?;
            lines(&mut out, &events)?;
            out.flush()?;
            if let Some(next) = next {
                eprintln!("There is more: --cursor {next}");
            }
        }
        LogCommand::Lineage(args) => {
            let from = match (args.daid, args.entity_id) {
                (Some(daid), _) => Origin::Daid(daid),
                (None, id) => Origin::Entity(id.unwrap_or_default()),
            };
            let direction = match args.direction {
                Way::Backward => Direction::Backward,
                Way::Forward => Direction::Forward,
            };
            let (nodes, is_cut) = query::lineage(&db, &Lineage { from, direction })?;
            lines(&mut out, &nodes)?;
            out.flush()?;
            if is_cut {
                eprintln!("There is more: go on with --daid of the last one");
            }
        }
        LogCommand::Verify(_) => {
            let key = key(folder)?;
            let moment = db.unchecked_transaction()?;
            let verdict = verify(&moment, &key)?;
            line(&mut out, &verdict)?;
            out.flush()?;
            if let Some(row) = verdict.first_bad {
                let message = format!("The log is not as rigd wrote it, from row {row} on.");
                return Err(Failure::failed(message).into());
            }
        }
        LogCommand::Export(args) => match args.format {
            Format::Jsonl => {
                pages(&db, args.filter.into(), |events| lines(&mut out, events))?;
                out.flush()?;
            }
            Format::Csv => {
                let mut table = csv::Writer::from_writer(out);
                table.write_record(HEADING)?;
                pages(&db, args.filter.into(), |events| cells(&mut table, events))?;
                table.flush()?;
            }
        },
    }
    Ok(())
}

fn open(folder: &Path) -> Result<Connection, Stop> {
    let path = folder.join(database::FILE);
    if !path.exists() {
        let message = format!(
            "There is no log in {}; name the state folder with --state-dir.",
            folder.display()
        );
        return Err(Failure::failed(message).into());
    }
    Ok(database::open_unwritable(&path)?)
}

fn key(folder: &Path) -> Result<Key, Stop> {
    let path = folder.join(database::KEY_FILE);
    Ok(Key::read(&path).map_err(|error| {
        Failure::failed(format!(
            "The key {} cannot be read ({error}), and without it nobody can tell whether the log is whole; run this as the user that rigd runs as.",
            path.display()
        ))
    })?)
}

/// All events that fit, a page at a time, so that nothing is held up while they are printed.
fn pages(
    db: &Connection,
    filter: Filter,
    mut each: impl FnMut(&[Record]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut asked = Query {
        filter,
        after: 0,
        limit: LIMIT_MAX,
    };
    loop {
        let (events, next) = query::events(db, &asked)?;
        each(&events)?;
        match next {
            Some(next) => asked.after = next,
            None => return Ok(()),
        }
    }
}

fn line(out: &mut impl Write, value: &impl Serialize) -> Result<(), Stop> {
    serde_json::to_writer(&mut *out, value)?;
    Ok(out.write_all(b"\n")?)
}

fn lines(out: &mut impl Write, events: &[Record]) -> Result<(), Stop> {
    events.iter().try_for_each(|event| line(out, event))
}

/// The fields of an event, in the order in which a client sees them.
const HEADING: [&str; 19] = [
    "daid",
    "seq_first",
    "seq_last",
    "epoch",
    "timestamp",
    "monotonic_us",
    "applied_frame",
    "entity_type",
    "entity_id",
    "operation",
    "user_id",
    "session_id",
    "role",
    "verified",
    "address",
    "metadata",
    "parents",
    "preimage",
    "chain",
];

fn cells<W: Write>(table: &mut csv::Writer<W>, events: &[Record]) -> Result<(), Stop> {
    for event in events {
        let frame = event.applied_frame.map(|frame| frame.to_string());
        table.write_record([
            &event.id,
            &event.seq_first.to_string(),
            &event.seq_last.to_string(),
            &event.epoch,
            &event.timestamp,
            &event.monotonic_us.to_string(),
            &frame.unwrap_or_default(),
            &event.entity_type,
            &event.entity_id,
            &event.action,
            &event.user_id,
            &event.session_id,
            &event.role,
            &event.verified.to_string(),
            &event.address,
            &event.details,
            &event.parents,
            &event.preimage,
            &event.chain,
        ])?;
    }
    Ok(())
}
