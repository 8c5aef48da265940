//! The envelope of a change, and how its body is read.

use crate::{caller::Caller, idempotency::IdempotencyKey};
use crossfade_core::{Code, Problem};
use serde::de::DeserializeOwned;

/// Of what has no version, such as a list that something is added to: no tag can match it (RFC 9110 §13.1.1).
pub(crate) const NO_VERSION: i64 = 0;

/// The envelope of a change.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// Makes a repetition harmless.
    pub idempotency: Option<&'a IdempotencyKey>,
    /// The version that the caller has read, if it must still be that.
    pub if_match: Option<i64>,
}

/// The input of an operation: JSON that is read only after the caller has been authorised, because what is
/// wrong with a body is nobody's business who may not send it; or a value made by a form.
#[derive(Clone, Debug)]
pub enum Input<'a, T> {
    /// A JSON text.
    Json(&'a [u8]),
    /// A value.
    Value(T),
}

impl<T: DeserializeOwned> Input<'_, T> {
    /// The same for a body whose only number is a member with a problem of its own: a number beyond all floats
    /// is refused before it is known which member holds it.
    pub(crate) fn read_with(self, number_out_of_range: Problem) -> Result<T, Problem> {
        match &self {
            Self::Json(text) => match serde_json::from_slice::<serde_json::Value>(text) {
                Err(error) if error.to_string().starts_with("number out of range") => {
                    Err(number_out_of_range)
                }
                _ => self.read(),
            },
            Self::Value(_) => self.read(),
        }
    }

    pub(crate) fn read(self) -> Result<T, Problem> {
        match self {
            Self::Value(value) => Ok(value),
            // serde would read an array as the members in order.
            Self::Json(text) if text.trim_ascii_start().first() != Some(&b'{') => {
                Err(Problem::new(Code::InvalidBody, "The body must be a JSON object. Nothing was changed."))
            }
            Self::Json(text) => serde_json::from_slice(text).map_err(|error| body_problem(&error)),
        }
    }
}

/// What serde found, as a sentence. It names the member where serde does.
fn body_problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    // A value may be a secret that was sent to the wrong place; names of members and of types may be shown.
    let names_member =
        ["unknown field", "missing field", "duplicate field"].iter().any(|it| what.starts_with(it))
            && !crossfade_core::secret::looks_like_secret(what);
    let shown = if names_member { what } else { "a member has the wrong type or form" };
    let problem = Problem::new(
        Code::InvalidBody,
        format!("The body is not what this operation takes: {shown}. Nothing was changed."),
    );
    match what.split('`').nth(1) {
        // It goes into the trail, so only what looks like the name of a member.
        Some(member)
            if names_member
                && member.len() <= 64
                && member.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) =>
        {
            problem.with_field(member)
        }
        _ => problem,
    }
}
