//! `crossfade password-policy …`

use super::{
    Remote,
    values::{item, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::account::Passwords;

#[derive(Subcommand)]
pub(crate) enum PasswordPolicy {
    /// Show who can sign in with a password.
    Show(Remote),
    /// Set who can sign in with a password.
    Update(UpdatePasswordPolicy),
}

#[derive(Args)]
pub(crate) struct UpdatePasswordPolicy {
    #[command(flatten)]
    pub(crate) change: PasswordPolicyChange,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct PasswordPolicyChange {
    /// Who can sign in with a password.
    #[arg(long, value_parser = one_of(Passwords::ALL, Passwords::as_str))]
    pub(crate) passwords: Option<Passwords>,
    /// Owner who can sign in with a password when nobody else can (user ID or email address). Repeatable. Replaces
    /// the current ones.
    #[arg(long, value_name = "OWNER", value_delimiter = ',', value_parser = item)]
    pub(crate) break_glass: Vec<String>,
}
