//! What a user's name becomes in a name that is bound as.

/// A name that cannot be put between `ldapprefix` and `ldapsuffix` without meaning something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnfitName;

/// The name to bind as. Where prefix and suffix make a distinguished name of it, the user's name is one value in it and
/// is escaped (RFC 4514, 2.4). Where they make something else of it (`DOMAIN\` before it, `@example.org` behind it),
/// nothing can be escaped, and what separates the parts of such names must not be in it.
pub(super) fn bind_name(prefix: &str, user: &str, suffix: &str) -> Result<String, UnfitName> {
    let is_dn = prefix.contains('=') || suffix.contains('=');
    let user = match is_dn {
        true => escaped(user),
        false
            if user
                .contains(|letter: char| matches!(letter, '\\' | '/' | '@' | '"') || letter.is_control()) =>
        {
            return Err(UnfitName);
        }
        false => user.to_string(),
    };
    Ok(format!("{prefix}{user}{suffix}"))
}

fn escaped(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    let last = user.char_indices().next_back().map(|(at, _)| at);
    for (at, letter) in user.char_indices() {
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => out.extend(['\\', letter]),
            ' ' if at == 0 || Some(at) == last => out.push_str("\\ "),
            '#' if at == 0 => out.push_str("\\#"),
            // All of them are one byte of UTF-8.
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\{:02x}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out
}
