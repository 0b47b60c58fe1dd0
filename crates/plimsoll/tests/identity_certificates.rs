//! Client certificates as credentials of an application: who shows one is not asked for a key, and everybody else is.

#![allow(clippy::unwrap_used)]

mod common;
mod identity_house;

use std::process::Command;

use common::certificates::Maker;
use common::drivers;
use identity_house::{IdentityHouse, identity_house, now_ms, who};
use plimsoll_identity::{Credential, CredentialData, CredentialKind, Id, State};
use plimsoll_testkit::eventually;

struct House {
    house: IdentityHouse,
    maker: Maker,
    app: Id,
    key: String,
}

/// Logins by key; whoever shows a certificate has to show one of our authority.
fn house(mode: &str) -> House {
    let maker = Maker::new();
    maker.named("server", "localhost");
    maker.root("ca");
    maker.signed("ca", "shop", "shop.example");
    maker.signed("ca", "stranger", "stranger.example");
    maker.self_signed("forged", "shop.example");
    let house = identity_house(|ini| {
        ini.set("auth_type", "key")
            .set("client_tls_sslmode", mode)
            .set("client_tls_ca_file", &maker.text("ca.crt"))
            .set("client_tls_cert_file", &maker.text("server.crt"))
            .set("client_tls_key_file", &maker.text("server.key"))
            .own("revoke_grace", "500ms")
    });
    let (app, key, ..) = house.usual();
    House { house, maker, app: app.id, key }
}

impl House {
    /// As a person would find it out.
    fn sha256(&self, name: &str) -> String {
        let output = Command::new("openssl")
            .args([
                "x509",
                "-noout",
                "-fingerprint",
                "-sha256",
                "-in",
                &self.maker.text(&format!("{name}.crt")),
            ])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
    }

    /// Makes a certificate a credential of the application.
    fn register(&self, name: &str, key_id: &str, expires_ms: Option<i64>) -> Credential {
        let data = CredentialData {
            app: self.app.clone(),
            kind: CredentialKind::Certificate,
            env: "test".to_owned(),
            name: name.to_owned(),
            public: self.sha256(name),
            scopes: Vec::new(),
            expires_ms,
            state: State::Active,
        };
        let store = &self.house.store;
        self.house.runtime.block_on(store.create_credential(key_id, data, None, who())).unwrap()
    }

    fn change(&self, credential: &Credential, change: impl FnOnce(&mut CredentialData)) {
        let mut data = credential.data.clone();
        change(&mut data);
        let store = &self.house.store;
        self.house.runtime.block_on(store.change_credential(&credential.key_id, None, data, who())).unwrap();
    }

    /// psql with a certificate (empty: none) and a password (empty: none): what it printed, or its error.
    fn psql(&self, certificate: &str, password: &str, sql: &str) -> Result<String, String> {
        let output =
            self.psql_command(certificate, password).args(["-c", sql]).output().expect("psql is there");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn psql_command(&self, certificate: &str, password: &str) -> Command {
        let shows = match certificate {
            "" => "sslcert=/none sslkey=/none".to_owned(),
            name => {
                format!(
                    "sslcert={} sslkey={}",
                    self.maker.text(&format!("{name}.crt")),
                    self.maker.own_key(name)
                )
            }
        };
        let port = self.house.plimsoll.port();
        let to = format!("host=127.0.0.1 port={port} dbname=p0 user=shop sslmode=require {shows}");
        let mut command = Command::new("psql");
        command.args(["-X", "-w", "-At", "-d", &to]).env("PGCONNECT_TIMEOUT", "20").env_remove("PGPASSWORD");
        if !password.is_empty() {
            command.env("PGPASSWORD", password);
        }
        command
    }

    #[track_caller]
    fn asked_for_a_key(&self, certificate: &str) {
        let refused = self.psql(certificate, "", "SELECT 1").expect_err("it has no key");
        assert!(refused.contains("no password supplied"), "{certificate}: {refused}");
        let by_key = self.psql(certificate, &self.key, "SELECT current_user");
        assert_eq!(by_key.as_deref(), Ok("app"), "{certificate}");
    }
}

const KEY_ID: &str = "CertCertCertCert";

#[test]
fn a_certificate_of_an_application_is_all_it_needs() {
    for mode in ["require", "verify-full"] {
        let house = house(mode);
        let credential = house.register("shop", KEY_ID, None);
        let asks = |certificate: &str| {
            eventually("it is heard", common::SOON, || {
                house.psql(certificate, "", "SELECT current_user").as_deref() == Ok("app")
            });
        };
        asks("shop");
        // A password that is set all the same is not looked at.
        assert_eq!(house.psql("shop", "wrong", "SELECT 1").as_deref(), Ok("1"));
        house.asked_for_a_key("stranger");
        if mode == "require" {
            house.asked_for_a_key("");
        }
        // Signed by nobody we know, with the same name in it: no TLS at all.
        assert!(house.psql("forged", &house.key, "SELECT 1").is_err());
        house.change(&credential, |data| data.state = State::Revoked);
        eventually("it is heard", common::SOON, || house.psql("shop", "", "SELECT 1").is_err());
        house.asked_for_a_key("shop");
        // Ended, and then known again under another name.
        house.register("shop", "EndedEndedEnded0", Some(now_ms() - 1));
        eventually("its end is known", common::SOON, || {
            house.asked_for_a_key("shop");
            house.house.plimsoll.log().contains("certificate EndedEndedEnded0: the credential has expired")
        });
        house.register("shop", "AgainAgainAgain0", None);
        asks("shop");
    }
}

#[test]
fn its_sessions_are_named_and_end_with_it() {
    let house = house("require");
    let credential = house.register("shop", KEY_ID, None);
    let mut child = house
        .psql_command("shop", "")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("psql is there");
    let shown = || house.house.plimsoll.show("IDENTITIES");
    eventually("it is there", common::SOON, || !shown().rows.is_empty());
    let cells = ["identity", "key_id", "role"].map(|column| shown().cell(0, column).to_owned());
    assert_eq!(cells, ["shop", KEY_ID, "app"]);
    assert!(!shown().cell(0, "until").is_empty(), "the end of the certificate itself");
    house.change(&credential, |data| data.state = State::Revoked);
    eventually("it is let go", common::SOON, || shown().rows.is_empty());
    // It hears so with its next statement.
    use std::io::Write as _;
    child.stdin.take().unwrap().write_all(b"SELECT 1;\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("authorisation has ended") && told.contains(KEY_ID), "{told}");
}

#[test]
fn psycopg_shows_its_certificate() {
    let house = house("require");
    house.register("shop", KEY_ID, None);
    let Some(mut command) = drivers::python("identity.py") else { return drivers::pass_over("psycopg") };
    let port = house.house.plimsoll.port().to_string();
    let shown = format!("{}:{}", house.maker.text("shop.crt"), house.maker.own_key("shop"));
    command.args(["localhost", &port, "p0", &house.maker.text("server.crt"), "certificate", "shop", &shown]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "app");
}
