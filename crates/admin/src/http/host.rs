//! Whom a request is for. A web page in a browser on this machine may have the browser ask any address, also ours, under a
//! name of its own ("DNS rebinding"), and read the answer. What it cannot do is to say another name than its own in `Host`.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Router, http};
use plimsoll_config::HttpHosts;
use plimsoll_proxy::Control;

/// Lets only those requests through to these routes that are for us: for an address, `localhost`, or one of `http_hosts`.
pub(super) fn guard(routes: Router, control: Control) -> Router {
    routes.layer(middleware::from_fn_with_state(control, look))
}

async fn look(State(control): State<Control>, request: Request, next: Next) -> Response {
    let hosts = control.plan().own.http_hosts.clone();
    match check(&hosts, request.version(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// HTTP/1.1 without `Host`, or with one that is none (RFC 9112, section 3.2).
    Malformed,
    /// It is for somebody else (RFC 9110, section 15.5.20).
    Misdirected,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Refusal::Malformed => (StatusCode::BAD_REQUEST, "Host: one, with a name or an address\n"),
            Refusal::Misdirected => {
                (StatusCode::MISDIRECTED_REQUEST, "Host: an address, localhost, or a name of http_hosts\n")
            }
        };
        (status, [(http::header::CACHE_CONTROL, "no-store")], text).into_response()
    }
}

fn check(hosts: &HttpHosts, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    // A target with an authority goes before Host (RFC 9112, section 3.2.2): neither may be somebody else's.
    if let Some(authority) = uri.authority() {
        is_ours(hosts, authority)?;
    }
    let mut all = headers.get_all(HOST).iter();
    match (all.next(), all.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) | (Some(_), Some(_)) => Err(Refusal::Malformed),
        (Some(host), None) => {
            let authority = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::Malformed)?;
            is_ours(hosts, &authority)
        }
    }
}

fn is_ours(hosts: &HttpHosts, authority: &Authority) -> Result<(), Refusal> {
    let host = authority.host();
    // `user@host` is no Host, and of `host:port` the port is whatever a proxy or a tunnel has made of it.
    let port = authority.as_str().strip_prefix(host).ok_or(Refusal::Malformed)?;
    if !port.is_empty()
        && !port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(Refusal::Malformed);
    }
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    };
    match is_address || host.eq_ignore_ascii_case("localhost") || hosts.has(host) {
        true => Ok(()),
        false => Err(Refusal::Misdirected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> HttpHosts {
        HttpHosts::Named(vec!["db1.example.com".to_string()])
    }

    /// What becomes of a request with these Host lines.
    fn asked(hosts: &HttpHosts, version: Version, uri: &str, lines: &[&str]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HOST, line.parse().expect("a value"));
        }
        check(hosts, version, &uri.parse().expect("a target"), &headers)
    }

    fn one(line: &str) -> Result<(), Refusal> {
        asked(&named(), Version::HTTP_11, "/metrics", &[line])
    }

    #[test]
    fn addresses_localhost_and_our_names_are_ours() {
        for line in [
            "127.0.0.1",
            "127.0.0.1:6433",
            "10.1.2.3:80",
            "[::1]:6433",
            "[::1]",
            "localhost",
            "LocalHost:6433",
            "db1.example.com",
            "DB1.example.com.:443",
        ] {
            assert_eq!(one(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn others_are_not() {
        for line in [
            "evil.example.com",
            "evil.example.com:6433",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "0x7f000001",
            "[::1].example.com",
            "here",
        ] {
            let refused = one(line);
            assert!(refused.is_err(), "{line}");
            assert!(refused == Err(Refusal::Misdirected) || line.starts_with('['), "{line}: {refused:?}");
        }
        assert_eq!(asked(&HttpHosts::Any, Version::HTTP_11, "/", &["evil.example.com"]), Ok(()));
    }

    #[test]
    fn one_host_is_said_where_the_version_asks_for_it() {
        let ask = |version, lines: &[&str]| asked(&named(), version, "/metrics", lines);
        assert_eq!(ask(Version::HTTP_11, &[]), Err(Refusal::Malformed));
        assert_eq!(ask(Version::HTTP_10, &[]), Ok(()));
        assert_eq!(ask(Version::HTTP_10, &["evil.example.com"]), Err(Refusal::Misdirected));
        assert_eq!(ask(Version::HTTP_11, &["localhost", "localhost"]), Err(Refusal::Malformed));
        for line in ["", "a b", "http://localhost/", "root@localhost", "localhost:port:80"] {
            assert_eq!(one(line), Err(Refusal::Malformed), "{line}");
        }
        // The target's own word does not help a foreign Host, nor the other way round.
        let whole = "http://127.0.0.1:6433/metrics";
        assert_eq!(asked(&named(), Version::HTTP_11, whole, &["localhost"]), Ok(()));
        assert_eq!(asked(&named(), Version::HTTP_11, whole, &["evil.com"]), Err(Refusal::Misdirected));
        let foreign = "http://evil.com/metrics";
        assert_eq!(asked(&named(), Version::HTTP_11, foreign, &["localhost"]), Err(Refusal::Misdirected));
    }
}
