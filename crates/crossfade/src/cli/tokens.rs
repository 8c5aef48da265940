//! `crossfade token …`, as far as it speaks to a server.

use super::Remote;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum RemoteToken {
    /// List your API tokens. Owners see all tokens.
    List(Remote),
    /// Delete an API token.
    Delete {
        /// Token ID.
        token: String,
        #[command(flatten)]
        remote: Remote,
    },
}
