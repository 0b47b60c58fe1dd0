//! `*_tls_protocols`: PgBouncer's list of protocol versions.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

/// Which versions may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    Tls12,
    Tls13,
    Both,
}

impl Versions {
    pub(crate) fn to_vec(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&TLS12],
            Self::Tls13 => vec![&TLS13],
            Self::Both => vec![&TLS13, &TLS12],
        }
    }
}

const V1_0: u8 = 1;
const V1_1: u8 = 2;
const V1_2: u8 = 4;
const V1_3: u8 = 8;
const SECURE: u8 = V1_2 | V1_3;
const ALL: u8 = V1_0 | V1_1 | SECURE;

/// Reads the list. Words that stand for many versions mean those of them that we have; a list that begins with a
/// negation begins with all of them, as in libtls.
///
/// # Errors
///
/// An unknown word, a version that rustls does not have asked for by its name, nothing left.
pub(crate) fn parse(text: &str) -> Result<Versions, String> {
    if text.trim().is_empty() {
        return Ok(Versions::Both);
    }
    let mut allowed = 0;
    for item in text.split([',', ':']).map(str::trim) {
        match item.strip_prefix('!') {
            Some(word) => {
                let before = if allowed == 0 { ALL } else { allowed };
                allowed = before & !versions_of(word)?;
            }
            None => {
                let versions = versions_of(item)?;
                if versions == V1_0 || versions == V1_1 {
                    let message = format!(
                        "{item} is too old to be spoken here: TLS 1.2 and 1.3 are, so write \"secure\", \
                         \"tlsv1.2\" or \"tlsv1.3\""
                    );
                    return Err(message);
                }
                allowed |= versions;
            }
        }
    }
    match allowed & SECURE {
        SECURE => Ok(Versions::Both),
        V1_2 => Ok(Versions::Tls12),
        V1_3 => Ok(Versions::Tls13),
        _ => Err(format!("\"{text}\" leaves no version of TLS: allow tlsv1.2, tlsv1.3 or both")),
    }
}

fn versions_of(word: &str) -> Result<u8, String> {
    match word.trim().to_ascii_lowercase().as_str() {
        "all" | "legacy" | "tlsv1" => Ok(ALL),
        "default" | "secure" => Ok(SECURE),
        "tlsv1.0" => Ok(V1_0),
        "tlsv1.1" => Ok(V1_1),
        "tlsv1.2" => Ok(V1_2),
        "tlsv1.3" => Ok(V1_3),
        _ => Err(format!(
            "unknown protocol \"{word}\": the words are secure, default, all, legacy, tlsv1, tlsv1.2 and tlsv1.3, \
             separated by commas, and ! before one that is not wanted"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_lists() {
        let cases = [
            ("", Versions::Both),
            ("secure", Versions::Both),
            ("default", Versions::Both),
            ("all", Versions::Both),
            ("legacy", Versions::Both),
            ("tlsv1", Versions::Both),
            ("tlsv1.2", Versions::Tls12),
            ("TLSv1.3", Versions::Tls13),
            ("tlsv1.2, tlsv1.3", Versions::Both),
            ("tlsv1.2:tlsv1.3", Versions::Both),
            ("!tlsv1.0,!tlsv1.1", Versions::Both),
            ("!tlsv1.3", Versions::Tls12),
            ("all,!tlsv1.2", Versions::Tls13),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_name_the_word() {
        for (text, word) in [
            ("tlsv1.0", "tlsv1.0"),
            ("tlsv1.1,tlsv1.2", "tlsv1.1"),
            ("sslv3", "sslv3"),
            ("tlsv1.2,", "\"\""),
            ("tlsv1.2,!tlsv1.2", "no version"),
            ("!all", "no version"),
        ] {
            let message = parse(text).expect_err(text);
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
