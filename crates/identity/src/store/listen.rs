//! Hearing at once of what other instances write, over `LISTEN` and `NOTIFY` of PostgreSQL.

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::write::CHANNEL;
use super::{Backend, Store, StoreFault};

/// A session that hears when the audit log has grown.
struct Listener(PgListener);

impl Store {
    /// Begins to listen, on one more connection. `None`: the store is a file, and nobody else writes to it who could be
    /// heard.
    ///
    /// # Errors
    /// `Down`.
    async fn listen(&self) -> Result<Option<Listener>, StoreFault> {
        match self.backend {
            Backend::Sqlite => Ok(None),
            Backend::Postgres => {
                let options = PgConnectOptions::try_from(&*self.writes.connect_options())?;
                let options = options.application_name("plimsoll identity");
                // One for the listener, which takes it and keeps it; the pool makes it anew when it is lost.
                let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
                let mut listener = PgListener::connect_with(&pool.connect_with(options).await?).await?;
                listener.listen(CHANNEL).await?;
                Ok(Some(Listener(listener)))
            }
        }
    }

    /// Waits until the audit log may have grown: by this process, or by another one whose word [`Store::follow`] hears.
    /// One waits at a time. Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Listens for others' words as long as it lives, and passes them on to [`Store::changed`]. Returns at once where
    /// nobody can be heard.
    ///
    /// # Errors
    /// `Down`: the connection is lost; to be called again later.
    pub async fn follow(&self) -> Result<(), StoreFault> {
        let Some(mut listener) = self.listen().await? else { return Ok(()) };
        loop {
            self.changed.notify_one();
            listener.heard().await?;
        }
    }
}

impl Listener {
    /// Waits until the audit log may have grown: somebody has written, or the connection was lost and made anew.
    ///
    /// Not cancel safe: what was heard while the future was dropped is not told again. Who cancels it looks at
    /// [`Store::changes_since`], and does so now and then in any case, since a connection can be lost without a sign.
    ///
    /// # Errors
    /// `Down`.
    async fn heard(&mut self) -> Result<(), StoreFault> {
        self.0.try_recv().await?;
        while self.0.next_buffered().is_some() {}
        Ok(())
    }
}
