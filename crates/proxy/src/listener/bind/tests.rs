use super::*;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("plimsoll-bind-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn general(&self) -> General {
        General {
            listen_addr: Vec::new(),
            listen_port: 6432,
            unix_socket_dir: Some(self.0.clone()),
            unix_socket_mode: 0o700,
            ..General::default()
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn loopback() -> General {
    General {
        listen_addr: vec!["127.0.0.1".to_string()],
        listen_port: 0,
        unix_socket_dir: None,
        ..General::default()
    }
}

fn tcp_address(doors: &Doors) -> SocketAddr {
    let tcp = |listener: &Listener| match listener.place {
        Place::Tcp(addr) => Some(addr),
        Place::Unix { .. } => None,
    };
    doors.listeners().iter().find_map(tcp).expect("a TCP listener")
}

#[test]
fn closing_refuses_tcp_at_once() {
    let doors = bind(&loopback(), Vec::new()).expect("a port");
    let addr = tcp_address(&doors);
    let held = doors.listeners();
    assert!(std::net::TcpStream::connect(addr).is_ok());
    doors.close_tcp();
    let refused = std::net::TcpStream::connect(addr).expect_err("closed");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "also while an acceptor holds the socket");
    assert_eq!(held.len(), 1);
    assert!(doors.listeners().is_empty());
}

#[test]
fn what_is_accepted_has_the_options_of_the_plan() {
    let tcp = Tcp { keepalive: true, keepidle: 77, user_timeout: 5_000, ..Tcp::default() };
    let with = General { tcp: tcp.clone(), ..loopback() };
    let doors = bind(&with, Vec::new()).expect("a port");
    assert!(doors.inherit(&with));
    let mut client = std::net::TcpStream::connect(tcp_address(&doors)).expect("a connection");
    // With TCP_DEFER_ACCEPT nobody is there before the first byte.
    std::io::Write::write_all(&mut client, b"x").expect("a byte");
    let listener = doors.listeners().remove(0).socket;
    listener.set_nonblocking(false).expect("blocking");
    let (accepted, _) = listener.accept().expect("somebody");
    assert!(accepted.tcp_nodelay().expect("an option"));
    assert!(accepted.keepalive().expect("an option"));
    assert_eq!(accepted.tcp_keepalive_time().expect("an option"), std::time::Duration::from_secs(77));
    // A RELOAD has switched them off since.
    let without = General { tcp: Tcp { keepalive: false, user_timeout: 0, ..tcp }, ..loopback() };
    assert!(!doors.inherit(&without));
    dial::retune(&accepted, &without);
    assert!(!accepted.keepalive().expect("an option"));
    assert_eq!(accepted.tcp_user_timeout().expect("an option"), None);
}

#[test]
fn a_port_in_use_is_an_error_with_its_address() {
    let doors = bind(&loopback(), Vec::new()).expect("a port");
    let port = tcp_address(&doors).port();
    let second = bind(&General { listen_port: port, ..loopback() }, Vec::new());
    assert!(
        matches!(second, Err(StartError::Listen { address, .. }) if address == format!("127.0.0.1:{port}"))
    );
}

#[test]
fn nowhere_to_listen_is_an_error() {
    let nowhere = General { listen_addr: Vec::new(), unix_socket_dir: None, ..General::default() };
    assert!(matches!(bind(&nowhere, Vec::new()), Err(StartError::NothingToListenOn)));
}

#[test]
fn both_families_stand_side_by_side() {
    let all = General { listen_addr: vec!["*".to_string()], listen_port: 0, ..loopback() };
    let doors = bind(&all, Vec::new()).expect("ports");
    let families: Vec<bool> = doors
        .listeners()
        .iter()
        .map(|listener| matches!(listener.place, Place::Tcp(addr) if addr.is_ipv6()))
        .collect();
    assert!(families == [false, true] || families == [false], "{families:?}");
}

#[test]
fn the_unix_socket_has_its_mode_and_goes_at_the_end() {
    let folder = Folder::new("mode");
    let path = folder.0.join(".s.PGSQL.6432");
    let doors = bind(&folder.general(), Vec::new()).expect("a socket");
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    doors.close_tcp();
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "it outlives the TCP listeners");
    doors.remove_unix();
    assert!(!path.exists());
}

#[test]
fn a_live_socket_is_respected_and_a_stale_one_replaced() {
    let folder = Folder::new("stale");
    let first = bind(&folder.general(), Vec::new()).expect("a socket");
    assert!(matches!(bind(&folder.general(), Vec::new()), Err(StartError::UnixSocketInUse)));
    drop(first);
    let second = bind(&folder.general(), Vec::new()).expect("nobody listens on the old one");
    drop(second);
    assert!(folder.0.join(".s.PGSQL.6432").exists());
}

#[test]
fn somebody_elses_socket_is_left_alone_at_the_end() {
    let folder = Folder::new("other");
    let path = folder.0.join(".s.PGSQL.6432");
    let doors = bind(&folder.general(), Vec::new()).expect("a socket");
    // The old file stays until the new one is there, so that the two cannot be the same inode.
    std::fs::rename(&path, folder.0.join("old")).expect("a rename");
    let _other = std::os::unix::net::UnixListener::bind(&path).expect("another socket");
    doors.remove_unix();
    assert!(path.exists());
}

#[test]
fn groups_are_found_by_name_or_number() {
    let file = "root:x:0:\nmail:x:8:a,b\nbroken\n";
    assert_eq!(group_id("mail", file), Some(8));
    assert_eq!(group_id("12", file), Some(12));
    assert_eq!(group_id("nobody", file), None);
}
