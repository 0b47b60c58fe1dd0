//! Bytes from a socket into messages.

use std::io::Read;

use crate::{Failure, Message, Outcome};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What was read and not yet handed out.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    unread: Vec<u8>,
    start: usize,
}

impl Reader {
    /// Reads one message with a type byte.
    pub(crate) fn typed(&mut self, source: &mut impl Read) -> Outcome<Message> {
        self.fill(source, 5)?;
        let tag = self.unread[self.start];
        let total = self.length_at(1)? + 1;
        self.fill(source, total)?;
        let body = self.unread[self.start + 5..self.start + total].to_vec();
        self.start += total;
        Ok(Message { tag, body })
    }

    /// Reads one packet without a type byte; what comes after its length.
    pub(crate) fn untyped(&mut self, source: &mut impl Read) -> Outcome<Vec<u8>> {
        self.fill(source, 4)?;
        let total = self.length_at(0)?;
        self.fill(source, total)?;
        let body = self.unread[self.start + 4..self.start + total].to_vec();
        self.start += total;
        Ok(body)
    }

    /// Reads one byte.
    pub(crate) fn byte(&mut self, source: &mut impl Read) -> Outcome<u8> {
        self.fill(source, 1)?;
        self.start += 1;
        Ok(self.unread[self.start - 1])
    }

    /// Reads until `wanted` bytes are there.
    pub(crate) fn fill(&mut self, source: &mut impl Read, wanted: usize) -> Outcome<()> {
        if self.start > 0 && self.unread.len() - self.start < wanted {
            self.unread.drain(..self.start);
            self.start = 0;
        }
        while self.unread.len() - self.start < wanted {
            let old = self.unread.len();
            self.unread.resize(old + CHUNK_BYTES, 0);
            let result = source.read(&mut self.unread[old..]);
            self.unread.truncate(old + result.as_ref().map_or(0, |count| *count));
            match result {
                Ok(0) => return Err(Failure::Closed(String::new())),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn length_at(&self, offset: usize) -> Outcome<usize> {
        let at = self.start + offset;
        let word: [u8; 4] = self.unread[at..at + 4].try_into().expect("four bytes");
        let length = u32::from_be_bytes(word);
        if length < 4 {
            return Err(Failure::Strange(format!("a length of {length}")));
        }
        usize::try_from(length).map_err(|_| Failure::Strange(format!("a length of {length}")))
    }
}
