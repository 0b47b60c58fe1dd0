//! The data plane: listeners, workers, login, the relay, connector, cancel, closing.
//!
//! Everything that touches a socket or a clock is here; what is to be done is decided in `session`, `pool` and
//! `auth`. [`start`] gives a [`Control`], through which `main` and the console look and act.

mod ask;
mod cancel;
mod carry;
mod cleaner;
mod closer;
mod connector;
mod console;
mod control;
mod control_thread;
mod count;
mod credentials;
mod dial;
mod directory;
mod entry;
mod gate;
mod handover;
mod hub;
mod keeper;
mod ledger;
mod linger;
mod listener;
mod liveness;
mod login;
mod loss;
mod map;
mod message;
mod needed;
mod options;
mod order;
mod outlet;
mod peers;
mod proxy_protocol;
mod random;
mod ready_thread;
mod relay;
mod replication;
mod report;
mod security;
mod server;
mod slot_task;
mod socket;
mod spill;
mod start;
mod stats;
mod system;
mod tally;
mod targets;
mod views;
mod voucher;
mod welcome;
mod worker;

pub use ask::{Backend, Said, ServerFacts};
pub use console::{
    ClientState, ClientView, Console, ControlError, DatabaseView, Fetched, Level, ListsView, OfFacts, OfThen,
    PoolView, Reloaded, Reply, ServerView, Shutdown, StatsView, Until, Visitor,
};
pub use control::{
    AdmissionView, ApplicationFigures, Control, Figures, HoldFigures, KeyView, PartView, PoolFigures,
    QueuePart, ReleaseAsk, ReleaseClient, ReleaseExecuting, Released, SaidView, Sharer, SiteFigures,
    TargetView, TrendView,
};
pub use credentials::{Credentials, Given, Giving, NoCredentials, Wanted};
pub use handover::{AskError, FrameError, Offer, Successor, ask as ask_predecessor};
pub use keeper::{
    GrantLimits, Keeper, Kept, NotByCertificate, Proof, Proved, ProvedView, Proving, Recognising, Refused,
    ShownCertificate,
};
pub use liveness::{FoundView, LifeView};
pub use peers::{PeerTraffic, PeerView};
pub use plimsoll_auth::{Bearer, Discovery};
pub use plimsoll_ledger::Rate;
pub use ready_thread::ReadyThread;
pub use security::{ldap_tls, tls_settings};
pub use spill::{StoreView, probe_spill_dir};
pub use start::{Built, Options, StartError, prepare, start};
pub use stats::{COUNTERS, Counter, PoolTimes, TIME_ENDS_US, Times, Totals};
pub use views::{
    DeedView, HoldView, HouseView, NeedView, SiteView, SpillView, StatementView, TextFrom, VerdictLevel,
    VerdictView, VisitorView, WaiterView, WhoView,
};
pub use voucher::{Authority, Claim, NoVoucher, Voucher, Vouching};
