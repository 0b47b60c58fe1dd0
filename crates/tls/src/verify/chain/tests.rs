use rustls::crypto::aws_lc_rs;

use super::*;
use crate::settings::PemFile;
use crate::text::error_text;

fn read(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    let file = PemFile { name: "a fixture".into(), pem: pem.to_vec() };
    crate::pem::certificates(&file).expect("a fixture")
}

const ROOT: &[u8] = include_bytes!("../../../tests/fixtures/root.crt");
const V1: &[u8] = include_bytes!("../../../tests/fixtures/v1.crt");
const CHAIN: &[u8] = include_bytes!("../../../tests/fixtures/by-inter-chain.crt");

/// 2030: between the dates of all fixtures that have dates of their own.
const NOW_S: u64 = 1_900_000_000;

fn verdict(
    anchors: &Anchors,
    leaf: &CertificateDer<'_>,
    sent: &[CertificateDer<'_>],
    now_s: u64,
) -> Result<(), String> {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
    let verified = verify(anchors, &algorithms, leaf, sent, now, Usage::Server);
    verified.map(|_| ()).map_err(|error| error_text(&error))
}

#[test]
fn a_certificate_with_any_other_byte_is_refused() {
    let anchors = Anchors::new(read(ROOT)).expect("a root");
    let leaf = read(V1).remove(0);
    assert_eq!(verdict(&anchors, &leaf, &[], NOW_S), Ok(()));
    for place in 0..leaf.len() {
        let mut wrong = leaf.to_vec();
        wrong[place] ^= 0x01;
        let wrong = CertificateDer::from(wrong);
        assert!(verdict(&anchors, &wrong, &[], NOW_S).is_err(), "byte {place}");
    }
}

#[test]
fn time_comes_as_an_argument() {
    let anchors = Anchors::new(read(ROOT)).expect("a root");
    let chain = read(CHAIN);
    let (leaf, sent) = chain.split_first().expect("a chain");
    assert_eq!(verdict(&anchors, leaf, sent, NOW_S), Ok(()));
    let text = verdict(&anchors, leaf, sent, 0).expect_err("before its time");
    assert!(
        text.contains("is not valid before") && text.contains("it is 1970-01-01T00:00:00Z now"),
        "{text}"
    );
    let text = verdict(&anchors, leaf, sent, 10_000_000_000).expect_err("after its time");
    assert!(text.contains("expired at") && text.contains("it is 2286-11-20T17:46:40Z now"), "{text}");
}

#[test]
fn an_issuer_that_has_expired_is_named() {
    let der = read(ROOT).remove(0);
    let root = Certificate::parse(&der).expect("a root");
    let later = root.not_after + Duration::from_secs(1);
    let error = verify_validity(&root, later).expect_err("it has expired");
    assert!(error.to_string().starts_with("certificate CN=Test root,O=Plimsoll tests expired at"), "{error}");
    assert!(verify_validity(&root, root.not_after).is_ok());
    let before = root.not_before - Duration::from_secs(1);
    assert!(matches!(verify_validity(&root, before), Err(Refusal::NotValidYet { .. })));
}

#[test]
fn what_is_sent_has_a_limit() {
    let anchors = Anchors::new(read(ROOT)).expect("a root");
    let chain = read(CHAIN);
    let (leaf, sent) = chain.split_first().expect("a chain");
    let many = vec![sent[0].clone(); SENT_MAX];
    assert_eq!(verdict(&anchors, leaf, &many, NOW_S), Ok(()), "the same one again does no harm");
    let too_many = vec![sent[0].clone(); SENT_MAX + 1];
    let text = verdict(&anchors, leaf, &too_many, NOW_S).expect_err("too many");
    assert!(text.contains("17 certificates were sent"), "{text}");
}

#[test]
fn what_is_tried_has_a_limit() {
    let anchors = Anchors::none();
    let chain = read(CHAIN);
    let parsed: Vec<_> = chain.iter().map(|der| Certificate::parse(der).expect("a fixture")).collect();
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let mut search = Search {
        anchors: &anchors,
        algorithms: &algorithms,
        sent: &parsed[1..],
        now: Duration::from_secs(NOW_S),
        usage: Usage::Server,
        signatures_left: 1,
    };
    assert!(matches!(search.climb(&[&parsed[0]], 0), Err(Miss::Refused(Refusal::UnknownIssuer { .. }))));
    assert_eq!(search.signatures_left, 0);
    assert!(matches!(search.climb(&[&parsed[0]], 0), Err(Miss::GaveUp)));
    let long = vec![&parsed[0]; DEPTH_MAX + 2];
    search.signatures_left = SIGNATURES_MAX;
    assert!(matches!(search.climb(&long, 0), Err(Miss::GaveUp)));
}

#[test]
fn nobody_is_trusted_without_anchors() {
    let text = verdict(&Anchors::none(), &read(V1).remove(0), &read(ROOT), NOW_S).expect_err("nobody");
    assert!(text.contains("CN=Test root,O=Plimsoll tests signed itself"), "{text}");
}

#[test]
fn weak_algorithms_have_names() {
    let sha1 = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00];
    assert_eq!(algorithm_text(&sha1), "SHA-1");
    assert!(algorithm_text(&[0x06, 0x03, 0x2b, 0x65, 0x71]).contains("1.3.101.113"));
    assert!(algorithm_text(&[0x06, 0xff]).starts_with("algorithm"));
}
