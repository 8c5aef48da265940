//! `crossfade sign-in-policy …`

use super::{
    Remote,
    values::{item, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::{account::Passwords, second_factor::AskedFor};

#[derive(Subcommand)]
pub(crate) enum SignInPolicy {
    /// Show whom the instance asks for a second factor, how many of them have none, and who can sign in with a password.
    Show(Remote),
    /// Set whom the instance asks for a second factor, and who can sign in with a password. People who must add a factor are
    /// notified.
    Update(UpdateSignInPolicy),
}

#[derive(Args)]
pub(crate) struct UpdateSignInPolicy {
    #[command(flatten)]
    pub(crate) change: SignInPolicyChange,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct SignInPolicyChange {
    /// Who must have a second factor: optional, secret_roles or everyone.
    #[arg(long, value_name = "WHO", value_parser = one_of(AskedFor::ALL, AskedFor::as_str))]
    pub(crate) second_factor: Option<AskedFor>,
    /// Who can sign in with a password.
    #[arg(long, value_parser = one_of(Passwords::ALL, Passwords::as_str))]
    pub(crate) passwords: Option<Passwords>,
    /// Owner who can sign in with a password when nobody else can (user ID or email address). Repeatable. Replaces
    /// the current ones.
    #[arg(long, value_name = "OWNER", value_delimiter = ',', value_parser = item)]
    pub(crate) break_glass: Vec<String>,
}
