//! `crossfade token …`, as far as it speaks to a server.

use super::Remote;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum RemoteToken {
    /// List your API tokens; an Owner sees all.
    List(Remote),
    /// End an API token.
    Delete {
        /// Its id.
        token: String,
        #[command(flatten)]
        remote: Remote,
    },
}
