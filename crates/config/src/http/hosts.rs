//! `http_hosts`: by which names, beside addresses and `localhost`, a browser or a proxy may call the HTTP listener.

use std::fmt;

use crate::table::Fault;
use crate::value;

/// What its value looks like.
pub(crate) const EXPECTED: &str =
    "host names with commas, such as: db1.example.com, metrics.internal; or * for every name";

/// Longest name, bytes (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Most names.
const NAMES_MAX: usize = 64;

/// Names that the HTTP listener answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpHosts {
    /// All there are.
    Any,
    /// These, in small letters and without a dot at the end.
    Named(Vec<String>),
}

impl Default for HttpHosts {
    fn default() -> HttpHosts {
        HttpHosts::Named(Vec::new())
    }
}

impl HttpHosts {
    /// Whether a name of a `Host` header, without its port, is one of them.
    pub fn has(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            HttpHosts::Any => true,
            HttpHosts::Named(all) => all.iter().any(|known| known.eq_ignore_ascii_case(name)),
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// An item is no name of a host, or there are too many.
    pub(crate) fn parse(text: &str) -> Result<HttpHosts, Fault> {
        if text.trim() == "*" {
            return Ok(HttpHosts::Any);
        }
        let mut all: Vec<String> = Vec::new();
        for item in value::names(text) {
            let name = item.strip_suffix('.').unwrap_or(&item).to_ascii_lowercase();
            if !is_name(&name) {
                return Err(Fault::Invalid(EXPECTED));
            }
            if !all.contains(&name) {
                all.push(name);
            }
        }
        match all.len() > NAMES_MAX {
            true => Err(Fault::Wanted(format!("at most {NAMES_MAX} names"))),
            false => Ok(HttpHosts::Named(all)),
        }
    }
}

/// Labels of letters, digits, `-` and `_` with dots; a port is no part of a name.
fn is_name(name: &str) -> bool {
    let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_of_label))
}

impl fmt::Display for HttpHosts {
    /// As a file would say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpHosts::Any => f.write_str("*"),
            HttpHosts::Named(all) => f.write_str(&all.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown() {
        for (text, wanted) in [
            ("", ""),
            ("*", "*"),
            ("DB1.example.com.", "db1.example.com"),
            ("a, b_c-d,a", "a, b_c-d"),
            ("10.0.0.7", "10.0.0.7"),
        ] {
            assert_eq!(
                HttpHosts::parse(text).map(|hosts| hosts.to_string()),
                Ok(wanted.to_string()),
                "{text}"
            );
        }
        assert_eq!(HttpHosts::parse(""), Ok(HttpHosts::default()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "x".repeat(254);
        for text in ["*.example.com", "a b", "db1:6433", "http://db1", "a..b", ".", "*, a", "ü", &long] {
            assert_eq!(HttpHosts::parse(text), Err(Fault::Invalid(EXPECTED)), "{text}");
        }
        let many: Vec<String> = (0..65).map(|number| format!("h{number}")).collect();
        assert!(HttpHosts::parse(&many.join(",")).is_err());
        assert!(HttpHosts::parse(&many[1..].join(",")).is_ok());
    }

    #[test]
    fn a_name_is_known_however_it_is_written() {
        let hosts = HttpHosts::parse("db1.example.com").expect("a name");
        for name in ["db1.example.com", "DB1.Example.COM", "db1.example.com."] {
            assert!(hosts.has(name), "{name}");
        }
        for name in ["example.com", "xdb1.example.com", "db1.example.com..", "db1.example.com:80", ""] {
            assert!(!hosts.has(name), "{name}");
        }
        assert!(HttpHosts::Any.has("evil.example.com") && !HttpHosts::default().has("evil.example.com"));
    }
}
