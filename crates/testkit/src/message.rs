//! Messages as bytes, written and read by hand (PostgreSQL manual, "Message Formats").

/// One typed message of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The type byte.
    pub tag: u8,
    /// What comes after the length.
    pub body: Vec<u8>,
}

impl Message {
    /// The bytes of the whole message.
    pub fn bytes(&self) -> Vec<u8> {
        Packet::typed(self.tag).raw(&self.body).bytes()
    }

    /// Strings ended by zeros from the start of the body, as many as there are.
    pub fn strings(&self) -> Vec<String> {
        let body = self.body.strip_suffix(&[0]).unwrap_or(&self.body);
        body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    }

    /// The status byte of a ReadyForQuery.
    pub fn status(&self) -> char {
        char::from(self.body.first().copied().unwrap_or(b'?'))
    }

    /// The columns of a DataRow as text, `None` for NULL.
    ///
    /// # Panics
    /// The body does not fit.
    pub fn columns(&self) -> Vec<Option<String>> {
        let mut rest = &self.body[2..];
        let count = u16::from_be_bytes([self.body[0], self.body[1]]);
        (0..count)
            .map(|_| {
                let (length, after) = rest.split_at(4);
                rest = after;
                let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
                let length = usize::try_from(length).ok()?;
                let (value, after) = rest.split_at(length);
                rest = after;
                Some(String::from_utf8_lossy(value).into_owned())
            })
            .collect()
    }

    /// Names and type OIDs of a RowDescription.
    ///
    /// # Panics
    /// The body does not fit.
    pub fn fields(&self) -> Vec<(String, u32)> {
        let mut rest = &self.body[2..];
        let count = u16::from_be_bytes([self.body[0], self.body[1]]);
        (0..count)
            .map(|_| {
                let end = rest.iter().position(|byte| *byte == 0).expect("a name ends");
                let name = String::from_utf8_lossy(&rest[..end]).into_owned();
                // Table OID (4), column number (2), then the type's OID; after it size, modifier and format (8).
                let oid = &rest[end + 7..end + 11];
                let oid = u32::from_be_bytes(oid.try_into().expect("four bytes"));
                rest = &rest[end + 19..];
                (name, oid)
            })
            .collect()
    }
}

/// The type bytes of some messages as text, a dialogue at a glance: `12DCZ`.
pub fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

/// Builds one packet, typed or (startup, cancel) untyped.
#[derive(Clone, Debug)]
pub struct Packet {
    tag: Option<u8>,
    body: Vec<u8>,
}

impl Packet {
    /// A message with this type byte.
    pub fn typed(tag: u8) -> Packet {
        Packet { tag: Some(tag), body: Vec::new() }
    }

    /// A first packet: length, then this code.
    pub fn untyped(code: u32) -> Packet {
        Packet { tag: None, body: code.to_be_bytes().to_vec() }
    }

    /// Appends a string and its zero.
    pub fn text(mut self, text: &str) -> Packet {
        self.body.extend_from_slice(text.as_bytes());
        self.body.push(0);
        self
    }

    /// Appends bytes.
    pub fn raw(mut self, bytes: &[u8]) -> Packet {
        self.body.extend_from_slice(bytes);
        self
    }

    /// Appends a 16-bit number.
    pub fn int16(self, number: u16) -> Packet {
        self.raw(&number.to_be_bytes())
    }

    /// Appends a 32-bit number.
    pub fn int32(self, number: u32) -> Packet {
        self.raw(&number.to_be_bytes())
    }

    /// Appends a length and that many bytes, or -1 for NULL.
    pub fn value(self, value: Option<&[u8]>) -> Packet {
        match value {
            Some(bytes) => self.int32(length_of(bytes)).raw(bytes),
            None => self.int32(u32::MAX),
        }
    }

    /// The bytes with the length filled in.
    pub fn bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 5);
        out.extend(self.tag);
        out.extend_from_slice(&(length_of(&self.body) + 4).to_be_bytes());
        out.extend_from_slice(&self.body);
        out
    }
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("tests send less than 4 GiB")
}
