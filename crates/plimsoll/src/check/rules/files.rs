//! Files that others may read, and folders that are not there.

use std::path::{Path, PathBuf};

use super::super::demand;
use super::super::facts::{FileFact, Kind, Rights, Wish};
use super::super::finding::{Finding, Place};
use super::{Case, mistake, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut found = secrets(case);
    found.extend(unreadable(case));
    found.extend(folders(case));
    found.extend(sockets(case));
    found.extend(spill_dir(case));
    found
}

/// What has secrets in it, what it is, and where it is named.
fn secret_files(case: &Case<'_>) -> Vec<(PathBuf, &'static str, Place)> {
    let general = &case.plan.general;
    let mut files: Vec<(PathBuf, &'static str, Place)> = Vec::new();
    for database in demand::all(case.plan).filter(|database| database.password.is_some()) {
        let place = case.places.database(&database.name);
        if !files.iter().any(|(path, ..)| *path == place.file) {
            files.push((place.file.clone(), "has password= in it", place));
        }
    }
    let named = [
        ("auth_file", &general.auth_file, "has the secrets of users"),
        ("client_tls_key_file", &general.client_tls.key_file, "is a private key"),
        ("server_tls_key_file", &general.server_tls.key_file, "is a private key"),
    ];
    for (key, path, what) in named {
        files.extend(path.iter().map(|path| (path.clone(), what, case.places.key(key))));
    }
    files
}

fn secrets(case: &Case<'_>) -> Vec<Finding> {
    let judge = |(path, what, at): (PathBuf, &'static str, Place)| {
        let Some(FileFact::There(rights)) = case.facts.files.get(&path) else { return None };
        let others = match rights.mode & 0o006 {
            0 => return None,
            0o002 => "write",
            _ => "read",
        };
        let message = format!(
            "{} {what}, and everybody on this machine may {others} it (mode {:04o})",
            path.display(),
            rights.mode & 0o7777
        );
        Some(warning("secret-readable", at, message, format!("chmod 640 {}", path.display())))
    };
    secret_files(case).into_iter().filter_map(judge).collect()
}

/// What the pooler itself has to read.
fn unreadable(case: &Case<'_>) -> Vec<Finding> {
    let general = &case.plan.general;
    let named = [
        ("auth_file", &general.auth_file),
        ("auth_hba_file", &general.auth_hba_file),
        ("auth_ident_file", &general.auth_ident_file),
        ("client_tls_ca_file", &general.client_tls.ca_file),
        ("client_tls_cert_file", &general.client_tls.cert_file),
        ("client_tls_key_file", &general.client_tls.key_file),
        ("server_tls_ca_file", &general.server_tls.ca_file),
        ("server_tls_cert_file", &general.server_tls.cert_file),
        ("server_tls_key_file", &general.server_tls.key_file),
    ];
    let who = &case.facts.who;
    let judge = |(key, path): (&'static str, &Option<PathBuf>)| {
        let path = path.as_ref()?;
        let Some(FileFact::There(rights)) = case.facts.files.get(path) else { return None };
        (!who.may(Wish::Read, *rights, Kind::File)).then(|| {
            let message = format!(
                "{key}: {who} may not read {} (mode {:04o}, owner {})",
                path.display(),
                rights.mode & 0o7777,
                rights.uid
            );
            let todo = "let the pooler's user read it; if that is another than this one, check as that user";
            warning("not-readable", case.places.key(key), message, todo)
        })
    };
    named.into_iter().filter_map(judge).collect()
}

/// Folders of the log and of the pid file: without them the pooler does not start.
fn folders(case: &Case<'_>) -> Vec<Finding> {
    let general = &case.plan.general;
    let named = [("logfile", &general.logfile), ("pidfile", &general.pidfile)];
    let judge = |(key, path): (&'static str, &Option<PathBuf>)| {
        let path = path.as_deref()?;
        let at = case.places.key(key);
        match case.facts.files.get(path) {
            Some(FileFact::There(rights)) => {
                return unwritable(case, key, path, *rights, Kind::File, at);
            }
            Some(FileFact::Missing | FileFact::Hidden(_)) | None => {}
        }
        let folder = folder_of(path);
        match case.facts.files.get(folder)? {
            FileFact::Missing => {
                let message = format!("{key} cannot be written: there is no folder {}", folder.display());
                Some(mistake(
                    "folder-missing",
                    at,
                    message,
                    format!("make it: mkdir -p {}", folder.display()),
                ))
            }
            FileFact::Hidden(_) => None,
            FileFact::There(rights) => unwritable(case, key, folder, *rights, Kind::Folder, at),
        }
    };
    named.into_iter().filter_map(judge).collect()
}

fn unwritable(
    case: &Case<'_>,
    key: &str,
    path: &Path,
    rights: Rights,
    kind: Kind,
    at: Place,
) -> Option<Finding> {
    let who = &case.facts.who;
    (!who.may(Wish::Write, rights, kind)).then(|| {
        let message = format!(
            "{key}: {who} may not write to {} (mode {:04o}, owner {})",
            path.display(),
            rights.mode & 0o7777,
            rights.uid
        );
        let todo = "give it to the pooler's user; if that is another than this one, check as that user";
        warning("not-writable", at, message, todo)
    })
}

fn sockets(case: &Case<'_>) -> Option<Finding> {
    let folder =
        case.plan.general.unix_socket_dir.as_deref().filter(|dir| !dir.to_string_lossy().starts_with('@'))?;
    let at = case.places.key("unix_socket_dir");
    match case.facts.files.get(folder)? {
        FileFact::Missing => {
            let message = format!("unix_socket_dir: there is no folder {}", folder.display());
            Some(mistake("folder-missing", at, message, format!("make it: mkdir -p {}", folder.display())))
        }
        FileFact::Hidden(_) => None,
        FileFact::There(rights) => unwritable(case, "unix_socket_dir", folder, *rights, Kind::Folder, at),
    }
}

/// Where results go that are not read. A pooler without it works, and spills into memory only.
fn spill_dir(case: &Case<'_>) -> Option<Finding> {
    let trouble = case.facts.spill_trouble.as_ref()?;
    let message =
        format!("no temporary file can be made in spill_dir: {trouble}; results go into memory only");
    let todo = "give the pooler's user a folder on a disk, or set spill = memory";
    Some(warning("spill-dir-unusable", case.places.key("spill_dir"), message, todo))
}

/// The folder a file is in.
pub(in super::super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
