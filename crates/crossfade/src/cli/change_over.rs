//! `crossfade secret change-over`, `series` and `watch`.

use super::{
    Place, Remote,
    times::{Moment, duration, moment, within},
    values::one_of,
};
use clap::Args;
use crossfade_core::{api::Grain, change_over::quiet_time};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Series {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Length of each interval: minute, hour or day.
    #[arg(long, default_value = "hour", value_parser = one_of(Grain::ALL, Grain::as_str))]
    pub(crate) grain: Grain,
    /// Start time (inclusive), such as 24h (ago) or 2026-11-25T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Moment>,
    /// End time (exclusive), in the same form as --since.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Moment>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Condition to wait for: `safe`, or `quiet=DURATION` such as quiet=30m (1m to 7d). quiet means that no
    /// known caller still uses the old secret and it has been quiet for that long.
    #[arg(long, value_parser = goal, default_value = "safe")]
    pub(crate) until: Goal,
    /// Time between checks, 1s to 1h.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = within(1..=3600, "from 1s to 1h"))]
    pub(crate) every: Duration,
    /// Time limit, such as 30m or 12h, after which the exit status is 6. Without a limit, the command fails when the
    /// server has not answered for 15 minutes.
    #[arg(long, value_name = "DURATION", value_parser = within(1..=u64::MAX, "at least 1s"))]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Condition to wait for: safe to end, after the server's quiet time or after this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Goal(pub(crate) Option<Duration>);

pub(super) fn goal(text: &str) -> Result<Goal, String> {
    if text == "safe" {
        return Ok(Goal(None));
    }
    let quiet = text.strip_prefix("quiet=").and_then(|text| duration(text).ok());
    let quiet = quiet.and_then(|span| quiet_time(span.as_secs()));
    quiet
        .map(|span| Goal(Some(span)))
        .ok_or_else(|| "must be safe, or quiet= with a duration from 1m to 7d, such as quiet=30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::refused;

    #[test]
    fn a_goal_is_safe_or_a_quiet_time() {
        assert_eq!(goal("safe"), Ok(Goal(None)));
        for (text, seconds) in [
            ("quiet=30m", 1800),
            ("quiet=90s", 90),
            ("quiet=168h", 604_800),
            ("quiet=7d", 604_800),
            ("quiet=1m", 60),
        ] {
            assert_eq!(goal(text), Ok(Goal(Some(Duration::from_secs(seconds)))));
        }
        for bad in [
            "",
            "quiet",
            "quiet=",
            "quiet=30",
            "quiet=0m",
            "quiet=59s",
            "quiet=169h",
            "quiet=-1m",
            "quiet=1.5h",
            "quiet=99999999999999999999h",
            "Safe",
        ] {
            assert!(goal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_goal_is_wrong_usage() {
        assert_eq!(refused("secret watch X --env production --until quiet=30m"), 0);
        assert_eq!(refused("secret watch X --env production --until soon"), 2);
        assert_eq!(refused("secret watch X --env production --every 10s"), 0);
        for every in ["0", "10", "61m", "fast"] {
            assert_eq!(refused(&format!("secret watch X --env production --every {every}")), 2, "{every}");
        }
        assert_eq!(refused("secret watch X --env production --timeout 90s"), 0);
        for limit in ["0s", "90", "soon"] {
            assert_eq!(refused(&format!("secret watch X --env production --timeout {limit}")), 2, "{limit}");
        }
    }
}
