//! What stands behind a method.

use super::*;

#[test]
fn options_are_held_to_their_shape() {
    let malformed = |option: &str| format!("Ident map {option} is malformed. It is not in map=value format.");
    let extra = || "unsupported parameters".to_owned();
    let table = [
        ("peer map", malformed("map")),
        ("peer map=", malformed("map=")),
        ("peer map=\"m\"", malformed("map=")),
        ("peer Map=m", malformed("Map=m")),
        ("cert clientcert=verify-full", malformed("clientcert=verify-full")),
        ("trust trust", malformed("trust")),
        ("peer map=m map=n", extra()),
        ("peer map=m,", extra()),
        ("peer \"map=m\"", extra()),
        ("md5,", extra()),
    ];
    for (method, why) in table {
        let (hba, faults) = parse(&format!("local all all {method}"));
        assert_eq!(hba.rules().len(), 0, "{method}");
        assert_eq!(
            faults.iter().map(|fault| &fault.message).collect::<Vec<_>>(),
            [&format!("hba line 1: {why}")]
        );
    }
}

#[test]
fn options_of_ldap_have_a_grammar_of_their_own_and_are_shown_to_nobody() {
    let text = "host all all all ldap \t ldapserver=ldap.example.com ldapbasedn=dc=x ldapbindpasswd=\"hunter2\" # , \r";
    let hba = rules(text);
    let rule = hba.find(&asker(tcp("::1"), "d", "u")).expect("a rule");
    let HbaMethod::Ldap(Some(options)) = &rule.method else { panic!("not ldap: {rule:?}") };
    assert_eq!(options.servers.to_string(), "ldap.example.com:389");
    assert!(!format!("{hba:?}").contains("hunter2"));
}

#[test]
fn a_line_whose_options_cannot_be_read_lets_nobody_in_and_no_later_line_does() {
    for (options, why) in [
        ("", "authentication method \"ldap\" requires argument"),
        ("ldapserver=h ldapbasedn=dc=x ldapbindpasswd=\"hunter2", "option 3: quote is not closed"),
        ("ldapserver=h ldapprefx=uid=", "invalid LDAP key parameter: \"ldapprefx\""),
    ] {
        let (hba, faults) = parse(&format!("host all all all ldap {options}\nhost all all all trust"));
        assert!(faults[0].message.starts_with(&format!("hba line 1: {why}")), "{faults:?}");
        assert_eq!((faults[0].effect, faults.len()), (Effect::Closed, 1));
        let rule = hba.find(&asker(tcp("::1"), "d", "u")).expect("a rule");
        assert!(matches!(rule.method, HbaMethod::Ldap(None)), "{rule:?}");
    }
    for (options, why) in [
        ("pamservice=../x", "pamservice is the name of a file in /etc/pam.d, not ../x"),
        ("pamservice=", "pamservice is the name of a file in /etc/pam.d, not "),
        ("pamservice=a pamservice=b", "Ident map pamservice=b is malformed. It is not in map=value format."),
        ("pam_use_hostname=1", "Ident map pam_use_hostname=1 is malformed. It is not in map=value format."),
        ("pamservice=a map=m more", "unsupported parameters"),
        ("\"", "unsupported parameters"),
    ] {
        let (hba, faults) = parse(&format!("host all all all pam {options}\nhost all all all trust"));
        let message = format!("hba line 1: {why}");
        assert_eq!(faults, [LineFault { line: 1, message, effect: Effect::Closed }], "{options}");
        let rule = hba.find(&asker(tcp("::1"), "d", "u")).expect("a rule");
        assert!(matches!(rule.method, HbaMethod::Reject), "{rule:?}");
    }
}

#[test]
fn pam_has_a_service() {
    for (line, expected) in [("pam", None), ("pam pamservice=db-logins", Some("db-logins"))] {
        let hba = rules(&format!("local all all {line}"));
        let HbaMethod::Pam(service) = &hba.rules()[0].method else { panic!("not pam: {hba:?}") };
        assert_eq!(service.as_deref(), expected);
    }
}

#[test]
fn lines_with_maps_that_are_not_there_are_left_out() {
    let (mut hba, faults) =
        parse("local a all peer map=m\nlocal b all cert map=n\nlocal c all md5 map=o\nlocal d all md5");
    assert_eq!(faults, []);
    let (maps, _) = IdentMaps::parse("m sys login");
    let messages: Vec<String> = hba.retain_known_maps(&maps).into_iter().map(|fault| fault.message).collect();
    assert_eq!(
        messages,
        [
            "hba line 2: Ident map n is not found in ident config file",
            "hba line 3: Ident map o is not found in ident config file"
        ]
    );
    assert_eq!(hba.rules().iter().map(|rule| rule.line).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(hba.retain_known_maps(&maps), []);
}
