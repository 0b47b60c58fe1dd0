//! Lines as they are read, and whom they mean.

mod options;

use std::io::{Error, ErrorKind};

use super::*;

/// Reads a file that names no other.
fn parse(text: &str) -> (Hba, Vec<LineFault>) {
    Hba::parse(text, &mut |file| panic!("{file} is not there to be read"))
}

/// The rules of a file without a fault.
fn rules(text: &str) -> Hba {
    let (hba, faults) = parse(text);
    assert_eq!(faults, [], "{text}");
    hba
}

fn local() -> Way {
    Way::Local
}

fn tcp(ip: &str) -> Way {
    Way::Tcp { ip: ip.parse().expect("an address"), tls: Tls::No }
}

fn tls(ip: &str) -> Way {
    Way::Tcp { ip: ip.parse().expect("an address"), tls: Tls::Yes }
}

fn asker<'a>(way: Way, database: &'a str, user: &'a str) -> Asker<'a> {
    Asker { way, database, user, replication: Replication::No }
}

/// The line that means a client.
fn line(hba: &Hba, way: Way, database: &str, user: &str) -> Option<u32> {
    hba.find(&asker(way, database, user)).map(|rule| rule.line)
}

fn word(method: &HbaMethod) -> &'static str {
    match method {
        HbaMethod::Trust => "trust",
        HbaMethod::Reject => "reject",
        HbaMethod::Md5 => "md5",
        HbaMethod::Password => "password",
        HbaMethod::Peer => "peer",
        HbaMethod::Cert => "cert",
        HbaMethod::Scram => "scram-sha-256",
        HbaMethod::Ldap(_) => "ldap",
        HbaMethod::Pam(_) => "pam",
        HbaMethod::Bearer(bearer) => bearer.as_str(),
    }
}

#[test]
fn every_method_is_read_and_has_its_dialogue() {
    let table = [
        ("trust", Some(Method::Trust)),
        ("reject", None),
        ("md5", Some(Method::Md5)),
        ("password", Some(Method::Plain)),
        ("peer", None),
        ("cert", None),
        ("scram-sha-256", Some(Method::Scram)),
        ("pam", None),
    ];
    for (method, dialogue) in table {
        let hba = rules(&format!("local all all {method}"));
        let found = hba.find(&asker(local(), "d", "u")).expect("a rule");
        assert_eq!((word(&found.method), found.method.dialogue(), found.line), (method, dialogue, 1));
        assert_eq!(found.map, None);
    }
}

#[test]
fn types_say_how_a_client_has_to_come() {
    let ways = [local(), tcp("10.0.0.1"), tls("10.0.0.1")];
    let table = [
        ("local all all trust", [true, false, false]),
        ("host all all 10.0.0.0/8 trust", [false, true, true]),
        ("hostssl all all 10.0.0.0/8 trust", [false, false, true]),
        ("hostnossl all all 10.0.0.0/8 trust", [false, true, false]),
        ("host all all all trust", [false, true, true]),
        ("hostssl all all all trust", [false, false, true]),
    ];
    for (text, expected) in table {
        let hba = rules(text);
        assert_eq!(ways.map(|way| line(&hba, way, "d", "u").is_some()), expected, "{text}");
    }
}

#[test]
fn addresses_are_compared_under_their_mask() {
    // (address column, meant, not meant)
    let table: [(&str, &[&str], &[&str]); 14] = [
        ("10.1.2.3/32", &["10.1.2.3", "::ffff:10.1.2.3"], &["10.1.2.2", "10.1.2.4", "::10.1.2.3", "::1"]),
        ("10.1.2.0/24", &["10.1.2.0", "10.1.2.255"], &["10.1.1.255", "10.1.3.0"]),
        ("128.0.0.0/1", &["128.0.0.0", "255.255.255.255"], &["127.255.255.255"]),
        ("0.0.0.0/0", &["0.0.0.0", "9.9.9.9", "::ffff:9.9.9.9"], &["::1", "fe80::1"]),
        ("127.0.0.0 255.255.255.0", &["127.0.0.7"], &["127.0.1.7"]),
        ("10.0.0.7 255.0.0.255", &["10.9.8.7", "10.0.0.7"], &["10.0.0.8", "11.0.0.7"]),
        ("10.0.0.1 255.255.255.255", &["10.0.0.1"], &["10.0.0.2"]),
        ("::1/128", &["::1"], &["::2", "127.0.0.1"]),
        ("fd00:1::/32", &["fd00:1::", "fd00:1:ffff::9"], &["fd00:2::", "10.0.0.1"]),
        ("ff20::/12", &["ff2f::1"], &["ff30::1"]),
        ("::/0", &["::", "fe80::1", "::ffff:10.0.0.1"], &["10.0.0.1"]),
        ("::ffff:10.0.0.0/104", &["::ffff:10.1.1.1"], &["10.1.1.1", "::ffff:11.0.0.0"]),
        ("fd00:: ffff::", &["fd00::1"], &["fd01::1"]),
        ("all", &["0.0.0.0", "255.255.255.255", "::", "::ffff:1.2.3.4"], &[]),
    ];
    for (address, meant, others) in table {
        let hba = rules(&format!("host all all {address} md5"));
        for ip in meant {
            assert_eq!(line(&hba, tcp(ip), "d", "u"), Some(1), "{address} {ip}");
        }
        for ip in others {
            assert_eq!(line(&hba, tcp(ip), "d", "u"), None, "{address} {ip}");
        }
    }
}

#[test]
fn bits_beyond_the_mask_are_warned_of_and_mean_nobody() {
    let table = [
        ("192.168.1.1/0", "192.168.1.1 / 0.0.0.0", "192.168.1.1"),
        ("10.0.0.1/24", "10.0.0.1 / 255.255.255.0", "10.0.0.1"),
        ("10.0.0.1 255.255.255.0", "10.0.0.1 / 255.255.255.0", "10.0.0.1"),
        ("fd00::1/64", "fd00::1 / ffff:ffff:ffff:ffff::", "fd00::1"),
    ];
    for (address, shown, ip) in table {
        let (hba, faults) = parse(&format!("\nhost all all {address} trust"));
        let message = format!("hba line 2: address does not match mask: {shown}");
        assert_eq!(faults, [LineFault { line: 2, message, effect: Effect::Kept }]);
        assert_eq!(hba.rules().len(), 1);
        assert_eq!(
            line(&hba, tcp(ip), "d", "u"),
            None,
            "as in PgBouncer, which compares the bits that are set"
        );
    }
}

/// Database, user, and whether they are meant.
type Case = (&'static str, &'static str, bool);

#[test]
fn names_and_keywords_of_both_columns() {
    // (database and user column, cases)
    let table: [(&str, &[Case]); 15] = [
        ("all all", &[("d", "u", true)]),
        ("d1 u1", &[("d1", "u1", true), ("d1", "u2", false), ("d2", "u1", false), ("D1", "u1", false)]),
        ("d1,d2 all", &[("d1", "u", true), ("d2", "u", true), ("d3", "u", false)]),
        ("d1 , d2\tu1 ,u2", &[("d2", "u2", true), ("d2", "u3", false), ("d3", "u1", false)]),
        ("d1,all u1", &[("d9", "u1", true), ("d9", "u2", false)]),
        ("sameuser all", &[("x", "x", true), ("x", "y", false)]),
        ("sameuser,d all", &[("x", "x", true), ("d", "y", true), ("x", "y", false)]),
        ("all sameuser", &[("x", "x", true), ("x", "y", false)]),
        ("\"all\" \"all\"", &[("all", "all", true), ("d", "all", false), ("all", "u", false)]),
        ("\"sameuser\" all", &[("sameuser", "u", true), ("x", "x", false)]),
        ("\"replication\" all", &[("replication", "u", true), ("d", "u", false)]),
        ("\"q1\"\"q2\" \"a , b # c\"", &[("q1\"q2", "a , b # c", true), ("q1q2", "a , b # c", false)]),
        ("\"@f\",\"+r\" \"\"", &[("@f", "", true), ("+r", "", true), ("f", "", false)]),
        ("all replication", &[("d", "replication", true), ("d", "u", false)]),
        ("d\u{e9} /regex$", &[("d\u{e9}", "/regex$", true), ("d", "regex", false)]),
    ];
    for (columns, cases) in table {
        let hba = rules(&format!("local {columns} md5"));
        for (database, user, meant) in cases {
            assert_eq!(line(&hba, local(), database, user).is_some(), *meant, "{columns}: {database} {user}");
        }
    }
}

#[test]
fn replication_is_meant_by_its_keyword_only() {
    use Replication::{Logical, No, Physical};
    // (database column, database, [No, Physical, Logical])
    let table = [
        ("replication", "d", [false, true, false]),
        ("replication", "replication", [false, true, false]),
        ("d,replication", "d", [true, true, true]),
        ("d,replication", "e", [false, true, false]),
        ("all", "d", [true, false, true]),
        ("all", "replication", [true, false, true]),
        ("\"replication\"", "replication", [true, false, true]),
        ("sameuser", "u", [true, false, true]),
        ("d", "d", [true, false, true]),
    ];
    for (column, database, expected) in table {
        let hba = rules(&format!("local {column} u trust"));
        let found = [No, Physical, Logical]
            .map(|replication| hba.find(&Asker { way: local(), database, user: "u", replication }).is_some());
        assert_eq!(found, expected, "{column} {database}");
        let other = Asker { way: local(), database, user: "other", replication: Physical };
        assert!(hba.find(&other).is_none(), "the user counts as ever");
    }
}

#[test]
fn the_first_line_that_means_a_client_decides() {
    let text = "\
# who comes first
local  all   postgres             peer map=admins
host   all   bad                  0.0.0.0/0  reject
host   app   all   10.0.0.0/8     scram-sha-256
hostssl all  all   0.0.0.0/0      cert map=certs # behind it
host   all   all   0.0.0.0/0      md5
";
    let (hba, faults) = parse(text);
    assert_eq!(faults, []);
    let table = [
        (local(), "d", "postgres", Some(2)),
        (local(), "d", "u", None),
        (tcp("10.0.0.1"), "app", "bad", Some(3)),
        (tcp("10.0.0.1"), "app", "u", Some(4)),
        (tcp("10.0.0.1"), "web", "u", Some(6)),
        (tls("10.0.0.1"), "web", "u", Some(5)),
        (tcp("::1"), "app", "u", None),
    ];
    for (way, database, user, expected) in table {
        assert_eq!(line(&hba, way, database, user), expected, "{way:?} {database} {user}");
    }
    let maps: Vec<_> = hba.rules().iter().map(|rule| rule.map.as_deref()).collect();
    assert_eq!(maps, [Some("admins"), None, None, Some("certs"), None]);
}

#[test]
fn blanks_comments_and_ends_of_lines_do_not_matter() {
    for text in [
        "local all all trust",
        "local all all trust\n",
        "local all all trust\r\n",
        "  local\tall \x0b all\x0ctrust \t \r\n",
        "local all all trust # md5",
        "local all all trust#md5",
        "local\"all\",all all trust",
        "local all all trust\n\n \t\n# local all all reject\n\t\t#",
    ] {
        let hba = rules(text);
        assert_eq!(hba.rules().len(), 1, "{text:?}");
        assert_eq!(line(&hba, local(), "d", "u"), Some(1), "{text:?}");
    }
    assert_eq!(rules("").rules().len(), 0);
    assert_eq!(line(&rules("\r\n\r\nlocal all all md5"), local(), "d", "u"), Some(3));
}

/// A bad line, and what is said of it behind `hba line 2: `.
const BAD: [(&str, &str); 49] = [
    ("locale all all trust", "unknown type"),
    ("\"local\" all all trust", "unknown type"),
    (", local all all trust", "unknown type"),
    ("\"", "unknown type"),
    ("hostgssenc all all all trust", "unknown type"),
    ("include other.conf", "unknown type"),
    ("Local all all trust", "unknown type"),
    ("local", "did not find database"),
    ("local ,", "did not find database"),
    ("local d,", "did not find database"),
    ("local d, # u trust", "did not find database"),
    ("local all", "did not find user"),
    ("local all u,", "did not find user"),
    ("local \"d all trust", "quote is not closed"),
    ("local all \"u trust", "quote is not closed"),
    ("local samerole all trust", "samerole is not supported"),
    ("local samegroup all trust", "samegroup is not supported"),
    ("local d,samerole all trust", "samerole is not supported"),
    ("local all samerole trust", "samerole is not supported"),
    ("local all samegroup trust", "samegroup is not supported"),
    ("local +r all trust", "members of a role are not supported: +r"),
    ("local all u,+r trust", "members of a role are not supported: +r"),
    ("local @ all trust", "did not find file name behind @"),
    ("host all all", "did not find address"),
    ("host all all \"10.0.0.1/32\" trust", "did not find address"),
    ("host all all , trust", "did not find address"),
    ("host all all trust", "failed to parse address - trust"),
    ("host all all samehost trust", "failed to parse address - samehost"),
    ("host all all samenet trust", "failed to parse address - samenet"),
    ("host all all example.com trust", "failed to parse address - example.com"),
    ("host all all .example.com trust", "failed to parse address - .example.com"),
    ("host all all 10.0.0/8 trust", "failed to parse address - 10.0.0"),
    ("host all all 10.0.0.256/8 trust", "failed to parse address - 10.0.0.256"),
    ("host all all fe80::1%eth0/64 trust", "failed to parse address - fe80::1%eth0"),
    ("host all all 10.0.0.1", "did not find mask"),
    ("host all all 10.0.0.1 \"255.0.0.0\" trust", "did not find mask"),
    ("host all all 10.0.0.1 trust", "failed to parse mask: trust"),
    ("host all all 10.0.0.1 ffff:: trust", "failed to parse mask: ffff::"),
    ("host all all ::1 255.0.0.0 trust", "failed to parse mask: 255.0.0.0"),
    ("host all all 10.0.0.0/33 trust", "invalid mask"),
    ("host all all ::/129 trust", "invalid mask"),
    ("host all all 10.0.0.0/ trust", "invalid mask"),
    ("host all all 10.0.0.0/+8 trust", "invalid mask"),
    ("host all all 10.0.0.0/8/8 trust", "invalid mask"),
    ("host all all 10.0.0.0/99999999999999999999 trust", "invalid mask"),
    ("local all all", "unsupported method: buf="),
    ("local all all gss", "unsupported method: buf=gss"),
    ("local all all \"trust\"", "unsupported method: buf=trust"),
    ("local all all 10.0.0.1/32 trust", "unsupported method: buf=10.0.0.1/32"),
];

#[test]
fn a_bad_line_is_named_and_left_out() {
    for (bad, why) in BAD {
        let (hba, faults) = parse(&format!("local a all trust\n{bad}\nlocal b all trust"));
        let message = format!("hba line 2: {why}");
        assert_eq!(
            faults,
            [LineFault { line: 2, message: message.clone(), effect: Effect::Skipped }],
            "{bad}"
        );
        assert_eq!(faults[0].to_string(), message);
        let lines: Vec<u32> = hba.rules().iter().map(|rule| rule.line).collect();
        assert_eq!(lines, [1, 3], "{bad}");
    }
}

#[test]
fn a_line_says_whether_others_reach_it_and_overhear_it() {
    let (near, tls) = ((true, false), (false, true));
    for (line, expected) in [
        ("local all all", near),
        ("host all all all", (false, false)),
        ("hostssl all all all", tls),
        ("hostnossl all all 10.0.0.1/32", (false, false)),
        ("host all all 127.0.0.1/32", near),
        ("host all all 127.0.0.0 255.0.0.0", near),
        ("hostssl all all 127.5.0.0/16", (true, true)),
        ("host all all 126.0.0.0/7", (false, false)),
        ("host all all 128.0.0.0/8", (false, false)),
        ("host all all ::1/128", near),
        ("hostssl all all ::/64", tls),
        ("host all all ::ffff:127.0.0.0/104", near),
        ("host all all ::ffff:0.0.0.0/96", (false, false)),
        ("host 127.0.0.1 hostssl 10.0.0.0/8", (false, false)),
    ] {
        let hba = rules(&format!("{line} password"));
        let rule = &hba.rules()[0];
        assert_eq!((rule.is_near(), rule.is_tls_only()), expected, "{line}");
    }
    let (hba, _) = parse("host all all 127.0.0.1/0 password\nhost all all ::1/64 password");
    assert!(hba.rules().iter().all(|rule| !rule.is_near()));
}

#[test]
fn messages_are_short_and_harmless() {
    let (_, faults) = parse(&format!("local all all \x1b[2J{}", "x".repeat(100_000)));
    let [LineFault { message, .. }] = &faults[..] else { panic!("one fault: {}", faults.len()) };
    assert!(message.len() < 120, "{message}");
    assert!(message.starts_with("hba line 1: unsupported method: buf=?[2Jxx"), "{message}");
}

#[test]
fn of_a_file_that_is_too_long_nothing_is_read() {
    let line = "local all all trust\n";
    let text = line.to_owned() + &" ".repeat(RULES_BYTES_MAX - line.len());
    assert_eq!(rules(&text).rules().len(), 1);
    let (hba, faults) = parse(&(text + " "));
    assert_eq!(hba.rules().len(), 0);
    let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(messages, ["hba line 1: file is longer than 16777216 bytes"]);
}

/// Files of names, and how often one was read.
struct Files<'a> {
    files: &'a [(&'a str, &'a str)],
    reads: u32,
}

impl Files<'_> {
    fn parse(&mut self, text: &str) -> (Hba, Vec<String>) {
        let (hba, faults) = Hba::parse(text, &mut |path| {
            self.reads += 1;
            let file = self.files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| Error::new(ErrorKind::NotFound, "not found"))
        });
        (hba, faults.into_iter().map(|fault| fault.message).collect())
    }
}

#[test]
fn names_come_from_files() {
    let files = [
        ("users", "u1\r\nu2 , u3 u4\n\n# u5\n\"u 6\" # u7\n,\nu8,"),
        ("sub/dbs", "d1\n@more\n@/etc/dbs\n@further/dbs"),
        ("sub/more", "d2"),
        ("/etc/dbs", "d3\n@others"),
        ("/etc/others", "d4"),
        ("sub/further/dbs", "sameuser"),
        ("words", "all"),
        ("empty", ""),
    ];
    let mut files = Files { files: &files, reads: 0 };
    let (hba, faults) =
        files.parse("local @sub/dbs,d9 @users,x trust\nlocal @words @empty md5\nlocal e @words md5");
    assert_eq!(faults, Vec::<String>::new());
    for user in ["u1", "u2", "u3", "u4", "u 6", "u8", "x"] {
        assert_eq!(line(&hba, local(), "d4", user), Some(1), "{user}");
    }
    for user in ["u5", "#", "u7", "u", "6", "", "users", "@users"] {
        assert_eq!(line(&hba, local(), "d4", user), None, "{user}");
    }
    for database in ["d1", "d2", "d3", "d4", "d9", "u1"] {
        assert_eq!(line(&hba, local(), database, "u1"), Some(1), "{database}");
    }
    assert_eq!(line(&hba, local(), "d5", "u1"), None);
    assert_eq!(line(&hba, local(), "e", "anybody"), Some(3));
}

#[test]
fn a_file_is_read_once_however_many_lines_name_it() {
    let mut files = Files { files: &[("f", "a,b")], reads: 0 };
    let (hba, faults) = files.parse(&"local @f,@f @f trust\nlocal @gone all trust\n".repeat(500));
    assert_eq!((hba.rules().len(), faults.len()), (500, 500));
    assert_eq!(faults[0], "hba line 2: could not open file gone: not found");
    assert_eq!(files.reads, 2);
}

#[test]
fn files_are_bounded() {
    let long = format!("{}\n", "x".repeat(1 << 20));
    let fits = " ".repeat(1 << 20);
    let files = [
        ("self", "@self"),
        ("twice", "a\n@twice2 @twice2"),
        ("twice2", "@twice3 @twice3 @twice3"),
        ("twice3", "@twice4 @twice4 @twice4 @twice4"),
        ("twice4", "@twice5 @twice5 @twice5 @twice5"),
        ("twice5", "b"),
        ("long", &long),
        ("fits", &fits),
        ("bad", "a\n+b"),
        ("open", "a\n\"b"),
    ];
    let mut files = Files { files: &files, reads: 0 };
    let table = [
        ("local @self all trust", "files of names nest deeper than 10: self"),
        ("local @twice all trust", "more than 100 files of names"),
        ("local @long all trust", "file long is longer than 1048576 bytes"),
        (
            "local @fits,@fits,@fits,@fits,@fits all trust",
            "files of names are longer than 4194304 bytes together",
        ),
        ("local @bad all trust", "members of a role are not supported: +b"),
        ("local all @open trust", "quote is not closed"),
    ];
    for (text, why) in table {
        let (hba, faults) = files.parse(&format!("{text}\nlocal all all trust"));
        assert_eq!(faults, [format!("hba line 1: {why}")], "{text}");
        assert_eq!(hba.rules().len(), 1, "the next line is read again");
    }
    let (hba, faults) =
        files.parse("local @fits,@fits @fits,@fits trust\nlocal @fits all trust\nlocal @self all md5");
    assert_eq!(hba.rules().iter().map(|rule| rule.line).collect::<Vec<_>>(), [1]);
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn ten_levels_of_files_are_read() {
    let names: Vec<String> = (1..=10).map(|i| format!("f{i}")).collect();
    let texts: Vec<String> =
        (2..=11).map(|i| if i == 11 { "x".to_owned() } else { format!("@f{i}") }).collect();
    let files: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (hba, faults) = Files { files: &files, reads: 0 }.parse("local @f1 all trust");
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(line(&hba, local(), "x", "u"), Some(1));
}
