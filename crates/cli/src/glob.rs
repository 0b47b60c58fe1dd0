//! Patterns of filters: exact, with `*` for any part.

/// Whether the whole text fits a pattern in which `*` stands for any text, also none. There is no way to write a
/// star that is only a star, and none is needed.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        let fitting = [
            ("web", "web"),
            ("web*", "web"),
            ("web*", "web-1"),
            ("*web", "my web"),
            ("*eb*", "webs"),
            ("a*b*c", "a-b-b-c"),
            ("*", ""),
            ("**", "x"),
            ("", ""),
            ("ab*ba", "abba"),
            ("*ü*", "für"),
        ];
        for (pattern, text) in fitting {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        let others = [
            ("web", "web-1"),
            ("web", "Web"),
            ("web*", "my web"),
            ("ab*ba", "aba"),
            ("", "x"),
            ("a*b*c", "acb"),
        ];
        for (pattern, text) in others {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
