//! What is doubtful about `[issuers]`.

use super::Doubt;
use crate::IdentityStore;
use crate::issuer::{self, IssuerLine};
use crate::plan::{AuthType, Plan};

/// Claims that people can often change themselves, or that are given to somebody else later (OpenID Connect Core 1.0,
/// 5.7: only `iss` and `sub` together name somebody for good).
const CHANGEABLE: [&str; 7] =
    ["email", "preferred_username", "upn", "unique_name", "name", "nickname", "given_name"];

pub(super) fn doubts(plan: &Plan) -> Vec<Doubt> {
    let mut found = Vec::new();
    let Some(first) = plan.issuers.first() else { return found };
    if matches!(plan.own.identity.store, IdentityStore::Off) {
        found.push(doubt(
            plan,
            first,
            "issuers-without-store",
            "[issuers] without identity_store: their tokens speak for applications and users of the store, so nobody gets \
             in by them"
                .to_string(),
            "set identity_store in [plimsoll], or remove the section",
        ));
    }
    let asks_for_tokens = matches!(plan.general.auth_type, AuthType::Jwt | AuthType::OAuth | AuthType::Hba);
    if !asks_for_tokens {
        found.push(doubt(
            plan,
            first,
            "issuers-never-asked",
            "[issuers], and auth_type asks nobody for a token".to_string(),
            "set auth_type = jwt or oauth, or have such lines in auth_hba_file",
        ));
    }
    found.extend(plan.issuers.iter().filter_map(|line| open_keys(plan, line)));
    found.extend(plan.issuers.iter().filter_map(|line| changeable(plan, line)));
    found
}

fn open_keys(plan: &Plan, line: &IssuerLine) -> Option<Doubt> {
    let is_open = issuer::is_plain(&line.jwks) || issuer::is_plain(&line.url);
    is_open.then(|| {
        let message = format!(
            "issuer {} is reached without TLS: whoever gets to its port on this machine can make tokens",
            line.name
        );
        doubt(plan, line, "issuer-without-tls", message, "use https; http is for trying things out")
    })
}

fn changeable(plan: &Plan, line: &IssuerLine) -> Option<Doubt> {
    let claim = line.rules.iter().map(|rule| rule.claim()).find(|claim| CHANGEABLE.contains(claim))?;
    let message = format!(
        "issuer {} says by the claim {claim} for whom its tokens speak: many issuers let people change it, or give it to \
         somebody else later",
        line.name
    );
    let todo = "use sub, azp or client_id, unless the issuer is known to keep it";
    Some(doubt(plan, line, "issuer-claim-changeable", message, todo))
}

fn doubt(plan: &Plan, line: &IssuerLine, id: &'static str, message: String, todo: &'static str) -> Doubt {
    Doubt { id, place: plan.place_of_issuer(&line.name).cloned(), message, todo }
}
