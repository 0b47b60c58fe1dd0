//! What names of PAM look like.

/// Whether a text names a service of PAM: a file in `/etc/pam.d`, and none elsewhere. At most 64 bytes.
pub fn is_pam_service(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::is_pam_service;

    #[test]
    fn a_service_is_a_file_of_one_folder() {
        for good in ["pgbouncer", "common-auth", "a.b_C9", &"x".repeat(64)] {
            assert!(is_pam_service(good), "{good}");
        }
        for bad in ["", ".", "..", "../shadow", "/etc/passwd", "a b", "\u{e9}", &"x".repeat(65)] {
            assert!(!is_pam_service(bad), "{bad}");
        }
    }
}
