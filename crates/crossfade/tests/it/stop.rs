//! A stop drops no request: what has been begun is answered, and what comes later is not begun.

use crate::start::{Data, is_serving};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

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
    let mut server = data.serve(&[]);
    let said = is_serving(&mut server);
    let address = said.lines().last().unwrap().trim_end_matches('.').rsplit(' ').next().unwrap().to_owned();
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
    let pid = server.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    // The listener closes at once; nobody new is let in to be dropped.
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }
    begun.write_all(&body.as_bytes()[20..]).unwrap();
    let answer = answer(&mut begun);
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("invalid_client"), "{answer}");
    assert!(server.wait().success(), "a stop that was asked for is a success");
}
