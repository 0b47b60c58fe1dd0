//! LDAP servers for tests: OpenLDAP's own with a few people in it, and one that lies.

pub(crate) mod dns;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use plimsoll_testkit::{Process, Signal, TempDir, eventually, free_port, unprivileged, unprivileged_ids};

use crate::common::SOON;
use crate::common::certificates::Maker;

pub(crate) const BASE: &str = "dc=example,dc=net";
pub(crate) const SEARCHER: &str = "cn=search,dc=example,dc=net";
pub(crate) const SEARCHER_PASSWORD: &str = "search-secret";

/// Their passwords are those of the roles in PostgreSQL, where there are such.
const PEOPLE: &str = "
dn: dc=example,dc=net
objectClass: dcObject
objectClass: organization
dc: example
o: example

dn: cn=search,dc=example,dc=net
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: search
userPassword: search-secret

dn: ou=people,dc=example,dc=net
objectClass: organizationalUnit
ou: people

dn: ou=others,dc=example,dc=net
objectClass: organizationalUnit
ou: others

dn: uid=app,ou=people,dc=example,dc=net
objectClass: inetOrgPerson
uid: app
cn: app
sn: app
mail: app@example.net
userPassword: app-secret

dn: uid=admin,ou=people,dc=example,dc=net
objectClass: inetOrgPerson
uid: admin
cn: admin
sn: admin
userPassword: admin-secret

dn: uid=twin,ou=people,dc=example,dc=net
objectClass: inetOrgPerson
uid: twin
cn: twin
sn: twin
userPassword: twin-secret

dn: uid=twin,ou=others,dc=example,dc=net
objectClass: inetOrgPerson
uid: twin
cn: twin
sn: twin
userPassword: twin-secret

dn: uid=o(br\\,ien)*,ou=people,dc=example,dc=net
objectClass: inetOrgPerson
uid: o(br,ien)*
cn: odd
sn: odd
userPassword: odd-secret
";

/// A running slapd, in a folder of its own.
pub(crate) struct Slapd {
    process: Process,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    _dir: TempDir,
}

impl Slapd {
    /// On 127.0.0.1 and 127.0.0.2, TLS with the certificate of this name.
    pub(crate) fn start(maker: &Maker, certificate: &str) -> Slapd {
        let (dir, port, tls_port) = (TempDir::new("slapd"), free_port(), free_port());
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("db")).expect("the folder is ours");
        fs::write(path("slapd.conf"), conf(dir.path(), maker, certificate)).expect("the folder is ours");
        fs::write(path("people.ldif"), PEOPLE.trim_start()).expect("the folder is ours");
        let (uid, gid) = unprivileged_ids();
        for ours in [dir.path().to_path_buf(), path("db")] {
            std::os::unix::fs::chown(ours, Some(uid), Some(gid)).expect("root may, and we already own ours");
        }
        let (config, people) = (path("slapd.conf").display().to_string(), path("people.ldif"));
        let loaded = slapd(&["-T", "add", "-f", &config, "-l", &people.display().to_string()]).output();
        let loaded = loaded.expect("slapd is there: ./dev test unpacks it");
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let urls = format!("ldap://127.0.0.1:{port} ldap://127.0.0.2:{port} ldaps://127.0.0.1:{tls_port}");
        let process = Process::start(&mut slapd(&["-f", &config, "-h", &urls, "-d", "0"]));
        eventually("slapd to accept", SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Slapd { process, port, tls_port, _dir: dir }
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn stop(mut self) {
        self.process.signal(Signal::Kill);
        self.process.wait(SOON);
    }
}

/// Where the package is.
fn root() -> PathBuf {
    std::env::var_os("PLIMSOLL_SLAPD").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// Whether there is a slapd to test with; without one that is a failure where everything is asked for.
pub(crate) fn is_there() -> bool {
    let is_there = root().join("usr/sbin/slapd").exists();
    assert!(
        is_there || std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_none(),
        "no slapd: ./dev test unpacks it"
    );
    is_there
}

fn slapd(arguments: &[&str]) -> std::process::Command {
    let libraries: Vec<String> = fs::read_dir(root().join("usr/lib"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with("-linux-gnu"))
        .map(|path| path.display().to_string())
        .collect();
    let mut command = unprivileged(&root().join("usr/sbin/slapd"));
    command.args(arguments).env("LD_LIBRARY_PATH", libraries.join(":"));
    command
}

fn conf(dir: &Path, maker: &Maker, certificate: &str) -> String {
    let (root, dir) = (root().display().to_string(), dir.display());
    let root = root.trim_end_matches('/');
    let (crt, key) = (maker.text(&format!("{certificate}.crt")), maker.text(&format!("{certificate}.key")));
    format!(
        "include {root}/etc/ldap/schema/core.schema\n\
         include {root}/etc/ldap/schema/cosine.schema\n\
         include {root}/etc/ldap/schema/inetorgperson.schema\n\
         modulepath {root}/usr/lib/ldap\n\
         moduleload back_mdb\n\
         pidfile {dir}/pid\n\
         TLSCertificateFile {crt}\n\
         TLSCertificateKeyFile {key}\n\
         TLSVerifyClient never\n\
         database mdb\n\
         maxsize 10485760\n\
         suffix {BASE}\n\
         rootdn cn=root,{BASE}\n\
         directory {dir}/db\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact={SEARCHER} read by anonymous auth by * none\n"
    )
}

/// A server that does with each connection what it is told.
pub(crate) struct Liar {
    pub(crate) port: u16,
    /// The most connections that there were at once.
    pub(crate) most: Arc<AtomicUsize>,
    /// Connections there are.
    pub(crate) now: Arc<AtomicUsize>,
    /// One for each connection that its peer has closed.
    pub(crate) closed: Arc<Mutex<Receiver<()>>>,
}

impl Liar {
    /// On 127.0.0.1. `lie` has the connection after the first bytes have come.
    pub(crate) fn start(lie: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Liar {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (sender, closed) = channel();
        let (lie, now) = (Arc::new(lie), Arc::new(AtomicUsize::new(0)));
        let most = Arc::new(AtomicUsize::new(0));
        let (highest, here) = (most.clone(), now.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), lie, sender) = (stream, lie.clone(), sender.clone()) else { return };
                let now = now.clone();
                highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let mut begin = [0; 1024];
                    if stream.read(&mut begin).is_ok_and(|bytes| bytes > 0) {
                        lie(&mut stream);
                    }
                    // Until the other side has had enough.
                    let mut rest = [0; 1024];
                    while stream.read(&mut rest).is_ok_and(|bytes| bytes > 0) {}
                    now.fetch_sub(1, Ordering::SeqCst);
                    // The test may be over.
                    let _ = sender.send(());
                });
            }
        });
        Liar { port, most, now: here, closed: Arc::new(Mutex::new(closed)) }
    }
}

/// Says something as long as somebody listens.
pub(crate) fn for_ever(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}
