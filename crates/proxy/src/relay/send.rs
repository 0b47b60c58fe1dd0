//! Sending: what the session machine decided, in one write for each side.

use std::io;
use std::task::Context;

use plimsoll_session::Step;
use plimsoll_types::{Cause, Side};

use super::gone::client_gone;
use super::{Ended, Relay};
use crate::directory::add_counts;
use crate::outlet::Kept;
use crate::socket::server_cause;
use crate::stats::Counter;
use crate::worker::Scratch;

impl Relay {
    /// Carries out what the session machine decided on `bytes`.
    pub(super) fn carry_out(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        bytes: &[u8],
    ) -> Result<(), Ended> {
        let counts = std::mem::take(&mut scratch.steps.counts);
        add_counts(self.stats(), counts);
        if let [Step::Forward { to, range }] = &scratch.steps.list[..] {
            let piece = &bytes[range.clone()];
            return match to {
                Side::Client => self.send_client(cx, piece),
                Side::Server => self.send_server(cx, piece),
            };
        }
        if scratch.steps.list.is_empty() {
            return Ok(());
        }
        let mut gather = std::mem::take(&mut scratch.gather);
        let mut result = Ok(());
        for side in [Side::Server, Side::Client] {
            gather.clear();
            for step in &scratch.steps.list {
                match step {
                    Step::Forward { to, range } if *to == side => {
                        gather.extend_from_slice(&bytes[range.clone()])
                    }
                    Step::Inject { to, range } if *to == side => {
                        gather.extend_from_slice(&scratch.steps.bytes[range.clone()]);
                    }
                    Step::Forward { .. } | Step::Inject { .. } => {}
                }
            }
            if !gather.is_empty() && result.is_ok() {
                result = match side {
                    Side::Client => self.send_client(cx, &gather),
                    Side::Server => self.send_server(cx, &gather),
                };
            }
        }
        scratch.gather = gather;
        scratch.shrink();
        result
    }

    pub(super) fn send_client(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Ended> {
        self.stats().add(Counter::Sent, bytes.len() as u64);
        let stream = self.stream.as_mut().ok_or((Side::Client, Cause::ClientEof))?;
        let sent = if self.output.is_empty() {
            stream.poll_write(cx, bytes).map_err(|error| client_gone(&self.entry, &error))?
        } else {
            0
        };
        if sent < bytes.len() {
            if self.output.push(&bytes[sent..]) == Kept::Spilled {
                self.stats().add(Counter::SpilledBytes, (bytes.len() - sent) as u64);
            }
            if self.conn.is_some() {
                self.note_unread(sent, self.hub.now());
            } else {
                self.drain_alone();
            }
        }
        Ok(())
    }

    pub(super) fn send_server(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Ended> {
        let Some(conn) = &mut self.conn else { return Err((Side::Server, Cause::ServerStateUnknown)) };
        let sent =
            if conn.output.is_empty() { conn.stream.poll_write(cx, bytes).map_err(server_gone)? } else { 0 };
        if sent < bytes.len() {
            conn.output.push(&bytes[sent..]);
        }
        Ok(())
    }
}

pub(super) fn server_gone(error: io::Error) -> Ended {
    (Side::Server, server_cause(&error))
}
