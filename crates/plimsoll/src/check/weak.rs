//! What is weak about ways in, and the words for it.

use std::path::PathBuf;

use plimsoll_auth::ldap::{LdapMode, LdapOptions};
use plimsoll_config::Plan;

use super::facts::Weakness;

/// What is weak about options of LDAP.
pub(super) fn of_ldap(options: &LdapOptions) -> Vec<Weakness> {
    let mut found = Vec::new();
    if !options.transport.is_private() && !options.servers.are_near() {
        found.push(Weakness::LdapInTheClear);
    }
    if let LdapMode::Search(search) = &options.mode {
        if !search.filter.names_user() {
            found.push(Weakness::LdapSameForAll);
        }
        if !search.bind_dn.is_empty() && search.bind_password.is_empty() {
            found.push(Weakness::LdapUnproved);
        }
    }
    found
}

/// The rule, what is to be said, and what is to be done.
pub(super) fn told(weakness: Weakness) -> (&'static str, &'static str, &'static str) {
    match weakness {
        Weakness::Trust => {
            ("auth-open", "trust lets in everybody this line means", "use scram-sha-256 or cert")
        }
        Weakness::ClearText => (
            "auth-plain",
            "the line takes a password and does not ask for TLS: passwords cross the network as they are",
            "write hostssl, or use scram-sha-256",
        ),
        Weakness::LdapInTheClear => (
            "ldap-in-the-clear",
            "passwords go to the LDAP server without TLS, and it may be another machine",
            "add ldaptls=1, or ldapscheme=ldaps",
        ),
        Weakness::LdapSameForAll => (
            "ldap-same-for-all",
            "ldapsearchfilter does not have $username in it: every user is the same entry, with the same password",
            "compare an attribute with $username",
        ),
        Weakness::LdapUnproved => (
            "ldap-unproved",
            "ldapbinddn without ldapbindpasswd is bound without proof: servers refuse that, or take it for nobody",
            "add ldapbindpasswd, or leave ldapbinddn out",
        ),
    }
}

/// The file that tells PAM whom to ask.
pub(super) fn pam_file(plan: &Plan) -> PathBuf {
    PathBuf::from("/etc/pam.d").join(plan.own.vouch.pam_service())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_others_listen_or_in_is_told() {
        let of = |text: &str| of_ldap(&LdapOptions::parse(text).expect("good options"));
        assert_eq!(of("ldapserver=127.0.0.1 ldapprefix=uid="), []);
        assert_eq!(of("ldapserver=localhost ldapprefix=uid="), []);
        assert_eq!(of("ldapserver=h ldaptls=1 ldapprefix=uid="), []);
        assert_eq!(of("ldapurl=ldaps://h/dc=x?uid?sub"), []);
        assert_eq!(of("ldapserver=\"127.0.0.1 h\" ldapprefix=uid="), [Weakness::LdapInTheClear]);
        assert_eq!(of("ldapbasedn=\"dc=x\" ldaptls=0"), [Weakness::LdapInTheClear]);
        let filter = "ldapserver=::1 ldapbasedn=dc=x ldapsearchfilter=(uid=app) ldapbinddn=cn=x";
        assert_eq!(of(filter), [Weakness::LdapSameForAll, Weakness::LdapUnproved]);
    }
}
