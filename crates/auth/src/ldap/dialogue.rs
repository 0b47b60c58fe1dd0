//! The dialogue with a server that says whether a password is good.

use std::sync::Arc;

use ldap_parser::FromBer;
use ldap_parser::ldap::{LdapMessage, LdapResult, ProtocolOp, ResultCode};
use plimsoll_types::Secret;

use super::{LdapMode, LdapOptions, LdapTransport, name, request};

/// Longest message of a server that is looked at, header included, bytes. An answer to a bind has some dozens, an entry
/// without attributes a few hundred.
pub const LDAP_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Most messages of one dialogue: a server can say any number of things that have to be passed over.
const MESSAGES_MAX: u32 = 64;

/// Characters of a server's text that a message repeats.
const SHOWN_CHARS_MAX: usize = 128;

/// What comes next.
#[derive(Debug)]
pub enum LdapStep {
    /// Send this, then wait for a message.
    Send(Secret),
    /// Wait for a message.
    Wait,
    /// Begin TLS, then go on with [`LdapCheck::handle_tls`].
    StartTls,
    /// The password is good.
    Accept,
    /// It is not, or there is no such user: why, for the log.
    Refuse(String),
}

/// Why a server cannot tell. For the log; never has a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LdapProblem(pub String);

/// See the module.
#[derive(Debug)]
pub struct LdapCheck {
    options: Arc<LdapOptions>,
    user: Box<str>,
    password: Secret,
    state: State,
    /// Of the last request; answers bear it.
    id: u8,
    messages: u32,
}

/// Where the dialogue is.
#[derive(Debug)]
enum State {
    /// Nothing has been sent: to `Securing`, `Introducing` or `Binding`.
    Fresh,
    /// Asked for TLS: to `Secured`.
    Securing,
    /// TLS is to begin: to `Introducing` or `Binding`.
    Secured,
    /// Bound as whoever searches: to `Searching`.
    Introducing,
    /// Searched; the names that came: to `Binding` or `Over`.
    Searching(Vec<String>),
    /// Bound as the user, by this name: to `Over`.
    Binding(String),
    /// Nothing leads out of it.
    Over,
}

impl LdapCheck {
    /// For one user and what it gave as its password.
    pub fn new(options: Arc<LdapOptions>, user: &str, password: Secret) -> LdapCheck {
        LdapCheck { options, user: user.into(), password, state: State::Fresh, id: 0, messages: 0 }
    }

    /// A connection is there; with `ldaps`, inside TLS.
    pub fn begin(&mut self) -> LdapStep {
        // A bind without a password succeeds for any name (RFC 4513, 5.1.2).
        if self.password.is_empty() {
            return self.refuse("an empty password is never asked about".to_string());
        }
        match self.options.transport {
            LdapTransport::StartTls => {
                self.state = State::Securing;
                let id = self.next_id();
                LdapStep::Send(request::start_tls(id))
            }
            LdapTransport::Plain | LdapTransport::Ldaps => self.introduce(),
        }
    }

    /// TLS has begun.
    pub fn handle_tls(&mut self) -> LdapStep {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Secured => self.introduce(),
            State::Fresh
            | State::Securing
            | State::Introducing
            | State::Searching(_)
            | State::Binding(_)
            | State::Over => self.refuse("TLS has begun where it was not asked for".to_string()),
        }
    }

    /// The server sent a message, which is whole.
    ///
    /// # Errors
    /// It cannot tell.
    pub fn handle_message(&mut self, bytes: &[u8]) -> Result<LdapStep, LdapProblem> {
        self.messages += 1;
        if self.messages > MESSAGES_MAX {
            return Err(problem("it says more than answers to what it was asked"));
        }
        if bytes.len() > LDAP_MESSAGE_BYTES_MAX {
            return Err(problem("it sent a message that is too long"));
        }
        let malformed = || problem("it sent something that is no LDAP message");
        let (rest, message) = LdapMessage::from_ber(bytes).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        if message.message_id.0 == 0 {
            return self.on_notice(&message.protocol_op);
        }
        if message.message_id.0 != u32::from(self.id) {
            return Err(problem("it answered what it was not asked"));
        }
        match (std::mem::replace(&mut self.state, State::Over), message.protocol_op) {
            (State::Securing, ProtocolOp::ExtendedResponse(answer)) => match answer.result.result_code {
                ResultCode::Success => {
                    self.state = State::Secured;
                    Ok(LdapStep::StartTls)
                }
                _ => Err(said("it does not begin TLS", &answer.result)),
            },
            (State::Introducing, ProtocolOp::BindResponse(answer)) => match answer.result.result_code {
                ResultCode::Success => Ok(self.search()),
                _ => Err(said("the bind as ldapbinddn failed", &answer.result)),
            },
            (State::Searching(mut found), ProtocolOp::SearchResultEntry(entry)) => {
                found.push(entry.object_name.0.into_owned());
                if found.len() > 1 {
                    return Ok(
                        self.refuse("the user is not unique: the search finds several entries".to_string())
                    );
                }
                self.state = State::Searching(found);
                Ok(LdapStep::Wait)
            }
            // Whoever else may know is not asked.
            (State::Searching(found), ProtocolOp::SearchResultReference(_)) => {
                self.state = State::Searching(found);
                Ok(LdapStep::Wait)
            }
            (State::Searching(found), ProtocolOp::SearchResultDone(result)) => self.on_found(found, &result),
            (State::Binding(name), ProtocolOp::BindResponse(answer)) => self.on_bound(&name, &answer.result),
            _ => Err(problem("it answered something that does not belong to what it was asked")),
        }
    }

    /// What to send before the connection is closed.
    pub fn farewell(&mut self) -> Secret {
        let id = self.next_id();
        request::unbind(id)
    }

    /// A message that answers nothing (RFC 4511, 4.4).
    fn on_notice(&self, operation: &ProtocolOp<'_>) -> Result<LdapStep, LdapProblem> {
        match operation {
            ProtocolOp::ExtendedResponse(notice) => match &notice.response_name {
                Some(name) if name.0 != "1.3.6.1.4.1.1466.20036" => Ok(LdapStep::Wait),
                Some(_) | None => Err(said("it ended the connection", &notice.result)),
            },
            _ => Err(problem("it answered what it was not asked")),
        }
    }

    fn introduce(&mut self) -> LdapStep {
        let options = self.options.clone();
        match &options.mode {
            LdapMode::Bind { prefix, suffix } => match name::bind_name(prefix, &self.user, suffix) {
                Ok(name) => self.bind(name),
                Err(name::UnfitName) => {
                    self.refuse("invalid character in user name for LDAP authentication".into())
                }
            },
            LdapMode::Search(search) => {
                self.state = State::Introducing;
                let id = self.next_id();
                LdapStep::Send(request::bind(id, &search.bind_dn, &search.bind_password))
            }
        }
    }

    fn search(&mut self) -> LdapStep {
        let options = self.options.clone();
        let LdapMode::Search(search) = &options.mode else {
            return self.refuse("nothing is to be searched for".to_string());
        };
        self.state = State::Searching(Vec::new());
        let id = self.next_id();
        LdapStep::Send(request::search(id, search, &self.user))
    }

    fn on_found(&mut self, mut found: Vec<String>, result: &LdapResult<'_>) -> Result<LdapStep, LdapProblem> {
        match result.result_code {
            ResultCode::Success => {}
            ResultCode::SizeLimitExceeded => {
                return Ok(
                    self.refuse("the user is not unique: the search finds several entries".to_string())
                );
            }
            _ => return Err(said("the search failed", result)),
        }
        Ok(match found.pop() {
            None => self.refuse("the user does not exist: the search finds no entry".to_string()),
            // Nobody is bound as by an empty name, whatever the password (RFC 4513, 5.1.1).
            Some(name) if name.is_empty() => self.refuse("the entry that was found has no name".to_string()),
            Some(name) => self.bind(name),
        })
    }

    fn bind(&mut self, name: String) -> LdapStep {
        let id = self.next_id();
        let bind = request::bind(id, &name, &self.password);
        self.state = State::Binding(name);
        LdapStep::Send(bind)
    }

    fn on_bound(&mut self, name: &str, result: &LdapResult<'_>) -> Result<LdapStep, LdapProblem> {
        let words = format!("the bind as \"{}\" failed", shown(name));
        match result.result_code {
            ResultCode::Success => Ok(LdapStep::Accept),
            ResultCode::InvalidCredentials
            | ResultCode::NoSuchObject
            | ResultCode::InvalidDNSyntax
            | ResultCode::InappropriateAuthentication
            | ResultCode::InsufficientAccessRights
            | ResultCode::ConstraintViolation
            | ResultCode::UnwillingToPerform => Ok(self.refuse(said(&words, result).0)),
            // It is the server that cannot or does not want to, whoever asks.
            _ => Err(said(&words, result)),
        }
    }

    fn refuse(&mut self, why: String) -> LdapStep {
        self.state = State::Over;
        LdapStep::Refuse(why)
    }

    /// There are five requests at most.
    fn next_id(&mut self) -> u8 {
        self.id = self.id.saturating_add(1);
        self.id
    }
}

fn problem(words: &str) -> LdapProblem {
    LdapProblem(words.to_string())
}

/// What came of a request, in the server's words.
fn said(words: &str, result: &LdapResult<'_>) -> LdapProblem {
    let text = shown(&result.diagnostic_message.0);
    let text = if text.is_empty() { text } else { format!(": {text}") };
    LdapProblem(format!("{words}: result {} ({:?}){text}", result.result_code.0, result.result_code))
}

/// A text as a message may repeat it: short, and without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// How long the message is that begins here, header included, bytes. `None`: more has to be read to know.
///
/// # Errors
/// It is no LDAP message, or longer than any that is wanted.
pub fn ldap_message_bytes(begin: &[u8]) -> Result<Option<usize>, LdapProblem> {
    let no_message = || problem("it sent something that is no LDAP message");
    let length = match begin {
        [] | [0x30] => return Ok(None),
        // Definite lengths only (RFC 4511, 5.1), of up to four bytes.
        [0x30, length @ ..=0x7f, ..] => Some((usize::from(*length), 2)),
        [0x30, count @ 0x81..=0x84, rest @ ..] => {
            let count = usize::from(count & 0x7f);
            let fold = |length: usize, byte: &u8| (length << 8) | usize::from(*byte);
            rest.get(..count).map(|bytes| (bytes.iter().fold(0, fold), 2 + count))
        }
        _ => return Err(no_message()),
    };
    match length {
        Some((length, header)) if length <= LDAP_MESSAGE_BYTES_MAX - header => Ok(Some(length + header)),
        Some(_) => Err(problem("it announced a message that is too long")),
        None => Ok(None),
    }
}
