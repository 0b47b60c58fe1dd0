//! The dialogue that shows who the client is.

use plimsoll_auth::hba::{self, Asker, HbaMethod};
use plimsoll_auth::ident::IdentVerdict;
use plimsoll_auth::{
    Ask, Bearer, CLIENT_MESSAGE_BYTES_MAX, ClientLogin, ClientReply, Done, Job, Method, ScramKeys,
};
use plimsoll_config::AuthType;
use plimsoll_types::{Cause, Secret};
use plimsoll_wire::{HEADER_BYTES, encode, front};

use super::goal::{Goal, Trust};
use super::look_up::Known;
use super::vouch::Witness;
use super::{CONSOLE, End, Login};
use crate::connector::random;
use crate::entry::Peer;
use crate::replication::Kind;
use crate::{message, system};

/// Longest message of a login, header included.
const MESSAGE_BYTES_MAX: u32 = {
    assert!(CLIENT_MESSAGE_BYTES_MAX + HEADER_BYTES < u32::MAX as usize);
    (CLIENT_MESSAGE_BYTES_MAX + HEADER_BYTES) as u32
};

/// How a client shows who it is.
pub(super) enum Way {
    /// As a user that is known here: [`Login::prove`].
    User(By),
    /// By a key or a token: [`Login::identify`].
    Bearer(Bearer),
    /// By a password that others know: [`Login::vouched`].
    Witness(Witness),
}

/// How a user shows that it is the one it says.
pub(super) enum By {
    /// By what it knows, or not at all.
    Dialogue(Method),
    /// By its system user.
    Peer { map: Option<String> },
    /// By its certificate.
    Certificate { map: Option<String> },
    /// It need not.
    Kin,
}

impl Login {
    /// Asks the client to show who it is, in the way `auth_type` or the HBA file says. What is to be sent before
    /// AuthenticationOk is pending when it returns. Gives the SCRAM keys of the client, where they are worth keeping.
    pub(super) async fn prove(&mut self, by: By, known: Option<&Known>) -> Result<Option<ScramKeys>, End> {
        let method = match by {
            By::Kin => return Ok(None),
            By::Dialogue(method) => method,
            By::Peer { map } => return self.by_peer(map.as_deref(), known),
            By::Certificate { map } => return self.by_certificate(map.as_deref(), known),
        };
        let stored = known.map(|known| &known.secret);
        let policy = self.hub.policy.lock().clone();
        let (mut dialogue, mut reply) = ClientLogin::start(method, &self.user, stored, &policy, random());
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

    /// How this client has to show who it is.
    pub(super) fn way(&self, goal: &Goal) -> Result<Way, Cause> {
        if let Goal::Console(_, Trust::Kin) = goal {
            return Ok(Way::User(By::Kin));
        }
        Ok(Way::User(By::Dialogue(match self.plan.general.auth_type {
            AuthType::Any => {
                self.needs_forced_user(goal)?;
                Method::Any
            }
            AuthType::Trust => Method::Trust,
            AuthType::Plain => Method::Plain,
            AuthType::Md5 => Method::Md5,
            AuthType::Scram => Method::Scram,
            AuthType::Cert => return Ok(Way::User(By::Certificate { map: None })),
            AuthType::Hba => return self.way_by_rule(),
            AuthType::Ldap => return self.by_ldap().map(Way::Witness),
            AuthType::Pam => return Ok(Way::Witness(self.by_pam(None))),
            AuthType::Key => return Ok(self.by_bearer(Bearer::Key)),
            AuthType::Jwt => return Ok(self.by_bearer(Bearer::Jwt)),
            AuthType::OAuth => return Ok(self.by_bearer(Bearer::OAuth)),
        })))
    }

    /// By a key or a token. At the console a secret is asked for all the same: what may be done there goes by the name that
    /// is given, and a grant by another; and without it nobody could see why keys fail.
    fn by_bearer(&self, bearer: Bearer) -> Way {
        if &*self.database == CONSOLE { Way::User(By::Dialogue(Method::Scram)) } else { Way::Bearer(bearer) }
    }

    /// What the first line of the HBA file that fits says.
    fn way_by_rule(&self) -> Result<Way, Cause> {
        let way = match &self.peer {
            Peer::Unix { .. } => hba::Way::Local,
            Peer::Tcp(addr) => hba::Way::Tcp {
                ip: addr.ip(),
                tls: if self.secured.is_some() { hba::Tls::Yes } else { hba::Tls::No },
            },
        };
        let replication = Kind::asked(self.replication());
        let asker = Asker { way, database: &self.database, user: &self.user, replication };
        let rule = self.security.hba.as_ref().and_then(|hba| hba.find(&asker)).ok_or(Cause::NoAuthMethod)?;
        let map = rule.map.as_deref().map(str::to_string);
        match &rule.method {
            HbaMethod::Trust | HbaMethod::Md5 | HbaMethod::Password | HbaMethod::Scram => {
                rule.method.dialogue().map(By::Dialogue).map(Way::User).ok_or(Cause::NoAuthMethod)
            }
            HbaMethod::Peer => Ok(Way::User(By::Peer { map })),
            HbaMethod::Cert => Ok(Way::User(By::Certificate { map })),
            HbaMethod::Reject => Err(Cause::LoginRejected),
            HbaMethod::Ldap(Some(options)) => Ok(Way::Witness(Witness::Ldap(options.clone()))),
            HbaMethod::Ldap(None) => {
                tracing::error!(
                    "{}the LDAP options of hba line {} cannot be used",
                    self.log_prefix(),
                    rule.line
                );
                Err(Cause::LdapMisconfigured)
            }
            HbaMethod::Pam(service) => Ok(Way::Witness(self.by_pam(service.as_ref()))),
            HbaMethod::Bearer(bearer) => Ok(self.by_bearer(*bearer)),
        }
    }

    /// By the system user at the other end of a Unix socket.
    fn by_peer(&self, map: Option<&str>, known: Option<&Known>) -> Result<Option<ScramKeys>, End> {
        let refused = Err(End::Refused(Cause::PeerFailed));
        let Some(uid) = self.peer_uid else { return refused };
        let Some(name) = system::user_name(uid) else {
            tracing::warn!("{}there is no system user with the id {uid}", self.log_prefix());
            return refused;
        };
        let may = match map {
            None => *self.user == *name,
            Some(map) => match self.security.idents.check(map, &name, &self.user) {
                IdentVerdict::Allowed => true,
                IdentVerdict::NoSuchMap | IdentVerdict::NoMatch => {
                    tracing::error!("{}ident map {map} cannot be matched", self.log_prefix());
                    false
                }
            },
        };
        // As PgBouncer: who is nobody here does not get in, whoever it is on this machine.
        if may && known.is_some() { Ok(None) } else { refused }
    }

    /// By the certificate it has shown, which has been verified in the handshake.
    fn by_certificate(&self, map: Option<&str>, known: Option<&Known>) -> Result<Option<ScramKeys>, End> {
        let refused = |words: &str| {
            tracing::error!("{}{words}", self.log_prefix());
            Err(End::Refused(Cause::CertFailed))
        };
        let certificate = self.secured.as_ref().and_then(|secured| secured.certificate.as_ref());
        let Some(certificate) = certificate else { return refused("TLS client certificate required") };
        let Some(name) = plimsoll_tls::common_name(certificate) else {
            return refused("TLS certificate name mismatch");
        };
        let verdict = map.map(|map| (map, self.security.idents.check(map, &name, &self.user)));
        match verdict {
            None if name != *self.user => refused("TLS certificate name mismatch"),
            Some((map, IdentVerdict::NoSuchMap | IdentVerdict::NoMatch)) => {
                refused(&format!("ident map: {map} does not have a match"))
            }
            // As PgBouncer: who is nobody here does not get in, whatever its certificate.
            None | Some((_, IdentVerdict::Allowed)) if known.is_none() => refused("no such user"),
            None | Some((_, IdentVerdict::Allowed)) => Ok(None),
        }
    }

    /// With `auth_type = any` the name a client gives means nothing, so it must not choose the role at the server.
    fn needs_forced_user(&self, goal: &Goal) -> Result<(), Cause> {
        let forced = match goal {
            Goal::Known(database) => database.config().user.is_some(),
            Goal::Auto => self.plan.auto_database.as_ref().is_some_and(|database| database.user.is_some()),
            Goal::Missing | Goal::Console(..) => true,
        };
        if forced {
            return Ok(());
        }
        tracing::error!("{}auth_type = any needs a database with user=", self.log_prefix());
        Err(Cause::TrustFailed)
    }

    /// The next message, which must be a `p`.
    pub(super) async fn answer(&mut self) -> Result<Secret, End> {
        loop {
            match self.input.first() {
                None | Some(&front::PASSWORD) => {}
                Some(&front::TERMINATE) => return Err(End::Left(Cause::ClientClose)),
                Some(0) => return Err(End::Refused(Cause::StartupAgain)),
                Some(_) => return Err(End::Refused(Cause::BadLoginPacket)),
            }
            let taken = message::take(&mut self.input, MESSAGE_BYTES_MAX);
            if let Some(message) = taken.map_err(|_| End::Refused(Cause::BadLoginPacket))? {
                return Ok(Secret::new(message));
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
