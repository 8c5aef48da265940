//! `crossfade node …`

use super::Remote;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Node {
    /// List the nodes: the serving processes, and until when each can decide.
    List(Remote),
}
