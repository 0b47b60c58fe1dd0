//! `SHOW DNS_HOSTS`, `SHOW DNS_ZONES`.

use super::Scene;
use crate::table::{Column, Row, big, cell, int, text};

pub(super) const HOSTS: &[Column] = &[text("hostname"), big("ttl"), text("addrs")];

/// Host names of servers, how many seconds their addresses hold, and the addresses.
pub(super) fn host_rows(scene: &Scene<'_>) -> Vec<Row> {
    let hosts = scene.pooler.dns_hosts();
    let row = |host: &plimsoll_proxy::DnsView| {
        let addresses: Vec<String> = host.ips.iter().map(|ip| format!("{ip}:0")).collect();
        vec![cell(&host.name), cell(host.ttl.as_secs()), cell(addresses.join(","))]
    };
    hosts.iter().map(row).collect()
}

pub(super) const ZONES: &[Column] = &[text("zonename"), big("serial"), int("count")];

/// Zones that are watched (`dns_zone_check_period`).
pub(super) fn zone_rows(scene: &Scene<'_>) -> Vec<Row> {
    let zones = scene.pooler.dns_zones();
    zones.iter().map(|zone| vec![cell(&zone.name), cell(zone.serial), cell(zone.hosts)]).collect()
}
