//! However the bytes are cut into pieces, the outcome is the same; and no bytes do harm.

use proptest::prelude::*;

use plimsoll_session::Noting;
use plimsoll_types::{PoolMode, Side};

use crate::backend::Backend;
use crate::notation::bytes;
use crate::talk::{Talk, settings};

/// What is said by one side before the other speaks, in pieces that end at the cuts.
fn pieces(whole: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (whole.len() + 1)).collect();
    ends.push(whole.len());
    ends.sort_unstable();
    let mut from = 0;
    ends.into_iter().map(|end| whole[std::mem::replace(&mut from, end)..end].to_vec()).collect()
}

/// Everything sent to either side, and the last decision.
fn outcome(mode: PoolMode, words: &str, cuts: &[usize]) -> (Vec<u8>, Vec<u8>, bool, usize, usize) {
    let mut t = Talk::with(settings(mode));
    let mut backend = Backend::new();
    let (mut heard, mut told) = (Vec::new(), Vec::new());
    for batch in words.split('|') {
        for piece in pieces(&bytes(Side::Client, batch), cuts) {
            t.client_bytes(&piece);
            heard.append(&mut t.sent_to_client);
            let said = std::mem::take(&mut t.sent_to_server);
            told.extend_from_slice(&said);
            backend.feed(&said);
        }
        while !backend.sent.is_empty() {
            let answer = std::mem::take(&mut backend.sent);
            for piece in pieces(&answer, cuts) {
                if t.held {
                    t.server_bytes(&piece);
                }
                heard.append(&mut t.sent_to_client);
                let said = std::mem::take(&mut t.sent_to_server);
                told.extend_from_slice(&said);
                backend.feed(&said);
            }
        }
    }
    (heard, told, t.held, t.session.prepared_count(), t.link.prepared_count())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_make_no_difference(
        words in prop::sample::select(vec![
            "P:a=s1 B:a D:a E S|B:a E C:a S|Q:s2",
            "Q:begin|P:=bad B: E H|Q:s1 S|P:b=s1 D:b C:b S|Q:commit",
            "P:=copy B: E S|d:xxxxxxxx d:bad d:y c S|P:a=s1 S",
            "Q:copy|d:x S d:yyyyy c|Q:copyout",
            "P:a=s1 S P:b=bad C:a S B:a E S|P:c=s3 B:c B:p/c E:p S|F",
        ]),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
        session in any::<bool>(),
    ) {
        let mode = if session { PoolMode::Session } else { PoolMode::Transaction };
        prop_assert_eq!(outcome(mode, words, &cuts), outcome(mode, words, &[]));
    }

    #[test]
    fn no_bytes_do_harm(
        turns in prop::collection::vec((any::<bool>(), any_bytes()), 1..30),
        mode in prop::sample::select(vec![PoolMode::Session, PoolMode::Transaction, PoolMode::Statement]),
        noting in prop::sample::select(vec![Noting::On, Noting::Off]),
    ) {
        let mut settings = settings(mode);
        settings.prepared_max = 2;
        settings.collect_bytes_max = 256;
        let mut t = Talk::with(settings);
        t.session.set_noting(noting);
        for (from_client, said) in turns {
            let summary = if from_client {
                t.client_bytes(&said)
            } else if t.held {
                t.server_bytes(&said)
            } else {
                continue;
            };
            // More than was asked for is never kept: a name or statement of 256 bytes, a message to look into.
            prop_assert!(t.link.prepared_count() <= 2);
            if summary.contains("close") {
                break;
            }
        }
    }
}

/// Bytes that may be anything, but are messages often enough to get somewhere.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let front = prop::sample::select(vec![
        "Q:x", "P:a=x", "P:b=y", "P:=x", "B:a", "B:", "D:a", "C:a", "E", "S", "H", "F", "d:x", "c", "f",
        "P:c=z",
    ]);
    let back = prop::sample::select(vec![
        "Z:I",
        "Z:T",
        "Z:E",
        "1",
        "2",
        "3",
        "T",
        "n",
        "R",
        "C:A",
        "C:DISCARD_ALL",
        "E:x",
        "N:x",
        "A",
        "G",
        "W",
        "H",
        "I",
        "s",
        "t",
        "V",
        "K:application_name=x",
    ]);
    prop_oneof![
        6 => prop::collection::vec(front, 1..6).prop_map(|words| bytes(Side::Client, &words.join(" "))),
        6 => prop::collection::vec(back, 1..6).prop_map(|words| bytes(Side::Server, &words.join(" "))),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0..200_u8, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(tag, length, body)| [&[tag, 0, 0, 0, length][..], &body].concat()),
    ]
}
