//! Opening the store.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor};

use super::{Backend, Store, StoreFault};

/// Connections that read: to SQLite beside the one that writes, to PostgreSQL for both, beside the one that listens.
const CONNECTIONS_MAX: u32 = 3;
/// The same of [`Store::apart`].
const APART_CONNECTIONS_MAX: u32 = 2;
/// How long one waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
const MAX_LIFETIME: Duration = Duration::from_mins(30);
/// Who may read and write the file: its owner.
const MODE: u32 = 0o600;

/// What to do if there is no store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Create {
    /// Say so.
    #[default]
    Never,
    /// Make one.
    IfMissing,
}

/// How to open a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreOptions {
    /// What to do if there is none.
    pub create: Create,
}

impl Store {
    /// Opens the store at `sqlite:PATH` or `postgres://…`, and brings its tables to what this program knows.
    ///
    /// # Errors
    /// `Absent`: there is none and none shall be made, or its folder cannot be reached. `Unusable`: it is of a newer
    /// program or no store, or the URL is of neither kind. `Down`: the database does not answer.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Store, StoreFault> {
        sqlx::any::install_default_drivers();
        let store = match url.strip_prefix("sqlite:") {
            Some(path) => open_sqlite(path, options.create)?,
            None if url.starts_with("postgres://") || url.starts_with("postgresql://") => open_postgres(url)?,
            None => return Err(unusable("an identity store is sqlite:PATH or postgres://…")),
        };
        store.greet().await.map_err(never_usable)?;
        if options.create == Create::Never && !store.has_tables().await? {
            return Err(absent("there is no identity store yet: `plimsoll identity init` makes one"));
        }
        store.migrate(unix_ms()).await?;
        Ok(store)
    }

    /// The same store over connections of its own, which nobody else can have all of: what a file is written with is the
    /// one thing that stays shared.
    pub(crate) fn apart(&self) -> Store {
        let options = self.reads.connect_options();
        let reads = match self.backend {
            Backend::Sqlite => sqlite_pool(&options, APART_CONNECTIONS_MAX, SQLITE_READER),
            Backend::Postgres => postgres_pool(&options, APART_CONNECTIONS_MAX),
        };
        let writes = match self.backend {
            Backend::Sqlite => self.writes.clone(),
            Backend::Postgres => reads.clone(),
        };
        Store { reads, writes, backend: self.backend, changed: self.changed.clone() }
    }

    /// Connects once beside the pools: these try again and again until their time is over, and then say no more than that.
    async fn greet(&self) -> Result<(), StoreFault> {
        let connect = async {
            let mut connection = AnyConnection::connect_with(&self.writes.connect_options()).await?;
            connection.execute(session_of(self.backend)).await?;
            connection.close().await
        };
        match tokio::time::timeout(ACQUIRE_TIMEOUT, connect).await {
            Ok(outcome) => Ok(outcome?),
            Err(late) => Err(StoreFault::Down(sqlx::Error::Io(late.into()))),
        }
    }

    /// Closes its connections, as soon as they are not in use.
    pub async fn close(&self) {
        self.writes.close().await;
        self.reads.close().await;
    }
}

fn unusable(why: impl Into<String>) -> StoreFault {
    StoreFault::Unusable { why: why.into() }
}

fn absent(why: impl Into<String>) -> StoreFault {
    StoreFault::Absent { why: why.into() }
}

/// Tells what no second try changes from what may pass.
fn never_usable(fault: StoreFault) -> StoreFault {
    match fault {
        StoreFault::Down(sqlx::Error::Database(error)) if error.code().as_deref() == Some(SQLITE_NOTADB) => {
            unusable("the file of the identity store is not a database of SQLite")
        }
        StoreFault::Down(sqlx::Error::Configuration(_)) => {
            unusable("the URL of the identity store says what cannot be")
        }
        other => other,
    }
}

/// `SQLITE_NOTADB` (SQLite, "Result and Error Codes"); PostgreSQL's codes have five characters.
const SQLITE_NOTADB: &str = "26";

/// For the table of migrations only; what is decided by time has it from the caller.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a connection that may write is told first.
fn session_of(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => SQLITE_WRITER,
        Backend::Postgres => POSTGRES_SESSION,
    }
}

fn pool_options(connections_max: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(MAX_LIFETIME)
}

fn open_postgres(url: &str) -> Result<Store, StoreFault> {
    // The fault of a URL that cannot be read may quote it, and with it the password.
    let options: AnyConnectOptions =
        url.parse().map_err(|_| unusable("the URL of the identity store cannot be read"))?;
    let pool = postgres_pool(&options.disable_statement_logging(), CONNECTIONS_MAX);
    Ok(Store { reads: pool.clone(), writes: pool, backend: Backend::Postgres, changed: Arc::default() })
}

fn postgres_pool(options: &AnyConnectOptions, connections_max: u32) -> AnyPool {
    pool_options(connections_max)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(POSTGRES_SESSION).await.map(drop) })
        })
        .connect_lazy_with(options.clone())
}

/// A session that gives up by itself, so that nothing of ours stays in the way.
const POSTGRES_SESSION: &str = "SET application_name = 'plimsoll identity'; SET statement_timeout = '10s'; \
                                SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '30s'";

fn open_sqlite(path: &str, create: Create) -> Result<Store, StoreFault> {
    let path = whole_path(path)?;
    prepare_file(&path, create)?;
    let options: AnyConnectOptions = sqlite_url(&path)
        .parse()
        .map_err(|_| unusable(format!("{} cannot be the path of a store", path.display())))?;
    let options = options.disable_statement_logging();
    Ok(Store {
        reads: sqlite_pool(&options, CONNECTIONS_MAX, SQLITE_READER),
        writes: sqlite_pool(&options, 1, SQLITE_WRITER),
        backend: Backend::Sqlite,
        changed: Arc::default(),
    })
}

/// `FULL`: what was said to be written has reached the disk, also with a write-ahead log.
const SQLITE_WRITER: &str = "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; \
                             PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";
const SQLITE_READER: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON";

fn sqlite_pool(options: &AnyConnectOptions, connections_max: u32, session: &'static str) -> AnyPool {
    pool_options(connections_max)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(session).await.map(drop) })
        })
        .connect_lazy_with(options.clone())
}

/// The path with nothing in it that a URL would lose.
fn whole_path(path: &str) -> Result<PathBuf, StoreFault> {
    let path = path.strip_prefix("//").unwrap_or(path);
    let name = Path::new(path).file_name().filter(|name| *name != ":memory:");
    let name = name.ok_or_else(|| unusable("an identity store in SQLite is sqlite:PATH of a file"))?;
    let folder = match Path::new(path).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let folder = folder
        .canonicalize()
        .map_err(|fault| absent(format!("the folder of the identity store {path}: {fault}")))?;
    Ok(folder.join(name))
}

/// Makes the file before SQLite does, so that it never has another mode; SQLite gives that of the file to the two
/// beside it.
fn prepare_file(path: &Path, create: Create) -> Result<(), StoreFault> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(MODE);
    options.create(create == Create::IfMissing);
    let file = options.open(path).map_err(|fault| {
        let hint = match (fault.kind(), create) {
            (std::io::ErrorKind::NotFound, Create::Never) => ": `plimsoll identity init` makes one",
            _ => "",
        };
        absent(format!("the identity store {}: {fault}{hint}", path.display()))
    })?;
    let tighten = |found: &Path, mode: u32| {
        if mode & 0o777 == MODE {
            return Ok(());
        }
        fs::set_permissions(found, Permissions::from_mode(MODE))
            .map_err(|fault| unusable(format!("the mode of {}: {fault}", found.display())))
    };
    let mode = file.metadata().map_err(|fault| unusable(format!("{}: {fault}", path.display())))?;
    tighten(path, mode.permissions().mode())?;
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let beside = PathBuf::from(beside);
        if let Ok(found) = fs::metadata(&beside) {
            tighten(&beside, found.permissions().mode())?;
        }
    }
    Ok(())
}

/// The path as a URL: all but the plainest letters are escaped.
fn sqlite_url(path: &Path) -> String {
    let mut url = "sqlite://".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_".contains(byte) {
            url.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

#[cfg(test)]
mod tests;
