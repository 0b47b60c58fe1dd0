//! Names of kept snapshots: whose, when, why.
//!
//! `p6432-1a2b3c4d.20261121T140203.123Z.interval.json`: sorted by name they are sorted by time.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::path::Path;

use plimsoll_config::Plan;
use plimsoll_ledger::snapshot::{Reason, Wall};

/// Behind every name.
const SUFFIX: &str = ".json";

/// Behind the name of a file that is being written; these begin with a dot.
const PART: &str = ".part";

/// Whose snapshots they are: the same after a restart with the same listeners, another for another pooler on the
/// machine, since no two can listen at the same place. With `so_reuseport` they can, and then `peer_id`, the pid file and
/// the configuration's path tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

/// FNV-1a: the same in every version of the program.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl Key {
    /// `config` is the file that the plan was read from, if there is one.
    pub(super) fn of(plan: &Plan, config: Option<&Path>) -> Key {
        let general = &plan.general;
        let mut hasher = BuildHasherDefault::<Fnv>::default().build_hasher();
        for address in &general.listen_addr {
            hasher.write(address.as_bytes());
            hasher.write(&[0xff]);
        }
        if let Some(dir) = &general.unix_socket_dir {
            hasher.write(dir.as_os_str().as_encoded_bytes());
        }
        if general.so_reuseport {
            let peer = plan.shown.iter().find(|shown| shown.key == "peer_id");
            let peer = peer.and_then(|shown| shown.value.as_deref()).unwrap_or_default();
            let path = |path: Option<&Path>| {
                path.map_or(Vec::new(), |path| path.as_os_str().as_encoded_bytes().to_vec())
            };
            for part in [peer.as_bytes().to_vec(), path(general.pidfile.as_deref()), path(config)] {
                hasher.write(&[0xff]);
                hasher.write(&part);
            }
        }
        Key(format!("p{}-{:08x}", general.listen_port, hasher.finish() & 0xffff_ffff))
    }

    /// Whether a file is one of ours that was never finished.
    pub(super) fn is_part(&self, name: &str) -> bool {
        let ours = name.strip_prefix('.').and_then(|name| name.strip_prefix(self.0.as_str()));
        ours.is_some_and(|rest| rest.starts_with('.') && rest.ends_with(PART))
    }
}

/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// As it is written.
    pub(super) text: String,
    /// When the snapshot was taken, to the millisecond.
    pub(super) taken: Wall,
    /// Why.
    pub(super) reason: Reason,
}

impl Name {
    pub(super) fn new(key: &Key, taken: Wall, reason: Reason) -> Name {
        let taken = Wall::from_micros(taken.micros() / 1000 * 1000);
        // `2026-11-21T14:02:03.123456Z` without what separates, and without microseconds.
        let stamp: String = taken.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let stamp = stamp.get(..19).unwrap_or_default();
        let text = format!("{}.{stamp}Z.{}{SUFFIX}", key.0, reason.as_str());
        Name { text, taken, reason }
    }

    /// What a file's name says, if it is one of ours.
    pub(super) fn parse(key: &Key, text: &str) -> Option<Name> {
        let rest = text.strip_prefix(key.0.as_str())?.strip_prefix('.')?;
        let (stamp, rest) = (rest.get(..20)?, rest.get(20..)?);
        let word = rest.strip_prefix('.')?.strip_suffix(SUFFIX)?;
        let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == word)?;
        let part = |from: usize, to: usize| stamp.get(from..to);
        let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
        let (time, minute, second) = (part(8, 11)?, part(11, 13)?, part(13, 15)?);
        let taken =
            Wall::parse(&format!("{year}-{month}-{day}{time}:{minute}:{second}{}000Z", part(15, 19)?))?;
        // Only what would be written so.
        Some(Name::new(key, taken, reason)).filter(|name| name.text == text)
    }

    /// The name it has until it is whole.
    pub(super) fn part(&self, instance: &str) -> String {
        format!(".{}.{instance}{PART}", self.text)
    }

    /// With which others it is counted.
    pub(super) fn group(&self) -> Group {
        match self.reason {
            Reason::Asked | Reason::Interval => Group::Periodic,
            Reason::QueueTimeout | Reason::Panic | Reason::Shutdown => Group::Special,
        }
    }
}

/// Snapshots that push out each other and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// The time made them.
    Periodic,
    /// Something had happened.
    Special,
}
