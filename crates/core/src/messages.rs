//! Messages to owners: their cause, until when they are of use, and when a failed delivery is tried again. Pure functions
//! of the event and the time.

mod kind;
mod missed;
mod presented;
mod switch;
mod weekly;

pub use kind::{Class, Kind, OffFor};
pub use missed::missed;
pub use presented::{
    COUNTED_FOR, MANY_TRIES, QUIET_AFTER, TOLD_FOR, Tries, day, is_told, presented_at_cause, presented_cause,
};
pub use switch::{Switch, client_switches_schema, is_off, stops_more, switches_schema};
pub use weekly::{DueDigest, due_by_move, due_digest};

use crate::{SecretId, Timestamp, audit::Event};
use std::time::Duration;

/// How a message reaches its recipient. The channels send independently of each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Mail to an address.
    Mail,
    /// A request to the URL of a webhook.
    Webhook,
}

impl Channel {
    /// Returns the word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
        }
    }
}

/// How long a mail is tried.
pub const TRIED_FOR: Duration = Duration::from_secs(3 * 86_400);
/// Time until the second attempt. Doubled for each further attempt.
const FIRST_RETRY: Duration = Duration::from_secs(60);
/// Maximum time between two attempts.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// Why a message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AbandonedAs {
    /// What it warns of had already happened.
    Late,
    /// The server of the channel refused it for good.
    Refused,
    /// It was tried for as long as its channel tries.
    GaveUp,
    /// It was queued before the database was put into quarantine.
    Quarantine,
    /// Its row cannot be read.
    Unreadable,
    /// Its webhook was disabled.
    Disabled,
    /// Its webhook gets no such messages any more.
    NotChosen,
    /// What it tells was over: its link was used, replaced or ended, or its incident had been resolved.
    Over,
    /// The account of its recipient was deleted.
    Deleted,
    /// It was queued in a copy of the database that is older than the journal, and may have been sent since.
    Restored,
    /// It was queued where the database was before, which sends its own messages.
    Moved,
}

impl AbandonedAs {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::Late,
        Self::Refused,
        Self::GaveUp,
        Self::Quarantine,
        Self::Unreadable,
        Self::Disabled,
        Self::NotChosen,
        Self::Over,
        Self::Deleted,
        Self::Restored,
        Self::Moved,
    ];

    /// Returns the word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Refused => "refused",
            Self::GaveUp => "gave_up",
            Self::Quarantine => "quarantine",
            Self::Unreadable => "unreadable",
            Self::Disabled => "disabled",
            Self::NotChosen => "not_chosen",
            Self::Over => "over",
            Self::Deleted => "deleted",
            Self::Restored => "restored",
            Self::Moved => "moved",
        }
    }
}

/// Returns the cause of a message about this event. No recipient gets two messages for one cause. An event that shares
/// its cause with no other has the ID of its message.
pub fn cause(event: &Event, message: &str) -> String {
    match event {
        // The old secret ends with the rotation, so the message that it has expired says nothing new.
        Event::SecretRotated { transition_hours, outgoing_secret_id, .. }
            if transition_hours.hours() == 0 =>
        {
            format!("ended {outgoing_secret_id}")
        }
        Event::SecretRevoked { secret_id, .. } | Event::SecretExpired { secret_id, .. } => {
            format!("ended {secret_id}")
        }
        Event::DeadlineNear { rotation_id, expires_at, hours_before, .. } => {
            format!("near {rotation_id} {expires_at} {hours_before}")
        }
        Event::DrillFinished { drill_id, .. } => format!("finished {drill_id}"),
        Event::LeakReported { secret_id, .. } => leak_cause(secret_id),
        _ => message.to_owned(),
    }
}

/// Word under which leaks are noted among what was told.
pub const LEAK: &str = "leak";

/// Returns the cause of the one message that a secret was found in a leaked text.
pub fn leak_cause(secret: &SecretId) -> String {
    format!("{LEAK} {secret}")
}

/// Reads the secret in such a cause.
pub fn leaked_secret(cause: &str) -> Option<SecretId> {
    let (word, secret) = cause.split_once(' ')?;
    SecretId::parse(secret).ok().filter(|_| word == LEAK)
}

/// Returns the time from which a message about this event is of no use; `None` if it always is.
pub fn not_after(event: &Event) -> Option<Timestamp> {
    match event {
        Event::DeadlineNear { expires_at, .. } => Some(*expires_at),
        Event::DrillScheduled { ends_at, .. } => Some(*ends_at),
        _ => None,
    }
}

/// Whether a message is still of use at `now`.
pub fn is_in_time(not_after: Option<Timestamp>, now: Timestamp) -> bool {
    not_after.is_none_or(|not_after| now < not_after)
}

/// Returns the time until the next attempt to send a mail, after this number of attempts.
pub fn retry_after(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 16)).unwrap_or(16);
    FIRST_RETRY.saturating_mul(1 << doublings).min(MAX_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RotationId, TransitionHours, change_over::Verdict};

    fn secret(number: u8) -> SecretId {
        SecretId::parse(&format!("sec_{number:022}")).unwrap()
    }

    fn rotated(hours: i64) -> Event {
        Event::SecretRotated {
            rotation_id: RotationId::parse("rot_0000000000000000000001").unwrap(),
            transition_hours: TransitionHours::new(hours).unwrap(),
            compromised: false,
            revoke_tokens: false,
            outgoing_secret_id: secret(1),
            outgoing_expires_at: Timestamp::from_seconds(9),
            incoming_secret_id: secret(2),
            superseded_secret_id: None,
        }
    }

    #[test]
    fn the_end_of_a_secret_is_one_cause_however_it_ended() {
        let expired = Event::SecretExpired { secret_id: secret(1), expires_at: Timestamp::from_seconds(9) };
        let revoked = Event::SecretRevoked { secret_id: secret(1), compromised: true, revoke_tokens: false };
        let other = Event::SecretExpired { secret_id: secret(2), expires_at: Timestamp::from_seconds(9) };
        assert_eq!(cause(&expired, "a"), cause(&revoked, "b"));
        assert_eq!(cause(&expired, "a"), cause(&rotated(0), "b"));
        assert_ne!(cause(&expired, "a"), cause(&rotated(1), "b"));
        assert_ne!(cause(&expired, "a"), cause(&other, "a"));
    }

    #[test]
    fn each_warning_time_of_each_deadline_is_a_cause() {
        let near = |deadline, hours_before| Event::DeadlineNear {
            rotation_id: RotationId::parse("rot_0000000000000000000001").unwrap(),
            secret_id: secret(1),
            expires_at: Timestamp::from_seconds(deadline),
            hours_before,
            verdict: Verdict::Moving,
            callers_left: 1,
            last_used_at: None,
            new_first_used_at: None,
        };
        let causes = [near(9, 24), near(9, 4), near(8, 24)].map(|event| cause(&event, "a"));
        assert!(causes[0] != causes[1] && causes[0] != causes[2], "{causes:?}");
        assert_eq!(cause(&near(9, 24), "b"), causes[0]);
        assert_eq!(not_after(&near(9, 24)), Some(Timestamp::from_seconds(9)));
    }

    #[test]
    fn a_warning_is_of_no_use_from_its_deadline_on() {
        let deadline = Timestamp::from_seconds(100);
        let in_time = |seconds| is_in_time(Some(deadline), Timestamp::from_seconds(seconds));
        assert_eq!([99, 100, 101].map(in_time), [true, false, false]);
        assert!(is_in_time(None, deadline));
    }

    #[test]
    fn attempts_are_a_minute_apart_then_double_up_to_an_hour() {
        let minutes = [1, 2, 3, 4, 5, 6, 7, 8, 99, i64::MAX].map(|n| retry_after(n).as_secs() / 60);
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(retry_after(0), FIRST_RETRY);
    }
}
