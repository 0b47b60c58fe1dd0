//! What is written, and what it means.

use super::super::name::UnfitName;
use super::super::options::LDAP_OPTIONS_BYTES_MAX;
use super::super::*;

fn parse(text: &str) -> LdapOptions {
    LdapOptions::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn fault(text: &str) -> String {
    match LdapOptions::parse(text) {
        Ok(options) => panic!("{text} is taken: {options:?}"),
        Err(why) => why.to_string(),
    }
}

fn search(options: &LdapOptions) -> &LdapSearch {
    match &options.mode {
        LdapMode::Search(search) => search,
        LdapMode::Bind { .. } => panic!("{options:?}"),
    }
}

#[test]
fn simple_bind_as_postgresql_writes_it() {
    let options = parse("ldapserver=ldap.example.net ldapprefix=\"cn=\" ldapsuffix=\", dc=example, dc=net\"");
    assert_eq!(
        (options.servers.to_string(), options.transport),
        ("ldap.example.net:389".into(), LdapTransport::Plain)
    );
    let LdapMode::Bind { prefix, suffix } = options.mode else { panic!("a bind") };
    assert_eq!((prefix.as_str(), suffix.as_str()), ("cn=", ", dc=example, dc=net"));
}

#[test]
fn search_and_bind_as_postgresql_writes_it() {
    let options = parse("ldapserver=a ldapbasedn=\"dc=example, dc=net\" ldapsearchattribute=mail");
    assert_eq!(search(&options).base, "dc=example, dc=net");
    assert_eq!(search(&options).scope, LdapScope::Sub);
    assert_eq!(search(&options).filter, LdapFilter::parse("(mail=$username)").expect("a good filter"));
    assert!(search(&options).bind_dn.is_empty() && search(&options).bind_password.is_empty());
    let options =
        parse("ldapserver=a ldapbasedn=dc=x ldapbinddn=\"cn=a b\" ldapbindpasswd=\"say \"\"hi\"\"\"");
    assert_eq!(search(&options).filter, LdapFilter::parse("(uid=$username)").expect("a good filter"));
    assert_eq!(search(&options).bind_dn, "cn=a b");
    assert!(search(&options).bind_password.matches(b"say \"hi\""));
    assert!(!format!("{options:?}").contains("hi"), "{options:?}");
    let options =
        parse("ldapserver=a ldapbasedn=dc=x ldapsearchfilter=\"(|(uid=$username)(mail=$username))\"");
    assert!(search(&options).filter.names_user());
}

#[test]
fn a_url_says_it_all() {
    let options = parse("ldapurl=\"ldap://127.0.0.1:12345/dc=example,dc=net?uid?sub\"");
    assert_eq!(options.servers.to_string(), "127.0.0.1:12345");
    assert_eq!(
        (search(&options).base.as_str(), search(&options).scope),
        ("dc=example,dc=net", LdapScope::Sub)
    );
    let options = parse("ldapurl=LDAPS://h/dc=a%20b??one?(uid=$username)");
    assert_eq!((options.servers.to_string(), options.transport), ("h:636".into(), LdapTransport::Ldaps));
    assert_eq!((search(&options).base.as_str(), search(&options).scope), ("dc=a b", LdapScope::One));
    // The usual scope of a URL is base, as in PostgreSQL.
    assert_eq!(search(&parse("ldapurl=\"ldap://h/dc=x?mail,uid\"")).scope, LdapScope::Base);
    assert_eq!(
        search(&parse("ldapurl=\"ldap://h/dc=x?mail,uid\"")).filter,
        LdapFilter::parse("mail=$username").expect("a good filter")
    );
    let options = parse("ldapurl=ldap://[::1]:390/dc=x ldaptls=1 ldapbinddn=cn=me ldapbindpasswd=x");
    assert_eq!(
        (options.servers.to_string(), options.transport),
        ("[::1]:390".into(), LdapTransport::StartTls)
    );
    assert!(options.servers.are_near());
    // What comes later counts.
    assert_eq!(parse("ldapurl=ldap://h/dc=x ldapserver=other ldapport=1").servers.to_string(), "other:1");
    let options = parse("ldapurl=\"ldap:///ou=people,dc=example,dc=org\"");
    assert_eq!(options.servers, LdapServers::OfDomain("example.org".into()));
}

#[test]
fn servers_are_a_list() {
    let options =
        parse("ldapserver=\"a  10.0.0.1 [fd00::1] ::1\" ldapport=10389, ldapprefix=uid= # all of them");
    assert_eq!(options.servers.to_string(), "a:10389 10.0.0.1:10389 [fd00::1]:10389 [::1]:10389");
    assert!(!options.servers.are_near());
    assert!(parse("ldapserver=\"localhost 127.0.0.2\" ldapprefix=uid=").servers.are_near());
    assert_eq!(parse("ldapbasedn=\"cn=x, DC=a, dc=b\"").servers, LdapServers::OfDomain("a.b".into()));
    assert!(!parse("ldapbasedn=dc=b").servers.are_near());
}

#[test]
fn mistakes_are_told_and_passwords_are_not() {
    let cases = [
        ("", "authentication method \"ldap\" requires argument"),
        ("ldapserver=h", "requires argument \"ldapbasedn\", \"ldapprefix\", or \"ldapsuffix\" to be set"),
        ("ldapprefix=uid=", "LDAP server not specified, and no ldapbasedn"),
        ("ldapbasedn=ou=people", "no ldapserver, and ldapbasedn does not end in the dc="),
        ("ldapserver=h ldapprefix=uid= ldapbasedn=dc=x", "cannot use ldapbasedn"),
        ("ldapserver=h ldapsuffix=x ldapbindpasswd=x", "cannot use ldapbasedn"),
        (
            "ldapserver=h ldapbasedn=x ldapsearchattribute=a ldapsearchfilter=(b=c)",
            "cannot use ldapsearchattribute together with ldapsearchfilter",
        ),
        ("ldapserver=h ldapprefix=a ldaptls=1 ldapscheme=ldaps", "cannot use ldaptls=1 together"),
        ("ldapserver=h ldapprefix=a ldaptls=yes", "invalid ldaptls value"),
        ("ldapserver=h ldapprefix=a ldapscheme=http", "invalid ldapscheme value"),
        ("ldapserver=h ldapprefix=a ldapport=0", "invalid LDAP port number"),
        ("ldapserver=h ldapprefix=a ldapport=70000", "invalid LDAP port number"),
        ("ldapserver=h:389 ldapprefix=a", "the port belongs into ldapport"),
        ("ldapserver=h/x ldapprefix=a", "ldapserver is a list of names"),
        ("ldapserver=h ldapsearchatribute=x", "invalid LDAP key parameter: \"ldapsearchatribute\""),
        ("ldapserver=h ldapbindpasswd=hun ter2=x", "is a value with blanks quoted?"),
        ("ldapserver=h ldapbindpasswd=hun ter2", "option 3: name=value is expected"),
        ("ldapserver=h ldapbindpasswd=\"hunter2", "option 2: quote is not closed"),
        ("ldapserver=h ldapbindpasswd=\"hunter2\"x", "option 2: something stands right behind"),
        ("ldapserver= ldapprefix=x", "option 1: name=value is expected, without blanks"),
        ("ldapurl=http://h/x", "unsupported LDAP URL scheme"),
        ("ldapurl=h", "could not parse LDAP URL: ldap:// is expected"),
        ("ldapurl=ldap://h:0/dc=x", "the port is 1 to 65535"),
        ("ldapurl=ldap://u:hunter2@h/dc=x", "an LDAP URL has no user"),
        ("ldapurl=ldap://h/dc=x??all", "the scope is base, one or sub"),
        ("ldapurl=ldap://h/dc=%2", "two hexadecimal digits"),
        ("ldapurl=ldap://h/dc=%00", "zero byte"),
        ("ldapurl=ldap://[::1/dc=x", "bracket"),
        ("ldapurl=ldap://h/dc=x????!x", "critical extension"),
        ("ldapurl=ldap://h/dc=x?uid?sub?(a=b)", "cannot use ldapsearchattribute together"),
        ("ldapserver=h ldapbasedn=x ldapsearchattribute=a(b", "no name of an attribute"),
    ];
    for (text, expected) in cases {
        let why = fault(text);
        assert!(why.contains(expected), "{text}: {why}");
        assert!(!why.contains("hunter2") && !why.contains("ter2"), "{why}");
    }
    assert!(fault(&format!("ldapprefix={}", "x".repeat(LDAP_OPTIONS_BYTES_MAX))).contains("longer than"));
    assert!(
        fault(&format!("ldapprefix=a ldapserver=\"{}\"", "h ".repeat(17))).contains("more than 16 servers")
    );
}

#[test]
fn filters_are_understood_before_a_name_is_put_into_them() {
    for good in [
        "(uid=$username)",
        "uid=$username",
        "(&(uid=$username)(objectClass=posixAccount))",
        "(& (uid=$username) (!(locked=*)) )",
        "(|(cn=a*b*$username)(cn=*x)(cn=x*)(age>=3)(age<=4)(name~=$username))",
        "(memberOf:1.2.840.113556.1.4.1941:=cn=dba,dc=x)",
        "(:dn:caseExactMatch:=$username)",
        "(cn;lang-de=\\28\\29\\2a\\5c)",
        "(&)",
        "(uid=)",
    ] {
        assert!(LdapFilter::parse(good).is_ok(), "{good}: {:?}", LdapFilter::parse(good));
    }
    for (bad, expected) in [
        ("", "no ="),
        ("(uid=$username", "not closed"),
        ("(uid=$username))", "behind the last parenthesis"),
        ("(uid=a(b)", "not closed"),
        ("($username=x)", "nowhere else"),
        ("(uid)", "no ="),
        ("(uid=\\2)", "two hexadecimal digits"),
        ("(uid=\\zz)", "two hexadecimal digits"),
        ("(uid=a**b)", "side by side"),
        ("(:=x)", "neither"),
        ("(a:b:c:=x)", "more than one"),
        ("(!uid=x)", "parenthesis is missing"),
        ("(uid>=*)", "written as"),
        ("(=x)", "no name of an attribute"),
    ] {
        let why = LdapFilter::parse(bad).expect_err(bad).to_string();
        assert!(why.contains(expected), "{bad}: {why}");
    }
    let deep = |levels: usize| format!("{}(a=b){}", "(!".repeat(levels), ")".repeat(levels));
    assert!(LdapFilter::parse(&deep(15)).is_ok());
    assert!(LdapFilter::parse(&deep(16)).expect_err("too deep").to_string().contains("too deep"));
    assert!(!LdapFilter::parse("(uid=app)").expect("a good filter").names_user());
}

#[test]
fn a_name_in_a_name_is_one_value() {
    let of = |prefix, user, suffix| name::bind_name(prefix, user, suffix);
    let cases = [
        ("joe", "uid=joe,dc=x"),
        ("admin,dc=evil", "uid=admin\\,dc\\=evil,dc=x"),
        ("a+cn=b", "uid=a\\+cn\\=b,dc=x"),
        (" a ", "uid=\\ a\\ ,dc=x"),
        ("#1", "uid=\\#1,dc=x"),
        ("a\"<>;\\", "uid=a\\\"\\<\\>\\;\\\\,dc=x"),
        ("a\nb", "uid=a\\0ab,dc=x"),
        ("jürgen", "uid=jürgen,dc=x"),
        ("a#b c", "uid=a#b c,dc=x"),
    ];
    for (user, expected) in cases {
        assert_eq!(of("uid=", user, ",dc=x").as_deref(), Ok(expected));
    }
    assert_eq!(of("CORP\\", "joe", "").as_deref(), Ok("CORP\\joe"));
    assert_eq!(of("", "joe+x", "@example.org").as_deref(), Ok("joe+x@example.org"));
    for bad in ["a\\b", "admin@evil.org", "a/b", "a\nb", "a\"b"] {
        assert_eq!(of("CORP\\", bad, ""), Err(UnfitName), "{bad}");
        assert_eq!(of("", bad, "@example.org"), Err(UnfitName), "{bad}");
    }
}
