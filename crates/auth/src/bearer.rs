//! The dialogues in which a client hands over something that stands for itself: the key of an application or a signed
//! token. Whether it is good is for somebody else to say; here is only how it comes.
//!
//! As a password it comes from any driver. SASL OAUTHBEARER is RFC 7628 as PostgreSQL 18 speaks it (PostgreSQL manual,
//! "SASL Authentication", OAUTHBEARER): a client without a token is told where to get one and has to connect again.

use plimsoll_types::{Cause, Secret};

use crate::CLIENT_MESSAGE_BYTES_MAX;
use crate::client_login::{password_text, sasl_initial_response};

#[cfg(test)]
mod tests;

/// The name of the mechanism.
const MECHANISM: &[u8] = b"OAUTHBEARER";

/// Between key-value pairs (RFC 7628, 3.1).
const SEPARATOR: u8 = 0x01;

const LOG_MALFORMED: &str = "malformed OAUTHBEARER message";
const LOG_BINDING: &str =
    "malformed OAUTHBEARER message (the client wants channel binding, which it does not have)";
const LOG_AUTHZID: &str = "OAUTHBEARER with an authorization identity, which PostgreSQL does not support";

/// What the client has to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bearer {
    /// The key of an application, as its password.
    Key,
    /// A signed token, as its password.
    Jwt,
    /// A signed token, over SASL OAUTHBEARER.
    OAuth,
}

impl Bearer {
    /// As `auth_type` and HBA files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Bearer::Key => "key",
            Bearer::Jwt => "jwt",
            Bearer::OAuth => "oauth",
        }
    }
}

/// Message to send to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BearerAsk {
    /// AuthenticationCleartextPassword.
    Cleartext,
    /// AuthenticationSASL offering OAUTHBEARER.
    Sasl,
    /// AuthenticationSASLContinue.
    SaslContinue(Vec<u8>),
}

/// What the dialogue wants next.
#[derive(Debug)]
pub enum BearerReply {
    /// Send this and wait for the client's next `p` message.
    Ask(BearerAsk),
    /// The client has handed this over. The caller lets it in, or goes on with [`BearerLogin::handle_refused`].
    Present(Secret),
    /// The client has no token and asks where to get one: go on with [`BearerLogin::handle_refused`].
    Discover,
    /// The client is refused. `log` is what only the log may say.
    Refuse {
        /// What the client is told.
        cause: Cause,
        /// What the log says besides.
        log: Option<&'static str>,
    },
}

/// Where tokens are to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The URL of an issuer's metadata (RFC 8414, or OpenID Connect Discovery 1.0). libpq makes the issuer's name of it,
    /// and goes there only if the user has named that issuer.
    pub url: String,
    /// What to ask it for, words with blanks between them; empty: what is usual there.
    pub scope: String,
}

/// See the module.
#[derive(Debug)]
pub struct BearerLogin {
    state: State,
}

/// Where the dialogue is. Every message takes the state out; what is not put back is `Over`.
#[derive(Debug)]
enum State {
    /// Asked for a password: to `Over`.
    Cleartext,
    /// Offered OAUTHBEARER: to `Data`, `Presented` or `Over`.
    Sasl,
    /// The client chose it without saying more, and was asked for its first message: to `Presented` or `Over`.
    Data,
    /// The token is being looked at: to `Failing` or `Over`.
    Presented,
    /// The client has been told why not, and has to say that it has heard it (RFC 7628, 3.2.3): to `Over`.
    Failing(Box<Cause>),
    /// Nothing leads out of it.
    Over,
}

impl BearerLogin {
    /// Begins. The first message to send is part of the result.
    pub fn start(bearer: Bearer) -> (BearerLogin, BearerAsk) {
        let (state, ask) = match bearer {
            Bearer::Key | Bearer::Jwt => (State::Cleartext, BearerAsk::Cleartext),
            Bearer::OAuth => (State::Sasl, BearerAsk::Sasl),
        };
        (BearerLogin { state }, ask)
    }

    /// The client sent a `p` message; `body` is what comes after its header.
    pub fn handle_message(&mut self, body: &[u8]) -> BearerReply {
        let state = std::mem::replace(&mut self.state, State::Over);
        if body.len() > CLIENT_MESSAGE_BYTES_MAX {
            return refuse(Cause::BadLoginPacket);
        }
        match state {
            State::Cleartext => match password_text(body) {
                Ok(text) => BearerReply::Present(Secret::new(text)),
                Err(cause) => refuse(cause),
            },
            State::Sasl => match sasl_initial_response(body, MECHANISM) {
                Ok(Some(data)) => self.on_data(data),
                Ok(None) => {
                    self.state = State::Data;
                    BearerReply::Ask(BearerAsk::SaslContinue(Vec::new()))
                }
                Err(None) => refuse(Cause::BadSaslMechanism),
                Err(Some(log)) => refuse_sasl(log),
            },
            State::Data => self.on_data(body),
            State::Failing(cause) if body == [SEPARATOR] => refuse(*cause),
            State::Failing(_) => refuse_sasl(LOG_MALFORMED),
            State::Presented | State::Over => refuse(Cause::BadLoginPacket),
        }
    }

    /// What the client handed over is not good, or it had nothing. `discovery`: where tokens are to be had.
    pub fn handle_refused(&mut self, cause: Cause, discovery: Option<&Discovery>) -> BearerReply {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Presented => {
                self.state = State::Failing(Box::new(cause));
                BearerReply::Ask(BearerAsk::SaslContinue(failure(discovery)))
            }
            State::Cleartext | State::Sasl | State::Data | State::Failing(_) | State::Over => refuse(cause),
        }
    }

    fn on_data(&mut self, data: &[u8]) -> BearerReply {
        match token(data) {
            Ok(token) => {
                self.state = State::Presented;
                token.map_or(BearerReply::Discover, |token| BearerReply::Present(Secret::new(token)))
            }
            Err(log) => refuse_sasl(log),
        }
    }
}

fn refuse(cause: Cause) -> BearerReply {
    BearerReply::Refuse { cause, log: None }
}

fn refuse_sasl(log: &'static str) -> BearerReply {
    BearerReply::Refuse { cause: Cause::SaslFailed, log: Some(log) }
}

/// The token in a client's first message; `None`: it has none (RFC 7628, 3.1 and 4.3).
fn token(data: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let rest = match data {
        [b'n' | b'y', b',', rest @ ..] => rest,
        [b'p', ..] => return Err(LOG_BINDING),
        _ => return Err(LOG_MALFORMED),
    };
    let pairs = match rest {
        [b',', SEPARATOR, pairs @ ..] => pairs,
        [b'a', b'=', ..] => return Err(LOG_AUTHZID),
        _ => return Err(LOG_MALFORMED),
    };
    // Each pair has its end, and one more ends them all.
    let [pairs @ .., SEPARATOR] = pairs else { return Err(LOG_MALFORMED) };
    let [pairs @ .., SEPARATOR] = pairs else { return Err(LOG_MALFORMED) };
    let mut found = None;
    for pair in pairs.split(|byte| *byte == SEPARATOR) {
        let equals = pair.iter().position(|byte| *byte == b'=').ok_or(LOG_MALFORMED)?;
        let (key, value) = (&pair[..equals], &pair[equals + 1..]);
        if key.is_empty() || !key.iter().all(u8::is_ascii_alphabetic) {
            return Err(LOG_MALFORMED);
        }
        if key == b"auth" && found.replace(value).is_some() {
            return Err(LOG_MALFORMED);
        }
    }
    match found {
        None => Err(LOG_MALFORMED),
        Some([]) => Ok(None),
        Some(value) => bearer(value).map(Some).ok_or(LOG_MALFORMED),
    }
}

/// `Bearer` and a b64token (RFC 6750, 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    let token = token.trim_ascii_start();
    let body = token.iter().position(|byte| *byte == b'=').map_or(token, |end| &token[..end]);
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    let is_token =
        !body.is_empty() && body.iter().all(is_good) && token[body.len()..].iter().all(|byte| *byte == b'=');
    (scheme.eq_ignore_ascii_case(b"bearer ") && is_token).then_some(token)
}

/// The error of RFC 7628, 3.2.2.
fn failure(discovery: Option<&Discovery>) -> Vec<u8> {
    let mut json = String::from(r#"{"status":"invalid_token","scope":"#);
    push_quoted(&mut json, discovery.map_or("", |discovery| &discovery.scope));
    if let Some(discovery) = discovery {
        json.push_str(r#","openid-configuration":"#);
        push_quoted(&mut json, &discovery.url);
    }
    json.push('}');
    json.into_bytes()
}

/// A text of JSON; what would have to be written as a number is left out.
fn push_quoted(json: &mut String, text: &str) {
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => json.extend(['\\', letter]),
            letter if letter.is_control() => {}
            letter => json.push(letter),
        }
    }
    json.push('"');
}
