//! What clients say, drawn by chance: batches, transactions, prepared statements, COPY, errors in the middle.

use super::{MS, S};
use crate::history::{
    Cleaning, DatabaseLine, GeneralLines, History, Leaving, Mode, PoolShape, Pooling, Reload, Talk, Visit,
    What,
};
use crate::rng::Rng;

/// So many of a hundred clients speak.
const SPEAKERS_PERCENT: u32 = 35;

/// Fewer things happen in a history with speakers: what they say takes as long to look at.
const STEPS_PERCENT: usize = 60;

/// At the end of a unit behind which the client waits.
const WAITS: &str = "|WAIT";

/// Executed at once, any of them.
const SIMPLE: [&str; 40] = [
    "select_'#'",
    "select_'#'",
    "select_'#'",
    "",
    "selec_'#'",
    "select_fail('#')",
    "begin",
    "begin",
    "commit",
    "rollback",
    "select_notice('#')",
    "select_defer('#')",
    "copy_t_to_stdout",
    "select_'#';select_'second_#'",
    "select_'#';select_fail('#');select_'third_#'",
    "begin;select_'#'",
    "set_application~name_=_'app1'",
    "set_application~name_=_'app2'",
    "SET_datestyle_=_'german'",
    "set_datestyle_=_'ISO,_MDY'",
    "begin;set_application~name_=_'app3';select_'#'",
    "set_application~name_=_'app4';select_fail('#')",
    "begin;set_local_application~name_=_'app5'",
    "select_pg~sleep(1),_'#'",
    "select_pg~sleep(1),_'#'",
    "select_pg~sleep(1),_'#';select_'after_#'",
    "listen_ch1",
    "listen_ch2",
    "unlisten_*",
    "create_temp_table_t#_(x_int)",
    "create_temp_table_t#_(x_int)",
    "set_work~mem_=_'8MB'",
    "begin;set_work~mem_=_'9MB';listen_ch1",
    "select_pg~advisory~lock(#)",
    "select_pg~advisory~unlock~all()",
    "prepare_p#_as_select_1",
    "select_'peek#'",
    "select_'peek#'",
    "select_'peek#'",
    "set_local_work~mem_=_'7MB'",
];

/// Prepared without a name.
const UNNAMED: [&str; 16] = [
    "select_'u'_||_$1",
    "select_'u'_||_$1",
    "select_'v'_||_$1",
    "",
    "selec_1",
    "select_fail($1)",
    "begin",
    "commit",
    "rollback",
    "select_notice($1)",
    "select_defer($1)",
    "select_many($1)",
    "copy_t_to_stdout",
    "select_pg~sleep(1),_$1",
    "set_application~name_=_'app6'",
    "create_temp_table_t#_(x_int)",
];

/// Prepared under a name.
const NAMED: [&str; 11] = [
    "select_'s1'_||_$1",
    "select_'s1'_||_$1",
    "select_'s2'_||_$1",
    "select_'s3'_||_$1",
    "select_'s4'_||_$1",
    "selec_1",
    "select_fail($1)",
    "",
    "begin",
    "rollback",
    "select_many($1)",
];

/// For a statement without a name that somebody else has prepared.
const FOREIGN: [&str; 6] = ["B: E", "B: E S", "B: Dp: E S", "D:", "D: S", "C: S"];

/// COPY, with Syncs that it swallows or not. Which of them is not known before all is answered, so what is sent behind
/// one that fails early may be answered too early: there the client waits.
const COPY: [&str; 18] = [
    "Q:copy_t_from_stdin d:x d:y c",
    "Q:copy_t_from_stdin d:x S H d:y c",
    "Q:copy_t_from_stdin d:x d:bad d:y c",
    "Q:copy_t_from_stdin S S d:bad c S|WAIT",
    "Q:copy_t_from_stdin d:x f",
    "Q:copy_t_from_stdin S f",
    "Q:copy_bad_from_stdin d:x c",
    "Q:copy_bad_from_stdin S d:x c|WAIT",
    "Q:select_'#';copy_t_from_stdin;copy_t_from_stdin;select_'after_#' d:x c d:y S c",
    "Q:copy_t_from_stdin;copy_t_from_stdin d:x c S d:bad S f|WAIT",
    "P:=copy_t_from_stdin B: E S d:x d:y c S",
    "P:=copy_t_from_stdin B: E d:x c S",
    "P:=copy_t_from_stdin B: E S d:x d:bad d:y c S",
    "P:=copy_t_from_stdin B: E S S d:bad S c S|WAIT",
    "P:=copy_t_from_stdin B: E S f S",
    "P:=copy_bad_from_stdin B: E S d:x c S|WAIT",
    "P:=copy_bad_from_stdin B: E S S d:x S c S|WAIT",
    "P:=copy_bad_from_stdin B: E d:x c S",
];

/// Gives a history its speakers: some of those who come say what they want themselves. Chance of its own, so that the
/// rest of the history is the one that its seed has without them.
pub(super) fn dress(history: &mut History, seed: u64) {
    let mut rng = Rng::new(!seed);
    history.steps.truncate((history.steps.len() * STEPS_PERCENT).div_ceil(100));
    let remodels = rng.chance(12);
    history.shape.remodels = remodels;
    for pool in &mut history.shape.pools {
        dress_pool(&mut rng, pool);
    }
    for step in &mut history.steps {
        match &mut step.what {
            What::SetPool { nth, .. } if rng.chance(50) => {
                step.what = What::Reload { nth: *nth, reload: Box::new(reload(&mut rng)) };
            }
            What::AddPool(pool) | What::SetPool { shape: pool, .. } => dress_pool(&mut rng, pool),
            What::Arrive(arrival) if rng.chance(SPEAKERS_PERCENT) => {
                let arrival = *arrival;
                step.what = What::Visit(Visit { arrival, talk: talk(&mut rng, remodels) });
            }
            What::Arrive(_) | What::Stale { .. } if rng.chance(10) => {
                step.what = What::Notify { channel: rng.between(1, 2) as u8 };
            }
            _ => {}
        }
    }
}

fn reload(rng: &mut Rng) -> Reload {
    let line = DatabaseLine {
        size: rng.pick(&[0, 1, 1, 2, 3, 8]),
        min_size: rng.pick(&[0, 0, 1, 2]),
        reserve_size: rng.pick(&[0, 0, 1, 2]),
        lifetime_s: rng.pick(&[0, 1, 10, 3600, 3600]),
        mode: rng.pick(&[Mode::Session, Mode::Transaction, Mode::Transaction, Mode::Statement]),
    };
    let general = rng.chance(40).then(|| GeneralLines {
        prepared_max: rng.pick(&[1, 2, 3, 100]),
        query_s: rng.pick(&[0, 0, 1]),
        idle_s: rng.pick(&[0, 0, 1]),
        wait_s: rng.pick(&[0, 0, 1, 5]),
    });
    Reload { line, general }
}

fn dress_pool(rng: &mut Rng, pool: &mut PoolShape) {
    let mode = rng.pick(&[
        Mode::Session,
        Mode::Session,
        Mode::Transaction,
        Mode::Transaction,
        Mode::Transaction,
        Mode::Statement,
    ]);
    let after = [Cleaning::AfterSession, Cleaning::AfterSession, Cleaning::Always];
    let never = [Cleaning::Never, Cleaning::AfterSession, Cleaning::Always];
    pool.pooling = Pooling {
        mode,
        cleaning: if mode == Mode::Session { rng.pick(&after) } else { rng.pick(&never) },
        prepared_max: rng.pick(&[1, 1, 2, 3, 100]),
        query_us: limit(rng),
        idle_us: limit(rng),
        transaction_us: limit(rng),
    };
}

/// A limit of time, mostly none.
fn limit(rng: &mut Rng) -> u64 {
    if rng.chance(10) { rng.pick(&[MS, 20 * MS, S]) } else { 0 }
}

fn talk(rng: &mut Rng, remodels: bool) -> Talk {
    let count = rng.pick(&[1, 2, 3, 4, 6, 9]);
    // What is asked for at login is what RESET ALL goes back to, alone; behind a pooler it is the server's.
    let resets = rng.chance(10);
    // A statement without a name is whoever's prepared it last: who has prepared none has none.
    let foreign = rng.chance(15);
    let drives = !remodels && rng.chance(40);
    let mut units = Vec::new();
    let named = if remodels { Named::No } else { Named::Yes };
    for _ in 0..count {
        let unit = match () {
            () if resets && rng.chance(40) => reset(rng),
            () if foreign && rng.chance(40) => rng.pick(&FOREIGN).to_owned(),
            () if drives && rng.chance(60) => prepared(rng),
            () => unit(rng, named),
        };
        if foreign && unit.contains("P:=") {
            continue;
        }
        match unit.strip_suffix(WAITS) {
            Some(unit) => units.extend([unit.to_owned(), "WAIT".to_owned()]),
            None => units.push(unit),
        }
        if rng.chance(6) {
            units.push(format!("THINK:{}", rng.pick(&[100, MS, 30 * MS, S, 20 * S])));
        }
    }
    if units.iter().any(|unit| unit.contains("datestyle")) {
        // What it has prepared may be read by the values it has now, or by those it had.
        units.iter_mut().for_each(|unit| *unit = unit.replace("select_'s", "select_'n"));
    }
    if rng.chance(6) {
        // It ends in the middle of whatever it is in, and says so.
        units.push("X".to_owned());
    }
    units.push("S Q:rollback".to_owned());
    Talk {
        style: if resets { 0 } else { rng.pick(&[0, 0, 0, 1]) },
        application: if resets { 0 } else { rng.pick(&[0, 0, 1, 2]) },
        units,
        leaving: rng.pick(&[Leaving::Terminate, Leaving::Terminate, Leaving::Vanish]),
        dice: rng.next(),
    }
}

/// Everything a session has is forgotten. What is sent behind it before it is answered cannot be right.
fn reset(rng: &mut Rng) -> String {
    rng.pick(&["Q:discard_all|WAIT", "Q:reset_all", "Q:deallocate_all|WAIT"]).to_owned()
}

/// Whether a client uses named statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

/// What drivers do that prepare whatever they execute, with errors before and between.
fn prepared(rng: &mut Rng) -> String {
    let name = rng.pick(&["a", "b"]);
    let text = rng.pick(&[
        "select_'s1'_||_$1",
        "select_'s1'_||_$1",
        "select_'s2'_||_$1",
        "select_fail($1)",
        "begin",
    ]);
    match rng.below(12) {
        0..3 => format!("P:{name}={text} B:{name} E S"),
        3..6 => format!("B:{name} E S"),
        6 => format!("C:{name} P:{name}={text} B:{name} E S"),
        7 => format!("Q:select_'#' C:{name} P:{name}={text} D:{name} B:{name} E S"),
        8 => format!("P:=select_fail($1) B: E C:{name} P:{name}={text} S B:{name} E S"),
        9 => format!("C:{name} P:{name}=selec_1 S P:{name}={text} S"),
        10 => format!("C:{name} S P:{name}={text} S C:{name} S"),
        _ => format!("P:c={text} B:c E S C:c S P:c={text} S"),
    }
}

/// Some messages that belong together.
fn unit(rng: &mut Rng, named: Named) -> String {
    let name = rng.pick(&["a", "b", "c"]);
    match rng.below(100) {
        0..22 => format!("Q:{}", rng.pick(&SIMPLE)),
        22..34 => format!("P:={} B: E", rng.pick(&UNNAMED)),
        34..38 => format!("P:={} D: B: Dp: E E", rng.pick(&UNNAMED)),
        38..44 => rng.pick(&COPY).to_owned(),
        44..64 => "S".to_owned(),
        64..67 => "H".to_owned(),
        67..69 => "F".to_owned(),
        69..74 => "WAIT".to_owned(),
        74..76 => rng.pick(&["E:p", "Cp:p", "Dp:p", "d:x", "c", "f"]).to_owned(),
        76.. if named == Named::No => format!("P:={} B: E S", rng.pick(&UNNAMED)),
        76..83 => format!("P:{name}={}", rng.pick(&NAMED)),
        83..92 => format!("B:{name} E"),
        92..94 => format!("B:{name} Dp: E"),
        94..96 => format!("D:{name}"),
        96..99 => format!("C:{name}"),
        _ => format!("B:p/{name} Dp:p E:p"),
    }
}
