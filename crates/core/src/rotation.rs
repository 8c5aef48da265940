//! The rules of rotation. Each function takes the rows as they stand under the lock, what was asked,
//! and the time read under that lock; it answers with what to write, or with the rule that refuses.
//!
//! The rows of one registration hold at most one current secret and at most one retiring one (rule 1).
//! These functions keep it so; none of them reads a clock or a database.

use crate::{Code, Problem, SecretId, Timestamp, TransitionHours};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// One secret of a registration, without its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// When it was generated.
    pub created_at: Timestamp,
    /// Its absolute deadline: the first instant at which it is no longer valid. A current secret has none.
    pub expires_at: Option<Timestamp>,
    /// When it was ended before its time.
    pub revoked_at: Option<Timestamp>,
}

/// What a secret is at a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretState {
    /// Valid, without a deadline.
    Current,
    /// Replaced, and valid until its deadline.
    Retiring,
    /// Its deadline has passed.
    Expired,
    /// Ended by a person or a policy before its time.
    Revoked,
}

impl SecretState {
    /// The state in words.
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

/// The state of a secret with this deadline and this revocation at `now`. The one place where rule 2 is
/// written down: valid if and only if `now < expires_at`.
pub fn state_at(expires_at: Option<Timestamp>, revoked_at: Option<Timestamp>, now: Timestamp) -> SecretState {
    match (revoked_at, expires_at) {
        (Some(_), _) => SecretState::Revoked,
        (None, None) => SecretState::Current,
        (None, Some(deadline)) if now < deadline => SecretState::Retiring,
        (None, Some(_)) => SecretState::Expired,
    }
}

impl Secret {
    /// Its state at `now`.
    pub fn state(&self, now: Timestamp) -> SecretState {
        state_at(self.expires_at, self.revoked_at, now)
    }

    /// When it stopped being valid, if that has happened by `now`.
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
    /// It has not: the transition is running.
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
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retiring => "retiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::RolledBack => "rolled_back",
            Self::Superseded => "superseded",
        }
    }

    /// Reads a stored word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Retiring, Self::Expired, Self::Revoked, Self::RolledBack, Self::Superseded]
            .into_iter()
            .find(|ended| ended.as_str() == text)
    }

    /// How a rotation stands at `now`. `decided` is what somebody made of it (revoked, rolled back,
    /// superseded); without that it follows from the outgoing secret's deadline, so that no sweeper has
    /// to write it down.
    pub fn at(decided: Option<EndedAs>, outgoing: &Secret, now: Timestamp) -> Self {
        decided.unwrap_or(match outgoing.state(now) {
            SecretState::Retiring | SecretState::Current => Self::Retiring,
            SecretState::Expired => Self::Expired,
            SecretState::Revoked => Self::Revoked,
        })
    }
}

/// What is asked of a rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationRequest {
    /// How long the outgoing secret stays valid.
    pub transition: TransitionHours,
    /// The current secret that the caller believes to replace.
    pub expected_current: Option<SecretId>,
    /// Ends the secret of a transition that is still running.
    pub end_running_transition: bool,
    /// The outgoing secret has leaked: emergency rotation.
    pub compromised: bool,
}

/// What a rotation changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationPlan {
    /// The secret that is replaced.
    pub outgoing: SecretId,
    /// Its deadline from now on.
    pub outgoing_expires_at: Timestamp,
    /// Set when it ends as revoked (emergency rotation) instead of by its deadline.
    pub outgoing_revoked_at: Option<Timestamp>,
    /// The secret of the transition that was still running, which ends now.
    pub superseded: Option<SecretId>,
}

/// Why a change of secrets is refused. Closed: each variant is one rule of the product.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Rule 5: a transition is running, and the caller did not say to end it.
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
    /// Rule 12: a compromised secret must not live on.
    CompromisedNeedsZero,
    /// Rule 8: only a retiring secret, or the latest rotation while its secret retires.
    NotRetiring,
    /// Rule 8: the deadline is not later than now and than before, or beyond 168 h after the rotation.
    ExtensionOutOfRange {
        /// The earliest deadline excluded: the new one must be later.
        later_than: Timestamp,
        /// The latest deadline allowed.
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

fn current(secrets: &[Secret], now: Timestamp) -> Option<&Secret> {
    secrets.iter().find(|secret| secret.state(now) == SecretState::Current)
}

/// The retiring secret among `secrets`, if a transition is running at `now`.
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
    // An emergency ends whatever still runs; waiting for a flag would leave a leaked secret alive.
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

/// Rule 8: moves the deadline of a retiring secret later.
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
    let at_most = rotated_at.after(TransitionHours::MAX.span());
    if later_than < expires_at && expires_at <= at_most {
        Ok(())
    } else {
        Err(Refusal::ExtensionOutOfRange { later_than, at_most })
    }
}

/// The rotation that somebody wants to roll back, and what is known about it.
#[derive(Clone, Debug)]
pub struct RollbackRequest<'a> {
    /// Whether it is the latest rotation of its registration.
    pub is_latest: bool,
    /// What somebody has made of it already.
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
    /// The refusal as a caller reads it. `last_used_at` is the last use of the secret that the refusal
    /// names, where it names a retiring one.
    pub fn problem(self, last_used_at: Option<Timestamp>) -> Problem {
        match self {
            Self::TransitionInProgress { retiring, expires_at } => Problem::new(
                Code::TransitionInProgress,
                format!("A transition is already running: secret {retiring} is valid until {expires_at}. Nothing was changed. Wait for that deadline, revoke the secret, or set end_running_transition to end it with this rotation."),
            )
            .with("retiring_secret", json!({"id": retiring, "expires_at": expires_at, "last_used_at": last_used_at})),
            Self::RotationConflict { current } => Problem::new(
                Code::RotationConflict,
                format!("The current secret is {current}, not the one you expected to replace. Nothing was changed. Somebody else may have rotated; look at the history."),
            )
            .with_field("expected_current_secret_id")
            .with("current_secret_id", current),
            Self::CompromisedNeedsZero => Problem::new(
                Code::CompromisedNeedsZero,
                "A compromised secret must end at once: transition_hours must be 0. Nothing was changed.",
            )
            .with_field("transition_hours"),
            Self::NotRetiring => Problem::new(
                Code::NotRetiring,
                "This needs a secret that is retiring now, of the latest rotation. Nothing was changed. To replace a current secret that has leaked, rotate it with transition_hours 0 and set compromised.",
            ),
            Self::ExtensionOutOfRange { later_than, at_most } => Problem::new(
                Code::ExtensionOutOfRange,
                format!("expires_at must be later than {later_than} and at most {at_most}, which is 168 hours after the rotation. Nothing was changed."),
            )
            .with_field("expires_at")
            .with("later_than", later_than)
            .with("at_most", at_most),
            Self::NewerSecretInUse { newer, last_used_at } => Problem::new(
                Code::NewerSecretInUse,
                format!("The newer secret {newer} was last used at {last_used_at}; its callers would fail. Nothing was changed. Set acknowledge_in_use to roll back anyway."),
            )
            .with_field("acknowledge_in_use")
            .with("newer_secret", json!({"id": newer, "last_used_at": last_used_at})),
            Self::NoCurrentSecret => Problem::new(
                Code::Internal,
                "This registration has no current secret, which should be impossible. Nothing was changed. Run crossfade doctor.",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
