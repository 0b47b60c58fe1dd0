use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> (Hba, Vec<LineFault>) {
    Hba::parse(text, &mut |name| match name {
        "names" => Ok("one, two\n# nobody\n\"a b\" @more".to_string()),
        "more" => Ok("three".to_string()),
        "loop" => Ok("@loop".to_string()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    })
}

fn over(address: &str, tls: Tls) -> Way {
    Way::Tcp { ip: address.parse().expect("an address"), tls }
}

fn line_for(hba: &Hba, way: Way, database: &str, user: &str) -> Option<u32> {
    hba.find(&Asker { way, database, user, replication: Replication::No }).map(|rule| rule.line)
}

#[test]
fn the_first_line_that_fits_counts() {
    let text = "# type db user address method\r\n\
                local   all            all                                peer map=m\n\
                host    p0,p1          app,\"a b\"   10.0.0.0/8           md5\n\
                hostssl all            all          10.0.0.0  255.0.0.0  scram-sha-256\n\
                hostnossl sameuser     all          ::1/128              password\n\
                host    \"all\"        @names       all                  trust # for tests\n\
                host    all            all          192.168.1.7/32       reject\n\
                host    all            all          fe80::/10            cert map=c";
    let (hba, faults) = parse(text);
    assert_eq!((faults, hba.len()), (Vec::new(), 7));
    let cases = [
        (Way::Local, "x", "y", Some(2)),
        (over("10.1.2.3", Tls::No), "p0", "app", Some(3)),
        (over("::ffff:10.1.2.3", Tls::No), "p1", "a b", Some(3)),
        (over("10.1.2.3", Tls::No), "p2", "app", None),
        (over("10.1.2.3", Tls::Yes), "p2", "app", Some(4)),
        (over("::1", Tls::No), "me", "me", Some(5)),
        (over("::1", Tls::Yes), "me", "me", None),
        (over("::1", Tls::No), "me", "you", None),
        (over("1.2.3.4", Tls::No), "all", "one", Some(6)),
        (over("1.2.3.4", Tls::No), "all", "a b", Some(6)),
        (over("1.2.3.4", Tls::No), "all", "three", Some(6)),
        (over("1.2.3.4", Tls::No), "p0", "one", None),
        (over("192.168.1.7", Tls::No), "p0", "one", Some(7)),
        (over("192.168.1.8", Tls::No), "p0", "one", None),
        (over("fe80::1", Tls::Yes), "p0", "one", Some(8)),
    ];
    for (way, database, user, line) in cases {
        assert_eq!(line_for(&hba, way, database, user), line, "{way:?} {database} {user}");
    }
    let rule = |line: usize| &hba.rules[line - 2];
    assert_eq!((rule(2).method, rule(2).map.as_deref()), (HbaMethod::Peer, Some("m")));
    assert_eq!((rule(8).method, rule(8).map.as_deref()), (HbaMethod::Cert, Some("c")));
}

#[test]
fn replication_is_a_keyword_of_its_own() {
    let (hba, faults) = parse("local all all trust\nlocal replication rep md5\n");
    assert_eq!(faults, []);
    let line = |replication| {
        let asker = Asker { way: Way::Local, database: "replication", user: "rep", replication };
        hba.find(&asker).map(|rule| rule.line)
    };
    assert_eq!(line(Replication::Physical), Some(2));
    assert_eq!(line(Replication::Logical), Some(1));
    assert_eq!(line(Replication::No), Some(1));
}

#[test]
fn broken_lines_are_told_and_left_out() {
    let cases = [
        ("remote all all trust", "unknown type"),
        ("\"local\" all all trust", "unknown type"),
        ("local", "database list"),
        ("local all", "user list"),
        ("local all all", "no method"),
        ("local all all nonsense", "unknown method"),
        ("local all all trust map=x", "unknown option"),
        ("local all all peer map=", "unknown option"),
        ("local all, all", "user list"),
        ("local ,all all trust", "a comma"),
        ("local \"all all trust", "quote"),
        ("local samerole all trust", "not supported"),
        ("local all +staff trust", "not supported"),
        ("local all /^a/ trust", "not supported"),
        ("local @none all trust", "@none"),
        ("local @loop all trust", "nested"),
        ("host all all", "no address"),
        ("host all all 1.2.3.4", "no mask"),
        ("host all all 1.2.3.4 trust", "bad address"),
        ("host all all 1.2.3.4/33 trust", "bad mask"),
        ("host all all 1.2.3.4/x trust", "bad mask"),
        ("host all all ::1/129 trust", "bad mask"),
        ("host all all ::1 255.0.0.0 trust", "different kinds"),
        ("host all all example.org trust", "bad address"),
        ("host all all 1.2.3.4/32 peer", "local connections only"),
    ];
    for (text, words) in cases {
        let (hba, faults) = parse(&format!("local a b trust\n{text}\nlocal c d trust"));
        assert_eq!((hba.len(), faults.len()), (2, 1), "{text}: {faults:?}");
        assert_eq!(faults[0].line, 2);
        assert!(faults[0].message.contains(words), "{text}: {}", faults[0].message);
        assert!(faults[0].message.contains("could not parse hba config line 2"), "{text}");
    }
}

#[test]
fn bits_beyond_the_mask_are_only_doubtful() {
    let (hba, faults) = parse("host all all 192.168.1.1/0 trust");
    assert_eq!((hba.len(), faults.len()), (1, 1));
    assert_eq!(line_for(&hba, over("8.8.8.8", Tls::No), "a", "b"), Some(1));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "[ -~\n\t\"#,@/:.ä]{0,200}") {
        let (hba, _) = parse(&text);
        line_for(&hba, Way::Local, "a", "b");
        line_for(&hba, over("10.0.0.1", Tls::Yes), "a", "b");
    }

    #[test]
    fn a_net_has_what_its_mask_says(ip: u32, other: u32, bits in 0_u32..=32) {
        let text = format!("host all all {}/{bits} trust", std::net::Ipv4Addr::from(ip));
        let (hba, _) = parse(&text);
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        let way = Way::Tcp { ip: std::net::Ipv4Addr::from(other).into(), tls: Tls::No };
        prop_assert_eq!(line_for(&hba, way, "a", "b").is_some(), ip & mask == other & mask);
    }
}
