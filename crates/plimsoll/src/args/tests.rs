use super::*;

fn asked(line: &str) -> Asked {
    parse(line.split(' ').map(OsString::from)).unwrap_or_else(|refusal| panic!("{line}: {}", refusal.text))
}

fn refused(line: &str) -> Refusal {
    parse(line.split(' ').map(OsString::from)).expect_err(line)
}

fn options(file: &str) -> ServeArgs {
    ServeArgs { file: file.into(), daemon: false, quiet: false, reboot: false, user: None, verbose: 0 }
}

#[test]
fn a_file_alone_is_served() {
    let expected = Asked::Serve(Serve { options: options("a.ini"), name: Compat::Plimsoll });
    assert_eq!(asked("plimsoll a.ini"), expected);
    assert_eq!(asked("plimsoll serve a.ini"), expected);
}

#[test]
fn the_options_are_pgbouncers_in_any_order() {
    let all = ServeArgs {
        daemon: true,
        quiet: true,
        reboot: true,
        user: Some("pg".to_string()),
        verbose: 2,
        ..options("a.ini")
    };
    for (program, name) in [("plimsoll", Compat::Plimsoll), ("./bin/pgbouncer", Compat::Pgbouncer)] {
        let expected = Asked::Serve(Serve { options: all.clone(), name });
        assert_eq!(asked(&format!("{program} -d -q -R -u pg -v -v a.ini")), expected);
        assert_eq!(asked(&format!("{program} -dqRvv a.ini --user=pg")), expected);
        let long = "--daemon --quiet --reboot --user pg --verbose --verbose a.ini";
        assert_eq!(asked(&format!("{program} {long}")), expected);
    }
}

/// A peer that is away makes no container unhealthy.
#[test]
fn the_health_check_of_the_container_asks_one_instance() {
    let container = include_str!("../../../../packaging/container/Containerfile");
    let check = container.lines().find(|line| line.starts_with("HEALTHCHECK")).expect("a health check");
    let (_, words) = check.split_once("CMD ").expect("its command");
    let words: Vec<String> = serde_json::from_str(words).expect("the form without a shell");
    let asked = asked(&words.join(" "));
    let seen = format!("{asked:?}");
    assert!(matches!(asked, Asked::Ask(Ask::Doctor(_))) && seen.contains("alone: true"), "{seen}");
}

#[test]
fn under_pgbouncers_name_every_word_is_a_file() {
    for file in ["run", "check", "serve", "help"] {
        let expected = Asked::Serve(Serve { options: options(file), name: Compat::Pgbouncer });
        assert_eq!(asked(&format!("/usr/sbin/pgbouncer {file}")), expected);
    }
    assert_eq!(refused("pgbouncer run postgres://h/d").text.kind(), clap::error::ErrorKind::UnknownArgument);
}

#[test]
fn run_has_a_port_a_size_and_a_budget() {
    let plain =
        RunArgs { url: "postgres://h/d".into(), port: 6432, pool_size: None, budget: None, verbose: 0 };
    assert_eq!(asked("plimsoll run postgres://h/d"), Asked::Run(plain.clone()));
    let full = RunArgs { port: 7000, pool_size: Some(5), budget: Some(9), verbose: 1, ..plain };
    assert_eq!(
        asked("plimsoll run --port 7000 --pool-size 5 --budget 9 -v postgres://h/d"),
        Asked::Run(full)
    );
    for wrong in ["--port 0", "--port 65536", "--pool-size 0", "--budget x"] {
        let refusal = refused(&format!("plimsoll run {wrong} postgres://h/d"));
        assert_eq!(refusal.text.kind(), clap::error::ErrorKind::ValueValidation, "{wrong}");
    }
}

#[test]
fn check_has_a_file() {
    let plain = CheckArgs { file: "a.ini".into(), suggest: false, json: false, offline: false };
    assert_eq!(asked("plimsoll check a.ini"), Asked::Check(plain.clone()));
    let suggest = CheckArgs { suggest: true, offline: true, ..plain.clone() };
    assert_eq!(asked("plimsoll check --offline --suggest a.ini"), Asked::Check(suggest));
    assert_eq!(asked("plimsoll check a.ini --json"), Asked::Check(CheckArgs { json: true, ..plain }));
    let both = refused("plimsoll check a.ini --json --suggest");
    assert_eq!(both.text.kind(), clap::error::ErrorKind::ArgumentConflict);
    assert_eq!(refused("plimsoll check").text.kind(), clap::error::ErrorKind::MissingRequiredArgument);
}

#[test]
fn the_version_is_that_of_show_version() {
    for (line, compat) in [("plimsoll -V", Compat::Plimsoll), ("pgbouncer --version", Compat::Pgbouncer)] {
        let refusal = refused(line);
        assert_eq!(refusal.text.kind(), clap::error::ErrorKind::DisplayVersion);
        assert_eq!(refusal.text.to_string(), format!("{}\n", plimsoll_admin::version(compat)));
    }
}

#[test]
fn nothing_to_serve_is_refused() {
    for line in ["plimsoll", "pgbouncer", "plimsoll -q", "plimsoll a.ini b.ini", "plimsoll -x a.ini"] {
        assert_ne!(refused(line).text.exit_code(), 0, "{line}");
    }
    assert_eq!(refused("plimsoll --help").text.exit_code(), 0);
}
