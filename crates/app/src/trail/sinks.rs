//! Destinations of the audit trail outside the database: a file of JSON Lines, and syslog (RFC 5424).

use crossfade_core::api;
use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket, UnixDatagram, lookup_host},
};

/// How long a destination is waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Facility 13 of RFC 5424: log audit.
const FACILITY: u8 = 13;
/// Severities of RFC 5424: informational, and a warning for what was refused.
const INFORMATIONAL: u8 = 6;
const WARNING: u8 = 4;

/// Where the trail is shipped to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditSink {
    /// A file. Each event is appended as a line of JSON.
    File(PathBuf),
    /// A syslog server: host and port, one event in each UDP datagram.
    SyslogUdp(String),
    /// A syslog server: host and port, octet counting over TCP (RFC 6587 §3.4.1).
    SyslogTcp(String),
    /// A local syslog socket, one event in each datagram.
    SyslogUnix(PathBuf),
}

impl fmt::Display for AuditSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::SyslogUdp(server) => write!(f, "udp://{server}"),
            Self::SyslogTcp(server) => write!(f, "tcp://{server}"),
            Self::SyslogUnix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl AuditSink {
    /// Parses a syslog address: `udp://host:port`, `tcp://host:port` or `unix:/path`.
    pub fn parse_syslog(text: &str) -> Option<Self> {
        let server = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
            let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
            (is_port && is_host).then(|| text.to_owned())
        };
        match text.split_once(':')? {
            ("udp", rest) => server(rest.strip_prefix("//")?).map(Self::SyslogUdp),
            ("tcp", rest) => server(rest.strip_prefix("//")?).map(Self::SyslogTcp),
            ("unix", path) if path.starts_with('/') => Some(Self::SyslogUnix(path.into())),
            _ => None,
        }
    }

    /// Returns the kind, for the metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            _ => "syslog",
        }
    }
}

/// An open connection to a destination.
pub(crate) enum Link {
    File(PathBuf),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

/// One event, and how it is exported.
pub(crate) struct Shipped {
    pub(crate) event: api::AuditEvent,
    pub(crate) line: Vec<u8>,
}

impl Link {
    /// Connects to a destination.
    pub(crate) async fn open(sink: &AuditSink) -> io::Result<Self> {
        in_time(async {
            Ok(match sink {
                AuditSink::File(path) => Self::File(path.clone()),
                AuditSink::SyslogUdp(server) => {
                    let address = resolve(server).await?;
                    let any: SocketAddr =
                        if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
                    let socket = UdpSocket::bind(any).await?;
                    socket.connect(address).await?;
                    Self::Udp(socket)
                }
                AuditSink::SyslogTcp(server) => Self::Tcp(TcpStream::connect(resolve(server).await?).await?),
                AuditSink::SyslogUnix(path) => {
                    let socket = UnixDatagram::unbound()?;
                    socket.connect(path)?;
                    Self::Unix(socket)
                }
            })
        })
        .await
    }

    /// Sends events in their order. When this fails, any of them may have arrived.
    pub(crate) async fn send(&mut self, host: &str, events: &[Shipped]) -> io::Result<()> {
        in_time(async {
            match self {
                Self::File(path) => {
                    let lines: Vec<u8> =
                        events.iter().flat_map(|shipped| shipped.line.iter().copied()).collect();
                    let path = path.clone();
                    // A disk may be slow, and must not hold up other work.
                    tokio::task::spawn_blocking(move || append(&path, &lines))
                        .await
                        .map_err(io::Error::other)?
                }
                Self::Udp(socket) => {
                    for shipped in events {
                        socket.send(&syslog(host, shipped)).await?;
                    }
                    Ok(())
                }
                Self::Unix(socket) => {
                    for shipped in events {
                        socket.send(&syslog(host, shipped)).await?;
                    }
                    Ok(())
                }
                Self::Tcp(stream) => {
                    let mut frames = Vec::new();
                    for shipped in events {
                        let message = syslog(host, shipped);
                        frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
                        frames.extend_from_slice(&message);
                    }
                    stream.write_all(&frames).await?;
                    stream.flush().await
                }
            }
        })
        .await
    }

    /// Fails if the other side has ended the connection.
    pub(crate) fn check(&self) -> io::Result<()> {
        let Self::Tcp(stream) = self else { return Ok(()) };
        match stream.try_read(&mut [0; 64]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

async fn resolve(server: &str) -> io::Result<SocketAddr> {
    lookup_host(server).await?.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(ANSWERS_WITHIN, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Appends lines to a file that is opened each time, so that it can be rotated by renaming it. A line that was torn by a
/// crash is ended first.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        io::Write::write_all(&mut file, b"\n")?;
    }
    io::Write::write_all(&mut file, lines)?;
    file.sync_data()
}

/// Returns an event as a syslog message (RFC 5424 §6): the action as MSGID, and the exported line as the message.
pub(crate) fn syslog(host: &str, Shipped { event, line }: &Shipped) -> Vec<u8> {
    let severity = if event.outcome == "refused" { WARNING } else { INFORMATIONAL };
    let priority = FACILITY * 8 + severity;
    let mut message =
        format!("<{priority}>1 {} {host} crossfade - {} - ", event.at, event.action).into_bytes();
    message.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::{Timestamp, audit::Actor};
    use serde_json::json;

    #[test]
    fn a_syslog_address_names_a_protocol_and_a_place() {
        for good in
            ["udp://logs.example.com:514", "tcp://192.0.2.1:6514", "tcp://[2001:db8::1]:514", "unix:/dev/log"]
        {
            assert_eq!(AuditSink::parse_syslog(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "logs:514",
            "udp://logs",
            "udp://:514",
            "tcp://logs:0",
            "tcp://a@logs:514",
            "unix:log",
            "tls://logs:6514",
            "udp:logs:514",
        ] {
            assert_eq!(AuditSink::parse_syslog(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_message_has_the_parts_of_rfc_5424() {
        let event = api::AuditEvent {
            seq: 7,
            at: Timestamp::from_micros(1_795_525_500_000_001),
            actor: Actor::machine("init"),
            action: "secret.rotated".into(),
            outcome: "refused".into(),
            client_id: None,
            environment: None,
            target: None,
            source_ip: None,
            request_id: None,
            via: None,
            reason: None,
            details: json!({}),
            previous_hash: None,
            hash: None,
        };
        let message = syslog("auth.example.com", &Shipped { event, line: b"{\"seq\":7}\n".to_vec() });
        let expected =
            "<108>1 2026-11-24T13:05:00.000001Z auth.example.com crossfade - secret.rotated - {\"seq\":7}";
        assert_eq!(String::from_utf8(message).unwrap(), expected);
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let path = std::env::temp_dir().join(format!("crossfade-sink-{}", std::process::id()));
        std::fs::write(&path, "{\"seq\":1}\n{\"se").unwrap();
        append(&path, b"{\"seq\":2}\n").unwrap();
        append(&path, b"{\"seq\":3}\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "{\"seq\":1}\n{\"se\n{\"seq\":2}\n{\"seq\":3}\n");
    }
}
