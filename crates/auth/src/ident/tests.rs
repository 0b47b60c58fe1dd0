use super::*;
use IdentVerdict::{Allowed, NoMatch, NoSuchMap};

const FILE: &str = "\
# map  system user        login
admins root               postgres
admins root               \"all\"
admins \"Some One\"       all
certs  app.example.com    app # the application
certs  \"say \"\"hi\"\"\" \"say\"
\tcerts\tquoted\t\"a b\"\r
certs  nobody             \"\"";

#[test]
fn maps_say_who_may_log_in_as_whom() {
    let (maps, faults) = IdentMaps::parse(FILE);
    assert_eq!(faults, []);
    let table = [
        ("admins", "root", "postgres", Allowed),
        ("admins", "root", "all", Allowed),
        ("admins", "root", "other", NoMatch),
        ("admins", "Some One", "anybody", Allowed),
        ("admins", "some one", "anybody", NoMatch),
        ("admins", "app.example.com", "app", NoMatch),
        ("certs", "app.example.com", "app", Allowed),
        ("certs", "app.example.com", "APP", NoMatch),
        ("certs", "app.example.com", "postgres", NoMatch),
        ("certs", "app", "app.example.com", NoMatch),
        ("certs", "say \"hi\"", "say", Allowed),
        ("certs", "quoted", "a b", Allowed),
        ("certs", "nobody", "", Allowed),
        ("certs", "", "app", NoMatch),
        ("CERTS", "quoted", "a b", NoSuchMap),
        ("", "root", "postgres", NoSuchMap),
        ("# map", "system", "user", NoSuchMap),
    ];
    for (map, system_user, login, expected) in table {
        assert_eq!(maps.check(map, system_user, login), expected, "{map} {system_user} {login}");
    }
}

#[test]
fn a_bad_line_is_named_and_left_out() {
    let table = [
        ("\"m\" sys login", "did not find map name"),
        (", sys login", "did not find map name"),
        ("\"m", "did not find map name"),
        ("m", "did not find system user name"),
        ("m # sys login", "did not find system user name"),
        ("m , login", "did not find system user name"),
        ("m \"sys login", "did not find system user name"),
        ("m /^(.*)$ \\1", "regular expressions are not supported: /^(.*)$"),
        ("m sys", "did not find database user name"),
        ("m sys \"login", "did not find database user name"),
        ("m sys, login", "did not find database user name"),
        ("m sys +role", "members of a role are not supported: +role"),
        ("m sys /^x", "regular expressions are not supported: /^x"),
        ("m sys login more", "unsupported parameters"),
        ("m sys login, other", "unsupported parameters"),
        ("include_dir maps.d", "did not find database user name"),
    ];
    for (bad, why) in table {
        let (maps, faults) = IdentMaps::parse(&format!("\nk sys login\r\n{bad}\nl sys login"));
        let message = format!("ident line 3: {why}");
        assert_eq!(faults, [LineFault { line: 3, message, effect: Effect::Skipped }], "{bad}");
        assert_eq!(maps.check("m", "sys", "login"), NoSuchMap, "{bad}");
        assert_eq!(maps.check("k", "sys", "login"), Allowed, "{bad}");
        assert_eq!(maps.check("l", "sys", "login"), Allowed, "{bad}");
    }
}

#[test]
fn quotes_take_their_meaning_from_words() {
    let (maps, faults) = IdentMaps::parse("m \"/x\" \"+y\"\nm \"/x\" \"/z\"");
    assert_eq!(faults, []);
    assert_eq!(maps.check("m", "/x", "+y"), Allowed);
    assert_eq!(maps.check("m", "/x", "/z"), Allowed);
    assert_eq!(maps.check("m", "/x", "other"), NoMatch);
}

#[test]
fn of_a_file_that_is_too_long_nothing_is_read() {
    let line = "m sys login\n";
    let text = line.to_owned() + &" ".repeat(RULES_BYTES_MAX - line.len());
    assert_eq!(IdentMaps::parse(&text).0.check("m", "sys", "login"), Allowed);
    let (maps, faults) = IdentMaps::parse(&(text + " "));
    assert_eq!(maps.check("m", "sys", "login"), NoSuchMap);
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].message, "ident line 1: file is longer than 16777216 bytes");
}
