//! Why a message was not sent, in words for an operator.

use crossfade_core::secret::looks_like_secret;
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

/// Whether a server answered the beginning of TLS with something else, such as a greeting.
pub(super) fn is_answer_without_tls(error: &smtp::Error) -> bool {
    describe(error).contains("InvalidContentType")
}

/// Returns what a server said, or what failed, in one line.
fn describe(error: &smtp::Error) -> String {
    let code = error.status().map(|code| code.to_string());
    let mut causes = Vec::new();
    let mut source = error.source();
    if code.is_none() && source.is_none() {
        causes.push(error.to_string());
    }
    while let Some(error) = source {
        causes.push(error.to_string());
        source = error.source();
    }
    let said: Vec<String> = code.clone().into_iter().chain(once_each(causes)).collect();
    without_secrets(&said.join(" "), code)
}

/// Leaves out each cause that another one already contains, as those of TLS do.
fn once_each(causes: Vec<String>) -> Vec<String> {
    let is_said_by = |index: usize, other: usize| {
        let (cause, by): (&String, &String) = (&causes[index], &causes[other]);
        // Of equal ones the first is kept.
        by.contains(cause.as_str()) && (by.len() > cause.len() || other < index)
    };
    let kept = |index: &usize| !(0..causes.len()).any(|other| other != *index && is_said_by(*index, other));
    (0..causes.len()).filter(kept).map(|index| causes[index].clone()).collect()
}

/// Returns what a server said in one line, or its code alone if it quotes a one-time link or a secret of the message.
fn without_secrets(said: &str, code: Option<String>) -> String {
    // A link can be broken over lines, as in quoted-printable.
    let joined: String = said.chars().filter(|c| !c.is_whitespace() && *c != '=').collect();
    if looks_like_secret(said) || looks_like_secret(&joined) || joined.contains("/console/link") {
        let what = "(the mail server quoted a link or a secret, so its words are left out)";
        return code.map_or_else(|| what.to_owned(), |code| format!("{code} {what}"));
    }
    super::letter::one_line(said, MAX_SAID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::{
        Random,
        secret::{SecretKind, SecretValue},
    };

    struct Fixed;

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_cause_that_another_one_contains_is_said_once() {
        let said = |causes: &[&str]| once_each(causes.iter().map(|it| (*it).to_owned()).collect()).join(" ");
        let tls = "invalid peer certificate: UnknownIssuer";
        assert_eq!(said(&["UnknownIssuer", tls]), tls);
        assert_eq!(said(&[tls, "UnknownIssuer"]), tls);
        assert_eq!(said(&[tls, tls]), tls);
        assert_eq!(
            said(&["connection error", "refused (os error 111)"]),
            "connection error refused (os error 111)"
        );
        assert_eq!(said(&[]), "");
    }

    #[test]
    fn a_server_that_quotes_the_link_of_a_message_does_not_bring_it_to_the_log() {
        let value = SecretValue::generate(SecretKind::Link, &Fixed);
        let value = value.reveal();
        let (start, end) = value.split_at(20);
        for quoted in [
            format!("rejected: https://auth.example.com/console/link#{value}"),
            format!("spam ({value})"),
            format!("spam ({start}=\r\n{end})"),
            "see https://auth.example.com/console/li=\r\nnk#".to_owned(),
        ] {
            let said = without_secrets(&quoted, Some("554".into()));
            assert!(said.starts_with("554 (the mail server quoted"), "{said}");
            assert!(!said.contains(start) && !said.contains(end), "{said}");
        }
        assert_eq!(without_secrets("554 no\r\nthanks", Some("554".into())), "554 no thanks");
    }
}
