//! PEM files, as OpenSSL writes them (RFC 7468), and what may be wrong with them in the operator's words.

use rustls::pki_types::pem::{PemObject, SectionKind, SliceIter};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use crate::settings::PemFile;

/// All certificates of a file, in its order. Other sections are passed over, and so is text before and between them
/// (`openssl x509 -text` writes some).
///
/// # Errors
///
/// The file is no PEM, is damaged, has no certificate.
pub(crate) fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, String> {
    check_outside(file, "openssl x509 -inform DER -in FILE -out FILE.pem")?;
    if contains(&file.pem, b"-----BEGIN TRUSTED CERTIFICATE-----") {
        return Err(format!(
            "{} has a TRUSTED CERTIFICATE, with notes on trust that are not understood here: write it again with \
             \"openssl x509 -in FILE -out FILE.pem\"",
            file.name
        ));
    }
    let mut found = Vec::new();
    for item in CertificateDer::pem_slice_iter(&file.pem) {
        found.push(item.map_err(|error| damaged(file, &error))?);
    }
    if found.is_empty() {
        return Err(format!("there is no certificate (BEGIN CERTIFICATE) in {}", file.name));
    }
    Ok(found)
}

/// The first private key of a file: PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
///
/// The file is no PEM, is damaged, has no key, or the key is encrypted.
pub(crate) fn private_key(file: &PemFile) -> Result<PrivateKeyDer<'static>, String> {
    check_outside(file, "openssl pkey -inform DER -in FILE -out FILE.pem")?;
    // The first is PKCS #8, the second a header of the older forms.
    if contains(&file.pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || contains(&file.pem, b"Proc-Type: 4,ENCRYPTED")
    {
        return Err(format!(
            "the key in {} is encrypted, and nobody is there to ask for its passphrase: take it off with \"openssl \
             pkey -in FILE -out FILE.plain\" and let only the pooler's user read the result",
            file.name
        ));
    }
    for item in SliceIter::<(SectionKind, Vec<u8>)>::new(&file.pem) {
        let (kind, der) = item.map_err(|error| damaged(file, &error))?;
        match kind {
            SectionKind::PrivateKey => return Ok(PrivatePkcs8KeyDer::from(der).into()),
            SectionKind::RsaPrivateKey => return Ok(PrivatePkcs1KeyDer::from(der).into()),
            SectionKind::EcPrivateKey => return Ok(PrivateSec1KeyDer::from(der).into()),
            // Sections of other kinds; the enum is not ours and may grow.
            _ => {}
        }
    }
    Err(format!("there is no private key (BEGIN PRIVATE KEY) in {}", file.name))
}

/// What can be told from the outside.
fn check_outside(file: &PemFile, conversion: &str) -> Result<(), String> {
    if file.pem.is_empty() {
        return Err(format!("{} is empty", file.name));
    }
    if contains(&file.pem, b"-----BEGIN ") {
        return Ok(());
    }
    // A SEQUENCE with a long length: how every certificate and key begins in DER.
    if matches!(file.pem.as_slice(), [0x30, 0x81..=0x84, ..]) {
        return Err(format!("{} is DER, and PEM is wanted: convert it with \"{conversion}\"", file.name));
    }
    Err(format!("{} is not a PEM file: there is no line that starts with -----BEGIN", file.name))
}

/// The parser's errors may quote lines of the file, which may be a key: only their kind is told.
fn damaged(file: &PemFile, error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    let what = match error {
        Error::MissingSectionEnd { .. } => "a section has no END line",
        Error::IllegalSectionStart { .. } => "a BEGIN line is not as it should be",
        Error::Base64Decode(_) => "what is between BEGIN and END is not base64",
        // The enum is not ours and may grow.
        _ => "a section cannot be read",
    };
    format!("{} is damaged: {what}", file.name)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
