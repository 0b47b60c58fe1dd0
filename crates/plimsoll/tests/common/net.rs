//! Three machines on one: network namespaces for an application, a balancer on the way, and the database side. The
//! balancer is a router which forgets flows that are silent and answers what it does not know with a RST, as network
//! load balancers do. Everything is gone when it is dropped.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use plimsoll_testkit::Address;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// One of the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// Where clients run.
    Application,
    /// What is between.
    Balancer,
    /// Where the pooler and PostgreSQL run.
    Database,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Net {
    name: String,
    /// Where the thread of the test was before.
    home: File,
}

const APPLICATION: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 2);

/// Only what follows a handshake is known, and the rest is answered with a RST.
const RULES: &str = "add table ip flows; \
    add chain ip flows way { type filter hook forward priority 0; }; \
    add rule ip flows way ct state invalid reject with tcp reset";

impl Net {
    /// Builds it. `None`, and a clear word, where it is not allowed: no root, or no namespaces.
    pub(crate) fn build() -> Option<Net> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let home = File::open("/proc/thread-self/ns/net").expect("a thread is somewhere");
        let net = Net { name: format!("plimsoll{}x{number}", std::process::id()), home };
        for tool in ["ip", "nft"] {
            if let Err(error) = Command::new(tool).arg("-V").output() {
                assert!(std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_none(), "{tool}: {error}");
                say(&format!("SKIPPED: network namespaces need {tool}: {error}"));
                return None;
            }
        }
        if let Err(why) = net.lay() {
            say(&format!("SKIPPED: network namespaces are not allowed here: {why}"));
            return None;
        }
        Some(net)
    }

    fn lay(&self) -> Result<(), String> {
        let name = |machine| self.name_of(machine);
        let (application, balancer, database) =
            (name(Machine::Application), name(Machine::Balancer), name(Machine::Database));
        for machine in [&application, &balancer, &database] {
            run("ip", &format!("netns add {machine}"))?;
            run("ip", &format!("-n {machine} link set lo up"))?;
        }
        for (machine, near, network) in [(&application, "app", 1), (&database, "db", 2)] {
            run("ip", &format!("-n {balancer} link add {near} type veth peer name e0 netns {machine}"))?;
            run("ip", &format!("-n {balancer} addr add 10.77.{network}.1/24 dev {near}"))?;
            run("ip", &format!("-n {balancer} link set {near} up"))?;
            run("ip", &format!("-n {machine} addr add 10.77.{network}.2/24 dev e0"))?;
            run("ip", &format!("-n {machine} link set e0 up"))?;
            run("ip", &format!("-n {machine} route add default via 10.77.{network}.1"))?;
        }
        self.inside(Machine::Balancer, || {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(|error| error.to_string())
        })
    }

    /// From now on the balancer forgets a flow after so many seconds without a packet.
    #[track_caller]
    pub(crate) fn forget_after(&self, silence: Duration) {
        self.inside(Machine::Balancer, || {
            run_with("nft", &[RULES]).expect("rules");
            let set = |key: &str, value: String| {
                fs::write(format!("/proc/sys/net/netfilter/{key}"), value)
                    .unwrap_or_else(|error| panic!("{key}: {error}"));
            };
            set("nf_conntrack_tcp_timeout_established", silence.as_secs().to_string());
            set("nf_conntrack_tcp_loose", "0".to_string());
        });
    }

    /// From now on connections to a port of the database's machine go to these ports of it by turns.
    #[track_caller]
    pub(crate) fn balance(&self, port: u16, to: &[u16]) {
        let turns: Vec<String> =
            to.iter().enumerate().map(|(turn, port)| format!("{turn} : {DATABASE} . {port}")).collect();
        let rules = format!(
            "add table ip turns; add chain ip turns way {{ type nat hook prerouting priority -100; }}; \
             add rule ip turns way tcp dport {port} dnat ip addr . port to numgen inc mod {} map {{ {} }}",
            to.len(),
            turns.join(", ")
        );
        self.inside(Machine::Balancer, || run_with("nft", &[&rules]).expect("rules"));
    }

    /// The test goes on on this machine: what it starts runs there. (Programs are ended with the thread that has started
    /// them, so that must be the test's own.)
    #[track_caller]
    pub(crate) fn enter(&self, machine: Machine) {
        let path = format!("/run/netns/{}", self.name_of(machine));
        let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
    }

    /// Does something on one of the machines: sockets made there stay there.
    #[track_caller]
    pub(crate) fn inside<T: Send>(&self, machine: Machine, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            self.enter(machine);
            work()
        };
        match thread::scope(|scope| scope.spawn(enter).join()) {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// The application's machine is gone from one moment to the next: nobody hears a word of it.
    #[track_caller]
    pub(crate) fn unplug(&self, machine: Machine) {
        run("ip", &format!("-n {} link set e0 down", self.name_of(machine))).expect("the link is there");
    }

    /// An address on the database's machine, as others reach it.
    pub(crate) fn at_database(port: u16) -> Address {
        Address::Tcp(SocketAddr::new(IpAddr::V4(DATABASE), port))
    }

    /// The application's own address.
    pub(crate) fn application() -> String {
        APPLICATION.to_string()
    }

    /// What the database's machine listens on.
    pub(crate) fn listen_addr() -> String {
        format!("127.0.0.1,{DATABASE}")
    }

    fn name_of(&self, machine: Machine) -> String {
        let part = match machine {
            Machine::Application => "app",
            Machine::Balancer => "way",
            Machine::Database => "db",
        };
        format!("{}{part}", self.name)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // A thread that stays in a namespace keeps it.
        let _ = move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network));
        for machine in [Machine::Application, Machine::Balancer, Machine::Database] {
            // What was never made cannot be removed.
            let _ = run("ip", &format!("netns delete {}", self.name_of(machine)));
        }
    }
}

/// Says something beside the results of the tests.
pub(crate) fn say(text: &str) {
    // If stderr is closed there is nobody to tell.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Runs a command of words.
fn run(program: &str, arguments: &str) -> Result<(), String> {
    run_with(program, &arguments.split(' ').collect::<Vec<_>>())
}

fn run_with(program: &str, arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(arguments).output();
    let output = ran.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
