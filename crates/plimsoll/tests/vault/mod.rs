//! Where secrets come from in a test: files and programs in a folder, and the metadata service of a cloud.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use plimsoll_testkit::TempDir;

/// A folder that everybody may write to: the programs of the pooler do, too.
pub(crate) struct Vault(TempDir);

impl Vault {
    pub(crate) fn new() -> Vault {
        let dir = TempDir::new("vault");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("it is ours");
        Vault(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces a file at once, as secret stores do.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let beside = self.path(&format!("{name}.new"));
        std::fs::write(&beside, text).expect("it is ours");
        std::fs::rename(&beside, self.path(name)).expect("it is ours");
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).expect("it was there");
    }

    /// `credential=` for a file.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("credential=file:{}", self.path(name).display())
    }

    /// `credential=` for a program of these lines, which stands in the folder and leaves a line in `runs` each time.
    pub(crate) fn program(&self, name: &str, lines: &str) -> String {
        let folder = self.0.path().display();
        self.put(name, &format!("cd {folder} || exit 9\necho \"$PLIMSOLL_USER\" >> runs\n{lines}\n"));
        format!("credential='command:/bin/sh {folder}/{name}'")
    }

    /// For whom the programs have been run.
    pub(crate) fn runs(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("runs")).unwrap_or_default();
        text.lines().map(String::from).collect()
    }
}

/// The answer of a [`Cloud`]: status and body.
pub(crate) type Answer = (u16, String);

/// An HTTP server that answers what a function says, one request for each connection.
pub(crate) struct Cloud {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cloud {
    /// `answer` is given the request line, the headers in lower case, and the body, with line ends between them.
    pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + 'static) -> Cloud {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, ended) = (asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                // Who leaves in the middle has his reasons.
                let Some(request) = stream.ok().and_then(|stream| serve(stream, &answer)) else { continue };
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            }
        });
        Cloud { port, asked, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(stream: TcpStream, answer: &impl Fn(&str) -> Answer) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.trim().parse().ok()?;
        }
        request.push_str(&format!("{name}: {}\n", value.trim()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.push_str(&String::from_utf8_lossy(&body));
    let (status, text) = answer(&request);
    let head = format!("HTTP/1.1 {status} said\r\ncontent-length: {}\r\n\r\n", text.len());
    let mut stream = stream;
    stream.write_all((head + &text).as_bytes()).ok()?;
    Some(request)
}
