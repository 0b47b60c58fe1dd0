use std::path::{Path, PathBuf};

use super::*;
use crate::testing::block_on;

/// A folder with a program in it that counts how often it runs.
struct Program(PathBuf);

impl Program {
    fn new(name: &str, lines: &str) -> Program {
        let folder = std::env::temp_dir().join(format!("plimsoll-keeper-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let text = format!("cd {} || exit 9\necho run >> runs\n{lines}\n", folder.display());
        std::fs::write(folder.join("program"), text).expect("a place for it");
        Program(folder)
    }

    fn want(&self, role: &str, refused: Option<u64>) -> Want {
        let login = Login { host: "h".into(), port: 1, role: role.into() };
        let args = vec![self.0.join("program").display().to_string()];
        Want { source: Source::Command { program: "/bin/sh".into(), args }, login, refused }
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.0.join("runs")).unwrap_or_default().lines().count()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn providers() -> Providers {
    Providers::new(Environment::default())
}

fn text(given: &Given) -> String {
    given.secret.expose_text().expect("a text").to_string()
}

#[test]
fn whoever_asks_at_once_shares_one_run_and_another_role_has_its_own() {
    let program = Program::new("shared", "echo '{\"secret\": \"x\"}'");
    let providers = providers();
    let asked: Vec<_> = (0..50).map(|_| providers.secret(program.want("app", None))).collect();
    block_on(async {
        for answer in asked {
            let given = answer.await.expect("a secret");
            assert_eq!((text(&given).as_str(), given.epoch, given.life), ("x", 1, None));
        }
        assert_eq!(program.runs(), 1);
        providers.secret(program.want("other", None)).await.expect("a secret");
    });
    assert_eq!(program.runs(), 2);
}

#[test]
fn a_refused_one_is_asked_for_again_once() {
    let program = Program::new("refused", "echo \"{\\\"secret\\\": \\\"$(wc -l < runs)\\\"}\"");
    let providers = providers();
    block_on(async {
        let first = providers.secret(program.want("app", None)).await.expect("a secret");
        let again = providers.secret(program.want("app", None)).await.expect("a secret");
        assert_eq!((text(&first), first.epoch, text(&again)), ("1".into(), 1, "1".into()));
        let newer = providers.secret(program.want("app", Some(1))).await.expect("a secret");
        assert_eq!((text(&newer), newer.epoch), ("2".into(), 2));
        let late = providers.secret(program.want("app", Some(1))).await.expect("a secret");
        assert_eq!((text(&late), late.epoch), ("2".into(), 2));
    });
    assert_eq!(program.runs(), 2);
}

#[test]
fn a_secret_is_renewed_before_it_ends_without_anybody_asking() {
    let lines =
        "echo \"{\\\"secret\\\": \\\"$(wc -l < runs)\\\", \\\"expires_at\\\": $(($(date +%s) + 3))}\"";
    let program = Program::new("renewed", lines);
    let providers = providers();
    block_on(providers.secret(program.want("app", None))).expect("a secret");
    let began = std::time::Instant::now();
    // One that has ended is not asked for again before somebody wants it.
    while program.runs() < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is renewed");
        std::thread::yield_now();
    }
}

#[test]
fn whoever_leaves_takes_nothing_along() {
    let program = Program::new("left", "while ! test -e go; do :; done; echo '{\"secret\": \"x\"}'");
    let providers = providers();
    drop(providers.secret(program.want("app", None)));
    let stays = providers.secret(program.want("app", None));
    std::fs::write(program.path("go"), "").expect("a place for it");
    assert_eq!(text(&block_on(stays).expect("a secret")), "x");
    assert_eq!(program.runs(), 1);
}

#[test]
fn a_failure_has_the_providers_name_and_words() {
    let program = Program::new("fails", "echo 'no lease' >&2; exit 1");
    let providers = providers();
    block_on(async {
        for _ in 0..2 {
            let cause = providers.secret(program.want("app", None)).await.expect_err("it fails");
            let view = cause.view(false);
            assert_eq!(view.message, "server login failed: no credential from command:/bin/sh");
            let detail = view.detail.expect("why");
            assert_eq!(detail, "command:/bin/sh: ended with exit status: 1: no lease");
        }
    });
    assert_eq!(program.runs(), 1, "it is left alone for a while");
}

#[test]
fn a_file_is_read_each_time_and_a_pipe_keeps_nobody() {
    let program = Program::new("file", "");
    let path = program.path("secret");
    let want = |path: &Path| {
        let login = Login { host: "h".into(), port: 1, role: "app".into() };
        Want { source: Source::File { path: path.into() }, login, refused: None }
    };
    let providers = providers();
    block_on(async {
        for (content, secret, epoch) in
            [("a\n", "a", 1), ("b\r\n", "b", 2), ("b", "b", 2), (" c \n\n", " c \n", 3)]
        {
            std::fs::write(&path, content).expect("a place for it");
            let given = providers.secret(want(&path)).await.expect("a secret");
            assert_eq!((text(&given).as_str(), given.epoch), (secret, epoch), "{content:?}");
        }
        let pipe = program.path("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        let cause = providers.secret(want(&pipe)).await.expect_err("no file");
        assert!(cause.view(false).detail.expect("why").ends_with("is not a regular file"));
    });
}
