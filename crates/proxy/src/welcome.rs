//! What a client is told when it has logged in: one write, from AuthenticationOk to ReadyForQuery (reference 3.3).

use plimsoll_session::{Params, Tracked};
use plimsoll_types::{Severity, SqlState};
use plimsoll_wire::encode::{self, Fields};

use crate::directory::Welcome;

/// Room for the tracked parameters and what ends a welcome, in most cases; bytes.
const TRACKED_BYTES: usize = 512;

/// Status byte of ReadyForQuery outside a transaction.
const IDLE: u8 = b'I';

/// Appends the welcome of a pool's client: what the server said of itself in the server's order, then the tracked
/// parameters with the client's values.
pub(crate) fn client(
    out: &mut Vec<u8>,
    tracked: &Tracked,
    welcome: &Welcome,
    params: &Params,
    end: &End<'_>,
) {
    out.reserve(welcome.untracked.len() + TRACKED_BYTES);
    encode::authentication_ok(out);
    out.extend_from_slice(&welcome.untracked);
    for (name, value) in tracked.names().zip(&params.values) {
        if let Some(value) = value {
            encode::parameter_status(out, name.as_bytes(), value.as_bytes());
        }
    }
    end.append(out);
}

/// Appends the welcome of a console client.
pub(crate) fn console(out: &mut Vec<u8>, parameters: &[(&'static str, String)], end: &End<'_>) {
    encode::authentication_ok(out);
    for (name, value) in parameters {
        encode::parameter_status(out, name.as_bytes(), value.as_bytes());
    }
    end.append(out);
}

/// What every welcome ends with.
pub(crate) struct End<'a> {
    /// Cancel key.
    pub(crate) key: [u8; 8],
    /// `login_notify_message`; empty is none.
    pub(crate) notice: &'a str,
}

impl End<'_> {
    fn append(&self, out: &mut Vec<u8>) {
        encode::backend_key_data(out, self.key);
        if !self.notice.is_empty() {
            let fields = Fields {
                severity: Severity::Notice.as_str(),
                sqlstate: SqlState::OK.as_str(),
                message: self.notice,
                detail: None,
                hint: None,
            };
            encode::notice_response(out, &fields);
        }
        encode::ready_for_query(out, IDLE);
    }
}

#[cfg(test)]
mod tests;
