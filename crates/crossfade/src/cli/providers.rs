//! `crossfade provider …`

use super::{
    Remote,
    values::{item, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::{
    ClientId, PropertyId,
    api::GroupGrant,
    provider::{ClientAuthentication, GroupsFrom},
    roles::Role,
};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Provider {
    /// List the providers.
    List(Remote),
    /// Show a provider, and the addresses to register there.
    Show {
        /// Provider ID (idp_…) or name.
        provider: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Add a provider.
    Create(CreateProvider),
    /// Change, disable or enable a provider.
    Update(UpdateProvider),
    /// Manage the tokens with which a provider provisions people and groups.
    #[command(subcommand)]
    Token(ProvisioningToken),
    /// Delete a provider. Its sessions end, and the roles that its groups gave are removed.
    Delete {
        /// Provider ID (idp_…) or name.
        provider: String,
        /// Provider name, to confirm. Prompted for on a terminal if omitted.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Subcommand)]
pub(crate) enum ProvisioningToken {
    /// List the provisioning tokens of a provider.
    List {
        /// Provider ID (idp_…) or name.
        provider: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a provisioning token. Its value is shown only this once.
    Create {
        /// Provider ID (idp_…) or name.
        provider: String,
        /// Days until it expires, 1 to 365. Defaults to 365.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=365))]
        expires_days: Option<u32>,
        /// Network it can be used from, such as 192.0.2.0/24. Repeatable. Defaults to any.
        #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = item)]
        network: Vec<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// End a provisioning token. Whatever uses it is refused immediately.
    Delete {
        /// Provider ID (idp_…) or name.
        provider: String,
        /// Token ID (prov_…).
        token: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub(crate) struct CreateProvider {
    /// Name: the sign-in page says "Sign in with" and this name.
    pub(crate) name: String,
    /// Issuer identifier, exactly as the metadata of the provider says it.
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: String,
    /// client_id of Crossfade at the provider.
    #[arg(long)]
    pub(crate) client_id: String,
    /// File that holds the client secret of Crossfade at the provider.
    #[arg(long, value_name = "FILE")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// How Crossfade authenticates at the token endpoint.
    #[arg(long, default_value = "client_secret_basic", value_parser = one_of(ClientAuthentication::ALL, ClientAuthentication::as_str))]
    pub(crate) client_authentication: ClientAuthentication,
    /// Scope to request. Repeatable. Replaces the default scopes openid, email and profile.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) scope: Vec<String>,
    /// Email domain for whose verified addresses accounts are created at the first sign-in. Repeatable.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) domain: Vec<String>,
    /// Claim that lists the groups of a person. Defaults to groups.
    #[arg(long, value_name = "NAME")]
    pub(crate) groups_claim: Option<String>,
    /// Authentication context class of which each sign-in needs one. Repeatable.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) acr: Vec<String>,
    /// Role that a group gives: GROUP=ROLE, or GROUP=ROLE@ID for a property or client, and :ENV+ENV for some
    /// environments. Repeatable.
    #[arg(long, value_name = "GROUP=ROLE", value_parser = group_role)]
    pub(crate) group_role: Vec<GroupGrant>,
    /// Where the groups of people come from.
    #[arg(long, default_value = "claim", value_parser = one_of(GroupsFrom::ALL, GroupsFrom::as_str))]
    pub(crate) groups_from: GroupsFrom,
    /// Claim of the ID token whose value is the externalId of the person in provisioning. Defaults to sub.
    #[arg(long, value_name = "NAME")]
    pub(crate) external_id_claim: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct UpdateProvider {
    /// Provider ID (idp_…) or name.
    pub(crate) provider: String,
    #[command(flatten)]
    pub(crate) change: ProviderChange,
    /// Provider name before this change, to confirm another issuer, --disable, --groups-from or fewer roles by group.
    /// Prompted for on a terminal if omitted.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ProviderChange {
    /// New name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// New issuer. Linked accounts are unlinked.
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// New client_id of Crossfade at the provider.
    #[arg(long)]
    pub(crate) client_id: Option<String>,
    /// File that holds the new client secret of Crossfade at the provider.
    #[arg(long, value_name = "FILE", conflicts_with = "no_client_secret")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// Remove the client secret, for a public client.
    #[arg(long)]
    pub(crate) no_client_secret: bool,
    /// How Crossfade authenticates at the token endpoint.
    #[arg(long, value_parser = one_of(ClientAuthentication::ALL, ClientAuthentication::as_str))]
    pub(crate) client_authentication: Option<ClientAuthentication>,
    /// Scope to request. Repeatable. Replaces the current scopes.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) scope: Vec<String>,
    /// Email domain for which accounts are created. Repeatable. Replaces the current domains.
    #[arg(long, value_delimiter = ',', value_parser = item, conflicts_with = "no_domains")]
    pub(crate) domain: Vec<String>,
    /// Create no accounts.
    #[arg(long)]
    pub(crate) no_domains: bool,
    /// Claim that lists the groups of a person.
    #[arg(long, value_name = "NAME")]
    pub(crate) groups_claim: Option<String>,
    /// Authentication context class of which each sign-in needs one. Repeatable. Replaces the current classes.
    #[arg(long, value_delimiter = ',', value_parser = item, conflicts_with = "any_acr")]
    pub(crate) acr: Vec<String>,
    /// Accept any authentication context class.
    #[arg(long)]
    pub(crate) any_acr: bool,
    /// Role that a group gives: GROUP=ROLE, or GROUP=ROLE@ID for a property or client, and :ENV+ENV for some
    /// environments. Repeatable. Replaces the current roles by group.
    #[arg(long, value_name = "GROUP=ROLE", value_parser = group_role, conflicts_with = "no_group_roles")]
    pub(crate) group_role: Vec<GroupGrant>,
    /// Give no roles by group.
    #[arg(long)]
    pub(crate) no_group_roles: bool,
    /// Where the groups of people come from.
    #[arg(long, value_parser = one_of(GroupsFrom::ALL, GroupsFrom::as_str))]
    pub(crate) groups_from: Option<GroupsFrom>,
    /// Claim of the ID token whose value is the externalId of the person in provisioning.
    #[arg(long, value_name = "NAME")]
    pub(crate) external_id_claim: Option<String>,
    /// Let people sign in again.
    #[arg(long, conflicts_with = "disable")]
    pub(crate) enable: bool,
    /// Let nobody sign in. Its sessions and provisioning tokens end, and the roles that its groups gave are removed.
    #[arg(long)]
    pub(crate) disable: bool,
}

/// Parses the role that a group gives. The name of a group can contain an equals sign.
fn group_role(text: &str) -> Result<GroupGrant, String> {
    let must = || "must be GROUP=ROLE, for example engineers=viewer".to_owned();
    let (group, rest) = text.rsplit_once('=').filter(|(group, _)| !group.is_empty()).ok_or_else(must)?;
    let (rest, environments) = match rest.split_once(':') {
        Some((rest, list)) => (rest, Some(list.split('+').map(str::to_owned).collect::<Vec<_>>())),
        None => (rest, None),
    };
    let (role, scope) = match rest.split_once('@') {
        Some((role, scope)) => (role, Some(scope)),
        None => (rest, None),
    };
    let roles = || format!("must name one of the roles {}", Role::ALL.map(Role::as_str).join(", "));
    let (mut property_id, mut client_id) = (None, None);
    if let Some(scope) = scope {
        property_id = PropertyId::parse(scope).ok();
        client_id = ClientId::parse(scope).ok();
        if property_id.is_none() && client_id.is_none() {
            return Err("must have the ID of a property or client after @".to_owned());
        }
    }
    let role = Role::parse(role).ok_or_else(roles)?;
    Ok(GroupGrant { group: group.to_owned(), role, property_id, client_id, environments })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::refused;

    #[test]
    fn a_role_of_a_group_is_read_with_its_scope() {
        let read =
            group_role("cn=admins=secret_viewer@cl_0000000000000000000001:staging+production").unwrap();
        assert_eq!((read.group.as_str(), read.role), ("cn=admins", Role::SecretViewer));
        assert_eq!(read.client_id.unwrap().as_str(), "cl_0000000000000000000001");
        assert_eq!(read.environments.unwrap(), ["staging", "production"]);
        assert!(group_role("admins=owner").unwrap().environments.is_none());
        for bad in ["", "admins", "=owner", "admins=king", "admins=viewer@x"] {
            assert!(group_role(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_provider_needs_an_issuer_and_a_change() {
        assert_eq!(refused("provider create Example --issuer https://id.example --client-id a"), 0);
        assert_eq!(refused("provider create Example --client-id a"), 2);
        assert_eq!(refused("provider update Example"), 2, "nothing to change");
        assert_eq!(refused("provider update Example --enable --disable"), 2);
        assert_eq!(refused("provider update Example --group-role a=viewer --no-group-roles"), 2);
    }
}
