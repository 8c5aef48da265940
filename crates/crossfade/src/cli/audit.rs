//! `crossfade audit …`

use super::{
    Remote,
    times::{Moment, moment},
    values::one_environment,
};
use crate::settings::Settings;
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use crossfade_core::audit::Via;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// List the audit trail, newest first.
    List {
        #[command(flatten)]
        filters: Filters,
        /// Maximum number of events.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        remote: Remote,
    },
    /// Stream the audit trail as JSON Lines, oldest first.
    Export {
        #[command(flatten)]
        filters: Filters,
        /// Format: jsonl, which can be verified, or ocsf (Open Cybersecurity Schema Framework 1.5).
        #[arg(long, default_value = "jsonl", value_parser = PossibleValuesParser::new(["jsonl", "ocsf"]))]
        format: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Print a signed checkpoint of the trail, to keep outside the instance.
    ///
    /// The checkpoint names the last event, its hash, and the public key that signs checkpoints.
    Checkpoint(Remote),
    /// Verify the trail of the database on this machine, or an export. Changes nothing.
    ///
    /// Names the first event that was altered, removed or inserted; the exit status is then 1. It is 7 if the trail is
    /// consistent, but the signer is not known or the checkpoint was not compared.
    Verify(Box<Verify>),
    /// List failed client authentications by hour, latest first.
    Failures(Failures),
}

#[derive(Args)]
pub(crate) struct Verify {
    /// File written by crossfade audit export. Defaults to the trail of the database.
    pub(crate) file: Option<PathBuf>,
    /// File with a checkpoint kept outside the instance, as printed by crossfade audit checkpoint.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// ID of a key that is allowed to sign, as verify and checkpoint print it. Repeatable. Defaults to the key of
    /// --checkpoint, or the keys that the master key opens.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) key: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Filters {
    /// Only events by this actor: an ID or a user's email address.
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Only this action, such as secret.rotated.
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only this client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Only this environment (slug).
    #[arg(long, value_parser = one_environment)]
    pub(crate) env: Option<String>,
    /// Start time (inclusive), such as 24h (ago) or 2026-11-25T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Moment>,
    /// End time (exclusive), in the same form as --since.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Moment>,
    /// Only events with this outcome.
    #[arg(long, value_parser = PossibleValuesParser::new(["done", "refused"]))]
    pub(crate) outcome: Option<String>,
    /// Only events done through this API token or session (ID), local command or policy.
    #[arg(long, value_name = "ID")]
    pub(crate) via: Option<String>,
    /// Only events done through this kind of access.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Via::KINDS))]
    pub(crate) via_kind: Option<String>,
}

#[derive(Args)]
pub(crate) struct Failures {
    /// Only this client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Only this environment (slug).
    #[arg(long, value_parser = one_environment)]
    pub(crate) env: Option<String>,
    /// Only failures with this reason, such as expired.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Only rows whose last failure is at or after this time, such as 24h (ago) or 2026-11-25T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Moment>,
    /// Maximum number of rows.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn a_time_of_the_trail_is_a_duration_ago_or_rfc_3339() {
        for command in ["audit list", "audit export", "audit failures", "secret series X --env staging"] {
            for good in ["1h", "7d", "+1h", "2026-11-25T08:00:00Z"] {
                assert_eq!(refused(&format!("{command} --since {good}")), 0, "{command} {good}");
            }
            for bad in ["yesterday", "60", "2026-11-25"] {
                assert_eq!(refused(&format!("{command} --since {bad}")), 2, "{command} {bad}");
            }
        }
    }

    #[test]
    fn a_filter_takes_one_environment() {
        for command in
            ["audit list", "audit failures", "client list", "secret list X", "property limits show P"]
        {
            assert_eq!(refused(&format!("{command} --env staging")), 0, "{command}");
            assert_eq!(refused(&format!("{command} --env staging,production")), 2, "{command}");
        }
    }
}
