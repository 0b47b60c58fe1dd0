//! The report: lines for people, one object for programs. `docs/check.md` documents both.

use std::path::Path;

use plimsoll_cli::harmless;
use serde_json::{Value, json};

use super::demand::{Bound, Server};
use super::facts::Facts;
use super::finding::{Finding, Level};
use super::suggest::suggestions;

/// How it came out; the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Clean,
    Mistakes,
    Warnings,
}

impl Verdict {
    /// Of all findings.
    pub(super) fn of(findings: &[Finding]) -> Verdict {
        match (count(findings, Level::Mistake), count(findings, Level::Warning)) {
            (0, 0) => Verdict::Clean,
            (0, _) => Verdict::Warnings,
            _ => Verdict::Mistakes,
        }
    }

    /// The exit status.
    pub(super) fn status(self) -> u8 {
        match self {
            Verdict::Clean => 0,
            Verdict::Mistakes => 1,
            Verdict::Warnings => 2,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Verdict::Clean => "clean",
            Verdict::Mistakes => "mistakes",
            Verdict::Warnings => "warnings",
        }
    }
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.level == level).count()
}

/// Lines for people.
pub(super) fn text(main: &Path, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&place(finding));
        text.push_str(&format!(
            ": {}: {} [{}]\n",
            finding.level.as_str(),
            harmless(&finding.message),
            finding.id
        ));
        if !finding.todo.is_empty() {
            text.push_str(&format!("    {}\n", harmless(&finding.todo)));
        }
    }
    let counted = |level: Level| match count(findings, level) {
        0 => format!("no {}s", level.as_str()),
        1 => format!("1 {}", level.as_str()),
        n => format!("{n} {}s", level.as_str()),
    };
    text.push_str(&format!(
        "{}: {}, {}\n",
        harmless(&main.display().to_string()),
        counted(Level::Mistake),
        counted(Level::Warning)
    ));
    text
}

fn place(finding: &Finding) -> String {
    let file = finding.place.file.display().to_string();
    let file = harmless(&file);
    match finding.place.line {
        0 => file.into_owned(),
        line => format!("{file}:{line}"),
    }
}

/// One object.
pub(super) fn object(main: &Path, findings: &[Finding], servers: &[Server<'_>], facts: &Facts) -> Value {
    let verdict = Verdict::of(findings);
    let suggest = suggestions(findings);
    let suggest = suggest.iter().map(
        |line| json!({"section": line.section.as_str(), "key": line.key, "value": line.value, "why": line.why}),
    );
    json!({
        "file": main.display().to_string(),
        "status": verdict.as_str(),
        "mistakes": count(findings, Level::Mistake),
        "warnings": count(findings, Level::Warning),
        "findings": findings.iter().map(finding).collect::<Vec<Value>>(),
        "servers": servers.iter().map(|one| server(one, facts)).collect::<Vec<Value>>(),
        "suggest": suggest.collect::<Vec<Value>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "level": finding.level.as_str(),
        "id": finding.id,
        "file": finding.place.file.display().to_string(),
        "line": match finding.place.line {
            0 => Value::Null,
            line => Value::from(line),
        },
        "message": finding.message,
        "todo": finding.todo,
    })
}

fn server(server: &Server<'_>, facts: &Facts) -> Value {
    let said = server.said();
    let why_not = match server.answer {
        None => Some("not asked"),
        Some(Ok(_)) => None,
        Some(Err(silent)) => Some(silent.why.as_str()),
    };
    json!({
        "targets": server.targets.iter().map(ToString::to_string).collect::<Vec<String>>(),
        "databases": server.databases.iter().map(|database| database.name.as_str()).collect::<Vec<&str>>(),
        "pools": server.demand.pools,
        "can_need": server.demand.most,
        "bounded": server.demand.open_ended.is_empty() || server.bound != Bound::Off,
        "budget": server.bound.known(),
        "budget_from": match server.bound {
            Bound::Off => "off",
            Bound::Learned => "refusals",
            Bound::Asked(_) => "server",
            Bound::Set(_) => "configuration",
        },
        "asked": said.is_some(),
        "why_not": why_not,
        "version": said.map(|said| said.version.as_str()),
        "max_connections": said.map(|said| said.max_connections),
        "kept": said.map(|said| said.kept),
        "room": said.map(super::facts::Said::room),
        "others_now": said.map(|_| server.others(facts)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Place;
    use super::*;

    fn found(level: Level, line: u32, message: &str) -> Finding {
        Finding::new(level, "an-id", Place { file: "a.ini".into(), line }, message, "do it")
    }

    #[test]
    fn the_status_is_that_of_the_worst() {
        let [mistake, warning, note] =
            [Level::Mistake, Level::Warning, Level::Note].map(|level| found(level, 1, "m"));
        assert_eq!(Verdict::of(&[]).status(), 0);
        assert_eq!(Verdict::of(std::slice::from_ref(&note)).status(), 0);
        assert_eq!(Verdict::of(&[note.clone(), warning.clone()]).status(), 2);
        assert_eq!(Verdict::of(&[note, warning, mistake]).status(), 1);
    }

    #[test]
    fn mistakes_come_first_then_by_line() {
        let mut findings = vec![
            found(Level::Note, 1, "n"),
            found(Level::Warning, 9, "w9"),
            found(Level::Warning, 2, "w2"),
            found(Level::Mistake, 5, "bad \x1b[2J"),
        ];
        findings.sort_by(Finding::in_order);
        let lines = text(Path::new("a.ini"), &findings);
        assert_eq!(
            lines,
            "a.ini:5: mistake: bad \\x1b[2J [an-id]\n    do it\na.ini:2: warning: w2 [an-id]\n    do it\n\
             a.ini:9: warning: w9 [an-id]\n    do it\na.ini:1: note: n [an-id]\n    do it\n\
             a.ini: 1 mistake, 2 warnings\n"
        );
    }

    #[test]
    fn the_object_has_what_is_documented() {
        let findings = [found(Level::Warning, 0, "w")];
        let object = object(Path::new("a.ini"), &findings, &[], &Facts::default());
        assert_eq!(object["status"], "warnings");
        assert_eq!(object["findings"][0]["line"], Value::Null);
        let page = include_str!("../../../../docs/check.md");
        for key in object.as_object().expect("an object").keys() {
            assert!(page.contains(&format!("`{key}`")), "docs/check.md does not have {key}");
        }
    }
}
