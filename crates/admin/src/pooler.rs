//! What the console needs of the pooler. [`Control`] is the one that counts; the tests have one that stands still.

use std::sync::Arc;

use plimsoll_config::Plan;
use plimsoll_proxy::{
    ClientView, Control, ControlError, DatabaseView, HoldView, HouseView, ListsView, PoolView, Reloaded,
    ServerView, Shutdown, SiteView, StatsView, VisitorView, WaiterView,
};

macro_rules! pooler {
    ($( fn $name:ident(&self $(, $arg:ident : $ty:ty)*) $(-> $out:ty)?; )*) => {
        /// The part of [`Control`] the console uses, method by method.
        pub(crate) trait Pooler {
            $( fn $name(&self $(, $arg: $ty)*) $(-> $out)?; )*

            /// `KILL db`.
            fn kill(&self, database: &str) -> Result<(), ControlError>;
        }

        impl Pooler for Control {
            $( fn $name(&self $(, $arg: $ty)*) $(-> $out)? { Control::$name(self $(, $arg)*) } )*

            fn kill(&self, database: &str) -> Result<(), ControlError> {
                Control::kill(self, Some(database))
            }
        }
    };
}

pooler! {
    fn plan(&self) -> Arc<Plan>;
    fn clients(&self) -> Vec<ClientView>;
    fn servers(&self) -> Vec<ServerView>;
    fn pools(&self) -> Vec<PoolView>;
    fn databases(&self) -> Vec<DatabaseView>;
    fn stats(&self) -> Vec<StatsView>;
    fn lists(&self) -> ListsView;
    fn moves(&self) -> u64;
    fn holds(&self) -> Vec<HoldView>;
    fn waiters(&self) -> Vec<WaiterView>;
    fn sites(&self) -> Vec<SiteView>;
    fn history(&self) -> Vec<HoldView>;
    fn visitors(&self) -> Vec<VisitorView>;
    fn house(&self) -> HouseView;
    fn is_paused(&self) -> bool;
    fn pause(&self, database: Option<&str>) -> Result<(), ControlError>;
    fn resume(&self, database: Option<&str>) -> Result<(), ControlError>;
    fn reconnect(&self, database: Option<&str>) -> Result<(), ControlError>;
    fn kill_client(&self, id: u64) -> Result<(), ControlError>;
    fn disable(&self, database: &str) -> Result<(), ControlError>;
    fn enable(&self, database: &str) -> Result<(), ControlError>;
    fn reload(&self, plan: Plan) -> Reloaded;
    fn shutdown(&self, how: Shutdown);
}
