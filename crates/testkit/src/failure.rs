//! What can go wrong in a dialogue.

use std::fmt;

use crate::Message;

/// An ErrorResponse or NoticeResponse taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// Field S.
    pub severity: String,
    /// Field C.
    pub sqlstate: String,
    /// Field M.
    pub message: String,
    /// Field D.
    pub detail: Option<String>,
    /// Field H.
    pub hint: Option<String>,
    /// All field letters in the order they came.
    pub letters: String,
}

impl ServerError {
    /// Takes the message apart; what is not there stays empty.
    pub fn of(message: &Message) -> ServerError {
        let mut error = ServerError::default();
        for field in message.body.split(|byte| *byte == 0) {
            let Some((letter, text)) = field.split_first() else { break };
            let text = String::from_utf8_lossy(text).into_owned();
            error.letters.push(char::from(*letter));
            match letter {
                b'S' => error.severity = text,
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        error
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.sqlstate, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " (detail: {detail})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

/// Why a dialogue did not get what it waited for.
#[derive(Debug)]
pub enum Failure {
    /// The other side said no.
    Server(Box<ServerError>),
    /// The other side closed; the tags of what it said since the last question.
    Closed(String),
    /// Nothing came in time.
    TimedOut(String),
    /// The socket failed.
    Io(std::io::Error),
    /// Something came that does not belong there.
    Strange(String),
}

/// A result of this crate.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// The other side's error.
    ///
    /// # Panics
    /// It was something else.
    #[track_caller]
    pub fn server(self) -> ServerError {
        match self {
            Failure::Server(error) => *error,
            Failure::Closed(_) | Failure::TimedOut(_) | Failure::Io(_) | Failure::Strange(_) => {
                panic!("expected an ErrorResponse, got: {self}")
            }
        }
    }

    /// Whether the connection is gone, by FIN or by RST.
    pub fn is_gone(&self) -> bool {
        match self {
            Failure::Closed(_) => true,
            Failure::Io(error) => matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset
                    | std::io::ErrorKind::BrokenPipe
                    | std::io::ErrorKind::ConnectionAborted
            ),
            Failure::Server(_) | Failure::TimedOut(_) | Failure::Strange(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Server(error) => write!(f, "the other side says {error}"),
            Failure::Closed(after) => write!(f, "closed by the other side after {after:?}"),
            Failure::TimedOut(what) => write!(f, "nothing came in time: {what}"),
            Failure::Io(error) => write!(f, "socket: {error}"),
            Failure::Strange(what) => write!(f, "unexpected: {what}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                Failure::TimedOut(String::from("socket timeout"))
            }
            std::io::ErrorKind::UnexpectedEof => Failure::Closed(String::new()),
            _ => Failure::Io(error),
        }
    }
}
