//! Connections that can be overheard, or whose other end is not known.

use plimsoll_config::{AuthType, SslMode};

use super::super::demand::Server;
use super::super::finding::Finding;
use super::{Case, mistake, some, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = [unverified(case), certificates(case)].into_iter().flatten().collect();
    found.extend(authorities(case));
    found.extend(case.facts.tls_faults.iter().map(|fault| {
        let message = format!("{}: {}", fault.key, fault.message);
        let todo = "without TLS as it is wanted Plimsoll does not start; where a file cannot be read, check as its user";
        mistake("tls-settings", case.places.key(&fault.key), message, todo)
    }));
    found
}

/// Towards servers on other machines.
fn unverified(case: &Case<'_>) -> Option<Finding> {
    let mode = case.plan.general.server_tls.mode;
    let remote: Vec<String> =
        case.servers.iter().filter(|server| !server.is_local()).map(Server::name).collect();
    if remote.is_empty() {
        return None;
    }
    let (id, why) = match mode {
        SslMode::Disable => ("server-without-tls", "what goes there can be overheard"),
        SslMode::Allow | SslMode::Prefer => (
            "server-tls-not-verified",
            "whoever is on the way can switch TLS off or stand in for the server, and hear everything",
        ),
        SslMode::Require => (
            "server-tls-not-verified",
            "its certificate is not looked at: whoever is on the way can stand in for the server",
        ),
        SslMode::VerifyCa | SslMode::VerifyFull => return None,
    };
    let at = case.places.key("server_tls_sslmode");
    let message = format!("server_tls_sslmode = {} towards {}: {why}", mode.as_str(), some(&remote));
    let todo = "set server_tls_sslmode = verify-full and server_tls_ca_file";
    Some(warning(id, at, message, todo).suggesting(
        "server_tls_sslmode",
        "verify-full",
        "the server shows a certificate that names it",
    ))
}

/// `auth_type = cert` needs the certificate to be asked for.
fn certificates(case: &Case<'_>) -> Option<Finding> {
    let general = &case.plan.general;
    let is_asked = general.client_tls.mode == SslMode::VerifyFull;
    (general.auth_type == AuthType::Cert && !is_asked).then(|| {
        let message = format!(
            "auth_type = cert needs client_tls_sslmode = verify-full; it is {}",
            general.client_tls.mode.as_str()
        );
        mistake(
            "cert-without-verify",
            case.places.key("auth_type"),
            message,
            "set client_tls_sslmode = verify-full",
        )
    })
}

/// Without a CA file the system's authorities are trusted: every public one, for every name.
fn authorities(case: &Case<'_>) -> Vec<Finding> {
    let general = &case.plan.general;
    let mut found = Vec::new();
    let is_verified = matches!(general.client_tls.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    if is_verified && general.client_tls.ca_file.is_none() {
        let message =
            "clients are verified without client_tls_ca_file: a certificate of any public authority will do";
        let at = case.places.key("client_tls_sslmode");
        found.push(warning(
            "tls-any-authority",
            at,
            message,
            "set client_tls_ca_file to the authority of your clients",
        ));
    }
    if general.server_tls.mode == SslMode::VerifyCa && general.server_tls.ca_file.is_none() {
        let message = "server_tls_sslmode = verify-ca without server_tls_ca_file: a certificate of any public authority, for \
                       any name, will do";
        let at = case.places.key("server_tls_sslmode");
        found.push(warning("tls-any-authority", at, message, "set server_tls_ca_file, or verify-full"));
    }
    found
}
