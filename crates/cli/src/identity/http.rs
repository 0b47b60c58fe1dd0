//! HTTP/1.1 (RFC 9112) as far as the API needs it: one request after the other, blocking, every wait and length bounded.

mod answer;
#[cfg(test)]
mod tests;
mod url;

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_types::Secret;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::fault::Fault;
use crate::link::connect_tcp;
pub(crate) use answer::Answer;
use answer::{Broken, read};
pub(crate) use url::{ApiUrl, Scheme};

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long the other side may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How TLS is spoken with the API.
#[derive(Clone, Debug)]
pub struct ApiTls {
    /// The settings: who is trusted.
    pub config: Arc<ClientConfig>,
    /// The words for an error.
    pub explain: fn(&rustls::Error) -> String,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    fn word(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// A request, less what every request has.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Path and query, percent-encoded where it must be.
    pub(crate) path: &'a str,
    /// `If-Match`.
    pub(crate) if_match: Option<&'a str>,
    /// `Idempotency-Key`.
    pub(crate) once: Option<&'a str>,
    /// JSON.
    pub(crate) body: Option<String>,
}

impl Request<'_> {
    /// Whether a second time does nothing more (RFC 9110, section 9.2.2).
    fn is_repeatable(&self) -> bool {
        match self.method {
            Method::Get | Method::Put | Method::Delete => true,
            Method::Post => self.once.is_some(),
        }
    }
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct Client {
    url: ApiUrl,
    key: Secret,
    tls: Option<ApiTls>,
    /// The connection of the request before.
    kept: Option<Conn>,
}

impl Client {
    /// Of a URL and a key. `tls` is what https needs.
    pub(crate) fn new(url: ApiUrl, key: Secret, tls: Option<ApiTls>) -> Client {
        Client { url, key, tls, kept: None }
    }

    /// Where.
    pub(crate) fn url(&self) -> &ApiUrl {
        &self.url
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> Result<Answer, Fault> {
        if let Some(mut conn) = self.kept.take().filter(|_| request.is_repeatable())
            && let Ok(answer) = self.exchange(&mut conn, request)
        {
            self.keep(conn, &answer);
            return Ok(answer);
        }
        // There was no connection, or the other side had closed it meanwhile.
        let mut conn = self.connect()?;
        let answer = self.exchange(&mut conn, request).map_err(|broken| self.failed(broken))?;
        self.keep(conn, &answer);
        Ok(answer)
    }

    fn keep(&mut self, conn: Conn, answer: &Answer) {
        if answer.stays_open {
            self.kept = Some(conn);
        }
    }

    fn connect(&self) -> Result<Conn, Fault> {
        let unreachable = |error| Fault::Unreachable { url: self.url.to_string(), error };
        let socket = connect_tcp(&self.url.host, self.url.port, CONNECT_MAX).map_err(unreachable)?;
        socket.set_read_timeout(Some(SILENCE_MAX)).map_err(unreachable)?;
        socket.set_write_timeout(Some(SILENCE_MAX)).map_err(unreachable)?;
        let Some(tls) = &self.tls else {
            // By where the socket ended up, not by the name: names can be made to lead anywhere.
            let is_here = socket.peer_addr().map_err(unreachable)?.ip().to_canonical().is_loopback();
            return match is_here {
                true => Ok(Conn::Tcp(BufReader::new(socket))),
                false => Err(Fault::InTheOpen { url: self.url.to_string() }),
            };
        };
        let name = ServerName::try_from(self.url.host.clone())
            .map_err(|_| Fault::Tls(format!("no certificate can bear the name {}", self.url.host)))?;
        let connection = ClientConnection::new(tls.config.clone(), name)
            .map_err(|error| Fault::Tls((tls.explain)(&error)))?;
        Ok(Conn::Tls(Box::new(BufReader::new(StreamOwned::new(connection, socket)))))
    }

    fn exchange(&self, conn: &mut Conn, request: &Request<'_>) -> Result<Answer, Broken> {
        conn.write_all(self.head(request).as_bytes())?;
        if let Some(body) = &request.body {
            conn.write_all(body.as_bytes())?;
        }
        conn.flush()?;
        match conn {
            Conn::Tcp(stream) => read(stream),
            Conn::Tls(stream) => read(stream.as_mut()),
        }
    }

    fn head(&self, request: &Request<'_>) -> String {
        let mut head = format!(
            "{} {}{} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: application/json\r\n\
             User-Agent: plimsoll/{}\r\n",
            request.method.word(),
            self.url.prefix,
            request.path,
            self.url.authority(),
            self.key.expose_text().unwrap_or_default(),
            env!("CARGO_PKG_VERSION"),
        );
        let mut header = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        if let Some(etag) = request.if_match {
            header("If-Match", etag);
        }
        if let Some(once) = request.once {
            header("Idempotency-Key", once);
        }
        if let Some(body) = &request.body {
            header("Content-Type", "application/json");
            header("Content-Length", &body.len().to_string());
        }
        head.push_str("\r\n");
        head
    }

    fn failed(&self, broken: Broken) -> Fault {
        let url = self.url.to_string();
        match broken {
            Broken::NotHttp(what) => Fault::Broken { url, what },
            Broken::Io(error) => {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                match (inner, &self.tls) {
                    (Some(inner), Some(tls)) => {
                        let error = io::Error::new(io::ErrorKind::InvalidData, (tls.explain)(inner));
                        Fault::Unreachable { url, error }
                    }
                    _ => Fault::Unreachable { url, error },
                }
            }
        }
    }
}

/// A connection.
#[derive(Debug)]
enum Conn {
    Tcp(BufReader<TcpStream>),
    Tls(Box<BufReader<StreamOwned<ClientConnection, TcpStream>>>),
}

impl Write for Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Conn::Tcp(stream) => stream.get_mut().write(bytes),
            Conn::Tls(stream) => stream.get_mut().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Conn::Tcp(stream) => stream.get_mut().flush(),
            Conn::Tls(stream) => stream.get_mut().flush(),
        }
    }
}

/// Reads what there is, for the tests.
#[cfg(test)]
fn read_from(bytes: &[u8]) -> Result<Answer, Broken> {
    read(&mut BufReader::new(bytes))
}
