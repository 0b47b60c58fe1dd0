//! Identities: what tokens say of who issued them.

use super::super::finding::Finding;
use super::{Case, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    issuer(case).into_iter().collect()
}

/// Without `identity_issuer` tokens name the address of `http_listen`, which may be all of them.
fn issuer(case: &Case<'_>) -> Option<Finding> {
    let own = &case.plan.own;
    own.identity.store.url()?;
    let address = *own.http_listen().addresses().first()?;
    if own.identity.issuer.is_some() || !address.ip().is_unspecified() {
        return None;
    }
    let message = format!(
        "identity_issuer is not set, and http_listen is every address of this machine: tokens are issued by {address}, \
         which leads nowhere"
    );
    let todo = "set identity_issuer to the URL at which browsers and applications reach the API";
    Some(warning("identity-issuer-nowhere", case.places.key("http_listen"), message, todo))
}
