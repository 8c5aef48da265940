//! Tests of a secret that a person asks for.

use super::{
    Forward, Kept, Relay, RelayFailure, Relayed, SentCredential, SentSecret, TEST_REFRESH, TEST_REVOCATION,
    compose,
    credential::{Tested, describe_refusal},
    judge,
};
use crate::webhook::Destination;
use crossfade_core::upstream::{Endpoint, IssuerKind, TestOutcome};
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

/// Where and how a secret is tested.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The endpoint for revocation or for tokens.
    pub endpoint: Endpoint,
    /// Its URL at the issuer.
    pub to: &'a Destination,
    /// Kind of the issuer.
    pub kind: IssuerKind,
    /// Name of this door in `Via`.
    pub pseudonym: &'a str,
}

/// Errors for a client that is authenticated, but must not use the grant (RFC 6749 §5.2); some issuers call that an invalid
/// request.
const OF_GRANT: [&str; 3] = ["unauthorized_client", "unsupported_grant_type", "invalid_request"];

impl Relay {
    /// Tests a secret with one request: revokes or refreshes a token that nobody has. Returns the outcome, and status and
    /// `error` of the answer, or why there is none.
    pub async fn try_secret(
        &self,
        trial: Trial<'_>,
        credential: &SentCredential<'_>,
        secret: &SentSecret,
    ) -> (TestOutcome, String) {
        match self.ask(trial, credential, secret).await {
            Err(failure) => (TestOutcome::Undecided, failure.as_str().to_owned()),
            Ok(answer) => {
                let outcome = match judge(trial.kind, &answer) {
                    Tested::Accepted => TestOutcome::Accepted,
                    Tested::Refused => TestOutcome::Refused,
                    Tested::Silent | Tested::Failed => TestOutcome::Undecided,
                };
                (outcome, describe_refusal(answer.status.as_u16(), answer.error().as_deref()))
            }
        }
    }

    /// Tests a secret at an issuer that has just refused another one with an error that tells it: there, an error about the grant
    /// shows that the client is authenticated. Returns whether it accepts the secret; `None` if its answer does not tell.
    pub async fn try_beside_refused(
        &self,
        trial: Trial<'_>,
        credential: &SentCredential<'_>,
        secret: &SentSecret,
    ) -> Option<bool> {
        let answer = self.ask(trial, credential, secret).await.ok()?;
        match judge(trial.kind, &answer) {
            Tested::Accepted => Some(true),
            Tested::Refused => Some(false),
            Tested::Silent | Tested::Failed => {
                let is_of_grant = answer.error().is_some_and(|error| OF_GRANT.contains(&error.as_str()));
                (answer.status == StatusCode::BAD_REQUEST && is_of_grant).then_some(true)
            }
        }
    }

    async fn ask(
        &self,
        trial: Trial<'_>,
        credential: &SentCredential<'_>,
        secret: &SentSecret,
    ) -> Result<Relayed, RelayFailure> {
        let is_revocation = trial.endpoint == Endpoint::Revocation;
        let form = if is_revocation { TEST_REVOCATION } else { TEST_REFRESH };
        let parameters = Kept::of(form).map_err(|_| RelayFailure::NotReached)?;
        let headers = HeaderMap::new();
        let request = Forward {
            endpoint: trial.endpoint,
            to: trial.to,
            test_at: None,
            kind: trial.kind,
            parameters: &parameters,
            headers: &headers,
            further_headers: &[],
            host: None,
            pseudonym: trial.pseudonym,
        };
        let message = compose(&request, (trial.endpoint, trial.to, &parameters), credential, secret)
            .ok_or(RelayFailure::NoCredential)?;
        let issuer = self.issuer(trial.to);
        let _place = issuer.admit(credential.registration).ok_or(RelayFailure::Busy)?;
        timeout(self.times.whole, issuer.exchange(trial.to, message)).await.unwrap_or(Err(RelayFailure::Late))
    }
}
