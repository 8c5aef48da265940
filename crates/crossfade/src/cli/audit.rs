//! `crossfade audit …`

use super::Remote;
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use crossfade_core::audit::Via;

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// List the audit trail, newest first.
    List {
        #[command(flatten)]
        filters: Filters,
        /// How many events at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        remote: Remote,
    },
    /// Print the audit trail as JSON lines, oldest first, while it is read.
    Export {
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        remote: Remote,
    },
    /// List failed client authentications by hour, latest first.
    Failures(Failures),
}

#[derive(Args)]
pub(crate) struct Filters {
    /// Only what this actor did: an id, or a user's e-mail address.
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Only this action, such as secret.rotated.
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only this client: its id, a name that exactly one client has, or an OAuth client_id of it.
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Only this environment.
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// From this time on, such as 2026-11-25T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Up to, and not including, this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only what came out like this.
    #[arg(long, value_parser = PossibleValuesParser::new(["done", "refused"]))]
    pub(crate) outcome: Option<String>,
    /// Only events through this: the ID of an API token or a session, a local command, or a policy.
    #[arg(long, value_name = "ID")]
    pub(crate) via: Option<String>,
    /// Only events through this kind.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Via::KINDS))]
    pub(crate) via_kind: Option<String>,
}

#[derive(Args)]
pub(crate) struct Failures {
    /// Only this client: its id, a name that exactly one client has, or an OAuth client_id of it.
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Only this environment.
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Only these, such as expired.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Only those whose last failure is not older, such as 2026-11-25T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// How many lines at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) remote: Remote,
}
