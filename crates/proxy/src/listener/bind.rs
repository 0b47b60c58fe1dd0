//! Listening sockets: made all together before anything else starts, closed on the way out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use plimsoll_config::{General, Tcp};
use plimsoll_types::Side;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::dial;
use crate::handover::ListenerImage;
use crate::start::StartError;

/// All listening sockets. They have the options of the plan they were made with, and what they accept inherits them
/// (Linux): no calls are spent on that.
pub(crate) struct Doors {
    listeners: Mutex<Vec<Listener>>,
    /// The options they were made with.
    tcp: Tcp,
}

/// One listening socket.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) socket: Arc<Socket>,
    pub(super) place: Place,
}

/// Where a socket listens.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// On an address.
    Tcp(SocketAddr),
    /// On a path.
    Unix {
        path: PathBuf,
        /// The port in its name.
        port: u16,
        /// Device and inode, so that nobody else's socket is removed at the end.
        file: (u64, u64),
    },
}

impl Place {
    fn is_at(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Tcp(one), Place::Tcp(other)) => one == other,
            (Place::Unix { path, .. }, other) => other.is_path(path),
            (Place::Tcp(_), Place::Unix { .. }) => false,
        }
    }

    fn is_path(&self, wanted: &Path) -> bool {
        matches!(self, Place::Unix { path, .. } if path == wanted)
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(self, Place::Tcp(_))
    }
}

impl std::fmt::Display for Place {
    /// As in PgBouncer's log: `127.0.0.1:6432`, `[::1]:6432`, `unix:/tmp/.s.PGSQL.6432`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Tcp(addr) => write!(f, "{addr}"),
            Place::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Doors {
    /// All that are open.
    pub(super) fn listeners(&self) -> Vec<Listener> {
        self.listeners.lock().clone()
    }

    /// Whether what is accepted has the options of this plan.
    pub(super) fn inherit(&self, general: &General) -> bool {
        self.tcp == general.tcp
    }

    /// No more clients over TCP: when this returns, connecting is refused.
    pub(crate) fn close_tcp(&self) {
        self.listeners.lock().retain(|listener| {
            if listener.place.is_tcp() {
                // On Linux this ends listening at once, also where the acceptor still has the socket; it hears of
                // it by an error and lets go.
                let _ = listener.socket.shutdown(std::net::Shutdown::Both);
            }
            !listener.place.is_tcp()
        });
    }

    /// All that are open, for another process.
    pub(crate) fn images(&self) -> Vec<(ListenerImage, Arc<Socket>)> {
        let all = self.listeners.lock();
        let image = |listener: &Listener| {
            let image = match &listener.place {
                Place::Tcp(address) => ListenerImage::Tcp(*address),
                Place::Unix { path, port, .. } => ListenerImage::Unix { path: path.clone(), port: *port },
            };
            (image, listener.socket.clone())
        };
        all.iter().map(image).collect()
    }

    /// They are another process's: nothing of them is closed or removed from here on.
    pub(crate) fn forget(&self) {
        self.listeners.lock().clear();
    }

    /// The process ends: takes the Unix socket out of the file system, if it is still ours.
    pub(crate) fn remove_unix(&self) {
        for listener in self.listeners.lock().iter() {
            if let Place::Unix { path, file, .. } = &listener.place
                && file_id(path).is_ok_and(|id| id == *file)
            {
                // At the end there is nobody left who could do anything about it.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// A socket that listens already.
#[derive(Debug)]
pub(crate) struct Given {
    /// The socket.
    pub(crate) fd: OwnedFd,
    /// Who gives it.
    pub(crate) by: GivenBy,
}

/// Who gives a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenBy {
    /// The process before this one: what this one's configuration does not name is closed.
    Predecessor,
    /// The service manager: it is listened on, whatever the configuration says.
    Manager,
}

impl Given {
    /// What it listens on. `None`: it is none of ours.
    fn listener(self, general: &General) -> Option<Listener> {
        let socket = Socket::from(self.fd);
        let address = socket.local_addr().ok()?;
        let place = match address.as_socket() {
            Some(address) => Place::Tcp(address),
            None => {
                let path = address.as_pathname()?.to_path_buf();
                let file = file_id(&path).ok()?;
                Place::Unix { path, port: general.listen_port, file }
            }
        };
        let is_named = self.by == GivenBy::Manager || is_named(general, &place);
        socket.set_nonblocking(true).ok()?;
        if place.is_tcp() {
            dial::tune(&socket, general, Side::Client);
        }
        is_named.then(|| Listener { socket: Arc::new(socket), place })
    }
}

/// Whether the configuration names a place.
fn is_named(general: &General, place: &Place) -> bool {
    match place {
        Place::Tcp(address) => general
            .listen_addr
            .iter()
            .any(|name| addresses(name, general.listen_port).is_ok_and(|all| all.contains(address))),
        Place::Unix { path, .. } => {
            general.unix_socket_dir.as_ref().is_some_and(|dir| unix_path(dir, general) == *path)
        }
    }
}

fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// Binds everything the plan names, and listens: clients may connect from here on and wait in the backlog.
///
/// `given`: sockets that listen already, from another process or from the service manager. Those that the plan names
/// are taken, others as well; what the plan names and is not among them is made.
///
/// # Errors
/// The first socket that cannot be made, or that there is none to make.
pub(crate) fn bind(general: &General, given: Vec<Given>) -> Result<Doors, StartError> {
    let mut listeners: Vec<Listener> =
        given.into_iter().filter_map(|given| given.listener(general)).collect();
    let has =
        |listeners: &[Listener], place: &Place| listeners.iter().any(|listener| listener.place.is_at(place));
    // First of all: that another pooler runs here says more than that its port is taken.
    if let Some(dir) = &general.unix_socket_dir
        && !listeners.iter().any(|listener| listener.place.is_path(&unix_path(dir, general)))
    {
        make_room(&unix_path(dir, general))?;
    }
    for name in &general.listen_addr {
        let failed =
            |source| StartError::Listen { address: format!("{name}:{}", general.listen_port), source };
        for addr in addresses(name, general.listen_port).map_err(failed)? {
            if has(&listeners, &Place::Tcp(addr)) {
                continue;
            }
            match tcp(addr, general) {
                Ok(listener) => listeners.push(listener),
                // A machine without IPv6 has no `*` of it.
                Err(e) if name == "*" && addr.is_ipv6() && is_unsupported(&e) => {}
                Err(source) => return Err(StartError::Listen { address: addr.to_string(), source }),
            }
        }
    }
    if let Some(dir) = &general.unix_socket_dir
        && !listeners.iter().any(|listener| listener.place.is_path(&unix_path(dir, general)))
    {
        listeners.push(unix(dir, general)?);
    }
    if listeners.is_empty() {
        return Err(StartError::NothingToListenOn);
    }
    for listener in &listeners {
        tracing::info!("listening on {}", listener.place);
    }
    Ok(Doors { listeners: Mutex::new(listeners), tcp: general.tcp.clone() })
}

/// What a `listen_addr` stands for.
fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if name == "*" {
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        return Ok(all.map(|ip| SocketAddr::new(ip, port)).into());
    }
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let mut all: Vec<SocketAddr> = (name, port).to_socket_addrs()?.collect();
    all.sort();
    all.dedup();
    Ok(all)
}

fn is_unsupported(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn tcp(addr: SocketAddr, general: &General) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if general.so_reuseport {
        socket.set_reuse_port(true)?;
    }
    if addr.is_ipv6() {
        // `0.0.0.0` and `[::]` stand side by side.
        socket.set_only_v6(true)?;
    }
    // What is accepted inherits these.
    dial::tune(&socket, general, Side::Client);
    if general.tcp.defer_accept > 0 {
        defer_accept(&socket, general.tcp.defer_accept);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(backlog(general))?;
    // With port 0 the kernel has chosen one.
    let addr = socket.local_addr()?.as_socket().unwrap_or(addr);
    Ok(Listener { socket: Arc::new(socket), place: Place::Tcp(addr) })
}

fn backlog(general: &General) -> i32 {
    i32::try_from(general.listen_backlog).unwrap_or(i32::MAX)
}

/// A client is only seen once its first bytes are there. Where the kernel refuses, it is seen earlier.
#[allow(unsafe_code, reason = "no library we use has TCP_DEFER_ACCEPT")]
fn defer_accept(socket: &Socket, seconds: u32) {
    use std::os::fd::AsRawFd;
    let seconds = libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX);
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the file descriptor is open as long as `socket` lives, and the value is a C int of the size given.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            std::ptr::from_ref(&seconds).cast(),
            size,
        );
    }
}

fn unix_path(dir: &Path, general: &General) -> PathBuf {
    dir.join(format!(".s.PGSQL.{}", general.listen_port))
}

fn unix(dir: &Path, general: &General) -> Result<Listener, StartError> {
    let path = unix_path(dir, general);
    let failed = |source| StartError::Listen { address: format!("unix:{}", path.display()), source };
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    let address = SockAddr::unix(&path).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    socket.bind(&address).map_err(failed)?;
    // Before listening: nobody comes in while the mode is still the umask's.
    restrict(&path, general).map_err(failed)?;
    let file = file_id(&path).map_err(failed)?;
    socket.listen(backlog(general)).map_err(failed)?;
    let place = Place::Unix { path, port: general.listen_port, file };
    Ok(Listener { socket: Arc::new(socket), place })
}

/// Removes a socket that nobody listens on any more.
fn make_room(path: &Path) -> Result<(), StartError> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        // Nothing there, or something that is not ours to remove: then binding says so.
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(StartError::UnixSocketInUse),
        Err(_) => std::fs::remove_file(path)
            .map_err(|source| StartError::Listen { address: format!("unix:{}", path.display()), source }),
    }
}

fn restrict(path: &Path, general: &General) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(general.unix_socket_mode))?;
    if general.unix_socket_group.is_empty() {
        return Ok(());
    }
    let group = group_id(&general.unix_socket_group, &std::fs::read_to_string("/etc/group")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such group in /etc/group"))?;
    std::os::unix::fs::chown(path, None, Some(group))
}

/// The number of a group, given as a name or as the number itself. `file` is the text of /etc/group.
fn group_id(group: &str, file: &str) -> Option<u32> {
    let by_name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?;
        if name == group { id.parse().ok() } else { None }
    };
    file.lines().find_map(by_name).or_else(|| group.parse().ok())
}

#[cfg(test)]
mod tests;
