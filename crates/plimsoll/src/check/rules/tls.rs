//! Connections that can be overheard, or whose other end is not known.

use plimsoll_config::{AuthType, SslMode, Tls};

use super::super::demand::Server;
use super::super::facts::FileFact;
use super::super::finding::{Finding, Place};
use super::{Case, mistake, some, warning};

/// Keys of the files of one side: CA, certificate, private key.
const CLIENT_FILES: [&str; 3] = ["client_tls_ca_file", "client_tls_cert_file", "client_tls_key_file"];
const SERVER_FILES: [&str; 3] = ["server_tls_ca_file", "server_tls_cert_file", "server_tls_key_file"];

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = [unverified(case), certificates(case)].into_iter().flatten().collect();
    found.extend(files(case, CLIENT_FILES, &case.plan.general.client_tls));
    found.extend(files(case, SERVER_FILES, &case.plan.general.server_tls));
    found.extend(no_authority(
        case,
        "client_tls_sslmode",
        "client_tls_ca_file",
        &case.plan.general.client_tls,
    ));
    found.extend(no_authority(
        case,
        "server_tls_sslmode",
        "server_tls_ca_file",
        &case.plan.general.server_tls,
    ));
    found.extend(no_key(case));
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

/// Files that are named and not there.
fn files(case: &Case<'_>, keys: [&'static str; 3], tls: &Tls) -> Vec<Finding> {
    if tls.mode == SslMode::Disable {
        return Vec::new();
    }
    let paths = [&tls.ca_file, &tls.cert_file, &tls.key_file];
    let judge = |(key, path): (&'static str, &Option<std::path::PathBuf>)| {
        let path = path.as_ref()?;
        let at: Place = case.places.key(key);
        match case.facts.files.get(path)? {
            FileFact::There(_) => None,
            FileFact::Missing => {
                let message = format!("{key}: there is no {}", path.display());
                Some(mistake("tls-file-missing", at, message, "correct the path"))
            }
            FileFact::Hidden(why) => {
                let message = format!("{key}: {} cannot be looked at: {why}", path.display());
                Some(warning("tls-file-missing", at, message, "check as the pooler's user"))
            }
        }
    };
    keys.into_iter().zip(paths).filter_map(judge).collect()
}

fn no_authority(case: &Case<'_>, mode_key: &'static str, ca_key: &str, tls: &Tls) -> Option<Finding> {
    let verifies = match tls.mode {
        SslMode::VerifyCa | SslMode::VerifyFull => true,
        SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => false,
    };
    (verifies && tls.ca_file.is_none()).then(|| {
        let message =
            format!("{mode_key} = {} without {ca_key}: there is no CA to verify with", tls.mode.as_str());
        mistake("tls-without-ca", case.places.key(mode_key), message, format!("set {ca_key}"))
    })
}

/// Towards clients Plimsoll is the one who shows a certificate.
fn no_key(case: &Case<'_>) -> Option<Finding> {
    let tls = &case.plan.general.client_tls;
    let is_whole = tls.cert_file.is_some() && tls.key_file.is_some();
    (tls.mode != SslMode::Disable && !is_whole).then(|| {
        let message = format!(
            "client_tls_sslmode = {} without client_tls_cert_file and client_tls_key_file",
            tls.mode.as_str()
        );
        mistake("tls-without-key", case.places.key("client_tls_sslmode"), message, "set both, or disable")
    })
}
