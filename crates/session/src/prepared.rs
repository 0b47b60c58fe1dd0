//! Named statements in transaction and statement pooling: rewriting Parse, Bind, Describe and Close (reference 3.7).

use std::sync::Arc;

use plimsoll_types::{Cause, Side};
use plimsoll_wire::front::{self, Subject};
use plimsoll_wire::{HEADER_BYTES, encode};

use crate::client::{Message, Verdict, may_pass_unknown, push, stop};
use crate::expect::Expect;
use crate::link::Link;
use crate::session::Session;
use crate::statements::{Named, Statement, Statements};
use crate::steps::Steps;

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
            None => return self.collect(message, HEADER_BYTES + 1),
            Some(0) => return push(link, Expect::Parse),
            Some(_) => {}
        }
        let bytes = match self.whole(message) {
            Ok(bytes) => bytes,
            Err(verdict) => return verdict,
        };
        let Ok(parse) = front::parse(bytes) else { return stop(Cause::BadPacket) };
        steps.counts.client_parses += 1;
        if let Some(known) = self.names.find(parse.name) {
            let statement = known.statement.clone();
            return self.parse_again(link, &statement, parse.text_and_types, steps);
        }
        let statement = statements.intern(parse.text_and_types);
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        self.names.insert(parse.name, Named { statement: statement.clone(), serial });
        if link.prepared.touch(statement.id) {
            link.expected.push(Expect::FakeParse { serial });
        } else {
            self.add(link, &statement, steps);
            link.expected.push(Expect::NamedParse { statement, serial });
        }
        Verdict::Replaced
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
        self.provide(link, statement, steps);
        steps.inject(Side::Server, |out| encode::parse(out, statement.name.as_bytes(), text_and_types));
        link.expected.push(Expect::DuplicateParse);
        Verdict::Replaced
    }

    /// Sends a Parse for a statement the server lacks, after making room for it.
    fn add(&mut self, link: &mut Link, statement: &Arc<Statement>, steps: &mut Steps) {
        while let Some(old) = link.prepared.make_room(self.settings.prepared_max) {
            steps.inject(Side::Server, |out| encode::close_statement(out, old.name.as_bytes()));
            link.expected.push(Expect::InjectedClose { statement: old });
        }
        steps.inject(Side::Server, |out| {
            encode::parse(out, statement.name.as_bytes(), &statement.text_and_types);
        });
        steps.counts.server_parses += 1;
        link.prepared.insert(statement.clone());
    }

    /// Sees to it that the server has the statement.
    fn provide(&mut self, link: &mut Link, statement: &Arc<Statement>, steps: &mut Steps) {
        if !link.prepared.touch(statement.id) {
            self.add(link, statement, steps);
            link.expected.push(Expect::InjectedParse { statement: statement.clone() });
        }
    }

    pub(crate) fn bind(&mut self, link: &mut Link, message: Message<'_>, steps: &mut Steps) -> Verdict {
        let names = match front::bind_names(message.bytes, message.head.total) {
            Ok(Some(names)) => names,
            Ok(None) => {
                let wanted = (message.bytes.len() + NAMES_STEP_BYTES).min(message.head.total);
                return self.collect(message, wanted);
            }
            Err(_) => return stop(Cause::BadPacket),
        };
        if names.statement.is_empty() {
            return push(link, Expect::Bind);
        }
        steps.counts.binds += 1;
        let Some(known) = self.names.find(names.statement) else {
            if may_pass_unknown(self, names.statement) {
                return push(link, Expect::Bind);
            }
            return stop(Cause::NoSuchStatement);
        };
        let statement = known.statement.clone();
        self.provide(link, &statement, steps);
        let total = message.head.total - names.statement.len() + statement.name.len();
        steps.inject(Side::Server, |out| {
            encode::bind_head(out, total, names.portal, statement.name.as_bytes());
        });
        link.expected.push(Expect::Bind);
        Verdict::PassFrom(names.end)
    }

    /// Describe and Close.
    pub(crate) fn subject(&mut self, link: &mut Link, message: Message<'_>, steps: &mut Steps) -> Verdict {
        let bytes = match self.whole(message) {
            Ok(bytes) => bytes,
            Err(verdict) => return verdict,
        };
        let describe = message.head.tag == front::DESCRIBE;
        let plain = if describe { Expect::Describe } else { Expect::Close };
        let name = match front::subject(bytes) {
            Ok(Subject::Portal(_)) | Ok(Subject::Statement(b"")) => return push(link, plain),
            Ok(Subject::Statement(name)) => name,
            Err(_) => return stop(Cause::BadPacket),
        };
        if !describe {
            // The server keeps it for other clients.
            self.names.remove(name);
            link.expected.push(Expect::FakeClose);
            return Verdict::Replaced;
        }
        let Some(known) = self.names.find(name) else {
            if may_pass_unknown(self, name) {
                return push(link, plain);
            }
            return stop(Cause::NoSuchStatement);
        };
        let statement = known.statement.clone();
        self.provide(link, &statement, steps);
        steps.inject(Side::Server, |out| encode::describe_statement(out, statement.name.as_bytes()));
        link.expected.push(plain);
        Verdict::Replaced
    }
}
