//! A heartbeat in the protocol: for what lies between us and a client, ends TCP itself and so hides keepalive.
//!
//! A ParameterStatus may come at any time (PostgreSQL manual, "Asynchronous Operations"), and one that repeats a value
//! changes nothing. A client that does not read idle sockets finds them when it next does, so there is an end to them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use plimsoll_session::{Params, Tracked};
use plimsoll_wire::encode;

use super::TcpInfo;
use super::state::silence;

/// Bytes a client may have been sent since it last said something.
const BYTES_MAX: u32 = 4 * 1024;

/// What a heartbeat takes at most, TLS included: no parameter longer than that is repeated.
const MESSAGE_BYTES_MAX: u32 = 128;

/// What has been sent to a client for no other reason. Written by the sweep and by the client's own task.
#[derive(Debug, Default)]
pub(crate) struct Heart {
    /// Bytes the client had sent when it was last looked at.
    received: AtomicU64,
    /// Bytes of heartbeats since then, TLS included.
    sent: AtomicU32,
}

impl Heart {
    /// Whether a client that was seen like this is due for one.
    pub(super) fn is_due(&self, info: &TcpInfo, every: Duration) -> bool {
        if self.received.swap(info.bytes_received, Ordering::Relaxed) != info.bytes_received {
            self.sent.store(0, Ordering::Relaxed);
        }
        let under_way = info.unacked_segments > 0 || info.unsent_bytes > 0;
        !under_way
            && silence(info) >= every
            && self.sent.load(Ordering::Relaxed) + MESSAGE_BYTES_MAX <= BYTES_MAX
    }

    /// So many bytes have been sent.
    pub(crate) fn note(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, MESSAGE_BYTES_MAX);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether one has been sent that the client has not answered, since it cannot.
    pub(crate) fn is_beating(&self) -> bool {
        self.sent.load(Ordering::Relaxed) > 0
    }
}

/// The shortest ParameterStatus that repeats what the client was told. `None`: it was told nothing short.
pub(crate) fn message(tracked: &Tracked, params: &Params) -> Option<Vec<u8>> {
    let known = tracked.names().zip(&params.values);
    let known = known.filter_map(|(name, value)| Some((name.as_bytes(), value.as_ref()?.as_bytes())));
    let (name, value) = known.min_by_key(|(name, value)| name.len() + value.len())?;
    let mut out = Vec::new();
    encode::parameter_status(&mut out, name, value);
    // Room for a record of TLS around it.
    let limit = usize::try_from(MESSAGE_BYTES_MAX / 2).unwrap_or(0);
    (out.len() <= limit).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(received: u64) -> TcpInfo {
        let long = Duration::from_secs(60);
        TcpInfo { bytes_received: received, last_sent: long, last_received: long, ..TcpInfo::default() }
    }

    #[test]
    fn an_idle_client_is_due_until_4_kib_have_gone_unanswered() {
        let (heart, every) = (Heart::default(), Duration::from_secs(60));
        let mut sent = 0;
        while heart.is_due(&idle(100), every) {
            heart.note(50);
            sent += 50;
            assert!(sent <= 4096);
        }
        assert!(sent > 3900, "{sent}");
        assert!(heart.is_beating());
        // It said something.
        assert!(heart.is_due(&idle(101), every));
        assert!(!heart.is_beating());
    }

    #[test]
    fn a_client_with_something_under_way_or_not_idle_for_long_is_not_due() {
        let (heart, every) = (Heart::default(), Duration::from_secs(61));
        assert!(!heart.is_due(&idle(1), every));
        let every = Duration::from_secs(60);
        assert!(!heart.is_due(&TcpInfo { unacked_segments: 1, ..idle(1) }, every));
        assert!(!heart.is_due(&TcpInfo { unsent_bytes: 1, ..idle(1) }, every));
        assert!(heart.is_due(&idle(1), every));
    }

    #[test]
    fn the_shortest_known_parameter_is_repeated() {
        let tracked = Tracked::new(&[]);
        let mut params = Params::none(&tracked);
        assert_eq!(message(&tracked, &params), None);
        let index = tracked.index(b"TimeZone").expect("tracked");
        params.values[index] = Some("UTC".into());
        let at = tracked.index(b"client_encoding").expect("tracked");
        params.values[at] = Some("UTF8".into());
        let message = message(&tracked, &params).expect("one");
        assert_eq!(message.to_ascii_lowercase(), b"s\0\0\0\x11timezone\0utc\0");
        params.values[index] = Some("x".repeat(500).into());
        params.values[at] = Some("x".repeat(500).into());
        assert_eq!(super::message(&tracked, &params), None);
    }
}
