//! A line as tokens: words, `"quoted names"`, commas, comments.

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Without its quotes.
    pub(crate) text: String,
    /// Whether it was in quotes: then it is a name and no keyword.
    pub(crate) quoted: bool,
    /// Whether a comma follows: the list goes on.
    pub(crate) comma: bool,
}

impl Token {
    /// The text, if it may be a keyword.
    pub(crate) fn word(&self) -> Option<&str> {
        (!self.quoted).then_some(self.text.as_str())
    }
}

/// Takes a line apart. `#` begins a comment; in quotes `""` is a quote.
pub(crate) fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(next) = chars.peek().copied() {
        match next {
            '#' => break,
            ',' => {
                chars.next();
                match tokens.last_mut() {
                    Some(last) if !last.comma => last.comma = true,
                    Some(_) | None => return Err("a comma without a name before it".to_string()),
                }
            }
            blank if blank.is_whitespace() => {
                chars.next();
            }
            _ => {
                let (mut text, mut quoted) = (String::new(), false);
                while let Some(next) = chars.peek().copied() {
                    if next.is_whitespace() || next == ',' || (next == '#' && !quoted) {
                        break;
                    }
                    chars.next();
                    if next != '"' {
                        text.push(next);
                        continue;
                    }
                    quoted = true;
                    quoted_part(&mut chars, &mut text)?;
                }
                tokens.push(Token { text, quoted, comma: false });
            }
        }
    }
    Ok(tokens)
}

/// Up to the closing quote.
fn quoted_part(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    text: &mut String,
) -> Result<(), String> {
    loop {
        match chars.next() {
            Some('"') if chars.peek() == Some(&'"') => {
                chars.next();
                text.push('"');
            }
            Some('"') => return Ok(()),
            Some(other) => text.push(other),
            None => return Err("a quote is not closed".to_string()),
        }
    }
}
