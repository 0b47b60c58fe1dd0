//! Where the API is.

use std::fmt;

use crate::identity::fault::Fault;

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiUrl {
    pub(crate) scheme: Scheme,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What stands before every path, without a slash at its end: for an API behind a proxy.
    pub(crate) prefix: String,
}

/// How it is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl ApiUrl {
    /// Reads one.
    ///
    /// # Errors
    /// It is none, or has something in it that an API's URL has not.
    pub(crate) fn parse(text: &str) -> Result<ApiUrl, Fault> {
        let fault = |why| Fault::Url { url: without_user(text), why };
        let (scheme, rest, port) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest, 80),
            Some(("https", rest)) => (Scheme::Https, rest, 443),
            Some(_) | None => return Err(fault("it must begin with http:// or https://")),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['?', '#']) {
            return Err(fault("it has blanks or other characters that are not in such a URL"));
        }
        let (authority, prefix) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (rest, String::new()),
        };
        if authority.contains('@') {
            return Err(fault("a key does not belong in it"));
        }
        let (host, port) = host_and_port(authority, port).map_err(fault)?;
        let prefix = prefix.trim_end_matches('/').to_string();
        Ok(ApiUrl { scheme, host, port, prefix })
    }

    /// Host and port as they are written in a URL.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("a bracket is not closed")?;
            (host, port.strip_prefix(':').or(if port.is_empty() { None } else { Some("?") }))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("it names no host");
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("its port is none")?,
        None => default,
    };
    Ok((host.to_string(), port))
}

/// A key that somebody put there must not be printed.
fn without_user(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, place)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://***@{place}")
        }
        None => text.to_string(),
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}
