//! The header of the PROXY protocol.
//!
//! Input: what a balancer sends first. Besides not panicking: what is taken is within its bound, where the network cuts
//! the bytes makes no difference, what follows the header makes none, and no address of this machine is ever believed.

#![no_main]
// Not all of the file is of use here.
#![allow(dead_code)]

#[path = "../../crates/proxy/src/proxy_protocol.rs"]
mod proxy_protocol;

use libfuzzer_sys::fuzz_target;
use proxy_protocol::{Origin, V1_BYTES_MAX, V2_BYTES_MAX, Versions, parse};

fuzz_target!(|input: &[u8]| {
    for versions in [Versions::V2, Versions::Any] {
        let whole = parse(input, versions);
        if let Ok(Some((origin, used))) = whole {
            check(origin, used, input, versions);
        }
        if whole == Ok(None) {
            assert!(input.len() < V2_BYTES_MAX, "waits for more than a header may have");
        }
        for end in 0..input.len().min(128) {
            let cut = parse(&input[..end], versions);
            assert!(cut == Ok(None) || cut == whole, "{cut:?} at {end}, and {whole:?} in the end");
        }
    }
});

fn check(origin: Origin, used: usize, input: &[u8], versions: Versions) {
    let is_v1 = input.starts_with(b"PROXY ");
    assert!(used <= if is_v1 { V1_BYTES_MAX } else { V2_BYTES_MAX } && used <= input.len());
    assert!(!is_v1 || versions == Versions::Any);
    assert_eq!(parse(&input[..used], versions), Ok(Some((origin, used))));
    if let Origin::Client(address) = origin {
        let ip = address.ip().to_canonical();
        assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast());
    }
}
