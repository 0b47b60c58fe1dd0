//! A pooler inside the test, a fake server behind it, and a console that knows a few words.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Plan, load};
use plimsoll_proxy::{
    Console, Control, Level, NoCredentials, NoVoucher, Options, Reply, Shutdown, Until, Visitor, start,
};
use plimsoll_testkit::{
    Address, FakePeer, FakeServer, Login, Outcome, Packet, TempDir, eventually, free_port, md5_secret,
    scram_secret,
};
use plimsoll_types::Secret;

/// How long something may take that takes no time on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A pooler and what is behind it.
pub(crate) struct House {
    pub(crate) control: Control,
    pub(crate) port: u16,
    pub(crate) server: FakeServer,
    folder: TempDir,
}

/// A pooler in front of a server that lets everybody in and answers every query.
pub(crate) fn house(settings: &str) -> House {
    house_before(settings, |_, peer| {
        peer.welcome()?;
        peer.serve()
    })
}

/// A pooler in front of a scripted server. `settings` are lines of `[pgbouncer]`, and more sections if they like.
pub(crate) fn house_before(
    settings: &str,
    script: impl Fn(usize, &mut FakePeer) -> Outcome<()> + Send + Sync + 'static,
) -> House {
    let server = FakeServer::start(script);
    let (port, folder) = (free_port(), TempDir::new("house"));
    let plan = plan(&ini(settings, port, server.port(), folder.path()));
    let options = Options {
        keeper: None,
        console: Arc::new(Words),
        credentials: Arc::new(NoCredentials),
        voucher: Arc::new(NoVoucher),
        mock_secret: Secret::from_text("drawn at start"),
        activated: Vec::new(),
        http: Vec::new(),
        offer: None,
        given: Box::new(|_| {}),
    };
    let control = start(plan, options).expect("a free port");
    House { control, port, server, folder }
}

fn ini(settings: &str, port: u16, server_port: u16, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[databases]\n\
         shop = host=127.0.0.1 port={server_port}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {folder}\n\
         auth_file = users\nauth_type = trust\nadmin_users = root\nstats_users = watcher\n\
         pool_mode = transaction\n{settings}\n"
    )
}

/// Reads an ini whose auth_file has one user of each kind of secret; `ann` is the one with SCRAM.
pub(crate) fn plan(ini: &str) -> Plan {
    let users = format!(
        "\"ann\" \"{}\"\n\"bob\" \"{}\"\n\"cid\" \"plain secret\"\n\"root\" \"admin\"\n\"watcher\" \"eyes\"\n",
        scram_secret("ann's", b"0123456789abcdef", 4096),
        md5_secret("bob", "bob's"),
    );
    let mut read = |path: &Path| match path.to_str() {
        Some("ini") => Ok(ini.to_string()),
        Some("users") => Ok(users.clone()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    load(Path::new("ini"), &mut read).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

impl House {
    pub(crate) fn login(&self, user: &str, database: &str) -> Login {
        Login::new(Address::v4(self.port), user, database)
    }

    pub(crate) fn unix(&self) -> Address {
        Address::Unix(self.socket())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{}", self.port))
    }

    /// Waits until nobody is counted as a client any more.
    pub(crate) fn wait_until_empty(&self) {
        eventually("no client is left", SOON, || {
            let counted =
                self.control.databases().iter().map(|db| db.current_client_connections).sum::<u32>();
            counted == 0 && self.control.clients().is_empty()
        });
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.control.shutdown(Shutdown::Immediate);
    }
}

/// A console of few words: WHO, PAUSE, RESUME, LEAVE.
struct Words;

impl Console for Words {
    fn command(&self, control: &Control, visitor: Visitor<'_>, text: &[u8]) -> Reply {
        match text {
            b"SHOW WHO" => Reply::Now(row(match visitor.level {
                Level::Admin => "admin",
                Level::Stats => "stats",
            })),
            b"PAUSE" => {
                control.pause(None).expect("not paused");
                Reply::When(Until::Quiet(None), Box::new(|| done("PAUSE")))
            }
            b"RESUME" => {
                control.resume(None).expect("paused");
                Reply::Now(done("RESUME"))
            }
            b"SHUTDOWN WAIT_FOR_CLIENTS" => {
                control.shutdown(Shutdown::WaitForClients);
                Reply::Now(done("SHUTDOWN"))
            }
            _ => Reply::Now(done("NOTHING")),
        }
    }

    fn welcome(&self) -> Vec<(&'static str, String)> {
        vec![("server_version", String::from("1.25.2/words"))]
    }
}

fn ready() -> Vec<u8> {
    Packet::typed(b'Z').raw(b"I").bytes()
}

fn done(tag: &str) -> Vec<u8> {
    [Packet::typed(b'C').text(tag).bytes(), ready()].concat()
}

fn row(value: &str) -> Vec<u8> {
    let column = Packet::typed(b'T').int16(1).text("who").int32(0).int16(0).int32(25).int16(65535);
    let column = column.int32(u32::MAX).int16(0).bytes();
    let data = Packet::typed(b'D').int16(1).value(Some(value.as_bytes())).bytes();
    [column, data, done("SHOW")].concat()
}
