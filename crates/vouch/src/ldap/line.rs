//! A connection to an LDAP server, plain or in TLS, and the messages on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use plimsoll_auth::ldap::{LdapProblem, LdapServer, LdapTransport, ldap_message_bytes};
use plimsoll_types::{Secret, SslMode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::discover;
use crate::ByLdap;

/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// See the module.
pub(super) struct Line {
    wire: Wire,
    input: Vec<u8>,
    /// The length of the message that was given out last; it is passed when the next one is wanted.
    given: usize,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Line {
    /// Connects; with `ldaps`, TLS included.
    pub(super) async fn connect(by: &ByLdap, server: &LdapServer) -> Result<Line, LdapProblem> {
        let mut last = LdapProblem("it has no address".to_string());
        for address in discover::addresses(by, server).await.map_err(LdapProblem)? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let line = Line { wire: Wire::Plain(stream), input: Vec::new(), given: 0 };
                    return match by.options.transport {
                        LdapTransport::Ldaps => line.secure(by, server).await,
                        LdapTransport::Plain | LdapTransport::StartTls => Ok(line),
                    };
                }
                Err(error) => last = LdapProblem(format!("cannot connect: {error}")),
            }
        }
        Err(last)
    }

    /// Begins TLS.
    pub(super) async fn secure(self, by: &ByLdap, server: &LdapServer) -> Result<Line, LdapProblem> {
        let problem = |why: &str| LdapProblem(why.to_string());
        // What is there already was said where anybody could have said it.
        if self.input.len() > self.given {
            return Err(problem("it said more before TLS than it was asked"));
        }
        let Wire::Plain(stream) = self.wire else { return Err(problem("TLS has begun already")) };
        let config = by.tls.clone().ok_or_else(|| problem("TLS is not configured: see ldap_ca_file"))?;
        let name = plimsoll_tls::server_name(&server.host, SslMode::VerifyFull)
            .ok_or_else(|| problem("its name is none that a certificate can bear"))?;
        let connected = TlsConnector::from(Arc::clone(&config)).connect(name, stream).await;
        let stream =
            connected.map_err(|error| LdapProblem(format!("TLS handshake failed: {}", tls_text(&error))))?;
        Ok(Line { wire: Wire::Tls(Box::new(stream)), input: Vec::new(), given: 0 })
    }

    pub(super) async fn send(&mut self, message: &Secret) -> Result<(), LdapProblem> {
        let broken = |error: io::Error| LdapProblem(format!("the connection broke: {error}"));
        self.wire.write_all(message.expose()).await.map_err(broken)?;
        self.wire.flush().await.map_err(broken)
    }

    /// The next message, whole. Its length is looked at before anything is kept of it.
    pub(super) async fn message(&mut self) -> Result<&[u8], LdapProblem> {
        self.input.drain(..self.given);
        self.given = 0;
        loop {
            if let Some(length) =
                ldap_message_bytes(&self.input)?.filter(|length| *length <= self.input.len())
            {
                self.given = length;
                return Ok(&self.input[..length]);
            }
            let mut chunk = [0; READ_BYTES];
            match self.wire.read(&mut chunk).await {
                Ok(0) => return Err(LdapProblem("it closed the connection".to_string())),
                Ok(bytes) => self.input.extend_from_slice(&chunk[..bytes]),
                Err(error) => return Err(LdapProblem(format!("the connection broke: {error}"))),
            }
        }
    }
}

fn tls_text(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.map_or_else(|| error.to_string(), plimsoll_tls::error_text)
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
