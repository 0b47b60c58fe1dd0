//! Holding a batch back: as long as the client has no server connection, none is taken for a batch of which the end is
//! missing. Half a batch at a server keeps its locks for as long as the client likes, and no timeout of PostgreSQL
//! ends that.

use plimsoll_types::{Cause, Side};
use plimsoll_wire::{HEADER_BYTES, front, header};

use crate::client::Message;
use crate::session::Session;
use crate::steps::Then;

/// Sync as it is on the wire.
const SYNC: [u8; HEADER_BYTES] = [front::SYNC, 0, 0, 0, 4];
/// Flush as it is on the wire: drivers wait for what it makes the server send.
const FLUSH: [u8; HEADER_BYTES] = [front::FLUSH, 0, 0, 0, 4];

/// What is missing of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// Nothing, or nobody can tell: the server has to see it.
    Nothing,
    /// It will have so many bytes at least.
    Rest { bytes_min: usize },
    /// Its end: the client leaves instead, so that nothing of it is ever executed.
    End,
}

impl Session {
    /// `message`, with which `rest` begins, needs a server connection: whether it gets one now.
    ///
    /// Drivers send a batch with its Sync in one piece, so its last bytes tell. If they only look like a Sync, a
    /// server connection is taken early, which does no harm.
    #[inline]
    pub(crate) fn hold_back(&self, message: Message<'_>, rest: &[u8]) -> Then {
        let whole_query = message.head.tag == front::QUERY && message.left() == 0;
        if whole_query || rest.ends_with(&SYNC) || rest.ends_with(&FLUSH) {
            return Then::NeedServer;
        }
        self.look_for_end(rest)
    }

    #[cold]
    fn look_for_end(&self, rest: &[u8]) -> Then {
        let bytes_max = self.settings.hold_bytes_max;
        match missing(rest, self.settings.packet_bytes_max) {
            Missing::Rest { bytes_min } if bytes_min <= bytes_max && rest.len() < bytes_max => Then::HoldBack,
            Missing::End if bytes_max > 0 => Then::Close { side: Side::Client, cause: Cause::ClientClose },
            Missing::Nothing | Missing::Rest { .. } | Missing::End => Then::NeedServer,
        }
    }
}

/// Looks for what ends a batch: Sync, Flush, Query or FunctionCall, whole.
fn missing(rest: &[u8], packet_bytes_max: u32) -> Missing {
    let mut at = 0;
    loop {
        let head = match header(&rest[at..], packet_bytes_max) {
            Ok(Some(head)) => head,
            Ok(None) => return Missing::Rest { bytes_min: at + HEADER_BYTES },
            // It is refused when it is its turn.
            Err(_) => return Missing::Nothing,
        };
        let end = at + head.total;
        match head.tag {
            front::SYNC | front::FLUSH | front::QUERY | front::FUNCTION_CALL if end <= rest.len() => {
                return Missing::Nothing;
            }
            front::PARSE | front::BIND | front::DESCRIBE | front::EXECUTE | front::CLOSE
                if end <= rest.len() =>
            {
                at = end;
            }
            front::SYNC
            | front::FLUSH
            | front::QUERY
            | front::FUNCTION_CALL
            | front::PARSE
            | front::BIND
            | front::DESCRIBE
            | front::EXECUTE
            | front::CLOSE => return Missing::Rest { bytes_min: end },
            front::TERMINATE => return Missing::End,
            _ => return Missing::Nothing,
        }
    }
}
