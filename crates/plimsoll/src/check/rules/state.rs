//! What of a session gets lost on the way.

use plimsoll_types::PoolMode;

use super::super::demand::Server;
use super::super::facts::Said;
use super::super::finding::Finding;
use super::{Case, note, some, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        [prepared(case), reset(case), session_mode(case)].into_iter().flatten().collect();
    let asked = case.servers.iter().filter_map(|server| Some((server, server.said()?)));
    found.extend(asked.filter_map(|(server, said)| parameters(case, server, said)));
    found
}

fn prepared(case: &Case<'_>) -> Option<Finding> {
    let is_off = case.plan.general.max_prepared_statements == 0;
    (is_off && case.has_mode(&[PoolMode::Transaction, PoolMode::Statement])).then(|| {
        let message = "max_prepared_statements is 0: in transaction pooling, drivers that prepare statements fail with \
                       \"prepared statement does not exist\"";
        let at = case.places.key("max_prepared_statements");
        warning("prepared-statements-off", at, message, "set max_prepared_statements = 200")
            .suggesting("max_prepared_statements", 200, "statements follow their client to every server connection")
    })
}

fn reset(case: &Case<'_>) -> Option<Finding> {
    let is_empty = case.plan.general.server_reset_query.is_empty();
    (is_empty && case.has_mode(&[PoolMode::Session])).then(|| {
        let message = "server_reset_query is empty: in session pooling the next client gets what the last one left \
                       (parameters, temporary tables, locks)";
        let at = case.places.key("server_reset_query");
        warning("reset-query-empty", at, message, "set server_reset_query = DISCARD ALL")
            .suggesting("server_reset_query", "DISCARD ALL", "nothing of one client reaches the next")
    })
}

/// In session pooling every client holds a connection from its first query until it goes (incidents 1, 4 and 5).
fn session_mode(case: &Case<'_>) -> Option<Finding> {
    case.has_mode(&[PoolMode::Session]).then(|| {
        let message =
            "session pooling: a client holds its server connection as long as it stays, used or not";
        let todo = "transaction pooling bounds that, for applications that keep nothing in their session \
                    (docs/state-hygiene.md)";
        note("session-pooling", case.places.key("pool_mode"), message, todo)
    })
}

/// A parameter follows its client only if the server reports it.
fn parameters(case: &Case<'_>, server: &Server<'_>, said: &Said) -> Option<Finding> {
    let is_reported = |name: &&String| !said.reported.iter().any(|known| known.eq_ignore_ascii_case(name));
    let missing: Vec<&String> = case.plan.general.track_extra_parameters.iter().filter(is_reported).collect();
    (!missing.is_empty() && !said.reported.is_empty()).then(|| {
        let message = format!(
            "track_extra_parameters: {} (PostgreSQL {}) does not report {}: it cannot follow its client",
            server.name(),
            said.version,
            some(&missing)
        );
        let todo = "remove it; what a server reports is in the PostgreSQL manual under ParameterStatus";
        warning("parameter-not-reported", case.places.key("track_extra_parameters"), message, todo)
    })
}
