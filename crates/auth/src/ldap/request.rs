//! What is sent: four kinds of messages of RFC 4511, in BER. Lengths are written in four bytes each, so that a message
//! is made in one buffer and no copy of a password is left behind.

use plimsoll_types::Secret;

use super::{LdapScope, LdapSearch};

/// LDAPv3.
const VERSION: &[u8] = &[3];

/// StartTLS (RFC 4511, 4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// "No attributes" (RFC 4511, 4.5.1.8): only the name of an entry is wanted.
const NO_ATTRIBUTES: &[u8] = b"1.1";

/// One entry is wanted; a second one says that it is not the only one.
const ENTRIES_MAX: u8 = 2;

/// A simple bind (RFC 4511, 4.2).
pub(super) fn bind(id: u8, name: &str, password: &Secret) -> Secret {
    let mut out = Vec::with_capacity(name.len() + password.expose().len() + 64);
    message(&mut out, id, |out| {
        tlv(out, 0x60, |out| {
            octets(out, 0x02, VERSION);
            octets(out, 0x04, name.as_bytes());
            octets(out, 0x80, password.expose());
        });
    });
    sealed(out)
}

/// A search (RFC 4511, 4.5.1).
pub(super) fn search(id: u8, search: &LdapSearch, user: &str) -> Secret {
    let mut out = Vec::new();
    let scope = match search.scope {
        LdapScope::Base => 0,
        LdapScope::One => 1,
        LdapScope::Sub => 2,
    };
    message(&mut out, id, |out| {
        tlv(out, 0x63, |out| {
            octets(out, 0x04, search.base.as_bytes());
            octets(out, 0x0a, &[scope]);
            // Aliases are not followed.
            octets(out, 0x0a, &[0]);
            octets(out, 0x02, &[ENTRIES_MAX]);
            // No limit of time at the server: ours ends the connection.
            octets(out, 0x02, &[0]);
            // Types only.
            octets(out, 0x01, &[0xff]);
            search.filter.encode(user, out);
            tlv(out, 0x30, |out| octets(out, 0x04, NO_ATTRIBUTES));
        });
    });
    sealed(out)
}

/// Asks for TLS.
pub(super) fn start_tls(id: u8) -> Secret {
    let mut out = Vec::new();
    message(&mut out, id, |out| tlv(out, 0x77, |out| octets(out, 0x80, START_TLS)));
    sealed(out)
}

/// Says goodbye (RFC 4511, 4.3).
pub(super) fn unbind(id: u8) -> Secret {
    let mut out = Vec::new();
    message(&mut out, id, |out| octets(out, 0x42, &[]));
    sealed(out)
}

fn message(out: &mut Vec<u8>, id: u8, operation: impl FnOnce(&mut Vec<u8>)) {
    tlv(out, 0x30, |out| {
        octets(out, 0x02, &[id]);
        operation(out);
    });
}

/// Tag, length, and what `body` writes.
pub(super) fn tlv(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[tag, 0x84, 0, 0, 0, 0]);
    let begin = out.len();
    body(out);
    // What is sent is a few hundred kilobytes at the very most: options, names and passwords are bounded.
    let length = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
    out[begin - 4..begin].copy_from_slice(&length.to_be_bytes());
}

/// Tag, length, bytes.
pub(super) fn octets(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    tlv(out, tag, |out| out.extend_from_slice(bytes));
}

/// Some of it is a password: nothing of it stays behind.
fn sealed(mut out: Vec<u8>) -> Secret {
    let sealed = Secret::new(out.as_slice());
    out.fill(0);
    std::hint::black_box(&out);
    sealed
}
