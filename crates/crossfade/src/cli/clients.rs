//! `crossfade client …`

use super::{
    NewValue, Place, Remote,
    values::{item, one_environment},
};
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum Client {
    /// List clients.
    List {
        /// Part of the name, or a whole OAuth client_id.
        #[arg(long)]
        q: Option<String>,
        /// Only those of this property: an id, or a name.
        #[arg(long)]
        property: Option<String>,
        /// Only those registered in this environment.
        #[arg(long, value_parser = one_environment)]
        env: Option<String>,
        /// Only those with a secret older than its environment's maximum age.
        #[arg(long)]
        overdue: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a client and its registrations.
    Show {
        /// Its id, a name that exactly one client has, or an OAuth client_id of it.
        client: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a client, with a first secret in each environment.
    Create(CreateClient),
    /// Change a client's name, description or owners.
    Update(UpdateClient),
    /// Delete a client: its secrets and tokens are dead at once, its history stays.
    Delete {
        /// Its id, a name that exactly one client has, or an OAuth client_id of it.
        client: String,
        /// The client's name, typed. Asked for on a terminal when absent.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Register a client in a further environment, with a first secret.
    Register {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        value: NewValue,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateClient {
    /// Its name.
    pub(crate) name: String,
    /// The property that it belongs to: an id, or a name.
    #[arg(long)]
    pub(crate) property: String,
    /// Environments to register it in, separated by commas.
    #[arg(long, value_delimiter = ',', required = true, value_parser = item)]
    pub(crate) env: Vec<String>,
    /// Email address to notify about the client. Repeatable, or separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) owner: Vec<String>,
    /// What it is.
    #[arg(long)]
    pub(crate) description: Option<String>,
    #[command(flatten)]
    pub(crate) value: NewValue,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct UpdateClient {
    /// Its id, a name that exactly one client has, or an OAuth client_id of it.
    pub(crate) client: String,
    #[command(flatten)]
    pub(crate) change: ClientChange,
    /// Name of the client, for a change of its owners. Asked for on a terminal when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ClientChange {
    /// Its new name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it is.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Email address to notify about the client, in place of the present ones. Repeatable, or separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) owner: Vec<String>,
    /// Nobody is told.
    #[arg(long, conflicts_with = "owner")]
    pub(crate) no_owners: bool,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn a_change_says_what_changes_and_a_deletion_says_why() {
        assert_eq!(refused("client update X"), 2);
        assert_eq!(refused("client update X --no-owners"), 0);
        assert_eq!(refused("client update X --owner a@example.com --no-owners"), 2);
        assert_eq!(refused("client update X --owner a@example.com --owner b@example.com --name Y"), 0);
        assert_eq!(refused("client delete X --confirm X"), 2);
        assert_eq!(refused("client delete X --reason gone"), 0, "the name can be asked for");
    }

    #[test]
    fn a_first_secret_needs_a_place_to_go() {
        assert_eq!(refused("client register X --env staging"), 2);
        assert_eq!(refused("client register X --env staging --show"), 0);
        assert_eq!(refused("client register X --env staging --show --output f"), 2);
        assert_eq!(refused("client create X --property P --env staging"), 2);
        assert_eq!(refused("client create X --property P --env staging,qa --no-value"), 0);
        assert_eq!(refused("client create X --property P --env staging --no-value --show"), 2);
        assert_eq!(refused("client create X --property P --env staging, --show"), 2, "an empty item");
        assert_eq!(refused("client create X --property P --env staging --owner a@x.org,b@x.org --show"), 0);
        assert_eq!(refused("client register X --env staging,qa --show"), 2);
    }
}
