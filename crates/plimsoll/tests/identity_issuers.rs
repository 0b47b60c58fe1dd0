//! Tokens of an issuer outside at the pooler's door, over TLS from its keys to its sessions: who gets in, who does not, what a
//! reload changes, and that an issuer which is away disturbs nobody.

#![allow(clippy::unwrap_used)]

mod common;
mod identity_house;
mod identity_idp;
mod scrape;

use std::time::Instant;

use common::SOON;
use identity_house::{IdentityHouse, identity_house, who};
use identity_idp::{Idp, Says, Signer, now_s};
use plimsoll_identity::{Application, Grant, GrantData, State};
use plimsoll_testkit::{Client, Ini, Packet, ServerError, eventually, free_port};
use serde_json::json;

struct House {
    house: IdentityHouse,
    idp: Idp,
    ini: Ini,
    app: Application,
    key: String,
    grant: Grant,
    http: u16,
}

/// Logins by token, no issuer yet.
fn house(auth_type: &str) -> House {
    let http = free_port();
    let mut kept = Ini::empty();
    let house = identity_house(|ini| {
        let ini = ini
            .set("auth_type", auth_type)
            .own("http_listen", &http.to_string())
            .own("revoke_grace", "500ms");
        kept = ini.clone();
        ini
    });
    house.plimsoll.wait_for_log(&format!("listening on http://127.0.0.1:{http}/metrics"), SOON);
    let (app, key, _, grant) = house.usual();
    House { house, idp: Idp::new(), ini: kept, app, key, grant, http }
}

impl House {
    /// A reload with this in the file.
    fn reload(&self, issuers: &str) {
        self.house.plimsoll.reload(&self.ini.clone().extra(issuers));
    }

    /// A rule for the application, and what else.
    fn rule(&self, more: &str) -> String {
        format!("map='azp=shop -> {}' {more}", self.app.id)
    }

    fn client(&self, token: &str) -> Client {
        self.house.plimsoll.login("app", "p0").password(token).client()
    }

    fn refusal(&self, token: &str) -> ServerError {
        self.house.plimsoll.login("app", "p0").password(token).refusal()
    }

    /// Refused, with this in the log.
    #[track_caller]
    fn refused(&self, token: &str, why: &str) {
        let mark = self.house.plimsoll.log_mark();
        let refused = self.refusal(token);
        assert_eq!(
            (refused.sqlstate.as_str(), refused.message.as_str()),
            ("28P01", "\"jwt\" authentication failed")
        );
        let log = self.house.plimsoll.wait_for_log_since(mark, why, SOON);
        assert!(!log.contains(&token[20..]), "no token in the log");
    }
}

#[test]
fn tokens_of_an_issuer_open_the_door_and_nothing_else_does() {
    let house = house("jwt");
    let (idp, plimsoll) = (&house.idp, &house.house.plimsoll);
    let token = idp.token(&json!({}));
    house.refused(&token, "login by jwt: ");
    assert_eq!(idp.asked(), 0, "nobody is asked whom no line names");
    house.reload(&idp.line("keys", &house.rule("")));
    plimsoll.wait_for_log("issuer corp is new", SOON);
    let mut client = house.client(&token);
    assert_eq!(client.value("SELECT current_user"), "app");
    client.query("BEGIN");
    let seen = plimsoll.show("IDENTITIES");
    let cells = ["identity", "issuer", "key_id", "role"].map(|column| seen.cell(0, column).to_owned());
    assert_eq!(cells, ["shop", "corp", "", "app"]);
    let holds = plimsoll.show("HOLDS");
    assert_eq!((holds.cell(0, "identity"), holds.cell(0, "issuer")), ("shop", "corp"));
    client.query("COMMIT");
    // Our own as before, and nobody's name beside it.
    let own = house.client(&scrape::token(house.http, &house.key));
    assert!(plimsoll.show("IDENTITIES").find(&[("issuer", "corp")]).is_some());
    assert_eq!(plimsoll.show("IDENTITIES").rows.len(), 2);
    own.leave();

    for (changes, why) in [
        (json!({"aud": "other"}), "another audience"),
        (json!({"iss": format!("{}/", idp.url())}), "neither ours nor in [issuers]"),
        (json!({"iss": "https://localhost:1"}), "neither ours nor in [issuers]"),
        (json!({"exp": now_s() - 60}), "it ended 6"),
        (json!({"nbf": now_s() + 600}), "it is good only in"),
    ] {
        house.refused(&idp.token(&changes), why);
    }
    let claims = idp.claims(&json!({}));
    for (header, why) in [
        (json!({"alg": "ES256", "kid": "k1", "typ": "logout+jwt"}), "another type"),
        (json!({"alg": "HS256", "kid": "k1", "typ": "JWT"}), "its algorithm"),
        (json!({"alg": "none", "typ": "JWT"}), "its algorithm"),
        (json!({"alg": "ES256", "kid": "k1", "typ": "JWT", "jku": "https://localhost:1"}), "its signature"),
    ] {
        house.refused(&Signer::new("k1").raw(&header, &claims), why);
    }
    // Good, and nobody said for whom it speaks.
    let refused = house.refusal(&idp.token(&json!({"azp": "stranger"})));
    assert_eq!((refused.sqlstate.as_str(), refused.message.as_str()), ("28000", "not granted"));
    assert!(refused.detail.unwrap().contains("issuer corp: it is good, but no rule"));
    // Whatever keys are invented: it was asked once, and is asked no more for now.
    house.refused(&Signer::new("invented").token(&claims), "does not publish");
    for number in 0..40 {
        // In a storm lines of the log are counted together.
        let refused = house.refusal(&Signer::new(&format!("invented{number}")).token(&claims));
        assert_eq!(refused.message, "\"jwt\" authentication failed");
    }
    assert_eq!(idp.asked(), 1);
    assert_eq!(client.value("SELECT 1"), "1", "who is here was never disturbed");
}

#[test]
fn the_end_of_a_right_is_the_end_of_its_sessions() {
    let house = house("jwt");
    let idp = &house.idp;
    house.reload(&idp.line("keys", &house.rule("")));
    // Its own end.
    let mut short = house.client(&idp.token(&json!({"exp": now_s() + 2})));
    let mut client = house.client(&idp.token(&json!({})));
    let told = short.expect_closed().expect("a reason");
    assert_eq!(told.sqlstate, "28000");
    assert!(told.detail.unwrap().contains("has come to its end"));
    assert_eq!(client.value("SELECT 1"), "1");
    // Another rule beside it changes nothing for who is here.
    let other = house.house.app("other");
    house.reload(&idp.line("keys", &house.rule(&format!("map='azp=other -> {}'", other.id))));
    assert_eq!(client.value("SELECT 2"), "2");
    assert_eq!(idp.asked(), 1, "the keys are those that were there");
    // Its rule goes.
    house.reload(&idp.line("keys", &format!("map='azp=other -> {}'", other.id)));
    let told = client.expect_closed().expect("a reason");
    assert_eq!(told.sqlstate, "28000");
    assert!(told.detail.unwrap().contains("the rules of issuer corp"), "it is told why");
    assert_eq!(house.refusal(&idp.token(&json!({}))).sqlstate, "28000");
    // The grant goes.
    house.reload(&idp.line("keys", &house.rule("")));
    let mut client = house.client(&idp.token(&json!({})));
    let data = GrantData { state: State::Disabled, ..house.grant.data.clone() };
    let store = &house.house.store;
    house.house.runtime.block_on(store.change_grant(&house.grant.id, None, data, who())).unwrap();
    assert_eq!(client.expect_closed().expect("a reason").sqlstate, "28000");
    house
        .house
        .runtime
        .block_on(store.change_grant(&house.grant.id, None, house.grant.data.clone(), who()))
        .unwrap();
    // The issuer goes; in a transaction its sessions have revoke_grace.
    let mut client = eventually_in(&house, &idp.token(&json!({})));
    client.query("BEGIN");
    house.reload("");
    let told = client.expect_closed().expect("a reason");
    assert!(told.detail.unwrap().contains("its issuer corp is not in [issuers] any more"));
    assert_eq!(house.refusal(&idp.token(&json!({}))).sqlstate, "28P01");
}

/// Once the door has heard that it may.
fn eventually_in(house: &House, token: &str) -> Client {
    let login = house.house.plimsoll.login("app", "p0").password(token);
    plimsoll_testkit::eventually_ok("it gets in", SOON, || {
        login.try_client().map_err(|failure| format!("{failure:?}"))
    })
}

#[test]
fn an_issuer_that_is_away_or_lies_disturbs_nobody() {
    let house = house("jwt");
    let idp = &house.idp;
    let token = idp.token(&json!({}));
    let own = scrape::token(house.http, &house.key);
    for (path, says, detail) in [
        ("hangs-up", Says::HangsUp, "it does not prove who it is (TLS)"),
        ("error", Says::Error, "it answers with an error"),
        ("too-much", Says::TooMuch, "its answer is too long"),
        ("lies", Says::Lies, "its answer is no set of keys"),
    ] {
        idp.say(says);
        house.reload(&idp.line(path, &house.rule("")));
        let refused = house.refusal(&token);
        assert_eq!(
            (refused.sqlstate.as_str(), refused.message.as_str()),
            ("57P03", "tokens of issuer \"corp\" cannot be checked now")
        );
        assert_eq!(refused.detail.as_deref(), Some(detail));
        assert!(refused.hint.unwrap().contains("[issuers]"));
        house.house.plimsoll.wait_for_log(&format!("{path}: "), SOON);
        house.client(&own).leave();
    }
    // It takes connections and says nothing: its own clients wait, and not for ever; nobody else does.
    idp.say(Says::KeepsSilent);
    house.reload(&idp.line("silent", &house.rule("")));
    let began = Instant::now();
    let login = house.house.plimsoll.login("app", "p0").password(&token);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let login = login.clone();
            std::thread::spawn(move || login.refusal())
        })
        .collect();
    let mut others = 0;
    while waiting.iter().any(|thread| !thread.is_finished()) {
        house.client(&own).leave();
        others += 1;
    }
    assert!(others > 5, "others came in all the while: {others} in {:?}", began.elapsed());
    for thread in waiting {
        let refused = thread.join().unwrap();
        assert_eq!(
            (refused.sqlstate.as_str(), refused.detail.as_deref()),
            ("57P03", Some("it does not answer in time"))
        );
    }
    idp.say(Says::Keys(vec![idp.signer.jwk()]));
    house.reload(&idp.line("keys", &house.rule("")));
    assert_eq!(house.client(&token).value("SELECT current_user"), "app");
    // A certificate of somebody else's is not believed.
    let stranger = Idp::new();
    let line =
        idp.line("again", &house.rule("")).replace(&idp.maker.text("ca.crt"), &stranger.maker.text("ca.crt"));
    house.reload(&line);
    assert_eq!(house.refusal(&token).detail.as_deref(), Some("it does not prove who it is (TLS)"));
}

#[test]
fn clients_without_a_token_are_sent_where_the_line_says() {
    let house = house("oauth");
    let idp = &house.idp;
    let told = || {
        let login = house.house.plimsoll.login("app", "p0");
        let mut client = login.knock().unwrap();
        client.send(&login.startup_packet()).unwrap();
        client.read().unwrap();
        let data = "n,,\x01auth=\x01\x01";
        let length = u32::try_from(data.len()).unwrap();
        let first = Packet::typed(b'p').text("OAUTHBEARER").int32(length).raw(data.as_bytes());
        client.send(&first.bytes()).unwrap();
        let answer = client.read().unwrap();
        assert_eq!(answer.body[..4], [0, 0, 0, 11]);
        serde_json::from_slice::<serde_json::Value>(&answer.body[4..]).unwrap()
    };
    let own = format!("http://127.0.0.1:{}/.well-known/oauth-authorization-server", house.http);
    house.reload(&idp.line("keys", &house.rule("")));
    assert_eq!(told()["openid-configuration"], own.as_str());
    house.reload(&idp.line("keys", &house.rule("discovery=openid scope='openid door'")));
    let openid = format!("{}/.well-known/openid-configuration", idp.url());
    assert_eq!(
        (told()["openid-configuration"].as_str(), told()["scope"].as_str()),
        (Some(&*openid), Some("openid door"))
    );
    house.reload("");
    eventually("our own again", SOON, || told()["openid-configuration"] == own.as_str());
}
