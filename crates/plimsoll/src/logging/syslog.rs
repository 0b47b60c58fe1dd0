//! The system's log: one datagram per line, as RFC 3164 has it and syslogd and journald read it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use plimsoll_config::General;

/// Where syslogd listens.
const DEV_LOG: &str = "/dev/log";

/// Facilities by their names (RFC 3164, 4.1.1).
const FACILITIES: [(&str, u8); 13] = [
    ("user", 1),
    ("daemon", 3),
    ("auth", 4),
    ("cron", 9),
    ("authpriv", 10),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Severities of PgBouncer's words; all others are informational.
const SEVERITIES: [(&str, u8); 5] = [("FATAL", 2), ("ERROR", 3), ("WARNING", 4), ("DEBUG", 7), ("NOISE", 7)];

const INFORMATIONAL: u8 = 6;

/// How lines are sent there.
#[derive(Debug)]
pub(super) struct Syslog {
    path: PathBuf,
    facility: u8,
    ident: String,
    /// Connected when there is something to say; anew when syslogd was started anew.
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// As a plan wants it; `None`: not at all.
    pub(super) fn of(general: &General) -> Option<Syslog> {
        general.syslog.on.then(|| Syslog::new(Path::new(DEV_LOG), general))
    }

    fn new(path: &Path, general: &General) -> Syslog {
        let known = FACILITIES.iter().find(|(name, _)| *name == general.syslog.facility);
        Syslog {
            path: path.to_path_buf(),
            facility: known.map_or(3, |(_, number)| *number),
            ident: general.syslog.ident.clone(),
            socket: None,
        }
    }

    /// Sends a line of our log without its time. A log that cannot be reached must not disturb anybody.
    pub(super) fn send(&mut self, line: &str) {
        let (_, rest) = line.trim_end().split_once("] ").unwrap_or(("", line));
        let (word, message) = rest.split_once(' ').unwrap_or(("", rest));
        let severity = SEVERITIES.iter().find(|(name, _)| *name == word).map_or(INFORMATIONAL, |(_, n)| *n);
        let priority = self.facility * 8 + severity;
        let time = Zoned::now().strftime("%b %e %H:%M:%S").to_string();
        let text = format!("<{priority}>{time} {}[{}]: {message}", self.ident, std::process::id());
        if !self.try_send(text.as_bytes()) {
            self.socket = None;
            self.try_send(text.as_bytes());
        }
    }

    fn try_send(&mut self, text: &[u8]) -> bool {
        if self.socket.is_none() {
            self.socket = connect(&self.path).ok();
        }
        self.socket.as_ref().is_some_and(|socket| socket.send(text).is_ok())
    }
}

/// A socket on which a syslogd that does not read keeps nobody waiting.
fn connect(path: &Path) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_with_facility_severity_and_name() {
        let dir = std::env::temp_dir().join(format!("plimsoll-syslog-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let path = dir.join("log");
        let listen = || {
            // A leftover of the daemon before.
            let _ = std::fs::remove_file(&path);
            UnixDatagram::bind(&path).expect("a socket")
        };
        let syslog =
            plimsoll_config::Syslog { on: true, facility: "local1".to_string(), ident: "pooler".to_string() };
        let general = General { syslog, ..General::default() };
        let mut syslog = Syslog::new(&path, &general);
        syslog.send("2026-11-20 16:01:45.240 UTC [778] LOG nobody hears this\n");
        for _ in 0..2 {
            let daemon = listen();
            for (word, severity) in [("LOG", 6), ("ERROR", 3), ("FATAL", 2), ("WARNING", 4), ("NOISE", 7)] {
                syslog.send(&format!("2026-11-20 16:01:45.240 UTC [778] {word} p0/app said [1] no\n"));
                let mut buffer = [0; 200];
                let n = daemon.recv(&mut buffer).expect("a line");
                let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                assert!(text.starts_with(&format!("<{}>", 17 * 8 + severity)), "{text}");
                let pid = std::process::id();
                assert!(text.ends_with(&format!(" pooler[{pid}]: p0/app said [1] no")), "{text}");
            }
        }
        std::fs::remove_dir_all(&dir).expect("ours");
    }
}
