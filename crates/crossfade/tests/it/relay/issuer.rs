//! An issuer inside a test: it has one client secret, records every request, and answers as it is told.

use crate::listener::Listener;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Default)]
struct State {
    /// Requests, each as it arrived.
    seen: Vec<String>,
    /// Secret of every client.
    secret: String,
    /// The answer to a wrong secret; `None` for that of RFC 6749.
    refusal: Option<String>,
    /// The next answers to requests that are authenticated; then it gives tokens.
    answers: VecDeque<String>,
    /// Whether it keeps its answers back.
    is_held: bool,
    /// Whether it takes any secret.
    takes_any: bool,
    /// Whether it decodes what is in `Basic` (RFC 6749 §2.3.1).
    decodes: bool,
}

/// An issuer on a port of its own, until the test ends.
pub struct Issuer {
    listener: Listener<State>,
}

pub const TOKEN: &str = r#"{"access_token":"of-the-issuer","token_type":"Bearer","expires_in":60}"#;

impl Issuer {
    pub async fn start(secret: &str) -> Self {
        let issuer = Self { listener: Listener::start(serve).await };
        issuer.set_secret(secret);
        issuer
    }

    pub fn set_secret(&self, secret: &str) {
        self.listener.with(|state| state.secret = secret.to_owned());
    }

    /// Takes any secret, or only the right one.
    pub fn take_any(&self, takes_any: bool) {
        self.listener.with(|state| state.takes_any = takes_any);
    }

    /// Decodes what is in `Basic` from now on.
    pub fn decode_basic(&self) {
        self.listener.with(|state| state.decodes = true);
    }

    /// Answers a wrong secret with this text from now on.
    pub fn refuse_with(&self, text: &str) {
        self.listener.with(|state| state.refusal = Some(text.to_owned()));
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.listener.port)
    }

    /// Returns what was sent since the last call.
    pub fn take(&self) -> Vec<String> {
        self.listener.with(|state| std::mem::take(&mut state.seen))
    }

    /// Answers the next authenticated request with this text.
    pub fn answer(&self, text: &str) {
        self.listener.with(|state| state.answers.push_back(text.to_owned()));
    }

    /// Keeps all answers back, or gives them.
    pub fn set_held(&self, is_held: bool) {
        self.listener.with(|state| state.is_held = is_held);
    }

    /// Waits until this number of requests was sent since the last [`Self::take`].
    pub async fn wait_for(&self, number: usize) {
        let arrived = async {
            while self.listener.with(|state| state.seen.len()) < number {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), arrived).await.expect("requests");
    }
}

/// Returns an answer in JSON.
pub fn json(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nset-cookie: canary\r\nx-request-id: of-the-issuer\r\n\
        content-length: {length}\r\n\r\n{body}"
    )
}

/// Decodes a form.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        let (code, rest) = part.split_at(2);
        decoded.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        decoded.push_str(&rest.replace('+', " "));
    }
    decoded
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let (mut read, mut chunk) = (Vec::new(), [0; 65_536]);
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        let complete = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            body.len() >= length.unwrap_or(0)
        });
        if !complete {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&chunk[..length]),
            }
            continue;
        }
        read.clear();
        let answer = {
            let mut state = state.lock().unwrap();
            state.seen.push(text.clone());
            let secret = format!(":{}", state.secret);
            let basic = text.lines().find_map(|line| line.strip_prefix("authorization: Basic "));
            let credentials = basic.and_then(|basic| STANDARD.decode(basic).ok()).unwrap_or_default();
            let credentials = String::from_utf8_lossy(&credentials).into_owned();
            let credentials = if state.decodes { decoded(&credentials) } else { credentials };
            let is_right = state.takes_any
                || credentials.ends_with(&secret)
                || text.ends_with(&format!("client_secret={}", state.secret));
            match is_right {
                true => state.answers.pop_front().unwrap_or_else(|| json(200, TOKEN)),
                false => state.refusal.clone().unwrap_or_else(|| json(401, r#"{"error":"invalid_client"}"#)),
            }
        };
        while state.lock().unwrap().is_held {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
