//! What Linux tells of a TCP connection (`struct tcp_info`, linux/tcp.h), taken out of its bytes: a kernel that knows
//! less gives fewer of them.

use std::time::Duration;

/// What the oldest kernels give, bytes: up to `tcpi_total_retrans`.
const LEAST_BYTES: usize = 104;

/// The part of `struct tcp_info` that tells of a peer's life. What a kernel does not give is 0, or `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// `tcpi_retransmits`: times the oldest segment has been sent again.
    pub(crate) retransmits: u8,
    /// `tcpi_probes`: keepalive or window probes that have not been answered.
    pub(crate) probes: u8,
    /// `tcpi_backoff`: how often the timer has been doubled.
    pub(crate) backoff: u8,
    /// `tcpi_rto`: the retransmission timer, as it has been doubled.
    pub(crate) timer: Duration,
    /// `tcpi_unacked`: segments sent and not acknowledged.
    pub(crate) unacked_segments: u32,
    /// `tcpi_last_data_sent`: since data was last sent, the first time or again.
    pub(crate) last_sent: Duration,
    /// `tcpi_last_data_recv`: since data last came.
    pub(crate) last_received: Duration,
    /// `tcpi_last_ack_recv`: since the peer last acknowledged anything, a probe too.
    pub(crate) last_ack: Duration,
    /// `tcpi_rtt`.
    pub(crate) round_trip: Duration,
    /// `tcpi_bytes_received`.
    pub(crate) bytes_received: u64,
    /// Bytes sent and not acknowledged: `tcpi_bytes_sent` - `tcpi_bytes_retrans` - `tcpi_bytes_acked`; the latter may
    /// count the SYN.
    pub(crate) unacked_bytes: u64,
    /// `tcpi_notsent_bytes`: bytes that wait for room in the peer's window (or the network's).
    pub(crate) unsent_bytes: u32,
    /// `tcpi_rwnd_limited`: for how long, all together, the peer's window has kept us from sending.
    pub(crate) window_limited: Duration,
    /// `tcpi_snd_wnd`: the peer's window, bytes (Linux 5.4).
    pub(crate) window: Option<u32>,
}

impl TcpInfo {
    /// Reads what the kernel has written. `None`: that is not even what the oldest kernels write.
    pub(crate) fn decode(bytes: &[u8]) -> Option<TcpInfo> {
        if bytes.len() < LEAST_BYTES {
            return None;
        }
        let at = Fields(bytes);
        let sent = at.long(200).saturating_sub(at.long(208));
        Some(TcpInfo {
            retransmits: at.byte(2),
            probes: at.byte(3),
            backoff: at.byte(4),
            timer: Duration::from_micros(at.word(8).into()),
            unacked_segments: at.word(24),
            last_sent: Duration::from_millis(at.word(44).into()),
            last_received: Duration::from_millis(at.word(52).into()),
            last_ack: Duration::from_millis(at.word(56).into()),
            round_trip: Duration::from_micros(at.word(68).into()),
            bytes_received: at.long(128),
            unacked_bytes: sent.saturating_sub(at.long(120)),
            unsent_bytes: at.word(144),
            window_limited: Duration::from_micros(at.long(176)),
            window: at.word_if_there(228),
        })
    }
}

/// Numbers in the machine's order, by their offset.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn word(&self, at: usize) -> u32 {
        self.word_if_there(at).unwrap_or(0)
    }

    fn word_if_there(&self, at: usize) -> Option<u32> {
        self.0.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    fn long(&self, at: usize) -> u64 {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(length: usize) -> Vec<u8> {
        let mut bytes = vec![0_u8; 248];
        (bytes[2], bytes[3], bytes[4]) = (4, 1, 5);
        let words =
            [(8, 6_400_000), (24, 3), (44, 1_500), (52, 70_000), (56, 9_000), (68, 250), (144, 77), (228, 9)];
        for (at, value) in words {
            bytes[at..at + 4].copy_from_slice(&u32::to_ne_bytes(value));
        }
        let longs = [(120, 1_000_u64), (128, 5_000), (176, 2_000_000), (200, 1_700), (208, 200)];
        for (at, value) in longs {
            bytes[at..at + 8].copy_from_slice(&u64::to_ne_bytes(value));
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn every_field_is_found() {
        let info = TcpInfo {
            retransmits: 4,
            probes: 1,
            backoff: 5,
            timer: Duration::from_millis(6_400),
            unacked_segments: 3,
            last_sent: Duration::from_millis(1_500),
            last_received: Duration::from_secs(70),
            last_ack: Duration::from_secs(9),
            round_trip: Duration::from_micros(250),
            bytes_received: 5_000,
            unacked_bytes: 500,
            unsent_bytes: 77,
            window_limited: Duration::from_secs(2),
            window: Some(9),
        };
        assert_eq!(TcpInfo::decode(&written(248)), Some(info));
    }

    #[test]
    fn what_an_older_kernel_does_not_give_is_nothing() {
        let old = TcpInfo::decode(&written(228)).expect("enough");
        assert_eq!((old.window, old.unsent_bytes), (None, 77));
        let oldest = TcpInfo::decode(&written(104)).expect("enough");
        assert_eq!((oldest.unsent_bytes, oldest.unacked_bytes, oldest.retransmits), (0, 0, 4));
        assert_eq!(TcpInfo::decode(&written(103)), None);
        assert_eq!(TcpInfo::decode(&[]), None);
    }

    #[test]
    fn no_bytes_whatever_do_harm() {
        for length in 0..260 {
            let _ = TcpInfo::decode(&vec![0xff; length]);
        }
    }
}
