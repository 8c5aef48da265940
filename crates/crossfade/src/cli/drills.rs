//! `crossfade drill …`

use super::{Place, Remote, change_over::span};
use clap::{Args, Subcommand};
use crossfade_core::Timestamp;
use std::time::Duration;

#[derive(Subcommand)]
pub(crate) enum Drill {
    /// Schedule short windows in which the retiring secret is refused, to find who still uses it.
    Schedule(ScheduleDrill),
    /// List the drills of a client in an environment, newest first, and the callers that they have refused.
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Stop a drill at once: the old secret is accepted again.
    Stop(StopDrill),
}

#[derive(Args)]
pub(crate) struct ScheduleDrill {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How long a window is: 5s to 15m.
    #[arg(long, value_parser = seconds)]
    pub(crate) length: i64,
    /// When the first window begins: `in=10m`, or a time such as 2026-11-25T08:00:00Z. Now when absent.
    #[arg(long, value_parser = start, value_name = "WHEN")]
    pub(crate) start: Option<Start>,
    /// How many windows there are, up to 48. More than one takes --every.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=48))]
    pub(crate) repeat: i64,
    /// From the beginning of a window to that of the next, such as 10m: at least twice --length, and a minute more than it.
    #[arg(long, value_parser = seconds)]
    pub(crate) every: Option<i64>,
    /// The client's name, typed. Asked for on a terminal when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Why.
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
    /// The drill.
    pub(crate) drill: Option<String>,
    /// The drill that is not over, whichever that is.
    #[arg(long)]
    pub(crate) running: bool,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// When the first window begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// So long from now.
    In(Duration),
    /// At this time.
    At(Timestamp),
}

fn start(text: &str) -> Result<Start, String> {
    match text.strip_prefix("in=") {
        Some(later) => span(later).map(Start::In).ok_or_else(|| "give a time such as in=10m".to_owned()),
        None => Timestamp::parse(text).map(Start::At).map_err(|_| {
            "give in= and a time such as in=10m, or a time such as 2026-11-25T08:00:00Z".to_owned()
        }),
    }
}

fn seconds(text: &str) -> Result<i64, String> {
    let seconds = span(text).and_then(|span| i64::try_from(span.as_secs()).ok());
    seconds.ok_or_else(|| "give a whole number of seconds, minutes or hours, such as 60s or 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::refused;

    #[test]
    fn a_start_is_a_span_from_now_or_a_time() {
        assert_eq!(start("in=10m"), Ok(Start::In(Duration::from_secs(600))));
        assert_eq!(start("in=0s"), Ok(Start::In(Duration::ZERO)));
        let at = Timestamp::parse("2026-11-25T08:00:00Z").unwrap();
        assert_eq!(start("2026-11-25T09:00:00+01:00"), Ok(Start::At(at)));
        for bad in ["", "in=", "in=10", "10m", "in=-1m", "tomorrow", "2026-11-25", "in=99999999999999999999s"]
        {
            assert!(start(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_drill_needs_is_wrong_usage_when_it_is_not_there() {
        let schedule = |more: &str| refused(&format!("drill schedule X --env staging {more}"));
        assert_eq!(schedule("--length 60s --reason r"), 0);
        assert_eq!(schedule("--length 1m --start in=10m --repeat 3 --every 10m --confirm X --reason r"), 0);
        for bad in [
            "--reason r",
            "--length 60s",
            "--length 60 --reason r",
            "--length 1.5m --reason r",
            "--length 60s --repeat 0 --reason r",
            "--length 60s --repeat 49 --reason r",
            "--length 60s --start soon --reason r",
        ] {
            assert_eq!(schedule(bad), 2, "{bad}");
        }
        let stop = |more: &str| refused(&format!("drill stop X --env staging{more}"));
        assert_eq!((stop(" --running"), stop(" drill_1")), (0, 0));
        assert_eq!((stop(""), stop(" drill_1 --running")), (2, 2));
    }
}
