//! MD5 and SCRAM-SHA-256 as a client computes them (PostgreSQL manual, "Message Flow"; RFC 5802, RFC 7677).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::{Failure, Outcome};

/// The secret PostgreSQL stores for `password_encryption = md5`: `md5` and 32 hex digits.
pub fn md5_secret(user: &str, password: &str) -> String {
    format!("md5{}", md5_hex(&[password.as_bytes(), user.as_bytes()]))
}

/// The secret PostgreSQL stores for `password_encryption = scram-sha-256`.
pub fn scram_secret(password: &str, salt: &[u8], iterations: u32) -> String {
    let salted = salted(password, salt, iterations);
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    let [salt, stored, server] = [salt, &stored[..], &server[..]].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{server}")
}

/// The answer to AuthenticationMD5Password.
pub(crate) fn md5_answer(user: &str, password: &str, salt: &[u8]) -> String {
    let inner = md5_hex(&[password.as_bytes(), user.as_bytes()]);
    format!("md5{}", md5_hex(&[inner.as_bytes(), salt]))
}

/// A client's side of one SCRAM exchange.
pub(crate) struct Scram {
    password: String,
    first_bare: String,
    signature: Vec<u8>,
}

impl Scram {
    pub(crate) fn new(password: &str, nonce: &str) -> Scram {
        let first_bare = format!("n=,r={nonce}");
        Scram { password: String::from(password), first_bare, signature: Vec::new() }
    }

    pub(crate) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    pub(crate) fn answer(&mut self, challenge: &[u8]) -> Outcome<String> {
        let challenge = text(challenge)?;
        let (mut nonce, mut salt, mut iterations) = ("", Vec::new(), 0);
        for part in challenge.split(',') {
            match part.split_once('=') {
                Some(("r", value)) => nonce = value,
                Some(("s", value)) => salt = decode(value)?,
                Some(("i", value)) => iterations = value.parse().unwrap_or(0),
                _ => return Err(strange(challenge)),
            }
        }
        if iterations == 0 || !nonce.starts_with(&self.first_bare["n=,r=".len()..]) {
            return Err(strange(challenge));
        }
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{without_proof}", self.first_bare);
        let salted = salted(&self.password, &salt, iterations);
        let client_key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, mask)| key ^ mask).collect();
        self.signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    pub(crate) fn check(&self, outcome: &[u8]) -> Outcome<()> {
        let outcome = text(outcome)?;
        let signature = outcome.strip_prefix("v=").ok_or_else(|| strange(outcome))?;
        if decode(signature)? == self.signature { Ok(()) } else { Err(strange(outcome)) }
    }
}

fn salted(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
    salted
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn md5_hex(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(bytes).map_err(|_| Failure::Strange(String::from("a SCRAM message that is not text")))
}

fn decode(text: &str) -> Outcome<Vec<u8>> {
    STANDARD.decode(text).map_err(|_| strange(text))
}

fn strange(seen: &str) -> Failure {
    Failure::Strange(format!("SCRAM: {seen:?}"))
}
