//! One small document from an address that was set up: https (http only on this machine), 3 seconds, 64 KiB, no
//! redirects.

mod trust;

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::JwksFault;
use super::jwk::JWKS_BYTES_MAX;

/// Longest that all of it may take.
pub(super) const FETCH_MAX: Duration = Duration::from_secs(3);

/// Why a document could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFault {
    /// The address is none.
    #[error("not an address that can be fetched: {0}")]
    Uri(&'static str),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::ErrorKind),
    /// Nobody to trust.
    #[error("{0}")]
    Trust(String),
    /// No TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// No HTTP.
    #[error("the answer is no HTTP: {0}")]
    Http(String),
    /// Another status than 200.
    #[error("the answer has status {0}")]
    Status(u16),
    /// More than a set of keys has.
    #[error("the answer is longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// Too slow.
    #[error("no whole answer within {} s", FETCH_MAX.as_secs())]
    TimedOut,
    /// What came is no set of keys.
    #[error("{0}")]
    Keys(JwksFault),
    /// The program ends.
    #[error("it was given up")]
    Cancelled,
}

impl FetchFault {
    /// What a client may know of it: nothing of where the keys are.
    pub fn public(&self) -> &'static str {
        match self {
            FetchFault::Uri(_) | FetchFault::Trust(_) => "it is not set up rightly",
            FetchFault::Connect(_) => "it cannot be reached",
            FetchFault::Tls(_) => "it does not prove who it is (TLS)",
            FetchFault::Http(_) | FetchFault::Status(_) => "it answers with an error",
            FetchFault::TooLong => "its answer is too long",
            FetchFault::TimedOut => "it does not answer in time",
            FetchFault::Keys(_) => "its answer is no set of keys",
            FetchFault::Cancelled => "the fetch was given up",
        }
    }
}

/// Fetches documents.
#[derive(Clone, Debug)]
pub struct Fetcher {
    ca_file: Option<PathBuf>,
}

impl Fetcher {
    /// Trusts the authorities of a file, which is read for each fetch; `None`: those of the system.
    pub fn trusting(ca_file: Option<PathBuf>) -> Fetcher {
        Fetcher { ca_file }
    }

    /// Fetches a document. Cancel safe: nothing is left over.
    ///
    /// # Errors
    /// See [`FetchFault`].
    pub async fn fetch(&self, uri: &str) -> Result<Vec<u8>, FetchFault> {
        let place = check_uri(uri)?;
        tokio::time::timeout(FETCH_MAX, self.fetch_from(place)).await.unwrap_or(Err(FetchFault::TimedOut))
    }

    async fn fetch_from(&self, place: Place) -> Result<Vec<u8>, FetchFault> {
        let stream = TcpStream::connect((place.host.as_str(), place.port))
            .await
            .map_err(|error| FetchFault::Connect(error.kind()))?;
        match place.scheme {
            Scheme::Http => exchange(stream, &place).await,
            Scheme::Https => {
                let name = ServerName::try_from(place.host.clone())
                    .map_err(|_| FetchFault::Uri("its host is no name"))?;
                let ca_file = self.ca_file.clone();
                // Files are read beside the event loop.
                let tls = tokio::task::spawn_blocking(move || trust::client(ca_file.as_deref()))
                    .await
                    .map_err(|_| FetchFault::Cancelled)?
                    .map_err(FetchFault::Trust)?;
                let stream = TlsConnector::from(Arc::new(tls))
                    .connect(name, stream)
                    .await
                    .map_err(|error| FetchFault::Tls(error.to_string()))?;
                exchange(stream, &place).await
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// Where a document is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    scheme: Scheme,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// Takes an address apart.
///
/// # Errors
/// [`FetchFault::Uri`].
pub(super) fn check_uri(uri: &str) -> Result<Place, FetchFault> {
    let uri: Uri = uri.parse().map_err(|_| FetchFault::Uri("it cannot be read"))?;
    let authority = uri.authority().ok_or(FetchFault::Uri("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(FetchFault::Uri("it has a user in it"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(FetchFault::Uri("it has no host"));
    }
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let (scheme, usual_port) = match uri.scheme_str() {
        Some("https") => (Scheme::Https, 443),
        Some("http") if here => (Scheme::Http, 80),
        Some("http") => {
            return Err(FetchFault::Uri(
                "http is for this machine only: keys that somebody on the way can change are worth nothing",
            ));
        }
        _ => return Err(FetchFault::Uri("it begins neither with https nor with http")),
    };
    // A port that is none (99999) is no port to the parser, but it is there.
    let port = match authority.port_u16() {
        None if authority.as_str() == authority.host() => usual_port,
        Some(port) if port > 0 => port,
        None | Some(_) => return Err(FetchFault::Uri("its port is none")),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Place { scheme, host, port, authority: authority.as_str().to_owned(), path })
}

async fn exchange<S>(stream: S, place: &Place) -> Result<Vec<u8>, FetchFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let http = |error: hyper::Error| FetchFault::Http(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(JWKS_BYTES_MAX)
        .handshake::<_, String>(TokioIo::new(stream))
        .await
        .map_err(http)?;
    let request = hyper::Request::get(&place.path)
        .header("host", &place.authority)
        .header("accept", "application/jwk-set+json, application/json")
        .header("user-agent", "plimsoll")
        .header("connection", "close")
        .body(String::new())
        .map_err(|_| FetchFault::Uri("it cannot be asked for"))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(http)?;
        match response.status().as_u16() {
            200 => whole(response.into_body()).await,
            status => Err(FetchFault::Status(status)),
        }
    };
    // The connection is driven beside the exchange and ends with it. What it fails with, the exchange hears.
    let mut connection = pin!(connection);
    let mut answer = pin!(answer);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>, FetchFault> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| FetchFault::Http(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > JWKS_BYTES_MAX {
                return Err(FetchFault::TooLong);
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
