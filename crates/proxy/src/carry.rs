//! Bytes which a socket has not taken yet.

/// A queue of bytes that gives its memory back when it is empty.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    bytes: Vec<u8>,
    sent: usize,
}

impl Carry {
    /// Nothing to send.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is to be sent next.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Appends.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// So many bytes have been sent.
    pub(crate) fn advance(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= self.bytes.len() {
            *self = Carry::default();
        }
    }
}
