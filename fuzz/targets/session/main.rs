//! The message machine of `plimsoll-session` between two clients and one server connection, or between one client and its own
//! connection for replication.
//!
//! Input: a byte of settings, then chunks of a kind, a length and bytes: what a client or the server sends, or a client
//! that leaves. The target carries out the steps as the proxy does. Besides not panicking: every range lies in its
//! input, both sides get whole messages only, the machine never waits for what it has, and a connection is given back
//! with nothing outstanding.

#![no_main]

mod scan;
mod world;

use libfuzzer_sys::fuzz_target;

use crate::world::World;

/// Chunks in one history.
const CHUNKS_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    let Some((&settings, mut rest)) = data.split_first() else { return };
    let mut world = World::new(settings);
    for _ in 0..CHUNKS_MAX {
        let [kind, length, behind @ ..] = rest else { return };
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        match kind {
            b'a' => world.client_sends(0, bytes),
            b'b' => world.client_sends(1, bytes),
            b's' => world.server_sends(bytes),
            b'x' => world.client_leaves(0),
            b'y' => world.client_leaves(1),
            _ => return,
        }
    }
});
