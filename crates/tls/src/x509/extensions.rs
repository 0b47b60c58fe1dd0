//! The extensions of version 3 (RFC 5280, section 4.2) that decide something.

use std::net::IpAddr;

use super::fields::{Field, Fields, Malformed, tag};

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions<'a> {
    pub(crate) basic: Option<BasicConstraints>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) purposes: Option<Purposes>,
    pub(crate) alt_names: Option<SubjectAltName<'a>>,
    /// The first one that says it must be understood and is not: its object identifier's bytes.
    pub(crate) not_understood: Option<&'a [u8]>,
}

/// Whether a key may sign certificates, and how many intermediate ones may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BasicConstraints {
    pub(crate) authority: Authority,
    pub(crate) path_len: Option<u32>,
}

/// `cA` of the basic constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    Ca,
    EndEntity,
}

/// What a key may be used for: the bits of the extension, the first one highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUsage(u8);

impl KeyUsage {
    pub(crate) const DIGITAL_SIGNATURE: Self = Self(0x80);
    pub(crate) const KEY_ENCIPHERMENT: Self = Self(0x20);
    pub(crate) const KEY_AGREEMENT: Self = Self(0x08);
    pub(crate) const CERTIFICATE_SIGN: Self = Self(0x04);

    /// Whether one of these uses is allowed.
    pub(crate) fn allows_one_of(self, uses: &[Self]) -> bool {
        uses.iter().any(|one| self.0 & one.0 != 0)
    }
}

/// What the extended key usage allows, of what matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purposes {
    Neither,
    ServerAuth,
    ClientAuth,
    Both,
}

/// Object identifiers, as bytes.
mod oid {
    pub(super) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
    pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    pub(super) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    pub(super) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
    pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
    /// Policies and where lists of revoked certificates are: they are understood in that nothing is demanded of them,
    /// as OpenSSL does unless it is told otherwise.
    pub(super) const DEMAND_NOTHING: [&[u8]; 5] = [
        &[0x55, 0x1d, 0x1f], // cRLDistributionPoints
        &[0x55, 0x1d, 0x20], // certificatePolicies
        &[0x55, 0x1d, 0x21], // policyMappings
        &[0x55, 0x1d, 0x24], // policyConstraints
        &[0x55, 0x1d, 0x36], // inhibitAnyPolicy
    ];
    pub(super) const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    pub(super) const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
}

const TWICE: Malformed = Malformed("an extension is in it twice");
const BAD_BASIC: Malformed = Malformed("its basic constraints cannot be read");
const BAD_USAGE: Malformed = Malformed("its key usage cannot be read");
const BAD_PURPOSES: Malformed = Malformed("its extended key usage cannot be read");
const BAD_ALT_NAMES: Malformed = Malformed("its subject alternative names cannot be read");
const BAD_EXTENSION: Malformed = Malformed("an extension of it cannot be read");

impl<'a> Extensions<'a> {
    /// Reads what is inside of the field `extensions`.
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Fields::new(value)?;
        let list = outer.expect(tag::SEQUENCE, BAD_EXTENSION.0)?;
        outer.end()?;
        let mut fields = Fields::new(list.value)?;
        let mut extensions = Self::default();
        while let Some(field) = fields.next()? {
            extensions.add(&field)?;
        }
        Ok(extensions)
    }

    fn add(&mut self, extension: &Field<'a>) -> Result<(), Malformed> {
        let mut fields = Fields::new(extension.value)?;
        let id = fields.expect(tag::OID, BAD_EXTENSION.0)?.value;
        let critical = fields.next_if(tag::BOOLEAN)?.is_some_and(|field| field.value != [0]);
        let value = fields.expect(tag::OCTET_STRING, BAD_EXTENSION.0)?.value;
        fields.end()?;
        match id {
            oid::BASIC_CONSTRAINTS => once(&mut self.basic, BasicConstraints::parse(value)?),
            oid::KEY_USAGE => once(&mut self.key_usage, KeyUsage::parse(value)?),
            oid::EXTENDED_KEY_USAGE => once(&mut self.purposes, Purposes::parse(value)?),
            oid::SUBJECT_ALT_NAME => once(&mut self.alt_names, SubjectAltName::parse(value)?),
            // OpenSSL obeys them whether or not they are critical; here they are not understood.
            oid::NAME_CONSTRAINTS => {
                self.not_understood.get_or_insert(id);
                Ok(())
            }
            known if oid::DEMAND_NOTHING.contains(&known) => Ok(()),
            unknown => {
                if critical {
                    self.not_understood.get_or_insert(unknown);
                }
                Ok(())
            }
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    }
}

impl BasicConstraints {
    fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let mut outer = Fields::new(value)?;
        let sequence = outer.expect(tag::SEQUENCE, BAD_BASIC.0)?;
        outer.end()?;
        let mut fields = Fields::new(sequence.value)?;
        let authority = match fields.next_if(tag::BOOLEAN)? {
            Some(field) if field.value != [0] => Authority::Ca,
            Some(_) | None => Authority::EndEntity,
        };
        let path_len = match fields.next_if(tag::INTEGER)? {
            Some(field) => Some(small_number(field.value)?),
            None => None,
        };
        fields.end()?;
        Ok(Self { authority, path_len })
    }
}

/// A number that is not negative. A very large one is as good as the largest.
fn small_number(value: &[u8]) -> Result<u32, Malformed> {
    match value {
        [] | [0x80..=0xff, ..] => Err(BAD_BASIC),
        [_, _, _, _, _, ..] => Ok(u32::MAX),
        bytes => Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))),
    }
}

impl KeyUsage {
    fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(value)?;
        let bits = fields.expect(tag::BIT_STRING, BAD_USAGE.0)?;
        fields.end()?;
        match bits.value {
            // The first byte says how many bits are not used; they are zero in DER.
            [0..=7, bits, ..] => Ok(Self(*bits)),
            [0] => Ok(Self(0)),
            _ => Err(BAD_USAGE),
        }
    }
}

impl Purposes {
    fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let mut outer = Fields::new(value)?;
        let sequence = outer.expect(tag::SEQUENCE, BAD_PURPOSES.0)?;
        outer.end()?;
        let mut fields = Fields::new(sequence.value)?;
        let mut purposes = Self::Neither;
        while let Some(field) = fields.next()? {
            purposes = match (purposes, field.value) {
                (Self::Neither | Self::ServerAuth, oid::SERVER_AUTH) => Self::ServerAuth,
                (Self::Neither | Self::ClientAuth, oid::CLIENT_AUTH) => Self::ClientAuth,
                (Self::ClientAuth | Self::Both, oid::SERVER_AUTH) => Self::Both,
                (Self::ServerAuth | Self::Both, oid::CLIENT_AUTH) => Self::Both,
                (before, _) => before,
            };
        }
        Ok(purposes)
    }
}

/// Names of hosts. Names of other kinds are passed over.
#[derive(Clone, Debug)]
pub(crate) struct SubjectAltName<'a> {
    pub(crate) hosts: Vec<&'a [u8]>,
    pub(crate) addresses: Vec<IpAddr>,
}

impl<'a> SubjectAltName<'a> {
    fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Fields::new(value)?;
        let sequence = outer.expect(tag::SEQUENCE, BAD_ALT_NAMES.0)?;
        outer.end()?;
        let mut fields = Fields::new(sequence.value)?;
        let mut names = Self { hosts: Vec::new(), addresses: Vec::new() };
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::CONTEXT_2 => names.hosts.push(field.value),
                tag::CONTEXT_7 => names.addresses.push(address(field.value)?),
                _ => {}
            }
        }
        Ok(names)
    }
}

fn address(value: &[u8]) -> Result<IpAddr, Malformed> {
    let v4 = || <[u8; 4]>::try_from(value).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(value).map(IpAddr::from);
    v4().or_else(|_| v6()).map_err(|_| BAD_ALT_NAMES)
}
