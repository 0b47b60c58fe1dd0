//! Limits of the system, and of how many clients are let in.

use super::super::finding::Finding;
use super::{Case, note, warning};

/// Descriptors that are no connection: listeners, log, event loops of up to four workers.
const SPARE: u64 = 26;

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    [files(case), clients(case)].into_iter().flatten().collect()
}

fn files(case: &Case<'_>) -> Option<Finding> {
    let limit = case.facts.files_max?;
    let clients = u64::from(case.plan.general.max_client_conn);
    let servers = case.servers.iter().fold(0_u64, |all, server| all.saturating_add(server.cap()));
    let need = clients.saturating_add(servers).saturating_add(SPARE);
    let at = case.places.key("max_client_conn");
    let todo = "raise the limit where the pooler is started (LimitNOFILE of its unit, ulimit -Hn), or lower max_client_conn";
    (need > limit).then(|| {
        let message = format!(
            "the limit of file descriptors is {limit} here; {clients} clients (max_client_conn), {servers} server \
             connections and {SPARE} others need {need}"
        );
        warning("file-limit", at, message, todo)
    })
}

fn clients(case: &Case<'_>) -> Option<Finding> {
    let clients = case.plan.general.max_client_conn;
    if case.plan.explicit.contains("max_client_conn") {
        return None;
    }
    let message =
        format!("max_client_conn is not set: the {clients}th client is the last one that is let in");
    Some(note(
        "max-client-conn-default",
        case.places.whole(),
        message,
        "set it to what your applications can open",
    ))
}
