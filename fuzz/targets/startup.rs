//! The first packet of a connection.
//!
//! Input: what a client sends first. Besides not panicking: where the network cuts the bytes makes no difference, a
//! decision once made stands, and what is accepted is written again as the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_wire::encode;
use plimsoll_wire::startup::{Packet, STARTUP_BYTES_MAX, StartupError, parse};

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    check_cuts(input, &whole);
    match whole {
        Ok(None) => {
            assert!(input.len() < STARTUP_BYTES_MAX as usize, "waits for more than a packet may have")
        }
        Ok(Some((packet, used))) => check_packet(&packet, &input[..used]),
        Err(StartupError::BadHeader(head)) => {
            assert!((4..=8).contains(&head.len()) && input.starts_with(&head))
        }
        Err(StartupError::BadLayout | StartupError::BadCancel) => {}
    }
});

/// Every beginning of `input` is undecided up to some point and then answered as the whole is.
fn check_cuts(input: &[u8], whole: &Result<Option<(Packet<'_>, usize)>, StartupError>) {
    let mut decided = false;
    // The head is where decisions are made; of the rest every seventh beginning does.
    for end in (0..input.len().min(20)).chain((20..input.len()).step_by(7)) {
        match (parse(&input[..end]), whole) {
            (Ok(None), _) => assert!(!decided, "undecided again at {end}"),
            (Err(StartupError::BadHeader(part)), Err(StartupError::BadHeader(head))) => {
                assert!(head.starts_with(&part));
                decided = true;
            }
            (now, whole) => {
                assert_eq!(&now, whole, "at {end}");
                decided = true;
            }
        }
    }
}

/// `bytes` is all that the packet took.
fn check_packet(packet: &Packet<'_>, bytes: &[u8]) {
    let mut out = Vec::new();
    match packet {
        Packet::Ssl => encode::ssl_request(&mut out),
        Packet::GssEnc | Packet::Version2 => return assert_eq!(bytes.len(), 8),
        Packet::Unknown { head } => return assert_eq!(bytes, head),
        Packet::Cancel { key } => encode::cancel_request(&mut out, key),
        Packet::Startup { minor, params } => {
            let pairs: Vec<_> = params.iter().collect();
            encode::startup(&mut out, &pairs);
            // We only write 3.0.
            out[6..8].copy_from_slice(&minor.to_be_bytes());
        }
    }
    assert_eq!(out, bytes);
}
