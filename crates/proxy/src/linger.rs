//! Closing a client's socket so that it reads our last words.
//!
//! A socket that is closed while unread bytes of the peer are in it sends a RST, and a RST may throw away what the peer
//! has received and not read yet: the error that says why. So our side is shut first and what still comes is read, for
//! a short while.

use std::time::Duration;

use crate::socket::Stream;

/// How long a peer may take to go by itself.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes of the peer worth reading for that.
const BYTES_MAX: usize = 64 * 1024;

/// Closes in a task of its own. The stream must live on the current runtime, and what it is to say must be written.
pub(crate) fn close(stream: Stream) {
    tokio::spawn(closed(stream));
}

/// Closes within [`LINGER`]. Cancel safe: dropped, it closes at once.
pub(crate) async fn closed(mut stream: Stream) {
    stream.shutdown_write();
    // Whether the peer went by itself or not, the socket is closed now.
    let _ = tokio::time::timeout(LINGER, read_some(&mut stream)).await;
}

async fn read_some(stream: &mut Stream) {
    let mut chunk = [0; 1024];
    let mut left = BYTES_MAX;
    while left > 0
        && let Ok(n) = stream.read(&mut chunk).await
        && n > 0
    {
        left = left.saturating_sub(n);
    }
}
