//! LDAP and PAM: options that cannot be used, and those that let others listen or in.

use plimsoll_auth::ldap::LdapOptions;
use plimsoll_config::AuthType;

use super::super::facts::FileFact;
use super::super::finding::Finding;
use super::super::weak::{self, pam_file};
use super::{Case, mistake, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    match case.plan.general.auth_type {
        AuthType::Ldap => by_ldap(case),
        AuthType::Pam => no_service(case).into_iter().collect(),
        AuthType::Any
        | AuthType::Trust
        | AuthType::Plain
        | AuthType::Md5
        | AuthType::Scram
        | AuthType::Cert
        | AuthType::Hba
        | AuthType::Key
        | AuthType::Jwt
        | AuthType::OAuth => unused(case).into_iter().collect(),
    }
}

fn by_ldap(case: &Case<'_>) -> Vec<Finding> {
    let Some(text) = &case.plan.general.auth_ldap_options else {
        let message = "auth_type = ldap without auth_ldap_options: nobody gets in";
        return vec![mistake("ldap-options", case.places.key("auth_type"), message, "set auth_ldap_options")];
    };
    let at = case.places.key("auth_ldap_options");
    match LdapOptions::parse(text.expose()) {
        Err(why) => {
            let message = format!("auth_ldap_options: {why}; nobody gets in");
            vec![mistake("ldap-options", at, message, "correct the options (docs/ldap-pam.md)")]
        }
        Ok(options) => weak::of_ldap(&options)
            .into_iter()
            .map(|weakness| {
                let (id, message, todo) = weak::told(weakness);
                warning(id, at.clone(), message, todo)
            })
            .collect(),
    }
}

/// Options that nobody reads.
fn unused(case: &Case<'_>) -> Option<Finding> {
    case.plan.general.auth_ldap_options.as_ref()?;
    let message = "auth_ldap_options count with auth_type = ldap only; an HBA file has options of its own";
    let todo = "remove the line, or set auth_type = ldap";
    Some(warning("ldap-options-unused", case.places.key("auth_ldap_options"), message, todo))
}

/// PAM takes `other` for a service that it does not know, which refuses everybody on most systems.
fn no_service(case: &Case<'_>) -> Option<Finding> {
    let file = pam_file(case.plan);
    match case.facts.files.get(&file)? {
        FileFact::Missing => {
            let message = format!(
                "there is no {}: PAM asks as /etc/pam.d/other says, which lets nobody in",
                file.display()
            );
            let at = case.places.first_key(&["pam_service", "auth_type"]);
            Some(warning(
                "pam-no-service",
                at,
                message,
                "write the file, or set pam_service (docs/ldap-pam.md)",
            ))
        }
        FileFact::Hidden(_) | FileFact::There(_) => None,
    }
}
