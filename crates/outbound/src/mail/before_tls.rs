//! A connection before STARTTLS (RFC 3207). Someone between the two machines can add responses before the encryption
//! begins, which would be read after it as if they were encrypted (CVE-2011-0411). So each command gets one response, and
//! anything beyond ends the connection.

use lettre::transport::smtp::client::AsyncTokioStream;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Maximum length of a line of a response (RFC 5321 §4.5.3.1.5 asks for 512).
const MAX_LINE: usize = 8192;

/// What the server may say next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// The response to a command, or the greeting.
    Response,
    /// The response to STARTTLS.
    Start,
    /// Nothing: no command was sent since the last response.
    Nothing,
    /// Anything: it is encrypted.
    Encrypted,
}

/// A connection that is not encrypted yet, and later carries the encryption.
#[derive(Debug)]
pub(super) struct BeforeTls {
    stream: TcpStream,
    expected: Expected,
    /// The line of the response that is being read.
    line: Vec<u8>,
    /// The command that is being written.
    command: Vec<u8>,
}

impl BeforeTls {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, expected: Expected::Response, line: Vec::new(), command: Vec::new() }
    }

    /// Notes what was written.
    fn wrote(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.command.push(*byte);
            if *byte == b'\n' {
                let starts = self.command.trim_ascii().eq_ignore_ascii_case(b"STARTTLS");
                self.expected = if starts { Expected::Start } else { Expected::Response };
                self.command.clear();
            }
        }
    }

    /// Notes what was read. Fails if it is more than one response.
    fn heard(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            if matches!(self.expected, Expected::Nothing | Expected::Encrypted) || self.line.len() >= MAX_LINE
            {
                return Err(io::Error::other(
                    "the mail server sent more than one response to a command before the encryption",
                ));
            }
            self.line.push(*byte);
            if *byte != b'\n' {
                continue;
            }
            // All lines but the last have a hyphen after the code.
            if self.line.get(3) != Some(&b'-') {
                let is_ready = self.expected == Expected::Start && self.line.starts_with(b"220");
                self.expected = if is_ready { Expected::Encrypted } else { Expected::Nothing };
            }
            self.line.clear();
        }
        Ok(())
    }
}

impl AsyncTokioStream for BeforeTls {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for BeforeTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, is_encrypted) = (buffer.filled().len(), self.expected == Expected::Encrypted);
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        match is_encrypted {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(self.heard(&buffer.filled()[before..])),
        }
    }
}

impl AsyncWrite for BeforeTls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        if self.expected != Expected::Encrypted {
            self.wrote(&bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
