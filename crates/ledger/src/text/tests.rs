//! Cases, most of them hostile. What holds for every text is in `tests/text.rs`.

use super::lexer::{Kind, Lexer};
use super::*;

/// The kinds of a text's tokens, a letter each.
fn kinds(text: &str) -> String {
    let letter = |kind| match kind {
        Kind::LineComment => 'l',
        Kind::BlockComment => 'c',
        Kind::Word => 'w',
        Kind::QuotedWord => 'q',
        Kind::String => 's',
        Kind::Number => 'n',
        Kind::Parameter => 'p',
        Kind::Operator => 'o',
        Kind::Open => '(',
        Kind::Close => ')',
        Kind::Comma => ',',
        Kind::Semicolon => ';',
        Kind::Cast => ':',
        Kind::Other => '.',
    };
    Lexer::new(text.as_bytes()).map(|token| letter(token.kind)).collect()
}

/// Each was put to PostgreSQL 15, except for numbers that are new in 16.
#[test]
fn tokens_are_those_of_postgresql() {
    for (text, expected) in [
        ("SELECT 'a''b' x", "wsw"),
        (r"SELECT 'a\' x", "wsw"),
        (r"SELECT E'a\' x'", "ws"),
        (r"SELECT e'a\\' x", "wsw"),
        (r"SELECT some'a\' x", "wwsw"),
        ("SELECT 'a'\n 'b'", "ws"),
        ("SELECT 'a' 'b'", "wss"),
        ("SELECT 'a' -- c\n 'b'", "ws"),
        ("SELECT 'a' /* c */\n 'b'", "wscs"),
        ("SELECT E'a'\n'b\\' c'", "ws"),
        ("SELECT B'01' X'1F' N'a' U&'\\0061' U&\"a\"", "wssssq"),
        ("SELECT \"a\"\"b\", \"--\"", "wq,q"),
        ("SELECT $$a'b$$ $1", "wsp"),
        ("SELECT $a$ $b$ $$ $a$", "ws"),
        ("SELECT $a$ $A$ x", "ws"),
        ("SELECT a$b$ c", "www"),
        ("SELECT $1a$b$", "wpw"),
        ("SELECT $é$ ' $é$", "ws"),
        ("SELECT $a b$", "w.ww"),
        ("SELECT 1 --'\n+ 2", "wnlon"),
        ("SELECT 1 --'\r+ 2", "wnlon"),
        ("SELECT /* /* ' */ */ 1", "wcn"),
        ("SELECT /*/ 1 */ 2", "wcn"),
        ("SELECT 1 +/* c */ 2", "wnocn"),
        ("SELECT 1 *-- c\n 2", "wnoln"),
        ("SELECT 1 =-1", "wnoon"),
        ("SELECT 1 @-1", "wnon"),
        ("SELECT 1.5e10, .5, 1., 1e+5", "wn,n,n,n"),
        ("SELECT 0x1F, 0b1, 0o7, 1_000", "wn,n,n,n"),
        ("1..10", "n.n"),
        ("a.b.5", "w.wn"),
        ("SELECT 'a'::text[]", "ws:w()"),
        ("é_1", "w"),
        ("\\ { \0", "..."),
    ] {
        assert_eq!(kinds(text), expected, "{text}");
    }
}

fn text_of(tags: &Tags) -> String {
    tags.to_string()
}

#[test]
fn tags_come_from_both_ends() {
    for (text, expected) in [
        ("SELECT 1", ""),
        ("SELECT 1 /*action='x',controller='y',route='%2Fz'*/", "action=x controller=y route=/z"),
        ("/*b='2',a='1'*/ SELECT 1;", "a=1 b=2"),
        ("/*a='1'*/ /*b='2'*/ SELECT 1 /*c='3'*/ -- d:4", "a=1 b=2 c=3 d=4"),
        ("SELECT 1 /*a='1'*/;", "a=1"),
        ("SELECT 1; /*a='1'*/", "a=1"),
        ("SELECT 1 /*a='1'*/; SELECT 2", ""),
        ("SELECT /*a='1'*/ 1", ""),
        ("SELECT '/*a=''1''*/'", ""),
        ("SELECT $$x /*a='1'*/$$", ""),
        ("SELECT \"/*a='1'*/\"", ""),
        ("SELECT 'x /*a=''1''*/", ""),
        ("SELECT E'\\' /*a=''1''*/", ""),
        ("SELECT 1 /*a='x\\'y',b='%41%zz'*/", "a=x'y b=A%zz"),
        ("SELECT 1 /* a = 'x' , b='y' */", "a=x b=y"),
        ("SELECT 1 /*a='1',a='2'*/ -- a:3", "a=1"),
        ("SELECT 1 /*a='1',b=2,c='3'*/", "a=1"),
        ("SELECT 1 /*a='1*/", ""),
        ("SELECT 1 /*a='1'", ""),
        ("SELECT 1 /*/", ""),
        ("SELECT 1 /*a b='1',='2',c=''*/", ""),
        ("SELECT 1 /*a='%ff',b='%0a'*/", "b=\"\\n\""),
        ("SELECT 1 /*a='b c',d='\"'*/", "a=\"b c\" d=\"\\\"\""),
        (
            "SELECT 1 /*application:Foo,controller:bar,action:baz*/",
            "action=baz application=Foo controller=bar",
        ),
        ("SELECT 1 -- line:/app/x.rb:12:in `y'", "line=\"/app/x.rb:12:in `y'\""),
        ("SELECT 1 /* app/models/user.py:120 */", "file=app/models/user.py:120"),
        ("-- File: C:\\a b\\Program.cs:21\r\n\r\nSELECT 1", "file=\"C:\\\\a b\\\\Program.cs:21\""),
        ("-- name: GetAuthor :one\nSELECT 1", "name=GetAuthor"),
        ("-- ping", ""),
        ("SELECT 1 /* note: this is slow, see http://x/y */", ""),
        ("SELECT 1 /*+ SeqScan(a) */", ""),
        ("SELECT 1 /* /*a='1'*/ */", ""),
        ("SELECT 1 /*traceparent='00-ab-cd-01',a='1'*/", "a=1 traceparent=00-ab-cd-01"),
    ] {
        let found = tags(text.as_bytes());
        assert_eq!(text_of(&found), expected, "{text}");
        assert_eq!(found.is_empty(), expected.is_empty());
    }
}

#[test]
fn a_request_is_no_site() {
    let found = tags(b"SELECT 1 /*traceparent='00-ab-cd-01',tracestate='x%3Dy',a='1'*/");
    assert_eq!(found.for_site().collect::<Vec<_>>(), [("a", "1")]);
    assert_eq!(found.traceparent(), Some("00-ab-cd-01"));
    assert_eq!(found.iter().count(), 3);
    assert_eq!(Tags::default().traceparent(), None);
}

#[test]
fn tags_are_bounded() {
    let many: String = (10..99).map(|at| format!("k{at}='v',")).collect();
    assert_eq!(tags(format!("SELECT 1 /*{many}*/").as_bytes()).iter().count(), 16);
    let one = |key: usize, value: usize| format!("SELECT 1 /*{}='{}'*/", "k".repeat(key), "v".repeat(value));
    assert_eq!(tags(one(64, 256).as_bytes()).iter().count(), 1);
    assert!(tags(one(65, 256).as_bytes()).is_empty());
    assert!(tags(one(64, 257).as_bytes()).is_empty());
    let padded = |bytes: usize| format!("SELECT 1 /*a='1',{}*/", " ".repeat(bytes));
    assert_eq!(tags(padded(4000).as_bytes()).iter().count(), 1);
    assert!(tags(padded(4096).as_bytes()).is_empty());
    assert!(tags(padded(1 << 20).as_bytes()).is_empty());
    assert!(tags("/*".repeat(1 << 19).as_bytes()).is_empty());
}

#[test]
fn the_end_of_a_long_statement_is_read_for_itself() {
    let long = format!("/*a='1'*/ SELECT '{}' /*b='2'*/ ; /*c:3*/", "x".repeat(1 << 20));
    assert_eq!(text_of(&tags(long.as_bytes())), "a=1 b=2 c=3");
    for (tail, expected) in [
        ("abc', 1 /*b='2'*/", "b=2"),
        ("abc', 1 /*b='2'*/;\n", "b=2"),
        ("abc', 1 -- b:2", "b=2"),
        ("abc', 1 -- b='2'\n", "b=2"),
        ("'x -- b:2'", ""),
        ("'x -- b:2', 'y'", ""),
        ("'x -- b:2', $$y$$", ""),
        ("'/* b:2' -- */", ""),
        ("'/*b:2*/'", ""),
        ("/*b:2*/ 1", ""),
        ("/*/", ""),
        ("*/", ""),
        ("c*/ /* x /* y */ b:2 */", ""),
        ("", ""),
    ] {
        let found = tags_of_ends(b"SELECT", tail.as_bytes());
        assert_eq!(text_of(&found), expected, "{tail}");
    }
    assert_eq!(text_of(&tags_of_ends(b"/*a='1'*/ SELECT", b"")), "a=1");
    assert_eq!(text_of(&tags_of_ends(b"-- controller:acc", b"")), "", "cut in the middle of a value");
    assert_eq!(text_of(&tags_of_ends(b"/* x */ -- a:1\nSELECT", b"")), "a=1");
}

#[test]
fn literals_are_not_part_of_a_shape() {
    for same in [
        &[
            "SELECT 1",
            "select  2;",
            "SELECT 'x' -- y",
            "/* a */ SELECT/* b */$1",
            "SELECT -1",
            "SELECT null",
            "\nSELECT\t1.5 ; ",
        ][..],
        &[
            "SELECT a FROM t WHERE a IN (1)",
            "SELECT a FROM t WHERE a IN (1, -2,3)",
            "select A from T where A in ($1,$2)",
        ],
        &["INSERT INTO t VALUES (1,'a')", "INSERT INTO t VALUES (1,'b'), (2, NULL), ($1, $2)"],
        &["INSERT INTO t VALUES (1,now())", "INSERT INTO t VALUES (1,now()), (2, now()),(3,now())"],
        &["SELECT a=-1", "SELECT a = 1", "SELECT a = - 1", "SELECT a = +1"],
        &["SELECT '1'::int, a", "SELECT 1, a", "SELECT $1::int, a"],
        &["SELECT f(a, (1,2))", "SELECT f(a,('x','y','z'))"],
        &["SELECT 'a'\n'b'", "SELECT $x$ y $x$"],
        &["", "  ", "-- x", ";"],
    ] {
        for text in same {
            assert_eq!(shape(text.as_bytes()), shape(same[0].as_bytes()), "{text}");
        }
    }
}

#[test]
fn different_statements_have_different_shapes() {
    let texts = [
        "SELECT 1",
        "SELECT a",
        "SELECT b",
        "SELECT a b",
        "SELECT ab",
        "SELECT \"A b\"",
        "SELECT \"a b\"",
        "SELECT 1, a",
        "SELECT a, 1",
        "SELECT a - 1",
        "SELECT a + 1",
        "SELECT a(1)",
        "SELECT a FROM t",
        "SELECT a FROM u",
        "UPDATE t SET a = 1",
        "UPDATE t SET b = 1",
        "SELECT f(a), f(a)",
        "SELECT f(a)",
        "SELECT (a, b), (b, a)",
        "SELECT a <-> 1",
        "SELECT a < - b",
        "SELECT é",
        "SELECT (((1)))",
        "SELECT (1)",
    ];
    let mut shapes: Vec<Shape> = texts.iter().map(|text| shape(text.as_bytes())).collect();
    shapes.sort();
    shapes.dedup();
    assert_eq!(shapes.len(), texts.len());
}

#[test]
fn shapes_are_stable_and_bounded() {
    // Kept in snapshots: a change of this figure makes all sites new ones.
    assert_eq!(shape(b"SELECT abalance FROM pgbench_accounts WHERE aid = 1").to_string(), "75c503f2ad53aa40");
    let columns = |count: usize| (0..count).map(|at| format!("c{at}, ")).collect::<String>();
    let long = |end: &str| shape(format!("SELECT {} {end}", columns(100)).as_bytes());
    assert_eq!(long("a"), long("b"), "what is behind the first 256 bytes does not count");
    let list = |count: usize| {
        shape(format!("SELECT a FROM t WHERE a IN ({}) AND b", ["'x'"].repeat(count).join(",")).as_bytes())
    };
    assert_eq!(list(1), list(500));
    assert_ne!(list(1), shape(b"SELECT a FROM t WHERE a IN ('x') AND c"));
    shape("(".repeat(1 << 20).as_bytes());
}

#[test]
fn literals_are_redacted() {
    for (text, expected) in [
        ("SELECT  'a' ,\n 1.5, $1 FROM t -- c", "SELECT ? , ?, $1 FROM t"),
        ("/* c */ SELECT/* d */1", "SELECT ?"),
        ("SELECT 'it''s', E'a\\'b', $x$ y $x$, X'ff'", "SELECT ?, ?, ?, ?"),
        ("SELECT 'not closed", "SELECT ?"),
        ("SELECT E'not closed\\", "SELECT ?"),
        ("SELECT $$not closed", "SELECT ?"),
        ("SELECT /* not closed 'x'", "SELECT"),
        ("SELECT U&'", "SELECT ?"),
        ("SELECT \"A\"\"b\" WHERE a=-1", "SELECT \"A\"\"b\" WHERE a=-?"),
        ("SELECT \x1b[2J", "SELECT \\x1b[?J"),
        ("  ", ""),
    ] {
        assert_eq!(redact(text.as_bytes(), Cut::Whole), expected, "{text}");
        assert_eq!(redact(text.as_bytes(), Cut::Cut), format!("{expected}…"), "{text}");
    }
    assert_eq!(redact(b"SELECT a\xff, \xe2\x80\xaeb", Cut::Whole), "SELECT a\\xff, \\u{202e}b");
}

#[test]
fn what_is_not_seen_is_made_visible() {
    for (text, expected) in [
        (&b"plain \xc3\xa9 \xf0\x9f\x98\x80"[..], "plain é 😀"),
        (b"a\0b\n\r\t\x1b[31m\x7f", "a\\x00b\\n\\r\\t\\x1b[31m\\x7f"),
        (b"\xc2\x9b31m", "\\u{009b}31m"),
        (b"\xff\xe2\x80", "\\xff\\xe2\\x80"),
        (
            "\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\u{ad}\u{2028}".as_bytes(),
            "\\u{202e}\\u{2066}\\u{200b}\\u{feff}\\u{e0041}\\u{00ad}\\u{2028}",
        ),
        (b"C:\\x", "C:\\x"),
    ] {
        assert_eq!(escape(text), expected);
        assert_eq!(full(text), expected);
    }
    let long = "é".repeat(1000);
    assert_eq!(full(long.as_bytes()), long);
    assert_eq!(escape(long.as_bytes()), format!("{}…", "é".repeat(512)));
    assert_eq!(escape(format!("a{long}").as_bytes()), format!("a{}…", "é".repeat(511)));
}

#[test]
fn credentials_are_found() {
    for text in [
        "CREATE ROLE a LOGIN PASSWORD 'x'",
        "/* c */ create user a with encrypted password 'x'",
        "ALTER /* c */ USER a PASSWORD 'not closed",
        "ALTER GROUP a PASSWORD NULL",
        "ALTER ROLE a SET my.secret = 'x'",
        "CREATE USER MAPPING FOR a SERVER b OPTIONS (user 'x')",
        "ALTER USER MAPPING FOR a SERVER b",
        "CREATE SUBSCRIPTION a CONNECTION 'host=b password=x' PUBLICATION c",
        "ALTER SUBSCRIPTION a CONNECTION 'x'",
        "CREATE SERVER a FOREIGN DATA WRAPPER b OPTIONS (host 'x')",
        "ALTER SERVER IF a OPTIONS (SET host 'x')",
        "CREATE FOREIGN DATA WRAPPER a OPTIONS (x 'y')",
        "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c OPTIONS (api_key 'x')",
        "ALTER SYSTEM SET primary_conninfo = 'x'",
        "ALTER DATABASE a SET app.jwt_token TO x",
        "SET app.password = 'x'",
        "SET LOCAL \"app.Secret\" TO 'x'",
        "SET SESSION x.access_token = 'x'",
        "SET x = 'postgres://a:b@c/d'",
        "SELECT set_config('app.token', 'x', true)",
        "SELECT pg_catalog.set_config ( E'app.t\\157ken', 'x', true)",
        "SELECT a, \"set_config\"('request.jwt.claims', 'x', true)",
        "SELECT set_config(name, 'x', true)",
        "SELECT dblink_connect('host=a password=b')",
        "INSERT INTO t SELECT * FROM public.dblink('host=a password=b', 'SELECT 1') AS x(a int)",
        "WITH a AS (SELECT \"dblink\" /* c */ ('x', 'y')) SELECT 1",
        "SELECT U&\"d\\0062link\"('x')",
        "COPY a TO PROGRAM 'curl -u x:y z'",
        "COPY a FROM 's3://x' CREDENTIALS 'y'",
        "PREPARE a AS SELECT dblink('x', 'y')",
        "EXPLAIN (ANALYZE) SELECT set_config('a.secret', 'x', true)",
        "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''x'''; END $$",
        "DO $x$ BEGIN PERFORM dblink_connect('x'); END $x$",
        "CREATE FUNCTION a() RETURNS void LANGUAGE sql AS 'CREATE USER MAPPING FOR x SERVER y'",
        "SELECT 1; ALTER ROLE a PASSWORD 'x'",
        "BEGIN;SET app.pwd = 'x'; COMMIT;",
        "; ALTER ROLE a PASSWORD 'x'",
    ] {
        assert!(may_carry_credentials(text.as_bytes()), "{text}");
        assert!(carries_credentials(text.as_bytes()), "{text}");
    }
    let behind_much = format!("/*{}*/ALTER ROLE a PASSWORD 'x'", " ".repeat(5000));
    assert!(carries_credentials(behind_much.as_bytes()));
}

#[test]
fn other_statements_may_be_kept() {
    for text in [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "SELECT password, token FROM users WHERE secret = 'x'",
        "UPDATE users SET password = 'x', token = 'y'",
        "INSERT INTO tokens (token) VALUES ('secret')",
        "BEGIN; UPDATE users SET password = $1; COMMIT",
        "SELECT set_config('search_path', 'a', false), set_config($1, $2, true)",
        "SELECT ';', 'set_config(', dblink FROM t",
        "EXPLAIN SELECT 'password'",
        "SET search_path TO a, b",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "CREATE TABLE role (password text)",
        "ALTER TABLE users ADD COLUMN password text",
        "CREATE ROLE a LOGIN",
        "ALTER SERVER a OWNER TO b",
        "DROP SUBSCRIPTION a",
        "COPY a FROM STDIN",
        "DO $$ BEGIN NULL; END $$",
        "-- ping",
        "",
    ] {
        assert!(!carries_credentials(text.as_bytes()), "{text}");
    }
    for text in ["SELECT 1 ;\n", "/* x; */ SELECT a", "SELECT count(*) FROM t", "commit", "(SELECT 1)"] {
        assert!(!may_carry_credentials(text.as_bytes()), "{text}");
    }
}

#[test]
fn the_first_keyword_is_as_written() {
    for (text, expected) in [
        ("SELECT 1", "SELECT"),
        (" \n/* a */ -- b\n((seLect", "seLect"),
        ("( /* a */ ( WITH", "WITH"),
        ("commit;", "commit"),
        ("", ""),
        ("/* not closed", ""),
        ("'x'", ""),
        ("\"select\"", ""),
        ("1", ""),
    ] {
        assert_eq!(first_keyword(text.as_bytes()), expected.as_bytes(), "{text}");
    }
    assert_eq!(first_keyword("(".repeat(100).as_bytes()), b"");
    assert_eq!(first_keyword(format!("/*{}*/ SELECT", " ".repeat(5000)).as_bytes()), b"");
}
