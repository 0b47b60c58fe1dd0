//! X.509 certificates (RFC 5280, section 4.1), versions 1 to 3: the fields that a decision needs, borrowed.
//!
//! What is read is strict DER. Everything has been bounded before: a certificate comes out of a file or out of a
//! handshake message, and nothing here recurses.

mod extensions;
mod fields;
pub(crate) mod name;
#[cfg(test)]
mod tests;

use std::time::Duration;

use der::Decode;
use der::asn1::{GeneralizedTime, UtcTime};

pub(crate) use extensions::{Authority, Extensions, KeyUsage, Purposes};
pub(crate) use fields::Malformed;
use fields::{Fields, tag};
use name::Name;

/// The size of the largest certificate that is looked at, in bytes. Real ones have one or two KiB.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

/// The version field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
    V3,
}

/// A certificate that has been read.
#[derive(Clone, Debug)]
pub(crate) struct Certificate<'a> {
    /// All of it.
    pub(crate) der: &'a [u8],
    /// What is signed: the whole element.
    pub(crate) tbs: &'a [u8],
    /// What the signature is made with: what is inside of the AlgorithmIdentifier.
    pub(crate) signature_algorithm: &'a [u8],
    /// The signature's bytes.
    pub(crate) signature: &'a [u8],
    pub(crate) version: Version,
    pub(crate) issuer: Name<'a>,
    pub(crate) subject: Name<'a>,
    /// Seconds since 1970.
    pub(crate) not_before: Duration,
    /// Seconds since 1970.
    pub(crate) not_after: Duration,
    pub(crate) public_key: PublicKey<'a>,
    pub(crate) extensions: Extensions<'a>,
}

/// A subject's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey<'a> {
    /// What is inside of the AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    /// The key's bytes.
    pub(crate) bits: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// It is too large, or is not what the standard says.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(Malformed("it is larger than 64 KiB"));
        }
        let mut outer = Fields::new(der)?;
        let certificate = outer.expect(tag::SEQUENCE, "it is no SEQUENCE")?;
        outer.end()?;
        let mut parts = Fields::new(certificate.value)?;
        let tbs = parts.expect(tag::SEQUENCE, "it has no signed part")?;
        let algorithm = parts.expect(tag::SEQUENCE, "it has no signature algorithm")?;
        let signature = parts.expect(tag::BIT_STRING, "it has no signature")?;
        parts.end()?;
        let signed = Signed::parse(tbs.value)?;
        if signed.signature_algorithm != algorithm.value {
            return Err(Malformed("its two signature algorithms differ"));
        }
        Ok(Self {
            der,
            tbs: tbs.raw,
            signature_algorithm: algorithm.value,
            signature: whole_bytes(signature.value)?,
            version: signed.version,
            issuer: signed.issuer,
            subject: signed.subject,
            not_before: signed.not_before,
            not_after: signed.not_after,
            public_key: signed.public_key,
            extensions: signed.extensions,
        })
    }

    /// Whether it names itself as its issuer. Whether it has signed itself is another question.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject.matches(&self.issuer)
    }
}

impl<'a> PublicKey<'a> {
    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    ///
    /// It is not what the standard says.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Fields::new(der)?;
        let info = outer.expect(tag::SEQUENCE, "it has no public key")?;
        outer.end()?;
        Self::parse_value(info.value)
    }

    /// Reads the key of a certificate and passes over everything else, so that a server which nobody wants to verify may
    /// have dates and extensions that nobody can read.
    ///
    /// # Errors
    ///
    /// What lies before the key is not a certificate's, or the key cannot be read.
    pub(crate) fn of_certificate(der: &'a [u8]) -> Result<Self, Malformed> {
        let certificate = Fields::new(der)?.expect(tag::SEQUENCE, "it is no SEQUENCE")?;
        let tbs = Fields::new(certificate.value)?.expect(tag::SEQUENCE, "it has no signed part")?;
        let mut fields = Fields::new(tbs.value)?;
        fields.next_if(tag::CONTEXT_0_CONSTRUCTED)?;
        fields.expect(tag::INTEGER, "it has no serial number")?;
        for _algorithm_issuer_validity_subject in 0..4 {
            fields.expect(tag::SEQUENCE, "a field before its public key is missing")?;
        }
        Self::parse_value(fields.expect(tag::SEQUENCE, "it has no public key")?.value)
    }

    fn parse_value(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(value)?;
        let algorithm = fields.expect(tag::SEQUENCE, "its public key has no algorithm")?;
        let bits = fields.expect(tag::BIT_STRING, "its public key has no bits")?;
        fields.end()?;
        Ok(Self { algorithm: algorithm.value, bits: whole_bytes(bits.value)? })
    }
}

/// The TBSCertificate.
struct Signed<'a> {
    version: Version,
    signature_algorithm: &'a [u8],
    issuer: Name<'a>,
    not_before: Duration,
    not_after: Duration,
    subject: Name<'a>,
    public_key: PublicKey<'a>,
    extensions: Extensions<'a>,
}

impl<'a> Signed<'a> {
    fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(value)?;
        let version = match fields.next_if(tag::CONTEXT_0_CONSTRUCTED)? {
            None => Version::V1,
            Some(field) => version(field.value)?,
        };
        fields.expect(tag::INTEGER, "it has no serial number")?;
        let algorithm = fields.expect(tag::SEQUENCE, "its signed part has no signature algorithm")?;
        let issuer = Name::parse(&fields.expect(tag::SEQUENCE, "it has no issuer")?)?;
        let validity = fields.expect(tag::SEQUENCE, "it has no validity")?;
        let (not_before, not_after) = validity_of(validity.value)?;
        let subject = Name::parse(&fields.expect(tag::SEQUENCE, "it has no subject")?)?;
        let key = fields.expect(tag::SEQUENCE, "it has no public key")?;
        // Unique identifiers, of version 2: nobody uses them.
        fields.next_if(tag::CONTEXT_1)?;
        fields.next_if(tag::CONTEXT_2)?;
        let extensions = match fields.next_if(tag::CONTEXT_3_CONSTRUCTED)? {
            None => Extensions::default(),
            Some(field) => Extensions::parse(field.value)?,
        };
        fields.end()?;
        Ok(Self {
            version,
            signature_algorithm: algorithm.value,
            issuer,
            not_before,
            not_after,
            subject,
            public_key: PublicKey::parse_value(key.value)?,
            extensions,
        })
    }
}

fn version(value: &[u8]) -> Result<Version, Malformed> {
    match value {
        [0x02, 0x01, 0x00] => Ok(Version::V1),
        [0x02, 0x01, 0x01] => Ok(Version::V2),
        [0x02, 0x01, 0x02] => Ok(Version::V3),
        _ => Err(Malformed("its version is not 1, 2 or 3")),
    }
}

fn validity_of(value: &[u8]) -> Result<(Duration, Duration), Malformed> {
    let mut fields = Fields::new(value)?;
    let mut time = || {
        let field = fields.next()?.ok_or(Malformed("its validity has no end"))?;
        time_of(field.tag, field.raw).ok_or(Malformed("a time of its validity cannot be read"))
    };
    let times = (time()?, time()?);
    fields.end()?;
    Ok(times)
}

fn time_of(kind: u8, raw: &[u8]) -> Option<Duration> {
    match kind {
        tag::UTC_TIME => UtcTime::from_der(raw).ok().map(|time| time.to_unix_duration()),
        tag::GENERALIZED_TIME => GeneralizedTime::from_der(raw).ok().map(|time| time.to_unix_duration()),
        _ => None,
    }
}

/// A BIT STRING that holds bytes: its first byte says how many bits of the last one are not used.
fn whole_bytes(value: &[u8]) -> Result<&[u8], Malformed> {
    match value {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(Malformed("a bit string in it is not made of whole bytes")),
    }
}
