//! What a token is wanted for: scopes and audience. Pure.

use super::fault::{OAuthError, OAuthFault};
use super::params::Params;
use crate::model::Scope;

/// The scopes of `scope`, none twice. Without the parameter there are none: who wants to use the API says so, and a token
/// that only opens the pooler's door opens nothing else.
///
/// # Errors
/// `invalid_scope`: one of them is none.
pub(super) fn scopes(text: Option<&str>) -> Result<Vec<Scope>, OAuthFault> {
    let mut scopes = Vec::new();
    for word in text.unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        let scope = Scope::parse(word).ok_or_else(|| {
            OAuthFault::new(OAuthError::InvalidScope, "scope: there are admin, org_admin and authorize")
        })?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

/// The scopes, all of which have to be allowed.
///
/// # Errors
/// `invalid_scope`.
pub(super) fn allowed_scopes(text: Option<&str>, allowed: &[Scope]) -> Result<Vec<Scope>, OAuthFault> {
    let scopes = scopes(text)?;
    if scopes.iter().all(|scope| allowed.contains(scope)) {
        Ok(scopes)
    } else {
        Err(OAuthFault::new(OAuthError::InvalidScope, "scope: more than this credential or sign-in has"))
    }
}

/// Those of them that are allowed.
pub(super) fn within(scopes: &[Scope], allowed: &[Scope]) -> Vec<Scope> {
    scopes.iter().copied().filter(|scope| allowed.contains(scope)).collect()
}

/// As `scope` is written.
pub(super) fn words(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

/// Whether the token may be for `audience`: `resource` (RFC 8707) or `audience` say the same, or nothing.
///
/// # Errors
/// `invalid_target`: it is wanted for another one; `invalid_request`: the two differ.
pub(super) fn check_audience(params: &Params, audience: &str) -> Result<(), OAuthFault> {
    match (params.find("resource"), params.find("audience")) {
        (Some(resource), Some(asked)) if resource != asked => Err(OAuthFault::new(
            OAuthError::InvalidRequest,
            "resource and audience are two names of the same, and differ",
        )),
        (Some(asked), _) | (None, Some(asked)) if asked != audience => Err(OAuthFault::new(
            OAuthError::InvalidTarget,
            "resource: no tokens are issued for that audience",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words_that_exist_and_are_allowed() {
        assert_eq!(scopes(None), Ok(Vec::new()));
        assert_eq!(scopes(Some(" admin  authorize admin ")), Ok(vec![Scope::Admin, Scope::Authorize]));
        assert_eq!(words(&[Scope::Admin, Scope::OrgAdmin]), "admin org_admin");
        assert_eq!(within(&[Scope::Admin, Scope::Authorize], &[Scope::Authorize]), [Scope::Authorize]);
        let error =
            |text, allowed: &[Scope]| allowed_scopes(Some(text), allowed).map_err(|fault| fault.error);
        assert_eq!(error("authorize", &[Scope::Authorize]), Ok(vec![Scope::Authorize]));
        assert_eq!(error("admin", &[Scope::Authorize, Scope::OrgAdmin]), Err(OAuthError::InvalidScope));
        assert_eq!(error("Admin", &[Scope::Admin]), Err(OAuthError::InvalidScope));
        assert_eq!(error("openid", &[Scope::Admin]), Err(OAuthError::InvalidScope));
    }

    #[test]
    fn an_audience_is_one_that_there_is() {
        let check = |text: &str| {
            let params = Params::parse(text).expect("good parameters");
            check_audience(&params, "https://reports.example").map_err(|fault| fault.error)
        };
        assert_eq!(check(""), Ok(()));
        assert_eq!(check("audience=https://reports.example"), Ok(()));
        assert_eq!(check("resource=https://reports.example"), Ok(()));
        let both = "resource=https://reports.example&audience=";
        assert_eq!(check(&format!("{both}https://reports.example")), Ok(()));
        assert_eq!(check(&format!("{both}other")), Err(OAuthError::InvalidRequest));
        assert_eq!(check("resource=https://reports.example/"), Err(OAuthError::InvalidTarget));
        assert_eq!(check("audience=plimsoll"), Err(OAuthError::InvalidTarget));
    }
}
