use std::path::Path;

use crate::{Change, IssuerDiscovery, IssuerRule, Plan, TokenType, diff, load};

const APP: &str = "app_01m80gg6cjn4qpdvfkssbnga6t";
const USER: &str = "usr_01m80gg6cjn4qpdvfkssbnga6t";
const ORG: &str = "org_01m80gg69c96a6cbvj0s1n5fzm";
const GOOD: &str = "url=https://idp.example audience=plimsoll jwks=https://idp.example/keys";

fn loaded(lines: &str) -> Result<Plan, Vec<String>> {
    let text = format!("[pgbouncer]\n[issuers]\n{lines}\n");
    let plan = load(Path::new("a.ini"), &mut |_| Ok(text.clone()));
    plan.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn plan(lines: &str) -> Plan {
    loaded(lines).unwrap_or_else(|mistakes| panic!("{lines}: {mistakes:?}"))
}

#[track_caller]
fn refused(line: &str, why: &str) {
    let mistakes = loaded(line).expect_err(line);
    assert!(mistakes.iter().any(|mistake| mistake.contains(why)), "{line}: {mistakes:?}");
    assert!(mistakes.iter().all(|mistake| mistake.starts_with("a.ini:3: ")), "{mistakes:?}");
}

#[test]
fn a_line_says_who_may_come_and_for_whom_it_speaks() {
    let line = format!(
        "corp = {GOOD} ca_file=/etc/ca.pem algorithms=ES256,EdDSA types=at+JWT,none org={ORG} discovery=openid \
         scope='openid plimsoll' map='azp=billing -> {APP}' map='realm_access.roles=a=b->{USER}' subject=client_id \
         user=https://example.com/login"
    );
    let plan = plan(&line);
    let [issuer] = &plan.issuers[..] else { panic!("one") };
    assert_eq!((issuer.name.as_str(), issuer.url.as_str()), ("corp", "https://idp.example"));
    assert_eq!(issuer.algorithms, ["ES256", "EdDSA"]);
    assert_eq!(issuer.types, [TokenType::AtJwt, TokenType::Missing]);
    let rules: Vec<String> = issuer.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            format!("map='azp=billing -> {APP}'"),
            format!("map='realm_access.roles=a=b -> {USER}'"),
            "subject=client_id".to_string(),
            "user=https://example.com/login".to_string(),
        ]
    );
    assert_eq!(issuer.scope.as_deref(), Some("openid plimsoll"));
    assert_eq!(
        issuer.discovery_url().as_deref(),
        Some("https://idp.example/.well-known/openid-configuration")
    );
    assert_eq!(plan.place_of_issuer("corp").map(|place| place.line), Some(3));
}

#[test]
fn what_is_not_said_is_narrow() {
    let plan = plan(&format!("corp = {GOOD} map='sub=x -> {APP}'"));
    let issuer = &plan.issuers[0];
    assert_eq!(issuer.algorithms, ["ES256", "RS256"]);
    assert_eq!(issuer.types, [TokenType::AtJwt, TokenType::Jwt]);
    assert_eq!((&issuer.org, issuer.discovery, &issuer.ca_file), (&None, None, &None));
    assert!(matches!(&issuer.rules[..], [IssuerRule::Map { value, .. }] if value == "x"));
}

#[test]
fn metadata_is_where_the_two_standards_put_it() {
    for (url, discovery, expected) in [
        ("https://a.b", IssuerDiscovery::OpenId, "https://a.b/.well-known/openid-configuration"),
        ("https://a.b/x/", IssuerDiscovery::OpenId, "https://a.b/x/.well-known/openid-configuration"),
        ("https://a.b", IssuerDiscovery::OAuth, "https://a.b/.well-known/oauth-authorization-server"),
        (
            "https://a.b:1/x/y",
            IssuerDiscovery::OAuth,
            "https://a.b:1/.well-known/oauth-authorization-server/x/y",
        ),
    ] {
        let line = crate::IssuerLine {
            url: url.to_string(),
            discovery: Some(discovery),
            ..crate::IssuerLine::default()
        };
        assert_eq!(line.discovery_url().as_deref(), Some(expected));
    }
}

#[test]
fn keys_come_over_what_nobody_can_change() {
    let with = |url: &str, jwks: &str| format!("x = url={url} audience=a jwks={jwks} map='sub=x -> {APP}'");
    for good in [
        "https://idp.example",
        "https://idp.example:8443/realms/shop",
        "https://[2001:db8::1]:1/x",
        "http://localhost:9/x",
        "http://127.0.0.9",
        "http://[::1]:1/",
    ] {
        assert!(loaded(&with(good, good)).is_ok(), "{good}");
    }
    for bad in [
        "idp.example",
        "https://",
        "https:///x",
        "http://idp.example",
        "http://10.0.0.1/x",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "ftp://localhost",
        "https://user@idp.example",
        "https://u:p@idp.example",
        "https://idp.example:0",
        "https://idp.example:99999",
        "https://idp.example:+1",
        "https://idp.example#x",
        "https://idp.example/a\"b",
        "https://[::g]/",
        "https://[::1",
        "https://idp.exämple",
    ] {
        refused(&with(bad, "https://idp.example/k"), "invalid value");
        refused(&with("https://idp.example", bad), "invalid value");
    }
    refused(&with("https://idp.example/?a=1", "https://idp.example/k"), "for parameter url");
    assert!(loaded(&with("https://idp.example", "https://idp.example/k?a=1")).is_ok());
}

#[test]
fn what_would_let_in_too_much_is_refused() {
    let rule = format!("map='sub=x -> {APP}'");
    let cases = [
        (format!("url=https://a jwks=https://a/k {rule}"), "audience= is missing"),
        (format!("audience=a jwks=https://a/k {rule}"), "url= is missing"),
        (format!("url=https://a audience=a {rule}"), "jwks= is missing"),
        (GOOD.to_string(), "no rule says"),
        (format!("{GOOD} subject=client_id"), "org= has to say"),
        (format!("{GOOD} {rule} user=email"), "org= has to say"),
        (format!("{GOOD} {rule} algorithms=HS256"), "is a secret that both sides know"),
        (format!("{GOOD} {rule} algorithms=none"), "no signature at all"),
        (format!("{GOOD} {rule} algorithms=RS256,XX"), "invalid value \"RS256,XX\""),
        (format!("{GOOD} {rule} types=id"), "invalid value \"id\""),
        (format!("{GOOD} {rule} org={APP}"), "the id of an organisation"),
        (format!("{GOOD} {rule} ca_file=ca.pem"), "an absolute path"),
        (format!("{GOOD} {rule} discovery=yes"), "openid or oauth"),
        (format!("{GOOD} {rule} scope=x"), "discovery= is missing"),
        (format!("{GOOD} {rule} audience=b"), "audience= stands there twice"),
        (format!("{GOOD} {rule} {rule}"), "the second never counts"),
        (
            format!("{GOOD} {rule} audiense=b"),
            "unrecognized issuer parameter: audiense (did you mean \"audience\"?)",
        ),
        (format!("{GOOD} map='sub=x -> {ORG}'"), "for parameter map"),
        (format!("{GOOD} map='sub=x -> app_short'"), "for parameter map"),
        (format!("{GOOD} map='sub= -> {APP}'"), "for parameter map"),
        (format!("{GOOD} map='=x -> {APP}'"), "for parameter map"),
        (format!("{GOOD} map='sub=x'"), "for parameter map"),
    ];
    for (line, why) in cases {
        refused(&format!("x = {line}"), why);
    }
}

#[test]
fn lines_do_not_contradict_each_other() {
    let line = |name: &str, url: &str, more: &str| {
        format!("{name} = url={url} audience=a jwks={url}/k map='sub=x -> {APP}' {more}\n")
    };
    let mistakes = loaded(&format!(
        "{}{}{}{}",
        line("a", "https://a", "discovery=openid"),
        line("a", "https://b", ""),
        line("c", "https://a", ""),
        line("d", "https://d", "discovery=oauth"),
    ));
    assert_eq!(
        mistakes.expect_err("three are wrong"),
        [
            "a.ini:4: issuer a was set before at a.ini:3: one line for each",
            "a.ini:5: issuer c: a has the same url=: one line for each",
            "a.ini:6: issuer d: clients are sent to a already: discovery= stands on one line only",
        ]
    );
    let own = format!("{}[plimsoll]\nidentity_issuer = https://a/\n", line("a", "https://a", ""));
    assert_eq!(
        loaded(&own).expect_err("our own"),
        ["a.ini:3: issuer a is our own (identity_issuer): it needs no line"]
    );
    let many: String = (0..33).map(|n| line(&format!("n{n}"), &format!("https://n{n}"), "")).collect();
    assert_eq!(loaded(&many).expect_err("too many"), ["a.ini:35: issuer n32: there are at most 32"]);
}

#[test]
fn a_reload_says_which_issuers_came_and_went() {
    let line = |name: &str, value: &str| {
        format!("{name} = url=https://{name} audience=a jwks=https://{name}/k map='sub={value} -> {APP}'\n")
    };
    let old = plan(&format!("{}{}{}", line("a", "x"), line("b", "x"), line("c", "x")));
    let new = plan(&format!("{}{}{}", line("c", "y"), line("d", "x"), line("a", "x")));
    assert_eq!(
        diff(&old, &new),
        [
            Change::IssuerRemoved("b".to_string()),
            Change::IssuerChanged("c".to_string()),
            Change::IssuerAdded("d".to_string()),
        ]
    );
    assert_eq!(diff(&new, &new), []);
}
