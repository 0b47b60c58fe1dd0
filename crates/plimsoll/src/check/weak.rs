//! What is weak about ways in that ask others.

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
