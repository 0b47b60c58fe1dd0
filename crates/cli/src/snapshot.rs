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
use crate::table::{Row, Table};

/// A time asked for and the one found may differ by so many hundredths before that is said.
const CLOSE_PER_CENT: u128 = 110;

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

/// The one that was kept about so long ago; and what is to be said if it is another time.
pub(crate) fn since(link: &mut Link, ago: Duration) -> Result<(Named, Option<String>), Failure> {
    let table = link.ask("SHOW SNAPSHOTS")?;
    let kept = kept(&table);
    let found = nearest(&kept, ago).ok_or(Failure::NoneKept)?;
    Ok((kept_or_now(link, Some(&found.name))?, told(found, &kept, ago)))
}

/// One that the pooler has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    name: String,
    age: Duration,
    run: Run,
}

/// Which process has taken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// The one that answers.
    This,
    /// Another one: before a restart, or one that shares its name.
    Other,
}

/// `SHOW SNAPSHOTS`.
fn kept(table: &Table) -> Vec<Kept> {
    let (name, age, run) = (table.place(&["name"]), table.place(&["age"]), table.place(&["run"]));
    let cell = |row: &Row, place: Option<usize>| row.get(place?)?.clone();
    let one = |row: &Row| {
        let run = if cell(row, run).as_deref() == Some("this") { Run::This } else { Run::Other };
        Some(Kept { name: cell(row, name)?, age: table.time(age?, &cell(row, age)?)?, run })
    };
    table.rows.iter().filter_map(one).collect()
}

/// Of those that are about as old as asked for the nearest of this run, else of another one; where there is none, the
/// nearest of all. Near is what is few times as old or as young: 3 h are nearer to 1 h than 2 s.
fn nearest(kept: &[Kept], ago: Duration) -> Option<&Kept> {
    let rank = |kept: &Kept| match (is_close(kept.age, ago), kept.run) {
        (true, Run::This) => 0,
        (true, Run::Other) => 1,
        (false, Run::This | Run::Other) => 2,
    };
    // The logarithm of how many times.
    let distance = |kept: &Kept| (kept.age.as_secs_f64().ln() - ago.as_secs_f64().ln()).abs();
    kept.iter().min_by(|one, other| {
        rank(one).cmp(&rank(other)).then_with(|| distance(one).total_cmp(&distance(other)))
    })
}

fn is_close(age: Duration, ago: Duration) -> bool {
    let (age, ago) = (age.as_micros(), ago.as_micros());
    age.max(ago).saturating_mul(100) <= age.min(ago).saturating_mul(CLOSE_PER_CENT)
}

/// What is to be said if it is of another time.
fn told(found: &Kept, kept: &[Kept], ago: Duration) -> Option<String> {
    if is_close(found.age, ago) {
        return None;
    }
    let is_oldest = kept.iter().all(|kept| kept.age <= found.age);
    let which = if is_oldest && found.age < ago { "oldest" } else { "nearest" };
    let (ago, age) = (words(ago), words(found.age));
    Some(format!("Nothing is kept of {ago} ago: the {which} snapshot is of {age} ago."))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::made;

    const HOUR: u64 = 3_600;

    fn of(name: &str, seconds: u64, run: Run) -> Kept {
        Kept { name: name.to_string(), age: Duration::from_secs(seconds), run }
    }

    /// Which one, and what is said.
    fn found(kept: &[Kept], ago: u64) -> (String, String) {
        let ago = Duration::from_secs(ago);
        let found = nearest(kept, ago).expect("there is one");
        (found.name.clone(), told(found, kept, ago).unwrap_or_default())
    }

    #[test]
    fn after_a_night_the_last_evening_is_nearer_than_just_now() {
        let kept = [of("evening", 3 * HOUR, Run::Other), of("now", 2, Run::This)];
        let told = "Nothing is kept of 60 min ago: the nearest snapshot is of 3 h 0 min ago.";
        assert_eq!(found(&kept, HOUR), ("evening".to_string(), told.to_string()));
        assert_eq!(
            found(&kept[1..], HOUR).1,
            "Nothing is kept of 60 min ago: the oldest snapshot is of 2 s ago."
        );
        assert_eq!(found(&[of("new", 0, Run::This)], HOUR).0, "new");
        assert_eq!(nearest(&[], Duration::from_secs(1)), None);
    }

    #[test]
    fn another_time_is_told_to_either_side() {
        let said = |age: u64| found(&[of("a", age, Run::This)], 1000).1;
        assert_eq!((said(910), said(1000), said(1100)), Default::default());
        assert!(said(900).contains("the oldest"), "{}", said(900));
        assert!(said(1101).contains("the nearest"), "{}", said(1101));
    }

    #[test]
    fn of_two_that_are_about_as_old_that_of_this_run_counts() {
        let kept = [of("theirs", 1001, Run::Other), of("mine", 1090, Run::This), of("far", 5000, Run::This)];
        assert_eq!(found(&kept, 1000), ("mine".to_string(), String::new()));
        assert_eq!(found(&[kept[0].clone(), kept[2].clone()], 1000).0, "theirs");
    }

    #[test]
    fn the_list_is_read_with_and_without_whose_they_are() {
        let new = made(&[("name", 25), ("age_us", 20), ("run", 25)], &["a|5000000|this", "b|7000000|other"]);
        assert_eq!(kept(&new), [of("a", 5, Run::This), of("b", 7, Run::Other)]);
        let old = made(&[("name", 25), ("age_us", 20)], &["a|5000000"]);
        assert_eq!(kept(&old), [of("a", 5, Run::Other)]);
    }
}
