//! Any text is read without a panic, and what is written is what is read.

use std::fmt::Write;
use std::path::Path;

use plimsoll_config::{Database, Host, Plan, diff, from_url, load, set};
use plimsoll_types::Secret;
use proptest::prelude::*;

fn read(text: &str) -> Option<Plan> {
    load(Path::new("a.ini"), &mut |_| Ok(text.to_string())).ok()
}

/// Pieces of which interesting files are made, and anything else.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "[pgbouncer]\n",
        "[databases]\n",
        "[users]\n",
        "[plimsoll]\n",
        "[peers]\n",
        "[issuers]\n",
        "x = url=https://a audience=a jwks=https://a/k ",
        "map='sub=x -> app_01m80gg6cjn4qpdvfkssbnga6t' ",
        "discovery=openid",
        "->",
        "[",
        "]",
        "%include a.ini\n",
        "\n",
        "=",
        " = ",
        "'",
        "\"",
        "''",
        ",",
        "host",
        "host=",
        "port",
        "password=",
        "pool_size",
        "server_lifetime",
        "auth_file",
        "auth_type = ",
        "collect_max",
        "workers",
        "5ms",
        "1e9",
        "-1",
        "0x",
        "0777",
        "*",
        ";",
        "#",
        "\0",
        "\r\n",
        "ä",
    ]);
    prop_oneof![4 => known.prop_map(str::to_string), 1 => any::<String>()]
}

fn word() -> impl Strategy<Value = String> {
    "[ -~äß]{1,12}".prop_filter("a list has no empty items and ends in no blanks", |text| {
        text.trim() == text && !text.contains(',') && !text.starts_with(['/', '@', '['])
    })
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        (word(), 1..=u16::MAX).prop_map(|(host, port)| Host::Tcp { host, port }),
        ("/[a-z/.]{0,10}", 1..=u16::MAX).prop_map(|(dir, port)| Host::Unix { dir: dir.into(), port }),
    ]
}

prop_compose! {
    fn database()(
        name in word().prop_filter("that is the auto-database", |name| name != "*"),
        hosts in prop::collection::vec(host(), 1..4),
        dbname in prop::option::of(word()),
        password in prop::option::of(word()),
        pool_size in prop::option::of(0..1_000_000u32),
        lifetime_ms in prop::option::of(0..10_000_000u64),
        timezone in prop::option::of(word()),
    ) -> Database {
        Database {
            name,
            hosts,
            dbname,
            password: password.map(|password| Secret::from_text(&password)),
            pool_size,
            server_lifetime: lifetime_ms.map(std::time::Duration::from_millis),
            startup: timezone.map(|zone| ("timezone".to_string(), zone)).into_iter().collect(),
            ..Database::default()
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The line of `[databases]` that makes this database.
fn render(database: &Database) -> String {
    let name = format!("\"{}\"", database.name.replace('"', "\"\""));
    let names = database.hosts.iter().map(|host| match host {
        Host::Tcp { host, .. } => host.clone(),
        Host::Unix { dir, .. } => dir.display().to_string(),
    });
    let ports = database.hosts.iter().map(|host| match host {
        Host::Tcp { port, .. } | Host::Unix { port, .. } => port.to_string(),
    });
    let (names, ports): (Vec<_>, Vec<_>) = (names.collect(), ports.collect());
    let mut line = format!("{name} = host={} port = {}", quoted(&names.join(",")), ports.join(","));
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(line, " {key}={value}");
        }
    };
    add("dbname", database.dbname.as_deref().map(quoted));
    add("password", database.password.as_ref().and_then(|secret| secret.expose_text()).map(quoted));
    add("pool_size", database.pool_size.map(|size| size.to_string()));
    add("server_lifetime", database.server_lifetime.map(|time| time.as_secs_f64().to_string()));
    for (key, value) in &database.startup {
        add(key, Some(quoted(value)));
    }
    line
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        match load(Path::new("a.ini"), &mut |_| Ok(text.clone())) {
            Ok(plan) => prop_assert!(diff(&plan, &plan).is_empty()),
            Err(mistakes) => prop_assert!(!mistakes.is_empty()),
        }
    }

    #[test]
    fn any_auth_file_is_read_without_a_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        let users = pieces.concat();
        let plan = load(Path::new("a.ini"), &mut |path| {
            Ok(if path == Path::new("u") { users.clone() } else { "[pgbouncer]\nauth_file = u".to_string() })
        });
        prop_assert!(plan.is_ok());
    }

    #[test]
    fn any_url_is_read_without_a_panic(
        url in any::<String>(),
        rest in "[a-z%0-9@:/?=&,\\[\\]]{0,40}",
    ) {
        let _ = from_url(&url);
        if let Ok(plan) = from_url(&format!("postgres://{rest}")) {
            prop_assert_eq!(plan.databases.len(), 1);
            prop_assert!(!plan.databases[0].hosts.is_empty());
        }
    }

    #[test]
    fn a_password_in_a_url_is_never_repeated(
        before in "[a-z@:/?#&=,%]{0,6}",
        after in "[a-z@:/?#&=,%]{0,6}",
        tail in "[a-z@:/?#&=,%]{0,10}",
    ) {
        if let Err(mistake) = from_url(&format!("postgres://u:{before}XYZZY{after}@h/{tail}")) {
            prop_assert!(!mistake.message.contains("XYZZY"), "{}", mistake);
        }
    }

    #[test]
    fn a_database_is_read_as_it_was_written(database in database()) {
        let text = format!("[pgbouncer]\n[databases]\n{}\n", render(&database));
        let plan = read(&text).ok_or_else(|| TestCaseError::fail(format!("refused: {text}")))?;
        let mut expected = plan.clone();
        let host = plan.databases[0].host.clone();
        expected.databases = vec![Database { host, ..database }];
        prop_assert_eq!(diff(&expected, &plan), vec![], "{}", text);
        prop_assert_eq!(&plan.databases[0].hosts, &expected.databases[0].hosts);
    }

    #[test]
    fn settings_are_read_as_they_are_shown(
        counts in prop::collection::vec((prop::sample::select(vec![
            "max_client_conn", "default_pool_size", "min_pool_size", "reserve_pool_size", "max_prepared_statements",
            "server_lifetime", "query_timeout", "query_wait_notify", "tcp_keepcnt", "verbose",
        ]), 0..1_000_000u32), 0..10),
        names in prop::collection::vec(word(), 0..4),
    ) {
        let mut plan = read("[pgbouncer]\n").ok_or_else(|| TestCaseError::fail("refused"))?;
        for (key, value) in counts {
            prop_assert_eq!(set(&mut plan, key, &value.to_string()), Ok(()));
        }
        prop_assert_eq!(set(&mut plan, "admin_users", &names.join(", ")), Ok(()));
        let mut text = "[pgbouncer]\n".to_string();
        for line in &plan.shown {
            if let Some(value) = &line.value {
                let _ = writeln!(text, "{} = {value}", line.key);
            }
        }
        let again = read(&text).ok_or_else(|| TestCaseError::fail(format!("refused: {text}")))?;
        prop_assert_eq!(&again.general, &plan.general);
        prop_assert_eq!(&again.shown, &plan.shown);
    }
}
