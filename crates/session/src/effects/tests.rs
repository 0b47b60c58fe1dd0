use plimsoll_types::Pin;

use super::{Effect, Extent, Form, Marks, begins_plain, is_boundary, is_plain, mentions_nothing, of};

fn whole(text: &str) -> Effect {
    of(text.as_bytes(), Extent::Whole)
}

fn pins(text: &str) -> Vec<Pin> {
    whole(text).adds.pins().iter().collect()
}

#[test]
fn what_leaves_nothing() {
    for text in [
        "",
        "  -- nothing\n",
        ";",
        ";;/**/;",
        "SELECT 1",
        "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
        "SELECT pg_advisory_unlock(1)",
        "SELECT 'pg_advisory_lock(1)', $$set_config('a', 'b')$$, $a$ listen x; $a$ /* setseed(1) */",
        "SELECT lo_open(1, 2), pg_export_snapshot()",
        "(SELECT 1) UNION SELECT 2",
        "((select 1))",
        "/* a */ /* b /* nested */ */ begin; select 1; commit;",
        "INSERT INTO t VALUES ('LISTEN x; DO $$ $$'), ($a$ ; CALL x $a$)",
        "INSERT INTO temp VALUES (1)",
        "SET LOCAL work_mem = 1",
        "set transaction isolation level serializable",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET application_name = 'x'",
        "SET \"DateStyle\" TO iso",
        "SET SESSION timezone TO 'UTC'",
        "SET TIME ZONE 'UTC'",
        "set names 'utf8'",
        "SELECT set_config('a.b', 'c', true)",
        "select set_config('a.b', current_setting('x') || coalesce($1, ''), TRUE ), 1",
        "CREATE TABLE t (a int)",
        "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
        "create index on t (a)",
        "CREATE TRIGGER a BEFORE INSERT ON t EXECUTE FUNCTION f()",
        "PREPARE TRANSACTION 'x'",
        "DECLARE c CURSOR FOR SELECT 1",
        "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1",
        "UPDATE t SET a = E'it\\'s; LISTEN'",
        "UPDATE t SET a = 'C:\\dir', b = U&'\\0041', c = B'1'",
        "SELECT \"a;b\", \"it\"\"s; listen x\", $1, a$b$ FROM t$x -- ; listen x",
        "SELECT 1 - -1, 2/3, a->>'b;c'",
        "EXPLAIN SELECT 1",
        "COPY t FROM STDIN",
        "UNLISTEN x",
        "RESET work_mem",
        "DEALLOCATE \"all\"",
    ] {
        assert_eq!(pins(text), [], "{text}");
        assert_eq!(whole(text).removes, Marks::NONE, "{text}");
    }
}

#[test]
fn what_leaves_something() {
    for (text, pin) in [
        ("LISTEN x", Pin::Listen),
        ("select 1; listen x", Pin::Listen),
        ("SELECT ';'; /* ; */ listen x;", Pin::Listen),
        // The literal ends at the second quote: NAME is no prefix of escapes.
        ("SELECT NAME'a'; LISTEN x; --'", Pin::Listen),
        ("UNLISTEN *; LISTEN x", Pin::Listen),
        ("SELECT 1 -- it's\n; LISTEN x", Pin::Listen),
        ("SELECT $$;$$, $1$2; LISTEN x", Pin::Listen),
        ("SELECT pg_try_advisory_lock(1)", Pin::AdvisoryLock),
        ("select 1, PG_ADVISORY_LOCK_SHARED(2)", Pin::AdvisoryLock),
        ("SELECT \"pg_advisory_lock\"(2)", Pin::AdvisoryLock),
        ("SELECT pg_advisory_xact_lock(1), pg_advisory_lock(2)", Pin::AdvisoryLock),
        ("WITH a AS (SELECT pg_catalog . pg_advisory_lock (2)) SELECT 1", Pin::AdvisoryLock),
        ("CREATE TABLE t AS SELECT pg_advisory_lock(2)", Pin::AdvisoryLock),
        ("SELECT set_config('a.b', 'c', false)", Pin::Setting),
        ("SELECT set_config('a.b', 'c', $1)", Pin::Setting),
        ("SELECT set_config('a.b', set_config('c', 'd', false), true)", Pin::Setting),
        ("SELECT set_config('a.b', f('c', true), false)", Pin::Setting),
        ("SELECT set_config('a.b', 'c', not, true", Pin::Setting),
        ("SELECT setseed(0.5)", Pin::Setting),
        ("update pg_settings set setting = 'x' where name = 'y'", Pin::Setting),
        ("SET work_mem = '1MB'", Pin::Setting),
        ("/* x */ Set -- y\n Session work_mem = '1MB'", Pin::Setting),
        ("SET application_name.x = 1", Pin::Setting),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Pin::Setting),
        ("SET ROLE x", Pin::Setting),
        ("SET SESSION AUTHORIZATION x", Pin::Setting),
        ("SET SESSION SESSION AUTHORIZATION x", Pin::Setting),
        ("RESET ALL; SET search_path = x", Pin::Setting),
        ("CREATE TEMP TABLE t (a int)", Pin::TempTable),
        ("CREATE TEMP TABLE t (a int) ON COMMIT DELETE ROWS", Pin::TempTable),
        ("create or replace temporary view v as select 1", Pin::TempTable),
        ("CREATE LOCAL TEMPORARY SEQUENCE s", Pin::TempTable),
        ("CREATE TABLE pg_temp.t (a int)", Pin::TempTable),
        ("CREATE TABLE \"pg_temp\".t (a int)", Pin::TempTable),
        ("SELECT 1 AS a INTO TEMP t", Pin::TempTable),
        ("SELECT 1 AS a INTO /* x */ LOCAL\nTEMPORARY TABLE t", Pin::TempTable),
        ("WITH x AS (SELECT 1) SELECT * INTO pg_temp.t FROM x", Pin::TempTable),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", Pin::TempTable),
        ("PREPARE p AS SELECT 1", Pin::Prepare),
        ("DECLARE c CURSOR WITH\nHOLD FOR SELECT 1", Pin::HeldCursor),
        ("CALL p()", Pin::Unknown),
        ("DO $$ BEGIN END $$", Pin::Unknown),
        ("EXECUTE p", Pin::Unknown),
        ("EXPLAIN ANALYZE EXECUTE p", Pin::Unknown),
        ("CREATE TABLE t AS EXECUTE p", Pin::Unknown),
        ("LOAD 'x'", Pin::Unknown),
        ("FROBNICATE", Pin::Unknown),
        ("SELECT 'no end", Pin::Unknown),
        ("SELECT 1 /* no end", Pin::Unknown),
        ("SELECT $a$ no end", Pin::Unknown),
        ("SELECT \"no end", Pin::Unknown),
        ("SELECT E'\\", Pin::Unknown),
        // Where this literal ends depends on standard_conforming_strings.
        ("SELECT '\\'; LISTEN x; --'", Pin::Unknown),
        ("SELECT NAME'\\'; LISTEN x; --'", Pin::Unknown),
        // An escape, unless it is the second byte of a character.
        ("SELECT E'ä\\'; LISTEN x; --'", Pin::Unknown),
        ("SELECT U&\"\\0070g_advisory_lock\"(1)", Pin::Unknown),
        ("SELECT dblink_connect('x')", Pin::Unknown),
        ("'literal'", Pin::Unknown),
        ("DO $$ $$; DISCARD ALL; CALL p()", Pin::Unknown),
    ] {
        assert_eq!(pins(text), [pin], "{text}");
    }
}

#[test]
fn a_plain_text_that_mentions_nothing_leaves_nothing() {
    for text in ["SELECT abalance FROM pgbench_accounts WHERE aid = 1", "select a from account_settings", ""]
    {
        assert!(mentions_nothing(text.as_bytes()), "{text}");
    }
    for text in [
        "SELECT PG_advisory_lock(1)",
        "select \"set_config\"('a', 'b', false)",
        "SELECT SetSeed(1)",
        "SELECT Dblink_connect('x')",
        "SELECT 1 INTO TEMPORARY t",
        "UPDATE pg_settings SET setting = 1",
        "SELECT U&\"\\0061\"",
    ] {
        assert!(!mentions_nothing(text.as_bytes()), "{text}");
    }
    for (name, _) in super::scan::FUNCTIONS {
        assert!(!mentions_nothing(name), "{}", String::from_utf8_lossy(name));
    }
}

#[test]
fn what_clears_something_away() {
    for (text, removes) in [
        ("DISCARD ALL", Marks::ALL),
        ("/* x */ discard\tall ;", Marks::ALL),
        ("DISCARD TEMP", Marks::TEMP),
        ("discard temporary", Marks::TEMP),
        ("UNLISTEN *", Marks::LISTEN),
        ("LISTEN x; UNLISTEN *", Marks::LISTEN),
        ("CLOSE ALL", Marks::CURSOR),
        ("DEALLOCATE PREPARE ALL", Marks::PREPARE),
        ("RESET ALL", Marks::SETTING),
        ("SELECT pg_advisory_unlock_all()", Marks::LOCK),
        ("select pg_catalog.pg_advisory_unlock_all ( );", Marks::LOCK),
        ("SELECT pg_advisory_unlock_all() WHERE false", Marks::NONE),
        ("SELECT pg_advisory_unlock_all(), 1", Marks::NONE),
        ("DISCARD PLANS", Marks::NONE),
        ("CLOSE \"all\"", Marks::NONE),
    ] {
        assert_eq!((whole(text).removes, whole(text).adds), (removes, Marks::NONE), "{text}");
    }
    let cleanup = whole("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;");
    let all = Marks::LOCK.with(Marks::CURSOR).with(Marks::LISTEN).with(Marks::SETTING);
    assert_eq!(cleanup.removes, all);
}

#[test]
fn what_a_failure_takes_back_depends_on_the_form() {
    for (text, form) in [
        ("SET a = 1", Form::One),
        ("SET a = 1;", Form::One),
        ("SET a = 1; SET b = 1", Form::Several),
        ("COMMIT", Form::Several),
        ("savepoint x", Form::Several),
        ("SELCT 1", Form::Unheard),
        ("SELCT 1; SELECT 1", Form::Several),
        ("DO 'x'", Form::One),
        ("SET a = 'no end", Form::Unheard),
    ] {
        assert_eq!(whole(text).form, form, "{text}");
    }
    let both = whole("LISTEN a; UNLISTEN *");
    assert_eq!((both.adds, both.ever), (Marks::NONE, Marks::LISTEN));
}

#[test]
fn the_statement_that_is_unknown_is_named() {
    let named = |text: &str, extent| of(text.as_bytes(), extent).unknown.map(|(a, b)| text[a..b].to_owned());
    assert_eq!(named("SELECT 1; /* x */ CALL p(1) ; CALL q()", Extent::Whole).as_deref(), Some("CALL p(1) "));
    assert_eq!(named("SELECT 1; DO 'x'", Extent::Whole).as_deref(), Some("DO 'x'"));
    assert_eq!(named("SELECT 1; SELECT 'x", Extent::Whole).as_deref(), Some("SELECT 'x"));
    assert_eq!(named("SELECT 1; SELECT 2", Extent::Cut).as_deref(), Some("SELECT 2"));
    assert_eq!(named("SELECT 1; SELECT 2", Extent::CutAndHeeded), None);
    assert_eq!(named("SELECT 1; SELECT '2", Extent::CutAndHeeded), None);
}

#[test]
fn at_a_glance() {
    for text in ["SELECT 1", "insert into t values (1);", "Update t set a = 1", "delete from t"] {
        assert!(is_plain(text.as_bytes()) && begins_plain(text.as_bytes()), "{text}");
    }
    for text in ["", "select", "begin", "SELECT 1; SELECT 2", " SELECT 1", "with x as (select 1) select 1"] {
        assert!(!is_plain(text.as_bytes()), "{text}");
    }
    for text in ["begin", "BEGIN;", "Commit;", "end"] {
        assert!(is_boundary(text.as_bytes()), "{text}");
    }
    for text in ["", "begin;;", "commit and chain", "begin; listen x", "rollback"] {
        assert!(!is_boundary(text.as_bytes()), "{text}");
    }
}

/// Pieces of which texts are made that are hard to split.
fn piece() -> impl proptest::strategy::Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "'",
        "''",
        "\"",
        "$$",
        "$a$",
        "$",
        "$1",
        "\\",
        "E'",
        "U&\"",
        "--",
        "\n",
        "/*",
        "*/",
        ";",
        "(",
        ")",
        ",",
        " ",
        "listen x",
        "set_config",
        "set",
        "create",
        "temp",
        "select ",
        "into",
        "true",
        "ä",
        "\0",
        "1",
        "a",
    ])
}

proptest::proptest! {
    #[test]
    fn no_text_does_harm(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let effect = of(&text, Extent::Whole);
        if let Some((from, to)) = effect.unknown {
            proptest::prop_assert!(text.get(from..to).is_some());
        }
    }

    #[test]
    fn no_sql_does_harm(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        for extent in [Extent::Whole, Extent::Cut, Extent::CutAndHeeded] {
            let effect = of(text.as_bytes(), extent);
            proptest::prop_assert!(effect.ever.has(effect.adds));
            proptest::prop_assert_eq!(effect.unknown.is_some(), effect.ever.has(Marks::UNKNOWN));
        }
    }

    #[test]
    fn literals_and_comments_hide_what_is_in_them(pieces in proptest::collection::vec(piece(), 0..20)) {
        let inside = pieces.concat().replace(['\'', '\\', '$', '*', '\n', '\0'], "");
        for text in [
            format!("SELECT '{inside}', 1"),
            format!("SELECT $q${inside}$q$"),
            format!("SELECT 1 --{inside}\n"),
        ] {
            proptest::prop_assert_eq!(of(text.as_bytes(), Extent::Whole), whole("SELECT 1"), "{}", text);
        }
    }
}
