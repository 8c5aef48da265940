//! A stream that notes what passes.

use super::life::Watch;
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

/// What carries a connection: TCP, or what is spoken over it.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Has the socket forget what is unread when it is closed. The kernel would otherwise keep it, and the client,
    /// which takes nothing, would never learn of the end.
    fn forget_unread(&self);
}

impl Carrier for TcpStream {
    fn forget_unread(&self) {
        // A socket that refuses is closed in the usual way.
        let _ = rustix::net::sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }
}

/// Notes when bytes arrive, and since when the other end takes none.
pub(super) struct Io<S: Carrier> {
    stream: S,
    watch: Arc<Watch>,
    is_blocked: bool,
}

impl<S: Carrier> Io<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>) -> Self {
        Self { stream, watch, is_blocked: false }
    }

    fn note<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() != self.is_blocked {
            self.is_blocked = !self.is_blocked;
            match self.is_blocked {
                true => self.watch.with(|life| life.block(Instant::now())),
                false => self.watch.with(|life| life.unblock()),
            }
        }
        written
    }
}

impl<S: Carrier> Drop for Io<S> {
    fn drop(&mut self) {
        if self.watch.with(|life| life.is_stalled) {
            self.stream.forget_unread();
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
            self.watch.with(|life| life.hear(Instant::now()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Carrier> AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A flush that succeeds without a byte is no progress: only a write ends the wait.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.note(Poll::Pending),
            done => done,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Pending => self.note(Poll::Pending),
            done => done,
        }
    }
}
