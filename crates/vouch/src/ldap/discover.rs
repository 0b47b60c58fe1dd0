//! Names: the addresses of a server, and the servers of a domain (RFC 2782).

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::system_conf::{parse_resolv_conf, read_system_conf};
use plimsoll_auth::ldap::{LdapServer, LdapServers};

use crate::ByLdap;

/// Most servers of a domain that are tried.
const SERVERS_MAX: usize = 16;

/// Most addresses of a server that are tried.
const ADDRESSES_MAX: usize = 16;

/// Who is asked, in this order.
pub(super) async fn servers(by: &ByLdap) -> Result<Vec<LdapServer>, String> {
    let domain = match &by.options.servers {
        LdapServers::Named(servers) => return Ok(servers.clone()),
        LdapServers::OfDomain(domain) => domain,
    };
    let none =
        |why: String| format!("LDAP authentication could not find DNS SRV records for \"{domain}\": {why}");
    let found = resolver(by)?.srv_lookup(format!("_ldap._tcp.{domain}.")).await;
    let found = found.map_err(|error| none(error.to_string()))?;
    let mut records: Vec<(u16, u16, LdapServer)> = Vec::new();
    for record in found.answers() {
        if let RData::SRV(record) = &record.data {
            let host = record.target.to_utf8();
            let host = host.trim_end_matches('.').to_string();
            // The root means that there is no such service.
            if !host.is_empty() {
                records.push((
                    record.priority,
                    u16::MAX - record.weight,
                    LdapServer { host, port: record.port },
                ));
            }
        }
    }
    records.sort_by_key(|(priority, weight, _)| (*priority, *weight));
    records.truncate(SERVERS_MAX);
    if records.is_empty() {
        return Err(none("no record".to_string()));
    }
    Ok(records.into_iter().map(|(_, _, server)| server).collect())
}

/// Where a server is.
pub(super) async fn addresses(by: &ByLdap, server: &LdapServer) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = server.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, server.port)]);
    }
    let found = resolver(by)?.lookup_ip(server.host.as_str()).await;
    let found = found.map_err(|error| format!("its address cannot be looked up: {error}"))?;
    Ok(found.iter().take(ADDRESSES_MAX).map(|address| SocketAddr::new(address, server.port)).collect())
}

/// As the system, or `resolv_conf`, is set up now; /etc/hosts comes first.
fn resolver(by: &ByLdap) -> Result<TokioResolver, String> {
    let (config, options) = match &by.resolv_conf {
        None => read_system_conf().map_err(|error| error.to_string())?,
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            parse_resolv_conf(text).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options).build().map_err(|error| error.to_string())
}
