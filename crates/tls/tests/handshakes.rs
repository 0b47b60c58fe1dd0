//! What is agreed upon in handshakes, and what is not.
#![allow(missing_docs)]

mod common;

use common::{HOST, file, handshake, key_of, serving, shake, trusting};
use plimsoll_tls::rustls::{CipherSuite, Error, NamedGroup, ProtocolVersion};
use plimsoll_tls::{Settings, SslMode, acceptor, common_name, connector, error_text, subject};

#[test]
fn the_newest_version_and_the_protocols_name() {
    let outcome = handshake(&trusting(), &serving("v1.crt", "rsa.key"), HOST);
    let (client, server) = (outcome.client.expect("it works"), outcome.server.expect("it works"));
    assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(server.alpn_protocol(), Some(&b"postgresql"[..]));
    assert_eq!(client.alpn_protocol(), Some(&b"postgresql"[..]));
    let suite = server.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_256_GCM_SHA384);
}

#[test]
fn clients_without_alpn_are_served_and_others_refused() {
    let server = acceptor(&serving("v1.crt", "rsa.key")).expect("good settings");
    let mut client = (*connector(&trusting()).expect("good settings")).clone();
    client.alpn_protocols.clear();
    assert!(shake(client.clone().into(), server.clone(), HOST).server.is_ok());
    client.alpn_protocols = vec![b"h2".to_vec()];
    let error = shake(client.into(), server, HOST).server.expect_err("it is no PostgreSQL");
    assert_eq!(error, Error::NoApplicationProtocol);
}

#[test]
fn versions_that_do_not_meet() {
    let client = Settings { protocols: "tlsv1.2".into(), ..trusting() };
    let server = Settings { protocols: "tlsv1.3".into(), ..serving("v1.crt", "rsa.key") };
    let outcome = handshake(&client, &server, HOST);
    let text = error_text(&outcome.client.expect_err("no version in common"));
    assert!(text.contains("protocol_version"), "{text}");
    assert!(outcome.server.is_err());
}

#[test]
fn our_order_of_ciphers_decides() {
    let server = Settings {
        ciphers: "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-GCM-SHA384".into(),
        tls13_ciphers: Some("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384".into()),
        ..serving("v1.crt", "rsa.key")
    };
    for (protocols, expected) in [
        ("tlsv1.2", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
        ("tlsv1.3", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ] {
        let client = Settings { protocols: protocols.into(), ..trusting() };
        let outcome = handshake(&client, &server, HOST);
        let suite = outcome.server.expect("it works").negotiated_cipher_suite().expect("a suite").suite();
        assert_eq!(suite, expected, "{protocols}");
    }
}

#[test]
fn the_curve_is_the_configured_one() {
    let server = Settings { ecdhcurve: "secp384r1".into(), ..serving("v1.crt", "rsa.key") };
    for protocols in ["tlsv1.2", "tlsv1.3"] {
        let client = Settings { protocols: protocols.into(), ..trusting() };
        let outcome = handshake(&client, &server, HOST);
        let group =
            outcome.server.expect("it works").negotiated_key_exchange_group().expect("a group").name();
        assert_eq!(group, NamedGroup::secp384r1, "{protocols}");
    }
}

#[test]
fn every_kind_of_key_and_certificate_serves_in_both_versions() {
    for (cert, key) in [
        ("self.crt", "rsa.key"),
        ("v1.crt", "rsa-pkcs1.key"),
        ("p256.crt", "p256-sec1.key"),
        ("p256.crt", "p256.key"),
        ("p384.crt", "p384.key"),
        ("p521.crt", "p521.key"),
        ("ed25519.crt", "ed25519.key"),
    ] {
        for (protocols, version) in
            [("tlsv1.2", ProtocolVersion::TLSv1_2), ("tlsv1.3", ProtocolVersion::TLSv1_3)]
        {
            let client = Settings { protocols: protocols.into(), ..trusting() };
            let outcome = handshake(&client, &serving(cert, key), HOST);
            let server = outcome.server.unwrap_or_else(|error| panic!("{cert}, {key}, {protocols}: {error}"));
            assert_eq!(server.protocol_version(), Some(version), "{cert}, {key}");
        }
    }
}

#[test]
fn the_whole_chain_is_sent() {
    let outcome = handshake(&trusting(), &serving("by-inter-chain.crt", "rsa.key"), HOST);
    let sent = outcome.client.expect("it works").peer_certificates().map(<[_]>::len);
    assert_eq!(sent, Some(2));
}

#[test]
fn clients_are_asked_for_a_certificate_only_to_verify_it() {
    let client = serving("client.crt", key_of("client.crt"));
    for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require] {
        let server = Settings { mode, ..serving("v1.crt", "rsa.key") };
        let unasked = handshake(&client, &server, HOST).server.expect("it works");
        assert_eq!(unasked.peer_certificates(), None, "{mode}");
        // With a CA file it may show one, for lines of the HBA file that ask for it; then it has to be a good one.
        let server = Settings { ca: file("root.crt"), ..server };
        let shown = handshake(&client, &server, HOST).server.expect("it works");
        assert!(shown.peer_certificates().is_some(), "{mode}");
        assert!(handshake(&trusting(), &server, HOST).server.is_ok(), "{mode}");
        let server = Settings { ca: file("root2.crt"), ..server };
        assert!(handshake(&client, &server, HOST).server.is_err(), "{mode}");
    }
    let server = Settings { mode: SslMode::VerifyFull, ca: file("root.crt"), ..serving("v1.crt", "rsa.key") };
    let accepted = handshake(&client, &server, HOST).server.expect("it works");
    let shown = accepted.peer_certificates().and_then(<[_]>::first).expect("it has been asked for");
    assert_eq!(common_name(shown).as_deref(), Some("app"));
    assert_eq!(subject(shown).as_deref(), Some("CN=app,O=Plimsoll tests"));
    let error = handshake(&trusting(), &server, HOST).server.expect_err("it has none");
    assert_eq!(error_text(&error), "certificate verify failed: the other side has shown no certificate");
}

#[test]
fn nothing_is_kept_for_resumption() {
    let client = connector(&trusting()).expect("good settings");
    let server = acceptor(&serving("v1.crt", "rsa.key")).expect("good settings");
    assert_eq!(server.send_tls13_tickets, 0);
    for _ in 0..2 {
        let outcome = shake(client.clone(), server.clone(), HOST);
        let kind = outcome.server.expect("it works").handshake_kind();
        assert_eq!(kind, Some(plimsoll_tls::rustls::HandshakeKind::Full));
    }
}

#[test]
fn what_is_no_tls_is_told_so() {
    use plimsoll_tls::rustls::ServerConnection;
    let config = acceptor(&serving("v1.crt", "rsa.key")).expect("good settings");
    let mut server = ServerConnection::new(config).expect("a server");
    server.read_tls(&mut &b"\x00\x00\x00\x08\x04\xd2\x16\x2f"[..]).expect("memory");
    let text = error_text(&server.process_new_packets().expect_err("an SSLRequest is no ClientHello"));
    assert!(text.contains("not TLS"), "{text}");
}
