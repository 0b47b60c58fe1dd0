//! What is typed and must not be seen: passwords.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use plimsoll_types::Secret;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::fault::Fault;

/// Longest line that is read, bytes; the API takes less.
const LINE_BYTES_MAX: usize = 4096;
/// Keys of a terminal: Ctrl-C, Ctrl-D, backspace in both of its ways, Ctrl-U, Enter.
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: [u8; 2] = [8, 127];
const CTRL_U: u8 = 21;
const ENTER: [u8; 2] = [b'\n', b'\r'];

/// A new password: typed twice on a terminal, or the first line of standard input.
///
/// # Errors
/// Nothing was typed, or twice something else.
pub(crate) fn new_password(whose: &str) -> Result<Secret, Fault> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return first_line(&mut stdin.lock());
    }
    let first = typed_hidden(&format!("New password of {whose}: "))?;
    let second = typed_hidden("Once more: ")?;
    match first.expose() == second.expose() {
        true => Ok(first),
        false => Err(Fault::Input("these were two different passwords: nothing was done".to_string())),
    }
}

fn first_line(input: &mut impl BufRead) -> Result<Secret, Fault> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES_MAX + 2).unwrap_or(u64::MAX);
    input
        .take(limit)
        .read_until(b'\n', &mut line)
        .map_err(|error| Fault::Input(format!("standard input cannot be read: {error}")))?;
    while line.last().is_some_and(|byte| ENTER.contains(byte)) {
        line.pop();
    }
    secret(line)
}

fn secret(line: Vec<u8>) -> Result<Secret, Fault> {
    if line.is_empty() {
        return Err(Fault::Input("there is no password: nothing was done".to_string()));
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(Fault::Input(format!("a password has at most {LINE_BYTES_MAX} bytes: nothing was done")));
    }
    let text = String::from_utf8(line);
    let text = text.map_err(|_| Fault::Input("the password is not UTF-8: nothing was done".to_string()))?;
    Ok(Secret::from_text(&text))
}

/// The terminal as it was.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        // There is nothing left to be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

fn typed_hidden(prompt: &str) -> Result<Secret, Fault> {
    let fault = |error: io::Error| Fault::Input(format!("the terminal cannot be used: {error}"));
    let before = tcgetattr(io::stdin()).map_err(|error| fault(error.into()))?;
    let mut hidden = before.clone();
    // Ctrl-C comes as a byte too: a signal would end us with the terminal as it is now.
    hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
    hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
    let restore = Restore(before);
    tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).map_err(|error| fault(error.into()))?;
    let mut err = io::stderr();
    write!(err, "{prompt}").and_then(|()| err.flush()).map_err(fault)?;
    let line = typed(io::stdin().lock().bytes());
    drop(restore);
    writeln!(err).map_err(fault)?;
    match line.map_err(fault)? {
        Some(line) => secret(line),
        None => Err(Fault::Declined),
    }
}

/// A line of keys; `None`: it was given up.
fn typed(keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<Option<Vec<u8>>> {
    let mut line: Vec<u8> = Vec::new();
    for key in keys {
        match key? {
            CTRL_C => return Ok(None),
            CTRL_D if line.is_empty() => return Ok(None),
            CTRL_D => return Ok(Some(line)),
            key if ENTER.contains(&key) => return Ok(Some(line)),
            key if BACKSPACE.contains(&key) => {
                // The whole character: what follows its first byte is 10xxxxxx (RFC 3629).
                while line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
            }
            CTRL_U => line.clear(),
            key if line.len() <= LINE_BYTES_MAX => line.push(key),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: &[u8]) -> Option<Vec<u8>> {
        typed(keys.iter().copied().map(Ok)).expect("no error")
    }

    #[test]
    fn keys_make_a_line() {
        assert_eq!(line(b"secret\n").as_deref(), Some(&b"secret"[..]));
        assert_eq!(line(b"sec\x7f\x08ret\r").as_deref(), Some(&b"sret"[..]));
        assert_eq!(line("sü\x7fe\n".as_bytes()).as_deref(), Some(&b"se"[..]));
        assert_eq!(line(b"wrong\x15right\x04").as_deref(), Some(&b"right"[..]));
        assert_eq!(line(b"\x7f\x7fa\n").as_deref(), Some(&b"a"[..]));
        assert_eq!((line(b"sec\x03ret\n"), line(b"\x04"), line(b"cut off")), (None, None, None));
    }

    #[test]
    fn the_first_line_of_standard_input_is_taken_whole() {
        let read = |text: &[u8]| {
            let secret = first_line(&mut io::BufReader::new(text));
            secret
                .map(|secret| secret.expose_text().unwrap_or_default().to_string())
                .map_err(|fault| fault.to_string())
        };
        assert_eq!(read(b" with blanks \r\nmore\n").as_deref(), Ok(" with blanks "));
        assert_eq!(read(b"no end").as_deref(), Ok("no end"));
        assert!(read(b"\n").is_err_and(|why| why.contains("no password")));
        assert!(read(b"\xff\n").is_err_and(|why| why.contains("UTF-8")));
        assert!(read(&[b'x'; 9_000]).is_err_and(|why| why.contains("at most")));
    }
}
