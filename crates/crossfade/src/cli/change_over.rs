//! `crossfade secret change-over`, `series` and `watch`.

use super::{Place, Remote, values::one_of};
use clap::Args;
use crossfade_core::api::Grain;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Series {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How finely time is divided.
    #[arg(long, default_value = "hour", value_parser = one_of(Grain::ALL, Grain::as_str))]
    pub(crate) grain: Grain,
    /// Only from this time on, such as 2026-11-25T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only up to this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) place: Place,
    /// What is waited for: `safe`, or `quiet=30m` (s, m or h, from a minute to 168 hours): nobody is left on the old
    /// secret, and it has been quiet for so long.
    #[arg(long, value_parser = goal, default_value = "safe")]
    pub(crate) until: Goal,
    /// Seconds between two looks, 1 to 3600.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) every: u64,
    /// Time after which the watch fails, such as 30m or 12h. Without a limit it fails after 15 minutes without an answer
    /// of the server.
    #[arg(long, value_name = "DURATION", value_parser = time_limit)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What is waited for: that it is safe to end the old secret, after the quiet time that the server takes, or after
/// this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Goal(pub(crate) Option<Duration>);

pub(super) fn goal(text: &str) -> Result<Goal, String> {
    if text == "safe" {
        return Ok(Goal(None));
    }
    let quiet = text.strip_prefix("quiet=").and_then(span);
    let quiet = quiet.filter(|span| (60..=604_800).contains(&span.as_secs()));
    quiet
        .map(|span| Goal(Some(span)))
        .ok_or_else(|| "give safe, or quiet= and a time from 1m to 168h".to_owned())
}

fn time_limit(text: &str) -> Result<Duration, String> {
    let limit = span(text).filter(|limit| !limit.is_zero());
    limit.ok_or_else(|| "must be a whole number with a unit, such as 90s, 10m or 24h".to_owned())
}

/// A whole number of seconds, minutes or hours: `90s`, `30m`, `2h`.
pub(super) fn span(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let number = text.strip_suffix(unit)?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.then(|| number.parse().ok()).flatten()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::refused;

    #[test]
    fn a_goal_is_safe_or_a_quiet_time() {
        assert_eq!(goal("safe"), Ok(Goal(None)));
        for (text, seconds) in
            [("quiet=30m", 1800), ("quiet=90s", 90), ("quiet=168h", 604_800), ("quiet=1m", 60)]
        {
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
        assert_eq!(refused("secret watch X --env production --every 0"), 2);
        assert_eq!(refused("secret watch X --env production --timeout 90s"), 0);
        for limit in ["0s", "90", "soon"] {
            assert_eq!(refused(&format!("secret watch X --env production --timeout {limit}")), 2, "{limit}");
        }
    }
}
