//! An API that answers what it was given, in its order for each request line, and remembers what it was asked.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::identity::http::ApiTls;
use crate::place::World;

/// An answer.
pub(crate) struct Given {
    status: u16,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Given {
    pub(crate) fn of(status: u16, body: Value) -> Given {
        Given { status, kind: "application/json", headers: Vec::new(), body }
    }

    pub(crate) fn ok(body: Value) -> Given {
        Given::of(200, body)
    }

    pub(crate) fn problem(status: u16, body: Value) -> Given {
        Given { kind: "application/problem+json", ..Given::of(status, body) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Given {
        self.headers.push((name, value.to_string()));
        self
    }

    fn text(&self) -> String {
        let body = if self.body.is_null() { String::new() } else { self.body.to_string() };
        let mut text = format!("HTTP/1.1 {} X\r\nContent-Type: {}\r\n", self.status, self.kind);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        text
    }
}

/// Answers by request line; the last one of a line is given again and again.
type Script = Vec<(String, VecDeque<Given>)>;

#[derive(Default)]
struct Seen(Vec<(String, String)>);

/// The API; it ends when it is dropped.
pub(crate) struct Api {
    at: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    pub(crate) fn with(script: Vec<(&str, Given)>) -> Api {
        Api::at("127.0.0.1", script)
    }

    pub(crate) fn at(host: &str, script: Vec<(&str, Given)>) -> Api {
        let listener = TcpListener::bind((host, 0)).expect("a port");
        let at = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut answers: Script = Vec::new();
        for (line, given) in script {
            match answers.iter_mut().find(|(known, _)| known == line) {
                Some((_, queue)) => queue.push_back(given),
                None => answers.push((line.to_string(), VecDeque::from([given]))),
            }
        }
        let remembered = seen.clone();
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // A connection that ends with nothing asked is how a test ends.
                if let Ok(0) = serve(&socket, &mut answers, &remembered) {
                    return;
                }
            }
        });
        Api { at, seen, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    fn last(&self, line: &str) -> (String, String) {
        let seen = self.seen.lock().expect("no panic in the thread");
        let found = seen.0.iter().rev().find(|(head, _)| head.starts_with(line)).cloned();
        found.unwrap_or_else(|| panic!("{line} was not asked"))
    }

    /// The body of the last request that begins like this.
    pub(crate) fn body(&self, line: &str) -> Value {
        serde_json::from_str(&self.last(line).1).expect("JSON")
    }

    /// Its head.
    pub(crate) fn head(&self, line: &str) -> String {
        self.last(line).0
    }

    pub(crate) fn was_asked(&self, line: &str) -> bool {
        self.seen.lock().expect("no panic in the thread").0.iter().any(|(head, _)| head.starts_with(line))
    }

    /// All that was asked.
    pub(crate) fn all(&self) -> String {
        let seen = self.seen.lock().expect("no panic in the thread");
        seen.0.iter().map(|(head, body)| format!("{head}{body}\n")).collect()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(TcpStream::connect(self.at));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves a connection to its end; how many requests there were.
fn serve(socket: &TcpStream, answers: &mut Script, seen: &Mutex<Seen>) -> io::Result<usize> {
    let mut reader = BufReader::new(socket);
    let mut count = 0;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(count);
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        count += 1;
        let asked = head.split(" HTTP/1.1").next().unwrap_or_default().to_string();
        seen.lock().expect("no panic elsewhere").0.push((head, String::from_utf8_lossy(&body).into_owned()));
        let answer =
            answers.iter_mut().find(|(line, _)| *line == asked).and_then(|(_, queue)| match queue.len() {
                0 => None,
                1 => queue.front().map(Given::text),
                _ => queue.pop_front().map(|given| given.text()),
            });
        let missing =
            || Given::problem(404, serde_json::json!({"detail": format!("nobody expected {asked}")})).text();
        let mut out = socket;
        out.write_all(answer.unwrap_or_else(missing).as_bytes())?;
    }
}

/// A world with a key.
pub(crate) struct KeyWorld;

pub(crate) fn key_world() -> KeyWorld {
    KeyWorld
}

impl World for KeyWorld {
    fn var(&self, name: &str) -> Option<String> {
        (name == "PLIMSOLL_KEY").then(|| "plim_test_key".to_string())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        match path == Path::new("the/key") {
            true => Ok("  plim_of_file\n".to_string()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }

    fn owns(&self, _: &Path) -> bool {
        false
    }

    fn is_private(&self, _: &Path) -> bool {
        false
    }
}

pub(crate) fn no_tls(_: Option<&Path>) -> Result<ApiTls, String> {
    Err("none in tests".to_string())
}
