//! Whether a certificate bears a host's name, as libpq decides it (PostgreSQL manual, "SSL Support", on `verify-full`).
//!
//! Names of the kind that fits the host (dNSName for a name, iPAddress for an address) are looked at, and if there is
//! one of that kind, the common name is not. An address may also stand in a dNSName, as text.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::x509::Certificate;

/// Looks for the name.
///
/// # Errors
///
/// The names that were looked at, for the log.
pub(super) fn verify(certificate: &Certificate<'_>, host: &str) -> Result<(), Vec<String>> {
    let address: Option<IpAddr> = host.parse().ok();
    let mut presented = Vec::new();
    let mut kind_is_there = false;
    if let Some(names) = &certificate.extensions.alt_names {
        kind_is_there = match address {
            Some(_) => !names.addresses.is_empty(),
            None => !names.hosts.is_empty(),
        };
        presented.extend(names.hosts.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
        let by_name = presented.iter().any(|name| matches(name, host, address));
        let by_address = address.is_some_and(|address| names.addresses.contains(&address));
        if by_name || by_address {
            return Ok(());
        }
        presented.extend(names.addresses.iter().map(IpAddr::to_string));
    }
    if !kind_is_there && let Some(name) = certificate.subject.common_name() {
        if matches(&name, host, address) {
            return Ok(());
        }
        presented.push(name);
    }
    Err(presented)
}

/// `*.` stands for exactly one label, the first, and only of names.
fn matches(pattern: &str, host: &str, address: Option<IpAddr>) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(domain), None) = (pattern.strip_prefix("*."), address) else { return false };
    match host.split_once('.') {
        Some((label, rest)) => !label.is_empty() && !domain.is_empty() && rest.eq_ignore_ascii_case(domain),
        None => false,
    }
}
