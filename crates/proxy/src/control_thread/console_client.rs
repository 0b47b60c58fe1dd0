//! One client of the console: its messages in, the console's answers out.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use plimsoll_config::Compat;
use plimsoll_types::{Cause, Severity, SqlState};
use plimsoll_wire::encode::{self, Fields};
use plimsoll_wire::{WireError, back, front, header};

use super::extended::{Extended, Step};
use crate::ask;
use crate::console::{Level, OfThen, Reply, Shutdown, Until, Visitor};
use crate::control::Control;
use crate::entry::ClientEntry;
use crate::listener::ClientGuard;
use crate::socket::{Detached, Stream};
use crate::{linger, message, report, welcome};

/// Longest message a console client may send, bytes with the type byte.
const MESSAGE_BYTES_MAX: u32 = 64 * 1024;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 4096;

/// How often it is looked whether what a command waits for has come true.
const LOOK: Duration = Duration::from_millis(50);

/// A client that wants to the console and may, on its way to the control thread.
pub(crate) struct ConsoleClient {
    /// Its socket, on no runtime.
    pub(crate) stream: Detached,
    /// Its record.
    pub(crate) entry: Arc<ClientEntry>,
    /// What it may do.
    pub(crate) level: Level,
    /// What it is counted in.
    pub(crate) guard: ClientGuard,
    /// Received and not dealt with.
    pub(crate) input: Vec<u8>,
    /// Whether it has been welcomed.
    pub(crate) welcomed: Welcomed,
}

/// Whether a client of the console has been welcomed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcomed {
    /// Not yet.
    No,
    /// By the task, or the process, before this one.
    Yes,
}

/// Why it ends.
enum Ended {
    /// By itself.
    Left(Cause),
    /// It is told why.
    Refused(Cause),
    /// Everything stands still, and it does.
    Rests,
}

/// Serves the client until it leaves.
pub(super) async fn serve(control: Control, client: ConsoleClient) {
    let ConsoleClient { stream, entry, level, guard, input, welcomed } = client;
    let stream = match Stream::attach(stream) {
        Ok(stream) => stream,
        Err(e) => return tracing::warn!("{}socket cannot be watched: {e}", entry.log_prefix()),
    };
    let hub = control.hub.clone();
    let mut talk = Talk { control, stream, input, entry, level, extended: Extended::default() };
    let Err(ended) = talk.run(welcomed).await;
    let Talk { control, mut stream, entry, level, input, .. } = talk;
    if let Ended::Rests = ended {
        let welcomed = Welcomed::Yes;
        let client = ConsoleClient { stream: stream.detach(), entry, level, guard, input, welcomed };
        if let Err(client) = hub.stillness.put(client, |resting, client| resting.consoles.push(client)) {
            // Everything moves again. Without a control thread the process is at its end.
            let _ = hub.console_door.send(client);
        }
        return;
    }
    control.console_left(entry.id);
    match ended {
        Ended::Rests => {}
        Ended::Left(cause) => {
            report::leaving(&hub, &entry, &cause);
            drop(guard);
        }
        Ended::Refused(cause) => {
            let message = report::fatal(&hub, &entry, &cause);
            drop(guard);
            // A client that does not take a few bytes has no reader for them.
            let _ = std::future::poll_fn(|cx| Poll::Ready(stream.poll_write(cx, &message))).await;
            linger::closed(stream).await;
        }
    }
}

struct Talk {
    control: Control,
    stream: Stream,
    input: Vec<u8>,
    entry: Arc<ClientEntry>,
    level: Level,
    extended: Extended,
}

/// A whole message.
struct Message {
    tag: u8,
    bytes: Vec<u8>,
}

enum Never {}

impl Talk {
    async fn run(&mut self, welcomed: Welcomed) -> Result<Never, Ended> {
        match welcomed {
            Welcomed::No => self.welcome().await?,
            Welcomed::Yes => {}
        }
        loop {
            let message = self.message().await?;
            self.handle(message).await?;
        }
    }

    async fn welcome(&mut self) -> Result<(), Ended> {
        let hub = self.control.hub.clone();
        let mut bytes = Vec::new();
        let plan = hub.plan();
        let end = welcome::End { key: self.entry.key, notice: &plan.general.login_notify_message };
        welcome::console(&mut bytes, &hub.console.welcome(), &end);
        self.entry.set_active();
        self.send(&bytes).await
    }

    async fn handle(&mut self, message: Message) -> Result<(), Ended> {
        match message.tag {
            front::QUERY => {
                let text = front::query(&message.bytes).map_err(|_| Ended::Refused(Cause::BadPacket))?;
                let reply = self.command(text).await?;
                self.send(&reply).await
            }
            front::TERMINATE => Err(Ended::Left(Cause::ClientClose)),
            front::PARSE
            | front::BIND
            | front::DESCRIBE
            | front::EXECUTE
            | front::CLOSE
            | front::SYNC
            | front::FLUSH => self.extended(&message).await,
            _ => Err(Ended::Refused(Cause::BadPacket)),
        }
    }

    async fn extended(&mut self, message: &Message) -> Result<(), Ended> {
        if self.control.hub.plan().own.compat == Compat::Pgbouncer {
            self.send(&not_supported()).await?;
            return Err(Ended::Refused(Cause::BadPacket));
        }
        let step = self.extended.handle(message.tag, &message.bytes);
        let bytes = match step.map_err(|_| Ended::Refused(Cause::BadPacket))? {
            Step::Send(bytes) => bytes,
            Step::Run { text, part } => {
                let reply = self.command(&text).await?;
                self.extended.take(part, &reply)
            }
        };
        self.send(&bytes).await
    }

    /// Has a command carried out and gives its whole answer. What went wrong is logged before the client sees it.
    async fn command(&mut self, text: &[u8]) -> Result<Vec<u8>, Ended> {
        let reply = self.answer(text).await?;
        if self.control.hub.plan().general.log.pooler_errors {
            for message in errors(&reply) {
                tracing::warn!("{}pooler error: {message}", self.entry.log_prefix());
            }
        }
        Ok(reply)
    }

    async fn answer(&mut self, text: &[u8]) -> Result<Vec<u8>, Ended> {
        let from = self.entry.peer.to_string();
        let visitor = Visitor { level: self.level, user: &self.entry.user, from: &from };
        match self.control.hub.console.command(&self.control, visitor, text) {
            Reply::Now(bytes) => Ok(bytes),
            Reply::When(until, reply) => self.answer_when(until, reply).await,
            Reply::Ask(reply) => Ok(reply(ask::servers(&self.control.hub).await)),
            Reply::Fetch(reply) => Ok(reply.await),
            Reply::Exit => {
                self.control.shutdown(Shutdown::Immediate);
                // The connection closes when the process ends.
                std::future::pending().await
            }
        }
    }

    async fn answer_when(&mut self, until: Until, reply: OfThen) -> Result<Vec<u8>, Ended> {
        if until == Until::Flushed {
            self.control.own_suspension(self.entry.id);
        }
        match self.wait(&until).await {
            Ok(()) => Ok(reply()),
            Err(broken) => {
                self.undo(&until);
                match broken {
                    Broken::Cancelled => Ok(cancelled(self.control.hub.plan().own.compat)),
                    Broken::Ended(ended) => Err(ended),
                }
            }
        }
    }

    /// Waits until the condition holds.
    async fn wait(&mut self, until: &Until) -> Result<(), Broken> {
        self.entry.mail().cancelled = false;
        let mut look = tokio::time::interval(LOOK);
        while !self.control.has_come(until) {
            let Talk { stream, entry, .. } = self;
            std::future::poll_fn(|cx| {
                poll_kill(cx, entry).map_err(Broken::Ended)?;
                if std::mem::take(&mut entry.mail().cancelled) {
                    return Poll::Ready(Err(Broken::Cancelled));
                }
                if stream.poll_gone(cx).is_ready() {
                    return Poll::Ready(Err(Broken::Ended(Ended::Left(Cause::ClientEof))));
                }
                look.poll_tick(cx).map(|_| Ok(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Nobody waits any more for what a PAUSE or SUSPEND was to bring about.
    fn undo(&self, until: &Until) {
        let database = match until {
            Until::Quiet(database) => database.as_deref(),
            Until::Flushed => None,
            Until::Renewed(_) | Until::Released(_) => return,
        };
        // Where somebody else has resumed already there is nothing to undo.
        let _ = self.control.resume(database);
    }

    /// A cancel request of an administrator who waits for nothing: PgBouncer ends a pause or suspension of everything.
    fn take_cancel(&self) {
        if self.level == Level::Admin && self.control.resume(None).is_ok() {
            tracing::info!("{}cancel request, doing RESUME", self.entry.log_prefix());
        }
    }

    async fn message(&mut self) -> Result<Message, Ended> {
        loop {
            let taken = message::take(&mut self.input, MESSAGE_BYTES_MAX).map_err(|e| {
                Ended::Refused(match e {
                    WireError::TooLong => Cause::PacketTooLarge,
                    WireError::BadLength | WireError::BadBody => Cause::BadPacket,
                })
            })?;
            if let Some(bytes) = taken {
                return Ok(Message { tag: bytes[0], bytes });
            }
            let mut chunk = [0; CHUNK_BYTES];
            let Talk { control, stream, entry, extended, .. } = self;
            let read = std::future::poll_fn(|cx| {
                poll_kill(cx, entry)?;
                // What TLS keeps of a connection cannot be moved: it is told at the end.
                let can_rest = extended.is_idle() && !stream.is_secured();
                if can_rest && control.hub.stillness.is_taking() {
                    return Poll::Ready(Err(Ended::Rests));
                }
                if std::mem::take(&mut entry.mail().cancelled) {
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(gone_if_none(ready!(stream.poll_read(cx, &mut chunk))).map(Some))
            })
            .await?;
            match read {
                Some(n) => self.input.extend_from_slice(&chunk[..n]),
                None => self.take_cancel(),
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let Talk { stream, entry, .. } = self;
        let mut sent = 0;
        std::future::poll_fn(|cx| {
            poll_kill(cx, entry)?;
            sent += match stream.poll_write(cx, &bytes[sent..]) {
                Ok(n) => n,
                Err(_) => return Poll::Ready(Err(Ended::Left(Cause::ClientEof))),
            };
            if sent == bytes.len() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

/// Why a wait ended without its condition.
enum Broken {
    /// By a cancel request.
    Cancelled,
    /// With the client.
    Ended(Ended),
}

/// Whether an administrator wants the client gone; sees to it that the task is woken when one does.
fn poll_kill(cx: &mut Context<'_>, entry: &ClientEntry) -> Result<(), Ended> {
    entry.set_waker(cx.waker());
    let killed = entry.mail().kill.take();
    killed.map_or(Ok(()), |cause| Err(Ended::Refused(*cause)))
}

fn gone_if_none(read: io::Result<usize>) -> Result<usize, Ended> {
    match read {
        Ok(0) | Err(_) => Err(Ended::Left(Cause::ClientEof)),
        Ok(n) => Ok(n),
    }
}

/// The texts of the ErrorResponses in a reply.
fn errors(reply: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = reply;
    while let Ok(Some(head)) = header(rest, MESSAGE_BYTES_MAX)
        && let Some(message) = rest.get(..head.total)
    {
        if head.tag == back::ERROR_RESPONSE {
            let text = back::error_fields(message).find(|(field, _)| *field == b'M');
            texts.extend(text.map(|(_, text)| String::from_utf8_lossy(text).into_owned()));
        }
        rest = &rest[head.total..];
    }
    texts
}

/// PgBouncer's answer to the extended protocol; it closes the connection then.
fn not_supported() -> Vec<u8> {
    error(SqlState::PROTOCOL_VIOLATION, "extended query protocol not supported by admin console")
}

/// The answer to a command whose wait was cancelled, in PostgreSQL's words.
fn cancelled(compat: Compat) -> Vec<u8> {
    let sqlstate = match compat {
        Compat::Plimsoll => SqlState::QUERY_CANCELED,
        Compat::Pgbouncer => SqlState::PROTOCOL_VIOLATION,
    };
    error(sqlstate, "canceling statement due to user request")
}

/// An ErrorResponse that ends a command, and the ReadyForQuery after it.
fn error(sqlstate: SqlState, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let severity = Severity::Error.as_str();
    let fields = Fields { severity, sqlstate: sqlstate.as_str(), message, detail: None, hint: None };
    encode::error_response(&mut out, &fields);
    encode::ready_for_query(&mut out, b'I');
    out
}
