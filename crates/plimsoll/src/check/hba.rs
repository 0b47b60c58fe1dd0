//! HBA file and ident map: lines that do not hold, and lines that let in more than they seem to.

use std::path::Path;

use plimsoll_auth::hba::{Hba, HbaMethod, Rule};
use plimsoll_auth::ident::IdentMaps;
use plimsoll_auth::{Effect, LineFault};
use plimsoll_config::{AuthType, Plan};

use super::facts::{Rules, Weak, Weakness};
use super::finding::Place;
use super::weak;

/// Reads a file.
type ReadFile<'a> = dyn FnMut(&Path) -> std::io::Result<String> + 'a;

/// What is to be said of the files that a plan names; nothing without `auth_type = hba`.
pub(super) fn rules(plan: &Plan, read: &mut ReadFile<'_>) -> Rules {
    let general = &plan.general;
    let mut rules = Rules::default();
    let Some(path) = general.auth_hba_file.as_deref().filter(|_| general.auth_type == AuthType::Hba) else {
        return rules;
    };
    let mut idents = IdentMaps::default();
    if let Some(path) = &general.auth_ident_file {
        match read(path) {
            Ok(text) => {
                let (maps, faults) = IdentMaps::parse(&text);
                idents = maps;
                rules.broken.extend(faults.iter().map(|fault| broken(path, fault)));
            }
            Err(error) => rules.unread.push(("auth_ident_file", error.to_string())),
        }
    }
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            rules.unread.push(("auth_hba_file", error.to_string()));
            return rules;
        }
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut names = |name: &str| read(&folder.join(name));
    let (mut hba, mut faults) = Hba::parse(&text, &mut names);
    faults.extend(hba.retain_known_maps(&idents));
    rules.broken.extend(faults.iter().map(|fault| broken(path, fault)));
    for rule in hba.rules() {
        let place = Place { file: path.to_path_buf(), line: rule.line };
        let weak = weaknesses(rule).into_iter();
        rules.weak.extend(weak.map(|weakness| Weak { place: place.clone(), weakness }));
    }
    rules
}

fn broken(path: &Path, fault: &LineFault) -> (Place, String) {
    let effect = match fault.effect {
        Effect::Skipped => "the line is left out, and what it was to close stays open",
        Effect::Kept => "the line stays, and is probably not what was meant",
        Effect::Closed => "the line stays, and whom it means is refused",
    };
    (Place { file: path.to_path_buf(), line: fault.line }, format!("{}: {effect}", fault.message))
}

/// What a line lets in that it should not.
fn weaknesses(rule: &Rule) -> Vec<Weakness> {
    let is_overheard = !rule.is_near() && !rule.is_tls_only();
    let clear_text = is_overheard.then_some(Weakness::ClearText).into_iter();
    match &rule.method {
        HbaMethod::Trust if !rule.is_near() => vec![Weakness::Trust],
        HbaMethod::Password | HbaMethod::Pam(_) => clear_text.collect(),
        HbaMethod::Ldap(Some(options)) => clear_text.chain(weak::of_ldap(options)).collect(),
        HbaMethod::Trust | HbaMethod::Ldap(None) => Vec::new(),
        // Refused over a connection that can be overheard.
        HbaMethod::Bearer(_) => Vec::new(),
        HbaMethod::Reject | HbaMethod::Md5 | HbaMethod::Peer | HbaMethod::Cert | HbaMethod::Scram => {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::demand::tests::plan;
    use super::*;

    #[test]
    fn lines_are_judged_where_they_stand() {
        let hba = "# who\nlocal all all trust\nhost all all 127.0.0.1/32 trust\nhost all all 10.0.0.0/8 trust\n\
                   hostssl all all all password\nhost all all all password\nhost all all all pam\nnonsense\n\
                   local all all peer map=none\n";
        let plan =
            plan("auth_type = hba\nauth_hba_file = hba\nauth_ident_file = ident\n[databases]\nx = host=h\n");
        let rules = rules(&plan, &mut |path| match path.to_str() {
            Some("hba") => Ok(hba.to_string()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        });
        let weak: Vec<(u32, Weakness)> =
            rules.weak.iter().map(|weak| (weak.place.line, weak.weakness)).collect();
        assert_eq!(weak, [(4, Weakness::Trust), (6, Weakness::ClearText), (7, Weakness::ClearText)]);
        let broken: Vec<u32> = rules.broken.iter().map(|(place, _)| place.line).collect();
        assert_eq!(broken, [8, 9]);
        assert_eq!(rules.unread.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["auth_ident_file"]);
    }

    /// Who comes is judged by the address of the line, and by nothing else that stands on it.
    #[test]
    fn names_of_servers_and_users_are_no_addresses() {
        let ldap = "ldap ldapserver=\"ldap1 127.0.0.1 ::1\" ldaptls=1 ldapprefix=uid=";
        let hba = format!(
            "host all all all {ldap}\nhostssl all all all {ldap}\nlocal all all {ldap}\n\
             host all 127.0.0.1 10.0.0.0/8 trust\nhost all all 127.0.0.0 255.0.0.0 trust\nhost all all 127.0.0.1/0 trust\n\
             host all all ::1/128 trust\nhost all all ::1/64 trust\nhost \"hostssl\" all ::/0 password\n"
        );
        let plan = plan("auth_type = hba\nauth_hba_file = hba\n[databases]\nx = host=h\n");
        let rules = rules(&plan, &mut |_| Ok(hba.clone()));
        let weak: Vec<(u32, Weakness)> =
            rules.weak.iter().map(|weak| (weak.place.line, weak.weakness)).collect();
        let (trust, overheard) = (Weakness::Trust, Weakness::ClearText);
        assert_eq!(weak, [(1, overheard), (4, trust), (6, trust), (8, trust), (9, overheard)]);
    }

    #[test]
    fn without_hba_no_file_is_read() {
        let plan = plan("auth_hba_file = hba\n[databases]\nx = host=h\n");
        let rules = rules(&plan, &mut |path| panic!("{} is read", path.display()));
        assert_eq!(rules, Rules::default());
    }
}
