//! `crossfade drill …`

use super::{
    Place, Remote,
    times::{Moment, later, seconds},
};
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum Drill {
    /// Schedule short windows that refuse the retiring secret, to find its remaining callers.
    Schedule(ScheduleDrill),
    /// List a client's drills in an environment, newest first, with the callers they refused.
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Stop a drill immediately. The old secret is accepted again.
    Stop(StopDrill),
}

#[derive(Args)]
pub(crate) struct ScheduleDrill {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Length of each window, 5s to 15m.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(crate) length: i64,
    /// Start of the first window, such as +10m (from now) or 2026-11-25T08:00:00Z. Defaults to now.
    #[arg(long, value_name = "TIME", value_parser = later)]
    pub(crate) start: Option<Moment>,
    /// Number of windows, 1 to 48. Two or more require --every.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=48))]
    pub(crate) repeat: i64,
    /// Interval between window starts, such as 10m. At least twice --length, and at least --length plus 1
    /// minute.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(crate) every: Option<i64>,
    /// Client name, to confirm. Prompted for on a terminal if omitted.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = false, args = ["drill", "running"])]
pub(crate) struct StopDrill {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Drill ID.
    pub(crate) drill: Option<String>,
    /// Stop the drill that is scheduled or running.
    #[arg(long)]
    pub(crate) running: bool,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn what_a_drill_needs_is_wrong_usage_when_it_is_not_there() {
        let schedule = |more: &str| refused(&format!("drill schedule X --env staging {more}"));
        assert_eq!(schedule("--length 60s --reason r"), 0);
        assert_eq!(schedule("--length 1m --start +10m --repeat 3 --every 10m --confirm X --reason r"), 0);
        for bad in [
            "--reason r",
            "--length 60s",
            "--length 60 --reason r",
            "--length 1.5m --reason r",
            "--length 60s --repeat 0 --reason r",
            "--length 60s --repeat 49 --reason r",
            "--length 60s --start soon --reason r",
            "--length 60s --start 10m --reason r",
            "--length 60s --every 10 --repeat 2 --reason r",
        ] {
            assert_eq!(schedule(bad), 2, "{bad}");
        }
        let stop = |more: &str| refused(&format!("drill stop X --env staging{more}"));
        assert_eq!((stop(" --running"), stop(" drill_1")), (0, 0));
        assert_eq!((stop(""), stop(" drill_1 --running")), (2, 2));
    }
}
