//! The dialogue that shows who the client is.

use plimsoll_auth::{
    Ask, CLIENT_MESSAGE_BYTES_MAX, ClientLogin, ClientReply, Done, Job, Method, ScramKeys, Stored,
};
use plimsoll_config::AuthType;
use plimsoll_types::{Cause, Secret};
use plimsoll_wire::{HEADER_BYTES, encode, front, header};

use super::goal::{Goal, Trust};
use super::{End, Login};
use crate::connector::random;

/// Longest message of a login, header included.
const MESSAGE_BYTES_MAX: u32 = {
    assert!(CLIENT_MESSAGE_BYTES_MAX + HEADER_BYTES < u32::MAX as usize);
    (CLIENT_MESSAGE_BYTES_MAX + HEADER_BYTES) as u32
};

impl Login {
    /// Asks the client to show who it is, in the way `auth_type` says. What is to be sent before AuthenticationOk is
    /// pending when it returns. Gives the SCRAM keys of the client, where they are worth keeping.
    pub(super) async fn prove(&mut self, goal: &Goal) -> Result<Option<ScramKeys>, End> {
        if let Goal::Console(_, Trust::Kin) = goal {
            return Ok(None);
        }
        let method = match self.plan.general.auth_type {
            AuthType::Any => {
                self.needs_forced_user(goal)?;
                Method::Any
            }
            AuthType::Trust => Method::Trust,
            AuthType::Plain => Method::Plain,
            AuthType::Md5 => Method::Md5,
            AuthType::Scram => Method::Scram,
        };
        let secret = self.plan.logins.get(&*self.user);
        let stored = secret.map(|secret| secret.expose_text().map_or_else(Stored::impossible, Stored::parse));
        let policy = self.hub.policy.lock().clone();
        let (mut dialogue, mut reply) =
            ClientLogin::start(method, &self.user, stored.as_ref(), &policy, random());
        loop {
            reply = match reply {
                ClientReply::Ask(ask) => {
                    append(&mut self.pending, ask);
                    self.flush().await?;
                    let message = self.answer().await?;
                    dialogue.handle_message(&message.expose()[HEADER_BYTES..])
                }
                ClientReply::Compute(job) => dialogue.handle_done(self.compute(job).await?),
                ClientReply::Accept { last, keys } => {
                    if let Some(last) = last {
                        append(&mut self.pending, last);
                    }
                    return Ok(keys);
                }
                ClientReply::Refuse { cause, log } => {
                    if let Some(log) = log {
                        tracing::error!("{}{log}", self.log_prefix());
                    }
                    return Err(End::Refused(cause));
                }
            };
        }
    }

    /// With `auth_type = any` the name a client gives means nothing, so it must not choose the role at the server.
    fn needs_forced_user(&self, goal: &Goal) -> Result<(), End> {
        let forced = match goal {
            Goal::Known(database) => database.config().user.is_some(),
            Goal::Auto => self.plan.auto_database.as_ref().is_some_and(|database| database.user.is_some()),
            Goal::Missing | Goal::Console(..) => true,
        };
        if forced {
            return Ok(());
        }
        tracing::error!("{}auth_type = any needs a database with user=", self.log_prefix());
        Err(End::Refused(Cause::TrustFailed))
    }

    /// The next message, which must be a `p`.
    async fn answer(&mut self) -> Result<Secret, End> {
        loop {
            match self.input.first() {
                None | Some(&front::PASSWORD) => {}
                Some(&front::TERMINATE) => return Err(End::Left(Cause::ClientClose)),
                Some(0) => return Err(End::Refused(Cause::StartupAgain)),
                Some(_) => return Err(End::Refused(Cause::BadLoginPacket)),
            }
            let head =
                header(&self.input, MESSAGE_BYTES_MAX).map_err(|_| End::Refused(Cause::BadLoginPacket))?;
            if let Some(head) = head
                && self.input.len() >= head.total
            {
                let rest = self.input.split_off(head.total);
                return Ok(Secret::new(std::mem::replace(&mut self.input, rest)));
            }
            self.fill().await?;
        }
    }

    /// Hashes on another thread, a few at a time over all workers, so that logins do not keep queries waiting.
    async fn compute(&self, job: Job) -> Result<Done, End> {
        let permit = self.hub.entrance.hashing.clone().acquire_owned().await;
        let hashed = tokio::task::spawn_blocking(move || {
            let done = job.run();
            drop(permit);
            done
        });
        hashed.await.map_err(|e| {
            tracing::error!("{}hashing failed: {e}", self.log_prefix());
            End::Refused(Cause::BadLoginPacket)
        })
    }
}

fn append(out: &mut Vec<u8>, ask: Ask) {
    match ask {
        Ask::Cleartext => encode::authentication_cleartext(out),
        Ask::Md5(salt) => encode::authentication_md5(out, salt),
        Ask::Sasl => encode::authentication_sasl(out),
        Ask::SaslContinue(data) => encode::authentication_sasl_continue(out, &data),
        Ask::SaslFinal(data) => encode::authentication_sasl_final(out, &data),
    }
}
