//! The error type of the use cases: a problem for the principal, and its cause for the log.

use crossfade_core::{Code, Problem};
use crossfade_store::{Fault, StoreError};

/// A use case was refused or failed.
#[derive(Debug)]
pub struct Error {
    /// The problem, as it is sent.
    pub problem: Problem,
    /// Cause for the log. Never leaves the server.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Whether the object exists but the principal is not permitted to know that. For the trail; on the wire it looks
    /// like a missing object.
    pub(crate) hidden: bool,
    /// Kind of database failure; `None` if the database did not fail.
    pub(crate) fault: Option<Fault>,
}

impl Error {
    /// Returns an internal error. The response has no details.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let problem = Problem::new(
            Code::Internal,
            "The server encountered an internal error. Nothing was changed. See the server log.",
        );
        Self { source: Some(source.into()), ..problem.into() }
    }

    /// Returns the error for an existing object that the principal cannot read.
    pub(crate) fn hidden() -> Self {
        Self { hidden: true, ..Problem::not_found().into() }
    }
}

impl Error {
    /// Whether another server has served the database since this one got the lock.
    pub(crate) fn is_superseded(&self) -> bool {
        matches!(self.store(), Some(StoreError::Superseded))
    }

    /// Whether the database refused the data, and would refuse it again.
    pub(crate) fn is_refusal_of_data(&self) -> bool {
        self.store().is_some_and(StoreError::is_refusal_of_data)
    }

    /// Whether a stored row cannot be read, and could not be read again.
    pub(crate) fn is_corrupt(&self) -> bool {
        matches!(self.store(), Some(StoreError::Corrupt { .. }))
    }

    fn store(&self) -> Option<&StoreError> {
        self.source.as_ref()?.downcast_ref()
    }

    /// Whether the error is about the input, so that other input can help. A form is then shown again.
    pub fn is_about_input(&self) -> bool {
        matches!(self.problem.code.status(), 409 | 412 | 422)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self { problem, source: None, hidden: false, fault: None }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let problem = match &error {
            StoreError::OutcomeUnknown(_) => Problem::new(
                Code::OutcomeUnknown,
                "The change was sent to the database, but its outcome is unknown. Read the current state \
                before you retry. A retry with the same Idempotency-Key does not repeat the change.",
            ),
            StoreError::Duplicate => Problem::new(
                Code::NameTaken,
                "Another request has just created something with this name. Nothing was changed. Choose \
                another name.",
            ),
            StoreError::Unstorable => Problem::new(
                Code::InvalidQuery,
                "The request contains the character U+0000, which cannot be stored. Nothing was changed. \
                Remove the character.",
            ),
            StoreError::Superseded => Problem::new(
                Code::Unavailable,
                "Another server has used this database since then, so this server must not change it. \
                Nothing was changed. Try again.",
            ),
            StoreError::WentBack => Problem::new(
                Code::Unavailable,
                "The database has lost changes, probably in a failover, and this server is reloading it. \
                Nothing was changed. Try again.",
            ),
            StoreError::Replaced(_) => Problem::new(
                Code::Unavailable,
                "A file of the database was replaced or removed, and this server is stopping. Nothing was \
                changed. Try again when the server is running again.",
            ),
            StoreError::Elsewhere(_) => Problem::new(
                Code::Unavailable,
                "The database that responds does not belong to this instance. Nothing was changed. Try again \
                when the database is back.",
            ),
            StoreError::Database(_)
            | StoreError::Open(_)
            | StoreError::Busy(_)
            | StoreError::NoConnection { .. }
            | StoreError::Poisoned { .. } => unavailable(error.fault()),
            _ => return Self::internal(error),
        };
        let fault = (problem.code.status() == 503).then(|| error.fault());
        Self { source: Some(Box::new(error)), fault, ..problem.into() }
    }
}

/// Returns the problem for a failed database.
pub(crate) fn unavailable(fault: Fault) -> Problem {
    let advice = match fault {
        Fault::Full => "Free space on that disk, then try again.",
        Fault::ReadOnly => "Try again when the database accepts changes.",
        Fault::Busy | Fault::Unreachable => "Try again in a few seconds.",
        Fault::Denied => "Grant that permission in the database, then try again.",
        Fault::Failed => "Try again. The cause is in the server log.",
    };
    let (first, rest) = what_fails(fault).split_at(1);
    let text = format!("{}{rest}. Nothing was changed. {advice}", first.to_uppercase());
    Problem::new(Code::Unavailable, text)
}

/// Returns a failure of the database as part of a sentence.
pub fn what_fails(fault: Fault) -> &'static str {
    match fault {
        Fault::Full => "the database disk is full",
        Fault::ReadOnly => "the database is read-only",
        Fault::Busy => "the database is busy",
        Fault::Unreachable => "the database cannot be reached",
        Fault::Denied => "the database refuses a permission to this server's role",
        Fault::Failed => "the database failed",
    }
}

/// Returns the error for a database that a command cannot start on.
pub(crate) fn cannot_start(error: StoreError) -> Error {
    Problem::new(Code::Unavailable, sentence(&error.to_string())).into()
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_lists_every_failure_of_the_database() {
        let guide = include_str!("../../../docs/guide/operate.md");
        for fault in Fault::ALL {
            let detail = unavailable(fault).detail;
            let sentence = detail.split(" Nothing was changed.").next().unwrap();
            assert!(guide.contains(&format!("| `{sentence}` |")), "{sentence}");
        }
    }

    #[test]
    fn each_fault_of_the_database_has_a_sentence_of_its_own() {
        let said: Vec<String> = Fault::ALL.map(|fault| unavailable(fault).detail).into();
        for (at, text) in said.iter().enumerate() {
            assert!(text.starts_with("The d") && text.contains(". Nothing was changed. "), "{text}");
            assert!(!said[..at].contains(text), "{text}");
        }
        assert_eq!(
            unavailable(Fault::Full).detail,
            "The database disk is full. Nothing was changed. Free space on that disk, then try again."
        );
    }

    #[test]
    fn a_poisoned_transaction_is_answered_as_its_first_failure() {
        let error = Error::from(StoreError::Poisoned { fault: Fault::Full, cause: "SQLSTATE 53100".into() });
        assert_eq!(error.problem, unavailable(Fault::Full));
        assert!(error.source.is_some_and(|source| source.to_string().contains("53100")));
    }
}
