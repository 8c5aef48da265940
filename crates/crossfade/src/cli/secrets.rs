//! `crossfade secret …`

use super::{
    Destination, NewValue, Place, Remote, Series, Watch,
    change_over::{Goal, goal},
    times::{Moment, later, transition},
};
use clap::{Args, Subcommand};
use crossfade_core::TransitionHours;

#[derive(Subcommand)]
pub(crate) enum Secret {
    /// List the secrets of a client in an environment, newest first, without values.
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the history of rotations, newest first.
    History {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show which secrets are used from where.
    Usage {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show how often the secrets are used over time.
    Series(Series),
    /// Show how the change-over stands: who is left on the old secret, and whether it is safe to end it.
    ChangeOver {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Wait until it is safe to end the old secret: exit status 0 then, 1 when the old secret ends before.
    Watch(Watch),
    /// Replace the current secret. The old one stays valid for the transition period.
    Rotate(Rotate),
    /// Show the stored value of a secret.
    Reveal {
        #[command(flatten)]
        place: Place,
        /// The secret; the current one when absent.
        #[arg(long)]
        secret: Option<String>,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        value: Destination,
        #[command(flatten)]
        remote: Remote,
    },
    /// End the retiring secret now.
    Revoke(Revoke),
    /// Give the retiring secret longer.
    Extend {
        #[command(flatten)]
        place: Place,
        /// The secret; the retiring one when absent.
        #[arg(long)]
        secret: Option<String>,
        /// New deadline, such as +24h (from now) or 2026-11-25T08:00:00Z; at most 168 hours after the rotation.
        #[arg(long, value_name = "TIME", value_parser = later)]
        until: Moment,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Undo the latest rotation: the retiring secret is current again, the newer one is revoked.
    Rollback {
        #[command(flatten)]
        place: Place,
        /// The newer secret has been used, and you know that its callers will fail.
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
    /// ID of the secret. Defaults to the retiring secret.
    #[arg(long)]
    pub(crate) secret: Option<String>,
    /// Condition, checked at the moment of the revocation: `safe`, or `quiet=30m`, as for `watch --until`.
    #[arg(long, value_name = "GOAL", value_parser = goal, conflicts_with = "confirm")]
    pub(crate) only_if: Option<Goal>,
    /// Name of the client, needed while it is not safe to end the old secret. Asked for on a terminal when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) end: End,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// How a secret ends.
#[derive(Args)]
pub(crate) struct End {
    /// Why.
    #[arg(long)]
    pub(crate) reason: String,
    /// It has leaked.
    #[arg(long)]
    pub(crate) compromised: bool,
    /// Also end the tokens issued under it, for introspection.
    #[arg(long)]
    pub(crate) revoke_tokens: bool,
}

#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Transition period of the old secret: whole hours up to 168h, such as 24h or 7d; 0 ends it immediately.
    #[arg(long, value_name = "DURATION", value_parser = transition)]
    pub(crate) transition: TransitionHours,
    /// The client's name, typed. Asked for on a terminal when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// End the secret of a transition that is still running.
    #[arg(long)]
    pub(crate) end_running_transition: bool,
    /// The old secret has leaked. Needs --transition 0; ends a running transition, too.
    #[arg(long)]
    pub(crate) compromised: bool,
    /// Also end, for introspection, the tokens issued under the secrets that end now.
    #[arg(long)]
    pub(crate) revoke_tokens: bool,
    #[command(flatten)]
    pub(crate) value: NewValue,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

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
