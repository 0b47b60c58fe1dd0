//! The loader's word: its mistakes and warnings as findings, and a plan to judge even where there are mistakes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use plimsoll_config::{Mistake, Plan};

use super::finding::{Finding, Level, Place};
use super::places::{Places, split_message};

/// How often wrong lines are left out before the rest is given up: leaving one out can show another.
const ROUNDS_MAX: usize = 4;

/// Rules of the loader's mistakes, by words that are in them.
const MISTAKES: [(&str, &str); 6] = [
    ("unknown parameter", "unknown-key"),
    ("unrecognized ", "unknown-key"),
    ("invalid section", "unknown-section"),
    ("invalid value", "invalid-value"),
    ("syntax error", "syntax"),
    ("could not load file", "file-missing"),
];

/// Rules of the loader's warnings, by words that are in them.
const WARNINGS: [(&str, &str); 7] = [
    ("Linux takes at most", "keepalive-refused"),
    ("network load balancer", "keepalive-too-long"),
    ("was set before at", "key-set-twice"),
    ("begins again", "section-twice"),
    ("has no effect", "key-without-effect"),
    ("broken auth file", "auth-file-line-broken"),
    ("could not open auth_file", "auth-file-unreadable"),
];

/// What came of a file.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The plan; with mistakes, that of the lines that are right; `None` where nothing can be made of them.
    pub(super) plan: Option<Plan>,
    /// What the loader said.
    pub(super) findings: Vec<Finding>,
    /// Where things stand.
    pub(super) places: Places,
    /// The ini files that were read.
    pub(super) files: Vec<PathBuf>,
}

/// Reads a file for the loader.
type ReadFile<'a> = dyn FnMut(&Path) -> std::io::Result<String> + 'a;

/// Loads `main`.
pub(super) fn load(main: &Path, read: &mut ReadFile<'_>) -> Loaded {
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    let first = plimsoll_config::load(main, &mut |path: &Path| {
        let text = read(path)?;
        texts.push((path.to_path_buf(), text.clone()));
        Ok(text)
    });
    let (plan, mistakes) = match first {
        Ok(plan) => (Some(plan), Vec::new()),
        Err(mistakes) => (without(main, &mistakes, &texts, read), mistakes),
    };
    if let Some(secret) = plan.as_ref().and_then(|plan| plan.general.auth_file.as_ref()) {
        texts.retain(|(path, _)| path != secret);
    }
    let warnings = plan.iter().flat_map(|plan| &plan.warnings);
    let places = Places::new(main, plan.as_ref());
    let mut findings: Vec<Finding> = mistakes.iter().map(mistake).collect();
    findings.extend(warnings.map(|text| warning(text, &places)));
    if plan.is_none() {
        let words = "the mistakes leave no configuration to be judged: only they are listed";
        findings.push(Finding::new(
            Level::Note,
            "not-judged",
            places.whole(),
            words,
            "correct them and check again",
        ));
    }
    Loaded { plan, findings, places, files: texts.into_iter().map(|(path, _)| path).collect() }
}

/// The plan of the lines that are right.
fn without(
    main: &Path,
    mistakes: &[Mistake],
    texts: &[(PathBuf, String)],
    read: &mut ReadFile<'_>,
) -> Option<Plan> {
    let mut wrong: BTreeSet<(PathBuf, u32)> = BTreeSet::new();
    let mut round = mistakes.to_vec();
    for _ in 0..ROUNDS_MAX {
        for mistake in &round {
            wrong.insert((mistake.file.clone(), mistake.line));
        }
        if round.iter().any(|mistake| !can_be_left_out(mistake, texts)) {
            return None;
        }
        let loaded = plimsoll_config::load(main, &mut |path: &Path| {
            let text = read(path)?;
            let lines = (1..).zip(text.split('\n'));
            let kept =
                lines.map(|(line, text)| if wrong.contains(&(path.to_path_buf(), line)) { "" } else { text });
            Ok(kept.collect::<Vec<_>>().join("\n"))
        });
        match loaded {
            Ok(plan) => return Some(plan),
            Err(mistakes) => round = mistakes,
        }
    }
    None
}

/// Without a header the lines behind it would stand in another section; without a line nothing can be left out.
fn can_be_left_out(mistake: &Mistake, texts: &[(PathBuf, String)]) -> bool {
    let Some(at) = usize::try_from(mistake.line).ok().and_then(|line| line.checked_sub(1)) else {
        return false;
    };
    let text = texts.iter().find(|(path, _)| *path == mistake.file);
    text.and_then(|(_, text)| text.split('\n').nth(at))
        .is_some_and(|line| !line.trim_start().starts_with('['))
}

fn rule(rules: &[(&str, &'static str)], text: &str, otherwise: &'static str) -> &'static str {
    rules.iter().find(|(words, _)| text.contains(words)).map_or(otherwise, |(_, id)| id)
}

fn mistake(mistake: &Mistake) -> Finding {
    let place = Place { file: mistake.file.clone(), line: mistake.line };
    let id = rule(&MISTAKES, &mistake.message, "config-mistake");
    Finding::new(Level::Mistake, id, place, mistake.message.clone(), "")
}

fn warning(text: &str, places: &Places) -> Finding {
    let (place, words) = split_message(text);
    let id = rule(&WARNINGS, text, "config-warning");
    let place = place.unwrap_or_else(|| match id {
        "auth-file-unreadable" => places.key("auth_file"),
        "keepalive-too-long" => places.first_key(&["tcp_keepidle", "tcp_keepalive"]),
        "keepalive-refused" => places.first_key(&["tcp_keepcnt", "tcp_keepidle", "tcp_keepintvl"]),
        _ => places.whole(),
    });
    let finding = Finding::new(Level::Warning, id, place, words, todo(id));
    match id {
        "keepalive-too-long" => finding
            .suggesting("tcp_keepalive", 1, "dead peers are noticed, and balancers keep flows in mind")
            .suggesting("tcp_keepidle", 60, "below the 350 s after which a balancer forgets a silent flow"),
        _ => finding,
    }
}

fn todo(id: &str) -> &'static str {
    match id {
        "keepalive-too-long" => "set tcp_keepalive = 1 and tcp_keepidle = 60",
        "keepalive-refused" => "set a value that the kernel takes",
        "key-set-twice" => "remove one of the two lines",
        "section-twice" => "put the keys under one header",
        "key-without-effect" => "remove the line",
        "auth-file-line-broken" => "write \"user\" \"secret\", one a line",
        "auth-file-unreadable" => "correct the path, or let the pooler's user read the file",
        _ => "",
    }
}

#[cfg(test)]
pub(super) mod tests;
