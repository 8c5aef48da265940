//! The end of a browser's way back: a port of this machine on which the command line waits for its code (RFC 8252
//! §7.3).

use crate::failure::Failure;
use crossfade_app::code_challenge;
use crossfade_core::login::LoginCode;
use reqwest::Url;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

/// Maximum number of bytes of a request.
const MAX_REQUEST: usize = 16 * 1024;
/// How long a connection can take to send its request.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// Maximum number of connections that are read at a time. A browser opens some that it does not use.
const MAX_CONNECTIONS: usize = 16;

/// Style of the page that the browser shows at the end.
const STYLE: &str = ":root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif } body { margin: 20vh auto 0; max-width: 32rem; padding: 0 1rem } h1 { font-size: 1.25rem }";

/// What a browser brings.
pub(super) enum Brought {
    /// The code: the person approved.
    Code(LoginCode),
    /// The person cancelled.
    Refusal,
}

/// A port that waits for a code.
pub(super) struct Waiting {
    listener: TcpListener,
    /// Text by which a code for this command is recognised.
    state: String,
}

impl Waiting {
    /// Opens a port.
    pub(super) async fn open(state: String) -> Result<Self, Failure> {
        let opened = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = opened.map_err(|error| {
            Failure::failed(format!("Cannot open a port on this machine: {error}. Set --no-browser."))
        })?;
        Ok(Self { listener, state })
    }

    /// Returns the number of the port.
    pub(super) fn port(&self) -> Result<u16, Failure> {
        let address = self.listener.local_addr();
        address
            .map(|it| it.port())
            .map_err(|error| Failure::failed(format!("Cannot read the port: {error}.")))
    }

    /// Waits for a request with a code or a refusal, and the right state. Everything else gets 404.
    pub(super) async fn receive(self, within: Duration) -> Result<(Brought, Browser), Failure> {
        let state: std::sync::Arc<str> = self.state.into();
        let mut connections = JoinSet::new();
        let received = async {
            loop {
                tokio::select! {
                    accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                        let Ok((stream, _)) = accepted else { continue };
                        let state = state.clone();
                        connections.spawn(async move {
                            timeout(REQUEST_WITHIN, read(stream, &state)).await.ok().flatten()
                        });
                    }
                    ended = connections.join_next(), if !connections.is_empty() => {
                        if let Some(Ok(Some(received))) = ended {
                            return received;
                        }
                    }
                }
            }
        };
        timeout(within, received).await.map_err(|_| {
            let minutes = within.as_secs() / 60;
            Failure::failed(format!("Nobody approved the command line within {minutes} minutes. Nothing was changed. Run crossfade login again."))
        })
    }
}

/// The browser that brought a code, and waits for a page.
pub(super) struct Browser(TcpStream);

impl Browser {
    /// Sends a page with one sentence.
    pub(super) async fn answer(mut self, sentence: &str) {
        let page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Crossfade</title><style>{STYLE}</style><h1>Crossfade</h1><p>{sentence}</p></html>\n"
        );
        // The command goes on without a reader.
        let _ = respond(&mut self.0, "200 OK", &page).await;
    }
}

/// Reads a request; `None` unless it brings something with the right state.
async fn read(mut stream: TcpStream, state: &str) -> Option<(Brought, Browser)> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() >= MAX_REQUEST || stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    match brought(&request, state) {
        Some(brought) => Some((brought, Browser(stream))),
        None => {
            let _ = respond(&mut stream, "404 Not Found", "Not found.\n").await;
            None
        }
    }
}

fn brought(request: &[u8], state: &str) -> Option<Brought> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let path = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let url = Url::parse("http://127.0.0.1/").ok()?.join(path).ok()?;
    let member = |name: &str| {
        let mut values = url.query_pairs().filter(|(it, _)| it == name).map(|(_, value)| value.into_owned());
        values.next().filter(|_| values.next().is_none())
    };
    // By their digests, so that the time it takes tells another program of this machine nothing.
    let is_own = code_challenge(&member("state")?) == code_challenge(state);
    if !is_own || url.path() != "/" {
        return None;
    }
    match member("error") {
        Some(_) => Some(Brought::Refusal),
        None => LoginCode::parse(&member("code")?).map(Brought::Code),
    }
}

async fn respond(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {length}\r\ncache-control: no-store\r\ncontent-security-policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\nreferrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "abcdefghijklmnopqrstuv";

    #[test]
    fn only_a_request_with_the_own_state_brings_a_code() {
        let code = |line: &str| brought(format!("{line}\r\nHost: x\r\n\r\n").as_bytes(), STATE);
        let good = format!("GET /?code=23456789BCDF&state={STATE} HTTP/1.1");
        assert!(matches!(code(&good), Some(Brought::Code(code)) if code.reveal() == "23456789BCDF"));
        let cancelled = format!("GET /?error=access_denied&state={STATE} HTTP/1.1");
        assert!(matches!(code(&cancelled), Some(Brought::Refusal)));
        for wrong in [
            "GET / HTTP/1.1".to_owned(),
            "GET /?error=access_denied&state=abcdefghijklmnopqrstuw HTTP/1.1".to_owned(),
            "GET /?code=23456789BCDF&state=abcdefghijklmnopqrstuw HTTP/1.1".to_owned(),
            "GET /?code=23456789BCDF HTTP/1.1".to_owned(),
            format!("GET /?code=23456789BCD&state={STATE} HTTP/1.1"),
            format!("POST /?code=23456789BCDF&state={STATE} HTTP/1.1"),
            format!("GET /x?code=23456789BCDF&state={STATE} HTTP/1.1"),
            format!("GET /?code=23456789BCDF&state={STATE}&state={STATE} HTTP/1.1"),
            format!("GET /?code=23456789BCDF&code=23456789BCDF&state={STATE} HTTP/1.1"),
        ] {
            assert!(code(&wrong).is_none(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn silent_and_wrong_connections_do_not_keep_the_browser_out() {
        let waiting = Waiting::open(STATE.to_owned()).await.unwrap();
        let address = ("127.0.0.1", waiting.port().unwrap());
        let browser = async {
            let _silent =
                [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
            let mut wrong = TcpStream::connect(address).await.unwrap();
            wrong.write_all(b"GET /favicon.ico HTTP/1.1\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            wrong.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
            let mut right = TcpStream::connect(address).await.unwrap();
            let request = format!("GET /?code=23456789BCDF&state={STATE} HTTP/1.1\r\n\r\n");
            right.write_all(request.as_bytes()).await.unwrap();
            answer.clear();
            right.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let command = async {
            let (brought, browser) = waiting.receive(Duration::from_secs(60)).await.ok().unwrap();
            browser.answer("Done.").await;
            brought
        };
        let (answer, brought) = tokio::join!(browser, command);
        assert!(answer.contains("<p>Done.</p>") && answer.contains("no-store"), "{answer}");
        assert!(matches!(brought, Brought::Code(code) if code.reveal() == "23456789BCDF"));
    }
}
