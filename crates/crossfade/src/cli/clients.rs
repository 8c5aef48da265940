//! `crossfade client …`

use super::{
    ClientMessages, NewValue, Place, Remote,
    values::{item, one_environment},
};
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum Client {
    /// List clients.
    List {
        /// Part of a name, or a full OAuth client_id.
        #[arg(long)]
        q: Option<String>,
        /// Only clients of this property (ID or name).
        #[arg(long)]
        property: Option<String>,
        /// Only clients registered in this environment.
        #[arg(long, value_parser = one_environment)]
        env: Option<String>,
        /// Only clients with an overdue secret: older than its environment's maximum age.
        #[arg(long)]
        overdue: bool,
        /// Only clients without an owner, about whom nobody is notified.
        #[arg(long)]
        ownerless: bool,
        /// Only clients that were created with --adopt and have no secret yet.
        #[arg(long)]
        without_secret: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a client and its registrations.
    Show {
        /// Client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
        client: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a client and its first secret in each environment.
    Create(CreateClient),
    /// Change a client's name, description or owners.
    Update(UpdateClient),
    /// Delete a client. Its secrets and tokens end immediately; its history is kept.
    Delete {
        /// Client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
        client: String,
        /// Client name, to confirm. Prompted for on a terminal if omitted.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        /// Reason, recorded in the audit trail.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Manage the messages about a client.
    #[command(subcommand)]
    Messages(ClientMessages),
    /// Register a client in another environment and create its first secret.
    Register {
        #[command(flatten)]
        place: Place,
        /// Client's id at the upstream issuer. Required in an environment in front of an issuer, and only there.
        #[arg(long, value_name = "CLIENT_ID")]
        client_id: Option<String>,
        /// Create no secret. The client keeps the one that it has at the upstream issuer, which is learned when the issuer
        /// accepts it. Requires --client-id, --no-value, and that adopt_until of the environment is ahead.
        #[arg(long, requires = "client_id", conflicts_with_all = ["show", "output"])]
        adopt: bool,
        #[command(flatten)]
        value: NewValue,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateClient {
    /// Client name.
    pub(crate) name: String,
    /// Property the client belongs to (ID or name).
    #[arg(long)]
    pub(crate) property: String,
    /// Environments to register the client in. Comma-separated.
    #[arg(long, value_delimiter = ',', required = true, value_parser = item)]
    pub(crate) env: Vec<String>,
    /// Client's id at the upstream issuer. Required if an environment is in front of an issuer, and only then.
    #[arg(long, value_name = "CLIENT_ID")]
    pub(crate) client_id: Option<String>,
    /// Create no secret in front of the issuer. The client keeps the one that it has there, which is learned when the issuer
    /// accepts it. Requires --client-id, --no-value, and that adopt_until of the environment is ahead.
    #[arg(long, requires = "client_id", conflicts_with_all = ["show", "output"])]
    pub(crate) adopt: bool,
    /// Owner to notify about this client: an email address or a webhook ID (wh_…). Repeatable or comma-separated.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) owner: Vec<String>,
    /// Description.
    #[arg(long)]
    pub(crate) description: Option<String>,
    #[command(flatten)]
    pub(crate) value: NewValue,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct UpdateClient {
    /// Client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
    pub(crate) client: String,
    #[command(flatten)]
    pub(crate) change: ClientChange,
    /// Client name, to confirm a change of owners. Prompted for on a terminal if omitted.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ClientChange {
    /// New name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Description.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Owner: an email address or a webhook ID (wh_…). Replaces the current owners. Repeatable or comma-separated.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) owner: Vec<String>,
    /// Remove all owners, so nobody is notified.
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
        let register = "client register X --env partners --client-id x --adopt";
        assert_eq!(
            (refused(&format!("{register} --no-value")), refused(&format!("{register} --show"))),
            (0, 2)
        );
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
