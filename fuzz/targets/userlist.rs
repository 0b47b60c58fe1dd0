//! auth_file and the secrets in it.
//!
//! Input: an auth_file. Besides not panicking: names are ones that can log in, and a list that is written again gives
//! the same users and secrets.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use plimsoll_auth::{Credential, Stored, credential_for};
use plimsoll_config::{Plan, load};

const MAIN: &str =
    "[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_file = users\n[databases]\n* = host=127.0.0.1\n";

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let plan = plan_with(&text);
    assert!(plan.logins.len() + plan.warnings.len() <= text.lines().count());
    let mut again = String::new();
    let mut logins = BTreeMap::new();
    for (user, secret) in &plan.logins {
        assert!((1..128).contains(&user.len()));
        let secret = str::from_utf8(secret.expose()).expect("a secret is a part of a text");
        again.push_str(&format!("\"{}\" \"{}\"\n", user.replace('"', "\"\""), secret.replace('"', "\"\"")));
        logins.insert(user.as_str(), secret);
        let stored = Stored::parse(secret);
        assert!(matches!(credential_for(Some(&stored), None), Credential::Stored(_)));
    }
    let again = plan_with(&again);
    assert!(
        again
            .logins
            .iter()
            .map(|(user, secret)| (user.as_str(), secret.expose()))
            .eq(logins.iter().map(|(user, secret)| (*user, secret.as_bytes())))
    );
});

/// What is loaded with this auth_file.
fn plan_with(users: &str) -> Plan {
    let mut read = |path: &Path| Ok(if path == Path::new("users") { users } else { MAIN }.to_string());
    load(Path::new("main"), &mut read).expect("auth_file has no mistakes, only warnings")
}
