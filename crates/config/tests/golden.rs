//! Whole files: what the good ones mean, and every mistake of the bad ones, with file and line.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use plimsoll_config::{Mistake, Plan, load};

fn corpus(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(kind)
}

fn load_from(folder: &Path, name: &str) -> Result<Plan, Vec<Mistake>> {
    load(Path::new(name), &mut |path| std::fs::read_to_string(folder.join(path)))
}

/// Compares with the `.expected` file beside each ini file.
fn compare(kind: &str, actual_of: fn(Result<Plan, Vec<Mistake>>) -> String) {
    let folder = corpus(kind);
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".ini"))
        .collect();
    names.sort();
    assert!(names.len() > 3, "the corpus of {kind} files is gone");
    let mut different = String::new();
    for name in names {
        let actual = actual_of(load_from(&folder, &name));
        assert!(!actual.contains("hunter2"), "{name} tells a secret:\n{actual}");
        let expected_file = folder.join(&name).with_extension("expected");
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if std::env::var_os("PLIMSOLL_WRITE_DOCS").is_some() {
            std::fs::write(&expected_file, &actual).expect("the expected text can be written");
            continue;
        }
        if actual != expected {
            let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{kind}_{name}.actual"));
            std::fs::write(&beside, &actual).expect("a file for the actual text");
            let _ = write!(different, "\n{kind}/{name}: see {}\n{actual}", beside.display());
        }
    }
    assert!(different.is_empty(), "not as expected:{different}");
}

fn describe(plan: Result<Plan, Vec<Mistake>>) -> String {
    let plan = match plan {
        Ok(plan) => plan,
        Err(mistakes) => return format!("refused: {mistakes:#?}\n"),
    };
    let mut text = String::new();
    for line in plan.shown.iter().filter(|line| line.value.as_deref() != line.default) {
        let _ = writeln!(text, "{} = {}", line.key, line.value.as_deref().unwrap_or("NULL"));
    }
    let _ = writeln!(text, "{:?}", plan.own);
    for target in &plan.targets {
        let _ = writeln!(text, "{target:?}");
    }
    for issuer in &plan.issuers {
        let _ = writeln!(text, "{issuer:?}");
    }
    for database in plan.databases.iter().chain(&plan.auto_database) {
        let _ = writeln!(text, "{database:?}");
    }
    for (user, settings) in &plan.users {
        let _ = writeln!(text, "{user}: {settings:?}");
    }
    for user in plan.logins.keys() {
        let _ = writeln!(text, "login {user}");
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning {warning}");
    }
    text
}

fn mistakes(plan: Result<Plan, Vec<Mistake>>) -> String {
    match plan {
        Ok(_) => "taken\n".to_string(),
        Err(mistakes) => mistakes.iter().map(|mistake| format!("{mistake}\n")).collect(),
    }
}

#[test]
fn good_files_mean_what_they_say() {
    compare("good", describe);
}

#[test]
fn bad_files_are_refused_with_every_mistake() {
    compare("bad", mistakes);
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_of_the_whole() {
    let mistakes =
        load(Path::new("none.ini"), &mut |_| Err(std::io::Error::other("it is gone"))).expect_err("no file");
    assert_eq!(mistakes.len(), 1);
    assert_eq!(mistakes[0].to_string(), "none.ini: could not load file \"none.ini\": it is gone");
    assert_eq!(mistakes[0].line, 0);
}

#[test]
fn a_file_that_includes_itself_twice_ends() {
    let mut reads = 0;
    let text = "[pgbouncer]\n%include a.ini\n%include a.ini\n";
    let mistakes = load(Path::new("a.ini"), &mut |_| {
        reads += 1;
        Ok(text.to_string())
    })
    .expect_err("it never ends");
    assert!(reads <= 1001, "{reads}");
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
}

#[test]
fn every_default_written_out_is_what_nothing_written_is() {
    let bare = load(Path::new("a.ini"), &mut |_| Ok("[pgbouncer]\n".to_string())).expect("a good file");
    let mut text = "[pgbouncer]\n".to_string();
    for line in &bare.shown {
        if let Some(default) = line.default {
            let _ = writeln!(text, "{} = {default}", line.key);
        }
    }
    let full = load(Path::new("a.ini"), &mut |_| Ok(text.clone())).expect("a good file");
    assert_eq!(full.general, bare.general);
    assert_eq!(full.shown, bare.shown);
    assert_eq!(full.warnings, bare.warnings);
}
