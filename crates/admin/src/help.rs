//! `SHOW HELP`.

use plimsoll_config::Compat;

const SHOWS: &str = "
\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
\tSHOW PEERS|PEER_POOLS
\tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
\tSHOW DNS_HOSTS|DNS_ZONES
\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS";

const OWN_SHOWS: &str = "
\tSHOW DOCTOR|LEAKS|HOLDS|WAITERS|SITES|PINS|HISTORY|VISITORS|BACKENDS|IDENTITIES
\tSHOW HOLDS JOIN
\tSHOW HOLDS FULL
\tSHOW WHY <client_id>
\tSHOW SNAPSHOT|SNAPSHOTS
\tSHOW SNAPSHOT '<name>'
\tSHOW SPILLS|SPILL_STORE
\tSHOW ACTIONS
\tRELEASE HOLD <hold> [IDLE <seconds>] [CLOSE] [FORCE]
\tCAP [APP|HOST <name> <number> [FOR <seconds>] | OFF]
\tSHOW TARGETS|POOL_KEYS|LIVENESS|TREND
\tEXPLAIN ADMISSION [<db> [<user>]]
\tSHOW MOVES";

const COMMANDS: &str = "
\tSET key = arg
\tRELOAD
\tPAUSE [<db>]
\tRESUME [<db>]
\tDISABLE <db>
\tENABLE <db>
\tRECONNECT [<db>]
\tKILL [<db>]
\tKILL_CLIENT <client_id>
\tSUSPEND
\tSHUTDOWN
\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
\tWAIT_CLOSE [<db>]";

/// The list of commands that are there.
pub(crate) fn usage(compat: Compat) -> String {
    let own = match compat {
        Compat::Plimsoll => OWN_SHOWS,
        Compat::Pgbouncer => "",
    };
    format!("{SHOWS}{own}{COMMANDS}")
}
