//! `crossfade property …`

use super::Remote;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Property {
    /// List properties.
    List(Remote),
    /// Show a property.
    Show {
        /// Its id, or its name.
        property: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a property.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Rename a property.
    Update {
        /// Its id, or its name.
        property: String,
        /// Its new name.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a property that has never had a client.
    Delete {
        /// Its id, or its name.
        property: String,
        #[command(flatten)]
        remote: Remote,
    },
}
