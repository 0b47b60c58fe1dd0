//! Reading an answer (RFC 9112, sections 4 to 7).

use std::io::{self, BufRead, Read};

/// Longest status line and headers together, bytes.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// Longest body, bytes: a page of a list is far below it.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection can be used again.
    pub(super) stays_open: bool,
}

impl Answer {
    /// The first header of that name, which is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The socket's error.
    Io(io::Error),
    /// It is something else.
    NotHttp(&'static str),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Broken::NotHttp("it closed the connection"),
            _ => Broken::Io(error),
        }
    }
}

/// How long the body is.
enum Length {
    Bytes(u64),
    Chunked,
    ToTheEnd,
}

/// Reads one answer.
pub(super) fn read(stream: &mut impl BufRead) -> Result<Answer, Broken> {
    let mut head = stream.take(HEAD_BYTES_MAX);
    let (version, status) = loop {
        let (version, status) = status_line(&line(&mut head)?)?;
        // Informational answers come before the one that counts.
        match status {
            100..200 => drop(headers(&mut head)?),
            _ => break (version, status),
        }
    };
    let headers = headers(&mut head)?;
    let length = length(&headers, status)?;
    let body = match length {
        Length::Bytes(bytes) => exactly(stream, bytes)?,
        Length::Chunked => chunks(stream)?,
        Length::ToTheEnd => to_the_end(stream)?,
    };
    let says_close = find(&headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let has_end = !matches!(length, Length::ToTheEnd);
    let stays_open = has_end && version == "HTTP/1.1" && !says_close;
    Ok(Answer { status, headers, body, stays_open })
}

/// A line without its end.
fn line(stream: &mut impl BufRead) -> Result<String, Broken> {
    let mut bytes = Vec::new();
    stream.take(HEAD_BYTES_MAX).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(Broken::NotHttp(match bytes.is_empty() {
            true => "it closed the connection",
            false => "a line has no end",
        }));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| Broken::NotHttp("its headers are not text"))
}

fn status_line(line: &str) -> Result<(String, u16), Broken> {
    let mut words = line.splitn(3, ' ');
    let version = words.next().filter(|version| version.starts_with("HTTP/1."));
    let status = words.next().and_then(|status| status.parse().ok()).filter(|status| *status >= 100);
    match (version, status) {
        (Some(version), Some(status)) => Ok((version.to_string(), status)),
        _ => Err(Broken::NotHttp("its first line is none of HTTP/1")),
    }
}

fn headers(stream: &mut impl BufRead) -> Result<Vec<(String, String)>, Broken> {
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or(Broken::NotHttp("a header has no name"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
}

fn length(headers: &[(String, String)], status: u16) -> Result<Length, Broken> {
    if matches!(status, 204 | 304) {
        return Ok(Length::Bytes(0));
    }
    match (find(headers, "transfer-encoding"), find(headers, "content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Ok(Length::Chunked),
        (Some(_), _) => Err(Broken::NotHttp("its body is coded in an unknown way")),
        (None, Some(bytes)) => {
            bytes.parse().map(Length::Bytes).map_err(|_| Broken::NotHttp("the length of its body is none"))
        }
        (None, None) => Ok(Length::ToTheEnd),
    }
}

fn exactly(stream: &mut impl BufRead, bytes: u64) -> Result<Vec<u8>, Broken> {
    if bytes > BODY_BYTES_MAX {
        return Err(Broken::NotHttp("its body is too long"));
    }
    // Grows with what really comes, not with what is promised.
    let mut body = Vec::new();
    let read = stream.take(bytes).read_to_end(&mut body)?;
    match u64::try_from(read) == Ok(bytes) {
        true => Ok(body),
        false => Err(Broken::NotHttp("it closed the connection in the middle of an answer")),
    }
}

fn chunks(stream: &mut impl BufRead) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    loop {
        let size = line(stream)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| Broken::NotHttp("a chunk has no length"))?;
        let so_far = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if so_far.saturating_add(size) > BODY_BYTES_MAX {
            return Err(Broken::NotHttp("its body is too long"));
        }
        if size == 0 {
            // Trailers, up to an empty line.
            headers(&mut stream.take(HEAD_BYTES_MAX))?;
            return Ok(body);
        }
        body.extend(exactly(stream, size)?);
        line(stream)?;
    }
}

fn to_the_end(stream: &mut impl BufRead) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    stream.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
    Ok(body)
}
