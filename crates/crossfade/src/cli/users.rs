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
        /// Part of the name or of the e-mail address.
        #[arg(long)]
        q: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a user and the roles that they hold.
    Show {
        /// Its id, or an e-mail address.
        user: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a person, with a one-time link to set a password, or a program.
    Create(CreateUser),
    /// Change a user's name or e-mail address.
    Update {
        /// Its id, or an e-mail address.
        user: String,
        #[command(flatten)]
        change: UserChange,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a user: sessions, tokens, links and grants end. What they did stays in the trail.
    Delete {
        /// Its id, or an e-mail address.
        user: String,
        /// The name of the user, typed. Asked for on a terminal when absent.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a one-time link with which a person sets a password, in place of any earlier one.
    Link {
        /// Its id, or an e-mail address.
        user: String,
        #[command(flatten)]
        value: Destination,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateUser {
    /// E-mail address of the person.
    #[arg(long, required_unless_present = "program", conflicts_with = "program")]
    pub(crate) email: Option<String>,
    /// The shown name; what stands before the @ when a person's is absent.
    #[arg(long, required_if_eq("program", "true"))]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) link: LinkOrProgram,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Where the link goes; a program has none.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct LinkOrProgram {
    /// Write the link to a new file that only you can read.
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    pub(crate) output: Option<PathBuf>,
    /// Print the link on stdout.
    #[arg(long)]
    pub(crate) show: bool,
    /// A program, which holds API tokens and never signs in: it has no link.
    #[arg(long)]
    pub(crate) program: bool,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct UserChange {
    /// The shown name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The e-mail address.
    #[arg(long)]
    pub(crate) email: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum Grant {
    /// List the roles that a user holds.
    List {
        /// The user: an id, or an e-mail address.
        user: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give a user a role: on the whole platform, on one property or on one client.
    Create(CreateGrant),
    /// Take a role away. It is gone at the next request.
    Delete {
        /// The user: an id, or an e-mail address.
        user: String,
        /// The id of the grant.
        grant: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateGrant {
    /// The user: an id, or an e-mail address.
    pub(crate) user: String,
    /// The role.
    #[arg(long, value_parser = one_of(Role::ALL, Role::as_str))]
    pub(crate) role: Role,
    /// Only on this property: an id, or a name.
    #[arg(long, conflicts_with = "client")]
    pub(crate) property: Option<String>,
    /// Only on this client: its id, a name that exactly one client has, or an OAuth client_id of it.
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Only in these environments, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) env: Vec<String>,
    /// Write the link to a new file that only you can read. A person gets one with a role that closes the
    /// account first, such as the first role that sees secrets: their password, sessions, tokens and links end.
    #[arg(long, value_name = "FILE", value_parser = new_file(), conflicts_with = "show")]
    pub(crate) output: Option<PathBuf>,
    /// Print that link on stdout.
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
