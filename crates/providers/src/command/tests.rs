use super::*;

fn sh_within(limit: Duration, script: &str) -> Result<Fetched, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    let login = Login { host: "db.example".into(), port: 5432, role: "app".into() };
    let args = ["-c".to_string(), script.to_string()];
    let run = fetch_within(limit, Path::new("/bin/sh"), &args, &login);
    runtime.block_on(run).map_err(|Failure(why)| why)
}

fn sh(script: &str) -> Result<Fetched, String> {
    sh_within(Duration::from_secs(20), script)
}

fn why(script: &str) -> String {
    sh(script).expect_err(script)
}

#[test]
fn what_is_printed_is_the_secret() {
    let fetched = sh(r#"echo '{"secret": "a\"b", "other": 1}'"#).expect("a secret");
    assert_eq!(fetched.secret.expose(), b"a\"b");
    assert_eq!(fetched.life, None);
    let far = sh(r#"echo '{"secret": "x", "expires_at": "9000-01-01T00:00:00Z"}'"#).expect("a secret");
    assert!(far.life.expect("an end") > Duration::from_secs(1 << 32));
    let over = sh(r#"echo '{"secret": "x", "expires_at": 1000000000}'"#).expect("a secret");
    assert_eq!(over.life, Some(Duration::ZERO));
}

#[test]
fn it_knows_for_whom_it_is_asked() {
    let script = r#"printf '{"secret": "%s"}' "$PLIMSOLL_USER@$PLIMSOLL_HOST:$PLIMSOLL_PORT""#;
    assert_eq!(sh(script).expect("a secret").secret.expose(), b"app@db.example:5432");
}

#[test]
fn how_it_fails_is_told_in_its_own_words() {
    assert_eq!(
        why("echo >&2; echo '  no vault\tfor you ' >&2; echo more >&2; exit 3"),
        "ended with exit status: 3: no vaultfor you"
    );
    assert_eq!(why("exit 1"), "ended with exit status: 1");
    assert!(why("kill -9 $$").starts_with("ended with signal: 9"));
    let long = why("head -c 3000 /dev/zero | tr '\\0' x >&2; exit 1");
    assert_eq!(long, format!("ended with exit status: 1: {}", "x".repeat(COMPLAINT_CHARS_MAX)));
}

#[test]
fn what_is_not_json_is_never_repeated() {
    for script in ["echo hunter2", "echo '{\"secret\": hunter2}'", "echo '{\"secrets\": \"hunter2\"}'", ":"] {
        let why = why(script);
        assert!(why.starts_with("printed something else than") && !why.contains("hunter2"), "{why}");
    }
    let script = "echo '{\"secret\": \"hunter2\", \"expires_at\": \"soon\"}'";
    assert_eq!(why(script), "printed an expires_at that is neither RFC 3339 nor seconds since 1970");
}

#[test]
fn more_than_fits_is_refused() {
    assert_eq!(why("head -c 1000000 /dev/zero"), "printed more than 65536 bytes");
}

#[test]
fn a_program_that_hangs_is_killed_with_all_it_has_started() {
    let folder = std::env::temp_dir().join(format!("plimsoll-command-{}", std::process::id()));
    let pids = folder.display();
    let script = format!("sleep 1000 & echo $! $$ > {pids}; wait");
    let why = sh_within(Duration::from_millis(500), &script).expect_err("it hangs");
    assert_eq!(why, "did not end within 0.5 s");
    let text = std::fs::read_to_string(&folder).expect("it has begun");
    std::fs::remove_file(&folder).expect("it is ours");
    // A killed process is there until it has been waited for; what it was started from does that.
    let runs = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    };
    let began = std::time::Instant::now();
    while text.split_whitespace().any(runs) {
        assert!(began.elapsed() < Duration::from_secs(20), "still there: {text}");
        std::thread::yield_now();
    }
}

#[test]
fn what_cannot_be_started_is_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    let login = Login { host: "h".into(), port: 1, role: "r".into() };
    let gone = runtime.block_on(fetch(Path::new("/nowhere/at all"), &[], &login));
    let Failure(why) = gone.expect_err("it is not there");
    assert!(why.starts_with("cannot be started: No such file"), "{why}");
}
