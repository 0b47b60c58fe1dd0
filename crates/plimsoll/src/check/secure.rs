//! TLS as the configuration wants it: everything that keeps it from being set up, and how servers are asked over it.

use std::net::IpAddr;
use std::sync::Arc;

use plimsoll_cli::{ServerTls, WithoutTls};
use plimsoll_config::{Plan, SslMode, Tls};
use plimsoll_proxy::{ldap_tls, tls_settings};
use plimsoll_tls::rustls::ClientConfig;
use plimsoll_tls::{Fault, Settings, Side, acceptor, connector, error_text, server_name};

use super::facts::{Target, TlsFault};

/// Both sides.
#[derive(Debug)]
pub(super) struct Secure {
    /// What is wrong with either.
    pub(super) faults: Vec<TlsFault>,
    /// Towards servers; `None` where there is no TLS, or it cannot be had.
    servers: Option<Arc<ClientConfig>>,
    mode: SslMode,
}

impl Secure {
    /// Reads the files of a plan.
    pub(super) fn load(plan: &Plan) -> Secure {
        let general = &plan.general;
        let (_, client) = made(&general.client_tls, Side::Client, acceptor);
        let (servers, server) = made(&general.server_tls, Side::Server, connector);
        // Without a file the system's authorities count, and who has no LDAP servers need not have any.
        let of_ldap =
            plan.own.vouch.ldap_ca_file.as_deref().map(|file| ldap_tls(Some(file)).1).unwrap_or_default();
        let of_ldap =
            of_ldap.into_iter().map(|message| TlsFault { key: "ldap_ca_file".to_string(), message });
        let faults = client.into_iter().chain(server).chain(of_ldap).collect();
        Secure { faults, servers, mode: general.server_tls.mode }
    }

    /// How to ask a target that is written as this host: `Ok(None)` is without TLS.
    ///
    /// # Errors
    /// It must be asked over TLS and cannot be.
    pub(super) fn towards(&self, target: &Target, host: &str) -> Result<Option<ServerTls>, String> {
        let without = match (target, self.mode) {
            (Target::Unix(..), _) | (_, SslMode::Disable) => return Ok(None),
            (_, SslMode::Allow | SslMode::Prefer) => WithoutTls::GoOn,
            (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => WithoutTls::Leave,
        };
        let config = self.servers.clone().ok_or("TLS cannot be set up as server_tls_* want it")?;
        let name = server_name(host, self.mode)
            .ok_or_else(|| format!("no certificate can bear the name {host}, and verify-full asks for it"))?;
        Ok(Some(ServerTls { config, name, without, explain: error_text }))
    }
}

/// The host of a target as a line of `[databases]` has it.
pub(super) fn host_of(target: &Target, written: &[(String, Vec<IpAddr>)]) -> String {
    match target {
        Target::Name(name, _) => name.clone(),
        Target::Unix(..) => String::new(),
        Target::Tcp(ip, _) => {
            let named = written.iter().find(|(_, ips)| ips.contains(ip));
            named.map_or_else(|| ip.to_string(), |(name, _)| name.clone())
        }
    }
}

/// Makes one side.
fn made<T>(
    tls: &Tls,
    side: Side,
    make: fn(&Settings) -> Result<Arc<T>, Vec<Fault>>,
) -> (Option<Arc<T>>, Vec<TlsFault>) {
    if tls.mode == SslMode::Disable {
        return (None, Vec::new());
    }
    let told = |fault: Fault| TlsFault { key: fault.key.name(side), message: fault.message };
    let (settings, unread) = tls_settings(tls);
    match if unread.is_empty() { make(&settings) } else { Err(unread) } {
        Ok(made) => (Some(made), Vec::new()),
        Err(faults) => (None, faults.into_iter().map(told).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::demand::tests::plan;
    use super::*;

    fn tcp() -> Target {
        Target::Tcp("10.0.0.1".parse().expect("an address"), 5432)
    }

    #[test]
    fn what_keeps_tls_from_being_had_is_told_with_its_key() {
        let keys = |lines: &str| {
            let secure = Secure::load(&plan(&format!("{lines}\n[databases]\nx = host=10.0.0.1\n")));
            secure.faults.into_iter().map(|fault| fault.key).collect::<Vec<String>>()
        };
        assert_eq!(keys(""), Vec::<String>::new());
        assert_eq!(keys("server_tls_ca_file = /no/such/ca"), ["server_tls_ca_file"]);
        assert_eq!(
            keys("server_tls_sslmode = disable\nserver_tls_ca_file = /no/such/ca"),
            Vec::<String>::new()
        );
        assert_eq!(keys("server_tls_protocols = tlsv1.0"), ["server_tls_protocols"]);
        assert!(keys("client_tls_sslmode = require").contains(&"client_tls_key_file".to_string()));
    }

    #[test]
    fn a_server_is_asked_as_the_pooler_would() {
        let towards = |lines: &str, target: &Target, host: &str| {
            let secure = Secure::load(&plan(&format!("{lines}\n[databases]\nx = host=10.0.0.1\n")));
            secure.towards(target, host).map(|tls| tls.map(|tls| tls.without))
        };
        assert_eq!(towards("", &tcp(), "10.0.0.1"), Ok(Some(WithoutTls::GoOn)));
        assert_eq!(towards("server_tls_sslmode = require", &tcp(), "db"), Ok(Some(WithoutTls::Leave)));
        assert_eq!(towards("server_tls_sslmode = disable", &tcp(), "db"), Ok(None));
        assert_eq!(towards("server_tls_sslmode = require", &Target::Unix("/run".into(), 1), ""), Ok(None));
        assert!(towards("server_tls_protocols = tlsv1.0", &tcp(), "db").is_err());
    }

    #[test]
    fn the_name_is_the_one_that_was_written() {
        let written = [("db.example".to_string(), vec!["10.0.0.1".parse().expect("an address")])];
        assert_eq!(host_of(&tcp(), &written), "db.example");
        assert_eq!(host_of(&tcp(), &[]), "10.0.0.1");
    }
}
