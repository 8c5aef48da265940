//! The errors of the OAuth endpoints. The status belongs to the error, never to a handler.

/// An error of RFC 6749 §5.2 and RFC 7009 §2.2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OauthError {
    /// The request is malformed; the text says how. Only characters that RFC 6749 §5.2 allows.
    InvalidRequest(&'static str),
    /// Client authentication failed. It has no detail, so that a stranger learns neither whether the `client_id` exists
    /// nor why the secret was refused (rule 16).
    InvalidClient,
    /// Client authentication failed too often. As constant as [`Self::InvalidClient`].
    TooManyFailures,
    /// The client is not permitted to do this.
    UnauthorizedClient(&'static str),
    /// A grant type that this server does not support.
    UnsupportedGrantType,
    /// A scope that the registration does not have.
    InvalidScope,
    /// A scope that no registration can have (RFC 6749 §3.3).
    MalformedScope,
    /// The body is longer than the server reads.
    BodyTooLarge,
    /// The body is longer than what is forwarded to other issuers.
    RelayedBodyTooLarge,
    /// The client asks to rotate its own secret while an old secret is valid. Not in RFC 6749.
    TransitionInProgress,
    /// The client has rotated its own secret within the last day. Not in RFC 6749.
    RotatedRecently,
    /// A repeated request for a rotation whose new secret is no longer given or no longer valid. Not in RFC 6749.
    RotationOver,
    /// The client asks too often to rotate its own secret. Not in RFC 6749.
    SlowDown,
    /// The server cannot verify secrets at the moment. Not in RFC 6749; RFC 7009 §2.2.1 requires 503.
    TemporarilyUnavailable,
}

impl OauthError {
    /// Returns the registered error code.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) | Self::BodyTooLarge | Self::RelayedBodyTooLarge => "invalid_request",
            Self::InvalidClient | Self::TooManyFailures => "invalid_client",
            Self::UnauthorizedClient(_) => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope | Self::MalformedScope => "invalid_scope",
            Self::TransitionInProgress => "transition_in_progress",
            Self::RotatedRecently => "rotated_recently",
            Self::RotationOver => "rotation_over",
            Self::SlowDown => "slow_down",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// Returns the HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            Self::TransitionInProgress | Self::RotatedRecently | Self::RotationOver => 409,
            Self::TooManyFailures | Self::SlowDown => 429,
            Self::BodyTooLarge | Self::RelayedBodyTooLarge => 413,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }

    /// Returns the description for developers. Only constant texts, so the request is never reflected.
    pub fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(text) | Self::UnauthorizedClient(text) => text,
            Self::InvalidClient => "Client authentication failed.",
            Self::TooManyFailures => {
                "Client authentication failed too often from this network. Correct the client_id or the secret."
            }
            Self::UnsupportedGrantType => "This server supports only grant_type client_credentials.",
            Self::InvalidScope => "The requested scope exceeds the scopes of this client.",
            Self::MalformedScope => {
                "The scope contains a character that is not allowed. Scopes are visible ASCII characters \
                without quotes or backslashes, separated by spaces."
            }
            Self::BodyTooLarge => "The request body is larger than 65536 bytes.",
            Self::RelayedBodyTooLarge => "The request body is larger than 262144 bytes.",
            Self::TransitionInProgress => {
                "The old secret of an earlier rotation is still valid. Nothing was changed. Wait until it ends."
            }
            Self::RotatedRecently => {
                "This client has rotated its secret within the last 24 hours. Nothing was changed."
            }
            Self::RotationOver => {
                "This Idempotency-Key belongs to an earlier rotation, whose new secret is not given again. \
                Nothing was changed."
            }
            Self::SlowDown => "This client asks too often to rotate its secret. Nothing was changed.",
            Self::TemporarilyUnavailable => "The server is temporarily unavailable. Try again.",
        }
    }
}

/// Challenge of every failed client authentication (RFC 6749 §5.2, RFC 7617 §2). Always the same constant.
pub const CHALLENGE: &str = "Basic realm=\"crossfade\", charset=\"UTF-8\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_code_follow_rfc6749_5_2() {
        use OauthError::*;
        for (error, status, code) in [
            (InvalidRequest("x"), 400, "invalid_request"),
            (InvalidClient, 401, "invalid_client"),
            (TooManyFailures, 429, "invalid_client"),
            (UnauthorizedClient("x"), 400, "unauthorized_client"),
            (UnsupportedGrantType, 400, "unsupported_grant_type"),
            (InvalidScope, 400, "invalid_scope"),
            (MalformedScope, 400, "invalid_scope"),
            (BodyTooLarge, 413, "invalid_request"),
            (RelayedBodyTooLarge, 413, "invalid_request"),
            (TransitionInProgress, 409, "transition_in_progress"),
            (RotatedRecently, 409, "rotated_recently"),
            (RotationOver, 409, "rotation_over"),
            (SlowDown, 429, "slow_down"),
            (TemporarilyUnavailable, 503, "temporarily_unavailable"),
        ] {
            assert_eq!((error.status(), error.code()), (status, code));
            let allowed = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(error.description().bytes().all(allowed), "error_description of {code}");
        }
    }

    /// Rule 16: the response does not depend on the cause and never echoes the request.
    #[test]
    fn rule_16_a_failed_authentication_has_one_answer() {
        let error = OauthError::InvalidClient;
        assert_eq!((error.status(), error.code()), (401, "invalid_client"));
        assert_eq!(error.description(), "Client authentication failed.");
        assert_eq!(CHALLENGE, "Basic realm=\"crossfade\", charset=\"UTF-8\"");
        assert_eq!(OauthError::InvalidRequest("token is missing.").description(), "token is missing.");
    }
}
