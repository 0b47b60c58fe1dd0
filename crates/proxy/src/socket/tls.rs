//! TLS over a socket: rustls without its buffers, so that an idle connection keeps its keys and nothing else.
//!
//! Ciphertext is read into a buffer of the thread and decrypted there; only what is left of an unfinished record stays
//! with the connection. What is written is encrypted at once, and a piece counts as sent only when the kernel has taken
//! its last byte of ciphertext: whoever writes offers the same bytes again until then, as with a plain socket.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::Raw;

/// Bytes of ciphertext that are read at a time: several records of 16 KiB and a piece of one.
const CIPHER_BYTES: usize = 64 * 1024;

/// Plaintext that is encrypted before the kernel is asked to take it, bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// What a record adds at most, bytes: header, IV or content type, tag.
const RECORD_EXTRA: usize = 64;

/// Largest plaintext of a record, bytes (RFC 8446, 5.1).
const RECORD_BYTES: usize = 16 * 1024;

/// Room for one message of a handshake, bytes; more is made when it does not suffice.
const MESSAGE_BYTES: usize = 2048;

/// Bytes of an unfinished handshake that are kept at most: rustls takes no longer message.
const HANDSHAKE_BYTES_MAX: usize = CIPHER_BYTES - 4096;

thread_local! {
    /// Ciphertext that has just been read.
    static CIPHER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    /// Room for ciphertext that is to be sent.
    static SEALED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer for ciphertext.
fn with_cipher<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = CIPHER.take().unwrap_or_else(|| vec![0; CIPHER_BYTES].into());
    let out = work(&mut buffer);
    CIPHER.set(Some(buffer));
    out
}

/// Which end of a handshake we are.
enum End {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// The TLS state of a stream.
pub(crate) struct Tls {
    end: End,
    /// Received, less than a record.
    incoming: Vec<u8>,
    /// Decrypted, not taken by the reader.
    plain: Vec<u8>,
    /// How much of `plain` has been taken.
    taken: usize,
    /// Encrypted, not taken by the kernel.
    outgoing: Vec<u8>,
    /// Bytes of the writer that `outgoing` stands for and that have not been reported as sent.
    owed: usize,
    /// How far it is.
    progress: Progress,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// In the handshake, waiting for the peer.
    Handshaking,
    /// Open for data.
    Open,
    /// Closed by the peer.
    Ended,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// What is known of an encrypted connection once its handshake is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secured {
    /// `TLSv1.3/TLS_AES_256_GCM_SHA384`, as logs and `SHOW CLIENTS` write it.
    pub(crate) text: String,
    /// The certificate the peer showed.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

impl Tls {
    /// The side of whoever is connected to.
    ///
    /// # Errors
    /// The configuration does not fit.
    pub(crate) fn server(config: Arc<ServerConfig>, received: Vec<u8>) -> Result<Tls, rustls::Error> {
        Ok(Tls::new(End::Server(UnbufferedServerConnection::new(config)?), received))
    }

    /// The side of whoever connects.
    ///
    /// # Errors
    /// The configuration does not fit.
    pub(crate) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Tls, rustls::Error> {
        Ok(Tls::new(End::Client(UnbufferedClientConnection::new(config, name)?), Vec::new()))
    }

    fn new(end: End, incoming: Vec<u8>) -> Tls {
        Tls {
            end,
            incoming,
            plain: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            owed: 0,
            progress: Progress::Handshaking,
        }
    }

    fn common(&self) -> &CommonState {
        match &self.end {
            End::Server(connection) => connection,
            End::Client(connection) => connection,
        }
    }

    /// What the handshake came to.
    pub(crate) fn secured(&self) -> Secured {
        let common = self.common();
        let protocol = match common.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLS",
        };
        let suite = common.negotiated_cipher_suite();
        let suite = suite.map_or_else(String::new, |suite| openssl_name(&format!("{:?}", suite.suite())));
        let certificate = common.peer_certificates().and_then(|chain| chain.first().cloned());
        Secured { text: format!("{protocol}/{suite}"), certificate }
    }

    /// Whether ALPN agreed on PostgreSQL's protocol.
    pub(crate) fn is_postgresql(&self) -> bool {
        self.common().alpn_protocol() == Some(b"postgresql")
    }

    /// Whether something is there to be read without asking the kernel.
    pub(super) fn has_plain(&self) -> bool {
        self.taken < self.plain.len()
    }

    /// Reads decrypted bytes. Zero: the peer has closed.
    pub(super) fn poll_read(
        &mut self,
        raw: &mut Raw,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let n = self.take_plain(buffer);
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
            if self.has_ended() {
                return Poll::Ready(Ok(0));
            }
            let (received, n) = ready!(self.poll_receive(raw, cx, buffer))?;
            // What the peer has to be answered (a change of keys) goes out now or with the next bytes.
            self.poll_flush(raw, cx)?;
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
            if received == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }

    /// Reads decrypted bytes, if any are there.
    pub(super) fn try_read(&mut self, raw: &mut Raw, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let n = self.take_plain(buffer);
        if n > 0 || self.has_ended() {
            return Some(Ok(n));
        }
        loop {
            let received = with_cipher(|cipher| {
                let kept = self.restore(cipher);
                let received = raw.try_receive(&mut cipher[kept..]);
                received.map(|read| {
                    let received = read?;
                    let opened = self.open(&mut cipher[..kept + received], buffer);
                    Ok((received, opened.map_err(invalid)?.0))
                })
            });
            match received? {
                Ok((received, 0)) if received > 0 && !self.has_ended() => {}
                Ok((_, n)) => return Some(Ok(n)),
                Err(e) => return Some(Err(e)),
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.progress == Progress::Ended
    }

    fn take_plain(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.plain[self.taken..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.taken += n;
        if self.taken == self.plain.len() && self.taken > 0 {
            (self.plain, self.taken) = (Vec::new(), 0);
        }
        n
    }

    /// Receives once and decrypts: bytes received, bytes put into `buffer`.
    fn poll_receive(
        &mut self,
        raw: &mut Raw,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, usize)>> {
        with_cipher(|cipher| {
            let kept = self.incoming.len();
            if kept >= cipher.len() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            let received = ready!(raw.poll_read(cx, &mut cipher[kept..]))?;
            self.restore(cipher);
            let opened = self.open(&mut cipher[..kept + received], buffer);
            if opened.is_err() {
                // The peer is told why, if it can be.
                let _ = raw.try_send(&self.outgoing);
            }
            let (n, _) = opened.map_err(invalid)?;
            Poll::Ready(Ok((received, n)))
        })
    }

    /// Puts back what was left over; its length.
    fn restore(&self, cipher: &mut [u8]) -> usize {
        let kept = self.incoming.len().min(cipher.len());
        cipher[..kept].copy_from_slice(&self.incoming[..kept]);
        kept
    }

    /// Decrypts what is there into `buffer`, and what does not fit into `plain`; keeps the unfinished record.
    fn open(&mut self, cipher: &mut [u8], buffer: &mut [u8]) -> Result<(usize, Progress), rustls::Error> {
        let mut sink = Sink { buffer, filled: 0, rest: &mut self.plain };
        let advanced = match &mut self.end {
            End::Server(connection) => advance(connection, cipher, &mut sink, &mut self.outgoing),
            End::Client(connection) => advance(connection, cipher, &mut sink, &mut self.outgoing),
        };
        let filled = sink.filled;
        let (used, progress) = advanced?;
        // The end is told once; whatever is asked later, it stays.
        if self.progress != Progress::Ended {
            self.progress = progress;
        }
        let rest = &cipher[used..];
        if rest.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
        }
        Ok((filled, progress))
    }

    /// Writes: the number of bytes of which the kernel has taken everything.
    pub(super) fn poll_write(
        &mut self,
        raw: &mut Raw,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> io::Result<usize> {
        if !self.poll_flush(raw, cx)? {
            return Ok(0);
        }
        let mut sent = std::mem::take(&mut self.owed).min(bytes.len());
        while sent < bytes.len() {
            let piece = &bytes[sent..bytes.len().min(sent + PIECE_BYTES)];
            self.seal(piece)?;
            if !self.poll_flush(raw, cx)? {
                self.owed = piece.len();
                return Ok(sent);
            }
            sent += piece.len();
        }
        Ok(sent)
    }

    /// Sends what is encrypted. False: the kernel has not taken all of it.
    fn poll_flush(&mut self, raw: &mut Raw, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.outgoing.is_empty() {
            return Ok(true);
        }
        let n = raw.poll_write(cx, &self.outgoing)?;
        if n < self.outgoing.len() {
            self.outgoing.drain(..n);
            return Ok(false);
        }
        let mut spare = std::mem::take(&mut self.outgoing);
        spare.clear();
        SEALED.set(spare);
        Ok(true)
    }

    /// Encrypts.
    fn seal(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.outgoing.is_empty() {
            self.outgoing = SEALED.take();
        }
        let at = self.outgoing.len();
        let records = piece.len().div_ceil(RECORD_BYTES).max(1);
        self.outgoing.resize(at + piece.len() + records * RECORD_EXTRA, 0);
        let room = &mut self.outgoing[at..];
        let incoming = &mut self.incoming[..];
        let sealed = match &mut self.end {
            End::Server(connection) => encrypt(connection.process_tls_records(incoming), piece, room),
            End::Client(connection) => encrypt(connection.process_tls_records(incoming), piece, room),
        };
        self.outgoing.truncate(at + *sealed.as_ref().unwrap_or(&0));
        sealed.map(drop)
    }

    /// Says that nothing more is to come, as far as the kernel takes it now.
    pub(super) fn close(&mut self, raw: &mut Raw) {
        let at = self.outgoing.len();
        self.outgoing.resize(at + MESSAGE_BYTES, 0);
        let room = &mut self.outgoing[at..];
        let incoming = &mut self.incoming[..];
        let sealed = match &mut self.end {
            End::Server(connection) => farewell(connection.process_tls_records(incoming), room),
            End::Client(connection) => farewell(connection.process_tls_records(incoming), room),
        };
        self.outgoing.truncate(at + sealed);
        // A peer that does not take it any more does not need it.
        let _ = raw.try_send(&self.outgoing);
        self.outgoing = Vec::new();
    }
}

/// What goes where while records are decrypted.
struct Sink<'a> {
    buffer: &'a mut [u8],
    filled: usize,
    rest: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn put(&mut self, payload: &[u8]) {
        let n = payload.len().min(self.buffer.len() - self.filled);
        self.buffer[self.filled..self.filled + n].copy_from_slice(&payload[..n]);
        self.filled += n;
        self.rest.extend_from_slice(&payload[n..]);
    }
}

/// A connection of either end, as far as records go.
trait Records {
    /// What rustls keeps for this end.
    type Data;

    fn common(&self) -> &CommonState;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn common(&self) -> &CommonState {
        self
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn common(&self) -> &CommonState {
        self
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// Takes in all whole records: bytes used, and how far the connection is. After an error the alert that tells the peer
/// is in `outgoing`.
fn advance(
    connection: &mut impl Records,
    cipher: &mut [u8],
    sink: &mut Sink<'_>,
    outgoing: &mut Vec<u8>,
) -> Result<(usize, Progress), rustls::Error> {
    let mut used = 0;
    loop {
        let status = connection.process(&mut cipher[used..]);
        let mut discard = status.discard;
        let mut progress = None;
        match status.state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    sink.put(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                append(outgoing, |room| data.encode(room).map_err(too_small_to_encode))?;
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::BlockedHandshake) => progress = Some(Progress::Handshaking),
            Ok(ConnectionState::WriteTraffic(_)) => progress = Some(Progress::Open),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => progress = Some(Progress::Ended),
            // Early data is never accepted.
            Ok(_) => return Err(rustls::Error::General("unexpected state".to_string())),
            Err(error) => {
                last_messages(connection, outgoing);
                return Err(error);
            }
        }
        used += discard;
        if let Some(progress) = progress {
            return Ok((used, progress));
        }
    }
}

/// What an end that has failed still has to say: the alert. Nothing more is read from the peer, for after an error
/// nobody knows where its next message would begin.
fn last_messages(connection: &mut impl Records, outgoing: &mut Vec<u8>) {
    while connection.common().wants_write()
        && let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(&mut []).state
        && append(outgoing, |room| data.encode(room).map_err(too_small_to_encode)).is_ok()
    {}
}

/// How much room was missing, or what is wrong.
type Missing = Result<usize, rustls::Error>;

fn too_small_to_encode(error: EncodeError) -> Missing {
    match error {
        EncodeError::InsufficientSize(needed) => Ok(needed.required_size),
        EncodeError::AlreadyEncoded => Err(rustls::Error::General("encoded twice".to_string())),
    }
}

/// Appends what `write` puts into the room it is given; gives it more if it asks.
fn append(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Missing>,
) -> Result<(), rustls::Error> {
    let at = out.len();
    let mut room = MESSAGE_BYTES;
    loop {
        out.resize(at + room, 0);
        match write(&mut out[at..]) {
            Ok(n) => {
                out.truncate(at + n);
                return Ok(());
            }
            Err(Ok(needed)) if needed > room => room = needed,
            Err(missing) => {
                out.truncate(at);
                return Err(missing.err().unwrap_or(rustls::Error::EncryptError));
            }
        }
    }
}

/// Encrypts into `room`, which is large enough; the number of bytes.
fn encrypt<Data>(status: UnbufferedStatus<'_, '_, Data>, piece: &[u8], room: &mut [u8]) -> io::Result<usize> {
    match status.state.map_err(invalid)? {
        ConnectionState::WriteTraffic(mut traffic) => match traffic.encrypt(piece, room) {
            Ok(n) => Ok(n),
            Err(EncryptError::InsufficientSize(_)) => Err(invalid(rustls::Error::EncryptError)),
            Err(EncryptError::EncryptExhausted) => Err(invalid(rustls::Error::EncryptError)),
        },
        ConnectionState::PeerClosed | ConnectionState::Closed => Err(io::ErrorKind::BrokenPipe.into()),
        _ => Err(invalid(rustls::Error::HandshakeNotComplete)),
    }
}

/// Writes close_notify into `room`; the number of bytes, zero where there is nothing to close.
fn farewell<Data>(status: UnbufferedStatus<'_, '_, Data>, room: &mut [u8]) -> usize {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(room).unwrap_or(0),
        Ok(_) | Err(_) => 0,
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// OpenSSL's name of a cipher suite, which logs and consoles show.
fn openssl_name(name: &str) -> String {
    match name.strip_prefix("TLS13_") {
        Some(suite) => format!("TLS_{suite}"),
        None => name
            .trim_start_matches("TLS_")
            .replace("_WITH_AES_", "_AES")
            .replace("_WITH_", "_")
            .replace("AES128_", "AES128-")
            .replace("_POLY1305_SHA256", "-POLY1305")
            .replace('_', "-"),
    }
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The socket.
    Io(io::Error),
    /// TLS.
    Tls(rustls::Error),
}

impl Tls {
    /// Carries out the handshake. Bytes that followed it are kept for the reader. Not cancel safe: a handshake that is
    /// given up leaves nothing to go on with.
    ///
    /// # Errors
    /// The peer has been told of what TLS does not like, as far as it listens.
    pub(super) async fn shake(&mut self, raw: &mut Raw) -> Result<(), HandshakeError> {
        loop {
            let stepped = with_cipher(|cipher| {
                let kept = self.restore(cipher);
                self.open(&mut cipher[..kept], &mut [])
            });
            std::future::poll_fn(|cx| match self.poll_flush(raw, cx) {
                Ok(true) => Poll::Ready(Ok(())),
                Ok(false) => Poll::Pending,
                // What TLS has to say of it tells more.
                Err(_) if stepped.is_err() => Poll::Ready(Ok(())),
                Err(e) => Poll::Ready(Err(HandshakeError::Io(e))),
            })
            .await?;
            match stepped.map_err(HandshakeError::Tls)? {
                (_, Progress::Open) => return Ok(()),
                (_, Progress::Handshaking) => {}
                (_, Progress::Ended) => return Err(eof()),
            }
            let mut chunk = [0; 4096];
            let received = std::future::poll_fn(|cx| raw.poll_read(cx, &mut chunk)).await;
            match received.map_err(HandshakeError::Io)? {
                0 => return Err(eof()),
                n if self.incoming.len() + n > HANDSHAKE_BYTES_MAX => {
                    return Err(HandshakeError::Io(io::ErrorKind::InvalidData.into()));
                }
                n => self.incoming.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

fn eof() -> HandshakeError {
    HandshakeError::Io(io::ErrorKind::UnexpectedEof.into())
}
