//! `crossfade secret …`

use super::{
    Destination, Place, Remote, Series, Watch,
    change_over::{Goal, goal},
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
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The secret; the retiring one when absent.
        #[arg(long)]
        secret: Option<String>,
        /// Only if that is so at the moment of the revocation: `safe`, or `quiet=30m`, as `watch --until` waits for it.
        #[arg(long, value_name = "GOAL", value_parser = goal)]
        only_if: Option<Goal>,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give the retiring secret longer.
    Extend {
        #[command(flatten)]
        place: Place,
        /// The secret; the retiring one when absent.
        #[arg(long)]
        secret: Option<String>,
        /// The new deadline, such as 2026-11-25T08:00:00Z.
        #[arg(long, value_name = "TIME")]
        until: String,
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
    /// How long the old secret stays valid: whole hours up to 168h, or 0 to end it at once.
    #[arg(long, value_parser = transition)]
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
    pub(crate) value: Destination,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

fn transition(text: &str) -> Result<TransitionHours, String> {
    TransitionHours::parse(text).map_err(|_| "give whole hours from 0 to 168, such as 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn rule_9_a_transition_out_of_range_is_wrong_usage() {
        let rotate = |more: &str| refused(&format!("secret rotate X --env production {more}"));
        for good in ["0", "24h", "168h"] {
            assert_eq!(rotate(&format!("--transition {good} --show")), 0, "{good}");
        }
        for bad in ["169h", "-1", "1.5h", "", "1d"] {
            assert_eq!(rotate(&format!("--transition {bad} --show")), 2, "{bad}");
        }
        assert_eq!(rotate("--show"), 2, "there is no default");
        assert_eq!(rotate("--transition 0"), 2, "where the value goes is decided first");
    }
}
