//! Who is let in: weaker than it looks, or not at all.

use plimsoll_auth::Stored;
use plimsoll_config::{AuthType, CredentialSource, Database};
use plimsoll_types::Secret;

use super::super::demand;
use super::super::finding::{Finding, Place};
use super::super::weak;
use super::{Case, mistake, some, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        [doors(case), no_users(case), no_hba(case), not_by_scram(case)].into_iter().flatten().collect();
    found.extend(forced_users(case));
    found.extend(hba_lines(case));
    found
}

/// What HBA file and ident map say, line by line.
fn hba_lines(case: &Case<'_>) -> Vec<Finding> {
    let rules = &case.facts.rules;
    let unread = rules.unread.iter().map(|(key, why)| {
        let message = format!("{key} cannot be read: {why}");
        warning(
            "hba-unreadable",
            case.places.key(key),
            message,
            "correct the path, or let the pooler's user read the file",
        )
    });
    let broken = rules.broken.iter().map(|(place, message)| {
        warning("hba-line-broken", place.clone(), message.clone(), "correct the line (docs/hba.md)")
    });
    let weak = rules.weak.iter().map(|weak| {
        let (id, message, todo) = weak::told(weak.weakness);
        warning(id, weak.place.clone(), message, todo)
    });
    unread.chain(broken).chain(weak).collect()
}

/// What the door asks for, where it stands open to other machines.
fn doors(case: &Case<'_>) -> Option<Finding> {
    let general = &case.plan.general;
    if !case.is_open() {
        return None;
    }
    let at = case.places.first_key(&["auth_type", "listen_addr"]);
    let listen = general.listen_addr.join(", ");
    let is_plain = !general.client_tls.mode.is_required();
    match general.auth_type {
        AuthType::Any | AuthType::Trust => {
            let word = general.auth_type.as_str();
            let message = format!("auth_type = {word} lets in everybody who reaches listen_addr = {listen}");
            let todo = "use scram-sha-256, or listen on 127.0.0.1 only";
            Some(warning("auth-open", at, message, todo).suggesting(
                "auth_type",
                "scram-sha-256",
                "clients prove who they are",
            ))
        }
        AuthType::Plain | AuthType::Ldap | AuthType::Pam if is_plain => {
            let message = format!(
                "auth_type = {}: passwords cross the network as they are (listen_addr = {listen}, client_tls_sslmode = {})",
                general.auth_type.as_str(),
                general.client_tls.mode.as_str()
            );
            // Who else knows the passwords has to be given them.
            let (todo, key, value, why) = if general.auth_type == AuthType::Plain {
                let todo = "set client_tls_sslmode = require, or use scram-sha-256";
                (todo, "auth_type", "scram-sha-256", "no password crosses the network")
            } else {
                let todo = "set client_tls_sslmode = require";
                (todo, "client_tls_sslmode", "require", "no password crosses the network as it is")
            };
            Some(warning("auth-plain", at, message, todo).suggesting(key, value, why))
        }
        AuthType::Md5
            if is_plain && has(case, |stored| matches!(stored, Stored::Md5(_) | Stored::Plain(_))) =>
        {
            let message = "auth_type = md5: whoever overhears a login can guess its password at leisure, and whoever reads an \
                           md5 secret can log in with it";
            let todo =
                "give users SCRAM-SHA-256 secrets (they are used under md5 too), then use scram-sha-256";
            Some(warning("auth-md5", at, message, todo))
        }
        AuthType::Plain | AuthType::Md5 | AuthType::Scram | AuthType::Cert => None,
        AuthType::Hba | AuthType::Ldap | AuthType::Pam => None,
        AuthType::Key | AuthType::Jwt | AuthType::OAuth => None,
    }
}

fn has(case: &Case<'_>, is: impl Fn(&Stored) -> bool) -> bool {
    case.plan.logins.values().any(|secret| stored(secret).is_some_and(|stored| is(&stored)))
}

fn stored(secret: &Secret) -> Option<Stored> {
    secret.expose_text().map(Stored::parse)
}

fn asks_servers(case: &Case<'_>) -> bool {
    case.plan.general.auth_user.is_some()
        || demand::all(case.plan).any(|database| database.auth_user.is_some())
}

fn no_users(case: &Case<'_>) -> Option<Finding> {
    let needs = match case.plan.general.auth_type {
        AuthType::Any | AuthType::Ldap | AuthType::Pam => false,
        AuthType::Key | AuthType::Jwt | AuthType::OAuth => false,
        AuthType::Trust
        | AuthType::Plain
        | AuthType::Md5
        | AuthType::Scram
        | AuthType::Cert
        | AuthType::Hba => true,
    };
    (needs && case.plan.logins.is_empty() && !asks_servers(case)).then(|| {
        let message =
            "nobody can log in: auth_file has no users, and without auth_user no server is asked for them";
        let at = case.places.first_key(&["auth_file", "auth_type"]);
        warning(
            "no-users",
            at,
            message,
            "write \"user\" \"secret\" into auth_file, or set auth_user for auth_query",
        )
    })
}

fn no_hba(case: &Case<'_>) -> Option<Finding> {
    let general = &case.plan.general;
    (general.auth_type == AuthType::Hba && general.auth_hba_file.is_none()).then(|| {
        let message = "auth_type = hba without auth_hba_file: no rule lets anybody in";
        mistake("hba-without-file", case.places.key("auth_type"), message, "set auth_hba_file")
    })
}

/// SCRAM cannot be done with an MD5 secret.
fn not_by_scram(case: &Case<'_>) -> Option<Finding> {
    let is_md5 = |secret: &Secret| matches!(stored(secret), Some(Stored::Md5(_)));
    let users: Vec<&String> =
        case.plan.logins.iter().filter(|(_, secret)| is_md5(secret)).map(|(user, _)| user).collect();
    (case.plan.general.auth_type == AuthType::Scram && !users.is_empty()).then(|| {
        let message = format!(
            "auth_type = scram-sha-256, but auth_file has MD5 secrets: {} cannot log in",
            some(&users)
        );
        let todo = "give them SCRAM-SHA-256 secrets (from pg_authid), or use md5 until they have";
        warning("md5-under-scram", case.places.key("auth_type"), message, todo)
    })
}

fn forced_users(case: &Case<'_>) -> Vec<Finding> {
    demand::all(case.plan).filter_map(|database| forced_user(case, database)).collect()
}

/// What the pooler itself can prove at the server.
fn forced_user(case: &Case<'_>, database: &Database) -> Option<Finding> {
    let at: Place = case.places.database(&database.name);
    let Some(user) = &database.user else {
        return (case.plan.general.auth_type == AuthType::Any).then(|| {
            let message = format!(
                "auth_type = any, and database {} has no user=: nobody can log in to it",
                database.name
            );
            mistake("any-without-user", at, message, "give it user= (and password=)")
        });
    };
    if case.plan.credential(Some(database), user, None) != CredentialSource::Static {
        return None;
    }
    let secret = database.password.as_ref().or_else(|| case.plan.logins.get(user));
    let why = match secret.and_then(stored) {
        None => "has neither password= nor a line in auth_file",
        Some(Stored::Scram(_)) => "has only a SCRAM secret, which opens no server",
        Some(Stored::Plain(_) | Stored::Md5(_)) => return None,
    };
    let message = format!(
        "database {} logs in as {user}, who {why}: a server that asks for a password refuses",
        database.name
    );
    Some(warning(
        "forced-user-without-password",
        at,
        message,
        "give the line password=, or the user a password in auth_file",
    ))
}
