//! A receiver of webhooks inside a test: it takes every delivery, or answers as it is told.

use crate::listener::Listener;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What the receiver has taken, and how it answers.
#[derive(Default)]
struct State {
    taken: Vec<Delivery>,
    /// The next answers; then it takes everything.
    answers: VecDeque<String>,
    /// Whether it never answers.
    is_silent: bool,
    /// Whether it keeps its answers back.
    is_held: bool,
}

/// A delivery that was taken.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Delivery {
    /// Returns the body.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the type of the event.
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Whether the library of Standard Webhooks signs the delivery alike. It verifies only near the machine's time, which is
    /// not that of the test.
    pub fn is_verified_by(&self, secret: &str) -> bool {
        let time = self.headers["webhook-timestamp"].parse().unwrap();
        let library = standardwebhooks::Webhook::new(secret).unwrap();
        let signed = library.sign(self.id(), time, self.body.as_bytes()).unwrap();
        self.headers["webhook-signature"].split(' ').any(|one| one == signed)
    }

    /// Returns the number of signatures by this secret, and of all.
    pub fn signatures_by(&self, secret: &str) -> (usize, usize) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        assert!((24..=64).contains(&key.len()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
        let content = format!("{}.{}.{}", self.id(), self.headers["webhook-timestamp"], self.body);
        let own = format!("v1,{}", STANDARD.encode(aws_lc_rs::hmac::sign(&key, content.as_bytes())));
        let all: Vec<&str> = self.headers["webhook-signature"].split(' ').collect();
        (all.iter().filter(|one| **one == own).count(), all.len())
    }
}

/// A receiver on a port of its own, until the test ends.
pub struct Receiver {
    listener: Listener<State>,
}

impl Receiver {
    pub async fn start() -> Self {
        Self { listener: Listener::start(receive).await }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.listener.port)
    }

    /// Returns what was sent since the last call.
    pub fn take(&self) -> Vec<Delivery> {
        self.listener.with(|state| std::mem::take(&mut state.taken))
    }

    /// Answers the next deliveries with these statuses and headers, such as `503` or `302\r\nlocation: …`.
    pub fn answer(&self, answers: &[&str]) {
        let answers = answers.iter().map(|answer| (*answer).to_owned());
        self.listener.with(|state| state.answers.extend(answers));
    }

    /// Keeps all answers back, or gives them.
    pub fn set_held(&self, is_held: bool) {
        self.listener.with(|state| state.is_held = is_held);
    }

    /// Waits until so many deliveries were sent since the last [`Self::take`], for a minute at most.
    pub async fn wait_for(&self, number: usize) {
        let arrived = async {
            while self.listener.with(|state| state.taken.len()) < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), arrived).await.expect("deliveries");
    }

    pub fn set_silent(&self, is_silent: bool) {
        self.listener.with(|state| state.is_silent = is_silent);
    }
}

async fn receive(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
    let (head, length) = loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => read.extend_from_slice(&chunk[..length]),
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.unwrap_or(0);
            if body.len() >= length {
                break (text.clone(), length);
            }
        }
    };
    let (head, body) = head.split_once("\r\n\r\n").unwrap();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let (answer, is_silent) = {
        let mut state = state.lock().unwrap();
        state.taken.push(Delivery { headers, body: body[..length].to_owned() });
        (state.answers.pop_front().unwrap_or_else(|| "204".to_owned()), state.is_silent)
    };
    while state.lock().unwrap().is_held {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if is_silent {
        // Until the other side gives up.
        let _ = stream.read(&mut chunk).await;
        return;
    }
    let (status, more) = answer.split_once("\r\n").unwrap_or((&answer, ""));
    let more = if more.is_empty() { String::new() } else { format!("{more}\r\n") };
    let _ = stream
        .write_all(format!("HTTP/1.1 {status} Answer\r\n{more}content-length: 0\r\n\r\n").as_bytes())
        .await;
}
