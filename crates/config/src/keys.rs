//! Every key of `[pgbouncer]`, in the order of `SHOW CONFIG`: one row each, nothing about a key is said twice.

use crate::near;
use crate::own;
use crate::plan::{General, Plan, Shown};
use crate::table::{Fault, Field, Key, Kind, Support, Taken, When};

/// The default of auth_query, PgBouncer's.
pub(crate) const AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END \
                          FROM pg_authid WHERE rolname=$1 AND rolcanlogin";

/// The rows.
pub(crate) static KEYS: &[Key] = &[
    key("admin_users", Some(""), Field::Names(|g| &mut g.admin_users)),
    key("application_name_add_host", Some("0"), Field::Switch(|g| &mut g.application_name_add_host)),
    key("auth_dbname", None, Field::AuthDbname(|g| &mut g.auth_dbname)),
    key("auth_file", None, Field::Path(|g| &mut g.auth_file)),
    key("auth_hba_file", Some(""), Field::Path(|g| &mut g.auth_hba_file)),
    key("auth_ident_file", None, Field::Path(|g| &mut g.auth_ident_file)),
    key("auth_ldap_options", None, Field::Hidden(|g| &mut g.auth_ldap_options)),
    key("auth_query", Some(AUTH_QUERY), Field::Text(|g| &mut g.auth_query)),
    key("auth_type", Some("md5"), Field::AuthType(|g| &mut g.auth_type)),
    key("auth_user", None, Field::OptionalText(|g| &mut g.auth_user)),
    key("autodb_idle_timeout", Some("3600"), Field::Seconds(|g| &mut g.autodb_idle_timeout)),
    key("cancel_wait_timeout", Some("10"), Field::Seconds(|g| &mut g.cancel_wait_timeout)),
    key("client_idle_timeout", Some("0"), Field::Seconds(|g| &mut g.client_idle_timeout)),
    key("client_login_timeout", Some("60"), Field::Seconds(|g| &mut g.client_login_timeout)),
    key("client_tls13_ciphers", None, Field::OptionalText(|g| &mut g.client_tls.tls13_ciphers)),
    key("client_tls_ca_file", Some(""), Field::Path(|g| &mut g.client_tls.ca_file)),
    key("client_tls_cert_file", Some(""), Field::Path(|g| &mut g.client_tls.cert_file)),
    key("client_tls_ciphers", Some("default"), Field::Text(|g| &mut g.client_tls.ciphers)),
    key("client_tls_dheparams", Some("auto"), Field::Text(|g| &mut g.client_tls.dheparams)),
    key("client_tls_ecdhcurve", Some("auto"), Field::Text(|g| &mut g.client_tls.ecdhcurve)),
    key("client_tls_key_file", Some(""), Field::Path(|g| &mut g.client_tls.key_file)),
    key("client_tls_protocols", Some("secure"), Field::Text(|g| &mut g.client_tls.protocols)),
    key("client_tls_sslmode", Some("disable"), Field::SslMode(|g| &mut g.client_tls.mode)),
    key("conffile", None, Field::Kept(Kind::Text)).harmless("shows the file that was read"),
    key("default_pool_size", Some("20"), Field::Count(|g| &mut g.default_pool_size)),
    key("disable_pqexec", Some("0"), Field::Kept(Kind::Int))
        .restart()
        .warned("simple queries are not refused"),
    key("dns_max_ttl", Some("15"), Field::Seconds(|g| &mut g.dns.max_ttl)),
    key("dns_nxdomain_ttl", Some("15"), Field::Seconds(|g| &mut g.dns.nxdomain_ttl)),
    key("dns_zone_check_period", Some("0"), Field::Seconds(|g| &mut g.dns.zone_check_period)),
    key("idle_transaction_timeout", Some("0"), Field::Seconds(|g| &mut g.idle_transaction_timeout)),
    key("ignore_startup_parameters", Some(""), Field::Names(|g| &mut g.ignore_startup_parameters)),
    key("job_name", Some("pgbouncer"), Field::Kept(Kind::Text))
        .restart()
        .harmless("nothing here is named by it"),
    key("listen_addr", Some(""), Field::Names(|g| &mut g.listen_addr)).restart(),
    key("listen_backlog", Some("128"), Field::Count(|g| &mut g.listen_backlog)).restart(),
    key("listen_port", Some("6432"), Field::Port(|g| &mut g.listen_port)).restart(),
    key("log_connections", Some("1"), Field::Switch(|g| &mut g.log.connections)),
    key("log_disconnections", Some("1"), Field::Switch(|g| &mut g.log.disconnections)),
    key("log_pooler_errors", Some("1"), Field::Switch(|g| &mut g.log.pooler_errors)),
    key("log_stats", Some("1"), Field::Switch(|g| &mut g.log.stats)),
    key("logfile", Some(""), Field::Path(|g| &mut g.logfile)),
    key("login_notify_message", Some(""), Field::Text(|g| &mut g.login_notify_message)),
    key("max_client_conn", Some("100"), Field::Count(|g| &mut g.max_client_conn)),
    key("max_db_client_connections", Some("0"), Field::Count(|g| &mut g.max_db_client_connections)),
    key("max_db_connections", Some("0"), Field::Count(|g| &mut g.max_db_connections)),
    key("max_packet_size", Some("2147483647"), Field::Count(|g| &mut g.max_packet_size)),
    key("max_prepared_statements", Some("200"), Field::Count(|g| &mut g.max_prepared_statements)),
    key("max_user_client_connections", Some("0"), Field::Count(|g| &mut g.max_user_client_connections)),
    key("max_user_connections", Some("0"), Field::Count(|g| &mut g.max_user_connections)),
    key("min_pool_size", Some("0"), Field::Count(|g| &mut g.min_pool_size)),
    key("peer_id", Some("0"), Field::PeerId(|g| &mut g.peer_id)),
    key("pidfile", Some(""), Field::Path(|g| &mut g.pidfile)).restart(),
    key("pkt_buf", Some("4096"), Field::Kept(Kind::Int))
        .restart()
        .warned("buffers belong to the workers and have one size"),
    key("pool_mode", Some("session"), Field::PoolMode(|g| &mut g.pool_mode)),
    key("pool_idle_timeout", Some("0"), Field::Seconds(|g| &mut g.pool_idle_timeout)),
    key("query_timeout", Some("0"), Field::Seconds(|g| &mut g.query_timeout)),
    key("query_wait_notify", Some("5"), Field::WholeSeconds(|g| &mut g.query_wait_notify)),
    key("query_wait_timeout", Some("120"), Field::Seconds(|g| &mut g.query_wait_timeout)),
    key("reserve_pool_size", Some("0"), Field::Count(|g| &mut g.reserve_pool_size)),
    key("reserve_pool_timeout", Some("5"), Field::Seconds(|g| &mut g.reserve_pool_timeout)),
    key("resolv_conf", Some(""), Field::Path(|g| &mut g.dns.resolv_conf)).restart(),
    key("sbuf_loopcnt", Some("5"), Field::Kept(Kind::Int))
        .warned("how much is read from one socket in a turn is not configurable"),
    key("scram_iterations", Some("4096"), Field::Count(|g| &mut g.scram_iterations)),
    key("server_check_delay", Some("30"), Field::Seconds(|g| &mut g.server_check_delay)),
    key("server_check_query", Some("<empty>"), Field::CheckQuery(|g| &mut g.server_check_query)),
    key("server_connect_timeout", Some("15"), Field::Seconds(|g| &mut g.server_connect_timeout)),
    key("server_fast_close", Some("0"), Field::Switch(|g| &mut g.server_fast_close)),
    key("server_idle_timeout", Some("600"), Field::Seconds(|g| &mut g.server_idle_timeout)),
    key("server_lifetime", Some("3600"), Field::Seconds(|g| &mut g.server_lifetime)),
    key("server_login_retry", Some("15"), Field::Seconds(|g| &mut g.server_login_retry)),
    key("server_reset_query", Some("DISCARD ALL"), Field::Text(|g| &mut g.server_reset_query)),
    key("server_reset_query_always", Some("0"), Field::Switch(|g| &mut g.server_reset_query_always)),
    key("server_round_robin", Some("0"), Field::Switch(|g| &mut g.server_round_robin)),
    key("server_tls13_ciphers", None, Field::OptionalText(|g| &mut g.server_tls.tls13_ciphers)),
    key("server_tls_ca_file", Some(""), Field::Path(|g| &mut g.server_tls.ca_file)),
    key("server_tls_cert_file", Some(""), Field::Path(|g| &mut g.server_tls.cert_file)),
    key("server_tls_ciphers", Some("default"), Field::Text(|g| &mut g.server_tls.ciphers)),
    key("server_tls_key_file", Some(""), Field::Path(|g| &mut g.server_tls.key_file)),
    key("server_tls_protocols", Some("secure"), Field::Text(|g| &mut g.server_tls.protocols)),
    key("server_tls_sslmode", Some("prefer"), Field::SslMode(|g| &mut g.server_tls.mode)),
    key("so_reuseport", Some("0"), Field::Switch(|g| &mut g.so_reuseport)).restart(),
    key("stats_period", Some("60"), Field::Period(|g| &mut g.stats_period)),
    key("stats_users", Some(""), Field::Names(|g| &mut g.stats_users)),
    key("suspend_timeout", Some("10"), Field::Seconds(|g| &mut g.suspend_timeout)),
    key("syslog", Some("0"), Field::Switch(|g| &mut g.syslog.on)),
    key("syslog_facility", Some("daemon"), Field::Facility(|g| &mut g.syslog.facility)),
    key("syslog_ident", Some("pgbouncer"), Field::Text(|g| &mut g.syslog.ident)),
    key("tcp_defer_accept", Some("1"), Field::Count(|g| &mut g.tcp.defer_accept)),
    key("tcp_keepalive", Some("1"), Field::Switch(|g| &mut g.tcp.keepalive)),
    key("tcp_keepcnt", Some("0"), Field::Count(|g| &mut g.tcp.keepcnt)),
    key("tcp_keepidle", Some("0"), Field::Count(|g| &mut g.tcp.keepidle)),
    key("tcp_keepintvl", Some("0"), Field::Count(|g| &mut g.tcp.keepintvl)),
    key("tcp_socket_buffer", Some("0"), Field::Count(|g| &mut g.tcp.socket_buffer)),
    key("tcp_user_timeout", Some("0"), Field::Count(|g| &mut g.tcp.user_timeout)),
    key("track_extra_parameters", Some("IntervalStyle"), Field::Names(|g| &mut g.track_extra_parameters))
        .restart(),
    key("transaction_timeout", Some("0"), Field::Seconds(|g| &mut g.transaction_timeout)),
    key("unix_socket_dir", Some("/tmp"), Field::Path(|g| &mut g.unix_socket_dir)).restart(),
    key("unix_socket_group", Some(""), Field::Text(|g| &mut g.unix_socket_group)).restart(),
    key("unix_socket_mode", Some("0777"), Field::FileMode(|g| &mut g.unix_socket_mode)).restart(),
    key("user", None, Field::OptionalText(|g| &mut g.user)).restart(),
    key("verbose", None, Field::Count(|g| &mut g.log.verbose)),
];

const fn key(name: &'static str, default: Option<&'static str>, field: Field) -> Key {
    Key { name, default, field, when: When::Always, support: Support::Works }
}

impl Key {
    const fn restart(self) -> Key {
        Key { when: When::Restart, ..self }
    }

    const fn harmless(self, why: &'static str) -> Key {
        Key { support: Support::Harmless(why), ..self }
    }

    const fn warned(self, why: &'static str) -> Key {
        Key { support: Support::Warned(why), ..self }
    }
}

/// The row of a key.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// What to say of a key that has no row.
pub(crate) fn unknown(name: &str) -> String {
    format!("unknown parameter: pgbouncer/{name}{}", near::hint(name, KEYS.iter().map(|key| key.name)))
}

/// `SHOW CONFIG` of PgBouncer's defaults.
pub(crate) fn shown_defaults() -> Vec<Shown> {
    let mut general = General::default();
    let mut shown = |key: &Key| match (key.name, key.default) {
        // An int without a default is shown all the same.
        ("verbose", _) => Some("0".to_string()),
        (_, Some(text)) => key.assign(&mut general, text).ok().map(|taken| taken.shown),
        (_, None) => None,
    };
    KEYS.iter()
        .map(|key| Shown {
            key: key.name,
            value: shown(key),
            default: key.default,
            changeable: key.when == When::Always,
        })
        .collect()
}

/// Takes a value into a plan and shows it.
pub(crate) fn assign(plan: &mut Plan, key: &'static Key, text: &str) -> Result<Taken, Fault> {
    let taken = key.assign(&mut plan.general, text)?;
    if plan.shown.is_empty() {
        plan.shown = shown_defaults();
    }
    if let Some(line) = plan.shown.iter_mut().find(|line| line.key == key.name) {
        line.value = Some(taken.shown.clone());
    }
    Ok(taken)
}

/// Sets one key of `[pgbouncer]` or `[plimsoll]` as the console's `SET` does.
///
/// # Errors
/// Unknown key or bad value. A key that cannot be changed is ignored without an error, as PgBouncer does.
pub fn set(plan: &mut Plan, key: &str, value: &str) -> Result<(), String> {
    let Some(row) = find(key) else {
        return match own::find(key) {
            Some(row) => own::set(plan, row, value),
            None => Err(nowhere(key)),
        };
    };
    match row.when {
        When::Restart => return Ok(()),
        When::Always => assign(plan, row, value).map_err(|fault| fault.message(key, value, None))?,
    };
    plan.set_live.insert(row.name);
    Ok(())
}

/// What to say of a key that neither section has.
fn nowhere(name: &str) -> String {
    let both = KEYS.iter().map(|key| key.name).chain(own::KEYS.iter().map(|key| key.name));
    format!("unknown parameter: pgbouncer/{name}{}", near::hint(name, both))
}

#[cfg(test)]
mod tests;
