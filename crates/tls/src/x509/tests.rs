use proptest::prelude::*;
use rustls::pki_types::CertificateDer;

use super::name::oid_text;
use super::*;
use crate::settings::PemFile;

const FIXTURES: [&[u8]; 12] = [
    include_bytes!("../../tests/fixtures/self.crt"),
    include_bytes!("../../tests/fixtures/v1.crt"),
    include_bytes!("../../tests/fixtures/san.crt"),
    include_bytes!("../../tests/fixtures/ip.crt"),
    include_bytes!("../../tests/fixtures/inter.crt"),
    include_bytes!("../../tests/fixtures/constrained.crt"),
    include_bytes!("../../tests/fixtures/critical.crt"),
    include_bytes!("../../tests/fixtures/usage-both.crt"),
    include_bytes!("../../tests/fixtures/client-eku.crt"),
    include_bytes!("../../tests/fixtures/ed25519.crt"),
    include_bytes!("../../tests/fixtures/pss.crt"),
    include_bytes!("../../tests/fixtures/root2.crt"),
];

fn read(pem: &[u8]) -> CertificateDer<'static> {
    let file = PemFile { name: "a fixture".into(), pem: pem.to_vec() };
    crate::pem::certificates(&file).expect("a fixture").remove(0)
}

fn fixture(at: usize) -> CertificateDer<'static> {
    read(FIXTURES[at])
}

/// An element of DER with a short length.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = u8::try_from(value.len()).expect("short");
    assert!(length < 0x80, "short");
    [&[tag, length], value.as_slice()].concat()
}

/// A name of common names of these kinds of string.
fn name_of(values: &[(u8, &[u8])]) -> Vec<u8> {
    let relatives: Vec<Vec<u8>> = values
        .iter()
        .map(|(tag, value)| {
            let attribute = element(0x30, &[&[0x06, 0x03, 0x55, 0x04, 0x03], &element(*tag, &[value])]);
            element(0x31, &[&attribute])
        })
        .collect();
    let relatives: Vec<&[u8]> = relatives.iter().map(Vec::as_slice).collect();
    element(0x30, &relatives)
}

fn name(der: &[u8]) -> Name<'_> {
    let field = Fields::new(der).expect("DER").next().expect("DER").expect("one");
    Name::parse(&field).expect("a name")
}

#[test]
fn fields_are_what_openssl_prints() {
    let der = fixture(1);
    let v1 = Certificate::parse(&der).expect("a certificate");
    assert_eq!(v1.version, Version::V1);
    assert_eq!(v1.subject.text().as_deref(), Some("CN=db.example.com"));
    assert_eq!(v1.issuer.text().as_deref(), Some("CN=Test root,O=Plimsoll tests"));
    assert!(!v1.is_self_issued());
    assert!(v1.extensions.basic.is_none());
    let years = (v1.not_after - v1.not_before).as_secs() / (365 * 24 * 3600);
    assert_eq!(years, 100);

    let der = fixture(0);
    let own = Certificate::parse(&der).expect("a certificate");
    assert_eq!(own.version, Version::V3);
    assert!(own.is_self_issued());
    assert_eq!(own.extensions.basic.map(|basic| basic.authority), Some(Authority::Ca));

    let der = fixture(4);
    let inter = Certificate::parse(&der).expect("a certificate");
    assert_eq!(inter.extensions.basic.and_then(|basic| basic.path_len), Some(0));
    let usage = inter.extensions.key_usage.expect("it has one");
    assert!(usage.allows_one_of(&[KeyUsage::CERTIFICATE_SIGN]));
    assert!(!usage.allows_one_of(&[KeyUsage::DIGITAL_SIGNATURE, KeyUsage::KEY_AGREEMENT]));
}

#[test]
fn a_key_is_read_where_dates_cannot_be() {
    let good = fixture(1);
    let key = Certificate::parse(&good).expect("a certificate").public_key;
    assert_eq!(PublicKey::of_certificate(&good), Ok(key));
    // The first date, in a certificate of this century: UTCTime of 13 letters.
    let place = good.windows(2).position(|window| window == [0x17, 0x0d]).expect("a date");
    let mut bad = good.to_vec();
    bad[place + 2..place + 15].fill(b'x');
    assert!(Certificate::parse(&bad).is_err());
    assert_eq!(PublicKey::of_certificate(&bad), Ok(key));
}

#[test]
fn extensions_are_what_openssl_wrote() {
    let der = fixture(3);
    let names = Certificate::parse(&der).expect("a certificate").extensions.alt_names.expect("it has them");
    assert_eq!(names.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1", "::1"]);
    assert!(names.hosts.is_empty());
    let der = fixture(2);
    let names = Certificate::parse(&der).expect("a certificate").extensions.alt_names.expect("it has them");
    assert_eq!(names.hosts, [&b"db.example.com"[..], b"*.wild.example.com"]);
    for (at, purposes, not_understood) in [
        (6, None, Some("1.2.3.4")),
        (5, None, Some("2.5.29.30")),
        (7, Some(Purposes::Both), None),
        (8, Some(Purposes::ClientAuth), None),
    ] {
        let der = fixture(at);
        let extensions = Certificate::parse(&der).expect("a certificate").extensions;
        assert_eq!(extensions.purposes, purposes, "{at}");
        assert_eq!(extensions.not_understood.map(oid_text).as_deref(), not_understood, "{at}");
    }
}

#[test]
fn names_are_compared_as_openssl_compares_them() {
    let utf8 = name_of(&[(0x0c, b"Test Root")]);
    for same in [
        name_of(&[(0x13, b"Test Root")]),
        name_of(&[(0x16, b"test root")]),
        name_of(&[(0x0c, b"  TEST   root ")]),
        name_of(&[(0x1e, b"\0T\0e\0s\0t\0 \0R\0o\0o\0t")]),
    ] {
        assert!(name(&utf8).matches(&name(&same)), "{same:?}");
    }
    for other in [
        name_of(&[(0x0c, b"TestRoot")]),
        name_of(&[(0x0c, b"Test Root"), (0x0c, b"")]),
        name_of(&[(0x0c, b"Test"), (0x0c, b"Root")]),
        name_of(&[(0x04, b"Test Root")]),
    ] {
        assert!(!name(&utf8).matches(&name(&other)), "{other:?}");
    }
}

#[test]
fn names_are_written_so_that_they_cannot_pretend() {
    let cases: [(&[u8], &str); 6] = [
        (b"a,O=b", "CN=a\\,O=b"),
        (b" a ", "CN=\\ a\\ "),
        (b"#1", "CN=\\#1"),
        (b"a\nb", "CN=a\\0Ab"),
        ("\u{fc}".as_bytes(), "CN=\u{fc}"),
        (b"\xff", "CN=#ff"),
    ];
    for (value, text) in cases {
        assert_eq!(name(&name_of(&[(0x0c, value)])).text().as_deref(), Some(text));
    }
    assert_eq!(name(&name_of(&[])).text(), None);
}

#[test]
fn common_names() {
    let common = |values: &[(u8, &[u8])]| name(&name_of(values)).common_name();
    assert_eq!(common(&[(0x0c, b"app"), (0x0c, b"other")]).as_deref(), Some("app"));
    assert_eq!(common(&[(0x14, b"\xe9")]).as_deref(), Some("\u{e9}"));
    assert_eq!(common(&[(0x0c, b"app\0.evil")]), None);
    assert_eq!(common(&[(0x0c, b"")]), None);
    assert_eq!(common(&[(0x0c, b"\xff")]), None);
    assert_eq!(common(&[]), None);
}

#[test]
fn identifiers_have_dots() {
    assert_eq!(oid_text(&[0x55, 0x1d, 0x13]), "2.5.29.19");
    assert_eq!(oid_text(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]), "1.2.840.113549");
    assert_eq!(oid_text(&[0x88, 0x37]), "2.999");
    assert_eq!(oid_text(&[]), "");
    assert_eq!(oid_text(&[0xff; 40]), "");
}

#[test]
fn extensions_that_contradict_themselves_are_refused() {
    let basic =
        element(0x30, &[&[0x06, 0x03, 0x55, 0x1d, 0x13], &element(0x04, &[&[0x30, 0x03, 0x01, 0x01, 0xff]])]);
    let once = element(0x30, &[&basic]);
    let twice = element(0x30, &[&basic, &basic]);
    assert!(Extensions::parse(&once).is_ok());
    assert_eq!(Extensions::parse(&twice).err(), Some(Malformed("an extension is in it twice")));
    let negative = element(
        0x30,
        &[&element(
            0x30,
            &[
                &[0x06, 0x03, 0x55, 0x1d, 0x13],
                &element(0x04, &[&[0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0xff]]),
            ],
        )],
    );
    assert!(Extensions::parse(&negative).is_err());
}

#[test]
fn what_is_too_large_or_followed_by_something_is_refused() {
    let mut der = fixture(1).to_vec();
    der.push(0);
    assert!(Certificate::parse(&der).is_err());
    assert_eq!(
        Certificate::parse(&vec![0x30; CERTIFICATE_BYTES_MAX + 1]).err(),
        Some(Malformed("it is larger than 64 KiB"))
    );
    assert!(Certificate::parse(&[]).is_err());
}

/// All that is done with a certificate of which nothing is known.
fn exercise(der: &[u8]) {
    if let Ok(certificate) = Certificate::parse(der) {
        let _ = (certificate.subject.text(), certificate.subject.common_name(), certificate.is_self_issued());
    }
    let _ = PublicKey::of_certificate(der);
    let der = CertificateDer::from(der.to_vec());
    let _ = (crate::subject(&der), crate::common_name(&der));
}

#[test]
fn no_wrong_byte_panics() {
    for at in [0, 2, 4, 7] {
        let der = fixture(at).to_vec();
        for place in 0..der.len() {
            for value in [0x00, 0x01, 0x30, 0x7f, 0x80, 0x84, 0xff, der[place] ^ 0x20, der[place] ^ 0x01] {
                let mut wrong = der.clone();
                wrong[place] = value;
                exercise(&wrong);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_mutilated_certificate_panics(
        at in 0..FIXTURES.len(),
        bytes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        doubled in any::<prop::sample::Index>(),
    ) {
        let mut der = fixture(at).to_vec();
        for (place, value) in &bytes {
            let place = place.index(der.len());
            der[place] = *value;
        }
        exercise(&der);
        exercise(&der[..cut.index(der.len())]);
        exercise(&der[cut.index(der.len())..]);
        let again = der[..doubled.index(der.len())].to_vec();
        der.splice(cut.index(der.len()).., again);
        exercise(&der);
    }

    #[test]
    fn no_noise_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
        let _ = PublicKey::parse(&bytes);
        let _ = PublicKey::of_certificate(&bytes);
        let _ = Extensions::parse(&bytes);
    }
}
