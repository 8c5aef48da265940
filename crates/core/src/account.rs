//! Accounts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether an account belongs to a person or a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    /// A person, who signs in with an email address and a password.
    Person,
    /// A program, which has only API tokens.
    Program,
}

impl UserKind {
    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Program => "program",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Person, Self::Program].into_iter().find(|kind| kind.as_str() == text)
    }
}
