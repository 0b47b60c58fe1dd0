//! A PostgreSQL that does exactly what a script says.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::message::{Message, Packet};
use crate::reader::Reader;
use crate::{Failure, Outcome, PATIENCE, sys};

/// An ErrorResponse with the fields S, C and M.
pub fn error_response(severity: &str, sqlstate: &str, message: &str) -> Vec<u8> {
    let field = |letter: &str, text: &str| format!("{letter}{text}\0");
    let fields = [field("S", severity), field("C", sqlstate), field("M", message), String::from("\0")];
    Packet::typed(b'E').raw(fields.concat().as_bytes()).bytes()
}

/// What a script waits at, until the test opens it.
#[derive(Debug)]
pub struct Gate(Mutex<Receiver<()>>);

/// Opens a [`Gate`].
#[derive(Clone, Debug)]
pub struct GateKeeper(Sender<()>);

impl Gate {
    /// A gate and who opens it.
    pub fn new() -> (Arc<Gate>, GateKeeper) {
        let (sender, receiver) = channel();
        (Arc::new(Gate(Mutex::new(receiver))), GateKeeper(sender))
    }

    /// Waits for one opening; one that came before counts. A keeper that is gone has opened for good.
    ///
    /// # Errors
    /// Nobody opened in time.
    pub fn wait(&self) -> Outcome<()> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(Failure::TimedOut(String::from("nobody opened the gate"))),
        }
    }
}

impl GateKeeper {
    /// Lets one waiter pass.
    pub fn open(&self) {
        // A gate that is gone needs no opening.
        let _ = self.0.send(());
    }
}

/// A fake PostgreSQL on a port of its own. Each connection runs the script on a thread of its own.
#[derive(Debug)]
pub struct FakeServer {
    port: u16,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// Listens, and runs `script` for every connection; its number counts from 0. A script that ends closes.
    ///
    /// # Panics
    /// There is no free port.
    #[track_caller]
    pub fn start(script: impl Fn(usize, &mut FakePeer) -> Outcome<()> + Send + Sync + 'static) -> FakeServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::free_port())).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let mut server = FakeServer {
            port,
            accepted: Arc::default(),
            open: Arc::default(),
            stop: Arc::default(),
            failures: Arc::default(),
            thread: None,
        };
        let (accepted, open) = (Arc::clone(&server.accepted), Arc::clone(&server.open));
        let (stop, failures) = (Arc::clone(&server.stop), Arc::clone(&server.failures));
        let script = Arc::new(script);
        server.thread = Some(thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                let (script, open, failures) =
                    (Arc::clone(&script), Arc::clone(&open), Arc::clone(&failures));
                thread::spawn(move || {
                    let outcome = FakePeer::new(stream).and_then(|mut peer| script(number, &mut peer));
                    open.fetch_sub(1, Ordering::SeqCst);
                    if let Err(failure) = outcome {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        failures.push(format!("connection {number}: {failure}"));
                    }
                });
            }
        }));
        server
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Connections whose script still runs.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// What went otherwise than the script says.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The other side of one connection to a [`FakeServer`].
#[derive(Debug)]
pub struct FakePeer {
    stream: TcpStream,
    reader: Reader,
}

impl FakePeer {
    fn new(stream: TcpStream) -> Outcome<FakePeer> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE * 3))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(FakePeer { stream, reader: Reader::default() })
    }

    /// A second one for the same connection, to write with while the first one reads.
    ///
    /// # Errors
    /// There is no descriptor to spare.
    pub fn split(&self) -> Outcome<FakePeer> {
        Ok(FakePeer { stream: self.stream.try_clone()?, reader: Reader::default() })
    }

    /// Reads the first packet, answers `N` to requests for encryption; the code and the startup parameters.
    ///
    /// # Errors
    /// The socket's.
    pub fn startup(&mut self) -> Outcome<(u32, Vec<(String, String)>)> {
        loop {
            let body = self.reader.untyped(&mut self.stream)?;
            let short = || Failure::Strange(format!("a first packet of {} bytes", body.len()));
            let (code, rest) = body.split_first_chunk::<4>().ok_or_else(short)?;
            let code = u32::from_be_bytes(*code);
            if matches!(code, 80_877_103 | 80_877_104) {
                self.send(b"N")?;
                continue;
            }
            let texts: Vec<String> = rest
                .split(|byte| *byte == 0)
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            let pairs = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
            return Ok((code, pairs.take_while(|(name, _)| !name.is_empty()).collect()));
        }
    }

    /// Lets a client in: startup packet, AuthenticationOk, the usual ParameterStatus, a key, ReadyForQuery. A cancel
    /// request is an error here.
    ///
    /// # Errors
    /// The socket's, or it was no startup packet.
    pub fn welcome(&mut self) -> Outcome<Vec<(String, String)>> {
        let (code, parameters) = self.startup()?;
        if code != 0x0003_0000 {
            return Err(Failure::Strange(format!("a first packet with the code {code}")));
        }
        self.send(&welcome_bytes(&parameters))?;
        Ok(parameters)
    }

    /// Reads one message.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&mut self) -> Outcome<Message> {
        self.reader.typed(&mut self.stream)
    }

    /// Reads messages up to one with this tag, and gives that.
    ///
    /// # Errors
    /// The socket's.
    pub fn read_to(&mut self, tag: u8) -> Outcome<Message> {
        loop {
            let message = self.read()?;
            if message.tag == tag {
                return Ok(message);
            }
        }
    }

    /// Answers every simple query with one row `1` until the other side leaves: what keeps pools happy.
    ///
    /// # Errors
    /// None that matters: leaving is how it ends.
    pub fn serve(&mut self) -> Outcome<()> {
        loop {
            match self.read() {
                Ok(message) if message.tag == b'Q' => self.send(&answer_to(&message))?,
                Ok(message) if message.tag == b'X' => return Ok(()),
                Ok(message) => return Err(Failure::Strange(format!("{message:?}"))),
                Err(failure) if failure.is_gone() => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Sends bytes in pieces of so many, each a packet of its own.
    ///
    /// # Errors
    /// The socket's.
    pub fn send_in_pieces(&mut self, bytes: &[u8], piece_bytes: usize) -> Outcome<()> {
        for piece in bytes.chunks(piece_bytes.max(1)) {
            self.send(piece)?;
            // Lets the peer run in between, so that it really reads pieces.
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Waits until the other side closes.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_closed(&mut self) -> Outcome<()> {
        loop {
            match self.read() {
                Ok(_) => {}
                Err(failure) if failure.is_gone() => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Ends the connection with a RST when the script ends.
    pub fn reset_at_end(&self) {
        sys::reset_on_close(&self.stream);
    }
}

fn welcome_bytes(parameters: &[(String, String)]) -> Vec<u8> {
    let given = |name: &str, otherwise: &str| {
        let found = parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or_else(|| String::from(otherwise), |(_, value)| value.clone())
    };
    let status = [
        ("application_name", given("application_name", "")),
        ("client_encoding", given("client_encoding", "UTF8")),
        ("DateStyle", given("DateStyle", "ISO, MDY")),
        ("integer_datetimes", String::from("on")),
        ("IntervalStyle", given("IntervalStyle", "postgres")),
        ("is_superuser", String::from("off")),
        ("server_encoding", String::from("UTF8")),
        ("server_version", String::from("15.0 (fake)")),
        ("session_authorization", given("user", "")),
        ("standard_conforming_strings", String::from("on")),
        ("TimeZone", given("TimeZone", "UTC")),
    ];
    let mut bytes = Packet::typed(b'R').int32(0).bytes();
    for (name, value) in status {
        bytes.extend(Packet::typed(b'S').text(name).text(&value).bytes());
    }
    bytes.extend(Packet::typed(b'K').int32(4711).int32(815).bytes());
    bytes.extend(Packet::typed(b'Z').raw(b"I").bytes());
    bytes
}

/// What [`FakePeer::serve`] answers to a Query: nothing for an empty one, `SET` for a SET, else one row.
fn answer_to(query: &Message) -> Vec<u8> {
    let text = query.strings().swap_remove(0);
    let mut bytes = if text.trim().is_empty() {
        Packet::typed(b'I').bytes()
    } else if text.starts_with("SET ") || text.starts_with("DISCARD ") {
        let word = text.split(' ').next().unwrap_or_default();
        Packet::typed(b'C').text(word).bytes()
    } else {
        one_row()
    };
    bytes.extend(Packet::typed(b'Z').raw(b"I").bytes());
    bytes
}

fn one_row() -> Vec<u8> {
    let column = Packet::typed(b'T').int16(1).text("one").int32(0).int16(0).int32(25).int16(65535);
    let mut bytes = column.int32(u32::MAX).int16(0).bytes();
    bytes.extend(Packet::typed(b'D').int16(1).value(Some(b"1")).bytes());
    bytes.extend(Packet::typed(b'C').text("SELECT 1").bytes());
    bytes
}
