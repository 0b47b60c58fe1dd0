//! `plimsoll snapshot`, and where `plimsoll diff` has its snapshots from.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use plimsoll_ledger::snapshot::{SNAPSHOT_BYTES_MAX, Snapshot, read};

use crate::args::SnapshotArgs;
use crate::failure::Failure;
use crate::link::Link;
use crate::place::World;
use crate::report::{find, print};

/// A time asked for and the one found may differ by so many hundredths before that is said.
const CLOSE_PER_CENT: u64 = 110;

/// A snapshot and how people know it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) snapshot: Snapshot,
}

/// `plimsoll snapshot [NAME]`.
///
/// # Errors
/// The pooler gives none, or it cannot be printed.
pub(crate) fn print_one(args: &SnapshotArgs, world: &dyn World) -> Result<(), Failure> {
    let mut link = find(&args.place, world)?.open()?;
    let lines = document(&mut link, &command(args.name.as_deref()))?;
    // What does not print a whole document should not leave half of one.
    parsed("the pooler's answer", lines.join("\n").as_bytes())?;
    Ok(print(&lines)?)
}

/// The snapshot of now.
pub(crate) fn now(link: &mut Link) -> Result<Named, Failure> {
    kept_or_now(link, None)
}

/// The one that was kept about so long ago: the nearest; and what is to be said if it is another time.
pub(crate) fn since(link: &mut Link, ago: Duration) -> Result<(Named, Option<String>), Failure> {
    let table = link.ask("SHOW SNAPSHOTS")?;
    let (name, age) = (table.place(&["name"]), table.place(&["age"]));
    let kept = table.rows.iter().filter_map(|row| {
        let name = row.get(name?)?.clone()?;
        Some((name, table.time(age?, row.get(age?)?.as_deref()?)?))
    });
    let kept: Vec<(String, Duration)> = kept.collect();
    let nearest = kept.iter().min_by_key(|(_, age)| age.abs_diff(ago));
    let (name, age) = nearest.ok_or(Failure::NoneKept)?;
    let oldest = kept.iter().map(|(_, age)| *age).max().unwrap_or_default();
    let is_short = ago.as_micros() * 100 > oldest.as_micros() * u128::from(CLOSE_PER_CENT);
    let told = is_short.then(|| {
        format!("Nothing is kept of {} ago: the oldest snapshot is of {} ago.", words(ago), words(*age))
    });
    Ok((kept_or_now(link, Some(name))?, told))
}

/// A time in words.
pub(crate) fn words(time: Duration) -> String {
    plimsoll_ledger::snapshot::span(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

fn kept_or_now(link: &mut Link, name: Option<&str>) -> Result<Named, Failure> {
    let lines = document(link, &command(name))?;
    let name = name.unwrap_or("now");
    let snapshot = parsed(name, lines.join("\n").as_bytes())?;
    Ok(Named { name: name.to_string(), snapshot })
}

/// The command on the console.
fn command(name: Option<&str>) -> String {
    match name {
        None => "SHOW SNAPSHOT".to_string(),
        Some(name) => format!("SHOW SNAPSHOT '{}'", name.replace('\'', "''")),
    }
}

fn document(link: &mut Link, command: &str) -> Result<Vec<String>, Failure> {
    let table = link.ask(command)?;
    Ok(table.rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// Reads a file.
pub(crate) fn of_file(path: &Path) -> Result<Named, Failure> {
    let failure = |error| Failure::File { path: path.to_path_buf(), error };
    let mut bytes = Vec::new();
    // One byte more than there may be: it shows that it is too long.
    let room = SNAPSHOT_BYTES_MAX as u64 + 1;
    File::open(path).and_then(|file| file.take(room).read_to_end(&mut bytes)).map_err(failure)?;
    let name = path.display().to_string();
    let snapshot = parsed(&name, &bytes)?;
    Ok(Named { name, snapshot })
}

fn parsed(name: &str, bytes: &[u8]) -> Result<Snapshot, Failure> {
    read(bytes).map_err(|why| Failure::Snapshot { name: name.to_string(), why })
}
