//! Parameters, as OAuth has them in addresses and bodies (`application/x-www-form-urlencoded`): read strictly, written so
//! that nothing of a value is ever anything but a value.

use std::fmt::Write as _;

use super::fault::{OAuthError, OAuthFault};

/// Longest text of parameters, bytes.
pub(super) const PARAMS_BYTES_MAX: usize = 32 * 1024;

/// Most parameters.
const PARAMS_MAX: usize = 64;

/// Parameters by name. None is there twice (RFC 6749, 3.1), and one without a value is not there (the same).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads them.
    ///
    /// # Errors
    /// `invalid_request`: too many or too long, twice the same, or not in that form.
    pub(super) fn parse(text: &str) -> Result<Params, OAuthFault> {
        if text.len() > PARAMS_BYTES_MAX {
            return Err(invalid("the parameters are too long"));
        }
        let mut params: Vec<(String, String)> = Vec::new();
        for (count, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if count >= PARAMS_MAX {
                return Err(invalid("too many parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let not_encoded =
                || invalid("the parameters are not in the form application/x-www-form-urlencoded");
            let name = decode(name).ok_or_else(not_encoded)?;
            let value = decode(value).ok_or_else(not_encoded)?;
            if params.iter().any(|(known, _)| *known == name) {
                return Err(invalid("a parameter is there twice"));
            }
            params.push((name, value));
        }
        params.retain(|(_, value)| !value.is_empty());
        Ok(Params(params))
    }

    /// The value of one.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of one that has to be there.
    ///
    /// # Errors
    /// `invalid_request`: it is not.
    pub(super) fn wanted(&self, name: &'static str, why: &'static str) -> Result<&str, OAuthFault> {
        debug_assert!(why.contains(name), "the words name the parameter");
        self.find(name).ok_or_else(|| invalid(why))
    }
}

fn invalid(why: &'static str) -> OAuthFault {
    OAuthFault::new(OAuthError::InvalidRequest, why)
}

/// `None`: an escape is none, or the bytes are no text.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => (digit(rest.next()?)? << 4) | digit(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Adds parameters to an address that may have some already. What is no plain letter, digit, `-`, `.`, `_` or `~` is
/// escaped, so that a line end in a value never ends a header.
pub(super) fn with_query(address: &str, params: &[(&str, &str)]) -> String {
    let mut text = address.to_owned();
    let mut sign = match address.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some((_, query)) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    for (name, value) in params {
        text.push_str(sign);
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
        sign = "&";
    }
    text
}

fn encode(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        Params::parse(text).expect("good parameters").0
    }

    #[test]
    fn parameters_are_read() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parsed("a=1&b=x+y%26%3D"), [pair("a", "1"), pair("b", "x y&=")]);
        assert_eq!(parsed("&&a=1&"), [pair("a", "1")]);
        assert_eq!(parsed("a=b=c&%C3%A9=%e2%82%ac"), [pair("a", "b=c"), pair("é", "€")]);
        // Without a value it is not there.
        assert_eq!(parsed("a&b=&c=3"), [pair("c", "3")]);
        assert_eq!(parsed(""), []);
    }

    #[test]
    fn what_two_readers_would_read_differently_is_refused() {
        let many: String = (0..=PARAMS_MAX).map(|number| format!("p{number}=1&")).collect();
        let long = format!("a={}", "x".repeat(PARAMS_BYTES_MAX));
        for text in [
            "a=1&a=1",
            "a=1&%61=2",
            "a=&a=1",
            "a=%",
            "a=%4",
            "a=%zz",
            "a=%+1",
            "a=%ff",
            "a=%00",
            &many,
            &long,
        ] {
            let fault = Params::parse(text).expect_err(text);
            assert_eq!(fault.error, OAuthError::InvalidRequest, "{text}");
        }
    }

    #[test]
    fn what_is_added_to_an_address_stays_in_its_value() {
        let state = [("state", "a&b=c d\r\nSet-Cookie: x=1#é")];
        let escaped = "state=a%26b%3Dc%20d%0D%0ASet-Cookie%3A%20x%3D1%23%C3%A9";
        for (address, wanted) in [
            ("https://a.example/cb", format!("https://a.example/cb?{escaped}")),
            ("https://a.example/cb?x=1", format!("https://a.example/cb?x=1&{escaped}")),
            ("https://a.example/cb?", format!("https://a.example/cb?{escaped}")),
            ("https://a.example/cb?x=1&", format!("https://a.example/cb?x=1&{escaped}")),
        ] {
            assert_eq!(with_query(address, &state), wanted);
        }
        let query = with_query("", &state);
        assert_eq!(parsed(query.trim_start_matches('?')), [(state[0].0.to_owned(), state[0].1.to_owned())]);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(name in "[^\0]{1,20}", value in "[^\0]{1,200}") {
            let text = with_query("https://a.example/cb", &[(&name, &value)]);
            let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
            proptest::prop_assert!(plain, "{text}");
            let (_, query) = text.split_once('?').expect("a query");
            proptest::prop_assert_eq!(parsed(query), [(name, value)]);
        }

        #[test]
        fn nothing_is_too_odd_to_be_read_or_refused(text in ".{0,200}") {
            if let Ok(params) = Params::parse(&text) {
                proptest::prop_assert!(params.0.iter().all(|(_, value)| !value.is_empty()));
            }
        }
    }
}
