//! Looks at the world: files, limits of the system, names, servers. All I/O of the check but reading the ini files.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_config::{AuthType, Host, Plan};
use plimsoll_proxy::probe_spill_dir;

use super::facts::{Answer, Facts, FileFact, Full, Reach, Rights, Running, Silent, Target, Who, socket};
use super::rules::folder_of;
use super::secure::{Secure, host_of};
use super::weak::pam_file;
use super::{ask, demand, hba};
use crate::sys;

/// How long to wait for a pooler that may be running on this machine.
const RUNNING_MAX: Duration = Duration::from_secs(1);
/// Servers that are asked at the same time.
const AT_A_TIME: usize = 16;

/// Everything the rules want to know.
pub(super) fn facts(plan: &Plan, files: &[PathBuf], reach: Reach) -> Facts {
    let secure = Secure::load(plan);
    let mut facts = Facts {
        reach,
        tls_faults: secure.faults.clone(),
        rules: hba::rules(plan, &mut |path: &Path| std::fs::read_to_string(path)),
        files: paths(plan, files).into_iter().map(|path| (path.clone(), look_at(&path))).collect(),
        spill_trouble: spill_trouble(plan),
        who: who(plan),
        files_max: sys::raise_file_limit().ok().map(|limit| limit.hard),
        ..Facts::default()
    };
    match reach {
        Reach::Offline => {}
        Reach::Online => {
            facts.running = running(plan);
            facts.names = names(plan);
            facts.answers = answers(plan, &facts.names, &secure);
        }
    }
    facts
}

/// Asks all targets, a few at a time: each that does not answer costs seconds.
fn answers(plan: &Plan, names: &BTreeMap<String, Vec<IpAddr>>, secure: &Secure) -> BTreeMap<Target, Answer> {
    let written: Vec<(String, Vec<IpAddr>)> = names.clone().into_iter().collect();
    let targets: Vec<Target> = demand::targets(plan, names).into_iter().collect();
    let ask =
        |target: &Target| ask::ask(plan, target, names, secure.towards(target, &host_of(target, &written)));
    let mut answers = BTreeMap::new();
    for some in targets.chunks(AT_A_TIME) {
        std::thread::scope(|scope| {
            let asked: Vec<_> = some.iter().map(|target| (target, scope.spawn(|| ask(target)))).collect();
            for (target, answer) in asked {
                let lost = |_| Err(Silent { why: "the question was lost".to_string(), full: Full::No });
                answers.insert(target.clone(), answer.join().unwrap_or_else(lost));
            }
        });
    }
    answers
}

/// Every file and folder that a rule looks at.
fn paths(plan: &Plan, files: &[PathBuf]) -> Vec<PathBuf> {
    let general = &plan.general;
    let (client, server) = (&general.client_tls, &general.server_tls);
    let pam = (general.auth_type == AuthType::Pam).then(|| pam_file(plan));
    let written = [&general.logfile, &general.pidfile];
    let named = [
        &general.auth_file,
        &general.auth_hba_file,
        &general.auth_ident_file,
        &general.unix_socket_dir,
        &client.ca_file,
        &client.cert_file,
        &client.key_file,
        &server.ca_file,
        &server.cert_file,
        &server.key_file,
        &plan.own.vouch.ldap_ca_file,
        &pam,
    ];
    let folders = written.into_iter().flatten().map(|path| folder_of(path).to_path_buf());
    let named = named.into_iter().chain(written).flatten().cloned();
    let authorities = plan.issuers.iter().filter_map(|line| line.ca_file.clone());
    files.iter().cloned().chain(named).chain(folders).chain(authorities).collect()
}

/// A file is made and gone again at once: nothing else tells for certain.
fn spill_trouble(plan: &Plan) -> Option<String> {
    let wanted = plan.spills_to_disk() && plan.own.spill_disk() > 0;
    wanted.then(|| probe_spill_dir(plan.own.spill_dir()).err()).flatten()
}

fn look_at(path: &Path) -> FileFact {
    match std::fs::metadata(path) {
        Ok(data) => FileFact::There(Rights { mode: data.mode(), uid: data.uid(), gid: data.gid() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => FileFact::Missing,
        Err(error) => FileFact::Hidden(error.to_string()),
    }
}

/// As whom the pooler will run: `user` where root starts it, else whoever checks.
fn who(plan: &Plan) -> Who {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let myself = myself(&status);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    match &plan.general.user {
        Some(user) if myself.uid == 0 => {
            named(user, &read("/etc/passwd"), &read("/etc/group")).unwrap_or(myself)
        }
        Some(_) | None => myself,
    }
}

/// The effective user and groups, as `/proc/self/status` has them (proc(5)).
fn myself(status: &str) -> Who {
    let numbers = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let words = line.unwrap_or_default().split_whitespace();
        words.filter_map(|word| word.parse::<u32>().ok()).collect::<Vec<u32>>()
    };
    let effective = |key| numbers(key).get(1).copied();
    let mut gids = numbers("Groups:");
    gids.extend(effective("Gid:"));
    Who { name: String::new(), uid: effective("Uid:").unwrap_or(u32::MAX), gids }
}

/// A user by name, as passwd(5) and group(5) have it.
fn named(user: &str, passwd: &str, group: &str) -> Option<Who> {
    let line = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|line| line.first() == Some(&user))?;
    let number = |at: usize| line.get(at).and_then(|word| word.parse::<u32>().ok());
    let member = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let gid = fields.get(2)?.parse::<u32>().ok()?;
        fields.get(3)?.split(',').any(|name| name == user).then_some(gid)
    };
    let gids = number(3).into_iter().chain(group.lines().filter_map(member)).collect();
    Some(Who { name: user.to_string(), uid: number(2)?, gids })
}

/// Whether somebody listens where this configuration would.
fn running(plan: &Plan) -> Running {
    let general = &plan.general;
    let unix = general.unix_socket_dir.as_deref().map(|dir| socket(dir, general.listen_port));
    if unix.is_some_and(|path| UnixStream::connect(path).is_ok()) {
        return Running::Yes;
    }
    let host = match general.listen_addr.first().map(String::as_str) {
        None => return Running::No,
        Some("*" | "0.0.0.0") => "127.0.0.1",
        Some("::") => "::1",
        Some(host) => host,
    };
    let mut addresses = (host, general.listen_port).to_socket_addrs().into_iter().flatten();
    match addresses.any(|address| TcpStream::connect_timeout(&address, RUNNING_MAX).is_ok()) {
        true => Running::Yes,
        false => Running::No,
    }
}

/// The addresses of all host names. A name without any is left as it is.
fn names(plan: &Plan) -> BTreeMap<String, Vec<IpAddr>> {
    let hosts = demand::all(plan).flat_map(|database| &database.hosts);
    let names = hosts.filter_map(|host| match host {
        Host::Tcp { host, port } if host.parse::<IpAddr>().is_err() => Some((host, *port)),
        Host::Tcp { .. } | Host::Unix { .. } => None,
    });
    let lines = plan.targets.iter().filter(|line| !line.is_unix() && line.host.parse::<IpAddr>().is_err());
    let names = names.chain(lines.map(|line| (&line.host, line.port)));
    let mut found = BTreeMap::new();
    for (name, port) in names {
        found.entry(name.clone()).or_insert_with(|| {
            let addresses = (name.as_str(), port).to_socket_addrs().into_iter().flatten();
            let mut ips: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
            ips.sort();
            ips.dedup();
            ips
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_their_groups_are_read() {
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n";
        assert_eq!(myself(status), Who { name: String::new(), uid: 2, gids: vec![9, 10, 6] });
        // An unreadable one is nobody, and certainly not root.
        assert_ne!(myself("").uid, 0);
        let passwd = "root:x:0:0:root:/root:/bin/sh\npg:x:70:71::/:/bin/false\n";
        let group = "pg:x:71:\nssl-cert:x:80:www,pg\nother:x:81:www\n";
        let found = named("pg", passwd, group);
        assert_eq!(found, Some(Who { name: "pg".to_string(), uid: 70, gids: vec![71, 80] }));
        assert_eq!(named("p", passwd, group), None);
    }

    #[test]
    fn this_process_is_somebody() {
        let plan = Plan::default();
        let who = who(&plan);
        assert_eq!(who.uid, std::fs::metadata("/proc/self").expect("it is there").uid());
    }
}
