//! Floods of connections that want to keep a server busy.

use crate::{
    Failure,
    wire::{Dialer, Http, Wire},
};
use rustix::process::nice;
use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    task::JoinSet,
};

/// Number of addresses that a flood comes from. Each may open a quarter of all connections.
const SOURCES: usize = 10;
/// Number of connections that are opened at the same time.
const OPENING: usize = 64;
/// Time limit for opening all connections.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// Pause of a connection between two bytes.
const SLOWLY: Duration = Duration::from_secs(1);
/// A large document, for responses that are not read.
const DOCUMENT: &str = "/api/openapi.json";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the connections of a flood do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flood {
    /// Ask once and stay.
    Idle,
    /// Send a handshake byte by byte; without TLS, the preface of HTTP/2.
    Handshakes,
    /// Send a head byte by byte.
    Heads,
    /// Send a body byte by byte.
    Bodies,
    /// Ask for much and read nothing.
    Unread,
    /// Reset requests of HTTP/2 as fast as possible.
    Resets,
}

impl Flood {
    pub(crate) const ALL: [Self; 6] =
        [Self::Idle, Self::Handshakes, Self::Heads, Self::Bodies, Self::Unread, Self::Resets];

    /// Number of connections.
    pub(crate) fn connections(self) -> usize {
        match self {
            Self::Idle => 5_000,
            Self::Handshakes | Self::Heads | Self::Bodies => 1_000,
            Self::Unread => 100,
            Self::Resets => 4,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle connections",
            Self::Handshakes => "slow handshakes",
            Self::Heads => "slow heads",
            Self::Bodies => "slow bodies",
            Self::Unread => "unread responses",
            Self::Resets => "HTTP/2 resets",
        }
    }
}

/// Running floods, ended by [`Running::end`].
pub(crate) struct Running {
    over: watch::Sender<bool>,
    thread: JoinHandle<Result<(), Failure>>,
    opened: Arc<AtomicU64>,
}

impl Running {
    /// Starts floods in a thread of their own, and waits until each connection has been open once.
    pub(crate) async fn start(dialer: &Dialer, floods: &[Flood]) -> Result<Self, Failure> {
        let (over, until) = watch::channel(false);
        let opened = Arc::new(AtomicU64::new(0));
        let (dialer, floods, counter) = (dialer.clone(), floods.to_vec(), opened.clone());
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            // On Linux this concerns the thread alone. The honest caller must not wait for the flood's CPU time.
            nice(15)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(dialer, floods, counter, until, ready))
        });
        let running = Self { over, thread, opened };
        match tokio::time::timeout(OPEN_WITHIN, is_ready).await {
            Ok(Ok(())) => Ok(running),
            _ => running.end().and_then(|_| Err("a flood could not be opened".into())),
        }
    }

    /// Ends the floods. Returns the number of connections that were opened.
    pub(crate) fn end(self) -> Result<u64, Failure> {
        let _ = self.over.send(true);
        self.thread.join().map_err(|_| "a flood panicked")??;
        Ok(self.opened.load(Ordering::Relaxed))
    }
}

async fn run(
    dialer: Dialer,
    floods: Vec<Flood>,
    opened: Arc<AtomicU64>,
    mut until: watch::Receiver<bool>,
    ready: tokio::sync::oneshot::Sender<()>,
) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    let room = Arc::new(tokio::sync::Semaphore::new(OPENING));
    let (first, mut all_open) = tokio::sync::mpsc::channel::<()>(1);
    for flood in floods {
        for number in 0..flood.connections() {
            let caller = Caller {
                flood,
                from: Ipv4Addr::new(127, 0, 0, 2 + (number % SOURCES) as u8),
                // Half of the unread responses are streams without a window.
                http: match (flood, number % 2) {
                    (Flood::Resets, _) | (Flood::Unread, 1) => Http::Two,
                    _ => Http::One,
                },
                dialer: dialer.clone(),
                opened: opened.clone(),
            };
            tasks.spawn(keep(caller, room.clone(), first.clone()));
        }
    }
    drop(first);
    let opened_once = async {
        all_open.recv().await;
        let _ = ready.send(());
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = opened_once => {}
        _ = until.wait_for(|is_over| *is_over) => {}
    }
    Ok(())
}

/// One connection of a flood, opened again whenever the server closes it.
struct Caller {
    flood: Flood,
    from: Ipv4Addr,
    http: Http,
    dialer: Dialer,
    opened: Arc<AtomicU64>,
}

async fn keep(
    caller: Caller,
    room: Arc<tokio::sync::Semaphore>,
    first: tokio::sync::mpsc::Sender<()>,
) -> Result<(), Failure> {
    let mut first = Some(first);
    loop {
        let opened = {
            let _place = room.acquire().await?;
            caller.open().await
        };
        if let Ok(wire) = opened {
            caller.opened.fetch_add(1, Ordering::Relaxed);
            drop(first.take());
            let _ = caller.stay(wire).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Caller {
    /// Opens the connection and begins what it does.
    async fn open(&self) -> io::Result<Wire> {
        let received = (self.flood == Flood::Unread).then_some(4096);
        let stream = self.dialer.tcp(self.from, received).await?;
        if self.flood == Flood::Handshakes {
            let mut wire = Wire::Plain(stream);
            // A record of TLS 1.2 with the beginning of a ClientHello (RFC 8446 §4.1.2).
            let begun: &[u8] =
                if self.dialer.is_encrypted() { &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3] } else { b"P" };
            wire.write_all(begun).await?;
            return Ok(wire);
        }
        let mut wire = self.dialer.shake(stream, self.http).await?;
        let begun = match (self.flood, self.http) {
            (Flood::Idle, _) => b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            (Flood::Heads, _) => b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ".to_vec(),
            (Flood::Bodies, _) => {
                b"POST /env/production/oauth2/token HTTP/1.1\r\nhost: a\r\ncontent-length: 4000\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\nx="
                    .to_vec()
            }
            (Flood::Unread, Http::One) => {
                format!("GET {DOCUMENT} HTTP/1.1\r\nhost: a\r\n\r\n").repeat(20).into_bytes()
            }
            (Flood::Unread, Http::Two) => {
                // SETTINGS_INITIAL_WINDOW_SIZE is 0 (RFC 9113 §6.9.2).
                let mut bytes = [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
                (0..32).for_each(|number| bytes.extend(self.get(1 + 2 * number, DOCUMENT)));
                bytes
            }
            (Flood::Resets | Flood::Handshakes, _) => [PREFACE, &frame(4, 0, 0, &[])].concat(),
        };
        wire.write_all(&begun).await?;
        wire.flush().await?;
        if self.flood == Flood::Idle && wire.read(&mut [0; 4096]).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(wire)
    }

    /// Goes on until the server closes the connection.
    async fn stay(&self, wire: Wire) -> io::Result<()> {
        match self.flood {
            Flood::Idle => drain(wire).await,
            Flood::Handshakes => drip(wire, if self.dialer.is_encrypted() { 0 } else { b'R' }).await,
            Flood::Heads | Flood::Bodies => drip(wire, b'x').await,
            Flood::Unread => {
                std::future::pending::<()>().await;
                drop(wire);
                Ok(())
            }
            Flood::Resets => self.reset(wire).await,
        }
    }

    /// Gives up each request as soon as it is made. What the server sends is read, so that it can go on.
    async fn reset(&self, wire: Wire) -> io::Result<()> {
        let (reading, mut writing) = tokio::io::split(wire);
        let flood = async {
            for batch in 0u32.. {
                let mut bytes = Vec::new();
                for number in 0..100 {
                    let stream = 1 + 2 * (batch * 100 + number);
                    bytes.extend(self.get(stream, "/console/sign-in"));
                    bytes.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
                }
                writing.write_all(&bytes).await?;
                writing.flush().await?;
            }
            Ok(())
        };
        tokio::select! {
            done = flood => done,
            done = drain(reading) => done,
        }
    }

    /// Returns a request of HTTP/2 (RFC 7541 §6).
    fn get(&self, stream: u32, path: &str) -> Vec<u8> {
        let scheme = if self.dialer.is_encrypted() { 0x87 } else { 0x86 };
        let mut block = vec![0x82, scheme, 4, path.len() as u8];
        block.extend_from_slice(path.as_bytes());
        block.extend_from_slice(&[1, 1, b'a']);
        // END_STREAM and END_HEADERS.
        frame(1, 5, stream, &block)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Reads until the server closes the connection.
async fn drain(mut wire: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while wire.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Sends a byte each second until the server closes the connection.
async fn drip(mut wire: impl AsyncRead + AsyncWrite + Unpin, byte: u8) -> io::Result<()> {
    let mut buffer = [0; 512];
    loop {
        tokio::select! {
            read = wire.read(&mut buffer) => if read? == 0 { return Ok(()) },
            () = tokio::time::sleep(SLOWLY) => {}
        }
        wire.write_all(&[byte]).await?;
        wire.flush().await?;
    }
}
