//! `crossfade secret …`

use super::{
    Destination, NewValue, Place, Remote, Series, Watch,
    change_over::{Goal, goal},
    times::{Moment, later, transition, within},
};
use clap::{Args, Subcommand};
use crossfade_core::TransitionHours;
use std::time::Duration;

#[derive(Subcommand)]
pub(crate) enum Secret {
    /// List the secrets of a client in an environment, newest first, without values.
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the rotation history, newest first.
    History {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show where each secret is used from.
    Usage {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show how often each secret is used over time.
    Series(Series),
    /// Show change-over progress: which callers are left on the old secret, and whether it is safe to end it.
    ChangeOver {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Wait until it is safe to end the old secret. Exit status 0 when it is, 1 if the old secret ends first, 6 at
    /// the timeout.
    Watch(Watch),
    /// Rotate the current secret. The old secret stays valid for the transition period.
    Rotate(Rotate),
    /// Show the stored value of a secret.
    Reveal {
        #[command(flatten)]
        place: Place,
        /// Secret ID. Defaults to the current secret.
        #[arg(long)]
        secret: Option<String>,
        /// Reason, recorded in the audit trail.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        value: Destination,
        #[command(flatten)]
        remote: Remote,
    },
    /// Find client secrets in stdin, and show which registrations they belong to. Only text that has the form of
    /// a client secret is sent to the server. At most 100,000 of them.
    Identify {
        /// Exit with status 10 if stdin contains a valid secret, or one that may be valid because older secrets
        /// cannot be recognised yet.
        #[arg(long)]
        exit_code: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Revoke the retiring secret now.
    Revoke(Revoke),
    /// Extend the deadline of the retiring secret.
    Extend {
        #[command(flatten)]
        place: Place,
        /// Secret ID. Defaults to the retiring secret.
        #[arg(long)]
        secret: Option<String>,
        /// New deadline, such as +24h (from now) or 2026-11-25T08:00:00Z. At most 168 hours after the
        /// rotation.
        #[arg(long, value_name = "TIME", value_parser = later)]
        until: Moment,
        /// Reason, recorded in the audit trail.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Mark the running transition as seen. If an owner of the client does so, its managers are not warned, too.
    Seen {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Roll back the latest rotation. The retiring secret becomes current again and the newer one is revoked.
    Rollback {
        #[command(flatten)]
        place: Place,
        /// Roll back even if the newer secret is in use. Its callers will fail.
        #[arg(long)]
        acknowledge_in_use: bool,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Secret ID. Defaults to the retiring secret.
    #[arg(long)]
    pub(crate) secret: Option<String>,
    /// Revoke only if this condition holds at that moment: `safe` or `quiet=DURATION`, as for `watch
    /// --until`.
    #[arg(long, value_name = "GOAL", value_parser = goal, conflicts_with = "confirm")]
    pub(crate) only_if: Option<Goal>,
    /// Client name, required while it is not safe to end the old secret. Prompted for on a terminal if
    /// omitted.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) end: End,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Options for ending a secret.
#[derive(Args)]
pub(crate) struct End {
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
    /// Mark the secret as leaked.
    #[arg(long)]
    pub(crate) compromised: bool,
    /// Also revoke its access tokens for introspection.
    #[arg(long)]
    pub(crate) revoke_tokens: bool,
}

#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How long the old secret stays valid: whole hours up to 168h, such as 24h or 7d, or 0 to end it
    /// immediately.
    #[arg(long, value_name = "DURATION", value_parser = transition)]
    pub(crate) transition: TransitionHours,
    /// Client name, to confirm. Prompted for on a terminal if omitted.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// End the running transition now, and its old secret with it.
    #[arg(long)]
    pub(crate) end_running_transition: bool,
    /// The secret being replaced has leaked. Requires --transition 0 and also ends a running transition.
    #[arg(long)]
    pub(crate) compromised: bool,
    /// Also revoke, for introspection, the access tokens of the secrets that end now.
    #[arg(long)]
    pub(crate) revoke_tokens: bool,
    /// Rotate only if the current secret is at least this old, such as 80d. A younger secret is no failure:
    /// nothing is changed, and the exit status is 0.
    ///
    /// For jobs that run on a schedule. The server decides by its own time, so jobs that run at the same
    /// time rotate once. With --output, FILE may exist if it contains a client secret: it is replaced after a
    /// rotation and left as it is otherwise. With --json, `rotated` says what was done.
    #[arg(long, value_name = "DURATION", value_parser = within(1..=315_360_000, "from 1s to 3650d"), conflicts_with = "compromised")]
    pub(crate) if_older_than: Option<Duration>,
    /// Exit with status 8 if --if-older-than left the secret as it is, or with 9 if no caller has used that secret
    /// since the rotation that created it.
    ///
    /// 9 means that the secret may not have been delivered. It is given while the old secret is valid, and after
    /// that if callers that present the old secret were refused.
    #[arg(long, requires = "if_older_than")]
    pub(crate) exit_code: bool,
    /// Idempotency-Key of the rotation, such as the ID of a job: 1 to 255 visible ASCII characters without
    /// quotation marks. Defaults to a random key.
    ///
    /// A job that was stopped and runs again with the same key and options does not rotate again: within 10
    /// minutes it receives the same value, and within 24 hours it is told that the value was given before. A value
    /// that is no longer current is not given. Use each key for one rotation.
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) value: NewValue,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Reads a key that a header contains as it is.
fn idempotency_key(text: &str) -> Result<String, String> {
    let is_bare = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    match (1..=255).contains(&text.len()) && text.bytes().all(is_bare) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 255 visible ASCII characters without quotation marks".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn an_idempotency_key_is_one_that_a_header_contains() {
        let rotate = |key: &str| {
            refused(&format!(
                "secret rotate X --env production --transition 0 --show --idempotency-key={key}"
            ))
        };
        for good in ["github-19-rotate", "a", &"x".repeat(255)] {
            assert_eq!(rotate(good), 0, "{good}");
        }
        for bad in ["", "\"quoted\"", "a\nb", "ü", "a\tb", &"x".repeat(256)] {
            assert_eq!(rotate(bad), 2, "{bad:?}");
        }
    }

    #[test]
    fn rule_9_a_transition_out_of_range_is_wrong_usage() {
        let rotate = |more: &str| refused(&format!("secret rotate X --env production {more}"));
        for good in ["0", "24h", "168h", "7d"] {
            assert_eq!(rotate(&format!("--transition {good} --show")), 0, "{good}");
        }
        for bad in ["169h", "-1", "1.5h", "", "8d", "24", "90m"] {
            assert_eq!(rotate(&format!("--transition {bad} --show")), 2, "{bad}");
        }
        assert_eq!(rotate("--show"), 2, "there is no default");
        assert_eq!(rotate("--transition 0"), 2, "where the value goes is decided first");
    }

    #[test]
    fn an_age_is_a_duration_and_a_leak_has_none() {
        let rotate =
            |more: &str| refused(&format!("secret rotate X --env production --transition 0 --show {more}"));
        for good in ["80d", "1s", "3650d", "80d --exit-code"] {
            assert_eq!(rotate(&format!("--if-older-than {good}")), 0, "{good}");
        }
        for bad in ["0", "0d", "3651d", "80", "-1d", "80d --compromised"] {
            assert_eq!(rotate(&format!("--if-older-than {bad}")), 2, "{bad}");
        }
        assert_eq!(rotate("--exit-code"), 2, "it belongs to an age");
    }

    #[test]
    fn a_new_deadline_is_a_duration_from_now_or_a_time() {
        let extend =
            |until: &str| refused(&format!("secret extend X --env staging --until {until} --reason r"));
        for good in ["+24h", "+7d", "2026-11-25T08:00:00Z"] {
            assert_eq!(extend(good), 0, "{good}");
        }
        for bad in ["24h", "24", "tomorrow", "in=10m"] {
            assert_eq!(extend(bad), 2, "{bad}");
        }
    }

    #[test]
    fn a_revocation_is_conditional_or_confirmed() {
        let revoke = |more: &str| refused(&format!("secret revoke X --env staging --reason r{more}"));
        assert_eq!((revoke(""), revoke(" --confirm X"), revoke(" --only-if quiet=1d")), (0, 0, 0));
        assert_eq!(revoke(" --only-if safe --confirm X"), 2);
    }
}
