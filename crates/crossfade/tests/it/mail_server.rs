//! A mail server inside a test: it takes every message, or refuses as it is told.

use crate::listener::Listener;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// What the server has taken, and how it answers.
#[derive(Default)]
struct State {
    taken: Vec<Message>,
    /// The answer to a recipient; `None`: willing.
    refuses: Option<&'static str>,
    /// Whether it answers nothing but hangs up.
    is_down: bool,
    /// The recipient that is not answered.
    held: Option<&'static str>,
    /// Connections since the start.
    connections: u32,
}

/// A message that was taken.
#[derive(Clone, Debug)]
pub struct Message {
    pub to: String,
    pub text: String,
}

impl Message {
    /// Returns a header.
    pub fn header(&self, name: &str) -> String {
        let headers = self.text.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
        let found = headers.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_else(|| panic!("no {name} in {headers}")).to_owned()
    }
}

/// A mail server on a port of its own, until the test ends.
pub struct MailServer {
    listener: Listener<State>,
}

impl MailServer {
    pub async fn start() -> Self {
        Self { listener: Listener::start(converse).await }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.listener.port)
    }

    /// Returns a mailer that uses it.
    pub fn mailer(&self) -> Arc<crossfade_app::Mailer> {
        let server = crossfade_app::MailServer::parse(&self.url(), None, None).unwrap();
        Arc::new(crossfade_app::Mailer::new(server, "Crossfade <crossfade@example.com>").unwrap())
    }

    /// Refuses each recipient with this answer from now on.
    pub fn refuse(&self, answer: Option<&'static str>) {
        self.listener.with(|state| state.refuses = answer);
    }

    /// Hangs up on each connection from now on, or not any more.
    pub fn set_down(&self, is_down: bool) {
        self.listener.with(|state| state.is_down = is_down);
    }

    /// Does not answer this recipient from now on, or answers everyone again.
    pub fn hold(&self, recipient: Option<&'static str>) {
        self.listener.with(|state| state.held = recipient);
    }

    /// Returns the number of connections since the start.
    pub fn connections(&self) -> u32 {
        self.listener.with(|state| state.connections)
    }

    /// Returns what was taken since the last call.
    pub fn take(&self) -> Vec<Message> {
        self.listener.with(|state| std::mem::take(&mut state.taken))
    }
}

async fn converse(stream: TcpStream, state: Arc<Mutex<State>>) {
    state.lock().unwrap().connections += 1;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    let (mut to, mut text, mut is_data, mut line) = (String::new(), String::new(), false, String::new());
    let mut answer = "220 mail.example.com".to_owned();
    loop {
        if state.lock().unwrap().is_down {
            return;
        }
        if !answer.is_empty() && write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
        line.clear();
        if lines.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let said = line.trim_end_matches("\r\n");
        answer = if is_data && said == "." {
            is_data = false;
            let message = Message { to: std::mem::take(&mut to), text: std::mem::take(&mut text) };
            state.lock().unwrap().taken.push(message);
            "250 taken".to_owned()
        } else if is_data {
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
            String::new()
        } else if let Some(address) = said.strip_prefix("RCPT TO:<") {
            to = address.trim_end_matches('>').to_owned();
            while state.lock().unwrap().held == Some(to.as_str()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            state.lock().unwrap().refuses.unwrap_or("250 ok").to_owned()
        } else if said == "DATA" {
            is_data = true;
            "354 go on".to_owned()
        } else {
            "250 ok".to_owned()
        };
    }
}
