//! `plimsoll completions` and `plimsoll manpages`: they know what `--help` knows.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::BINARY;
use plimsoll_testkit::binary_of;

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("plimsoll-pages-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder");
    Folder(path)
}

/// What the program prints when it is well.
#[track_caller]
fn said(words: &[&str]) -> String {
    let output = Command::new(binary_of(BINARY)).args(words).output().expect("it starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The commands that `--help` lists below these words.
fn commands(words: &[&str]) -> Vec<String> {
    let help = said(&[words, &["--help"]].concat());
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    // Two blanks, a name; what is further in goes on with the line above.
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_string).collect()
}

/// Every line of words there is, the program alone first.
fn all_commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut next = 0;
    while let Some(words) = all.get(next).cloned() {
        let borrowed: Vec<&str> = words.iter().map(String::as_str).collect();
        all.extend(commands(&borrowed).into_iter().map(|name| [words.clone(), vec![name]].concat()));
        next += 1;
    }
    all
}

/// The long options of a help text.
fn options(help: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let options = lines.filter_map(|line| line.split_once("--").map(|(_, rest)| rest));
    options.map(|rest| rest.split(|c| !is_word(c)).next().unwrap_or_default().to_string()).collect()
}

/// A page as a reader sees it, near enough.
fn page(folder: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "")
}

#[test]
fn every_command_has_a_page_with_all_its_options() {
    let folder = folder("man");
    said(&["manpages", &folder.0.display().to_string()]);
    let all = all_commands();
    for words in &all {
        let name = [vec!["plimsoll".to_string()], words.clone()].concat().join("-");
        let page = page(&folder.0, &format!("{name}.1"));
        let mut line: Vec<&str> = words.iter().map(String::as_str).collect();
        line.push("--help");
        let options = options(&said(&line));
        assert!(options.contains("help"), "{line:?}: {options:?}");
        for option in options {
            assert!(page.contains(&format!("--{option}")), "{name}.1 does not know --{option}");
        }
        assert!(page.contains("\n.SH NAME\n"), "{name}.1");
    }
    let written = std::fs::read_dir(&folder.0).expect("readable").count();
    assert_eq!(written, all.len() + 1, "a page for each command, and that of the file");
    let program = page(&folder.0, "plimsoll.1");
    for words in ["--reboot", "--user", "SIGHUP", "UNDER THE NAME PGBOUNCER", "plimsoll-holds(1)"] {
        assert!(program.contains(words), "{words}");
    }
    assert!(page(&folder.0, "plimsoll-holds.1").contains("plimsoll holds --database shop --watch\n"));
}

#[test]
fn the_page_of_the_file_has_every_key() {
    let folder = folder("ini");
    said(&["manpages", &folder.0.display().to_string()]);
    let page = page(&folder.0, "plimsoll.ini.5");
    let manual = include_str!("../../../docs/configuration.md");
    let (_, tables) = manual.split_once("### `[pgbouncer]`").expect("the tables");
    let keys: Vec<&str> = tables
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(key, _)| key)
        .collect();
    assert!(keys.len() > 150, "{}", keys.len());
    for key in keys {
        assert!(page.contains(&format!(".TP\n{key}\n")), "no paragraph of {key}");
    }
    for words in [".SH [plimsoll]", ".SH A line of [targets]", "changed by restart", "default 6432"] {
        assert!(page.replace('"', "").contains(words), "{words}");
    }
    let (how, _) = page.split_once("\n.SH [pgbouncer]\n").expect("words before the keys");
    let sections: Vec<&str> =
        tables.lines().filter_map(|line| line.strip_prefix("### A line of `")).collect();
    assert!(sections.len() > 4, "{sections:?}");
    for section in sections {
        let section = section.trim_end_matches('`');
        assert!(how.contains(section), "{section} is not among those whose lines are pairs");
    }
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let output =
        Command::new(binary_of(BINARY)).args(["manpages", "/nowhere/at/all"]).output().expect("it starts");
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && trouble.contains("/nowhere/at/all"), "{trouble}");
}

/// What bash would offer for the last word.
fn offered(script: &Path, words: &[&str]) -> BTreeSet<String> {
    let last = words.len() - 1;
    let asked = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={last}; _plimsoll plimsoll '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words[last],
        words[last - 1],
    );
    let output = Command::new("bash").args(["--norc", "-c", &asked]).output().expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let folder = folder("bash");
    let script = folder.0.join("plimsoll");
    std::fs::write(&script, said(&["completions", "bash"])).expect("it is ours");
    let one = |word: &str| BTreeSet::from([word.to_string()]);
    assert_eq!(offered(&script, &["plimsoll", "hol"]), one("holds"));
    assert_eq!(offered(&script, &["plimsoll", "holds", "--jo"]), one("--join"));
    assert_eq!(offered(&script, &["plimsoll", "identity", "ini"]), one("init"));
    assert_eq!(offered(&script, &["plimsoll", "completions", "z"]), one("zsh"));
    assert_eq!(offered(&script, &["plimsoll", "serve", "--reb"]), one("--reboot"));
}

#[test]
fn every_shell_knows_every_command() {
    let all = all_commands();
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        for name in all.iter().filter_map(|words| words.last()) {
            assert!(script.contains(name.as_str()), "{shell} does not know {name}");
        }
        // Where the shell is there it reads its script.
        let folder = folder(shell);
        let path = folder.0.join("script");
        std::fs::write(&path, script).expect("it is ours");
        if let Ok(output) = Command::new(shell).arg("-n").arg(&path).output() {
            let trouble = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && trouble.is_empty(), "{shell}: {trouble}");
        }
    }
}
