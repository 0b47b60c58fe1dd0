//! What a dialogue is given from outside: randomness, and what is the same for the whole process.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plimsoll_types::Secret;

use crate::scram::{self, ITERATIONS_MAX, SALT_BYTES};
use crate::stored::Verifier;

/// Random bytes for one dialogue, drawn by the caller.
#[derive(Clone, Copy)]
pub struct Random {
    /// For the nonce, the MD5 salt, an ad-hoc SCRAM salt.
    pub bytes: [u8; 40],
}

/// Raw bytes of a nonce, as many as PostgreSQL draws (its SCRAM_RAW_NONCE_LEN).
const NONCE_BYTES: usize = 18;

impl Random {
    /// A nonce of printable characters without a comma.
    pub(crate) fn nonce(&self) -> String {
        STANDARD.encode(&self.bytes[..NONCE_BYTES])
    }

    /// The salt of an ad-hoc verifier; shares no byte with the nonce, which everybody on the wire sees.
    pub(crate) fn scram_salt(&self) -> Box<[u8]> {
        self.bytes[NONCE_BYTES..NONCE_BYTES + SALT_BYTES].into()
    }

    /// The salt of an MD5 challenge.
    pub(crate) fn md5_salt(&self) -> [u8; 4] {
        let [.., a, b, c, d] = self.bytes;
        [a, b, c, d]
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random(***)")
    }
}

/// What is the same for all dialogues of a process.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Drawn once per process: salts of users that do not exist are derived from it, so that they stay the same.
    pub mock_secret: Secret,
    /// `scram_iterations`: for verifiers made from plain passwords, and for users that do not exist.
    pub scram_iterations: u32,
}

impl Policy {
    /// `scram_iterations`, whatever was written, within what can be computed.
    pub(crate) fn iterations(&self) -> u32 {
        self.scram_iterations.clamp(1, ITERATIONS_MAX)
    }

    /// A verifier nobody has the password of: always the same for one name, so that asking twice shows nothing. Made
    /// in every exchange, so it is made of one HMAC: of its keys nobody ever sees anything, and no proof fits them.
    pub(crate) fn mock_verifier(&self, user: &str) -> Verifier {
        let salt = scram::hmac(self.mock_secret.expose(), &[b"salt:", user.as_bytes()]);
        Verifier {
            iterations: self.iterations(),
            salt: salt[..SALT_BYTES].into(),
            stored_key: Secret::new(salt),
            server_key: Secret::new(salt),
        }
    }
}
