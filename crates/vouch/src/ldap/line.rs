//! A connection to an LDAP server, plain or in TLS, and the messages on it.

use std::io;
use std::sync::Arc;

use plimsoll_auth::ldap::{LdapProblem, LdapServer, LdapTransport, ldap_message_bytes};
use plimsoll_types::{Secret, SslMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
        let sent = self.wire.send(message.expose()).await;
        sent.map_err(|error| LdapProblem(format!("the connection broke: {error}")))
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

impl Wire {
    /// Waits for bytes; 0 at the end. Cancel safe.
    async fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(chunk).await,
            Wire::Tls(stream) => stream.read(chunk).await,
        }
    }

    /// Sends all of it. Not cancel safe: a part of it may be gone then.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.write_all(bytes).await,
            Wire::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }
}

fn tls_text(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.map_or_else(|| error.to_string(), plimsoll_tls::error_text)
}
