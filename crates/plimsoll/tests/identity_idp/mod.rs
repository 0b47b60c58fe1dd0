//! An issuer of tokens, as somebody else would run it: its keys over TLS, or whatever goes wrong with that.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use plimsoll_tls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use plimsoll_tls::{PemFile, Settings, SslMode, acceptor};
use serde_json::{Value, json};

use crate::common::certificates::Maker;

/// What it answers who is asked for its keys.
#[derive(Clone)]
pub(crate) enum Says {
    /// These.
    Keys(Vec<Value>),
    /// That it cannot.
    Error,
    /// More than anybody reads.
    TooMuch,
    /// Something else.
    Lies,
    /// Nothing: it hangs up.
    HangsUp,
    /// Nothing: it keeps silent.
    KeepsSilent,
}

/// A key of its own.
pub(crate) struct Signer {
    pair: EcdsaKeyPair,
    kid: String,
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Signer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Signer { pair, kid: kid.to_owned() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "x": x, "y": y})
    }

    /// A token with this header.
    pub(crate) fn raw(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| BASE64URL.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", BASE64URL.encode(signature.as_ref()))
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.raw(&json!({"alg": "ES256", "kid": self.kid, "typ": "JWT"}), claims)
    }
}

pub(crate) struct Idp {
    pub(crate) signer: Signer,
    pub(crate) maker: Maker,
    port: u16,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

impl Idp {
    pub(crate) fn new() -> Idp {
        let maker = Maker::new();
        maker.root("ca");
        maker.leaf("ca", "idp", "localhost");
        let file = |name: &str| {
            Some(PemFile { name: name.to_owned(), pem: std::fs::read(maker.path(name)).unwrap() })
        };
        let settings = Settings {
            mode: SslMode::Require,
            cert: file("idp.crt"),
            key: file("idp.key"),
            ..Settings::default()
        };
        let mut config = Arc::unwrap_or_clone(acceptor(&settings).unwrap());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let signer = Signer::new("k1");
        let says = Arc::new(Mutex::new(Says::Keys(vec![signer.jwk()])));
        let asked = Arc::new(AtomicUsize::new(0));
        let (says_now, count) = (says.clone(), asked.clone());
        // Ends with the process.
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let (says, config) = (says_now.lock().unwrap().clone(), config.clone());
                std::thread::spawn(move || answer(socket, config, &says));
            }
        });
        Idp { signer, maker, port, says, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/realms/shop", self.port)
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// How often somebody came for its keys.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Its line in `[issuers]`; keys that come from another path are fetched anew.
    pub(crate) fn line(&self, path: &str, more: &str) -> String {
        let (url, ca) = (self.url(), self.maker.text("ca.crt"));
        format!("[issuers]\ncorp = url={url} audience=door jwks={url}/{path} ca_file={ca} {more}\n")
    }

    /// What its tokens say, with some of it changed, or taken out with `null`.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let exp = now_s() + 600;
        let mut claims = json!({"iss": self.url(), "sub": "service-1", "aud": "door", "azp": "shop", "exp": exp, "jti": "t1"});
        for (name, change) in changes.as_object().unwrap() {
            let claims = claims.as_object_mut().unwrap();
            match change {
                Value::Null => drop(claims.remove(name)),
                change => drop(claims.insert(name.clone(), change.clone())),
            }
        }
        claims
    }

    pub(crate) fn token(&self, changes: &Value) -> String {
        self.signer.token(&self.claims(changes))
    }
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn answer(socket: TcpStream, config: Arc<ServerConfig>, says: &Says) {
    if matches!(says, Says::HangsUp) {
        return;
    }
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|bytes| bytes > 0) {}
    let (status, body) = match says {
        Says::Keys(keys) => ("200 OK", json!({"keys": keys}).to_string()),
        Says::Error => ("503 Service Unavailable", String::new()),
        Says::TooMuch => ("200 OK", "x".repeat(70_000)),
        Says::Lies => ("200 OK", "<html>sign in</html>".to_owned()),
        // Until the other side gives up.
        Says::HangsUp | Says::KeepsSilent => return drop(stream.read(&mut [0])),
    };
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let stream = stream.get_mut();
    // Whoever has read enough is gone.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).and_then(|()| stream.flush());
}
