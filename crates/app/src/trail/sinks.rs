//! Destinations of the audit trail outside the database: a file of JSON Lines, and syslog (RFC 5424).

use crossfade_core::api;
use rustix::{fs::OFlags, io::Errno, net::sockopt::set_tcp_user_timeout};
use serde_json::json;
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
    sync::oneshot,
};

/// How long a destination is waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How long the other side of a TCP connection may confirm nothing, in milliseconds. Then the connection has failed.
const CONFIRMS_WITHIN: u32 = 10_000;
/// How long after sending a TCP connection without a fault shows that the other machine has confirmed.
const CONFIRMED_AFTER: Duration = Duration::from_secs(15);
/// Maximum size of a UDP datagram over IPv4.
const LARGEST_DATAGRAM: usize = 65_507;
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
    File(AppendedFile),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

/// A file that is appended to in a thread of its own, because a disk or a network share may hang.
pub(crate) struct AppendedFile {
    path: PathBuf,
    /// The append that has not ended.
    running: Option<oneshot::Receiver<io::Result<()>>>,
}

impl AppendedFile {
    /// Appends lines after the previous append has ended, so that a file that hangs holds one thread and not more.
    async fn append(&mut self, lines: Vec<u8>) -> io::Result<()> {
        self.end().await?;
        let (done, running) = oneshot::channel();
        let path = self.path.clone();
        let work = move || drop(done.send(append(&path, &lines)));
        std::thread::Builder::new().name("audit-file".to_owned()).spawn(work)?;
        self.running = Some(running);
        self.end().await
    }

    /// Waits for the running append. It stays if this is given up.
    async fn end(&mut self) -> io::Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let ended = running.await;
        self.running = None;
        ended.map_err(io::Error::other)?
    }
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
                AuditSink::File(path) => Self::File(AppendedFile { path: path.clone(), running: None }),
                AuditSink::SyslogUdp(server) => {
                    let address = resolve(server).await?;
                    let any: SocketAddr =
                        if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
                    let socket = UdpSocket::bind(any).await?;
                    socket.connect(address).await?;
                    Self::Udp(socket)
                }
                AuditSink::SyslogTcp(server) => {
                    let stream = TcpStream::connect(resolve(server).await?).await?;
                    set_tcp_user_timeout(&stream, CONFIRMS_WITHIN)?;
                    Self::Tcp(stream)
                }
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
                Self::File(file) => {
                    let lines = events.iter().flat_map(|shipped| shipped.line.iter().copied()).collect();
                    file.append(lines).await
                }
                Self::Udp(socket) => {
                    for shipped in events {
                        match socket.send(&datagram(host, shipped)).await {
                            Err(error) if is_too_large(&error) => {
                                socket.send(&shortened(host, shipped)).await?
                            }
                            sent => sent?,
                        };
                    }
                    Ok(())
                }
                Self::Unix(socket) => {
                    for shipped in events {
                        match socket.send(&datagram(host, shipped)).await {
                            Err(error) if is_too_large(&error) => {
                                socket.send(&shortened(host, shipped)).await?
                            }
                            sent => sent?,
                        };
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

    /// Returns how long after sending events have arrived, if the connection has no fault until then.
    pub(crate) fn confirms_after(&self) -> Duration {
        match self {
            Self::Tcp(_) => CONFIRMED_AFTER,
            _ => Duration::ZERO,
        }
    }

    /// Whether something that was begun has not ended, so that the link must be kept although it failed.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::File(AppendedFile { running: Some(_), .. }))
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

/// Returns the datagram of an event, with a short message if the whole event is too large for any.
fn datagram(host: &str, shipped: &Shipped) -> Vec<u8> {
    let message = syslog(host, shipped);
    if message.len() <= LARGEST_DATAGRAM { message } else { shortened(host, shipped) }
}

/// Whether a datagram was too large for this socket.
fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error())
}

fn shortened(host: &str, Shipped { event, .. }: &Shipped) -> Vec<u8> {
    syslog(host, &Shipped { event: event.clone(), line: shorten(event) })
}

/// Returns what identifies an event, for a message that has no room for all of it.
fn shorten(event: &api::AuditEvent) -> Vec<u8> {
    json!({
        "truncated": true,
        "seq": event.seq,
        "at": event.at,
        "action": event.action,
        "outcome": event.outcome,
        "actor": event.actor,
        "previous_hash": event.previous_hash,
        "hash": event.hash,
    })
    .to_string()
    .into_bytes()
}

/// Appends lines to a file that is opened each time, so that it can be rotated by renaming it. A line that was torn by a
/// crash is ended first.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    // Opening a pipe must not wait for its other side.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let mut file = options.custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
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
    use crossfade_core::{
        Timestamp,
        audit::{Actor, chain::ChainHash},
    };
    use serde_json::Value;

    #[test]
    fn a_syslog_address_names_a_protocol_and_a_place() {
        for good in
            ["udp://logs.example.com:514", "tcp://192.0.2.1:601", "tcp://[2001:db8::1]:514", "unix:/dev/log"]
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

    fn event() -> api::AuditEvent {
        api::AuditEvent {
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
        }
    }

    #[test]
    fn a_message_has_the_parts_of_rfc_5424() {
        let message =
            syslog("auth.example.com", &Shipped { event: event(), line: b"{\"seq\":7}\n".to_vec() });
        let expected =
            "<108>1 2026-11-24T13:05:00.000001Z auth.example.com crossfade - secret.rotated - {\"seq\":7}";
        assert_eq!(String::from_utf8(message).unwrap(), expected);
    }

    #[tokio::test]
    async fn an_event_too_large_for_a_datagram_is_named_by_number_and_hash() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sink = AuditSink::SyslogUdp(server.local_addr().unwrap().to_string());
        let event = api::AuditEvent { hash: Some(ChainHash::START), ..event() };
        let line = |length| vec![b'x'; length];
        let mut link = Link::open(&sink).await.unwrap();
        let events = [line(65_600), line(65_000)].map(|line| Shipped { event: event.clone(), line });
        link.send("h", &events).await.unwrap();
        let mut message = vec![0; 65_536];
        let length = server.recv(&mut message).await.unwrap();
        let text = std::str::from_utf8(&message[..length]).unwrap();
        let told: Value = serde_json::from_str(&text[text.find(" - {").unwrap() + 3..]).unwrap();
        let expected = (&json!(true), &json!(7), &json!(ChainHash::START));
        assert_eq!((&told["truncated"], &told["seq"], &told["hash"]), expected);
        assert!(server.recv(&mut message).await.unwrap() > 65_000, "the next one fits");
    }

    #[tokio::test]
    async fn a_file_that_hangs_gets_no_second_append() {
        let path = std::env::temp_dir().join(format!("crossfade-hanging-{}", std::process::id()));
        let (done, running) = oneshot::channel();
        let mut file = AppendedFile { path: path.clone(), running: Some(running) };
        let short = Duration::from_millis(50);
        assert!(tokio::time::timeout(short, file.append(b"{}\n".to_vec())).await.is_err());
        assert!(!path.exists(), "nothing was begun while the first one hangs");
        assert!(Link::File(AppendedFile { path: path.clone(), running: file.running.take() }).is_busy());
        let (ended, running) = oneshot::channel();
        drop(done);
        ended.send(Ok(())).unwrap();
        file.running = Some(running);
        file.append(b"{}\n".to_vec()).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((text.as_str(), Link::File(file).is_busy()), ("{}\n", false));
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let path = std::env::temp_dir().join(format!("crossfade-pipe-{}", std::process::id()));
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        let refused = append(&path, b"{}\n");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(refused.unwrap_err().to_string(), "it is not a regular file");
        assert!(append(Path::new("/dev/null"), b"{}\n").is_err());
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
