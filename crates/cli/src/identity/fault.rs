//! What can go wrong on the way to the identity API and back, in words that tell what to do about it.

use std::io;
use std::path::PathBuf;

use crate::failure::error_text;
use crate::text::harmless;

/// What the API says of a request that it does not carry out (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What kind of problem it is.
    pub(crate) title: String,
    /// What it is this time.
    pub(crate) detail: String,
    /// Fields that are not right, and why not.
    pub(crate) fields: Vec<(String, String)>,
    /// When another try may help, seconds.
    pub(crate) retry_after_s: Option<u64>,
}

impl Problem {
    /// One sentence.
    fn words(&self) -> String {
        let fields: Vec<String> = self
            .fields
            .iter()
            .filter(|(_, why)| !self.detail.contains(why.as_str()))
            .map(|(field, why)| format!("{field}: {why}"))
            .collect();
        let first = match (self.detail.is_empty(), self.title.is_empty()) {
            (false, _) => self.detail.clone(),
            (true, false) => self.title.clone(),
            (true, true) => format!("status {}", self.status),
        };
        let all = if fields.is_empty() { first } else { format!("{first} ({})", fields.join("; ")) };
        harmless(&all).into_owned()
    }

    fn hint(&self) -> Option<String> {
        let hint = match (self.status, self.retry_after_s) {
            (401, _) => {
                "PLIMSOLL_KEY or --key-file must have a key that is active; on the machine of the store, \
                         plimsoll identity init --again makes another administrator key"
                    .to_string()
            }
            (403, _) => {
                "the key needs the scope admin, or org_admin of the organisation this belongs to".to_string()
            }
            (412, _) => "somebody else changed it at the same time: look again, then repeat".to_string(),
            (429 | 503, Some(seconds)) => format!("try again in {seconds} s"),
            (503, None) => "the store does not answer: is its disk full, is its PostgreSQL down?".to_string(),
            _ => return None,
        };
        Some(hint)
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The command line is not right in itself.
    #[error("{0}")]
    Usage(String),
    /// There is no key.
    #[error("there is no key to come with")]
    NoKey,
    /// The file with the key cannot be read.
    #[error("--key-file {}: {error}", path.display())]
    KeyFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that was named cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The URL is none.
    #[error("--api {url}: {why}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// Nobody is there, or nobody answers.
    #[error("cannot reach the identity API at {url}: {}", error_text(error))]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        error: io::Error,
    },
    /// The key would go over the network for everybody to read.
    #[error("{url} is not on this machine and has no TLS: the key stays here")]
    InTheOpen {
        /// Where.
        url: String,
    },
    /// What came is not HTTP.
    #[error("{url} did not answer as an HTTP server: {what}")]
    Broken {
        /// Where.
        url: String,
        /// How.
        what: &'static str,
    },
    /// What answers is another HTTP server, or ours without the API.
    #[error("{url} has no identity API (it answered with status {status})")]
    NoApi {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The API says no.
    #[error("{}", .0.words())]
    Problem(Box<Problem>),
    /// There is nothing of that name.
    #[error("there is no {noun} named {name:?}")]
    Unknown {
        /// What it would be.
        noun: &'static str,
        /// What was asked for.
        name: String,
    },
    /// There are several of that name.
    #[error("there are several {noun} named {name:?}: {}", harmless(&found.join(", ")))]
    Several {
        /// What they are, in the plural.
        noun: &'static str,
        /// What was asked for.
        name: String,
        /// Their ids, and whose they are.
        found: Vec<String>,
    },
    /// Somebody was asked, and it was not yes.
    #[error("nothing was done")]
    Declined,
    /// Nobody can be asked.
    #[error("this needs a yes, and there is no terminal to ask on: {0}")]
    NobodyToAsk(String),
    /// The terminal or standard input does not give what is needed.
    #[error("{0}")]
    Input(String),
    /// Nothing can be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Fault {
    /// Whether the command line is to be blamed, and nothing was tried.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Fault::Usage(_) | Fault::Url { .. } | Fault::NobodyToAsk(_))
    }

    /// What to do about it; nothing where the words say it all.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Fault::NoKey => {
                "export PLIMSOLL_KEY, or name a file with --key-file; the first key is made by plimsoll identity init"
            }
            Fault::Url { .. } => "it looks like http://127.0.0.1:6433 or https://identity.example:6433",
            Fault::Tls(_) => {
                "--ca-file names the certificates of who is trusted [default: those of the system]"
            }
            Fault::Unreachable { error, .. } => match error.kind() {
                io::ErrorKind::InvalidData => "is it http instead of https? --ca-file names who is trusted",
                _ => {
                    "--api URL or PLIMSOLL_API name another; the pooler serves it on http_listen when [plimsoll] has \
                     identity_store = sqlite:PATH (or postgres://…)"
                }
            },
            Fault::InTheOpen { .. } => {
                "use https:// (http_tls_cert_file and http_tls_key_file in [plimsoll]), or run this on the pooler's machine"
            }
            Fault::NoApi { .. } => {
                "is it the pooler's http_listen? The API is there when [plimsoll] has identity_store = sqlite:PATH (or \
                 postgres://…)"
            }
            Fault::Problem(problem) => return problem.hint(),
            Fault::Several { .. } => "give the id instead of the name",
            Fault::NobodyToAsk(_) => "--yes says yes beforehand",
            Fault::Usage(_)
            | Fault::KeyFile { .. }
            | Fault::File { .. }
            | Fault::Broken { .. }
            | Fault::Unknown { .. }
            | Fault::Declined
            | Fault::Input(_)
            | Fault::Output(_) => return None,
        };
        Some(hint.to_string())
    }
}
