//! Who is trusted when the API is asked over https.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plimsoll_cli::ApiTls;
use plimsoll_config::SslMode;
use plimsoll_tls::{PemFile, Settings, connector, error_text};

/// Where systems keep the certificates they trust: Debian and Alpine, Red Hat, the BSDs.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// What the protocol is called (RFC 7301, section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// How TLS is spoken with the API: the certificates of a file are trusted, else those of the system.
///
/// # Errors
/// There are none, or they cannot be read.
pub(crate) fn api_tls(ca_file: Option<&Path>) -> Result<ApiTls, String> {
    let path = ca_file.map(Path::to_path_buf).or_else(of_system);
    let path = path.ok_or_else(|| format!("there is none of {}", SYSTEM.join(", ")))?;
    let pem = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let settings = Settings {
        mode: SslMode::VerifyFull,
        ca: Some(PemFile { name: path.display().to_string(), pem }),
        ..Settings::default()
    };
    let config = connector(&settings)
        .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; "))?;
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(ApiTls { config: Arc::new(config), explain: error_text })
}

fn of_system() -> Option<PathBuf> {
    SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_told() {
        let told = api_tls(Some(Path::new("/no/such/file.pem"))).expect_err("no file");
        assert!(told.starts_with("/no/such/file.pem: "), "{told}");
        let told = api_tls(Some(Path::new("/dev/null"))).expect_err("an empty file");
        assert!(told.contains("/dev/null"), "{told}");
    }
}
