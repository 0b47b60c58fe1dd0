//! Real drivers log in by a key and by a token over TLS, and libpq 18 by SASL OAUTHBEARER.

#![allow(clippy::unwrap_used)]

mod common;
mod identity_house;
mod identity_idp;
mod scrape;

use std::process::Command;

use common::certificates::Maker;
use common::{SOON, drivers};
use identity_house::{IdentityHouse, identity_house};
use identity_idp::Idp;
use plimsoll_testkit::{Ini, free_port};
use serde_json::json;

struct House {
    house: IdentityHouse,
    maker: Maker,
    http: u16,
    ini: Ini,
    app: String,
    key: String,
    token: String,
}

/// TLS for everybody, and this way to log in.
fn house(auth_type: &str) -> House {
    let maker = Maker::new();
    maker.named("server", "localhost");
    let http = free_port();
    let mut kept = Ini::empty();
    let house = identity_house(|ini| {
        let ini = ini
            .set("auth_type", auth_type)
            .set("ignore_startup_parameters", "extra_float_digits")
            .set("client_tls_sslmode", "require")
            .set("client_tls_cert_file", &maker.text("server.crt"))
            .set("client_tls_key_file", &maker.text("server.key"))
            .own("http_listen", &http.to_string());
        kept = ini.clone();
        ini
    });
    house.plimsoll.wait_for_log(&format!("listening on http://127.0.0.1:{http}/metrics"), SOON);
    let (app, key, ..) = house.usual();
    let token = scrape::token(http, &key);
    House { house, maker, http, ini: kept, app: app.id.to_string(), key, token }
}

impl House {
    /// What a script says as this user with this secret.
    #[track_caller]
    fn says(&self, runner: Option<Command>, driver: &str, user: &str, secret: &str) -> Option<String> {
        let Some(mut command) = runner else {
            drivers::pass_over(driver);
            return None;
        };
        let port = self.house.plimsoll.port().to_string();
        command.args(["localhost", &port, "p0", &self.maker.text("server.crt"), driver, user, secret]);
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{driver}: {errors}{}", self.house.plimsoll.log());
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    #[track_caller]
    fn all_drivers(&self, user: &str, secret: &str) {
        let psycopg = drivers::python("identity.py");
        let runners = [
            (psycopg, "psycopg"),
            (drivers::python("identity.py"), "asyncpg"),
            (drivers::node("identity.js", "pg"), "pg"),
            (drivers::java("Identity.java"), "jdbc"),
        ];
        for (runner, driver) in runners {
            if let Some(role) = self.says(runner, driver, user, secret) {
                assert_eq!(role, "app", "{driver}");
            }
        }
    }
}

#[test]
fn every_driver_logs_in_by_a_key() {
    let house = house("key");
    house.all_drivers("shop", &house.key);
    // Without TLS it is not even asked for, but on this machine.
    assert!(house.house.plimsoll.login("app", "p0").password(&house.key).try_client().is_err());
}

#[test]
fn every_driver_logs_in_by_a_token() {
    let house = house("jwt");
    house.all_drivers("app", &house.token);
}

#[test]
fn every_driver_logs_in_by_a_token_of_an_issuer_outside() {
    let house = house("jwt");
    let idp = Idp::new();
    let issuers = idp.line("keys", &format!("map='azp=shop -> {}'", house.app));
    house.house.plimsoll.reload(&house.ini.clone().extra(&issuers));
    house.all_drivers("app", &idp.token(&json!({})));
}

#[test]
fn libpq_18_is_sent_to_an_issuer_outside() {
    let house = house("oauth");
    let idp = Idp::new();
    let more = format!("map='azp=shop -> {}' discovery=openid scope=door", house.app);
    house.house.plimsoll.reload(&house.ini.clone().extra(&idp.line("keys", &more)));
    let user = format!("app@{}", idp.url());
    if let Some(said) = house.says(drivers::python("identity.py"), "oauth", &user, &idp.token(&json!({}))) {
        assert_eq!(said, format!("wanted by {}/.well-known/openid-configuration\napp", idp.url()));
    }
}

#[test]
fn libpq_18_logs_in_by_oauthbearer() {
    let house = house("oauth");
    let user = format!("app@http://127.0.0.1:{}", house.http);
    if let Some(said) = house.says(drivers::python("identity.py"), "oauth", &user, &house.token) {
        let wanted =
            format!("wanted by http://127.0.0.1:{}/.well-known/oauth-authorization-server\napp", house.http);
        assert_eq!(said, wanted);
    }
}
