//! Watches a stream of messages: where it stands, and what has gone by.

use plimsoll_wire::{HEADER_BYTES, back, front};

/// One direction of one connection.
#[derive(Default)]
pub(crate) struct Scan {
    head: Vec<u8>,
    left: usize,
    /// Requests that PostgreSQL ends with ReadyForQuery, or the ReadyForQuery messages.
    pub(crate) ready: u32,
    /// Errors and COPY, after which the count of ReadyForQuery is a matter of their details.
    pub(crate) doubts: u32,
}

/// Who sends what is watched: type bytes mean different things.
#[derive(Clone, Copy)]
pub(crate) enum Sender {
    Client,
    Server,
}

impl Scan {
    pub(crate) fn feed(&mut self, sender: Sender, mut bytes: &[u8]) {
        while let Some((&byte, behind)) = bytes.split_first() {
            if self.left > 0 {
                let n = self.left.min(bytes.len());
                self.left -= n;
                bytes = &bytes[n..];
                continue;
            }
            self.head.push(byte);
            bytes = behind;
            if let [tag, length @ ..] = &self.head[..]
                && let Ok(length) = <[u8; HEADER_BYTES - 1]>::try_from(length)
            {
                let length = u32::from_be_bytes(length) as usize;
                assert!(length >= 4, "a message of length {length} was sent on");
                self.left = length - 4;
                self.note(sender, *tag);
                self.head.clear();
            }
        }
    }

    /// Whether the last message is whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }

    fn note(&mut self, sender: Sender, tag: u8) {
        match (sender, tag) {
            (Sender::Client, front::QUERY | front::SYNC | front::FUNCTION_CALL)
            | (Sender::Server, back::READY_FOR_QUERY) => self.ready += 1,
            (Sender::Server, back::ERROR_RESPONSE | back::COPY_IN_RESPONSE | back::COPY_BOTH_RESPONSE) => {
                self.doubts += 1;
            }
            _ => {}
        }
    }
}
