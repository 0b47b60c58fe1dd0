//! Texts that may hold a password: nothing shows them whole.

use std::fmt;

use plimsoll_types::Secret;

/// A text that may hold a password among other things.
#[derive(Clone)]
pub struct HiddenText(Secret);

impl HiddenText {
    /// Takes the text in.
    pub fn new(text: &str) -> HiddenText {
        HiddenText(Secret::from_text(text))
    }

    /// The text, for the one who needs it.
    pub fn expose(&self) -> &str {
        // It was made of a text.
        self.0.expose_text().unwrap_or_default()
    }

    /// The text as `SHOW CONFIG` writes it: as it is where there is no word of a password in it, stars otherwise.
    pub fn shown(&self) -> &str {
        let text = self.expose();
        if text.to_ascii_lowercase().contains("pass") { "***" } else { text }
    }
}

impl PartialEq for HiddenText {
    fn eq(&self, other: &HiddenText) -> bool {
        self.0.matches(other.0.expose())
    }
}

impl Eq for HiddenText {}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HiddenText(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_by_nothing() {
        let text = HiddenText::new("ldapserver=h ldapbasedn=dc=x ldapbindpasswd=hunter2");
        assert_eq!((text.shown(), format!("{text:?}").contains("hunter2")), ("***", false));
        assert_eq!(HiddenText::new("ldapserver=h ldapprefix=uid=").shown(), "ldapserver=h ldapprefix=uid=");
        assert_eq!(HiddenText::new("ldapbindPASSWD=hunter2").shown(), "***");
        assert!(text == text.clone() && text != HiddenText::new("x"));
    }
}
