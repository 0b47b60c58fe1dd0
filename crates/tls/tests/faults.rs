//! Mistakes in settings: each under its key, all at once, in words that help.
#![allow(missing_docs)]

mod common;

use common::{file, serving, trusting, verifying};
use plimsoll_tls::{Fault, Key, PemFile, Settings, Side, SslMode, acceptor, connector};

fn of_acceptor(settings: &Settings) -> Vec<Fault> {
    acceptor(settings).expect_err("there is a mistake")
}

fn of_connector(settings: &Settings) -> Vec<Fault> {
    connector(settings).expect_err("there is a mistake")
}

/// That there is this one, and no other.
fn assert_fault(faults: &[Fault], key: Key, words: &str) {
    let [fault] = faults else { panic!("{words}: {faults:?}") };
    assert_eq!(fault.key, key, "{fault:?}");
    assert!(fault.message.contains(words), "{words}: {}", fault.message);
}

fn text_file(pem: &[u8]) -> Option<PemFile> {
    Some(PemFile { name: "the.file".into(), pem: pem.to_vec() })
}

#[test]
fn every_mode_of_clients_needs_key_and_certificate() {
    for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require] {
        let faults = of_acceptor(&Settings { mode, ..Settings::default() });
        let keys: Vec<Key> = faults.iter().map(|fault| fault.key).collect();
        assert_eq!(keys, [Key::CertFile, Key::KeyFile], "{mode}");
    }
    assert_fault(
        &of_acceptor(&Settings { cert: None, ..serving("v1.crt", "rsa.key") }),
        Key::CertFile,
        "certificate",
    );
}

#[test]
fn who_verifies_needs_a_ca_file() {
    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        let server = Settings { mode, ..serving("v1.crt", "rsa.key") };
        assert_fault(&of_acceptor(&server), Key::CaFile, "sign clients' certificates");
        let client = Settings { mode, ..trusting() };
        assert_fault(&of_connector(&client), Key::CaFile, mode.as_str());
    }
}

#[test]
fn no_tls_is_nothing_to_set_up() {
    assert_fault(&of_connector(&Settings::default()), Key::SslMode, "disable");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let settings = Settings {
        mode: SslMode::VerifyFull,
        protocols: "tlsv1.1".into(),
        ciphers: "AES128-SHA".into(),
        tls13_ciphers: Some("TLS_X".into()),
        ecdhcurve: "brainpoolP256r1".into(),
        dheparams: "legacy".into(),
        ca: text_file(b"nothing"),
        cert: text_file(b""),
        key: file("rsa-encrypted.key"),
    };
    let expected = [
        Key::Protocols,
        Key::Ciphers,
        Key::Tls13Ciphers,
        Key::EcdhCurve,
        Key::DheParams,
        Key::CaFile,
        Key::CertFile,
        Key::KeyFile,
    ];
    let keys = |faults: Vec<Fault>| faults.iter().map(|fault| fault.key).collect::<Vec<_>>();
    assert_eq!(keys(of_acceptor(&settings)), expected);
    assert_eq!(keys(of_connector(&settings)), expected);
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let cert = |file| Settings { cert: file, ..serving("v1.crt", "rsa.key") };
    assert_fault(&of_acceptor(&cert(text_file(b""))), Key::CertFile, "the.file is empty");
    assert_fault(&of_acceptor(&cert(text_file(b"hello\n"))), Key::CertFile, "not a PEM file");
    assert_fault(&of_acceptor(&cert(file("self.der"))), Key::CertFile, "self.der is DER");
    assert_fault(&of_acceptor(&cert(file("rsa.key"))), Key::CertFile, "no certificate");
    let cut = file("v1.crt").map(|file| file.pem[..200].to_vec()).expect("a file");
    assert_fault(&of_acceptor(&cert(text_file(&cut))), Key::CertFile, "no END line");
    let not_x509 = b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    assert_fault(&of_acceptor(&cert(text_file(not_x509))), Key::CertFile, "certificate 1 in the.file");
    let no_base64 = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    assert_fault(&of_acceptor(&cert(text_file(no_base64))), Key::CertFile, "not base64");
    let trusted = b"-----BEGIN TRUSTED CERTIFICATE-----\nMAMCAQE=\n-----END TRUSTED CERTIFICATE-----\n";
    assert_fault(&of_acceptor(&cert(text_file(trusted))), Key::CertFile, "TRUSTED CERTIFICATE");
    let ca = |file| Settings { ca: file, ..verifying(SslMode::VerifyCa, "root.crt") };
    assert_fault(&of_connector(&ca(text_file(b"x"))), Key::CaFile, "not a PEM file");
    assert_fault(&of_connector(&ca(text_file(not_x509))), Key::CaFile, "certificate 1 in the.file");
}

#[test]
fn keys_that_cannot_be_used() {
    let key = |name| Settings { key: file(name), ..serving("v1.crt", "rsa.key") };
    assert_fault(&of_acceptor(&key("rsa-encrypted.key")), Key::KeyFile, "is encrypted");
    assert_fault(&of_acceptor(&key("rsa-encrypted-pkcs1.key")), Key::KeyFile, "is encrypted");
    assert_fault(&of_acceptor(&key("rsa-key.der")), Key::KeyFile, "is DER");
    assert_fault(&of_acceptor(&key("v1.crt")), Key::KeyFile, "no private key");
    assert_fault(&of_acceptor(&key("rsa1024.key")), Key::KeyFile, "2048");
    for other in ["other.key", "p256.key", "ed25519.key"] {
        assert_fault(&of_acceptor(&key(other)), Key::KeyFile, "not that of the first certificate");
    }
    let upside_down = [file("inter.crt"), file("by-inter.crt")].into_iter().flatten();
    let pem = upside_down.flat_map(|file| file.pem).collect::<Vec<u8>>();
    let settings = Settings { cert: text_file(&pem), ..serving("v1.crt", "rsa.key") };
    assert_fault(&of_acceptor(&settings), Key::KeyFile, "come before intermediate ones");
}

#[test]
fn towards_servers_key_and_certificate_go_together() {
    let half = Settings { key: None, ..serving("client.crt", "rsa.key") };
    assert_fault(&of_connector(&half), Key::KeyFile, "client.crt");
    let half = Settings { cert: None, ..serving("client.crt", "rsa.key") };
    assert_fault(&of_connector(&half), Key::CertFile, "rsa.key");
}

#[test]
fn a_ca_file_that_nobody_needs_is_not_read() {
    assert!(connector(&Settings { ca: text_file(b"rubbish"), ..trusting() }).is_ok());
}

#[test]
fn names_of_keys() {
    assert_eq!(Key::CaFile.name(Side::Server), "server_tls_ca_file");
    assert_eq!(Key::Tls13Ciphers.name(Side::Client), "client_tls13_ciphers");
    assert_eq!(SslMode::parse("Verify-CA"), Some(SslMode::VerifyCa));
    assert_eq!(SslMode::parse("verify"), None);
}

#[test]
fn a_key_is_not_shown() {
    let text = format!("{:?}", serving("v1.crt", "rsa.key"));
    assert!(text.contains("rsa.key") && !text.contains("BEGIN") && !text.contains("45, 45"), "{text}");
}
