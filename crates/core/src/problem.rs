//! Refusals of the admin API: a stable code for programs, a sentence for people, and the field at fault (RFC 9457).

use crate::{
    DrillId, SecretId, Timestamp,
    api::LockedOut,
    change_over::{Verdict, Why},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal $status:literal;)+) => {
        /// The stable codes. Each has one HTTP status.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// All codes, in the order of the checks that raise them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the code as programs read it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Returns its HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// Returns what it means, in a sentence: the title of the problem.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => str::trim_start(concat!($($doc),+)),)+ }
            }
        }
    };
}

codes! {
    /// The request has no valid API token.
    Unauthenticated = "unauthenticated" 401;
    /// The request body is not valid JSON, or its content type is not application/json.
    InvalidJson = "invalid_json" 400;
    /// The request body is compressed or otherwise encoded.
    UnsupportedEncoding = "unsupported_encoding" 415;
    /// The request body is too large.
    BodyTooLarge = "body_too_large" 413;
    /// A query parameter is not valid.
    InvalidQuery = "invalid_query" 400;
    /// The resource does not exist, or you do not have access to it.
    NotFound = "not_found" 404;
    /// This resource does not support the HTTP method.
    MethodNotAllowed = "method_not_allowed" 405;
    /// You can read this resource, but you do not have permission for this action.
    Forbidden = "forbidden" 403;
    /// Your account must have a second factor, and has none.
    SecondFactorRequired = "second_factor_required" 403;
    /// The resource has changed since you read it.
    PreconditionFailed = "precondition_failed" 412;
    /// A member of the request body is missing, unknown or not valid.
    InvalidBody = "invalid_body" 422;
    /// The transition period must be a whole number of hours from 0 to 168.
    TransitionOutOfRange = "transition_out_of_range" 422;
    /// The confirmation does not match the name or slug of the resource.
    ConfirmationMismatch = "confirmation_mismatch" 422;
    /// A compromised secret must end immediately.
    CompromisedNeedsZero = "compromised_needs_zero" 422;
    /// The new deadline is outside the range allowed for this transition.
    ExtensionOutOfRange = "extension_out_of_range" 422;
    /// The idempotency key was already used for a different request.
    IdempotencyMismatch = "idempotency_mismatch" 422;
    /// A request with the same idempotency key is still running.
    IdempotencyInFlight = "idempotency_in_flight" 409;
    /// A transition is already running.
    TransitionInProgress = "transition_in_progress" 409;
    /// The current secret is not the one you expected to replace.
    RotationConflict = "rotation_conflict" 409;
    /// The secret is not retiring.
    NotRetiring = "not_retiring" 409;
    /// The newer secret is in use.
    NewerSecretInUse = "newer_secret_in_use" 409;
    /// The recorded evidence does not show that the old secret is safe to end.
    NotSafeToEnd = "not_safe_to_end" 409;
    /// The allowed networks would lock out callers that used the client's secrets.
    CallersLockedOut = "callers_locked_out" 409;
    /// The registration is disabled.
    RegistrationDisabled = "registration_disabled" 409;
    /// A drill of this secret is scheduled or running.
    DrillInProgress = "drill_in_progress" 409;
    /// The drill has already ended.
    DrillOver = "drill_over" 409;
    /// The value of this secret is not stored.
    SecretNotStored = "secret_not_stored" 409;
    /// The webhook is disabled.
    WebhookDisabled = "webhook_disabled" 409;
    /// Two secrets sign the deliveries of the webhook until the overlap ends.
    OverlapInProgress = "overlap_in_progress" 409;
    /// The name is already taken.
    NameTaken = "name_taken" 409;
    /// The instance is not in quarantine.
    NotQuarantined = "not_quarantined" 409;
    /// Mail is not held.
    MailNotHeld = "mail_not_held" 409;
    /// Mail is not set up.
    MailNotSetUp = "mail_not_set_up" 409;
    /// The user already has this role in this scope.
    AlreadyGranted = "already_granted" 409;
    /// A group of a provider gives this role.
    GivenByGroup = "given_by_group" 409;
    /// The account is a program. Programs use API tokens and have no password.
    NotAPerson = "not_a_person" 409;
    /// The environment is in front of another issuer, which decides this itself.
    NotInFrontMode = "not_in_front_mode" 409;
    /// The resource is still in use.
    InUse = "in_use" 409;
    /// An instance must have at least one Owner.
    LastOwner = "last_owner" 409;
    /// Too many requests are running.
    TooManyRequests = "too_many_requests" 429;
    /// The instance is in quarantine until an Owner releases it.
    Quarantined = "quarantined" 503;
    /// The outcome of the change is unknown. Read the current state before you retry.
    OutcomeUnknown = "outcome_unknown" 503;
    /// The server is temporarily unavailable.
    Unavailable = "unavailable" 503;
    /// The server encountered an internal error.
    Internal = "internal" 500;
}

impl Code {
    /// Parses a code, as the CLI does with a response.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

/// What a refused change says of itself.
const UNCHANGED: &str = "Nothing was changed.";

/// One refusal.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// The stable code; decides the status.
    pub code: Code,
    /// What happened, what did not change, what to do. No internals.
    pub detail: String,
    /// The member or parameter at fault.
    pub field: Option<String>,
    /// Further members, documented per code (`retiring_secret` and the like).
    pub members: Map<String, Value>,
    /// Seconds after which to try again, if that is longer than its code says.
    retry_after: Option<u64>,
}

impl Problem {
    /// Returns a problem with this sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, members: Map::new(), retry_after: None }
    }

    /// Returns `invalid_body` at `field`: "`field` `predicate`. Nothing was changed." Only for the body of a change, which
    /// has not happened.
    pub fn invalid(field: &str, predicate: &str) -> Self {
        Self::new(Code::InvalidBody, format!("{field} {predicate}. {UNCHANGED}")).with_field(field)
    }

    /// Adds advice as a whole sentence.
    pub fn advise(mut self, advice: &str) -> Self {
        self.detail = format!("{} {advice}", self.detail);
        self
    }

    /// Returns the same response for a missing object and for one that the caller is not permitted to see.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "The resource does not exist, or you do not have access to it.")
    }

    /// Sets the seconds after which to try again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Returns the seconds after which to try again; `None` if that would not help (RFC 9110 §10.2.3).
    pub fn retry_seconds(&self) -> Option<u64> {
        let is_passing = matches!(
            self.code,
            Code::TooManyRequests | Code::Unavailable | Code::OutcomeUnknown | Code::IdempotencyInFlight
        );
        self.retry_after.or(is_passing.then_some(1))
    }

    /// Names the field at fault.
    pub fn with_field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Adds a member.
    pub fn with(mut self, member: &str, value: impl Serialize) -> Self {
        self.members.insert(member.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

/// A problem as it is sent (RFC 9457 §3.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// A URI reference that identifies the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short sentence, the same for every problem of this kind.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What happened this time.
    pub detail: String,
    /// The member or parameter at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Members of this kind of problem.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

impl schemars::JsonSchema for ProblemDocument {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Problem".into()
    }

    /// Written by hand, because the members of each kind are on the same level as the others, and all are listed here.
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (id, time) = (generator.subschema_for::<SecretId>(), generator.subschema_for::<Timestamp>());
        let secret = |more: &str| {
            let mut properties = json!({"id": &id, "last_used_at": {"anyOf": [&time, {"type": "null"}]}});
            if !more.is_empty() {
                properties[more] = json!(&time);
            }
            json!({"type": "object", "properties": properties, "required": ["id"], "additionalProperties": false})
        };
        let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        schemars::json_schema!({
            "type": "object",
            "description": "A refusal (RFC 9457). Programs read `code`, people read `detail`.",
            "required": ["type", "title", "status", "code", "detail"],
            "additionalProperties": false,
            "properties": {
                "type": {"type": "string", "description": "URI reference to the description of the code."},
                "title": {"type": "string", "description": "A short sentence, the same for every problem \
                    with this code."},
                "status": {"type": "integer", "description": "The HTTP status, repeated."},
                "code": {"type": "string", "enum": codes, "description": "The stable code."},
                "detail": {"type": "string", "description": "What happened, what did not change, what to do."},
                "field": {"type": "string", "description": "The member or parameter at fault."},
                "permission": {"type": "string", "description": "forbidden: the required permission."},
                "retiring_secret": secret("expires_at"),
                "current_secret_id": {"anyOf": [&id, {"type": "null"}]},
                "newer_secret": secret(""),
                "drill": {
                    "type": "object",
                    "properties": {"id": generator.subschema_for::<DrillId>(), "ends_at": &time},
                    "required": ["id", "ends_at"],
                    "additionalProperties": false,
                    "description": "drill_in_progress: the scheduled or running drill."
                },
                "verdict": generator.subschema_for::<Verdict>(),
                "callers_left": {"type": "integer", "minimum": 0, "description": "not_safe_to_end: callers \
                    still on the old secret."},
                "reasons": {"type": "array", "items": generator.subschema_for::<Why>(), "description": "not_safe_to_end: why it is not known to be safe."},
                "locked_out_count": {"type": "integer", "minimum": 0, "description": "callers_locked_out: number of callers, which acknowledge_locked_out must reach."},
                "locked_out": {"type": "array", "items": generator.subschema_for::<LockedOut>(), "description": "callers_locked_out: the callers, latest use first, at most 100."},
                "stored_values": {"type": "integer", "minimum": 1, "description": "confirmation_mismatch: stored values that the change would destroy."},
                "later_than": &time,
                "at_most": &time,
            },
        })
    }
}

impl From<&Problem> for ProblemDocument {
    fn from(problem: &Problem) -> Self {
        Self {
            kind: format!("/docs/errors#{}", problem.code.as_str()),
            title: problem.code.title().to_owned(),
            status: problem.code.status(),
            code: problem.code.as_str().to_owned(),
            detail: problem.detail.clone(),
            field: problem.field.clone(),
            members: problem.members.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_s_codes_have_the_contract_s_statuses() {
        for (code, status) in [
            ("transition_out_of_range", 422),
            ("confirmation_mismatch", 422),
            ("compromised_needs_zero", 422),
            ("transition_in_progress", 409),
            ("rotation_conflict", 409),
            ("idempotency_mismatch", 422),
            ("idempotency_in_flight", 409),
            ("forbidden", 403),
            ("not_found", 404),
            ("unauthenticated", 401),
            ("precondition_failed", 412),
            ("invalid_json", 400),
            ("invalid_body", 422),
            ("not_retiring", 409),
            ("newer_secret_in_use", 409),
            ("secret_not_stored", 409),
            ("extension_out_of_range", 422),
            ("drill_in_progress", 409),
            ("drill_over", 409),
        ] {
            assert_eq!(Code::parse(code).map(Code::status), Some(status), "{code}");
        }
    }

    #[test]
    fn a_problem_is_written_as_rfc9457_asks() {
        let problem = Problem::invalid("name", "must not be empty").with("hint", 1);
        let json = serde_json::to_value(ProblemDocument::from(&problem)).unwrap();
        assert_eq!(json["type"], "/docs/errors#invalid_body");
        assert_eq!(json["title"], "A member of the request body is missing, unknown or not valid.");
        assert_eq!(json["status"], 422);
        assert_eq!(json["field"], "name");
        assert_eq!(json["hint"], 1);
    }

    #[test]
    fn a_problem_in_a_log_is_its_sentence() {
        assert_eq!(
            Problem::invalid("name", "must not be empty").to_string(),
            "name must not be empty. Nothing was changed."
        );
    }

    #[test]
    fn advice_comes_after_what_was_not_changed() {
        let problem = Problem::invalid("scope", "is too wide").advise("Set fewer permissions.");
        assert_eq!(problem.detail, "scope is too wide. Nothing was changed. Set fewer permissions.");
    }
}
