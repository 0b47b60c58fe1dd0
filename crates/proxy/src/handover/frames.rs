//! Frames over a Unix socket: a length, a descriptor with some of them, a record. Everything has an end in time, and
//! nothing is allocated before it has come.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest frame, bytes.
const FRAME_BYTES_MAX: u32 = 256 << 20;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Length, and whether a descriptor comes along.
const HEAD_BYTES: usize = 5;

/// A frame did not come, or not as one of ours.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side does not answer in time, has gone, or the system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Too long, of another kind than expected, or with other descriptors.
    #[error("what was handed over cannot be read: {0}")]
    Malformed(String),
}

fn malformed(why: impl ToString) -> FrameError {
    FrameError::Malformed(why.to_string())
}

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: UnixStream,
    deadline: Instant,
}

impl Frames {
    pub(crate) fn new(stream: UnixStream, longest: Duration) -> Frames {
        Frames { stream, deadline: Instant::now() + longest }
    }

    /// From now on everything has to be said within this time.
    pub(crate) fn set_limit(&mut self, longest: Duration) {
        self.deadline = Instant::now() + longest;
    }

    /// The other side can neither say nor hear anything any more.
    pub(crate) fn close(&self) {
        // Closed already is closed.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Sends a record, and a descriptor if there is one.
    pub(crate) fn send<T: Serialize>(
        &mut self,
        record: &T,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), FrameError> {
        let body = rmp_serde::to_vec_named(record).map_err(malformed)?;
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| malformed("a record is too long"))?;
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&length.to_be_bytes());
        head[4] = u8::from(fd.is_some());
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.send_head(&head, fd)?;
        let mut sent = 0;
        while sent < body.len() {
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(&body[sent..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn send_head(&self, head: &[u8; HEAD_BYTES], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut extra = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        if !fds.is_empty() && !extra.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut sent = loop {
            match rustix::net::sendmsg(
                self.stream.as_fd(),
                &[IoSlice::new(head)],
                &mut extra,
                SendFlags::NOSIGNAL,
            ) {
                Ok(n) => break n,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        // The descriptor has gone with the first byte.
        while sent < HEAD_BYTES {
            sent += (&self.stream).write(&head[sent..])?;
        }
        Ok(())
    }

    /// The next record, and its descriptor.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Result<(T, Option<OwnedFd>), FrameError> {
        let (head, fd) = self.receive_head()?;
        let [a, b, c, d, has_fd] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > FRAME_BYTES_MAX || has_fd > 1 {
            return Err(malformed("a frame has an impossible head"));
        }
        if (has_fd == 1) != fd.is_some() {
            return Err(malformed("a descriptor did not come along, or one too many"));
        }
        let length = usize::try_from(length).map_err(malformed)?;
        let mut body = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES.min(length)];
        while body.len() < length {
            let wanted = CHUNK_BYTES.min(length - body.len());
            let n = self.read_some(&mut chunk[..wanted])?;
            body.extend_from_slice(&chunk[..n]);
        }
        Ok((rmp_serde::from_slice(&body).map_err(malformed)?, fd))
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn receive_head(&mut self) -> Result<([u8; HEAD_BYTES], Option<OwnedFd>), FrameError> {
        let mut head = [0; HEAD_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut extra = RecvAncillaryBuffer::new(&mut space);
        self.stream.set_read_timeout(Some(self.left()?))?;
        let mut got = loop {
            let mut parts = [IoSliceMut::new(&mut head)];
            match rustix::net::recvmsg(self.stream.as_fd(), &mut parts, &mut extra, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received.bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        };
        if got == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut fds = Vec::new();
        for message in extra.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        if fds.len() > 1 {
            return Err(malformed("more than one descriptor"));
        }
        while got < HEAD_BYTES {
            got += self.read_some(&mut head[got..])?;
        }
        Ok((head, fds.pop()))
    }

    /// The step that hands everything over: one byte, which is in the other side's queue when this returns, or will
    /// never be.
    pub(crate) fn send_taken(&self) -> io::Result<()> {
        match rustix::net::send(self.stream.as_fd(), &[TAKEN], SendFlags::NOSIGNAL)? {
            1 => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Waits for that step. When this returns the answer stands: after `false` the other side can never take it.
    pub(crate) fn is_taken(&mut self) -> bool {
        let mut byte = [0];
        if let Ok(n) = self.read_some(&mut byte) {
            return n == 1 && byte == [TAKEN];
        }
        // What is not in the queue by now will be refused by the kernel; what is, is read all the same.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.stream.set_nonblocking(true);
        matches!(self.stream.read(&mut byte), Ok(1)) && byte == [TAKEN]
    }
}

/// The byte of [`Frames::send_taken`]: not the beginning of a frame of any allowed length.
const TAKEN: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Frames, Frames) {
        let (one, other) = UnixStream::pair().expect("a pair");
        let limit = Duration::from_secs(20);
        (Frames::new(one, limit), Frames::new(other, limit))
    }

    #[test]
    fn records_and_descriptors_come_as_they_went() {
        let (mut one, mut other) = pair();
        let text = "x".repeat(1000);
        one.send(&text, None).expect("sent");
        let (end, _kept) = UnixStream::pair().expect("a pair");
        one.send(&7_u32, Some(end.as_fd())).expect("sent");
        assert_eq!(other.receive::<String>().expect("received").0, text);
        let (number, fd) = other.receive::<u32>().expect("received");
        assert!(number == 7 && fd.is_some());
    }

    #[test]
    fn a_frame_of_impossible_length_is_refused_before_anything_is_allocated() {
        let (one, mut other) = pair();
        (&one.stream).write_all(&[0xff, 0xff, 0xff, 0xff, 0]).expect("sent");
        assert!(matches!(other.receive::<String>(), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn a_record_of_another_kind_is_refused() {
        let (mut one, mut other) = pair();
        one.send(&"text", None).expect("sent");
        assert!(matches!(other.receive::<u32>(), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn an_announced_descriptor_must_come() {
        let (one, mut other) = pair();
        (&one.stream).write_all(&[0, 0, 0, 1, 1, 0]).expect("sent");
        assert!(matches!(other.receive::<u8>(), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn taken_is_seen_or_can_never_be_said() {
        let (one, mut other) = pair();
        one.send_taken().expect("said");
        drop(one);
        assert!(other.is_taken());
        let (one, mut other) = pair();
        other.set_limit(Duration::ZERO);
        assert!(!other.is_taken());
        assert!(one.send_taken().is_err());
        // In time for the queue, too late for the deadline.
        let (one, mut other) = pair();
        one.send_taken().expect("said");
        other.set_limit(Duration::ZERO);
        assert!(other.is_taken());
    }
}
