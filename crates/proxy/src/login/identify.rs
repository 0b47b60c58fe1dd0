//! Login by a key or a token: how it comes is `auth`'s, whether it is good is the keeper's.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{SHA256, digest};
use plimsoll_auth::{Bearer, BearerAsk, BearerLogin, BearerReply};
use plimsoll_types::{Cause, Secret};
use plimsoll_wire::{HEADER_BYTES, encode};

use super::{End, Login};
use crate::directory::user_client_limit;
use crate::entry::Peer;
use crate::keeper::{Counted, Keeper, NotByCertificate, Proof, Refused, ShownCertificate};

impl Login {
    /// Has the client hand over a key or a token, and asks whose it is.
    pub(super) async fn identify(&mut self, bearer: Bearer) -> Result<Counted, End> {
        // Before the secret is asked for: afterwards it would have been overheard.
        if !self.is_private() {
            return Err(End::Refused(Cause::BearerNeedsTls { method: bearer.as_str() }));
        }
        let Some(keeper) = self.hub.keeper.clone() else {
            tracing::error!("{}login by {} without identity_store", self.log_prefix(), bearer.as_str());
            return Err(End::Refused(Cause::NoIdentities));
        };
        if bearer == Bearer::Key
            && let Some(counted) = self.recognise(&*keeper).await?
        {
            return Ok(counted);
        }
        let (mut dialogue, ask) = BearerLogin::start(bearer);
        let mut reply = BearerReply::Ask(ask);
        loop {
            reply = match reply {
                BearerReply::Ask(ask) => {
                    match ask {
                        BearerAsk::Cleartext => encode::authentication_cleartext(&mut self.pending),
                        BearerAsk::Sasl => encode::authentication_sasl_bearer(&mut self.pending),
                        BearerAsk::SaslContinue(data) => {
                            encode::authentication_sasl_continue(&mut self.pending, &data);
                        }
                    }
                    self.flush().await?;
                    let message = self.answer().await?;
                    dialogue.handle_message(&message.expose()[HEADER_BYTES..])
                }
                BearerReply::Present(secret) => match self.judge(&*keeper, bearer, secret).await {
                    Ok(counted) => return Ok(counted),
                    Err(cause) => dialogue.handle_refused(cause, keeper.discovery().as_ref()),
                },
                BearerReply::Discover => {
                    dialogue.handle_refused(Cause::SaslFailed, keeper.discovery().as_ref())
                }
                BearerReply::Refuse { cause, log } => {
                    if let Some(log) = log {
                        tracing::error!("{}{log}", self.log_prefix());
                    }
                    return Err(End::Refused(cause));
                }
            };
        }
    }

    /// By its certificate, if it has shown one that is a credential: then it is asked for nothing. Else for a key.
    async fn recognise(&self, keeper: &dyn Keeper) -> Result<Option<Counted>, End> {
        let certificate = self.secured.as_ref().and_then(|secured| secured.certificate.as_ref());
        let Some(certificate) = certificate else { return Ok(None) };
        let ends = plimsoll_tls::not_after(certificate).and_then(|after| UNIX_EPOCH.checked_add(after));
        let shown = ShownCertificate {
            sha256: sha256_of(certificate),
            ends,
            database: self.database.clone(),
            user: self.user.clone(),
            from: self.from(),
        };
        match keeper.recognise(shown).await {
            Ok(proved) => self.hub.census.enter(proved).map(Some).map_err(End::Refused),
            Err(NotByCertificate::Unknown) => Ok(None),
            Err(NotByCertificate::Refused(why)) => {
                tracing::info!("{}not by its certificate: {why}; it is asked for a key", self.log_prefix());
                Ok(None)
            }
        }
    }

    /// Asks whose it is, and counts the client among those who are here by the same grant.
    async fn judge(&self, keeper: &dyn Keeper, bearer: Bearer, secret: Secret) -> Result<Counted, Cause> {
        match keeper.admit(self.proof(bearer, secret)).await {
            Ok(proved) => self.hub.census.enter(proved),
            Err(Refused { cause, log }) => {
                if let Some(log) = log {
                    tracing::error!("{}login by {}: {log}", self.log_prefix(), bearer.as_str());
                }
                Err(cause)
            }
        }
    }

    /// From here on it is the login role that was granted, whatever it called itself: limits and settings of users are
    /// that role's.
    pub(super) fn become_role(&mut self, role: &str) -> Result<(), Cause> {
        if *self.user == *role {
            return Ok(());
        }
        let limit = user_client_limit(&self.plan, role);
        self.user = self.guard.rename(role, limit)?;
        Ok(())
    }

    fn proof(&self, bearer: Bearer, secret: Secret) -> Proof {
        Proof { bearer, secret, database: self.database.clone(), user: self.user.clone(), from: self.from() }
    }

    /// The address that it came from; none by a Unix socket.
    pub(super) fn from(&self) -> Option<IpAddr> {
        match &self.peer {
            Peer::Tcp(addr) => Some(addr.ip().to_canonical()),
            Peer::Unix { .. } => None,
        }
    }

    /// Whether nobody overhears what the client sends: it is encrypted, or does not leave this machine.
    fn is_private(&self) -> bool {
        self.secured.is_some()
            || match (&self.peer, &self.local) {
                // With the PROXY protocol the peer is whoever the balancer says; then both ends have to be here.
                (Peer::Tcp(peer), Peer::Tcp(local)) => {
                    peer.ip().to_canonical().is_loopback() && local.ip().to_canonical().is_loopback()
                }
                (Peer::Unix { .. }, _) => true,
                (Peer::Tcp(_), Peer::Unix { .. }) => false,
            }
    }
}

/// As `openssl x509 -outform DER | sha256sum` writes it.
fn sha256_of(certificate: &[u8]) -> String {
    digest(&SHA256, certificate).as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Nothing can fail in memory.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
