//! Connections of the load to a server, with or without TLS, and HTTP/1.1 on them.

use crate::{
    Failure,
    identity::{Identity, NAME},
    load::whole,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::ServerName;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A connection to a server.
pub(crate) enum Wire {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// How to connect to a server.
#[derive(Clone)]
pub(crate) struct Dialer {
    address: SocketAddr,
    /// TLS with HTTP/1.1 and with HTTP/2; `None` without TLS.
    tls: Option<[TlsConnector; 2]>,
}

/// Version of HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

impl Dialer {
    pub(crate) fn new(address: SocketAddr, identity: Option<&Identity>) -> Result<Self, Failure> {
        let connectors = |identity: &Identity| {
            Ok::<_, Failure>([identity.connector("http/1.1")?, identity.connector("h2")?])
        };
        Ok(Self { address, tls: identity.map(connectors).transpose()? })
    }

    /// Whether the server speaks TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects, and shakes hands if the server speaks TLS.
    pub(crate) async fn dial(&self) -> Result<Wire, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        Ok(self.shake(stream, Http::One).await?)
    }

    /// Connects from an address of this machine without a handshake. `received` limits the bytes that the kernel
    /// buffers for it.
    pub(crate) async fn tcp(&self, from: Ipv4Addr, received: Option<u32>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = received {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind((from, 0).into())?;
        socket.connect(self.address).await
    }

    /// Shakes hands on a connection, if the server speaks TLS.
    pub(crate) async fn shake(&self, stream: TcpStream, http: Http) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        let Some([one, two]) = &self.tls else { return Ok(Wire::Plain(stream)) };
        let connector = if http == Http::One { one } else { two };
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        Ok(Wire::Encrypted(Box::new(connector.connect(name, stream).await?)))
    }
}

impl Wire {
    /// Sends a request and reads the complete response into `answer`. Returns its status.
    pub(crate) async fn ask(&mut self, request: &[u8], answer: &mut Vec<u8>) -> Result<u16, Failure> {
        self.write_all(request).await?;
        self.flush().await?;
        answer.clear();
        while !whole(answer)? {
            if self.read_buf(answer).await? == 0 {
                return Err("the server closed a connection".into());
            }
        }
        let status = answer.get(9..12).ok_or("not a response")?;
        Ok(std::str::from_utf8(status)?.parse()?)
    }
}

/// Returns a request for a token.
pub(crate) fn token_request(environment: &str, client_id: &str, secret: &str) -> Vec<u8> {
    form_request(environment, "token", Some((client_id, secret)), "grant_type=client_credentials")
}

/// Returns a request with a form, and with credentials in the header, if there are any.
pub(crate) fn form_request(
    environment: &str,
    endpoint: &str,
    credentials: Option<(&str, &str)>,
    form: &str,
) -> Vec<u8> {
    let basic = credentials.map(|(client_id, secret)| STANDARD.encode(format!("{client_id}:{secret}")));
    let authorization = basic.map(|basic| format!("authorization: Basic {basic}\r\n")).unwrap_or_default();
    format!(
        "POST /env/{environment}/oauth2/{endpoint} HTTP/1.1\r\nhost: {NAME}\r\nuser-agent: bench/1\r\n{authorization}\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len(),
    )
    .into_bytes()
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
