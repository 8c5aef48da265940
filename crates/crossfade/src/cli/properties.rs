//! `crossfade property …`

use super::{
    Remote,
    values::{item, one_environment},
};
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub(crate) enum Property {
    /// List properties.
    List(Remote),
    /// Show a property.
    Show {
        /// Property ID or name.
        property: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a property.
    Create {
        /// Property name.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Rename a property.
    Update {
        /// Property ID or name.
        property: String,
        /// New name.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Manage the audiences and scopes that a property's clients can have in an environment.
    #[command(subcommand)]
    Limits(Limits),
    /// Delete a property. Only possible if it has never had a client.
    Delete {
        /// Property ID or name.
        property: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Subcommand)]
pub(crate) enum Limits {
    /// Show the limits of a property in an environment.
    Show {
        #[command(flatten)]
        place: PropertyPlace,
        #[command(flatten)]
        remote: Remote,
    },
    /// Set the limits of a property in an environment. Replaces the current limits. Clients keep the
    /// audiences and scopes that they already have.
    Set {
        #[command(flatten)]
        place: PropertyPlace,
        #[command(flatten)]
        audiences: Audiences,
        #[command(flatten)]
        scopes: ScopeLimit,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct PropertyPlace {
    /// Property ID or name.
    pub(crate) property: String,
    /// Environment slug, such as production.
    #[arg(long, value_parser = one_environment)]
    pub(crate) env: String,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Audiences {
    /// Audience to allow in addition to the issuer. Repeatable.
    #[arg(long)]
    pub(crate) audience: Vec<String>,
    /// Allow only the issuer as the audience.
    #[arg(long)]
    pub(crate) issuer_only: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ScopeLimit {
    /// Scope to allow. Repeatable or comma-separated.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) scope: Vec<String>,
    /// Allow any scope.
    #[arg(long)]
    pub(crate) any_scope: bool,
    /// Allow no scopes.
    #[arg(long)]
    pub(crate) no_scopes: bool,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn limits_are_set_whole() {
        let set = |more: &str| refused(&format!("property limits set Shop --env staging {more}"));
        assert_eq!(set("--audience https://api.example.com --scope read,write"), 0);
        assert_eq!(set("--audience a --audience b --any-scope"), 0);
        assert_eq!(set("--issuer-only --no-scopes"), 0);
        for incomplete in ["", "--audience a", "--any-scope", "--issuer-only --audience a --any-scope"] {
            assert_eq!(set(incomplete), 2, "{incomplete}");
        }
        assert_eq!(set("--issuer-only --any-scope --no-scopes"), 2);
        assert_eq!(refused("property limits show Shop --env staging"), 0);
        assert_eq!(refused("property limits show Shop"), 2);
    }
}
