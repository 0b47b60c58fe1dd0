//! `SHOW DNS_HOSTS` and `SHOW DNS_ZONES`.

use std::net::{IpAddr, SocketAddr};

use super::Scene;
use crate::table::{Column, Row, big, cell, int, text};

pub(super) const HOSTS: &[Column] = &[text("hostname"), big("ttl"), text("addrs")];

pub(super) const ZONES: &[Column] = &[text("zonename"), big("serial"), int("count")];

/// The host names of servers; `ttl` is the seconds for which what is known of a name is fresh.
pub(super) fn host_rows(scene: &Scene<'_>) -> Vec<Row> {
    let hosts = scene.pooler.dns_hosts();
    let row = |host: &crate::pooler::DnsHost| {
        let addresses: Vec<String> = host.addresses.iter().map(address).collect();
        vec![cell(&host.name), cell(host.again_in.as_secs()), cell(addresses.join(","))]
    };
    hosts.iter().map(row).collect()
}

/// PgBouncer writes a port behind each address, which is always 0 here.
fn address(ip: &IpAddr) -> String {
    SocketAddr::new(*ip, 0).to_string()
}

/// Zones whose serial numbers are watched (`dns_zone_check_period`).
pub(super) fn zone_rows(scene: &Scene<'_>) -> Vec<Row> {
    let zones = scene.pooler.dns_zones().into_iter();
    zones.map(|(zone, serial, hosts)| vec![cell(zone), cell(serial), cell(hosts)]).collect()
}
