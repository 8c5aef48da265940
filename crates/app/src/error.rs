//! The one error of the use cases: what the caller reads, and for the log what lies behind it.

use crossfade_core::{Code, Problem};
use crossfade_store::StoreError;

/// A use case was refused or failed.
#[derive(Debug)]
pub struct Error {
    /// What the caller reads.
    pub problem: Problem,
    /// What the log reads. Never leaves the server.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Whether something is there that the caller may not know of. For the trail; on the wire it is as if there
    /// were nothing.
    pub(crate) hidden: bool,
}

impl Error {
    /// Something that should not happen; the caller learns only that.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let problem = Problem::new(
            Code::Internal,
            "Something went wrong in the server. Nothing was changed; its log says more.",
        );
        Self { problem, source: Some(source.into()), hidden: false }
    }

    /// The answer to whoever asks for what is there and not theirs to read.
    pub(crate) fn hidden() -> Self {
        Self { problem: Problem::not_found(), source: None, hidden: true }
    }
}

impl Error {
    /// Whether it is about what was asked for, so that asking for something else can help: a form is then shown again.
    pub fn is_about_input(&self) -> bool {
        matches!(self.problem.code.status(), 409 | 412 | 422)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self { problem, source: None, hidden: false }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let problem = match &error {
            StoreError::OutcomeUnknown(_) => Problem::new(
                Code::OutcomeUnknown,
                "The change was sent to the database and its outcome is not known. Read the state before you try again; with the same Idempotency-Key a retry changes nothing twice.",
            ),
            StoreError::Duplicate => Problem::new(
                Code::NameTaken,
                "Something of this name was created at the same moment. Nothing was changed.",
            ),
            StoreError::Database(_) | StoreError::Open(_) => Problem::new(
                Code::Unavailable,
                "The database cannot be reached right now. Nothing was changed. Try again.",
            ),
            _ => return Self::internal(error),
        };
        Self { problem, source: Some(Box::new(error)), hidden: false }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.problem),
            None => self.problem.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
