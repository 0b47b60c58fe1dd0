//! What the kernel's numbers say of a peer: alive, idle, not reading, unreachable or gone.
//!
//! Facts of Linux this rests on (net/ipv4/tcp_timer.c, tcp_input.c):
//!
//! * Keepalive probes are sent only while nothing is unacknowledged and nothing waits to be sent; when the last of them
//!   stays unanswered the kernel itself ends the connection. In all other states keepalive is silent, and this judges.
//! * The n-th retransmission goes out when the timer has been doubled n times, so the doubled timer less the plain one
//!   is the time from the first sending to the last. `tcpi_last_data_sent` counts from the last one.
//! * Where a router says that the host cannot be reached the timer is not doubled (RFC 6069): then only what was seen
//!   before tells for how long there has been no answer.
//! * A peer that does not read closes its window and acknowledges whatever is sent then, without taking it: it is alive.
//!   Probes of a closed window are counted until one is answered, and come up to two minutes apart.

use std::time::Duration;

use plimsoll_types::Evidence;

use super::tcp_info::TcpInfo;

/// After how long without data a connection is called idle.
const IDLE: Duration = Duration::from_secs(10);

/// How long an answer is always waited for, unless the bound is shorter still.
const ANSWER_MIN: Duration = Duration::from_secs(1);

/// So many probes of a closed window must have stayed unanswered.
const WINDOW_PROBES_MIN: u8 = 2;

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Bytes go to and fro.
    Alive,
    /// It has nothing to say, and nothing is under way to it.
    Idle,
    /// It acknowledges, and has no room for what we have for it.
    NotReading,
    /// It has not answered for a while. Next: alive again, or gone.
    Unreachable,
    /// It has not answered for as long as a peer may.
    Gone(Evidence),
}

impl State {
    /// The words of the console.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Alive => "alive",
            State::Idle => "idle",
            State::NotReading => "not reading",
            State::Unreachable => "unreachable",
            State::Gone(_) => "gone",
        }
    }
}

/// How long a peer may stay silent when it has been asked something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Duration);

impl Bound {
    /// How long a single answer is waited for.
    fn answer(self, info: &TcpInfo) -> Duration {
        (info.round_trip * 4).max(ANSWER_MIN).min(self.0 / 4)
    }
}

/// Judges a connection. `owing`: for how long regular looks have found the peer owing an answer ([`owes`]), without one
/// in between; at least so long it has been.
pub(crate) fn judge(info: &TcpInfo, owing: Duration, bound: Bound) -> State {
    if info.unacked_segments > 0 {
        return with_data_under_way(info, owing, bound);
    }
    if info.unsent_bytes > 0 {
        return with_data_held_back(info, owing, bound);
    }
    // Nothing under way: these are keepalive's probes, and the kernel ends the connection after the last.
    if info.probes > 1 || info.probes > 0 && owing >= bound.answer(info) {
        return State::Unreachable;
    }
    if silence(info) >= IDLE { State::Idle } else { State::Alive }
}

/// Whether something was sent or asked after the peer was last heard of.
pub(crate) fn owes(info: &TcpInfo) -> bool {
    info.probes > 0 || has_unanswered_data(info)
}

fn has_unanswered_data(info: &TcpInfo) -> bool {
    info.unacked_segments > 0 && info.last_sent < info.last_ack
}

/// For how long data has gone without an acknowledgement; `None`: something was acknowledged after it was sent.
///
/// Where a router on the way says that the host cannot be reached, the kernel does not double its timer (RFC 6069), which
/// then tells less than what looks have seen.
pub(crate) fn unanswered(info: &TcpInfo, owing: Duration) -> Option<Duration> {
    let plain = info.timer / 2_u32.saturating_pow(info.backoff.min(31).into());
    let resending = if info.retransmits > 0 { info.timer.saturating_sub(plain) } else { Duration::ZERO };
    let told = (resending + info.last_sent).max(owing);
    has_unanswered_data(info).then(|| info.last_ack.min(told))
}

fn with_data_under_way(info: &TcpInfo, owing: Duration, bound: Bound) -> State {
    let Some(unanswered) = unanswered(info, owing) else {
        // It answers, and does not take what is sent.
        return if info.window == Some(0) { State::NotReading } else { State::Alive };
    };
    // It may have answered an older question, and have been asked again this moment.
    let is_overdue = info.last_sent.max(owing) >= bound.answer(info);
    // A single packet, or a single answer, may be lost on the way; who is gone has been asked several times by then.
    if is_overdue && info.retransmits > 1 && unanswered >= bound.0 {
        State::Gone(Evidence::Unacknowledged)
    } else if is_overdue && info.retransmits > 1 {
        State::Unreachable
    } else {
        State::Alive
    }
}

/// Everything sent has been acknowledged, and more waits: for the peer's window, or for a moment.
fn with_data_held_back(info: &TcpInfo, owing: Duration, bound: Bound) -> State {
    let closed = match info.window {
        Some(window) => window == 0 || info.backoff > 0,
        None => info.backoff > 0,
    };
    let silent = info.probes > 0 && owing >= bound.answer(info);
    // A single packet may be lost on the way, and the kernel repeats a probe only when the next one is due.
    if silent && info.probes >= WINDOW_PROBES_MIN && info.last_ack >= bound.0 {
        State::Gone(Evidence::Window)
    } else if silent {
        State::Unreachable
    } else if closed {
        State::NotReading
    } else {
        State::Alive
    }
}

/// Since when no data has gone either way.
pub(crate) fn silence(info: &TcpInfo) -> Duration {
    info.last_sent.min(info.last_received)
}

#[cfg(test)]
mod tests;
