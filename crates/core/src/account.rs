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

/// Who can sign in to the Console with a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Passwords {
    /// Everyone who has one.
    Everyone,
    /// Only Owners that are kept for the case that no provider works.
    BreakGlass,
}

impl Passwords {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Everyone, Self::BreakGlass];

    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::BreakGlass => "break_glass",
        }
    }

    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
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
