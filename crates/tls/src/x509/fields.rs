//! A walk over the elements of DER. The `der` crate reads tags and lengths; here they only get names.

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader};

/// Identifier octets of the elements that are read (X.690, section 8.1.2).
pub(super) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    pub(crate) const CONTEXT_0_CONSTRUCTED: u8 = 0xa0;
    pub(crate) const CONTEXT_1: u8 = 0x81;
    pub(crate) const CONTEXT_2: u8 = 0x82;
    pub(crate) const CONTEXT_3_CONSTRUCTED: u8 = 0xa3;
    pub(crate) const CONTEXT_7: u8 = 0x87;
}

/// Why a certificate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// One element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Its first byte.
    pub(super) tag: u8,
    /// What is in it.
    pub(super) value: &'a [u8],
    /// All of it, tag and length too.
    pub(super) raw: &'a [u8],
}

/// Elements that follow each other.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    reader: SliceReader<'a>,
}

const BAD_DER: Malformed = Malformed("it is not DER");

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        SliceReader::new(bytes).map(|reader| Self { reader }).map_err(|_| BAD_DER)
    }

    /// The next one; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.reader.is_finished() {
            return Ok(None);
        }
        let raw = self.reader.tlv_bytes().map_err(|_| BAD_DER)?;
        let element = AnyRef::from_der(raw).map_err(|_| BAD_DER)?;
        let tag = raw.first().copied().ok_or(BAD_DER)?;
        Ok(Some(Field { tag, value: element.value(), raw }))
    }

    /// The next one, if it has this tag.
    pub(super) fn next_if(&mut self, tag: u8) -> Result<Option<Field<'a>>, Malformed> {
        if self.reader.peek_byte() == Some(tag) { self.next() } else { Ok(None) }
    }

    /// The next one, which has to have this tag.
    pub(super) fn expect(&mut self, tag: u8, otherwise: &'static str) -> Result<Field<'a>, Malformed> {
        self.next_if(tag)?.ok_or(Malformed(otherwise))
    }

    /// That nothing follows.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.reader.is_finished() { Ok(()) } else { Err(Malformed("something follows its last field")) }
    }
}
