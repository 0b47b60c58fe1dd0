//! One HTTP request: bounded in time and size, never redirected, never through a proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fetch::Failure;

/// How long a request may take, from the look-up of the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest body of an answer, bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Where clouds have their metadata without TLS: of a machine (EC2, Azure, Google), of a container (ECS, EKS).
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(169, 254, 170, 2), Ipv4Addr::new(169, 254, 170, 23)];
/// The same of machines and containers that have IPv6 only.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)];
/// What a value in a form or a query carries as it is (RFC 3986, section 2.3).
const UNRESERVED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is asked.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    /// Some of them are secrets.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// Who may certify the other side; `None`: whom the system trusts.
    pub(crate) ca_file: Option<&'a PathBuf>,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(url: &'a str) -> Ask<'a> {
        Ask { method: Method::GET, url, headers: Vec::new(), body: String::new(), ca_file: None }
    }

    pub(crate) fn put(url: &'a str) -> Ask<'a> {
        Ask { method: Method::PUT, ..Ask::get(url) }
    }

    /// A form, as RFC 6749 sends it.
    pub(crate) fn form(url: &'a str, pairs: &[(&str, &str)]) -> Ask<'a> {
        let body: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let form = Ask { method: Method::POST, body: body.join("&"), ..Ask::get(url) };
        form.header("content-type", "application/x-www-form-urlencoded")
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Ask<'a> {
        self.headers.push((name, value.into()));
        self
    }

    /// Whether something goes out that lets whoever reads it be us: what a form holds, or an authorization.
    fn carries_secret(&self) -> bool {
        self.method == Method::POST || self.headers.iter().any(|(name, _)| *name == AUTHORIZATION.as_str())
    }
}

/// A value for a query or a form.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The body of an answer with status 200.
pub(crate) async fn text(ask: Ask<'_>) -> Result<String, Failure> {
    let url = without_query(ask.url).to_string();
    let told = |why: String| Failure(format!("{url}: {why}"));
    let answer = tokio::time::timeout(TIMEOUT, call(ask)).await;
    let late = |_| told(format!("no whole answer within {} s", TIMEOUT.as_secs()));
    let (status, body) = answer.map_err(late)?.map_err(told)?;
    if status != 200 {
        return Err(told(format!("HTTP status {status}{}", named_error(&body))));
    }
    String::from_utf8(body).map_err(|_| told("the answer is not UTF-8".to_string()))
}

/// The same as JSON. What the parser says is not repeated: it quotes the text, and that may be the secret.
pub(crate) async fn json<T: DeserializeOwned>(ask: Ask<'_>) -> Result<T, Failure> {
    let url = without_query(ask.url).to_string();
    let text = text(ask).await?;
    serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure(format!("{url}: the answer is not what was expected: line {line}, column {column}"))
    })
}

fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(before, _)| before)
}

/// `error` of an OAuth2 answer (RFC 6749, section 5.2), which is a word and no secret.
fn named_error(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Told {
        error: String,
    }
    let is_word = |text: &String| {
        text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let told = serde_json::from_slice::<Told>(body).ok().map(|told| told.error).filter(is_word);
    told.map_or(String::new(), |word| format!(" ({word})"))
}

async fn call(ask: Ask<'_>) -> Result<(u16, Vec<u8>), String> {
    let uri: Uri = ask.url.parse().map_err(|_| "not a URL".to_string())?;
    let tls = uri.scheme_str() == Some("https");
    let authority = uri.authority().ok_or("a URL without a host")?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_string();
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let ca_file = ask.ca_file.cloned();
    let carries_secret = ask.carries_secret();
    let request = request(ask, &uri, authority.as_str())?;
    let stream = TcpStream::connect((host.as_str(), port)).await;
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    if !tls {
        // Of the address that answers, not of the name: that may be anybody's.
        let peer = stream.peer_addr().map_err(|error| format!("the connection broke: {error}"))?.ip();
        if carries_secret && !is_near(peer) {
            return Err(format!(
                "a secret is not sent to {peer} without TLS: the address has to begin with https://"
            ));
        }
        return exchange(stream, request).await;
    }
    let name = ServerName::try_from(host).map_err(|_| "not a host name".to_string())?;
    let connector = TlsConnector::from(Arc::new(tls_config(ca_file)?));
    let stream = connector.connect(name, stream).await;
    exchange(stream.map_err(|error| format!("TLS handshake failed: {error}"))?, request).await
}

/// Whether what is sent to an address does not leave the machine, as its cloud prescribes it.
fn is_near(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.is_loopback() || METADATA_V4.contains(&peer),
        IpAddr::V6(peer) => peer.is_loopback() || METADATA_V6.contains(&peer),
    }
}

fn request(ask: Ask<'_>, uri: &Uri, authority: &str) -> Result<Request<Full<Bytes>>, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(Bytes::from(ask.body)));
    *request.method_mut() = ask.method;
    *request.uri_mut() = path.parse().map_err(|_| "not a path".to_string())?;
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| "not a value of a header".to_string());
    let headers = request.headers_mut();
    headers.insert(HOST, value(authority)?);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(USER_AGENT, HeaderValue::from_static("plimsoll"));
    for (name, text) in &ask.headers {
        headers.insert(HeaderName::from_static(name), value(text)?);
    }
    Ok(request)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Vec<u8>), String> {
    let broke = |error: hyper::Error| format!("the connection broke: {error}");
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(broke)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(broke)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => format!("the answer is longer than {BODY_BYTES_MAX} bytes"),
            None => format!("the connection broke: {error}"),
        })?;
        Ok((status, body.to_bytes().to_vec()))
    };
    tokio::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        // The answer may be there all the same: its last bytes and the end of the connection come together.
        _ended = connection => asking.await,
    }
}

fn tls_config(ca_file: Option<PathBuf>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unreadable = |why: String| format!("ca_file {}: {why}", path.display());
            let certificates = CertificateDer::pem_file_iter(&path);
            for certificate in certificates.map_err(|error| unreadable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        None => {
            // Some files of a system may be broken; what matters is whether the other side's issuer is found.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("no certificates of authorities are found: set ca_file".to_string());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
