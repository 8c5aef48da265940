//! How a command fails: a sentence on stderr, and an exit status that scripts can rely on.

use crossfade_core::{Code, Problem, problem::ProblemDocument};
use std::{io::Write, process::ExitCode};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    sentence: String,
}

impl Failure {
    /// Refused or failed.
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Self { status: 1, sentence: sentence.into() }
    }

    /// Used in a wrong way.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self { status: 2, sentence: sentence.into() }
    }

    /// Not found.
    pub(crate) fn not_found(sentence: impl Into<String>) -> Self {
        Self { status: 3, sentence: sentence.into() }
    }

    /// Not possible as things stand.
    pub(crate) fn conflict(sentence: impl Into<String>) -> Self {
        Self { status: 5, sentence: sentence.into() }
    }

    /// What a server answered. Its own sentence, and its code for whoever searches for it.
    pub(crate) fn answered(document: &ProblemDocument) -> Self {
        let status = match document.status {
            404 => 3,
            401 | 403 => 4,
            409 | 412 => 5,
            _ => 1,
        };
        Self { status, sentence: format!("{} [{}]", document.detail, document.code) }
    }

    /// What happened, for people.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Says it, and tells the status to exit with.
    pub(crate) fn exit(self) -> ExitCode {
        // Where nobody listens on stderr the status still tells.
        let _ = writeln!(std::io::stderr(), "crossfade: {}", self.sentence);
        ExitCode::from(self.status)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let sentence = problem.detail.clone();
        match problem.code {
            Code::NotFound => Self::not_found(sentence),
            code if code.status() == 409 => Self { status: 5, sentence },
            _ => Self::failed(sentence),
        }
    }
}

impl From<crossfade_app::Error> for Failure {
    fn from(error: crossfade_app::Error) -> Self {
        match error.source {
            Some(source) => Self::failed(format!("{} ({source})", error.problem.detail)),
            None => error.problem.into(),
        }
    }
}
