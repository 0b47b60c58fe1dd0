//! One answer of a provider.

use std::collections::HashMap;
use std::sync::Arc;

use plimsoll_types::Cause;

use crate::lease::Fetched;
use crate::source::{Login, Source};
use crate::{aws, azure, command, file, google};

/// Longest secret, bytes. PostgreSQL reads passwords of up to 64 KiB; the tokens of clouds have one to four.
pub(crate) const SECRET_BYTES_MAX: usize = 64 * 1024 - 1;

/// Why a provider gave nothing, for people. Never has a secret in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    pub(crate) fn cause(self, provider: &str) -> Cause {
        Cause::NoCredential { provider: provider.into(), why: self.0.into() }
    }
}

/// The environment variables of the process, as far as a provider looks at them (names that begin with `AWS_`).
#[derive(Clone, Debug, Default)]
pub struct Environment(Arc<HashMap<String, Variable>>);

/// Some of them are secrets.
#[derive(Clone)]
struct Variable(String);

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Environment {
    /// Of pairs of name and value.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
        let wanted = variables.into_iter().filter(|(name, _)| name.starts_with("AWS_"));
        Environment(Arc::new(wanted.map(|(name, value)| (name, Variable(value))).collect()))
    }

    /// A variable that is there and not empty.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|Variable(value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Asks a provider. Ends within its time.
pub(crate) async fn fetch(
    source: &Source,
    login: &Login,
    environment: &Environment,
) -> Result<Fetched, Failure> {
    let fetched = match source {
        Source::File { path } => file::fetch(path.clone()).await,
        Source::Command { program, args } => command::fetch(program, args, login).await,
        Source::AwsRdsIam(settings) => aws::fetch(settings, login, environment).await,
        Source::AzureEntra(settings) => azure::fetch(settings).await,
        Source::GoogleMetadata(settings) => google::fetch(settings).await,
    }?;
    check(fetched)
}

/// What nobody could log in with is no answer.
fn check(fetched: Fetched) -> Result<Fetched, Failure> {
    let bytes = fetched.secret.expose();
    if bytes.is_empty() {
        return Err(Failure("the secret is empty".to_string()));
    }
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(Failure(format!("the secret is longer than {SECRET_BYTES_MAX} bytes")));
    }
    // A message of the protocol ends a text with a zero.
    if bytes.contains(&0) {
        return Err(Failure("the secret has a zero byte in it".to_string()));
    }
    if fetched.life.is_some_and(|life| life.is_zero()) {
        return Err(Failure("the secret has ended already: compare the clocks".to_string()));
    }
    Ok(fetched)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plimsoll_types::Secret;

    use super::*;

    #[test]
    fn what_nobody_can_log_in_with_is_no_answer() {
        let why = |bytes: &[u8], life| {
            check(Fetched { secret: Secret::new(bytes), life }).map(|_| ()).map_err(|Failure(why)| why)
        };
        assert_eq!(why(b"x", None), Ok(()));
        assert_eq!(why(b"", None), Err("the secret is empty".to_string()));
        assert_eq!(why(b"a\0b", None), Err("the secret has a zero byte in it".to_string()));
        assert_eq!(
            why(b"x", Some(Duration::ZERO)),
            Err("the secret has ended already: compare the clocks".to_string())
        );
        let long = vec![b'x'; SECRET_BYTES_MAX + 1];
        assert_eq!(why(&long, None), Err("the secret is longer than 65535 bytes".to_string()));
    }

    #[test]
    fn the_environment_shows_nothing_and_keeps_what_it_needs() {
        let pairs = [("AWS_REGION", "eu"), ("HOME", "/root"), ("AWS_PROFILE", "")];
        let environment = Environment::new(pairs.map(|(name, value)| (name.to_string(), value.to_string())));
        assert_eq!(environment.var("AWS_REGION"), Some("eu"));
        assert_eq!(environment.var("HOME"), None);
        assert_eq!(environment.var("AWS_PROFILE"), None);
        assert!(!format!("{environment:?}").contains("eu\""), "{environment:?}");
    }
}
