//! One client-side pool for each token (the other face of the third incident): an application that makes a pool of its
//! own for every user name or token opens many connections with different credentials and does little with each.
//!
//! Credentials are compared by a hash with a key that is made at start and never leaves the process; neither they nor
//! the hash are shown or logged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_auth::Stored;
use plimsoll_ledger::text::escape;
use plimsoll_types::Moment;

use super::{application_of, voice};
use crate::entry::ClientEntry;
use crate::hub::Hub;
use crate::keeper::Proved;

/// How often all clients are looked at.
const INTERVAL: Duration = Duration::from_secs(30);

/// So many different credentials in one place are worth a word.
const MANY: usize = 20;

/// That is, if each of them comes from so few connections: more, and it is a pool that is used.
const CONNECTIONS_EACH: usize = 2;

/// And if that many share a host: people at their own machines have credentials of their own.
const EACH_HOST: usize = 4;

/// And if they do so few transactions each, on average.
const USES_EACH: u64 = 5;

/// The same group is told again after this time.
const AGAIN: Duration = Duration::from_secs(3600);

/// Groups that are remembered as told.
const TOLD_MAX: usize = 1024;

/// See the module.
#[derive(Default)]
pub(crate) struct Credentials {
    key: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    looked: Option<Moment>,
    told: HashMap<Group, Moment>,
}

/// Whose connections are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Group {
    Application(String),
    Host(String),
}

/// What a group has open.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    connections: usize,
    credentials: HashSet<u64>,
    hosts: HashSet<String>,
    uses: u64,
}

impl Credentials {
    /// Stands for what a client has shown: its name, the secret that fits, its certificate.
    pub(crate) fn mark(&self, user: &str, secret: Option<&Stored>, certificate: Option<&[u8]>) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write(user.as_bytes());
        hasher.write_u8(0xff);
        if let Some(secret) = secret {
            hasher.write(match secret {
                Stored::Plain(secret) | Stored::Md5(secret) => secret.expose(),
                Stored::Scram(verifier) => verifier.stored_key.expose(),
            });
        }
        hasher.write_u8(0xff);
        hasher.write(certificate.unwrap_or_default());
        hasher.finish()
    }

    /// Stands for a proved identity: each token of it is another.
    pub(crate) fn mark_identity(&self, proved: &Proved) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write(proved.subject_id.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(proved.token_id.as_deref().unwrap_or_default().as_bytes());
        hasher.finish()
    }

    /// Looks at all clients now and then, and says what looks like a pool for each token.
    pub(super) fn look(&self, hub: &Hub) {
        let now = hub.now();
        if hub.clients.lock().len() < MANY {
            return;
        }
        {
            let mut state = self.state.lock();
            if state.looked.is_some_and(|looked| now < looked + INTERVAL) {
                return;
            }
            state.looked = Some(now);
        }
        let clients: Vec<Arc<ClientEntry>> = hub.clients.lock().values().cloned().collect();
        let mut groups: BTreeMap<Group, Count> = BTreeMap::new();
        for client in &clients {
            let (application, host) = (application_of(hub, client), client.peer.addr());
            let mut add = |group: Group| {
                let count = groups.entry(group).or_default();
                count.connections += 1;
                count.credentials.insert(client.credential);
                count.uses += client.uses();
                if !count.hosts.contains(&host) {
                    count.hosts.insert(host.clone());
                }
            };
            if !application.is_empty() {
                add(Group::Application(application));
            }
            add(Group::Host(host.clone()));
        }
        for (group, count) in groups.into_iter().filter(|(_, count)| count.is_one_pool_each()) {
            if self.state.lock().is_news(&group, now) {
                voice::warn(hub.plan().own.compat, &words(&group, &count));
            }
        }
    }
}

impl State {
    fn is_news(&mut self, group: &Group, now: Moment) -> bool {
        if self.told.get(group).is_some_and(|told| now < *told + AGAIN) {
            return false;
        }
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        self.told.insert(group.clone(), now);
        true
    }
}

impl Count {
    fn is_one_pool_each(&self) -> bool {
        let credentials = self.credentials.len();
        credentials >= MANY
            && self.connections <= credentials * CONNECTIONS_EACH
            && credentials >= self.hosts.len() * EACH_HOST
            && self.uses <= u64::try_from(self.connections).unwrap_or(u64::MAX).saturating_mul(USES_EACH)
    }
}

fn words(group: &Group, count: &Count) -> String {
    let who = match group {
        Group::Application(name) => format!("application {}", escape(name.as_bytes())),
        Group::Host(host) => format!("host {host}"),
    };
    let (connections, credentials) = (count.connections, count.credentials.len());
    format!(
        "{who} has {connections} client connections with {credentials} different credentials open and has done {} \
         transactions on all of them: that looks like a pool at the client for each token or user. Let one pool there \
         ask for the token when it connects, with the same connection string for all",
        count.uses
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(connections: usize, credentials: u64, hosts: usize, uses: u64) -> Count {
        Count {
            connections,
            credentials: (0..credentials).collect(),
            hosts: (0..hosts).map(|host| host.to_string()).collect(),
            uses,
        }
    }

    #[test]
    fn many_credentials_with_little_use_are_told_and_others_are_not() {
        assert!(count(30, 30, 2, 40).is_one_pool_each());
        assert!(!count(30, 1, 2, 40).is_one_pool_each(), "one credential");
        assert!(!count(300, 30, 2, 40).is_one_pool_each(), "pools that have grown");
        assert!(!count(30, 30, 30, 40).is_one_pool_each(), "people at their own machines");
        assert!(!count(30, 30, 2, 4000).is_one_pool_each(), "they are used");
    }

    #[test]
    fn a_group_is_told_once_an_hour() {
        let mut state = State::default();
        let group = Group::Application("web".into());
        assert!(state.is_news(&group, Moment(0)));
        assert!(!state.is_news(&group, Moment(3_599_000_000)));
        assert!(state.is_news(&Group::Host("web".into()), Moment(1)));
        assert!(state.is_news(&group, Moment(3_600_000_000)));
    }

    #[test]
    fn a_mark_is_the_same_for_the_same_and_another_for_others() {
        let credentials = Credentials::default();
        let mark = |user, certificate: Option<&[u8]>| credentials.mark(user, None, certificate);
        assert_eq!(mark("app", None), mark("app", None));
        assert_ne!(mark("app", None), mark("other", None));
        assert_ne!(mark("app", Some(b"one")), mark("app", Some(b"two")));
        assert_ne!(
            Credentials::default().mark("app", None, None),
            mark("app", None),
            "each process has its key"
        );
    }
}
