//! Random bytes of the kernel, asked for many at a time: each login needs a few, and each call costs as much as sending
//! a message.

use std::cell::RefCell;

/// Bytes that are asked for at a time.
const STORE_BYTES: usize = 2048;

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { bytes: [0; STORE_BYTES], used: STORE_BYTES }) };
}

struct Store {
    bytes: [u8; STORE_BYTES],
    used: usize,
}

/// Bytes that nobody else gets: what has been given out is wiped from the store.
///
/// # Panics
/// The kernel has none, which cannot be once the machine has booted.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= STORE_BYTES) };
    STORE.with_borrow_mut(|store| {
        if store.used + N > STORE_BYTES {
            getrandom::fill(&mut store.bytes).expect("the kernel gives random bytes once it has booted");
            store.used = 0;
        }
        let taken = &mut store.bytes[store.used..store.used + N];
        let mut out = [0; N];
        out.copy_from_slice(taken);
        taken.fill(0);
        store.used += N;
        out
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn nothing_is_given_out_twice() {
        let all: HashSet<[u8; 16]> = (0..1000).map(|_| super::bytes()).collect();
        assert_eq!(all.len(), 1000);
        assert!(!all.contains(&[0; 16]));
    }
}
