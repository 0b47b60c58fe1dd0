//! Every key of `[plimsoll]`: one row each.

mod shown;

use std::path::PathBuf;
use std::time::Duration;

use crate::http::hosts::HttpHosts;
use crate::http::{self, HttpListen};
use crate::identity::{self, IdentityStore};
use crate::leak::LeakAct;
use crate::listeners::{self, ProxyListeners};
use crate::near;
use crate::network::{self, Network};
use crate::plan::{
    CancelOnClientLoss, Compat, Disclose, Ledger, Own, Plan, QueueFairness, SnapshotDir, Spill,
    SpillInTransaction, Statements,
};
use crate::table::{Fault, When};
use crate::target::{self, HEADROOM_MAX};
use crate::value;
use crate::vouch;

pub use shown::shown;

/// Where in `Own` a value lives.
type At<T> = fn(&mut Own) -> &mut Option<T>;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// The longest time of a policy about leaks.
pub(crate) const LEAK_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Shortest blocking period.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// The default of `connect_backoff_min`.
const BACKOFF_MIN_DEFAULT: Duration = Duration::from_millis(100);
/// The default of `connect_backoff_max`.
const BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(2);

/// Most that `batch_hold_bytes` may be: what is kept and what comes next are looked at in one buffer of this size.
const HOLD_BYTES_MAX: usize = 64 << 10;

/// The smallest `spill_per_client`, bytes: less than two pieces of a spill would never begin one.
pub(crate) const SPILL_PER_CLIENT_MIN: usize = 128 << 10;

/// Most series of one name that applications may make.
const APPLICATIONS_MAX: u32 = 10_000;
/// Most snapshots that are kept.
const SNAPSHOTS_MAX: u32 = 10_000;

/// Most checks of passwords by LDAP or PAM at once.
const CHECKS_MAX: u32 = 256;

/// Most worker threads.
const WORKERS_MAX: u16 = 64;

/// Type and place of a value.
pub(crate) enum Field {
    /// 1 to 64.
    Workers,
    /// `auto`, `off`, or 1 and more.
    Budget,
    /// `plimsoll` or `pgbouncer`.
    Compat,
    /// `on` or `off`.
    Ledger,
    /// `redacted`, `full` or `off`.
    Statements,
    /// `none`, `same_pool` or `all`.
    Disclose,
    /// `fifo` or `application`.
    Fairness,
    /// `on` or `off`.
    CancelOnClientLoss,
    /// `off`, `v2` or `any`.
    Proxy,
    /// `off`, or addresses of this machine.
    Http,
    /// `off`, or where.
    IdentityStore,
    /// Any text; empty is none.
    Text(At<String>),
    /// The name of a service of PAM.
    PamService,
    /// Names of hosts, or `*`.
    HttpHosts,
    /// A list of networks.
    Networks(fn(&mut Own) -> &mut Vec<Network>),
    /// `off`, `memory` or `disk`.
    Spill,
    /// `waiting` or `always`.
    LeakAct,
    /// `on` or `off`.
    SpillInTransaction,
    /// An absolute path; empty is the default.
    Folder(At<PathBuf>),
    /// `auto`, `off` or an absolute path.
    SnapshotDir,
    /// A name; empty is none.
    Name(At<String>),
    /// A whole number, from and to.
    Count(At<u32>, u32, u32),
    /// The same, and 0 is off.
    TimeOrOff(At<Duration>, Duration, Duration),
    /// A time with a unit, from and to.
    Time(At<Duration>, Duration, Duration),
    /// A size with a unit, bytes from and to.
    Size(At<usize>, usize, usize),
}

/// One row.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) default: &'static str,
    pub(crate) field: Field,
    /// Whether only a restart changes it.
    pub(crate) when: When,
}

/// The rows.
pub(crate) static KEYS: &[Key] = &[
    restart("workers", "number of cores, at most 4", Field::Workers),
    reload("target_budget", "auto", Field::Budget),
    reload("target_headroom", "3", Field::Count(|own| &mut own.target_headroom, 0, HEADROOM_MAX)),
    reload("control_user", "none", Field::Name(|own| &mut own.control_user)),
    reload(
        "control_interval",
        "5s",
        Field::Time(|own| &mut own.control_interval, Duration::from_millis(100), DAY),
    ),
    reload("connect_concurrency", "4", Field::Count(|own| &mut own.connect_concurrency, 1, 1000)),
    reload("connect_backoff_min", "100ms", Field::Time(|own| &mut own.connect_backoff_min, BACKOFF_MIN, DAY)),
    reload("connect_backoff_max", "2s", Field::Time(|own| &mut own.connect_backoff_max, BACKOFF_MIN, DAY)),
    reload("queue_fairness", "fifo", Field::Fairness),
    restart("compat", "plimsoll", Field::Compat),
    reload("fairness_slack", "5ms", Field::Time(|own| &mut own.fairness_slack, Duration::ZERO, SECOND)),
    reload("close_timeout", "5s", Field::Time(|own| &mut own.close_timeout, Duration::from_millis(1), DAY)),
    reload(
        "restart_tls_timeout",
        "60s",
        Field::Time(|own| &mut own.restart_tls_timeout, Duration::ZERO, DAY),
    ),
    reload("lost_max", "10min", Field::Time(|own| &mut own.lost_max, Duration::ZERO, DAY)),
    reload("cancel_on_client_loss", "on; off with compat = pgbouncer", Field::CancelOnClientLoss),
    reload(
        "cleanup_timeout",
        "5s; 0 with compat = pgbouncer",
        Field::Time(|own| &mut own.cleanup_timeout, Duration::ZERO, DAY),
    ),
    reload(
        "client_stall_timeout",
        "60s; 0 with compat = pgbouncer",
        Field::Time(|own| &mut own.client_stall_timeout, Duration::ZERO, DAY),
    ),
    reload("batch_hold_bytes", "64KiB", Field::Size(|own| &mut own.batch_hold_bytes, 0, HOLD_BYTES_MAX)),
    reload("batch_hold_memory", "64MiB", Field::Size(|own| &mut own.batch_hold_memory, 0, 1 << 40)),
    reload(
        "server_check_timeout",
        "5s",
        Field::Time(|own| &mut own.server_check_timeout, Duration::from_millis(1), DAY),
    ),
    reload("collect_max", "1MiB", Field::Size(|own| &mut own.collect_max, 1 << 10, 1 << 30)),
    reload("collect_memory", "64MiB", Field::Size(|own| &mut own.collect_memory, 1 << 10, 1 << 40)),
    reload("ledger", "on", Field::Ledger),
    reload(
        "ledger_statement_bytes",
        "1KiB",
        Field::Size(|own| &mut own.ledger_statement_bytes, 64, 64 << 10),
    ),
    reload("ledger_statements", "redacted", Field::Statements),
    reload("leak_idle_threshold", "10s", Field::Time(|own| &mut own.leak_idle_threshold, SECOND, DAY)),
    reload("leak_age_floor", "30s", Field::Time(|own| &mut own.leak_age_floor, SECOND, DAY)),
    reload("leak_unread_threshold", "30s", Field::Time(|own| &mut own.leak_unread_threshold, SECOND, DAY)),
    reload("leak_warn_after", "0 (off)", Field::TimeOrOff(|own| &mut own.leak.warn_after, SECOND, LEAK_MAX)),
    reload(
        "leak_cancel_after",
        "0 (off)",
        Field::TimeOrOff(|own| &mut own.leak.cancel_after, SECOND, LEAK_MAX),
    ),
    reload(
        "leak_close_after",
        "0 (off)",
        Field::TimeOrOff(|own| &mut own.leak.close_after, SECOND, LEAK_MAX),
    ),
    reload("leak_act", "waiting", Field::LeakAct),
    reload(
        "trend_interval",
        "1min",
        Field::Time(|own| &mut own.trend_interval, SECOND, Duration::from_secs(600)),
    ),
    reload("disclose_holders", "same_pool", Field::Disclose),
    reload("client_heartbeat", "0 (off)", Field::TimeOrOff(|own| &mut own.client_heartbeat, SECOND, DAY)),
    reload("proxy_protocol", "off", Field::Proxy),
    reload("proxy_protocol_from", "none", Field::Networks(|own| &mut own.proxy_protocol_from)),
    reload("spill", "disk", Field::Spill),
    reload("spill_after", "20ms", Field::Time(|own| &mut own.spill_after, Duration::ZERO, DAY)),
    reload("spill_memory", "64MiB", Field::Size(|own| &mut own.spill_memory, 0, 1 << 40)),
    reload("spill_dir", "/var/tmp", Field::Folder(|own| &mut own.spill_dir)),
    reload("spill_disk", "1GiB", Field::Size(|own| &mut own.spill_disk, 0, 1 << 46)),
    reload(
        "spill_per_client",
        "64MiB",
        Field::Size(|own| &mut own.spill_per_client, SPILL_PER_CLIENT_MIN, 1 << 46),
    ),
    reload("spill_in_transaction", "off", Field::SpillInTransaction),
    reload("snapshot_dir", "auto", Field::SnapshotDir),
    reload("snapshot_interval", "15min", Field::Time(|own| &mut own.snapshot_interval, BACKOFF_MIN, DAY)),
    reload("snapshot_keep", "96", Field::Count(|own| &mut own.snapshot_keep, 1, SNAPSHOTS_MAX)),
    reload("log_spill_over", "16MiB", Field::Size(|own| &mut own.log_spill_over, 0, 1 << 46)),
    restart("identity_store", "off", Field::IdentityStore),
    restart(
        "identity_issuer",
        "https://ADDRESS of http_listen with http_tls_cert_file, else http://ADDRESS",
        Field::Text(|own| &mut own.identity.issuer),
    ),
    restart("identity_audience", "plimsoll", Field::Text(|own| &mut own.identity.audience)),
    reload("identity_stale", "5min", Field::Time(|own| &mut own.identity.stale, SECOND, DAY)),
    reload("revoke_grace", "2s", Field::Time(|own| &mut own.identity.revoke_grace, Duration::ZERO, DAY)),
    reload("ldap_ca_file", "the system's", Field::Folder(|own| &mut own.vouch.ldap_ca_file)),
    reload("ldap_timeout", "10s", Field::Time(|own| &mut own.vouch.ldap_timeout, BACKOFF_MIN, HOUR)),
    reload("ldap_connections", "16", Field::Count(|own| &mut own.vouch.ldap_connections, 1, CHECKS_MAX)),
    reload("pam_service", "pgbouncer", Field::PamService),
    reload("pam_timeout", "15s", Field::Time(|own| &mut own.vouch.pam_timeout, BACKOFF_MIN, HOUR)),
    reload("pam_threads", "4", Field::Count(|own| &mut own.vouch.pam_threads, 1, CHECKS_MAX)),
    restart("http_listen", "127.0.0.1:6433; off with compat = pgbouncer", Field::Http),
    reload("http_hosts", "none", Field::HttpHosts),
    restart("http_tls_cert_file", "none", Field::Folder(|own| &mut own.http_tls_cert_file)),
    restart("http_tls_key_file", "none", Field::Folder(|own| &mut own.http_tls_key_file)),
    reload(
        "metrics_applications_max",
        "100",
        Field::Count(|own| &mut own.metrics_applications_max, 0, APPLICATIONS_MAX),
    ),
];

const fn reload(name: &'static str, default: &'static str, field: Field) -> Key {
    Key { name, default, field, when: When::Always }
}

const fn restart(name: &'static str, default: &'static str, field: Field) -> Key {
    Key { name, default, field, when: When::Restart }
}

/// The row of a key.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// What to say of a key that has no row.
pub(crate) fn unknown(name: &str) -> String {
    format!("unknown parameter: plimsoll/{name}{}", near::hint(name, KEYS.iter().map(|key| key.name)))
}

/// Sets one key as the console's `SET` does: nothing happens to one that only a restart changes.
///
/// # Errors
/// A value that cannot be, by itself or beside the others.
pub(crate) fn set(plan: &mut Plan, row: &'static Key, value: &str) -> Result<(), String> {
    match row.when {
        When::Restart => return Ok(()),
        When::Always => {}
    }
    let mut own = plan.own.clone();
    row.assign(&mut own, value).map_err(|fault| fault.message(row.name, value, None))?;
    if let Some((_, why)) = contradictions(&own).into_iter().next() {
        return Err(why);
    }
    plan.own = own;
    plan.set_live.insert(row.name);
    Ok(())
}

impl Key {
    /// Reads a value and puts it in its place.
    pub(crate) fn assign(&self, own: &mut Own, text: &str) -> Result<(), Fault> {
        match &self.field {
            Field::Workers => {
                let workers = text.parse::<u16>().ok().filter(|n| (1..=WORKERS_MAX).contains(n));
                own.workers = Some(workers.ok_or(Fault::Invalid("1 to 64"))?);
            }
            Field::Budget => own.target_budget = target::budget(text)?,
            Field::Compat => own.compat = compat(text)?,
            Field::Ledger => own.ledger = one_of(text, LEDGER)?,
            Field::Statements => own.ledger_statements = one_of(text, STATEMENTS)?,
            Field::Disclose => own.disclose_holders = one_of(text, DISCLOSE)?,
            Field::Fairness => own.queue_fairness = one_of(text, FAIRNESS)?,
            Field::CancelOnClientLoss => {
                own.cancel_on_client_loss = Some(one_of(text, CANCEL_ON_CLIENT_LOSS)?);
            }
            Field::Proxy => own.proxy_protocol = ProxyListeners::parse(text)?,
            Field::Http => own.http_listen = Some(HttpListen::parse(text)?),
            Field::IdentityStore => own.identity.store = IdentityStore::parse(text)?,
            Field::Text(at) => *at(own) = Some(text.to_string()).filter(|text| !text.is_empty()),
            Field::PamService => own.vouch.pam_service = Some(vouch::service(text)?),
            Field::HttpHosts => own.http_hosts = HttpHosts::parse(text)?,
            Field::Networks(at) => *at(own) = network::list(text)?,
            Field::Spill => own.spill = spill(text)?,
            Field::LeakAct => own.leak.act = Some(leak_act(text)?),
            Field::SpillInTransaction => own.spill_in_transaction = one_of(text, IN_TRANSACTION)?,
            Field::Folder(at) => {
                let folder = Some(PathBuf::from(text)).filter(|_| !text.is_empty());
                if folder.as_ref().is_some_and(|folder| !folder.is_absolute()) {
                    return Err(Fault::Invalid("an absolute path"));
                }
                *at(own) = folder;
            }
            Field::SnapshotDir => own.snapshot_dir = snapshot_dir(text)?,
            Field::Name(at) => *at(own) = Some(text.to_string()).filter(|name| !name.is_empty()),
            Field::Count(at, min, max) => {
                let number = value::count(text).filter(|number| (min..=max).contains(&number));
                *at(own) = Some(number.ok_or_else(|| Fault::Wanted(format!("{min} to {max}")))?);
            }
            Field::TimeOrOff(at, ..) if text == "0" => *at(own) = None,
            Field::Time(at, min, max) | Field::TimeOrOff(at, min, max) => {
                *at(own) = Some(time_within(text, *min, *max)?);
            }
            Field::Size(at, min, max) => {
                let size = value::size(text).ok_or(Fault::Invalid(value::SIZE_EXPECTED))?;
                if size < *min || size > *max {
                    return Err(Fault::Wanted(format!(
                        "{} to {}",
                        value::size_text(*min),
                        value::size_text(*max)
                    )));
                }
                *at(own) = Some(size);
            }
        }
        Ok(())
    }
}

impl Field {
    /// The values, for people.
    pub(crate) fn values(&self) -> String {
        match self {
            Field::Workers => format!("1 to {WORKERS_MAX}"),
            Field::Budget => format!("auto, off, or 1 to {}", target::BUDGET_MAX),
            Field::Compat => "plimsoll, pgbouncer".to_string(),
            Field::Ledger => LEDGER.expected.to_string(),
            Field::Statements => STATEMENTS.expected.to_string(),
            Field::Disclose => DISCLOSE.expected.to_string(),
            Field::Fairness => FAIRNESS.expected.to_string(),
            Field::CancelOnClientLoss => CANCEL_ON_CLIENT_LOSS.expected.to_string(),
            Field::Proxy => listeners::EXPECTED.to_string(),
            Field::Http => http::EXPECTED.to_string(),
            Field::IdentityStore => identity::EXPECTED.to_string(),
            Field::Text(_) => "text".to_string(),
            Field::PamService => vouch::SERVICE_EXPECTED.to_string(),
            Field::HttpHosts => http::hosts::EXPECTED.to_string(),
            Field::Networks(_) => network::EXPECTED.to_string(),
            Field::Spill => SPILL.expected.to_string(),
            Field::LeakAct => LEAK_ACT.expected.to_string(),
            Field::SpillInTransaction => IN_TRANSACTION.expected.to_string(),
            Field::Folder(_) => "an absolute path".to_string(),
            Field::SnapshotDir => SNAPSHOT_DIR_EXPECTED.to_string(),
            Field::Name(_) => "a user of auth_file; empty is none".to_string(),
            Field::Count(_, min, max) => format!("{min} to {max}"),
            Field::Time(_, min, max) => {
                format!("a time, {} to {}", value::time_text(*min), value::time_text(*max))
            }
            Field::TimeOrOff(_, min, max) => {
                format!("0, or a time, {} to {}", value::time_text(*min), value::time_text(*max))
            }
            Field::Size(_, min, max) => {
                format!("a size, {} to {}", value::size_text(*min), value::size_text(*max))
            }
        }
    }
}

/// Words and what they stand for.
pub(crate) struct Words<T: 'static> {
    pub(crate) expected: &'static str,
    all: &'static [(&'static str, T)],
}

const LEDGER: &Words<Ledger> =
    &Words { expected: "on, off", all: &[("on", Ledger::On), ("off", Ledger::Off)] };

const CANCEL_ON_CLIENT_LOSS: &Words<CancelOnClientLoss> =
    &Words { expected: "on, off", all: &[("on", CancelOnClientLoss::On), ("off", CancelOnClientLoss::Off)] };

const STATEMENTS: &Words<Statements> = &Words {
    expected: "redacted, full, off",
    all: &[("redacted", Statements::Redacted), ("full", Statements::Full), ("off", Statements::Off)],
};

const DISCLOSE: &Words<Disclose> = &Words {
    expected: "none, same_pool, all",
    all: &[("none", Disclose::None), ("same_pool", Disclose::SamePool), ("all", Disclose::All)],
};

const FAIRNESS: &Words<QueueFairness> = &Words {
    expected: "fifo, application",
    all: &[("fifo", QueueFairness::Fifo), ("application", QueueFairness::Application)],
};

const SPILL: &Words<Spill> = &Words {
    expected: "off, memory, disk",
    all: &[("off", Spill::Off), ("memory", Spill::Memory), ("disk", Spill::Disk)],
};

pub(crate) const LEAK_ACT: &Words<LeakAct> = &Words {
    expected: "waiting, always",
    all: &[("waiting", LeakAct::Waiting), ("always", LeakAct::Always)],
};

const IN_TRANSACTION: &Words<SpillInTransaction> =
    &Words { expected: "on, off", all: &[("on", SpillInTransaction::On), ("off", SpillInTransaction::Off)] };

/// A value of `spill`, here and in the lines of databases and users.
pub(crate) fn spill(text: &str) -> Result<Spill, Fault> {
    one_of(text, SPILL)
}

const SNAPSHOT_DIR_EXPECTED: &str = "auto, off, or an absolute path";

fn snapshot_dir(text: &str) -> Result<SnapshotDir, Fault> {
    match text {
        "auto" => Ok(SnapshotDir::Auto),
        "off" => Ok(SnapshotDir::Off),
        path if path.starts_with('/') => Ok(SnapshotDir::Folder(PathBuf::from(path))),
        _ => Err(Fault::Invalid(SNAPSHOT_DIR_EXPECTED)),
    }
}

/// A value of `leak_act`, likewise.
pub(crate) fn leak_act(text: &str) -> Result<LeakAct, Fault> {
    one_of(text, LEAK_ACT)
}

pub(crate) fn time_within(text: &str, min: Duration, max: Duration) -> Result<Duration, Fault> {
    let time = value::time(text).ok_or(Fault::Invalid(value::TIME_EXPECTED))?;
    if time < min || time > max {
        return Err(Fault::Wanted(format!("{} to {}", value::time_text(min), value::time_text(max))));
    }
    Ok(time)
}

/// What two keys say together and must not: the key to name, and why.
pub(crate) fn contradictions(own: &Own) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if let (Some(one), Some(all)) = (own.collect_max, own.collect_memory)
        && one > all
    {
        let message = format!("collect_memory ({all} bytes) is less than collect_max ({one} bytes)");
        found.push(("collect_memory", message));
    }
    if !own.proxy_protocol.is_off() && own.proxy_protocol_from.is_empty() {
        let message =
            "proxy_protocol is on and proxy_protocol_from names nobody who may say for whom he connects";
        found.push(("proxy_protocol", message.to_string()));
    }
    match (&own.http_tls_cert_file, &own.http_tls_key_file) {
        (Some(_), Some(_)) => {}
        (None, None) => {
            found.extend(own.http_listen().refused_without_tls().map(|why| ("http_listen", why)));
        }
        (Some(_), None) => {
            found.push(("http_tls_cert_file", "http_tls_cert_file needs http_tls_key_file".to_string()));
        }
        (None, Some(_)) => {
            found.push(("http_tls_key_file", "http_tls_key_file needs http_tls_cert_file".to_string()));
        }
    }
    let least = own.connect_backoff_min.unwrap_or(BACKOFF_MIN_DEFAULT);
    let most = own.connect_backoff_max.unwrap_or(BACKOFF_MAX_DEFAULT);
    if least > most {
        let key = match own.connect_backoff_max {
            Some(_) => "connect_backoff_max",
            None => "connect_backoff_min",
        };
        let (most, least) = (value::time_text(most), value::time_text(least));
        found.push((key, format!("connect_backoff_max ({most}) is less than connect_backoff_min ({least})")));
    }
    found
}

fn one_of<T: Copy>(text: &str, words: &Words<T>) -> Result<T, Fault> {
    let found = words.all.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or(Fault::Invalid(words.expected))
}

fn compat(text: &str) -> Result<Compat, Fault> {
    match text {
        "plimsoll" => Ok(Compat::Plimsoll),
        "pgbouncer" => Ok(Compat::Pgbouncer),
        _ => Err(Fault::Invalid("plimsoll or pgbouncer")),
    }
}
