//! Why a message was not sent, in words for an operator.

use lettre::transport::smtp;
use std::error::Error;

/// Maximum length of what a server said.
const MAX_SAID: usize = 300;

/// Why a message was not sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The server cannot be used at the moment, for this message or any other.
    Server(String),
    /// The server refuses this message for now.
    Deferred(String),
    /// This message can never be sent.
    Refused(String),
}

impl Failure {
    /// Returns the reason, in one line.
    pub fn said(&self) -> &str {
        match self {
            Self::Server(said) | Self::Deferred(said) | Self::Refused(said) => said,
        }
    }

    /// Returns the failure of a step that took too long, whatever the message.
    pub(super) fn late(step: &str) -> Self {
        Self::Server(format!("the mail server did not answer in time: {step}"))
    }

    /// Returns the failure of a step that took too long with one message: others may go on.
    pub(super) fn late_with_message(step: &str) -> Self {
        Self::Deferred(format!("the mail server did not answer in time: {step}"))
    }

    /// Returns the failure of a step that concerns every message.
    pub(super) fn of_server(step: &str, error: &smtp::Error) -> Self {
        Self::Server(format!("{step}: {}", describe(error)))
    }

    /// Returns the failure of a step that concerns one message. Only a reply with a code is about the message.
    pub(super) fn of_message(step: &str, error: &smtp::Error) -> Self {
        let said = format!("{step}: {}", describe(error));
        match error {
            // Service not available: the server is closing the connection (RFC 5321 §4.2.2).
            _ if error.status().is_some_and(|code| code.to_string() == "421") => Self::Server(said),
            _ if error.is_permanent() => Self::Refused(said),
            _ if error.is_transient() => Self::Deferred(said),
            _ => Self::Server(said),
        }
    }
}

/// Returns what a server said, or what failed, in one line.
fn describe(error: &smtp::Error) -> String {
    let mut said = Vec::new();
    if let Some(code) = error.status() {
        said.push(code.to_string());
    }
    let mut source = error.source();
    if said.is_empty() && source.is_none() {
        said.push(error.to_string());
    }
    while let Some(error) = source {
        said.push(error.to_string());
        source = error.source();
    }
    said.dedup();
    super::letter::one_line(&said.join(" "), MAX_SAID)
}
