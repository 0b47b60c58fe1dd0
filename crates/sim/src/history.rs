//! What happens in a history, in words of its own: everything that chance decides is written down here, so that a
//! history can be run again, cut and printed without the generator. Times are in microseconds. Numbers that choose
//! (`pool`, `target`, `nth`) choose among what is there at that moment, modulo how much there is.

/// The world and what happens in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How the world begins.
    pub shape: Shape,
    /// What happens, one after the other.
    pub steps: Vec<Step>,
}

/// How the world begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Worker threads.
    pub workers: u16,
    /// `fairness_slack`.
    pub slack_us: u64,
    /// How far the clocks of workers that wait for the lock are behind.
    pub skew_us: u64,
    /// `connect_concurrency`.
    pub logins_max: u32,
    /// Timeouts are looked at on a grid of this; 0: exactly when they are due.
    pub tick_us: u64,
    /// What the grants of the applications weigh; the first has none.
    pub weights: [u32; 3],
    /// The servers.
    pub targets: Vec<TargetShape>,
    /// The pools.
    pub pools: Vec<PoolShape>,
    /// Whether a reload may change how pools are pooled. Then nobody counts on what a session keeps.
    pub remodels: bool,
    /// How it ends.
    pub ending: Ending,
}

/// How the world ends once everybody has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All pools leave the configuration.
    Dismantle,
    /// Shutdown: whoever would have to wait is refused; then the same.
    Shutdown,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetShape {
    /// `max_connections`.
    pub places: u32,
    /// `superuser_reserved_connections`.
    pub reserved: u32,
    /// Ours; `None` is no cap.
    pub budget: Option<u32>,
    /// How it behaves.
    pub mood: Mood,
}

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mood {
    /// What becomes of a login.
    pub login: Login,
    /// How long it takes.
    pub login_us: u64,
    /// What becomes of a reset or check query.
    pub answer: Answer,
    /// How long it takes.
    pub answer_us: u64,
    /// Whether the end of a connection is seen.
    pub farewell: Farewell,
    /// How long a backend lives on after its client has closed.
    pub close_us: u64,
}

/// What becomes of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// It is let in if there is a place (else 53300).
    Accept,
    /// It is let in, and its backend dies at once.
    AcceptAndDie,
    /// Nobody listens.
    Nobody,
    /// 57P03.
    StartingUp,
    /// 28P01.
    WrongPassword,
    /// 53300 for the role alone.
    RoleFull,
    /// The SYN is lost.
    HangOutside,
    /// The backend never answers, and has a place.
    HangInside,
}

/// What becomes of a query of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is answered.
    Well,
    /// It fails, and the backend ends.
    Fails,
}

/// Whether the end of a connection is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The server's FIN arrives.
    Seen,
    /// It does not.
    Unseen,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// The database, by number.
    pub database: u32,
    /// The role, by number.
    pub user: u32,
    /// Bits choose targets.
    pub targets: u8,
    /// How one is chosen.
    pub picks: Picks,
    /// Whether it has a place of its own.
    pub place: Place,
    /// Its limits.
    pub limits: Limits,
    /// How its clients are pooled, as far as those that speak are concerned.
    pub pooling: Pooling,
}

/// How clients are pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// `pool_mode`.
    pub mode: Mode,
    /// When the reset query is run.
    pub cleaning: Cleaning,
    /// `max_prepared_statements`.
    pub prepared_max: u32,
    /// `query_timeout`; 0: none.
    pub query_us: u64,
    /// `idle_transaction_timeout`; 0: none.
    pub idle_us: u64,
    /// `transaction_timeout`; 0: none.
    pub transaction_us: u64,
}

impl Pooling {
    /// As it is if nobody says otherwise.
    pub const PLAIN: Pooling = Pooling {
        mode: Mode::Transaction,
        cleaning: Cleaning::AfterSession,
        prepared_max: 100,
        query_us: 0,
        idle_us: 0,
        transaction_us: 0,
    };
}

/// `pool_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Session pooling.
    Session,
    /// Transaction pooling.
    Transaction,
    /// Statement pooling.
    Statement,
}

/// When the reset query is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaning {
    /// Never.
    Never,
    /// After session pooling.
    AfterSession,
    /// Always.
    Always,
}

/// How a target is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picks {
    /// In turn.
    InTurn,
    /// The same one until it fails.
    UntilFailure,
}

/// Whether a pool has a place of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No.
    Ordinary,
    /// Its first connection passes the limits of database and user.
    Guaranteed,
}

/// Limits of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `pool_size`.
    pub size: u32,
    /// `min_pool_size`.
    pub min_size: u32,
    /// When that is kept.
    pub min: Minimum,
    /// `reserve_pool_size`.
    pub reserve_size: u32,
    /// `reserve_pool_timeout`.
    pub reserve_us: u64,
    /// `server_lifetime`.
    pub lifetime_us: u64,
    /// `server_idle_timeout`.
    pub idle_us: u64,
    /// `server_check_delay`.
    pub check_us: Option<u64>,
    /// `server_login_retry`.
    pub login_retry_us: u64,
    /// Whether that grows with each failure.
    pub backoff: Backoff,
    /// Whether newcomers wait while nothing answers.
    pub newcomers: Newcomers,
    /// `guaranteed_pool_size`.
    pub guaranteed: u32,
    /// `weight`.
    pub weight: u32,
    /// `queue_fairness`.
    pub turns: Turns,
    /// `pool_idle_timeout`.
    pub pool_idle_us: u64,
    /// `server_round_robin`.
    pub order: Order,
}

/// How long nobody connects after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// Always the same time.
    Fixed,
    /// Twice as long each time, up to four times as long.
    Doubling,
}

/// What newcomers do while nothing answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomers {
    /// They wait.
    Wait,
    /// They are told the reason.
    AreRefused,
}

/// Whose turn it is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Who came first.
    Arrival,
    /// One of each application in turn.
    Application,
}

/// When `min_pool_size` is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minimum {
    /// While there are clients.
    WithClients,
    /// Always.
    Always,
}

/// Which idle connection is used next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one used last.
    Newest,
    /// The one used longest ago.
    Oldest,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// So long after the one before.
    pub after_us: u64,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A client comes.
    Arrive(Arrival),
    /// A client comes that speaks the protocol.
    Visit(Visit),
    /// Somebody notifies a channel of all servers.
    Notify {
        /// Which.
        channel: u8,
    },
    /// A client goes away without a word.
    Vanish {
        /// Which.
        nth: u32,
    },
    /// A client asks that its query be cancelled.
    Cancel {
        /// Which of those that hold a connection.
        nth: u32,
        /// How.
        cancel: Cancel,
    },
    /// A server behaves differently from now on.
    Mood {
        /// Which.
        target: u32,
        /// How.
        mood: Mood,
    },
    /// All connections of a server die.
    Crash {
        /// Which.
        target: u32,
        /// How long it takes until we notice.
        notice_us: u64,
    },
    /// One backend of ours dies.
    Die {
        /// Which.
        nth: u32,
        /// How long it takes until we notice.
        notice_us: u64,
    },
    /// So many sessions are at a server that are not ours.
    Foreign {
        /// Which.
        target: u32,
        /// How many ordinary ones want to be there.
        ordinary: u32,
        /// How many superusers do.
        superusers: u32,
    },
    /// Somebody looks at a server how many places it has for us.
    Look {
        /// Which.
        target: u32,
    },
    /// A password may have changed.
    SecretChanged {
        /// Of which pool.
        nth: u32,
    },
    /// A budget changes.
    Budget {
        /// Whose.
        target: u32,
        /// The new one.
        max: Option<u32>,
    },
    /// `max_db_connections` changes.
    DatabaseMax {
        /// Of which.
        database: u32,
        /// The new one.
        max: Option<u32>,
    },
    /// `max_user_connections` changes.
    UserMax {
        /// Of which.
        user: u32,
        /// The new one.
        max: Option<u32>,
    },
    /// A look at the server has shown what a pool's role and database leave it of their CONNECTION LIMITs.
    Allotted {
        /// Which.
        nth: u32,
        /// So many; `None`: there is no such limit.
        max: Option<u32>,
    },
    /// `fairness_slack` changes.
    Slack {
        /// The new one.
        slack_us: u64,
    },
    /// `query_wait_timeout` changes for those who wait.
    RenewWaits {
        /// The new one; 0: for ever.
        wait_us: u64,
    },
    /// A pool comes.
    AddPool(PoolShape),
    /// A pool changes.
    SetPool {
        /// Which.
        nth: u32,
        /// How.
        shape: PoolShape,
    },
    /// The configuration is read again.
    Reload {
        /// Whose line has changed.
        nth: u32,
        /// What it says now.
        reload: Box<Reload>,
    },
    /// A pool goes.
    RemovePool {
        /// Which.
        nth: u32,
    },
    /// PAUSE.
    Pause {
        /// One database or all.
        database: Option<u32>,
    },
    /// RESUME.
    Resume {
        /// One database or all.
        database: Option<u32>,
    },
    /// RECONNECT.
    Reconnect {
        /// One database or all.
        database: Option<u32>,
    },
    /// KILL, as far as waiters are concerned.
    RefuseWaiters {
        /// One database or all.
        database: Option<u32>,
    },
    /// Everything that can be done to a slot is done to one that is gone.
    Stale {
        /// Which.
        nth: u32,
    },
}

/// What is in the files when they are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The line of one database.
    pub line: DatabaseLine,
    /// Keys of `[pgbouncer]`, if those have changed too.
    pub general: Option<GeneralLines>,
}

/// A line of `[databases]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseLine {
    /// `pool_size`.
    pub size: u32,
    /// `min_pool_size`.
    pub min_size: u32,
    /// `reserve_pool_size`.
    pub reserve_size: u32,
    /// `server_lifetime`.
    pub lifetime_s: u64,
    /// `pool_mode`.
    pub mode: Mode,
}

/// Keys of `[pgbouncer]`. Times are in seconds, 0: for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneralLines {
    /// `max_prepared_statements`.
    pub prepared_max: u32,
    /// `query_timeout`.
    pub query_s: u32,
    /// `idle_transaction_timeout`.
    pub idle_s: u32,
    /// `query_wait_timeout`.
    pub wait_s: u32,
}

/// A client and what it is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where it asks.
    pub pool: u32,
    /// Where it lives.
    pub worker: u16,
    /// Which application it belongs to.
    pub application: u32,
    /// How long it waits at most; 0: for ever.
    pub wait_us: u64,
    /// How long after a grant it takes it up.
    pub take_us: u64,
    /// How long it holds.
    pub hold_us: u64,
    /// In what state it gives back.
    pub back: Back,
    /// How often it asks.
    pub rounds: u8,
    /// How long it thinks in between.
    pub think_us: u64,
    /// It vanishes so long after it came.
    pub leave_us: Option<u64>,
}

/// A client that speaks the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// When and where it comes, and how it waits. What it holds is up to what it says.
    pub arrival: Arrival,
    /// What it says.
    pub talk: Talk,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// Its DateStyle, by number.
    pub style: u8,
    /// Its application_name, by number.
    pub application: u8,
    /// Messages that belong together, as words; or `WAIT` for all answers, or `THINK:` and microseconds.
    pub units: Vec<String>,
    /// How it goes.
    pub leaving: Leaving,
    /// Decides how its bytes are chopped on their way.
    pub dice: u64,
}

/// How a client goes that has said everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It says so.
    Terminate,
    /// It does not.
    Vanish,
}

/// In what state a client gives its connection back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// Ready for anybody.
    Clean,
    /// The reset query has to be run.
    Dirty,
    /// To be closed.
    Unusable,
    /// To be closed, and so broken that nobody will see the end.
    CutOff,
}

/// A cancel request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// How long its connection takes.
    pub connect_us: u64,
    /// How long the server takes to deal with it.
    pub strike_us: u64,
    /// How it goes.
    pub course: Course,
}

/// How a cancel request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It strikes, and its connection ends.
    Proper,
    /// Its connection is given up after the key has been sent; it strikes later.
    Late,
}
