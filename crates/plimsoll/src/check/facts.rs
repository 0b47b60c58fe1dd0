//! What is known of the world outside the configuration: files, limits of the system, servers. Plain values, so that
//! every rule can be tried without any of them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::finding::Place;

/// Whether servers and names are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// They are.
    Online,
    /// They are not: nothing leaves this machine.
    #[default]
    Offline,
}

/// Everything that was looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Whether servers were asked.
    pub(super) reach: Reach,
    /// The files and folders that the configuration names, and the folders they are in.
    pub(super) files: BTreeMap<PathBuf, FileFact>,
    /// What keeps TLS from being set up.
    pub(super) tls_faults: Vec<TlsFault>,
    /// What is to be said of HBA file and ident map.
    pub(super) rules: Rules,
    /// Why no temporary file can be made in `spill_dir`, if any is wanted.
    pub(super) spill_trouble: Option<String>,
    /// As whom the pooler will run.
    pub(super) who: Who,
    /// Most file descriptors (the hard limit); `None` where it is not known.
    pub(super) files_max: Option<u64>,
    /// Whether a pooler listens where this configuration would.
    pub(super) running: Running,
    /// Addresses of host names.
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    /// What each target answered, if it was asked.
    pub(super) answers: BTreeMap<Target, Answer>,
}

/// Something about TLS that cannot be as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFault {
    /// The key.
    pub(super) key: String,
    /// What is wrong.
    pub(super) message: String,
}

/// HBA file and ident map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Lines that are not as they should be, and what becomes of them.
    pub(super) broken: Vec<(Place, String)>,
    /// Lines that let in more than they should.
    pub(super) weak: Vec<Weak>,
    /// Keys of files that cannot be read, and why.
    pub(super) unread: Vec<(&'static str, String)>,
}

/// A line that lets in more than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weak {
    /// Where.
    pub(super) place: Place,
    /// Why.
    pub(super) weakness: Weakness,
}

/// What is weak about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weakness {
    /// Anybody gets in, from other machines.
    Trust,
    /// A password crosses the network as it is.
    ClearText,
    /// Passwords go to an LDAP server on another machine as they are.
    LdapInTheClear,
    /// The search for a user is the same for all of them.
    LdapSameForAll,
    /// Whoever searches is bound without a password.
    LdapUnproved,
}

/// Whether a pooler of this configuration is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Running {
    /// Somebody listens there.
    Yes,
    /// Nobody does, or it is not known.
    #[default]
    No,
}

/// A file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileFact {
    /// There is none.
    Missing,
    /// It cannot be looked at: why.
    Hidden(String),
    /// It is there.
    There(Rights),
}

/// Whose it is and who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    /// Permission bits.
    pub(super) mode: u32,
    /// Its owner.
    pub(super) uid: u32,
    /// Its group.
    pub(super) gid: u32,
}

/// A user of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Who {
    /// The name; empty where only the number is known.
    pub(super) name: String,
    /// The number; 0 may everything.
    pub(super) uid: u32,
    /// The groups.
    pub(super) gids: Vec<u32>,
}

/// What one wants to do with a file; for a folder `Write` is making files in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Read,
    Write,
}

impl Who {
    /// Whether the permission bits let this user. What else may forbid it (access lists, a file system that is
    /// read-only) is not looked at.
    pub(super) fn may(&self, wish: Wish, rights: Rights, kind: Kind) -> bool {
        let needed = match (wish, kind) {
            (Wish::Read, Kind::File) => 0o4,
            (Wish::Read, Kind::Folder) => 0o5,
            (Wish::Write, Kind::File) => 0o2,
            (Wish::Write, Kind::Folder) => 0o3,
        };
        let bits = if self.uid == rights.uid {
            rights.mode >> 6
        } else if self.gids.contains(&rights.gid) {
            rights.mode >> 3
        } else {
            rights.mode
        };
        self.uid == 0 || bits & needed == needed
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "user {}", self.uid),
            name => write!(f, "user {name}"),
        }
    }
}

/// What something at a path is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
}

/// One physical server as the configuration reaches it: what a budget is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// An address.
    Tcp(IpAddr, u16),
    /// A name whose addresses are not known.
    Name(String, u16),
    /// The folder of a Unix socket.
    Unix(PathBuf, u16),
}

impl Target {
    /// Whether what goes there stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Target::Tcp(ip, _) => ip.to_canonical().is_loopback(),
            Target::Name(name, _) => name.eq_ignore_ascii_case("localhost"),
            Target::Unix(..) => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
            Target::Tcp(IpAddr::V4(ip), port) => write!(f, "{ip}:{port}"),
            Target::Name(name, port) => write!(f, "{name}:{port}"),
            Target::Unix(dir, port) => write!(f, "{}", socket(dir, *port).display()),
        }
    }
}

/// The socket of a port in a folder, as PostgreSQL names it.
pub(super) fn socket(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!(".s.PGSQL.{port}"))
}

/// A target's answer.
pub(super) type Answer = Result<Said, Silent>;

/// Why a target did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Silent {
    /// In words.
    pub(super) why: String,
    /// Whether it was for want of places.
    pub(super) full: Full,
}

/// Whether a server has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Yes,
    No,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The same for two targets only if they are one server: when it started, and its own port.
    pub(super) identity: String,
    /// `server_version`.
    pub(super) version: String,
    /// `max_connections`.
    pub(super) max_connections: u32,
    /// `superuser_reserved_connections` and `reserved_connections` together.
    pub(super) kept: u32,
    /// Sessions that were there, the one that asked left out.
    pub(super) sessions: Vec<Sessions>,
    /// Roles that may log in and are superusers, or have a limit of their own.
    pub(super) roles: BTreeMap<String, Role>,
    /// Databases with a limit of their own.
    pub(super) databases: BTreeMap<String, u32>,
    /// `idle_session_timeout` of the role that asked; zero is off, `None` before PostgreSQL 14.
    pub(super) idle_session_timeout: Option<Duration>,
    /// Names of the parameters that are reported.
    pub(super) reported: Vec<String>,
    /// What `control_user` gets to see there.
    pub(super) watching: Watching,
}

/// What `control_user` gets to see on a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Watching {
    /// There is none.
    #[default]
    Nobody,
    /// Everything.
    Sees,
    /// Not the sessions of others.
    Blind,
    /// It is not let in: why.
    Refused(String),
}

impl Said {
    /// Places for logins that are nothing special.
    pub(super) fn room(&self) -> u32 {
        self.max_connections.saturating_sub(self.kept)
    }
}

/// Sessions of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sessions {
    /// Their role.
    pub(super) role: String,
    /// Where they come from.
    pub(super) from: Origin,
    /// What they look like.
    pub(super) looks: Looks,
    /// How many.
    pub(super) count: u32,
}

/// Where a session comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This machine, as the server sees it.
    Here,
    /// Another address.
    Elsewhere(String),
    /// The server does not tell our role.
    Hidden,
}

/// What a session looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// A pooler's: its name is in application_name, or the last thing it did was DISCARD ALL.
    Pooled,
    /// Anybody's.
    Plain,
}

/// What is special about a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    /// CONNECTION LIMIT.
    pub(super) limit: Option<u32>,
    /// Whether it takes the places that are kept.
    pub(super) rank: Rank,
}

/// Rank of a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rank {
    #[default]
    Plain,
    Superuser,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_bits_are_read_as_the_system_reads_them() {
        let who = |uid, gids: &[u32]| Who { name: String::new(), uid, gids: gids.to_vec() };
        let rights = |mode| Rights { mode, uid: 10, gid: 20 };
        assert!(who(0, &[]).may(Wish::Write, rights(0), Kind::File));
        assert!(who(10, &[]).may(Wish::Read, rights(0o400), Kind::File));
        // The owner's bits count for the owner, also where others may more.
        assert!(!who(10, &[20]).may(Wish::Read, rights(0o044), Kind::File));
        assert!(who(11, &[20]).may(Wish::Read, rights(0o040), Kind::File));
        assert!(!who(11, &[21]).may(Wish::Read, rights(0o040), Kind::File));
        // To make a file in a folder one must also be able to enter it.
        assert!(!who(11, &[]).may(Wish::Write, rights(0o772), Kind::Folder));
        assert!(who(11, &[]).may(Wish::Write, rights(0o773), Kind::Folder));
    }

    #[test]
    fn what_stays_on_this_machine() {
        let tcp = |text: &str| Target::Tcp(text.parse().expect("an address"), 5432);
        for local in
            [tcp("127.0.0.9"), tcp("::1"), tcp("::ffff:127.0.0.1"), Target::Name("LocalHost".into(), 1)]
        {
            assert!(local.is_local(), "{local}");
        }
        for remote in [tcp("10.0.0.1"), tcp("fe80::1"), Target::Name("db.example".into(), 1)] {
            assert!(!remote.is_local(), "{remote}");
        }
    }
}
