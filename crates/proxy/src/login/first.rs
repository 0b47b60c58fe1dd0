//! The packets before the first typed message.

use std::fmt::Write;

use plimsoll_types::Cause;
use plimsoll_wire::startup::{Packet, StartupError, parse};
use plimsoll_wire::{encode, front};

use super::startup::{self, Wanted};
use super::{Awaits, End, Login};
use crate::entry::Peer;
use crate::socket::{HandshakeError, Tls};

/// The answer to SSLRequest and GSSENCRequest: not here.
const NO: u8 = b'N';

/// The answer to SSLRequest: go on with the handshake.
const YES: u8 = b'S';

/// The first byte of a TLS handshake (RFC 8446, 5.1): a client that begins with it, without asking (PostgreSQL 17,
/// `sslnegotiation=direct`).
const TLS_HANDSHAKE: u8 = 0x16;

/// What a first packet asks for.
enum Step {
    /// Wait for more bytes.
    More,
    /// Say no to encryption, then go on with the next packet.
    Decline,
    /// Say yes to encryption, carry out the handshake, then go on with the next packet.
    Agree,
    /// The client has begun the handshake by itself.
    Direct,
    /// Log in.
    Startup(Wanted),
}

impl Login {
    /// Reads up to and including the startup packet.
    pub(super) async fn startup(&mut self) -> Result<Wanted, End> {
        loop {
            match self.step()? {
                Step::More => self.fill().await?,
                Step::Decline => {
                    self.pending.push(NO);
                    self.flush().await?;
                }
                Step::Agree => {
                    self.pending.push(YES);
                    self.flush().await?;
                    Box::pin(self.secure()).await?;
                }
                Step::Direct => {
                    Box::pin(self.secure()).await?;
                    if !self.is_postgresql() {
                        let reason = "direct TLS without the ALPN protocol postgresql".into();
                        return Err(End::Left(Cause::ClientTlsFailed { reason }));
                    }
                }
                Step::Startup(wanted) => return Ok(wanted),
            }
        }
    }

    /// Whether this client may be encrypted: TLS is set up, and it came over the network.
    fn takes_tls(&self) -> bool {
        self.security.client_tls.is_some() && matches!(self.peer, Peer::Tcp(_))
    }

    /// The handshake; what has been received belongs to it. Boxed by whoever calls it, so that logins without it stay
    /// small: each is copied to where it lives.
    async fn secure(&mut self) -> Result<(), End> {
        let Some(config) = self.security.client_tls.clone() else { return Ok(()) };
        let failed = |reason: String| End::Left(Cause::ClientTlsFailed { reason: reason.into() });
        let tls_failed = |e: rustls::Error| failed(plimsoll_tls::error_text(&e));
        *self.heard.lock() = None;
        let tls = Tls::server(config, std::mem::take(&mut self.input)).map_err(tls_failed)?;
        self.stage = Awaits::Handshake;
        let secured = self.stream.secure(tls).await.map_err(|e| match e {
            HandshakeError::Tls(e) => tls_failed(e),
            HandshakeError::Io(e) => failed(e.to_string()),
        })?;
        self.stage = Awaits::Client;
        self.secured = Some(secured);
        Ok(())
    }

    /// Whether the client has come without the TLS that it must come with.
    fn lacks_tls(&self) -> bool {
        let must = self.security.client_mode().is_required();
        must && self.secured.is_none() && matches!(self.peer, Peer::Tcp(_))
    }

    fn is_postgresql(&self) -> bool {
        self.stream.alpn_is_postgresql()
    }

    fn step(&mut self) -> Result<Step, End> {
        if self.input.first() == Some(&TLS_HANDSHAKE) && self.secured.is_none() && self.takes_tls() {
            return Ok(Step::Direct);
        }
        let (packet, bytes) = match parse(&self.input) {
            Ok(None) => return Ok(Step::More),
            Ok(Some(found)) => found,
            Err(StartupError::BadCancel) => return Err(End::Left(Cause::BadCancelRequest)),
            Err(StartupError::BadHeader(head)) => {
                return Err(self.stray_header(&head).map_or_else(|| not_first(&head), End::Refused));
            }
            Err(StartupError::BadLayout) => return Err(End::Refused(Cause::BadStartupLayout)),
        };
        let more = self.input.len() > bytes;
        let step = match packet {
            Packet::Ssl if more => return Err(End::Refused(Cause::DataAfterSslRequest)),
            Packet::GssEnc if more => return Err(End::Refused(Cause::DataAfterGssRequest)),
            Packet::Ssl if self.secured.is_some() => return Err(End::Left(Cause::SslInsideSsl)),
            Packet::Ssl if self.takes_tls() => Step::Agree,
            Packet::Ssl | Packet::GssEnc => Step::Decline,
            Packet::Cancel { key } => return Err(End::Cancel(key.to_vec())),
            Packet::Version2 => return Err(End::Refused(Cause::OldProtocol)),
            Packet::Unknown { head } => return Err(not_first(&head)),
            Packet::Startup { .. } if self.lacks_tls() => return Err(End::Refused(Cause::SslRequired)),
            Packet::Startup { minor, params } => {
                match startup::read(minor, params, &self.hub.tracked, &self.plan, &self.peer) {
                    Ok(wanted) => Step::Startup(wanted),
                    Err(refusal) => {
                        if let Some(line) = refusal.log {
                            tracing::warn!("{}{line}", self.log_prefix());
                        }
                        return Err(End::Refused(refusal.cause));
                    }
                }
            }
        };
        self.input.drain(..bytes);
        Ok(step)
    }
}

/// Something that is no first packet of ours. A message of a session shows by its type byte and a short length: only a
/// password that comes too early is told so.
fn not_first(head: &[u8]) -> End {
    match head {
        [front::PASSWORD, 0, ..] => return End::Refused(Cause::PasswordBeforeStartup),
        [kind, 0, ..] if kind.is_ascii_alphabetic() => return End::Left(Cause::BadPacket),
        _ => {}
    }
    let mut hex = String::new();
    for byte in head {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    End::Refused(Cause::BadPacketHeader { hex: hex.into() })
}

/// What a newer protocol is answered: 3.0, and which of its options we do not know.
pub(super) fn negotiate(wanted: &Wanted, out: &mut Vec<u8>) {
    if wanted.minor > 0 || !wanted.unknown_options.is_empty() {
        let names: Vec<&[u8]> = wanted.unknown_options.iter().map(Vec::as_slice).collect();
        encode::negotiate_protocol_version(out, &names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_shown_in_hex_and_a_password_is_recognised() {
        let said = |head: &[u8]| match not_first(head) {
            End::Refused(cause) => cause.message().into_owned(),
            End::Left(cause) => format!("left: {}", cause.message()),
            End::Cancel(_) => unreachable!("{head:?} is no cancel request"),
        };
        assert_eq!(said(b"GET / HT"), "bad packet header: '474554202f204854'");
        assert_eq!(said(&[0x16, 3, 1, 2]), "bad packet header: '16030102'");
        assert_eq!(said(&[0, 0, 0, 4]), "bad packet header: '00000004'");
        assert_eq!(said(&[b'p', 0, 0, 0, 9]), "client password pkt before startup packet");
        assert_eq!(said(b"post"), "bad packet header: '706f7374'");
        assert_eq!(said(&[b'Q', 0, 0, 0, 9]), "left: bad packet");
    }
}
