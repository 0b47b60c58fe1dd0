//! What the console needs of the pooler. [`Control`] is the one that counts; the tests have one that stands still.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::Plan;
use plimsoll_ledger::snapshot::{Reason, Snapshot};
use plimsoll_pool::{CapOf, CapView};
use plimsoll_proxy::{
    AdmissionView, ClientView, Control, ControlError, DatabaseView, DeedView, Figures, FoundView, HoldView,
    HouseView, KeyView, LifeView, ListsView, PeerView, PoolView, ProvedView, ReleaseAsk, Released, Reloaded,
    ServerView, Shutdown, SiteView, SpillView, StatsView, StoreView, TargetView, TrendView, VisitorView,
    WaiterView,
};

/// A host name of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DnsHost {
    pub(crate) name: String,
    /// When it is looked up again.
    pub(crate) again_in: Duration,
    /// What it resolves to.
    pub(crate) addresses: Vec<IpAddr>,
}

/// What something takes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cache {
    /// PgBouncer's name for it.
    pub(crate) name: &'static str,
    /// Bytes of one.
    pub(crate) size: usize,
    /// How many there are.
    pub(crate) used: usize,
}

macro_rules! pooler {
    ($( fn $name:ident(&self $(, $arg:ident : $ty:ty)*) $(-> $out:ty)?; )*) => {
        /// The part of [`Control`] the console uses, method by method.
        pub(crate) trait Pooler {
            $( fn $name(&self $(, $arg: $ty)*) $(-> $out)?; )*

            /// `KILL db`.
            fn kill(&self, database: &str) -> Result<(), ControlError>;

            /// `SHOW DNS_HOSTS`, by name.
            fn dns_hosts(&self) -> Vec<DnsHost>;

            /// `SHOW MEM`.
            fn memory(&self) -> Vec<Cache>;
        }

        impl Pooler for Control {
            $( fn $name(&self $(, $arg: $ty)*) $(-> $out)? { Control::$name(self $(, $arg)*) } )*

            fn kill(&self, database: &str) -> Result<(), ControlError> {
                Control::kill(self, Some(database))
            }

            fn dns_hosts(&self) -> Vec<DnsHost> {
                let hosts = Control::dns_hosts(self).into_iter();
                hosts
                    .map(|view| DnsHost {
                        name: view.name,
                        again_in: view.again_in,
                        addresses: view.addresses,
                    })
                    .collect()
            }

            fn memory(&self) -> Vec<Cache> {
                let caches = Control::memory(self).into_iter();
                caches.map(|view| Cache { name: view.name, size: view.size, used: view.used }).collect()
            }
        }
    };
}

pooler! {
    fn plan(&self) -> Arc<Plan>;
    fn dns_zones(&self) -> Vec<(String, u32, usize)>;
    fn clients(&self) -> Vec<ClientView>;
    fn console_clients(&self) -> usize;
    fn servers(&self) -> Vec<ServerView>;
    fn pools(&self) -> Vec<PoolView>;
    fn databases(&self) -> Vec<DatabaseView>;
    fn stats(&self) -> Vec<StatsView>;
    fn lists(&self) -> ListsView;
    fn peers(&self) -> Vec<PeerView>;
    fn moves(&self) -> u64;
    fn lives(&self) -> HashMap<u64, LifeView>;
    fn found_dead(&self) -> Vec<FoundView>;
    fn holds(&self) -> Vec<HoldView>;
    fn waiters(&self) -> Vec<WaiterView>;
    fn sites(&self) -> Vec<SiteView>;
    fn identities(&self) -> Vec<ProvedView>;
    fn spills(&self) -> Vec<SpillView>;
    fn spill_store(&self) -> StoreView;
    fn history(&self) -> Vec<HoldView>;
    fn actions(&self) -> Vec<DeedView>;
    fn action_counts(&self) -> Vec<(&'static str, u64)>;
    fn release(&self, ask: ReleaseAsk, by: &str) -> Result<Released, ControlError>;
    fn set_cap(&self, of: CapOf, max: u32, lasting: Option<Duration>, by: &str);
    fn remove_cap(&self, of: &CapOf, by: &str) -> bool;
    fn caps(&self) -> Vec<(CapView, Option<Duration>)>;
    fn snapshot(&self, why: Reason) -> Snapshot;
    fn visitors(&self) -> Vec<VisitorView>;
    fn house(&self) -> HouseView;
    fn figures(&self) -> Figures;
    fn targets(&self) -> Vec<TargetView>;
    fn trends(&self) -> Vec<TrendView>;
    fn pool_keys(&self) -> Vec<KeyView>;
    fn admission(&self, database: &str, user: &str) -> AdmissionView;
    fn is_paused(&self) -> bool;
    fn is_suspended(&self) -> bool;
    fn suspend(&self) -> Result<(), ControlError>;
    fn wait_close(&self, database: Option<&str>) -> Result<(), ControlError>;
    fn pause(&self, database: Option<&str>) -> Result<(), ControlError>;
    fn resume(&self, database: Option<&str>) -> Result<(), ControlError>;
    fn reconnect(&self, database: Option<&str>) -> Result<(), ControlError>;
    fn kill_client(&self, id: u64) -> Result<(), ControlError>;
    fn disable(&self, database: &str) -> Result<(), ControlError>;
    fn enable(&self, database: &str) -> Result<(), ControlError>;
    fn reload(&self, plan: Plan) -> Reloaded;
    fn shutdown(&self, how: Shutdown);
}
