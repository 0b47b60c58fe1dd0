//! What the verifiers accept and refuse, each verdict beside the one of `openssl verify`, which must be installed.
#![allow(missing_docs)]

mod common;

use std::process::Command;

use common::{HOST, file, handshake, key_of, path, serving, trusting, verifying};
use plimsoll_tls::rustls::Error;
use plimsoll_tls::{Settings, SslMode, error_text};

/// What we say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// With these words in the log's line.
    Refused(&'static str),
}
use Verdict::{Accepted, Refused};

/// What OpenSSL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Openssl {
    Agrees,
    /// And why that is meant.
    Differs(&'static str),
}
use Openssl::{Agrees, Differs};

const ISSUER: &str = "not in the CA file and was not sent";
const LIMITS: &str = "constraints on names are refused, not understood";

/// The server's certificate (or chain), the CA file, the verdict.
const SERVERS: [(&str, &str, Verdict, Openssl); 37] = [
    ("self.crt", "self.crt", Accepted, Agrees),
    ("self.crt", "root.crt", Refused("signed itself and is not in the CA file"), Agrees),
    ("self.crt", "self-again.crt", Refused("signed itself"), Agrees),
    ("v1.crt", "root.crt", Accepted, Agrees),
    ("v1.crt", "both-roots.crt", Accepted, Agrees),
    ("v1.crt", "root2.crt", Refused(ISSUER), Agrees),
    ("v1.crt", "v1.crt", Refused("but its issuer CN=Test root,O=Plimsoll tests is not"), Agrees),
    ("by-rootv1.crt", "rootv1.crt", Accepted, Agrees),
    ("p256.crt", "root.crt", Accepted, Agrees),
    ("p384.crt", "root2.crt", Accepted, Agrees),
    ("p521.crt", "root.crt", Accepted, Agrees),
    ("ed25519.crt", "root.crt", Accepted, Agrees),
    ("pss.crt", "root.crt", Accepted, Agrees),
    ("sha1.crt", "root.crt", Refused("signed with SHA-1"), Agrees),
    ("by-inter-chain.crt", "root.crt", Accepted, Agrees),
    ("by-inter.crt", "root.crt", Refused(ISSUER), Agrees),
    ("by-inter-chain.crt", "root2.crt", Refused(ISSUER), Agrees),
    ("by-inter.crt", "inter.crt", Refused("up to the one that signed itself"), Agrees),
    (
        "by-inter2-chain.crt",
        "root.crt",
        Refused("allows 0 authorities below itself, and there are 1"),
        Agrees,
    ),
    (
        "by-interv1-chain.crt",
        "root.crt",
        Refused("CN=Old intermediate is not a certificate authority"),
        Agrees,
    ),
    ("by-noca-chain.crt", "root.crt", Refused("say CA:FALSE"), Agrees),
    ("by-nosign-chain.crt", "root.crt", Refused("keyCertSign"), Agrees),
    ("by-clientca-chain.crt", "root.crt", Refused("CN=For clients may not be used for a server"), Agrees),
    ("by-constrained-chain.crt", "root.crt", Refused("2.5.29.30"), Differs(LIMITS)),
    ("critical.crt", "root.crt", Refused("must be understood and is not: 1.2.3.4"), Agrees),
    ("policies.crt", "root.crt", Accepted, Agrees),
    ("usage-sign.crt", "root.crt", Refused("its key usage does not allow it"), Agrees),
    ("usage-both.crt", "root.crt", Accepted, Agrees),
    ("only-server.crt", "root.crt", Accepted, Agrees),
    ("only-client.crt", "root.crt", Refused("lacks serverAuth"), Agrees),
    ("only-any.crt", "root.crt", Refused("lacks serverAuth"), Agrees),
    ("expired.crt", "root.crt", Refused("expired at 2021-01-01T00:00:00Z"), Agrees),
    ("future.crt", "root.crt", Refused("not valid before 2100-01-01T00:00:00Z"), Agrees),
    ("san.crt", "root.crt", Accepted, Agrees),
    ("ip.crt", "root.crt", Accepted, Agrees),
    ("cn-ip.crt", "root.crt", Accepted, Agrees),
    ("cn-wild.crt", "root.crt", Accepted, Agrees),
];

const CLIENTS: [(&str, &str, Verdict, Openssl); 9] = [
    ("client.crt", "root.crt", Accepted, Agrees),
    ("client-eku.crt", "root.crt", Accepted, Agrees),
    ("client-by-inter-chain.crt", "root.crt", Accepted, Agrees),
    ("usage-both.crt", "root.crt", Accepted, Agrees),
    ("self.crt", "self.crt", Accepted, Agrees),
    ("client.crt", "root2.crt", Refused(ISSUER), Agrees),
    ("only-server.crt", "root.crt", Refused("lacks clientAuth"), Agrees),
    ("usage-sign.crt", "root.crt", Refused("its key usage does not allow it"), Agrees),
    ("expired.crt", "root.crt", Refused("expired at 2021-01-01T00:00:00Z"), Agrees),
];

/// Protocols that a verdict must not depend on.
const PROTOCOLS: [&str; 2] = ["tlsv1.2", "tlsv1.3"];

fn compare(verdict: Verdict, error: Option<&Error>, what: &str) {
    match (verdict, error) {
        (Accepted, None) => {}
        (Refused(words), Some(error)) => {
            let text = error_text(error);
            assert!(text.contains(words) && text.contains("certificate verify failed"), "{what}: {text}");
        }
        (Accepted, Some(error)) => panic!("{what} is refused: {}", error_text(error)),
        (Refused(words), None) => panic!("{what} is accepted, not refused: {words}"),
    }
}

/// The verdict of `openssl verify` at the security level of Debian.
fn openssl_accepts(purpose: &str, chain: &str, ca: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args(["verify", "-no-CApath", "-no-CAstore", "-auth_level", "2", "-purpose", purpose, "-CAfile"]);
    // Of the file, the first certificate is verified and the others are what was sent with it.
    command.arg(path(ca)).arg("-untrusted").arg(path(chain)).arg(path(chain));
    let output = command.output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || text.contains("verification failed"), "{chain}: {text}");
    output.status.success()
}

fn compare_with_openssl(verdict: Verdict, openssl: Openssl, purpose: &str, chain: &str, ca: &str) {
    let accepts = openssl_accepts(purpose, chain, ca);
    let same = accepts == (verdict == Accepted);
    match openssl {
        Agrees => assert!(same, "{chain} with {ca}: openssl accepts: {accepts}"),
        Differs(why) => assert!(!same, "{chain} with {ca}: OpenSSL no longer differs ({why})"),
    }
}

#[test]
fn servers() {
    for (chain, ca, verdict, _) in SERVERS {
        for protocols in PROTOCOLS {
            let server = Settings { protocols: protocols.to_owned(), ..serving(chain, key_of(chain)) };
            let outcome = handshake(&verifying(SslMode::VerifyCa, ca), &server, "another.name");
            compare(verdict, outcome.client.as_ref().err(), &format!("{chain} with {ca}, {protocols}"));
        }
    }
}

#[test]
fn servers_that_nobody_verifies() {
    for (chain, _, _, _) in SERVERS {
        for protocols in PROTOCOLS {
            let server = Settings { protocols: protocols.to_owned(), ..serving(chain, key_of(chain)) };
            let outcome = handshake(&trusting(), &server, HOST);
            compare(Accepted, outcome.client.as_ref().err(), &format!("{chain}, {protocols}"));
        }
    }
}

#[test]
fn clients() {
    for (chain, ca, verdict, _) in CLIENTS {
        for (protocols, mode) in PROTOCOLS.into_iter().zip([SslMode::VerifyCa, SslMode::VerifyFull]) {
            let server = Settings {
                mode,
                ca: file(ca),
                protocols: protocols.to_owned(),
                ..serving("v1.crt", "rsa.key")
            };
            let client = serving(chain, key_of(chain));
            let outcome = handshake(&client, &server, HOST);
            compare(verdict, outcome.server.as_ref().err(), &format!("{chain} with {ca}, {protocols}"));
        }
    }
}

#[test]
fn openssl_thinks_so_too() {
    for (chain, ca, verdict, openssl) in SERVERS {
        compare_with_openssl(verdict, openssl, "sslserver", chain, ca);
    }
    for (chain, ca, verdict, openssl) in CLIENTS {
        compare_with_openssl(verdict, openssl, "sslclient", chain, ca);
    }
}

/// The host, the certificate, whether it bears the name: libpq's rules.
const NAMES: [(&str, &str, Verdict); 18] = [
    ("db.example.com", "v1.crt", Accepted),
    ("DB.Example.Com", "v1.crt", Accepted),
    ("db2.example.com", "v1.crt", Refused("not for db2.example.com: it is for db.example.com")),
    ("db.example.com", "self.crt", Accepted),
    ("db.example.com", "san.crt", Accepted),
    ("a.wild.example.com", "san.crt", Accepted),
    ("a.b.wild.example.com", "san.crt", Refused("*.wild.example.com")),
    ("wild.example.com", "san.crt", Refused("it is for")),
    ("cn.example.com", "san.crt", Refused("it is for db.example.com, *.wild.example.com")),
    ("127.0.0.1", "ip.crt", Accepted),
    ("::1", "ip.crt", Accepted),
    ("0:0:0:0:0:0:0:1", "ip.crt", Accepted),
    ("127.0.0.2", "ip.crt", Refused("it is for 127.0.0.1, ::1")),
    ("127.0.0.9", "ip.crt", Refused("it is for 127.0.0.1, ::1")),
    ("127.0.0.1", "cn-ip.crt", Accepted),
    ("b.wild.example.com", "cn-wild.crt", Accepted),
    ("b.c.wild.example.com", "cn-wild.crt", Refused("it is for *.wild.example.com")),
    ("127.0.0.1", "san.crt", Refused("cn.example.com")),
];

#[test]
fn names() {
    for (host, chain, verdict) in NAMES {
        let ca = if chain == "self.crt" { "self.crt" } else { "root.crt" };
        let server = serving(chain, key_of(chain));
        let outcome = handshake(&verifying(SslMode::VerifyFull, ca), &server, host);
        compare(verdict, outcome.client.as_ref().err(), &format!("{chain} for {host}"));
        let outcome = handshake(&verifying(SslMode::VerifyCa, ca), &server, host);
        compare(Accepted, outcome.client.as_ref().err(), &format!("{chain} for {host}, only the CA"));
    }
}

/// A certificate authority's mistakes are found before the name is looked at.
#[test]
fn a_right_name_does_not_help_a_wrong_chain() {
    let outcome =
        handshake(&verifying(SslMode::VerifyFull, "root2.crt"), &serving("v1.crt", "rsa.key"), HOST);
    compare(Refused(ISSUER), outcome.client.as_ref().err(), "another CA");
    let alert = error_text(outcome.server.as_ref().expect_err("the other side has gone"));
    assert!(alert.contains("alert certificate_unknown"), "{alert}");
}
