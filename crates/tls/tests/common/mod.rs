//! Fixtures, and handshakes in memory.

// Each test file uses a part of it.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use plimsoll_tls::rustls::pki_types::ServerName;
use plimsoll_tls::rustls::{self, ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use plimsoll_tls::{PemFile, Settings, SslMode, acceptor, connector};

pub const HOST: &str = "db.example.com";

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn file(name: &str) -> Option<PemFile> {
    let pem = std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Some(PemFile { name: name.to_owned(), pem })
}

/// One that serves with this certificate and key and does not verify anybody.
pub fn serving(cert: &str, key: &str) -> Settings {
    Settings { mode: SslMode::Require, cert: file(cert), key: file(key), ..Settings::default() }
}

/// One that verifies the other side.
pub fn verifying(mode: SslMode, ca: &str) -> Settings {
    Settings { mode, ca: file(ca), ..Settings::default() }
}

/// One that does not care.
pub fn trusting() -> Settings {
    Settings { mode: SslMode::Require, ..Settings::default() }
}

/// Which key belongs to a certificate of the fixtures.
pub fn key_of(cert: &str) -> &'static str {
    match cert {
        "p256.crt" | "client-eku.crt" | "client-by-inter-chain.crt" => "p256.key",
        "p384.crt" => "p384.key",
        "p521.crt" => "p521.key",
        "ed25519.crt" => "ed25519.key",
        _ => "rsa.key",
    }
}

/// How a handshake went on both sides.
#[derive(Debug)]
pub struct Outcome {
    pub client: Result<ClientConnection, rustls::Error>,
    pub server: Result<ServerConnection, rustls::Error>,
}

/// A handshake between configurations made from settings, and an echo through it if it succeeds.
pub fn handshake(client: &Settings, server: &Settings, host: &str) -> Outcome {
    shake(
        connector(client).expect("the client's settings"),
        acceptor(server).expect("the server's settings"),
        host,
    )
}

pub fn shake(client: Arc<ClientConfig>, server: Arc<ServerConfig>, host: &str) -> Outcome {
    let name = ServerName::try_from(host.to_owned()).expect("a host's name");
    let mut client = ClientConnection::new(client, name).expect("a client");
    let mut server = ServerConnection::new(server).expect("a server");
    let (mut client_failed, mut server_failed) = (None, None);
    // Each round carries at least one flight; a handshake has two or three.
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        feed(&wire, |bytes| server.read_tls(bytes));
        server_failed = server_failed.or(server.process_new_packets().err());
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        feed(&wire, |bytes| client.read_tls(bytes));
        client_failed = client_failed.or(client.process_new_packets().err());
    }
    if client_failed.is_none() && server_failed.is_none() {
        echo(&mut client, &mut server);
    }
    Outcome { client: client_failed.map_or(Ok(client), Err), server: server_failed.map_or(Ok(server), Err) }
}

fn feed(mut wire: &[u8], mut read: impl FnMut(&mut dyn Read) -> std::io::Result<usize>) {
    while !wire.is_empty() {
        // A connection that has failed reads no more.
        if read(&mut wire).is_err() {
            return;
        }
    }
}

fn echo(client: &mut ClientConnection, server: &mut ServerConnection) {
    client.writer().write_all(b"SELECT 1").expect("memory");
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("memory");
    server.read_tls(&mut wire.as_slice()).expect("memory");
    server.process_new_packets().expect("a record");
    let mut text = [0; 8];
    server.reader().read_exact(&mut text).expect("the text");
    assert_eq!(&text, b"SELECT 1");
}
