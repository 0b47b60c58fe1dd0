//! Login by a password that others know: LDAP servers or PAM.

use std::sync::Arc;

use plimsoll_auth::ldap::LdapOptions;
use plimsoll_auth::{Stored, cleartext_password};
use plimsoll_types::Cause;
use plimsoll_wire::{HEADER_BYTES, encode};

use super::look_up::{Known, Source};
use super::{End, Login};
use crate::keeper::Refused;
use crate::security::Ldap;
use crate::voucher::{Authority, Claim};

/// Who is asked.
pub(super) enum Witness {
    /// LDAP servers, as these options say.
    Ldap(Arc<LdapOptions>),
    /// PAM, by this service.
    Pam(Arc<str>),
}

impl Login {
    /// Has the client give its password, and asks whether it is good. What is known of it then is that password: the
    /// server may want it, too, as with PgBouncer.
    pub(super) async fn vouched(&mut self, witness: Witness) -> Result<Known, End> {
        encode::authentication_cleartext(&mut self.pending);
        self.flush().await?;
        let message = self.answer().await?;
        let password = cleartext_password(&message.expose()[HEADER_BYTES..]).map_err(End::Refused)?;
        drop(message);
        let keys = &self.plan.own.vouch;
        let (authority, time_max, at_once_max) = match witness {
            Witness::Ldap(options) => {
                let (tls, resolv_conf) =
                    (self.security.ldap_tls.clone(), self.plan.general.dns.resolv_conf.clone());
                let authority = Authority::Ldap { options, tls, resolv_conf };
                (authority, keys.ldap_timeout(), keys.ldap_connections())
            }
            Witness::Pam(service) => (Authority::Pam { service }, keys.pam_timeout(), keys.pam_threads()),
        };
        let from = self.from();
        let (user, given) = (self.user.clone(), password.clone());
        let claim = Claim { authority, user, password: given, from, time_max, at_once_max };
        let vouching = self.hub.voucher.check(claim);
        let vouched = tokio::select! {
            vouched = vouching => vouched,
            // Nobody waits for the answer any more.
            () = std::future::poll_fn(|cx| self.stream.poll_gone(cx).map(drop)) => {
                return Err(End::Left(Cause::ClientEof));
            }
        };
        match vouched {
            Ok(()) => Ok(Known { secret: Stored::Plain(password), from: Source::Voucher }),
            Err(Refused { cause, log }) => {
                if let Some(log) = log {
                    tracing::warn!("{}{log}", self.log_prefix());
                }
                Err(End::Refused(cause))
            }
        }
    }

    /// As `auth_ldap_options` says.
    pub(super) fn by_ldap(&self) -> Result<Witness, Cause> {
        match &self.security.ldap {
            Ldap::As(options) => Ok(Witness::Ldap(options.clone())),
            Ldap::Unusable | Ldap::Unwanted => {
                tracing::error!("{}auth_ldap_options cannot be used", self.log_prefix());
                Err(Cause::LdapMisconfigured)
            }
        }
    }

    /// By the service of an HBA line, else by the usual one.
    pub(super) fn by_pam(&self, service: Option<&Arc<str>>) -> Witness {
        Witness::Pam(service.cloned().unwrap_or_else(|| self.plan.own.vouch.pam_service().into()))
    }
}
