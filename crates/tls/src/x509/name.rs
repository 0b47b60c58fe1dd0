//! Distinguished names: compared as OpenSSL compares them, written as RFC 4514 says.

use std::fmt::Write as _;

use super::fields::{Field, Fields, Malformed, tag};

/// An issuer's or subject's name that has been walked over once and is well formed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    raw: &'a [u8],
    value: &'a [u8],
}

/// One attribute, as CN=x.
#[derive(Clone, Copy, Debug)]
struct Attribute<'a> {
    oid: &'a [u8],
    tag: u8,
    value: &'a [u8],
}

const BAD_NAME: Malformed = Malformed("a name in it cannot be read");
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Short names of attributes (RFC 4514, section 3, and OpenSSL's for the address of mail).
const SHORT: [(&[u8], &str); 11] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], "emailAddress"),
];

impl<'a> Name<'a> {
    pub(super) fn parse(field: &Field<'a>) -> Result<Self, Malformed> {
        let name = Self { raw: field.raw, value: field.value };
        name.walk()?;
        Ok(name)
    }

    /// Whether both mean the same: the kind of string, capitals and runs of spaces do not matter.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.raw == other.raw || self.canonical() == other.canonical()
    }

    /// A form in which names that mean the same are the same bytes.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut form = Vec::with_capacity(self.raw.len());
        for relative in self.relatives() {
            form.push(tag::SET);
            for attribute in relative {
                part(&mut form, tag::OID, attribute.oid);
                match attribute.text() {
                    Some(text) => part(&mut form, tag::UTF8_STRING, squeezed(&text).as_bytes()),
                    None => part(&mut form, attribute.tag, attribute.value),
                }
            }
        }
        form
    }

    /// The first common name; none if there is none, or it is empty, cannot be read or has a NUL in it (with which names
    /// have been forged).
    pub(crate) fn common_name(&self) -> Option<String> {
        let relatives = self.relatives();
        let first = relatives.iter().flatten().find(|attribute| attribute.oid == COMMON_NAME)?;
        first.text().filter(|text| !text.is_empty() && !text.contains('\0'))
    }

    /// As people write it: the most specific part first, `CN=db,O=Example`. None if it is empty.
    pub(crate) fn text(&self) -> Option<String> {
        let mut relatives = self.relatives();
        relatives.reverse();
        let parts: Vec<String> = relatives
            .iter()
            .map(|relative| {
                let parts: Vec<String> = relative.iter().map(Attribute::written).collect();
                parts.join("+")
            })
            .collect();
        if parts.is_empty() { None } else { Some(parts.join(",")) }
    }

    /// The same for messages, in which something has to stand.
    pub(crate) fn text_or_empty(&self) -> String {
        self.text().unwrap_or_else(|| "(an empty name)".to_owned())
    }

    /// The attributes, in groups. The name has been walked over when it was read, so nothing is left out here.
    fn relatives(&self) -> Vec<Vec<Attribute<'a>>> {
        self.walk().unwrap_or_default()
    }

    fn walk(&self) -> Result<Vec<Vec<Attribute<'a>>>, Malformed> {
        let mut relatives = Vec::new();
        let mut sets = Fields::new(self.value)?;
        while let Some(set) = sets.next()? {
            if set.tag != tag::SET {
                return Err(BAD_NAME);
            }
            let mut attributes = Vec::new();
            let mut fields = Fields::new(set.value)?;
            while let Some(field) = fields.next()? {
                attributes.push(Attribute::parse(&field)?);
            }
            relatives.push(attributes);
        }
        Ok(relatives)
    }
}

/// Its length goes before a part, so that two parts are never taken for one.
fn part(form: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    form.push(kind);
    form.extend_from_slice(&bytes.len().to_be_bytes());
    form.extend_from_slice(bytes);
}

/// Lower case in ASCII, without spaces at both ends, runs of spaces as one: what OpenSSL does.
fn squeezed(text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ").to_ascii_lowercase()
}

impl<'a> Attribute<'a> {
    fn parse(field: &Field<'a>) -> Result<Self, Malformed> {
        if field.tag != tag::SEQUENCE {
            return Err(BAD_NAME);
        }
        let mut fields = Fields::new(field.value)?;
        let oid = fields.expect(tag::OID, BAD_NAME.0)?.value;
        let value = fields.next()?.ok_or(BAD_NAME)?;
        fields.end()?;
        Ok(Self { oid, tag: value.tag, value: value.value })
    }

    fn text(&self) -> Option<String> {
        match self.tag {
            tag::UTF8_STRING => String::from_utf8(self.value.to_vec()).ok(),
            tag::PRINTABLE_STRING | tag::IA5_STRING | tag::VISIBLE_STRING | tag::NUMERIC_STRING => {
                self.value.is_ascii().then(|| String::from_utf8_lossy(self.value).into_owned())
            }
            // Nobody writes real Teletex; what is in there is Latin 1.
            tag::TELETEX_STRING => Some(self.value.iter().copied().map(char::from).collect()),
            tag::BMP_STRING if self.value.len().is_multiple_of(2) => {
                let units = self.value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                char::decode_utf16(units).collect::<Result<String, _>>().ok()
            }
            _ => None,
        }
    }

    fn written(&self) -> String {
        let kind = match SHORT.iter().find(|(oid, _)| *oid == self.oid) {
            Some((_, short)) => (*short).to_owned(),
            None => oid_text(self.oid),
        };
        let value = match self.text() {
            Some(text) => escaped(&text),
            None => self.value.iter().fold("#".to_owned(), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            }),
        };
        format!("{kind}={value}")
    }
}

/// RFC 4514, section 2.4; control characters too, since this goes into logs.
fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, letter) in text.chars().enumerate() {
        let at_edge = (letter == ' ' && (at == 0 || at == last)) || (letter == '#' && at == 0);
        if at_edge || matches!(letter, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            written.push('\\');
            written.push(letter);
        } else if letter.is_control() {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(written, "\\{byte:02X}");
            }
        } else {
            written.push(letter);
        }
    }
    written
}

/// An object identifier with dots: each number in groups of seven bits, the first two numbers in one (X.690, 8.19).
pub(crate) fn oid_text(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number: u64 = 0;
    for byte in oid {
        number = number.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    if let Some(first) = numbers.first().copied() {
        let root = (first / 40).min(2);
        numbers.splice(0..1, [root, first - root * 40]);
    }
    let parts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    parts.join(".")
}
