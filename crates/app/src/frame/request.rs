//! The envelope of a change request, and reading its body.

use crate::frame::{idempotency::IdempotencyKey, if_match::IfMatch, principal::Principal};
use crossfade_core::{Code, Problem, text::Name};
use serde::{Deserialize, de::DeserializeOwned};

/// The envelope of a change request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The account and the token of the request.
    pub principal: &'a Principal,
    /// Key that makes a repetition harmless.
    pub idempotency: Option<&'a IdempotencyKey>,
    /// Version that the principal has read and that must still be the present one.
    pub if_match: IfMatch<'a>,
    /// Whether the response does not wait until the change is in force on other nodes (RFC 7240 §4.1).
    pub responds_async: bool,
}

/// Input of an operation: JSON that is parsed only after the principal has been authorised, so that only permitted
/// principals learn what is wrong with a body; or a value created by a form.
#[derive(Clone, Debug)]
pub enum Input<'a, T> {
    /// A JSON text.
    Json(&'a [u8]),
    /// A value.
    Value(T),
}

impl<T: DeserializeOwned> Input<'_, T> {
    pub(crate) fn read(self) -> Result<T, Problem> {
        match self {
            Self::Value(value) => Ok(value),
            // serde would read an array as the members in order.
            Self::Json(text) if text.trim_ascii_start().first() != Some(&b'{') => Err(Problem::new(
                Code::InvalidBody,
                "The request body must be a JSON object. Nothing was changed.",
            )),
            Self::Json(text) => {
                let mut json = serde_json::Deserializer::from_slice(text);
                let body = serde_path_to_error::deserialize(&mut json)
                    .map_err(|error| body_problem(error.inner(), &member_of(error.path())))?;
                json.end().map_err(|error| body_problem(&error, ""))?;
                Ok(body)
            }
        }
    }
}

/// Input of an operation that takes no members. An empty object is as good as no body.
pub type NoInput<'a> = Input<'a, NoBody>;

/// A request body without members.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoBody {}

/// Input of a form that takes no members.
pub const NO_INPUT: NoInput<'static> = Input::Value(NoBody {});

impl NoInput<'_> {
    /// Refuses a body with members, because its sender expects them to have an effect.
    pub(crate) fn check(self) -> Result<(), Problem> {
        let text = "This operation takes no members in the request body. Nothing was changed. Send no body.";
        self.read().map(|NoBody {}| ()).map_err(|mut problem| {
            problem.detail = text.to_owned();
            problem
        })
    }
}

/// What the deletion of an object with a name is sent with.
#[derive(Clone, Debug)]
pub enum Deletion<'a> {
    /// The body of a request to the API, which has no members.
    Body(NoInput<'a>),
    /// The name that was typed in the Console to confirm the deletion.
    Typed(&'a str),
}

impl Deletion<'_> {
    /// Requires one of these names where a person was asked for it. `whose_name` is a text such as "the account's
    /// name".
    pub(crate) fn check(self, field: &str, names: &[&str], whose_name: &str) -> Result<(), Problem> {
        let typed = match self {
            Self::Body(input) => return input.check(),
            Self::Typed(typed) => typed,
        };
        if names.iter().any(|name| Name::from_stored((*name).to_owned()).is_typed_as(typed)) {
            return Ok(());
        }
        let text = format!("{field} must match {whose_name} exactly. Nothing was changed.");
        Err(Problem::new(Code::ConfirmationMismatch, text).with_field(field))
    }
}

/// Returns the member of the body in a path. Anything inside the member is left out.
fn member_of(path: &serde_path_to_error::Path) -> String {
    path.iter().next().map(ToString::to_string).unwrap_or_default()
}

/// Converts an error of serde to a sentence and the member at fault.
fn body_problem(error: &serde_json::Error, path: &str) -> Problem {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    // A value may be a secret that was sent to the wrong place; names of members and of types may be shown.
    let is_name = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
            && !crossfade_core::secret::looks_like_secret(text)
            && text != "."
    };
    let names_member =
        ["unknown field", "missing field", "duplicate field"].iter().any(|it| what.starts_with(it))
            && !crossfade_core::secret::looks_like_secret(what);
    // It goes into the trail, so only what looks like the name of a member.
    let (shown, member) = match what.split('`').nth(1).filter(|_| names_member) {
        Some(member) => (what.to_owned(), Some(member).filter(|it| is_name(it))),
        None if is_name(path) => (format!("{path} has the wrong type or format"), Some(path)),
        None => ("a member has the wrong type or format".to_owned(), None),
    };
    let text = format!("The request body is not valid: {shown}. Nothing was changed.");
    let problem = Problem::new(Code::InvalidBody, text);
    match member {
        Some(member) => problem.with_field(member),
        None => problem,
    }
}
