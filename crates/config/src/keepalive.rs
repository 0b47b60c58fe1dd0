//! TCP keepalive as it is set on a socket: safe without a word in the file, and PgBouncer's keys win.
//!
//! A network load balancer forgets a flow after some minutes of silence (350 s is usual) and says nothing. With these a
//! flow is never silent for so long, and a peer that is gone is noticed: a client after 60 s + 3 x 10 s, a server after
//! 15 s + 3 x 5 s.

use std::time::Duration;

use plimsoll_types::Side;

use crate::plan::{Plan, Tcp};

/// Most seconds Linux takes for TCP_KEEPIDLE and TCP_KEEPINTVL (tcp(7); MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL).
const SECONDS_MAX: u32 = 32_767;

/// Most probes Linux takes for TCP_KEEPCNT (MAX_TCP_KEEPCNT).
const PROBES_MAX: u32 = 127;

/// Probes of both sides where the file gives no number.
const PROBES: u32 = 3;

/// After so many seconds of silence a network load balancer usually forgets a flow.
const BALANCER_SECS: u32 = 350;

/// What a socket is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long a connection is silent before the first probe.
    pub idle: Duration,
    /// How long each probe waits for its answer.
    pub interval: Duration,
    /// How many stay unanswered until the peer counts as gone.
    pub probes: u32,
}

impl Keepalive {
    /// How long a peer that is gone is not noticed.
    pub fn takes(&self) -> Duration {
        self.idle + self.interval * self.probes
    }
}

impl Tcp {
    /// The keepalive of one side's sockets; `None`: `tcp_keepalive` is off. A key that is not set, or is 0, has a safe
    /// value; one that the kernel would refuse counts as the next it takes ([`Tcp::refused`] says so).
    pub fn keepalive_of(&self, side: Side) -> Option<Keepalive> {
        let (idle, interval) = match side {
            Side::Client => (60, 10),
            Side::Server => (15, 5),
        };
        let given = |given: u32, safe: u32, max: u32| if given == 0 { safe } else { given.min(max) };
        let seconds = |own, safe| Duration::from_secs(given(own, safe, SECONDS_MAX).into());
        self.keepalive.then(|| Keepalive {
            idle: seconds(self.keepidle, idle),
            interval: seconds(self.keepintvl, interval),
            probes: given(self.keepcnt, PROBES, PROBES_MAX),
        })
    }

    /// Values that the kernel would refuse: the key, what it says, and what counts.
    pub fn refused(&self) -> Vec<(&'static str, u32, u32)> {
        let all = [
            ("tcp_keepcnt", self.keepcnt, PROBES_MAX),
            ("tcp_keepidle", self.keepidle, SECONDS_MAX),
            ("tcp_keepintvl", self.keepintvl, SECONDS_MAX),
        ];
        all.into_iter().filter(|(_, given, max)| given > max).collect()
    }
}

/// What is worth a warning at start and at every reload.
pub(crate) fn warnings(plan: &Plan) -> Vec<String> {
    let cut = plan.general.tcp.refused().into_iter();
    let cut =
        cut.map(|(key, given, max)| format!("{key} = {given}: Linux takes at most {max}, and that counts"));
    cut.chain(silence(plan)).collect()
}

/// Which timers let a connection be silent for longer than a balancer remembers it, if keepalive does not help.
fn silence(plan: &Plan) -> Option<String> {
    let general = &plan.general;
    let cause = match general.tcp.keepidle {
        _ if !general.tcp.keepalive => "tcp_keepalive is 0".to_string(),
        idle if idle > BALANCER_SECS => format!("tcp_keepidle is {idle} s"),
        _ => return None,
    };
    let is_long = |time: Duration| time.is_zero() || time.as_secs() > BALANCER_SECS.into();
    // The heartbeat is a packet, too: with it no idle client is silent.
    let beats = plan.own.client_heartbeat.is_some_and(|every| !is_long(every));
    let timers = [
        ("client_idle_timeout", general.client_idle_timeout),
        ("server_idle_timeout", general.server_idle_timeout),
        ("idle_transaction_timeout", general.idle_transaction_timeout),
        ("query_timeout", general.query_timeout),
        ("query_wait_timeout", general.query_wait_timeout),
    ];
    let silent: Vec<String> = timers
        .iter()
        .filter(|(name, time)| is_long(*time) && !(beats && *name == "client_idle_timeout"))
        .map(
            |(name, time)| {
                if time.is_zero() { format!("{name} off") } else { format!("{name} {} s", time.as_secs()) }
            },
        )
        .collect();
    (!silent.is_empty()).then(|| {
        format!(
            "{cause}: a network load balancer usually forgets a connection after {BALANCER_SECS} s without data, \
             and nothing here notices ({})",
            silent.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keepalive(idle: u64, interval: u64, probes: u32) -> Option<Keepalive> {
        let seconds = Duration::from_secs;
        Some(Keepalive { idle: seconds(idle), interval: seconds(interval), probes })
    }

    #[test]
    fn without_a_word_both_sides_are_safe() {
        let tcp = Tcp::default();
        assert_eq!(tcp.keepalive_of(Side::Client), keepalive(60, 10, 3));
        assert_eq!(tcp.keepalive_of(Side::Server), keepalive(15, 5, 3));
        assert_eq!(keepalive(60, 10, 3).map(|safe| safe.takes()), Some(Duration::from_secs(90)));
    }

    #[test]
    fn each_key_that_is_given_wins() {
        let tcp = Tcp { keepidle: 300, ..Tcp::default() };
        assert_eq!(tcp.keepalive_of(Side::Client), keepalive(300, 10, 3));
        assert_eq!(tcp.keepalive_of(Side::Server), keepalive(300, 5, 3));
        let off = Tcp { keepalive: false, ..tcp };
        assert_eq!(off.keepalive_of(Side::Client), None);
    }

    #[test]
    fn what_the_kernel_refuses_is_cut_and_said() {
        let tcp = Tcp { keepidle: 40_000, keepcnt: 128, keepintvl: 1, ..Tcp::default() };
        assert_eq!(tcp.keepalive_of(Side::Server), keepalive(32_767, 1, 127));
        assert_eq!(tcp.refused(), [("tcp_keepcnt", 128, 127), ("tcp_keepidle", 40_000, 32_767)]);
    }
}
