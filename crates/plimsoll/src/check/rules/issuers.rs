//! Issuers outside: what the loader's doubts do not know, which is the disk.

use super::super::facts::{FileFact, Kind, Wish};
use super::super::finding::Finding;
use super::{Case, mistake, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let judge = |line: &plimsoll_config::IssuerLine| {
        let path = line.ca_file.as_ref()?;
        let at = case.places.issuer(&line.name);
        let todo = "correct ca_file=, or leave it out to trust the authorities of the system";
        match case.facts.files.get(path)? {
            FileFact::Missing => {
                let message = format!(
                    "issuer {}: there is no file {}: its keys cannot be fetched, and nobody gets in by its tokens",
                    line.name,
                    path.display()
                );
                Some(mistake("issuer-ca-missing", at, message, todo))
            }
            FileFact::There(rights) if !case.facts.who.may(Wish::Read, *rights, Kind::File) => {
                let message =
                    format!("issuer {}: {} may not read {}", line.name, case.facts.who, path.display());
                Some(warning("not-readable", at, message, "let the pooler's user read it"))
            }
            FileFact::There(_) | FileFact::Hidden(_) => None,
        }
    };
    case.plan.issuers.iter().filter_map(judge).collect()
}
