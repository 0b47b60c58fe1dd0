//! What is said about certificates and errors: for the ledger, for the log, and as a user's name.

use std::net::{IpAddr, Ipv4Addr};

use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error, OtherError};

use plimsoll_types::SslMode;

use crate::settings::Check;
use crate::verify::{Refusal, date};
use crate::x509::Certificate;

/// The common name of a certificate's subject, which `auth_type = cert` compares with the user's name. If there are
/// many, the first. None if there is none, or it is empty, unreadable or has a NUL byte in it.
#[must_use]
pub fn common_name(cert: &CertificateDer<'_>) -> Option<String> {
    Certificate::parse(cert).ok()?.subject.common_name()
}

/// The end of a certificate's own validity, since 1970.
pub fn not_after(cert: &CertificateDer<'_>) -> Option<Duration> {
    Certificate::parse(cert).ok().map(|certificate| certificate.not_after)
}

/// A certificate's subject as people write it (RFC 4514), the most specific part first: `CN=app,O=Example`.
#[must_use]
pub fn subject(cert: &CertificateDer<'_>) -> Option<String> {
    Certificate::parse(cert).ok()?.subject.text()
}

/// A host as rustls wants to have it: what is verified in `verify-full`, and what the server is told (SNI; addresses are
/// not told). An IPv6 address may have a zone (`fe80::1%eth0`). None if the host is not such that a certificate can bear
/// it and `mode` asks for that; in the other modes an address that is not told stands in for it.
#[must_use]
pub fn server_name(host: &str, mode: SslMode) -> Option<ServerName<'static>> {
    let without_zone = match host.split_once('%') {
        Some((address, _)) if address.contains(':') => address,
        Some(_) | None => host,
    };
    match (ServerName::try_from(without_zone.to_owned()), Check::of(mode)) {
        (Ok(name), _) => Some(name),
        (Err(_), Check::ChainAndName) => None,
        (Err(_), Check::Nothing | Check::Chain) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()),
    }
}

/// An error of rustls for the log. If the other side's certificate was not accepted, the words "certificate verify
/// failed" are in it, as in OpenSSL's; if the other side has sent an alert, its name.
#[must_use]
pub fn error_text(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => format!("certificate verify failed: {}", certificate_text(why)),
        Error::NoCertificatesPresented => {
            "certificate verify failed: the other side has shown no certificate".to_owned()
        }
        Error::AlertReceived(alert) => {
            format!("the other side ended the handshake with the alert {}", alert_text(*alert))
        }
        Error::InvalidMessage(_) => format!("what the other side sent is not TLS: {error}"),
        // The enum is not ours and may grow.
        other => other.to_string(),
    }
}

fn certificate_text(error: &CertificateError) -> String {
    match error {
        CertificateError::Other(OtherError(why)) => match why.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.to_string(),
            None => why.to_string(),
        },
        CertificateError::ExpiredContext { time, not_after } => {
            let (now, not_after) = (seconds(time.as_secs()), seconds(not_after.as_secs()));
            format!(
                "the other side's own certificate expired at {}; it is {} now",
                date(not_after),
                date(now)
            )
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let (now, not_before) = (seconds(time.as_secs()), seconds(not_before.as_secs()));
            format!(
                "the other side's own certificate is not valid before {}; it is {} now",
                date(not_before),
                date(now)
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") };
            format!("the certificate is not for {}: it is for {names}", expected.to_str())
        }
        CertificateError::BadSignature => {
            "the other side does not have the key of the certificate it shows".to_owned()
        }
        // The enum is not ours and may grow.
        other => other.to_string(),
    }
}

fn seconds(since_1970: u64) -> std::time::Duration {
    std::time::Duration::from_secs(since_1970)
}

/// `unknown_ca` for `UnknownCA`: as the RFC spells it, and nearly as OpenSSL's messages do.
fn alert_text(alert: rustls::AlertDescription) -> String {
    let camel = format!("{alert:?}");
    let mut text = String::with_capacity(camel.len() + 4);
    let mut before_is_lower = false;
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && before_is_lower {
            text.push('_');
        }
        before_is_lower = letter.is_ascii_lowercase();
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;

    use super::*;

    #[test]
    fn hosts() {
        let told = |host| server_name(host, SslMode::VerifyFull).map(|name| name.to_str().into_owned());
        assert_eq!(told("db.example.com").as_deref(), Some("db.example.com"));
        assert_eq!(told("my_db").as_deref(), Some("my_db"));
        assert_eq!(told("127.0.0.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(told("fe80::1%eth0").as_deref(), Some("fe80::1"));
        for host in ["", "-a", "a b", "a%b"] {
            assert_eq!(told(host), None, "{host}");
            for mode in [SslMode::Prefer, SslMode::VerifyCa] {
                let name = server_name(host, mode).expect("nobody looks at it");
                assert_eq!(name.to_str(), "0.0.0.0", "{host}");
            }
        }
    }

    #[test]
    fn errors_for_the_log() {
        let cases = [
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "the other side ended the handshake with the alert unknown_ca",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "the other side ended the handshake with the alert certificate_required",
            ),
            (
                Error::InvalidCertificate(CertificateError::BadSignature),
                "certificate verify failed: the other side does not have the key of the certificate it shows",
            ),
            (
                Error::InvalidCertificate(CertificateError::Other(OtherError(std::sync::Arc::new(
                    Refusal::Malformed { what: "it is not DER" },
                )))),
                "certificate verify failed: a certificate that was sent cannot be read: it is not DER",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error_text(&error), text);
        }
    }
}
