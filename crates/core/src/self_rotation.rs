//! The rules by which a client replaces its own secret, with that secret as its only credential.

use crate::{
    OauthClientId, RotationId, SecretId, Timestamp, TransitionHours,
    oauth::OauthError,
    rotation::{Secret, current, retiring},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Shortest transition of a self-rotation in hours: a client cannot know that all its instances have the new secret.
pub const MIN_TRANSITION_HOURS: i64 = 24;

/// Time between two self-rotations of a registration.
pub const PAUSE: Duration = Duration::from_secs(86_400);

/// What is known when a client asks to rotate its own secret.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Whether the registration is enabled.
    pub is_enabled: bool,
    /// Whether self-rotation is turned on for the registration.
    pub is_allowed: bool,
    /// The secret that authenticated the request.
    pub presented: &'a SecretId,
    /// The current and the retiring secret.
    pub secrets: &'a [Secret],
    /// When the client last rotated its own secret.
    pub last_at: Option<Timestamp>,
}

/// Decides whether the client can rotate its own secret at `now`.
pub fn check(facts: &Facts<'_>, now: Timestamp) -> Result<(), OauthError> {
    let is_presented = |secret: &&Secret| secret.id == *facts.presented && secret.state(now).is_valid();
    // It may have ended since it authenticated the request.
    if !facts.is_enabled || !facts.secrets.iter().any(|secret| is_presented(&secret)) {
        return Err(OauthError::InvalidClient);
    }
    if !facts.is_allowed {
        return Err(OauthError::UnauthorizedClient("This client is not permitted to rotate its own secret."));
    }
    let is_current = current(facts.secrets, now).is_some_and(|secret| secret.id == *facts.presented);
    if !is_current || retiring(facts.secrets, now).is_some() {
        return Err(OauthError::TransitionInProgress);
    }
    match facts.last_at {
        Some(last_at) if now < last_at.after(PAUSE) => Err(OauthError::RotatedRecently),
        _ => Ok(()),
    }
}

/// Parses the parameter `transition_hours`. Without it, the transition is the shortest one.
pub fn transition(text: Option<&str>) -> Result<TransitionHours, OauthError> {
    let invalid = OauthError::InvalidRequest("transition_hours must be a whole number from 24 to 168.");
    let hours = match text {
        None => MIN_TRANSITION_HOURS,
        Some(text) if text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().map_err(|_| invalid)?
        }
        Some(_) => return Err(invalid),
    };
    if hours < MIN_TRANSITION_HOURS {
        return Err(invalid);
    }
    TransitionHours::new(hours).map_err(|_| invalid)
}

/// Response to a self-rotation, in the terms of RFC 7591 §3.2.1. It is stored without the value.
#[derive(Clone, Serialize, Deserialize)]
pub struct Reply {
    /// The OAuth `client_id`.
    pub client_id: OauthClientId,
    /// The new secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// Always 0: the new secret has no deadline.
    pub client_secret_expires_at: i64,
    /// ID of the new secret.
    pub secret_id: SecretId,
    /// ID of the old secret.
    pub previous_secret_id: SecretId,
    /// Deadline of the old secret, in seconds since 1970.
    pub previous_secret_expires_at: i64,
    /// ID of the rotation.
    pub rotation_id: RotationId,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("rotation_id", &self.rotation_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u32) -> Timestamp {
        Timestamp::from_seconds(1_000_000).after(HOUR * hours)
    }

    fn secret(n: usize, expires_at: Option<Timestamp>) -> Secret {
        let id = SecretId::parse(&format!("sec_{n:022}")).unwrap();
        Secret { id, created_at: at(0), expires_at, revoked_at: None }
    }

    #[test]
    fn only_the_current_secret_rotates_itself_and_only_outside_a_transition() {
        let (old, new) = (secret(1, Some(at(24))), secret(2, None));
        let both = [old.clone(), new.clone()];
        let check = |presented: &Secret, now| {
            let (presented, secrets) = (&presented.id, &both[..]);
            let facts = Facts { is_enabled: true, is_allowed: true, presented, secrets, last_at: None };
            super::check(&facts, now)
        };
        let second = Duration::from_secs(1);
        assert_eq!(check(&old, at(24).before(second)), Err(OauthError::TransitionInProgress));
        assert_eq!(check(&new, at(24).before(second)), Err(OauthError::TransitionInProgress));
        assert_eq!(check(&old, at(24)), Err(OauthError::InvalidClient), "it has ended");
        assert_eq!(check(&new, at(24)), Ok(()));
        assert_eq!(check(&secret(3, None), at(24)), Err(OauthError::InvalidClient), "another's");
    }

    #[test]
    fn a_client_rotates_once_a_day_and_only_where_it_is_allowed() {
        let secrets = [secret(1, None)];
        let facts = Facts {
            is_enabled: true,
            is_allowed: true,
            presented: &secrets[0].id,
            secrets: &secrets,
            last_at: Some(at(0)),
        };
        let second = Duration::from_secs(1);
        assert_eq!(check(&facts, at(24).before(second)), Err(OauthError::RotatedRecently));
        assert_eq!(check(&facts, at(24)), Ok(()));
        assert_eq!(check(&facts, at(24).after(second)), Ok(()));
        let off = check(&Facts { is_allowed: false, ..facts.clone() }, at(48)).unwrap_err();
        assert_eq!((off.status(), off.code()), (400, "unauthorized_client"));
        assert_eq!(check(&Facts { is_enabled: false, ..facts }, at(48)), Err(OauthError::InvalidClient));
    }

    #[test]
    fn a_transition_is_at_least_a_day() {
        let hours = |text| transition(text).map(TransitionHours::hours);
        assert_eq!([hours(None), hours(Some("24")), hours(Some("168"))], [Ok(24), Ok(24), Ok(168)]);
        for wrong in ["0", "23", "169", "", "-24", "+24", "24.0", "24h", "024h", "1000", "٢٤"] {
            assert!(transition(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
