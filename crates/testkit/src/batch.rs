//! Batches of the extended protocol.

use crate::message::Packet;

/// A batch in the making: any order, any number of Syncs.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    cuts: Vec<usize>,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Query of the simple protocol.
    pub fn query(self, sql: &str) -> Batch {
        self.packet(Packet::typed(b'Q').text(sql))
    }

    /// Parse; types are left to the server.
    pub fn parse(self, name: &str, sql: &str) -> Batch {
        self.packet(Packet::typed(b'P').text(name).text(sql).int16(0))
    }

    /// Bind with parameters in text format, results in text format.
    ///
    /// # Panics
    /// More than 65535 parameters.
    pub fn bind(self, portal: &str, statement: &str, values: &[Option<&str>]) -> Batch {
        let count = u16::try_from(values.len()).expect("a Bind has at most 65535 parameters");
        let mut packet = Packet::typed(b'B').text(portal).text(statement).int16(0).int16(count);
        for value in values {
            packet = packet.value(value.map(str::as_bytes));
        }
        self.packet(packet.int16(0))
    }

    /// Describe of a statement.
    pub fn describe_statement(self, name: &str) -> Batch {
        self.packet(Packet::typed(b'D').raw(b"S").text(name))
    }

    /// Describe of a portal.
    pub fn describe_portal(self, name: &str) -> Batch {
        self.packet(Packet::typed(b'D').raw(b"P").text(name))
    }

    /// Execute; `rows_max` 0 is all.
    pub fn execute(self, portal: &str, rows_max: u32) -> Batch {
        self.packet(Packet::typed(b'E').text(portal).int32(rows_max))
    }

    /// Close of a statement.
    pub fn close_statement(self, name: &str) -> Batch {
        self.packet(Packet::typed(b'C').raw(b"S").text(name))
    }

    /// Close of a portal.
    pub fn close_portal(self, name: &str) -> Batch {
        self.packet(Packet::typed(b'C').raw(b"P").text(name))
    }

    /// Flush.
    pub fn flush(self) -> Batch {
        self.packet(Packet::typed(b'H'))
    }

    /// Sync.
    pub fn sync(self) -> Batch {
        self.packet(Packet::typed(b'S'))
    }

    /// CopyData.
    pub fn copy_data(self, data: &[u8]) -> Batch {
        self.packet(Packet::typed(b'd').raw(data))
    }

    /// CopyDone.
    pub fn copy_done(self) -> Batch {
        self.packet(Packet::typed(b'c'))
    }

    /// CopyFail.
    pub fn copy_fail(self, reason: &str) -> Batch {
        self.packet(Packet::typed(b'f').text(reason))
    }

    /// Terminate.
    pub fn terminate(self) -> Batch {
        self.packet(Packet::typed(b'X'))
    }

    /// Any packet.
    pub fn packet(mut self, packet: Packet) -> Batch {
        self.bytes.extend_from_slice(&packet.bytes());
        self.cuts.push(self.bytes.len());
        self
    }

    /// What was built.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Places where a peer may vanish: the ends of all messages, and inside each one after its first byte, in its
    /// length, at the start of its body and before its last byte.
    pub fn cut_points(&self) -> Vec<usize> {
        let mut points = Vec::new();
        let mut start = 0;
        for end in &self.cuts {
            let inside = [start + 1, start + 3, start + 5, start + 6, end - 1, *end];
            points.extend(inside.into_iter().filter(|point| point <= end));
            start = *end;
        }
        points.sort_unstable();
        points.dedup();
        points
    }
}
