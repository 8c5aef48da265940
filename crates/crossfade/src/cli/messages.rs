//! `crossfade messages …` and `crossfade client messages …`

use super::{Remote, values::item};
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum Messages {
    /// Show which messages you get, and your time zone.
    Show(Remote),
    /// Set which messages you get, or your time zone.
    Set {
        #[command(flatten)]
        change: MessagesChange,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct MessagesChange {
    /// Class or kind of messages to switch off. Replaces what is switched off. Repeatable or comma-separated.
    #[arg(long, value_name = "MESSAGES", value_delimiter = ',', value_parser = item)]
    pub(crate) off: Vec<String>,
    /// Switch all messages on.
    #[arg(long, conflicts_with = "off")]
    pub(crate) all_on: bool,
    /// Time zone of the times in messages, such as Europe/Berlin. UTC shows UTC alone.
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum ClientMessages {
    /// Show which messages about a client its owners get.
    Show {
        /// Client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
        client: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Set which messages about a client its owners get. The owners are notified.
    Set {
        /// Client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
        client: String,
        #[command(flatten)]
        switches: Switches,
        /// Client name, required to switch off more than before. Prompted for on a terminal if omitted.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        /// Reason, recorded in the audit trail and sent to the owners.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Switches {
    /// Class or kind of messages to switch off. Replaces what is switched off. Repeatable or comma-separated.
    #[arg(long, value_name = "MESSAGES", value_delimiter = ',', value_parser = item)]
    pub(crate) off: Vec<String>,
    /// Switch all messages on.
    #[arg(long)]
    pub(crate) all_on: bool,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn a_change_says_what_is_off_or_that_nothing_is() {
        assert_eq!(refused("messages set"), 2);
        assert_eq!(refused("messages set --off secret.rotated,drill.stopped"), 0);
        assert_eq!(refused("messages set --all-on --time-zone Europe/Berlin"), 0);
        assert_eq!(refused("messages set --off wake --all-on"), 2);
        assert_eq!(refused("client messages set X"), 2);
        assert_eq!(refused("client messages set X --off wake --confirm X"), 0);
        assert_eq!(refused("client messages set X --off wake --all-on"), 2);
        assert_eq!(refused("client messages show X"), 0);
    }
}
