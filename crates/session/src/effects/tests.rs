use plimsoll_types::{Pin, Pins};

use super::{Look, of};

fn pins(text: &str) -> Vec<Pin> {
    of(text.as_bytes(), true, Look::Functions).iter().collect()
}

#[test]
fn what_leaves_nothing() {
    for text in [
        "",
        "  -- nothing\n",
        ";",
        "SELECT 1",
        "select pg_advisory_xact_lock(1)",
        "SELECT pg_advisory_unlock(1)",
        "(SELECT 1) UNION SELECT 2",
        "/* a */ /* b /* nested */ */ begin; select 1; commit;",
        "INSERT INTO t VALUES ('LISTEN x; DO $$ $$'), ($a$ ; CALL x $a$)",
        "SET LOCAL work_mem = 1",
        "set transaction isolation level serializable",
        "SET application_name = 'x'",
        "SET SESSION timezone TO 'UTC'",
        "SET TIME ZONE 'UTC'",
        "CREATE TABLE t (a int)",
        "PREPARE TRANSACTION 'x'",
        "DECLARE c CURSOR FOR SELECT 1",
        "UPDATE t SET a = E'it\\'s; LISTEN'",
        "SELECT \"a;b\", $1",
    ] {
        assert_eq!(pins(text), [], "{text}");
    }
}

#[test]
fn what_leaves_something() {
    for (text, pin) in [
        ("LISTEN x", Pin::Listen),
        ("select 1; listen x", Pin::Listen),
        ("SELECT pg_try_advisory_lock(1)", Pin::AdvisoryLock),
        ("select 1, PG_ADVISORY_LOCK_SHARED(2)", Pin::AdvisoryLock),
        ("SELECT pg_advisory_xact_lock(1), pg_advisory_lock(2)", Pin::AdvisoryLock),
        ("SELECT set_config('a.b', 'c', false)", Pin::Setting),
        ("SET work_mem = '1MB'", Pin::Setting),
        ("SET SESSION work_mem = '1MB'", Pin::Setting),
        ("SET ROLE x", Pin::Setting),
        ("SET SESSION AUTHORIZATION x", Pin::Setting),
        ("CREATE TEMP TABLE t (a int)", Pin::TempTable),
        ("create or replace temporary view v as select 1", Pin::TempTable),
        ("CREATE LOCAL TEMPORARY SEQUENCE s", Pin::TempTable),
        ("CREATE TABLE pg_temp.t (a int)", Pin::TempTable),
        ("SELECT 1 AS a INTO TEMP t", Pin::TempTable),
        ("PREPARE p AS SELECT 1", Pin::Prepare),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", Pin::HeldCursor),
        ("CALL p()", Pin::Unknown),
        ("DO $$ BEGIN END $$", Pin::Unknown),
        ("EXECUTE p", Pin::Unknown),
        ("LOAD 'x'", Pin::Unknown),
        ("FROBNICATE", Pin::Unknown),
        ("SELECT 'no end", Pin::Unknown),
        ("SELECT 1 /* no end", Pin::Unknown),
        ("SELECT $a$ no end", Pin::Unknown),
        ("SELECT dblink_connect('x')", Pin::Unknown),
        ("'literal'", Pin::Unknown),
    ] {
        assert_eq!(pins(text), [pin], "{text}");
    }
}

#[test]
fn what_is_not_all_there_is_unknown() {
    assert_eq!(of(b"SELECT 1", false, Look::Words), Pins::NONE.with(Pin::Unknown));
    assert_eq!(of(b"SELECT pg_advisory_lock(1)", true, Look::Words), Pins::NONE);
}

proptest::proptest! {
    #[test]
    fn no_text_does_harm(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        of(&text, true, Look::Functions);
    }

    #[test]
    fn no_sql_does_harm(text in "[$'\";/*-a-zE ]{0,60}") {
        of(text.as_bytes(), true, Look::Functions);
    }
}
