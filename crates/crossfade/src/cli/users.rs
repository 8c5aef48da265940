//! `crossfade user …` and `crossfade grant …`

use super::{
    Destination, Remote,
    values::{item, new_file, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::roles::Role;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum User {
    /// List users.
    List {
        /// Part of a name or email address.
        #[arg(long)]
        q: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a user and the roles that they hold.
    Show {
        /// User ID or email address.
        user: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a person, who gets a one-time link to set a password, or a program.
    Create(CreateUser),
    /// Change a user's name or email address.
    Update {
        /// User ID or email address.
        user: String,
        #[command(flatten)]
        change: UserChange,
        /// User name, to confirm a new email address of a user who owns clients.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a user and end their sessions, tokens, links and grants. Their past actions stay in the audit
    /// trail. Their clients are handed over.
    Delete {
        /// User ID or email address.
        user: String,
        /// New owner of the user's clients: user ID, or email address of a person or group. Defaults to the
        /// other owners of each client, or to its managers if there are none.
        #[arg(long, value_name = "OWNER")]
        hand_over_to: Option<String>,
        /// User name, to confirm. Prompted for on a terminal if omitted, after the user's clients are listed.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove every second factor of a person who has lost them. Ends their sessions, API tokens and links, and
    /// notifies them.
    RemoveFactors {
        /// User ID or email address.
        user: String,
        /// Reason, recorded in the audit trail.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the clients that a user owns, and who would own each of them if the user was deleted.
    HandOver {
        /// User ID or email address.
        user: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a one-time link for setting a person's password. Replaces any earlier link.
    Link {
        /// User ID or email address.
        user: String,
        #[command(flatten)]
        value: Destination,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateUser {
    /// Email address of the person.
    #[arg(long, required_unless_present = "program", conflicts_with = "program")]
    pub(crate) email: Option<String>,
    /// Display name. For a person, defaults to the part of the email address before the @.
    #[arg(long, required_if_eq("program", "true"))]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) link: LinkOrProgram,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Destination of the link. Programs get none.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct LinkOrProgram {
    /// Write the link to a new file that only you can read.
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    pub(crate) output: Option<PathBuf>,
    /// Print the link on stdout.
    #[arg(long)]
    pub(crate) show: bool,
    /// Create a program, which uses API tokens and never signs in. Programs get no link.
    #[arg(long)]
    pub(crate) program: bool,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct UserChange {
    /// Display name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Email address.
    #[arg(long)]
    pub(crate) email: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Grant {
    /// List the roles that a user holds.
    List {
        /// User ID or email address.
        user: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Grant a user a role on the whole platform, one property or one client.
    Create(CreateGrant),
    /// Remove a role, effective from the user's next request.
    Delete {
        /// User ID or email address.
        user: String,
        /// Grant ID.
        grant: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateGrant {
    /// User ID or email address.
    pub(crate) user: String,
    /// Role to grant.
    #[arg(long, value_parser = one_of(Role::ALL, Role::as_str))]
    pub(crate) role: Role,
    /// Limit the role to this property (ID or name).
    #[arg(long, conflicts_with = "client")]
    pub(crate) property: Option<String>,
    /// Limit the role to this client: its ID (cl_…), its unique name, or one of its OAuth client_ids.
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Limit the role to these environments. Comma-separated.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) env: Vec<String>,
    /// Write the one-time link to a new file that only you can read. A link is created only if the role
    /// closes the person's account first, as their first role that sees secrets does. Their password,
    /// sessions, tokens and links then end.
    #[arg(long, value_name = "FILE", value_parser = new_file(), conflicts_with = "show")]
    pub(crate) output: Option<PathBuf>,
    /// Print the one-time link on stdout.
    #[arg(long)]
    pub(crate) show: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn a_person_has_an_address_and_a_link_and_a_program_has_a_name() {
        assert_eq!(refused("user create --email a@example.com --show"), 0);
        assert_eq!(refused("user create --email a@example.com --name A --output link"), 0);
        assert_eq!(refused("user create --email a@example.com"), 2, "where the link goes is decided first");
        assert_eq!(refused("user create --show"), 2);
        assert_eq!(refused("user create --program --name deploy"), 0);
        assert_eq!(refused("user create --program"), 2);
        assert_eq!(refused("user create --program --name deploy --show"), 2);
        assert_eq!(refused("user create --program --name deploy --email a@example.com"), 2);
        assert_eq!(refused("user update a@example.com"), 2, "nothing to change");
        assert_eq!(refused("user link a@example.com"), 2);
    }

    #[test]
    fn a_grant_is_on_one_thing() {
        assert_eq!(refused("grant create a@example.com --role viewer"), 0);
        assert_eq!(refused("grant create a@example.com --role admin"), 2);
        assert_eq!(refused("grant create a@example.com"), 2);
        assert_eq!(refused("grant create a@example.com --role viewer --property P --env a,b"), 0);
        assert_eq!(refused("grant create a@example.com --role viewer --property P --client C"), 2);
    }
}
