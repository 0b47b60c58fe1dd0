//! Named statements in transaction and statement pooling: rewriting Parse, Bind, Describe and Close (reference 3.7).
//!
//! What a message does to the client's names and to the server's statements is noted when it is sent. It is taken
//! back if the server skips the message after an error. Messages behind the next Sync are not skipped then, so those
//! that build on what is in doubt wait for its answer ([`Then::Busy`]).

use std::cell::Cell;
use std::sync::Arc;

use plimsoll_types::{Cause, Side};
use plimsoll_wire::front::{self, BindNames, Subject};
use plimsoll_wire::{HEADER_BYTES, encode};

use crate::client::{Message, Verdict, may_pass_unknown, push, stop};
use crate::expect::{Expect, Serials};
use crate::left::Portal;
use crate::link::{Has, Link, Unnamed};
use crate::noted::{Kind, Noting, SeenText};
use crate::session::Session;
use crate::statements::{Closed, Named, Statement, Statements};
use crate::steps::{Steps, Then};

/// How many more bytes of a Bind are asked for when its names are not all there.
const NAMES_STEP_BYTES: usize = 256;

impl Session {
    pub(crate) fn parse(
        &mut self,
        link: &mut Link,
        message: Message<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
    ) -> Verdict {
        match message.bytes.get(HEADER_BYTES) {
            None => self.collect(message, HEADER_BYTES + 1),
            Some(0) => {
                if let Some(bytes) = self.note_parse(link, message, steps) {
                    return self.collect(message, bytes);
                }
                own_unnamed(link);
                push(link, Expect::Parse)
            }
            Some(_) => self.parse_named(link, message, statements, steps),
        }
    }

    /// Apart from the unnamed ones, which are many and soon done with.
    #[inline(never)]
    fn parse_named(
        &mut self,
        link: &mut Link,
        message: Message<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
    ) -> Verdict {
        let bytes = match self.whole(message) {
            Ok(bytes) => bytes,
            Err(verdict) => return verdict,
        };
        let Ok(parse) = front::parse(bytes) else { return stop(Cause::BadPacket) };
        let known = match self.find(link, parse.name) {
            Ok(known) => known.map(|known| known.statement.clone()),
            Err(verdict) => return verdict,
        };
        if let Some(statement) = known {
            return self.parse_again(link, &statement, parse.text_and_types, steps);
        }
        let statement = statements.intern(parse.text_and_types, &self.params.reading());
        if let Err(verdict) = self.settled(link, &statement) {
            return verdict;
        }
        steps.counts.client_parses += 1;
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let executions = Cell::new(0);
        self.names.insert(parse.name, Named { statement: statement.clone(), serial, executions });
        if link.prepared.touch(statement.id) && !link.expected.may_forget() {
            link.prepared.insert(statement, link.expected.next_at());
            link.expected.push(Expect::FakeParse { serial });
        } else {
            self.take_out(link, &statement, steps);
            self.add(link, &statement, steps);
            link.expected.push(Expect::NamedParse { statement, serial });
        }
        Verdict::Replaced
    }

    /// What the client means by a name. `Err`: it waits for answers.
    fn find(&self, link: &Link, name: &[u8]) -> Result<Option<&Named>, Verdict> {
        match self.names.find(name) {
            Some(known) => self.settled(link, &known.statement).map(|()| Some(known)),
            None if link.expected.is_absence_doubtful() => Err(Verdict::Stop(Then::Busy)),
            None => Ok(None),
        }
    }

    /// Whether it is beyond doubt that the server has, or lacks, the statement, and what would be closed to make room
    /// for it. `Err`: answers have to be waited for. They will come, since a Sync has been sent after the messages
    /// that ask for them.
    fn settled(&self, link: &Link, statement: &Statement) -> Result<(), Verdict> {
        let doubtful = match link.prepared.depends_on(statement.id) {
            Some(at) => link.expected.is_doubtful(at),
            None => {
                let oldest = link.prepared.oldest(self.settings.prepared_max);
                link.expected.is_absence_doubtful()
                    || oldest.is_some_and(|(_, at)| link.expected.is_doubtful(at))
            }
        };
        if doubtful { Err(Verdict::Stop(Then::Busy)) } else { Ok(()) }
    }

    /// A name in use. PostgreSQL itself refuses it (42P05), in the right place and with the right effect on the
    /// transaction, if it is told to prepare once more what it has.
    fn parse_again(
        &mut self,
        link: &mut Link,
        statement: &Arc<Statement>,
        text_and_types: &[u8],
        steps: &mut Steps,
    ) -> Verdict {
        if self.settings.compat {
            return stop(Cause::StatementExists);
        }
        if link.expected.may_forget() {
            // Whether the name is still in use is known when the server has answered what comes before.
            if link.expected.needs_flush() {
                steps.inject(Side::Server, encode::flush);
            }
            return Verdict::Stop(Then::Busy);
        }
        steps.counts.client_parses += 1;
        self.provide(link, statement, steps);
        steps.inject(Side::Server, |out| encode::parse(out, statement.name.as_bytes(), text_and_types));
        link.expected.push(Expect::DuplicateParse);
        Verdict::Replaced
    }

    /// Takes out a statement that the server has, unless something that it has yet to do makes it forget all of them:
    /// a Close is right in both cases.
    fn take_out(&mut self, link: &mut Link, statement: &Arc<Statement>, steps: &mut Steps) {
        if link.prepared.touch(statement.id) {
            link.prepared.remove(statement.id);
            steps.inject(Side::Server, |out| encode::close_statement(out, statement.name.as_bytes()));
            link.expected.push(Expect::InjectedClose { statement: Some(statement.clone()) });
        }
    }

    /// Sends a Parse for a statement the server lacks, after making room for it. The caller pushes its answer.
    fn add(&mut self, link: &mut Link, statement: &Arc<Statement>, steps: &mut Steps) {
        while let Some((old, _)) = link.prepared.oldest(self.settings.prepared_max) {
            let old = old.clone();
            link.prepared.remove(old.id);
            steps.inject(Side::Server, |out| encode::close_statement(out, old.name.as_bytes()));
            link.expected.push(Expect::InjectedClose { statement: Some(old) });
        }
        steps.inject(Side::Server, |out| {
            encode::parse(out, statement.name.as_bytes(), &statement.text_and_types);
        });
        steps.counts.server_parses += 1;
        link.prepared.insert(statement.clone(), link.expected.next_at());
    }

    /// What the client means by a name on this server. A statement that is not there would be read by other values if
    /// the client has changed them since it prepared it: then it is the one for the values of now.
    fn read_now(
        &mut self,
        link: &Link,
        name: &[u8],
        statement: Arc<Statement>,
        statements: &dyn Statements,
    ) -> Result<Arc<Statement>, Verdict> {
        if link.prepared.depends_on(statement.id).is_some() {
            return Ok(statement);
        }
        let reading = self.params.reading();
        if *reading == *statement.reading {
            return Ok(statement);
        }
        let anew = statements.intern(&statement.text_and_types, &reading);
        self.settled(link, &anew)?;
        self.names.mean(name, &anew);
        Ok(anew)
    }

    /// Sees to it that the server has the statement.
    fn provide(&mut self, link: &mut Link, statement: &Arc<Statement>, steps: &mut Steps) {
        if !link.prepared.touch(statement.id) {
            self.add(link, statement, steps);
            link.expected.push(Expect::InjectedParse { statement: statement.clone() });
        }
    }

    pub(crate) fn bind(
        &mut self,
        link: &mut Link,
        message: Message<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
    ) -> Verdict {
        let names = match self.bind_names(message) {
            Ok(names) => names,
            Err(verdict) => return verdict,
        };
        if names.statement.is_empty() {
            if let Err(verdict) = close_foreign(link, steps) {
                return verdict;
            }
            self.note_bind_unnamed(link, portal_of(&names));
            return push(link, Expect::Bind { statement: None });
        }
        self.bind_named(link, message, names, statements, steps)
    }

    #[inline(never)]
    fn bind_named(
        &mut self,
        link: &mut Link,
        message: Message<'_>,
        names: BindNames<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
    ) -> Verdict {
        let (statement, executions) = match self.find(link, names.statement) {
            Err(verdict) => return verdict,
            Ok(Some(known)) => (known.statement.clone(), known.count_execution()),
            Ok(None) if may_pass_unknown(self, names.statement) => {
                steps.counts.binds += 1;
                self.note_bind_unnamed(link, Portal::Other);
                return push(link, Expect::Bind { statement: None });
            }
            Ok(None) => return stop(Cause::NoSuchStatement),
        };
        let statement = match self.read_now(link, names.statement, statement, statements) {
            Ok(statement) => statement,
            Err(verdict) => {
                // It will come again.
                if let Some(known) = self.names.find(names.statement) {
                    known.executions.set(executions);
                }
                return verdict;
            }
        };
        if self.noting == Noting::On {
            steps.noted.see(SeenText::Prepared(statement.clone()), executions, Kind::Any);
        }
        self.note_bind(link, &statement, portal_of(&names));
        steps.counts.binds += 1;
        self.provide(link, &statement, steps);
        let total = message.head.total - names.statement.len() + statement.name.len();
        steps.inject(Side::Server, |out| {
            encode::bind_head(out, total, names.portal, statement.name.as_bytes());
        });
        link.expected.push(Expect::Bind { statement: Some(statement) });
        Verdict::PassFrom(names.end)
    }

    /// The names in a Bind; else a verdict that asks for more of it, or refuses names that are too long to keep.
    pub(crate) fn bind_names<'a>(&self, message: Message<'a>) -> Result<BindNames<'a>, Verdict> {
        let bytes_max = self.settings.collect_bytes_max;
        match front::bind_names(message.bytes, message.head.total) {
            Ok(Some(names)) if names.end > bytes_max => Err(stop(Cause::CollectTooLarge { bytes_max })),
            Ok(Some(names)) => Ok(names),
            Ok(None) if message.bytes.len() >= bytes_max => Err(stop(Cause::CollectTooLarge { bytes_max })),
            Ok(None) => {
                let wanted = message.bytes.len() + NAMES_STEP_BYTES;
                Err(self.collect(message, wanted.min(message.head.total).min(bytes_max)))
            }
            Err(_) => Err(stop(Cause::BadPacket)),
        }
    }

    /// Describe and Close.
    pub(crate) fn subject(
        &mut self,
        link: &mut Link,
        message: Message<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
    ) -> Verdict {
        let bytes = match self.whole(message) {
            Ok(bytes) => bytes,
            Err(verdict) => return verdict,
        };
        let describe = message.head.tag == front::DESCRIBE;
        let plain = if describe { Expect::Describe { statement: None } } else { Expect::Close };
        let name = match front::subject(bytes) {
            Ok(Subject::Portal(_)) => return push(link, plain),
            Ok(Subject::Statement(b"")) => {
                return close_foreign(link, steps).err().unwrap_or_else(|| push(link, plain));
            }
            Ok(Subject::Statement(name)) => name,
            Err(_) => return stop(Cause::BadPacket),
        };
        let statement = match self.find(link, name) {
            Err(verdict) => return verdict,
            Ok(_) if !describe => return self.close(link, name),
            Ok(Some(known)) => known.statement.clone(),
            Ok(None) if may_pass_unknown(self, name) => return push(link, plain),
            Ok(None) => return stop(Cause::NoSuchStatement),
        };
        let statement = match self.read_now(link, name, statement, statements) {
            Ok(statement) => statement,
            Err(verdict) => return verdict,
        };
        self.provide(link, &statement, steps);
        steps.inject(Side::Server, |out| encode::describe_statement(out, statement.name.as_bytes()));
        link.expected.push(Expect::Describe { statement: Some(statement) });
        Verdict::Replaced
    }

    /// Takes a name out. The server keeps the statement for other clients.
    fn close(&mut self, link: &mut Link, name: &[u8]) -> Verdict {
        let closed = self.names.remove(name).map(|named| Box::new(Closed { name: name.into(), named }));
        link.expected.push(Expect::FakeClose { closed });
        Verdict::Replaced
    }

    /// The server skips what was sent up to the next Sync: what that was going to do is undone. True if there is one.
    pub(crate) fn skip_to_sync(&mut self, link: &mut Link) -> bool {
        let from = link.expected.head_at();
        let Link { expected, prepared, .. } = link;
        let mut void = Serials::default();
        let has_sync = expected.skip_to_sync(|expect| match expect {
            Expect::NamedParse { statement, serial } => {
                prepared.remove(statement.id);
                void.add(serial);
            }
            Expect::FakeParse { serial } => void.add(serial),
            Expect::InjectedParse { statement } => prepared.remove(statement.id),
            Expect::InjectedClose { statement: Some(statement) } => prepared.insert(statement, 0),
            Expect::FakeClose { closed: Some(closed) } => {
                let Closed { name, named } = *closed;
                self.names.insert(&name, named);
            }
            Expect::InjectedClose { statement: None }
            | Expect::FakeClose { closed: None }
            | Expect::Query
            | Expect::Function
            | Expect::Ending
            | Expect::Sync
            | Expect::Parse
            | Expect::DuplicateParse
            | Expect::Bind { .. }
            | Expect::Describe { .. }
            | Expect::Execute
            | Expect::Close
            | Expect::UnnamedClose
            | Expect::CopyEnd
            | Expect::Nothing
            | Expect::Marker
            | Expect::MarkerEnding => {}
        });
        self.names.retain(|serial| !void.contains(serial));
        link.unnamed = link.unnamed.without(&(from..link.expected.head_at()));
        has_sync
    }

    /// The server has forgotten all statements (DEALLOCATE ALL, DISCARD ALL), for this client that means its names
    /// too. What was sent after that is still to come, and what it does holds.
    pub(crate) fn forget_statements(&mut self, link: &mut Link) {
        link.has_named = Has::None;
        let Link { expected, prepared, .. } = link;
        prepared.clear();
        let mut later = Serials::default();
        for (at, expect) in expected.iter_mut() {
            match expect {
                Expect::NamedParse { statement, serial } => {
                    prepared.insert(statement.clone(), at);
                    later.add(*serial);
                }
                Expect::FakeParse { serial } => later.add(*serial),
                Expect::InjectedParse { statement } => prepared.insert(statement.clone(), at),
                Expect::InjectedClose { statement } => match statement {
                    Some(old) if prepared.depends_on(old.id).is_some() => prepared.remove(old.id),
                    _ => *statement = None,
                },
                Expect::FakeClose { closed } => {
                    closed.take_if(|closed| !later.contains(closed.named.serial));
                }
                Expect::Query
                | Expect::Function
                | Expect::Ending
                | Expect::Sync
                | Expect::Parse
                | Expect::DuplicateParse
                | Expect::Bind { .. }
                | Expect::Describe { .. }
                | Expect::Execute
                | Expect::Close
                | Expect::UnnamedClose
                | Expect::CopyEnd
                | Expect::Nothing
                | Expect::Marker
                | Expect::MarkerEnding => {}
            }
        }
        self.names.retain(|serial| later.contains(serial));
    }
}

/// A Parse without a name is sent, or a Close for one.
fn own_unnamed(link: &mut Link) {
    link.unnamed = link.unnamed.owned_at(link.expected.next_at());
}

/// Before the unnamed statement is used by a client that has prepared none on this connection: the one that is there
/// belongs to somebody else. PostgreSQL then refuses (26000), as it would have done on a connection of the client's own.
/// `Err`: whether the client's own Parse or that Close was skipped is not known yet, and what is sent now would not be
/// skipped with it.
fn close_foreign(link: &mut Link, steps: &mut Steps) -> Result<(), Verdict> {
    match link.unnamed {
        Unnamed::Foreign => {
            own_unnamed(link);
            steps.inject(Side::Server, |out| encode::close_statement(out, b""));
            link.expected.push(Expect::UnnamedClose);
            Ok(())
        }
        Unnamed::Own { first, last }
            if link.expected.is_doubtful(first) && link.expected.is_doubtful(last) =>
        {
            Err(Verdict::Stop(Then::Busy))
        }
        Unnamed::Own { .. } => Ok(()),
    }
}

fn portal_of(names: &BindNames<'_>) -> Portal {
    if names.portal.is_empty() { Portal::Unnamed } else { Portal::Other }
}
