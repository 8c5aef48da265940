//! A stream that records the traffic on it.

use super::life::Watch;
use bytes::{Buf, Bytes};
use rustix::net::sockopt;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::server::TlsStream;

/// Transport of a connection: TCP, or a protocol on top of it.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the socket discard unread data when it is closed. Otherwise the kernel would keep the data, and a client
    /// that reads nothing would never learn of the end.
    fn forget_unread(&self);

    /// Limits how long the kernel keeps unread data of a connection of this age after it is closed.
    ///
    /// It must not be limited earlier: the kernel counts from when the client's window was first full, and a client
    /// that reads slowly but steadily through a small window never ends that.
    fn limit_unread(&self, age: Duration);
}

impl Carrier for TcpStream {
    fn forget_unread(&self) {
        // A socket that refuses is closed in the usual way.
        let _ = sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }

    fn limit_unread(&self, age: Duration) {
        let limit = u32::try_from((age + UNREAD_AFTER_CLOSE).as_millis()).unwrap_or(u32::MAX);
        // Without it, the kernel's own limit of several minutes applies.
        #[cfg(target_os = "linux")]
        let _ = sockopt::set_tcp_user_timeout(self, limit);
        #[cfg(not(target_os = "linux"))]
        let _ = limit;
    }
}

impl Carrier for TlsStream<TcpStream> {
    fn forget_unread(&self) {
        self.get_ref().0.forget_unread();
    }

    fn limit_unread(&self, age: Duration) {
        self.get_ref().0.limit_unread(age);
    }
}

/// Minimum time that a client has to read what the kernel buffered of a closed connection.
const UNREAD_AFTER_CLOSE: Duration = Duration::from_secs(60);

/// Records when bytes arrive, and since when the other end has read none. Adds the default headers to responses that
/// HTTP/1 itself gives to unreadable input: they pass no router, so nothing else could add them.
pub(super) struct Io<S: Carrier> {
    stream: S,
    watch: Arc<Watch>,
    is_blocked: bool,
    accepted_at: Instant,
    /// Header lines of such a response.
    headers: Arc<str>,
    /// The unwritten part of a completed response.
    held: Bytes,
}

impl<S: Carrier> Io<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>, headers: Arc<str>, accepted_at: Instant) -> Self {
        Self { stream, watch, is_blocked: false, accepted_at, headers, held: Bytes::new() }
    }

    /// Writes the rest of a completed response.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.held);
            match ready!(self.note(written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.held.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn note<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() != self.is_blocked {
            self.is_blocked = !self.is_blocked;
            match self.is_blocked {
                true => self.watch.with(|life| life.block(life.now())),
                false => self.watch.with(|life| life.unblock()),
            }
        }
        written
    }
}

/// Header that every response of the router has.
const MARK: &[u8] = b"x-content-type-options:";
const HEAD_END: &[u8] = b"\r\n\r\n";

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Whether these bytes are the head of a refusal that does not come from the router.
fn is_bare_refusal(bytes: &[u8]) -> bool {
    let is_refusal = bytes.starts_with(b"HTTP/1.") && bytes.get(8..10) == Some(b" 4");
    // The router's refusals, which can be many, have the mark early, so it is searched for first.
    let has_mark = || find(bytes, MARK).is_some_and(|mark| find(&bytes[..mark], HEAD_END).is_none());
    is_refusal && !has_mark() && find(bytes, HEAD_END).is_some()
}

/// Returns such a refusal with these headers; `None` for all other bytes.
fn completed(bytes: &[u8], headers: &str) -> Option<Bytes> {
    let end = find(bytes, b"\r\n").filter(|_| is_bare_refusal(bytes))? + 2;
    let (status, rest) = bytes.split_at(end);
    Some([status, headers.as_bytes(), rest].concat().into())
}

impl<S: Carrier> Drop for Io<S> {
    fn drop(&mut self) {
        if self.watch.with(|life| life.is_stalled) {
            self.stream.forget_unread();
        } else {
            self.stream.limit_unread(self.accepted_at.elapsed());
        }
    }
}

impl<S: Carrier> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.watch.with(|life| life.hear(life.now()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Carrier> AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_held(cx))?;
        if let Some(whole) = completed(bytes, &self.headers) {
            self.held = whole;
            // What the socket does not take now is written with the flush that follows every write.
            if let Poll::Ready(failed @ Err(_)) = self.poll_held(cx) {
                return Poll::Ready(failed.map(|()| 0));
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_held(cx))?;
        if let Some(first) = slices.first().filter(|first| is_bare_refusal(first)) {
            return self.poll_write(cx, first);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        // A flush that succeeds without a byte is no progress: only a write ends the wait.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.note(Poll::Pending),
            done => done,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Pending => self.note(Poll::Pending),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_without_a_request_is_completed() {
        let headers = "x-content-type-options: nosniff\r\n";
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        let whole = completed(bare.as_bytes(), headers).unwrap();
        assert_eq!(whole, bare.replacen("\r\n", &format!("\r\n{headers}"), 1));
        assert_eq!(completed(&whole, headers), None);
        let in_body = format!("{bare}{headers}");
        assert!(completed(in_body.as_bytes(), headers).is_some(), "a mark behind the head is none");
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 4",
            "{\"error\":\"HTTP/1.1 400\"}\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
            "",
        ] {
            assert_eq!(completed(other.as_bytes(), headers), None, "{other}");
        }
    }
}
