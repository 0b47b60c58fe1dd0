//! Blanks out what is not code.

/// What fills a literal: no name, no bracket, and no blank either, because a line of a literal is a line of code.
const FILLER: u8 = b'~';

/// The same text with comments as blanks and the insides of literals as `~`; every byte keeps its place and every line
/// its number.
pub(crate) fn mask(text: &str) -> String {
    let mut masker = Masker { bytes: text.as_bytes(), at: 0, out: Vec::with_capacity(text.len()) };
    while let Some(byte) = masker.peek(0) {
        masker.step(byte);
    }
    // Only whole literals and comments are overwritten, and with ASCII.
    String::from_utf8_lossy(&masker.out).into_owned()
}

struct Masker<'a> {
    bytes: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

impl Masker<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn step(&mut self, byte: u8) {
        match (byte, self.peek(1)) {
            (b'/', Some(b'/')) => self.line_comment(),
            (b'/', Some(b'*')) => self.block_comment(),
            (b'"', _) => self.string(),
            (b'\'', _) => self.quote(),
            (b'r', _) if self.begins_word() && self.raw_hashes(1).is_some() => self.raw_string(1),
            (b'b' | b'c', Some(b'r')) if self.begins_word() && self.raw_hashes(2).is_some() => {
                self.raw_string(2)
            }
            _ => self.keep(1),
        }
    }

    /// Whether the byte here is not the middle of a name.
    fn begins_word(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.bytes.get(at));
        !before.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    }

    fn keep(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(byte) = self.peek(0) {
                self.out.push(byte);
                self.at += 1;
            }
        }
    }

    /// Overwrites with `filler`, but for line ends.
    fn fill(&mut self, count: usize, filler: u8) {
        for _ in 0..count {
            if let Some(byte) = self.peek(0) {
                self.out.push(if byte == b'\n' { byte } else { filler });
                self.at += 1;
            }
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.fill(1, b' ');
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) => depth += 1,
                (b'*', Some(b'/')) => depth -= 1,
                _ => {
                    self.fill(1, b' ');
                    continue;
                }
            }
            self.fill(2, b' ');
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep(1);
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.fill(2, FILLER),
                b'"' => return self.keep(1),
                _ => self.fill(1, FILLER),
            }
        }
    }

    /// The number of `#` of a raw string whose `r` ends `prefix` bytes on; `None` if it is none.
    fn raw_hashes(&self, prefix: usize) -> Option<usize> {
        let mut count = 0;
        while self.peek(prefix + count) == Some(b'#') {
            count += 1;
        }
        (self.peek(prefix + count) == Some(b'"')).then_some(count)
    }

    fn raw_string(&mut self, prefix: usize) {
        let hashes = self.raw_hashes(prefix).unwrap_or(0);
        self.keep(prefix + hashes + 1);
        while let Some(byte) = self.peek(0) {
            let ends = byte == b'"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some(b'#'));
            if ends {
                return self.keep(1 + hashes);
            }
            self.fill(1, FILLER);
        }
    }

    /// A character literal, or the tick of a lifetime.
    fn quote(&mut self) {
        let width = match self.peek(1) {
            Some(b'\\') => self.escape_width(),
            Some(first) if self.peek(1 + char_width(first)) == Some(b'\'') => Some(char_width(first)),
            _ => None,
        };
        self.keep(1);
        if let Some(width) = width {
            self.fill(width, FILLER);
            self.keep(1);
        }
    }

    /// Bytes from the backslash to before the closing tick; `None` if there is none on this line.
    fn escape_width(&self) -> Option<usize> {
        let rest = self.bytes.get(self.at + 3..)?;
        let end = rest.iter().position(|byte| *byte == b'\'' || *byte == b'\n')?;
        (rest.get(end) == Some(&b'\'')).then_some(end + 2)
    }
}

/// Bytes of a character in UTF-8, by its first byte.
fn char_width(first: u8) -> usize {
    match first {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    }
}
