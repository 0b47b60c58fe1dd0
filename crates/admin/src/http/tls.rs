//! TLS of the HTTP listener: its own certificate and key, protocols and ciphers as for clients of the pooler.

use std::sync::Arc;

use plimsoll_config::{Plan, Tls};
use plimsoll_proxy::tls_settings;
use plimsoll_tls::Key;
use plimsoll_types::SslMode;
use rustls::ServerConfig;

use super::HttpError;

/// What HTTP/1.1 is called inside of TLS (RFC 7301, 6).
const ALPN: &[u8] = b"http/1.1";

/// The configuration; `None`: there is no TLS.
pub(super) fn of(plan: &Plan) -> Result<Option<Arc<ServerConfig>>, HttpError> {
    let own = &plan.own;
    let (Some(cert), Some(key)) = (&own.http_tls_cert_file, &own.http_tls_key_file) else { return Ok(None) };
    let tls = Tls {
        mode: SslMode::Require,
        ca_file: None,
        cert_file: Some(cert.clone()),
        key_file: Some(key.clone()),
        ..plan.general.client_tls.clone()
    };
    let (settings, unread) = tls_settings(&tls);
    if !unread.is_empty() {
        return Err(told(&unread));
    }
    let mut config = Arc::unwrap_or_clone(plimsoll_tls::acceptor(&settings).map_err(|faults| told(&faults))?);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(Arc::new(config)))
}

fn told(faults: &[plimsoll_tls::Fault]) -> HttpError {
    let all: Vec<String> = faults
        .iter()
        .map(|fault| {
            let key = match fault.key {
                Key::CertFile => "http_tls_cert_file",
                Key::KeyFile => "http_tls_key_file",
                Key::SslMode
                | Key::Protocols
                | Key::Ciphers
                | Key::Tls13Ciphers
                | Key::EcdhCurve
                | Key::DheParams
                | Key::CaFile => return format!("client_tls_{}: {}", fault.key.suffix(), fault.message),
            };
            format!("{key}: {}", fault.message)
        })
        .collect();
    HttpError::Tls(all.join("; "))
}
