//! Rate limits: how often a key may ask, and how often an address or a key id may be wrong.
//!
//! Each limit is a bucket that refills: all it has to remember is when it will be full again (the generic cell rate
//! algorithm). Tables are bounded; what there is no room for is not limited, so that nobody who comes from very many
//! addresses shuts out others.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Most buckets in a table.
const BUCKETS_MAX: usize = 10_000;

/// How often full buckets are looked for when a table is full, milliseconds.
const SWEEP_MS: i64 = 1_000;

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, each second (at least 1).
    pub per_second: u32,
    /// At once, after a pause (at least 1).
    pub burst: u32,
}

/// All rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests with one key or of one user.
    pub requests: Rate,
    /// Wrong keys and tokens from one address (of IPv6, from one /64), and with one key id.
    pub failures: Rate,
    /// Wrong passwords for one login, and from one address.
    pub passwords: Rate,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates {
            requests: Rate { per_second: 5_000, burst: 10_000 },
            failures: Rate { per_second: 1, burst: 30 },
            passwords: Rate { per_second: 1, burst: 10 },
        }
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count<'a> {
    /// Requests of a key id or user id.
    Requests(&'a str),
    /// Wrong keys and tokens from an address.
    FailuresFrom(IpAddr),
    /// Wrong secrets with a key id.
    FailuresOf(&'a str),
    /// Wrong passwords from an address.
    PasswordsFrom(IpAddr),
    /// Wrong passwords for a login.
    PasswordsOf(&'a str),
}

/// It is too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// When there is room again, seconds.
    pub(crate) retry_s: u64,
}

/// All buckets.
#[derive(Debug)]
pub(crate) struct Gate {
    rates: Rates,
    requests: Mutex<Buckets>,
    failures: Mutex<Buckets>,
    passwords: Mutex<Buckets>,
}

impl Gate {
    pub(crate) fn new(rates: Rates) -> Gate {
        Gate { rates, requests: Mutex::default(), failures: Mutex::default(), passwords: Mutex::default() }
    }

    /// Whether there is room, without taking any.
    pub(crate) fn look(&self, count: Count<'_>, now_ms: i64) -> Result<(), TooOften> {
        let (buckets, rate) = self.table(count);
        buckets.lock().look(&name(count), rate, now_ms)
    }

    /// Whether anything was taken of it lately.
    pub(crate) fn has_taken(&self, count: Count<'_>, now_ms: i64) -> bool {
        let (buckets, _) = self.table(count);
        buckets
            .lock()
            .full_at_us
            .get(&name(count))
            .is_some_and(|full_at_us| *full_at_us > now_ms.saturating_mul(1_000))
    }

    /// Takes one; refused if there is none, which takes nothing.
    pub(crate) fn take(&self, count: Count<'_>, now_ms: i64) -> Result<(), TooOften> {
        let (buckets, rate) = self.table(count);
        buckets.lock().take(name(count), rate, now_ms)
    }

    fn table(&self, count: Count<'_>) -> (&Mutex<Buckets>, Rate) {
        match count {
            Count::Requests(_) => (&self.requests, self.rates.requests),
            Count::FailuresFrom(_) | Count::FailuresOf(_) => (&self.failures, self.rates.failures),
            Count::PasswordsFrom(_) | Count::PasswordsOf(_) => (&self.passwords, self.rates.passwords),
        }
    }
}

/// Names come from outside and may be long: 16 bytes of their hash are kept.
type Name = [u8; 16];

fn name(count: Count<'_>) -> Name {
    let hash = match count {
        Count::Requests(id) => Sha256::digest(id),
        Count::FailuresFrom(address) | Count::PasswordsFrom(address) => address_hash(address),
        Count::FailuresOf(id) | Count::PasswordsOf(id) => {
            Sha256::new().chain_update("id ").chain_update(id).finalize()
        }
    };
    let mut name = [0; 16];
    name.copy_from_slice(&hash[..16]);
    name
}

/// Of IPv6, whoever has one address has its whole /64.
fn address_hash(address: IpAddr) -> sha2::digest::Output<Sha256> {
    match address.to_canonical() {
        IpAddr::V4(v4) => Sha256::digest(v4.octets()),
        IpAddr::V6(v6) => Sha256::digest(&v6.octets()[..8]),
    }
}

/// When each bucket is full again, microseconds since 1970.
#[derive(Debug, Default)]
struct Buckets {
    full_at_us: HashMap<Name, i64>,
    swept_ms: i64,
}

impl Buckets {
    fn look(&self, name: &Name, rate: Rate, now_ms: i64) -> Result<(), TooOften> {
        match self.full_at_us.get(name) {
            Some(full_at_us) => next(*full_at_us, rate, now_ms).map(drop),
            None => Ok(()),
        }
    }

    fn take(&mut self, name: Name, rate: Rate, now_ms: i64) -> Result<(), TooOften> {
        if let Some(full_at_us) = self.full_at_us.get_mut(&name) {
            *full_at_us = next(*full_at_us, rate, now_ms)?;
            return Ok(());
        }
        // A clock that was set back sweeps as well.
        if self.full_at_us.len() >= BUCKETS_MAX && now_ms.abs_diff(self.swept_ms) >= SWEEP_MS.unsigned_abs() {
            self.swept_ms = now_ms;
            self.full_at_us.retain(|_, full_at_us| *full_at_us > now_ms.saturating_mul(1_000));
        }
        if self.full_at_us.len() < BUCKETS_MAX {
            self.full_at_us.insert(name, next(i64::MIN, rate, now_ms)?);
        }
        Ok(())
    }
}

/// When a bucket is full again after one more was taken of it.
fn next(full_at_us: i64, rate: Rate, now_ms: i64) -> Result<i64, TooOften> {
    let now_us = now_ms.saturating_mul(1_000);
    let one_us = 1_000_000 / i64::from(rate.per_second.clamp(1, 1_000_000));
    let whole_us = one_us * i64::from(rate.burst.max(1));
    // Never emptier than empty: a clock that was set back does not shut anybody out for longer.
    let full_at_us = full_at_us.clamp(now_us, now_us.saturating_add(whole_us));
    let after_us = full_at_us.saturating_add(one_us);
    let too_late_us = after_us - now_us - whole_us;
    if too_late_us > 0 {
        return Err(TooOften { retry_s: too_late_us.unsigned_abs().div_ceil(1_000_000) });
    }
    Ok(after_us)
}

#[cfg(test)]
mod tests;
