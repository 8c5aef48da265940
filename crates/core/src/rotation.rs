//! The rules of rotation. Each function takes the rows as read under the lock, the request, and the time read under
//! that lock. It returns what to write, or the rule that refuses.
//!
//! The rows of a registration contain at most one current and at most one retiring secret (rule 1). These functions
//! preserve that; none of them reads a clock or a database.

use crate::{Code, Problem, SecretId, Timestamp, TransitionHours};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// How long after its rotation a secret can still be revoked or made current again: the longest transition, plus a day as
/// a margin.
pub const DECIDED_WITHIN: Duration =
    Duration::from_secs(TransitionHours::MAX.span().as_secs() + DAY.as_secs());

/// One secret of a registration, without its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    /// ID.
    pub id: SecretId,
    /// When it was generated.
    pub created_at: Timestamp,
    /// Its absolute deadline: the first instant at which it is no longer valid. A current secret has none.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was ended before its deadline.
    pub revoked_at: Option<Timestamp>,
}

/// State of a secret at a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretState {
    /// Valid, without a deadline.
    Current,
    /// Replaced, and valid until its deadline.
    Retiring,
    /// Its deadline has passed.
    Expired,
    /// Ended by a person or a policy before its deadline.
    Revoked,
}

impl SecretState {
    /// Returns the state in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Retiring => "retiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether the secret authenticates.
    pub fn is_valid(self) -> bool {
        matches!(self, Self::Current | Self::Retiring)
    }
}

/// Returns the state at `now` of a secret with this deadline and revocation. The only implementation of rule 2: valid
/// if and only if `now < expires_at`.
pub fn state_at(expires_at: Option<Timestamp>, revoked_at: Option<Timestamp>, now: Timestamp) -> SecretState {
    match (revoked_at, expires_at) {
        (Some(_), _) => SecretState::Revoked,
        (None, None) => SecretState::Current,
        (None, Some(deadline)) if now < deadline => SecretState::Retiring,
        (None, Some(_)) => SecretState::Expired,
    }
}

impl Secret {
    /// Returns its state at `now`.
    pub fn state(&self, now: Timestamp) -> SecretState {
        state_at(self.expires_at, self.revoked_at, now)
    }

    /// Returns when it stopped being valid, if that has happened by `now`.
    pub fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state(now) {
            SecretState::Revoked => self.revoked_at,
            SecretState::Expired => self.expires_at,
            SecretState::Current | SecretState::Retiring => None,
        }
    }
}

/// How the outgoing secret of a rotation ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedAs {
    /// It has not ended: the transition is running.
    Retiring,
    /// Its deadline passed.
    Expired,
    /// It was revoked before its deadline.
    Revoked,
    /// It was made current again.
    RolledBack,
    /// A newer rotation ended it before its deadline.
    Superseded,
}

impl EndedAs {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retiring => "retiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::RolledBack => "rolled_back",
            Self::Superseded => "superseded",
        }
    }

    /// Parses a stored word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Retiring, Self::Expired, Self::Revoked, Self::RolledBack, Self::Superseded]
            .into_iter()
            .find(|ended| ended.as_str() == text)
    }

    /// Returns how the outgoing secret of a rotation has ended by `now`. `decided` is the recorded outcome (revoked,
    /// rolled back, superseded). Without one, it follows from the secret's deadline, so that no sweeper has to record
    /// it.
    pub fn at(decided: Option<EndedAs>, outgoing: &Secret, now: Timestamp) -> Self {
        decided.unwrap_or(match outgoing.state(now) {
            SecretState::Retiring | SecretState::Current => Self::Retiring,
            SecretState::Expired => Self::Expired,
            SecretState::Revoked => Self::Revoked,
        })
    }
}

/// A request for a rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationRequest {
    /// How long the outgoing secret stays valid.
    pub transition: TransitionHours,
    /// The current secret that the caller expects to replace.
    pub expected_current: Option<SecretId>,
    /// Ends the secret of a transition that is still running.
    pub end_running_transition: bool,
    /// The outgoing secret has leaked: emergency rotation.
    pub compromised: bool,
}

impl RotationRequest {
    /// Whether it can end a secret now. Without that, there are no tokens to end with it.
    pub fn may_end_secret(&self) -> bool {
        self.transition == TransitionHours::ZERO || self.end_running_transition || self.compromised
    }
}

/// The changes of a rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationPlan {
    /// The secret that is replaced.
    pub outgoing: SecretId,
    /// Its new deadline.
    pub outgoing_expires_at: Timestamp,
    /// Set if it ends as revoked (emergency rotation) instead of at its deadline.
    pub outgoing_revoked_at: Option<Timestamp>,
    /// Secret of the running transition, which ends now.
    pub superseded: Option<SecretId>,
}

impl RotationPlan {
    /// Returns the secrets that have ended when the rotation returns.
    pub fn ends_now(&self, now: Timestamp) -> Vec<SecretId> {
        let state = state_at(Some(self.outgoing_expires_at), self.outgoing_revoked_at, now);
        let outgoing = (!state.is_valid()).then(|| self.outgoing.clone());
        outgoing.into_iter().chain(self.superseded.clone()).collect()
    }
}

/// Why a change of secrets is refused. Each variant is one rule of the product.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Rule 5: a transition is running, and the caller did not ask to end it.
    TransitionInProgress {
        /// The secret that is still retiring.
        retiring: SecretId,
        /// Its deadline.
        expires_at: Timestamp,
    },
    /// Rule 6: another secret is current than the one expected.
    RotationConflict {
        /// The secret that is current.
        current: SecretId,
    },
    /// Rule 12: a compromised secret must end immediately.
    CompromisedNeedsZero,
    /// Rule 12: the tokens of a secret can end only with the secret, and no secret ends with this rotation.
    EndsNoSecret,
    /// Rule 8: only a retiring secret, or the latest rotation while its old secret is retiring, can be changed.
    NotRetiring,
    /// Rule 8: the deadline is not later than now and than before, or is more than 168 h after the rotation.
    ExtensionOutOfRange {
        /// The new deadline must be later than this.
        later_than: Timestamp,
        /// Latest allowed deadline.
        at_most: Timestamp,
    },
    /// Rule 8: the newer secret has been used and the caller did not acknowledge that.
    NewerSecretInUse {
        /// The newer secret.
        newer: SecretId,
        /// Its last use.
        last_used_at: Timestamp,
    },
    /// The registration has no current secret: the rows are corrupt.
    NoCurrentSecret,
}

/// Returns the current secret among `secrets`.
pub fn current(secrets: &[Secret], now: Timestamp) -> Option<&Secret> {
    secrets.iter().find(|secret| secret.state(now) == SecretState::Current)
}

/// Rule 8: returns the latest deadline that the secret replaced by a rotation can have.
pub fn latest_deadline(rotated_at: Timestamp) -> Timestamp {
    rotated_at.after(TransitionHours::MAX.span())
}

/// Returns the first instant at which a secret is old enough to be rotated, if it is younger at `now` than `least_age`.
pub fn old_enough_at(created_at: Timestamp, least_age: Duration, now: Timestamp) -> Option<Timestamp> {
    let at = created_at.after(least_age);
    (now < at).then_some(at)
}

/// Returns when a secret is due for rotation under an environment's policy; `None` if the policy sets no maximum age.
pub fn due_at(created_at: Timestamp, max_age_days: Option<i64>) -> Option<Timestamp> {
    let days = max_age_days.and_then(|days| u32::try_from(days).ok())?;
    Some(created_at.after(DAY * days))
}

/// Returns the latest time of creation of the secrets that are overdue at `now` under an environment's policy; `None` if
/// the policy sets no maximum age.
pub fn overdue_if_created_by(max_age_days: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    let days = max_age_days.and_then(|days| u32::try_from(days).ok())?;
    Some(now.before(DAY * days))
}

/// Returns the latest end of the secrets whose stored values are wiped at `now`, if values are kept for this many days
/// after the end of their secret (rule 15). A number that no environment can have wipes nothing.
pub fn wiped_if_ended_by(wipe_after_days: i64, now: Timestamp) -> Timestamp {
    now.before(DAY * u32::try_from(wipe_after_days).unwrap_or(u32::MAX))
}

/// Whether a secret that is due at this time is overdue: its maximum age is reached.
pub fn is_overdue(due_at: Option<Timestamp>, now: Timestamp) -> bool {
    due_at.is_some_and(|due| due <= now)
}

/// Returns the retiring secret among `secrets`, if a transition is running at `now`.
pub fn retiring(secrets: &[Secret], now: Timestamp) -> Option<&Secret> {
    secrets.iter().find(|secret| secret.state(now) == SecretState::Retiring)
}

/// Rules 1, 4, 5, 6, 9 and 12: replaces the current secret.
pub fn rotate(
    secrets: &[Secret],
    request: &RotationRequest,
    now: Timestamp,
) -> Result<RotationPlan, Refusal> {
    if request.compromised && request.transition != TransitionHours::ZERO {
        return Err(Refusal::CompromisedNeedsZero);
    }
    let current = current(secrets, now).ok_or(Refusal::NoCurrentSecret)?;
    if request.expected_current.as_ref().is_some_and(|expected| *expected != current.id) {
        return Err(Refusal::RotationConflict { current: current.id.clone() });
    }
    let running = retiring(secrets, now);
    // An emergency rotation always ends a running transition. Requiring a flag would leave a leaked secret valid.
    let end_running = request.end_running_transition || request.compromised;
    if let (Some(running), false) = (running, end_running) {
        return Err(Refusal::TransitionInProgress {
            retiring: running.id.clone(),
            expires_at: running.expires_at.unwrap_or(now),
        });
    }
    Ok(RotationPlan {
        outgoing: current.id.clone(),
        // Rule 4: a current secret has no deadline that this one could be later than.
        outgoing_expires_at: now.after(request.transition.span()),
        outgoing_revoked_at: request.compromised.then_some(now),
        superseded: running.map(|secret| secret.id.clone()),
    })
}

/// Rule 8: ends a retiring secret now.
pub fn revoke(secret: &Secret, now: Timestamp) -> Result<(), Refusal> {
    match secret.state(now) {
        SecretState::Retiring => Ok(()),
        _ => Err(Refusal::NotRetiring),
    }
}

/// Rule 8: extends the deadline of a retiring secret.
pub fn extend(
    secret: &Secret,
    rotated_at: Timestamp,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), Refusal> {
    let (SecretState::Retiring, Some(before)) = (secret.state(now), secret.expires_at) else {
        return Err(Refusal::NotRetiring);
    };
    // Which is later than now, because it is retiring.
    let later_than = before;
    let at_most = latest_deadline(rotated_at);
    if later_than < expires_at && expires_at <= at_most {
        Ok(())
    } else {
        Err(Refusal::ExtensionOutOfRange { later_than, at_most })
    }
}

/// A rotation to roll back, with the facts about it.
#[derive(Clone, Debug)]
pub struct RollbackRequest<'a> {
    /// Whether it is the latest rotation of its registration.
    pub is_latest: bool,
    /// Its recorded outcome, if any.
    pub decided: Option<EndedAs>,
    /// The secret that would become current again.
    pub outgoing: &'a Secret,
    /// The secret that would be revoked.
    pub incoming: &'a Secret,
    /// The last use of the incoming secret.
    pub incoming_last_used_at: Option<Timestamp>,
    /// The caller knows that the incoming secret has been used.
    pub acknowledge_in_use: bool,
}

/// Rule 8: makes the retiring secret current again and revokes the newer one.
pub fn roll_back(request: &RollbackRequest<'_>, now: Timestamp) -> Result<(), Refusal> {
    let running = request.is_latest
        && request.decided.is_none()
        && request.outgoing.state(now) == SecretState::Retiring
        && request.incoming.state(now) == SecretState::Current;
    if !running {
        return Err(Refusal::NotRetiring);
    }
    match request.incoming_last_used_at {
        Some(last_used_at) if !request.acknowledge_in_use => {
            Err(Refusal::NewerSecretInUse { newer: request.incoming.id.clone(), last_used_at })
        }
        _ => Ok(()),
    }
}

impl Refusal {
    /// Returns the refusal as a problem for the caller. `last_used_at` is the last use of the retiring secret named by
    /// the refusal, if any.
    pub fn problem(self, last_used_at: Option<Timestamp>) -> Problem {
        match self {
            Self::TransitionInProgress { retiring, expires_at } => Problem::new(
                Code::TransitionInProgress,
                format!("A transition is already running: secret {retiring} is valid until {expires_at}. Nothing was changed. Wait for that deadline, revoke the secret, or set end_running_transition to end it with this rotation."),
            )
            .with("retiring_secret", json!({"id": retiring, "expires_at": expires_at, "last_used_at": last_used_at})),
            Self::RotationConflict { current } => Problem::new(
                Code::RotationConflict,
                format!("The current secret is {current}, not the one you expected to replace. Nothing was \
                    changed. Someone else may have rotated it. Check the rotation history."),
            )
            .with_field("expected_current_secret_id")
            .with("current_secret_id", current),
            Self::CompromisedNeedsZero => Problem::new(
                Code::CompromisedNeedsZero,
                "A compromised secret must end immediately. Nothing was changed. Set transition_hours to 0.",
            )
            .with_field("transition_hours"),
            Self::EndsNoSecret => {
                Problem::invalid("revoke_tokens", "requires a secret that ends with this rotation")
                    .advise("Set transition_hours to 0, or set end_running_transition.")
            }
            Self::NotRetiring => Problem::new(
                Code::NotRetiring,
                "This action requires a retiring secret from the latest rotation. Nothing was changed. To \
                replace a leaked current secret, rotate it with transition_hours 0 and set compromised.",
            ),
            Self::ExtensionOutOfRange { later_than, at_most } => Problem::new(
                Code::ExtensionOutOfRange,
                format!("expires_at must be later than {later_than} and at most {at_most}, which is {} hours after the rotation. Nothing was changed.", TransitionHours::MAX.hours()),
            )
            .with_field("expires_at")
            .with("later_than", later_than)
            .with("at_most", at_most),
            Self::NewerSecretInUse { newer, last_used_at } => Problem::new(
                Code::NewerSecretInUse,
                format!("The newer secret {newer} is in use: its last use was at {last_used_at}. Nothing was \
                    changed. To roll back and let its callers fail, set acknowledge_in_use."),
            )
            .with_field("acknowledge_in_use")
            .with("newer_secret", json!({"id": newer, "last_used_at": last_used_at})),
            Self::NoCurrentSecret => Problem::new(
                Code::Internal,
                "This registration has no current secret; its data is damaged. Nothing was changed. Run \
                crossfade doctor.",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
