//! `plimsoll check FILE.ini`: everything that is wrong, and everything doubtful, in one go.
//!
//! `load` has the loader's word, `gather`, `ask`, `secure` and `hba` look at the world, `demand` adds the pools up server by server, and
//! `rules` judges: pure functions. `print` and `suggest` write it down.

mod ask;
mod demand;
mod facts;
mod finding;
mod gather;
mod hba;
mod load;
mod places;
mod print;
mod rules;
mod secure;
mod suggest;
mod weak;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use facts::{Facts, Reach};
use finding::Finding;
use print::Verdict;

use crate::args::CheckArgs;

/// Checks, prints, and gives the exit status: 0 clean, 1 mistakes, 2 warnings only.
pub(crate) fn check(args: &CheckArgs) -> ExitCode {
    let loaded = load::load(&args.file, &mut |path: &Path| std::fs::read_to_string(path));
    let reach = if args.offline { Reach::Offline } else { Reach::Online };
    let mut findings = loaded.findings;
    let facts = match &loaded.plan {
        Some(plan) => gather::facts(plan, &loaded.files, reach),
        None => Facts::default(),
    };
    let servers = loaded.plan.as_ref().map(|plan| demand::servers(plan, &facts)).unwrap_or_default();
    if let Some(plan) = &loaded.plan {
        let case = rules::Case { plan, places: &loaded.places, facts: &facts, servers: &servers };
        findings.extend(rules::judge(&case));
    }
    findings.sort_by(Finding::in_order);
    let (out, err) = (std::io::stdout(), std::io::stderr());
    // With nowhere to print to there is still the exit status.
    if args.json {
        let _ = writeln!(&out, "{}", print::object(&args.file, &findings, &servers, &facts));
    } else if args.suggest {
        let _ = write!(&err, "{}", print::text(&args.file, &findings));
        let _ = write!(&out, "{}", suggest::text(&suggest::suggestions(&findings)));
    } else {
        let _ = write!(&out, "{}", print::text(&args.file, &findings));
    }
    ExitCode::from(Verdict::of(&findings).status())
}
