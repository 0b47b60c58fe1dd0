//! A scripted client: sends what it is told, reads message by message, every read with a bound.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use crate::login::Method;
use crate::message::{Message, Packet, tags};
use crate::reader::Reader;
use crate::stream::Stream;
use crate::{Address, Batch, Failure, Outcome, ServerError, Table};

/// How long an answer may take unless said otherwise: long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a CancelRequest needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelKey {
    address: Address,
    /// Process id and secret as in BackendKeyData.
    pub key: Vec<u8>,
}

impl CancelKey {
    /// Sends the CancelRequest and waits until the other side closes, as libpq does.
    ///
    /// # Errors
    /// What the socket did.
    pub fn cancel(&self) -> Outcome<()> {
        let mut client = Client::knock(&self.address, PATIENCE)?;
        client.send(&Packet::untyped(80_877_102).raw(&self.key).bytes())?;
        match client.read() {
            Err(failure) if failure.is_gone() => Ok(()),
            Err(failure) => Err(failure),
            Ok(message) => Err(Failure::Strange(format!("{message:?} after a CancelRequest"))),
        }
    }
}

/// A client connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    address: Address,
    reader: Reader,
    parameters: BTreeMap<String, String>,
    key: Option<CancelKey>,
    /// All messages of the login before its ReadyForQuery.
    pub welcome: Vec<Message>,
    /// What the login asked for.
    pub method: Method,
    /// NoticeResponses since the last [`Client::take_notices`].
    notices: Vec<ServerError>,
}

impl Client {
    /// A socket, nothing said yet.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn knock(address: &Address, patience: Duration) -> Outcome<Client> {
        Ok(Client {
            stream: Stream::connect(address, patience)?,
            address: address.clone(),
            reader: Reader::default(),
            parameters: BTreeMap::new(),
            key: None,
            welcome: Vec::new(),
            method: Method::Trust,
            notices: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Reads one message. ParameterStatus, BackendKeyData and notices are remembered besides.
    ///
    /// # Errors
    /// Closed, nothing in time, or bytes that are no message.
    pub fn read(&mut self) -> Outcome<Message> {
        let message = self.reader.typed(&mut self.stream)?;
        self.remember(&message);
        Ok(message)
    }

    /// Reads exactly one byte, what answers an SSLRequest.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub fn read_byte(&mut self) -> Outcome<u8> {
        self.reader.byte(&mut self.stream)
    }

    /// The ErrorResponse whose type byte [`Client::read_byte`] has read already.
    ///
    /// # Panics
    /// The connection ended before it did.
    #[track_caller]
    pub fn rest_of_error(&mut self) -> ServerError {
        match self.reader.untyped(&mut self.stream) {
            Ok(body) => ServerError::of(&Message { tag: b'E', body }),
            Err(failure) => panic!("in the middle of an ErrorResponse: {failure}"),
        }
    }

    /// Reads up to and including the next ReadyForQuery. Errors in it are messages like others.
    ///
    /// # Errors
    /// The connection ended before: with the server's last words if it had any.
    pub fn cycle(&mut self) -> Outcome<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            match self.read() {
                Ok(message) => messages.push(message),
                Err(failure) => return Err(last_words(&messages, failure)),
            }
            if messages.last().is_some_and(|message| message.tag == b'Z') {
                return Ok(messages);
            }
        }
    }

    /// Sends a batch and reads one cycle.
    ///
    /// # Panics
    /// The connection ended.
    #[track_caller]
    pub fn run(&mut self, batch: &Batch) -> Vec<Message> {
        match self.try_run(batch) {
            Ok(messages) => messages,
            Err(failure) => panic!("batch: {failure}"),
        }
    }

    /// Sends a batch and reads one cycle.
    ///
    /// # Errors
    /// As [`Client::cycle`].
    pub fn try_run(&mut self, batch: &Batch) -> Outcome<Vec<Message>> {
        match self.send(batch.bytes()) {
            // The other side may have said why before it closed.
            Err(failure) if !failure.is_gone() => Err(failure),
            Ok(()) | Err(_) => self.cycle(),
        }
    }

    /// A simple query with any number of results; an ErrorResponse is a [`Failure::Server`].
    ///
    /// # Errors
    /// The server's error, or the connection ended.
    pub fn try_query(&mut self, sql: &str) -> Outcome<Vec<Table>> {
        let messages = self.try_run(&Batch::new().query(sql))?;
        results(&messages)
    }

    /// A simple query; its last result.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> Table {
        match self.try_query(sql) {
            Ok(tables) => tables.into_iter().next_back().unwrap_or_default(),
            Err(failure) => panic!("{sql}: {failure}"),
        }
    }

    /// A simple query; the first column of the first row, NULL as an empty text.
    ///
    /// # Panics
    /// It failed, or has no row.
    #[track_caller]
    pub fn value(&mut self, sql: &str) -> String {
        let table = self.query(sql);
        match table.rows.first().and_then(|row| row.first()) {
            Some(value) => value.clone().unwrap_or_default(),
            None => panic!("{sql}: no row"),
        }
    }

    /// The same in the extended protocol with an unnamed statement.
    ///
    /// # Panics
    /// It failed, or has no row.
    #[track_caller]
    pub fn value_extended(&mut self, sql: &str, values: &[Option<&str>]) -> String {
        let batch = Batch::new().parse("", sql).bind("", "", values).execute("", 0).sync();
        let messages = self.run(&batch);
        let row = messages.iter().find(|message| message.tag == b'D');
        match row {
            Some(row) => row.columns().swap_remove(0).unwrap_or_default(),
            None => panic!("{sql}: no row in {}", describe(&messages)),
        }
    }

    /// A simple query that must fail; whether the connection ends is not looked at.
    ///
    /// # Panics
    /// It did not fail with an ErrorResponse.
    #[track_caller]
    pub fn fail(&mut self, sql: &str) -> ServerError {
        match self.try_query(sql) {
            Ok(_) => panic!("{sql}: expected an error"),
            Err(failure) => failure.server(),
        }
    }

    /// Waits until the other side closes; its last ErrorResponse before that, if any.
    ///
    /// # Panics
    /// It does not close in time.
    #[track_caller]
    pub fn expect_closed(&mut self) -> Option<ServerError> {
        let mut last = None;
        loop {
            match self.read() {
                Ok(message) if message.tag == b'E' => last = Some(ServerError::of(&message)),
                Ok(_) => {}
                Err(failure) if failure.is_gone() => return last,
                Err(failure) => {
                    panic!("expected the other side to close, but {failure}; last error {last:?}")
                }
            }
        }
    }

    /// Whether a message arrives within `bound`. The message is not read.
    ///
    /// # Panics
    /// The connection ended.
    #[track_caller]
    pub fn hears_within(&mut self, bound: Duration) -> bool {
        self.stream.set_bound(bound).expect("a bound above zero");
        let outcome = self.reader.fill(&mut self.stream, 5);
        self.stream.set_bound(PATIENCE).expect("a bound above zero");
        match outcome {
            Ok(()) => true,
            Err(Failure::TimedOut(_)) => false,
            Err(failure) => panic!("listening: {failure}"),
        }
    }

    /// The last value the other side reported of a parameter.
    ///
    /// # Panics
    /// It never reported it.
    #[track_caller]
    pub fn parameter(&self, name: &str) -> &str {
        match self.parameters.get(name) {
            Some(value) => value,
            None => panic!("no ParameterStatus of {name} among {:?}", self.parameters),
        }
    }

    /// The key that came with the welcome.
    ///
    /// # Panics
    /// None came.
    #[track_caller]
    pub fn cancel_key(&self) -> CancelKey {
        self.key.clone().expect("no BackendKeyData came")
    }

    /// The notices so far.
    pub fn take_notices(&mut self) -> Vec<ServerError> {
        std::mem::take(&mut self.notices)
    }

    /// Our own TCP port, as the other side names us.
    pub fn port(&self) -> u16 {
        self.stream.local_port()
    }

    /// The longest a single read or write may take from now on.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_bound(patience).expect("a bound above zero");
    }

    /// Says Terminate and closes.
    pub fn leave(mut self) {
        // If the other side is gone already, so are we.
        drop(self.send(Batch::new().terminate().bytes()));
    }

    /// Closes with a RST, whatever is on its way.
    pub fn reset(self) {
        self.stream.reset_on_close();
    }

    /// Sends a FIN and goes on reading.
    ///
    /// # Panics
    /// The socket refuses.
    pub fn end_writing(&self) {
        self.stream.end_writing().expect("a connected socket");
    }

    fn remember(&mut self, message: &Message) {
        match message.tag {
            b'S' => {
                if let [name, value] = message.strings().as_slice() {
                    self.parameters.insert(name.clone(), value.clone());
                }
            }
            b'K' => self.key = Some(CancelKey { address: self.address.clone(), key: message.body.clone() }),
            b'N' => self.notices.push(ServerError::of(message)),
            _ => {}
        }
    }
}

fn last_words(messages: &[Message], failure: Failure) -> Failure {
    match messages.iter().rfind(|message| message.tag == b'E') {
        Some(error) if failure.is_gone() => Failure::Server(Box::new(ServerError::of(error))),
        _ if failure.is_gone() => Failure::Closed(tags(messages)),
        _ => failure,
    }
}

fn results(messages: &[Message]) -> Outcome<Vec<Table>> {
    let mut done = Vec::new();
    let mut current = Table::default();
    for message in messages {
        match message.tag {
            b'T' => current.columns = message.fields(),
            b'D' => current.rows.push(message.columns()),
            b'C' => {
                current.command = message.strings().swap_remove(0);
                done.push(std::mem::take(&mut current));
            }
            b'E' => return Err(Failure::Server(Box::new(ServerError::of(message)))),
            _ => {}
        }
    }
    Ok(done)
}

fn describe(messages: &[Message]) -> String {
    let errors: Vec<String> = messages
        .iter()
        .filter(|message| message.tag == b'E')
        .map(|message| ServerError::of(message).to_string())
        .collect();
    format!("{} {errors:?}", tags(messages))
}
