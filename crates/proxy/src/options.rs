//! The `options` startup parameter: command-line switches for the server, of which a pooler can honour settings.
//!
//! `-c name=value`, `-cname=value` and `--name=value`, separated by blanks; a backslash takes the next character as it
//! is (PostgreSQL manual, "Passing Command-Line Options"; reference 3.6).

/// A setting: name and value.
pub(crate) type Setting = (Vec<u8>, Vec<u8>);

/// There is something in it that is not a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotASetting;

/// Reads settings one after the other; ends after the first thing that is none.
pub(crate) fn settings(text: &[u8]) -> impl Iterator<Item = Result<Setting, NotASetting>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let here = rest.take()?.trim_ascii_start();
        if here.is_empty() {
            return None;
        }
        let Some((setting, after)) = first(here) else { return Some(Err(NotASetting)) };
        rest = Some(after);
        Some(Ok(setting))
    })
}

/// The setting `text` begins with, and what comes after it.
fn first(text: &[u8]) -> Option<(Setting, &[u8])> {
    let token = match text {
        [b'-', b'c', rest @ ..] => rest.trim_ascii_start(),
        [b'-', b'-', rest @ ..] => rest,
        _ => return None,
    };
    let (token, after) = word(token);
    let equals = token.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&token[..equals], &token[equals + 1..]);
    if name.is_empty() { None } else { Some(((name.to_vec(), value.to_vec()), after)) }
}

/// Everything up to the first blank that no backslash precedes, backslashes taken away, and the rest.
fn word(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [b'\\', byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
            // A last backslash has nothing to take.
            [] | [b'\\'] => return (out, &[]),
            [byte, ..] if byte.is_ascii_whitespace() => return (out, rest),
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, NotASetting> {
        let text_of = |bytes| String::from_utf8(bytes).unwrap_or_default();
        settings(text.as_bytes())
            .map(|setting| setting.map(|(name, value)| (text_of(name), text_of(value))))
            .collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Result<Vec<(String, String)>, NotASetting> {
        Ok(list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[test]
    fn three_ways_to_write_a_setting() {
        let text = "-c datestyle=German  -ctimezone=UTC --extra_float_digits=3 -c  search_path=a,b";
        let expected = pairs(&[
            ("datestyle", "German"),
            ("timezone", "UTC"),
            ("extra_float_digits", "3"),
            ("search_path", "a,b"),
        ]);
        assert_eq!(read(text), expected);
    }

    #[test]
    fn a_backslash_takes_the_next_character_as_it_is() {
        assert_eq!(read(r"-c timezone=A\ B\\C"), pairs(&[("timezone", r"A B\C")]));
        assert_eq!(read(r"-c time\ zone=x --a\=b=c"), pairs(&[("time zone", "x"), ("a", "b=c")]));
        assert_eq!(read(r"-c a=b\"), pairs(&[("a", "b")]));
    }

    #[test]
    fn blanks_around_settings_and_empty_values_are_fine() {
        assert_eq!(read(""), pairs(&[]));
        assert_eq!(read(" \t "), pairs(&[]));
        assert_eq!(read(" -c a= \n"), pairs(&[("a", "")]));
        assert_eq!(read("-c a=b=c"), pairs(&[("a", "b=c")]));
    }

    #[test]
    fn anything_else_is_not_a_setting() {
        for text in ["-d 3", "-c timezone", "timezone=UTC", "-c", "--", "-", "-c =x", "--=x", "-c a=b c=d"] {
            assert_eq!(read(text), Err(NotASetting), "{text}");
        }
    }

    #[test]
    fn what_is_good_before_something_bad_is_read_and_then_it_ends() {
        let list: Vec<_> = settings(b"-c a=b -d -c e=f").collect();
        assert_eq!(list, [Ok((b"a".to_vec(), b"b".to_vec())), Err(NotASetting)]);
    }
}
