//! A form is taken from the browser that the page was sent to and from no other: the page sets a cookie, and the form has
//! a word that is made of it. Somebody else's page can send the form but neither read the cookie nor make it be sent
//! (SameSite=Strict).

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use super::kept;
use crate::base62::{self, BITS_256_CHARS};

/// A browser, as long as its cookie lives.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Browser {
    cookie: String,
}

/// Over TLS the name says that no other host, and nobody without TLS, has set the cookie (RFC 6265bis, 4.1.3.2).
fn cookie_name(issuer: &str) -> &'static str {
    if issuer.starts_with("https://") { "__Host-plimsoll_sign_in" } else { "plimsoll_sign_in" }
}

impl Browser {
    /// The browser that sends a request; `None`: it was not here before.
    pub(super) fn find(headers: &HeaderMap, issuer: &str) -> Option<Browser> {
        let name = cookie_name(issuer);
        let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = values
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(known, _)| *known == name);
        let (_, cookie) = cookies.next()?;
        // Two of one name: one of them is somebody else's.
        let only = cookies.next().is_none();
        let whole = cookie.len() == BITS_256_CHARS && base62::is_all(cookie);
        (only && whole).then(|| Browser { cookie: cookie.to_owned() })
    }

    /// One that was not here before.
    pub(super) fn new(chance: &[u8; 32]) -> Browser {
        Browser { cookie: base62::write(chance, BITS_256_CHARS) }
    }

    /// What sets the cookie.
    pub(super) fn set_cookie(&self, issuer: &str) -> Option<HeaderValue> {
        let name = cookie_name(issuer);
        let secure = if issuer.starts_with("https://") { "; Secure" } else { "" };
        let text = format!("{name}={}; Path=/; HttpOnly; SameSite=Strict{secure}", self.cookie);
        HeaderValue::from_str(&text).ok()
    }

    /// The word of its forms.
    pub(super) fn word(&self) -> String {
        kept::hash(format!("sign-in form {}", self.cookie).as_bytes())
    }

    /// Whether a form has the word.
    pub(super) fn knows(&self, word: &str) -> bool {
        self.word().as_bytes().ct_eq(word.as_bytes()).into()
    }

    /// By what the store knows it.
    pub(super) fn name(&self) -> String {
        kept::hash(self.cookie.as_bytes())
    }
}

/// Whether the browser says that a page of another site sends the form. Old ones say nothing.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookie).expect("a header"));
        headers
    }

    #[test]
    fn a_browser_is_known_by_its_cookie() {
        for (issuer, name) in
            [("https://id.example", "__Host-plimsoll_sign_in"), ("http://127.0.0.1:6433", "plimsoll_sign_in")]
        {
            let browser = Browser::new(&[7; 32]);
            let set = browser.set_cookie(issuer).expect("a header");
            let set = set.to_str().expect("a text");
            assert_eq!(set.ends_with("; Secure"), issuer.starts_with("https"));
            let cookie = set.split(';').next().expect("a pair");
            assert!(cookie.starts_with(name));
            let again = Browser::find(&headers(&format!("a=b; {cookie}; c=d")), issuer).expect("known");
            assert!(
                again == browser && again.knows(&browser.word()) && !again.knows("") && !again.knows(cookie)
            );
            let other = Browser::new(&[8; 32]);
            assert!(!other.knows(&browser.word()) && other.name() != browser.name());
            for bad in [
                format!("{cookie}; {cookie}"),
                format!("{name}=short"),
                format!("{name}="),
                cookie.replace(name, "plimsoll"),
                format!("{}%00", &cookie[..cookie.len() - 3]),
            ] {
                assert!(Browser::find(&headers(&bad), issuer).is_none(), "{bad}");
            }
        }
    }
}
