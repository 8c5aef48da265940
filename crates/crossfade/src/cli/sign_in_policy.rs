//! `crossfade sign-in-policy …`

use super::{Remote, values::one_of};
use clap::Subcommand;
use crossfade_core::second_factor::AskedFor;

#[derive(Subcommand)]
pub(crate) enum SignInPolicy {
    /// Show whom the instance asks for a second factor, and how many of them have none.
    Show(Remote),
    /// Set whom the instance asks for a second factor. People who must add one are notified.
    Update {
        /// Who must have a second factor: optional, secret_roles or everyone.
        #[arg(long, value_name = "WHO", value_parser = one_of(AskedFor::ALL, AskedFor::as_str))]
        second_factor: AskedFor,
        /// Reason, recorded in the audit trail.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}
