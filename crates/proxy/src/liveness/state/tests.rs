use super::*;

const BOUND: Bound = Bound(Duration::from_secs(90));

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Nothing has gone either way, and nothing was asked, for so long.
fn quiet(for_ms: u64) -> TcpInfo {
    TcpInfo {
        timer: ms(200),
        round_trip: ms(1),
        last_sent: ms(for_ms),
        last_received: ms(for_ms),
        last_ack: ms(for_ms),
        window: Some(65_536),
        ..TcpInfo::default()
    }
}

/// Data was sent for the first time so long ago, after an hour of silence, and nothing has come back.
fn sent(ago_ms: u64) -> TcpInfo {
    let (mut backoff, mut timer, mut at) = (0_u8, 200, 0);
    while at + timer <= ago_ms {
        at += timer;
        timer *= 2;
        backoff += 1;
    }
    TcpInfo {
        unacked_segments: 1,
        unacked_bytes: 30,
        retransmits: backoff,
        backoff,
        timer: ms(timer),
        last_sent: ms(ago_ms - at),
        last_ack: ms(3_600_000 + ago_ms),
        ..quiet(3_600_000)
    }
}

/// The window has been closed for long; the peer was last heard of so long ago, and so many probes have been sent since.
fn closed(last_ack_ms: u64, probes: u8) -> TcpInfo {
    TcpInfo {
        unsent_bytes: 100_000,
        window: Some(0),
        backoff: 9,
        probes,
        last_ack: ms(last_ack_ms),
        ..quiet(900_000)
    }
}

#[test]
fn a_quiet_connection_is_idle_and_a_busy_one_alive() {
    assert_eq!(judge(&quiet(5), Duration::ZERO, BOUND), State::Alive);
    assert_eq!(judge(&quiet(9_999), Duration::ZERO, BOUND), State::Alive);
    assert_eq!(judge(&quiet(10_000), Duration::ZERO, BOUND), State::Idle);
    assert_eq!(judge(&quiet(86_400_000), Duration::ZERO, BOUND), State::Idle);
}

#[test]
fn keepalives_probes_make_it_unreachable_when_one_is_overdue_and_never_gone() {
    let one = TcpInfo { probes: 1, ..quiet(60_010) };
    assert_eq!(judge(&one, Duration::ZERO, BOUND), State::Idle);
    assert_eq!(judge(&one, ms(5_000), BOUND), State::Unreachable);
    let two = TcpInfo { probes: 2, ..quiet(70_010) };
    assert_eq!(judge(&two, Duration::ZERO, BOUND), State::Unreachable);
    // With long intervals of keepalive it is the kernel that decides.
    assert_eq!(judge(&TcpInfo { probes: 3, ..quiet(9_000_000) }, ms(900_000), BOUND), State::Unreachable);
}

#[test]
fn unacknowledged_data_counts_from_when_it_was_sent_and_not_from_the_silence_before() {
    assert_eq!(judge(&sent(5), Duration::ZERO, BOUND), State::Alive);
    assert_eq!(judge(&sent(300), Duration::ZERO, BOUND), State::Alive);
    assert_eq!(judge(&sent(4_000), Duration::ZERO, BOUND), State::Unreachable);
    assert_eq!(judge(&sent(89_900), Duration::ZERO, BOUND), State::Unreachable);
    assert_eq!(judge(&sent(90_000), Duration::ZERO, BOUND), State::Gone(Evidence::Unacknowledged));
    assert_eq!(judge(&sent(3_000_000), Duration::ZERO, BOUND), State::Gone(Evidence::Unacknowledged));
    for ago in [100, 1_000, 30_000, 80_000, 200_000] {
        assert_eq!(unanswered(&sent(ago), Duration::ZERO), Some(ms(ago)), "{ago}");
    }
}

#[test]
fn a_timer_that_a_router_keeps_short_is_made_up_for_by_what_was_seen() {
    // "Host unreachable" takes back each doubling: it is sent again every 200 ms, for ever.
    let kept_short =
        TcpInfo { backoff: 0, timer: ms(200), last_sent: ms(150), retransmits: 200, ..sent(40_000) };
    assert_eq!(judge(&kept_short, ms(40_000), BOUND), State::Unreachable);
    assert_eq!(judge(&kept_short, ms(89_999), BOUND), State::Unreachable);
    assert_eq!(judge(&kept_short, ms(90_000), BOUND), State::Gone(Evidence::Unacknowledged));
    assert!(owes(&kept_short) && !owes(&quiet(100_000)));
    // What was seen of an older question does not count once there was an answer.
    let answered = TcpInfo { last_ack: ms(100), ..kept_short };
    assert_eq!(judge(&answered, Duration::ZERO, BOUND), State::Alive);
}

#[test]
fn an_answer_that_is_under_way_is_waited_for() {
    // It last answered two minutes ago, and the next question went out this moment.
    let just_asked = TcpInfo { last_sent: ms(40), last_ack: ms(119_000), ..sent(204_000) };
    assert_eq!(judge(&just_asked, Duration::ZERO, BOUND), State::Alive);
    let overdue = TcpInfo { last_sent: ms(1_000), ..just_asked };
    assert_eq!(judge(&overdue, Duration::ZERO, BOUND), State::Gone(Evidence::Unacknowledged));
}

#[test]
fn a_peer_that_acknowledges_and_does_not_take_is_alive() {
    // It answered the last sending, without taking anything: its window is closed, for an hour.
    let shut = TcpInfo { last_ack: ms(100_000), last_sent: ms(100_010), window: Some(0), ..sent(3_600_000) };
    assert_eq!(judge(&shut, Duration::ZERO, BOUND), State::NotReading);
    let slow = TcpInfo { window: Some(1_000), ..shut };
    assert_eq!(judge(&slow, Duration::ZERO, BOUND), State::Alive);
}

#[test]
fn a_closed_window_is_a_reader_that_rests_until_its_probes_stay_unanswered() {
    assert_eq!(judge(&closed(50, 0), Duration::ZERO, BOUND), State::NotReading);
    // Probes are two minutes apart by now; the next one is not due.
    assert_eq!(judge(&closed(119_000, 0), Duration::ZERO, BOUND), State::NotReading);
    // It has just been sent.
    assert_eq!(judge(&closed(120_010, 1), Duration::ZERO, BOUND), State::NotReading);
    assert_eq!(judge(&closed(125_000, 2), ms(5_000), BOUND), State::Gone(Evidence::Window));
    assert_eq!(judge(&closed(30_000, 2), ms(5_000), BOUND), State::Unreachable);
}

#[test]
fn one_probe_of_the_window_that_is_lost_on_the_way_ends_nobody() {
    // The next one is two minutes away, and no look in between finds an answer.
    for seconds in [1, 5, 60, 119] {
        let lost = closed(120_000 + seconds * 1_000, 1);
        assert_eq!(judge(&lost, ms(seconds * 1_000), BOUND), State::Unreachable, "{seconds}");
    }
    assert_eq!(judge(&closed(240_001, 2), ms(120_001), BOUND), State::Gone(Evidence::Window));
}

#[test]
fn a_kernel_that_does_not_tell_the_window_shows_it_by_its_probes() {
    let old = TcpInfo { window: None, ..closed(50, 0) };
    assert_eq!(judge(&old, Duration::ZERO, BOUND), State::NotReading);
    let sending = TcpInfo { backoff: 0, ..old };
    assert_eq!(judge(&sending, Duration::ZERO, BOUND), State::Alive);
}

#[test]
fn no_numbers_whatever_do_harm() {
    let most = TcpInfo {
        retransmits: u8::MAX,
        probes: u8::MAX,
        backoff: u8::MAX,
        timer: Duration::from_micros(u32::MAX.into()),
        unacked_segments: u32::MAX,
        last_sent: ms(u32::MAX.into()),
        last_received: ms(u32::MAX.into()),
        last_ack: ms(u32::MAX.into()),
        round_trip: Duration::from_micros(u32::MAX.into()),
        bytes_received: u64::MAX,
        unacked_bytes: u64::MAX,
        unsent_bytes: u32::MAX,
        window_limited: Duration::from_micros(u64::MAX),
        window: Some(u32::MAX),
    };
    for segments in [0, u32::MAX] {
        let info = TcpInfo { unacked_segments: segments, ..most };
        assert_ne!(judge(&info, Duration::MAX, Bound(Duration::ZERO)), State::Idle);
    }
}
