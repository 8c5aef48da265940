//! A stop drops no request: what has been begun is answered, and what comes later is not begun.

use crate::start::{Data, Running, is_serving};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::Duration,
};
use tokio::time::Instant;

fn address_of(server: &mut Running) -> String {
    let said = is_serving(server);
    said.lines().last().unwrap().trim_end_matches('.').rsplit(' ').next().unwrap().to_owned()
}

fn signal(server: &Running, name: &str) {
    let pid = server.0.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// Asks on a connection of its own, and returns the first line of the answer.
fn ask(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    match text.lines().next() {
        Some(line) => Ok(format!("{line} {}", text.lines().last().unwrap_or_default())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Asks until the listener is closed. Returns how many requests were answered, and what else became of one while the
/// listener was open.
fn ask_until_closed(address: &str) -> (u32, Vec<String>) {
    let (mut answered, mut failures) = (0, Vec::new());
    loop {
        match ask(address, "/env/production/oauth2/jwks") {
            Ok(line) if line.starts_with("HTTP/1.1 200") => answered += 1,
            Ok(line) => failures.push(line),
            // It was closing: nobody is let in any more.
            Err(_) if TcpStream::connect(address).is_err() => return (answered, failures),
            Err(error) => failures.push(error.to_string()),
        }
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Reads up to the end of the headers and the body that they announce.
fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..read]);
        let so_far = String::from_utf8_lossy(&text).to_lowercase();
        let length = so_far
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
        let body = so_far.find("\r\n\r\n").map(|at| so_far.len() - at - 4);
        if read == 0 || matches!((length, body), (Some(length), Some(body)) if body >= length) {
            return String::from_utf8(text).unwrap();
        }
    }
}

#[test]
fn a_request_that_has_begun_is_answered_after_the_signal() {
    let data = Data::new();
    let mut server = data.serve(&["--drain-seconds", "0"]);
    let address = address_of(&mut server);
    // A token request of which half the body is on its way, and an idle connection that is kept alive.
    let body = "grant_type=client_credentials&client_id=nobody&client_secret=nothing";
    let mut begun = connect(&address);
    let head = format!(
        "POST /env/production/oauth2/token HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    begun.write_all(head.as_bytes()).unwrap();
    begun.write_all(&body.as_bytes()[..20]).unwrap();
    let mut idle = connect(&address);
    idle.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    assert!(answer(&mut idle).starts_with("HTTP/1.1 200"));
    signal(&server, "-TERM");
    // The listener closes at once; nobody new is let in to be dropped.
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }
    begun.write_all(&body.as_bytes()[20..]).unwrap();
    let answer = answer(&mut begun);
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("invalid_client"), "{answer}");
    assert!(server.wait().success(), "a stop that was asked for is a success");
}

#[test]
fn a_drain_fails_readyz_and_no_request_until_the_listener_closes() {
    let data = Data::new();
    let mut server = data.serve(&["--drain-seconds", "3"]);
    let address = address_of(&mut server);
    let loads: Vec<_> = (0..3)
        .map(|_| {
            let address = address.clone();
            thread::spawn(move || ask_until_closed(&address))
        })
        .collect();
    assert!(ask(&address, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
    let mut kept = connect(&address);
    let health = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    kept.write_all(health.as_bytes()).unwrap();
    assert!(!answer(&mut kept).to_lowercase().contains("connection: close"));
    let begun = Instant::now();
    signal(&server, "-TERM");
    let not_ready = (0..1000).map(|_| ask(&address, "/readyz").unwrap()).find(|line| line.contains("503"));
    assert!(not_ready.unwrap().ends_with("not ready: the server is stopping"));
    kept.write_all(health.as_bytes()).unwrap();
    let last = answer(&mut kept).to_lowercase();
    assert!(last.starts_with("http/1.1 200") && last.contains("connection: close"), "{last}");
    assert!(begun.elapsed() < Duration::from_secs(3), "readiness fails first");
    for load in loads {
        let (answered, failures) = load.join().unwrap();
        assert!(failures.is_empty(), "{answered} were answered, and then: {failures:?}");
        assert!(answered > 10, "{answered}");
    }
    assert!(begun.elapsed() >= Duration::from_secs(3), "the listener closed after {:?}", begun.elapsed());
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_ends_the_drain() {
    for second in ["-TERM", "-INT"] {
        let data = Data::new();
        let mut server = data.serve(&["--drain-seconds", "600"]);
        let address = address_of(&mut server);
        signal(&server, "-TERM");
        while ask(&address, "/readyz").unwrap().contains("200") {
            thread::yield_now();
        }
        signal(&server, second);
        assert!(server.wait().success(), "{second}");
    }
}

#[test]
fn an_interrupt_does_not_drain() {
    for name in ["-INT", "-QUIT"] {
        let data = Data::new();
        let mut server = data.serve(&["--drain-seconds", "600"]);
        is_serving(&mut server);
        signal(&server, name);
        assert!(server.wait().success(), "{name}");
    }
}
