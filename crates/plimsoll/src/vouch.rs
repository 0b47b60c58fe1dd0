//! The data plane asks whether passwords are good, others know: here they meet.

use std::sync::Arc;

use plimsoll_proxy::{Authority, Claim, Refused, Voucher, Vouching};
use plimsoll_vouch::{ByLdap, ByPam, No, Vouchers};

/// Those who know, as the data plane sees them.
#[derive(Debug, Default)]
pub(crate) struct Asker(Arc<Vouchers>);

impl Voucher for Asker {
    fn check(&self, claim: Claim) -> Vouching {
        let Claim { authority, user, password, from, time_max, at_once_max } = claim;
        let authority = match authority {
            Authority::Ldap { options, tls, resolv_conf } => {
                let by = ByLdap { options, tls, resolv_conf, time_max, at_once_max };
                plimsoll_vouch::Authority::Ldap(by)
            }
            Authority::Pam { service } => {
                plimsoll_vouch::Authority::Pam(ByPam { service, time_max, at_once_max })
            }
        };
        let vouchers = self.0.clone();
        let claim = plimsoll_vouch::Claim { user, password, from };
        Box::pin(async move {
            let checked = vouchers.check(authority, claim).await;
            checked.map_err(|No { cause, log }| Refused { cause, log: Some(log) })
        })
    }
}
