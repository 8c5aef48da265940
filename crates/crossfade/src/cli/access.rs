//! `crossfade access …`

use super::{Remote, values};
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum Access {
    /// List roles and their holders: scope, grant time, source and last activity.
    List(ListAccess),
}

#[derive(Args)]
pub(crate) struct ListAccess {
    /// Only roles of this user: an ID or an email address.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only roles that cover this client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Only roles that cover this environment slug.
    #[arg(long, value_parser = values::one_environment)]
    pub(crate) env: Option<String>,
    /// Only roles that have this permission.
    #[arg(long, value_parser = values::permission())]
    pub(crate) permission: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}
