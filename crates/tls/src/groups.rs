//! `client_tls_ecdhcurve` and `client_tls_dheparams`: how the session's secret is agreed upon.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{DEFAULT_KX_GROUPS, kx_group};

type Group = &'static dyn SupportedKxGroup;

/// The groups, most wanted first. `none` switches curves off in PgBouncer's words, but OpenSSL 1.1 and later go on with
/// their own list, so it means what `auto` means.
///
/// # Errors
///
/// A name that is not a group we have.
pub(crate) fn curves(text: &str) -> Result<Vec<Group>, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "auto" | "none" => Ok(DEFAULT_KX_GROUPS.to_vec()),
        list => list.split(':').map(|name| curve(name.trim())).collect(),
    }
}

fn curve(name: &str) -> Result<Group, String> {
    match name {
        "prime256v1" | "secp256r1" | "p-256" => Ok(kx_group::SECP256R1),
        "secp384r1" | "p-384" => Ok(kx_group::SECP384R1),
        "x25519" => Ok(kx_group::X25519),
        "x25519mlkem768" => Ok(kx_group::X25519MLKEM768),
        _ => Err(format!(
            "there is no curve \"{name}\" here: write \"auto\", or prime256v1, secp384r1, X25519 or X25519MLKEM768"
        )),
    }
}

/// What may be said about Diffie-Hellman without curves: that it is left to us. There is none.
///
/// # Errors
///
/// Anything but `auto` and `none`.
pub(crate) fn dhe_params(text: &str) -> Result<(), String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "auto" | "none" => Ok(()),
        other => Err(format!(
            "\"{other}\" asks for Diffie-Hellman without curves, which is not spoken here: write \"auto\" or \"none\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    fn names(text: &str) -> Vec<NamedGroup> {
        curves(text).expect(text).iter().map(|group| group.name()).collect()
    }

    #[test]
    fn curves_have_openssl_names() {
        assert_eq!(names("prime256v1"), [NamedGroup::secp256r1]);
        assert_eq!(names("P-384"), [NamedGroup::secp384r1]);
        assert_eq!(names("X25519:secp256r1"), [NamedGroup::X25519, NamedGroup::secp256r1]);
        assert_eq!(names("none"), names("auto"));
        assert_eq!(names("auto").first(), Some(&NamedGroup::X25519));
        assert!(curves("secp521r1").is_err_and(|message| message.contains("secp521r1")));
    }

    #[test]
    fn only_automatic_parameters() {
        assert_eq!(dhe_params("auto"), Ok(()));
        assert_eq!(dhe_params("none"), Ok(()));
        assert!(dhe_params("legacy").is_err());
        assert!(dhe_params("/etc/dh.pem").is_err());
    }
}
