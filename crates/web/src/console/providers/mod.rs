//! OpenID Connect providers, with which people sign in: the list, and one.

pub(super) mod list;
pub(super) mod one;

use crate::console::form::Fields;
use crossfade_core::provider::ClientAuthentication;

/// Ways to authenticate at a provider, on offer.
pub(super) const AUTHENTICATIONS: [(&str, &str); 3] = [
    ("client_secret_basic", "Client secret in the header (client_secret_basic)"),
    ("client_secret_post", "Client secret in the form (client_secret_post)"),
    ("none", "None: a public client with PKCE"),
];

/// Reads how Crossfade authenticates at a provider.
fn authentication(fields: &Fields) -> ClientAuthentication {
    ClientAuthentication::parse(fields.text("client_authentication")).unwrap_or_default()
}

/// Reads a list whose entries are separated by spaces, commas or lines.
pub(in crate::console) fn list_of(fields: &Fields, name: &str) -> Vec<String> {
    let entries = fields.text(name).split(|letter: char| letter.is_whitespace() || letter == ',');
    entries.filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// Returns the fields without the client secret, which is not sent back.
fn without_secret(mut fields: Fields) -> Fields {
    while fields.take("client_secret").is_some() {}
    fields.with("client_secret", "")
}

#[cfg(test)]
mod samples {
    use crate::console::crossfade::samples::now;
    use crossfade_core::{
        ProviderId, ProvisioningTokenId,
        api::{GroupGrant, Provider, ProvisioningToken},
        provider::{ClientAuthentication, GroupsFrom},
        roles::Role,
    };

    pub(super) fn token() -> ProvisioningToken {
        ProvisioningToken {
            id: ProvisioningTokenId::parse("prov_0000000000000000000001").unwrap(),
            allowed_networks: Some(vec!["192.0.2.0/24".into()]),
            created_at: now(),
            expires_at: now(),
            last_used_at: None,
            value: None,
        }
    }

    pub(super) fn provider() -> Provider {
        Provider {
            id: ProviderId::parse("idp_0000000000000000000001").unwrap(),
            name: "<Example>".into(),
            issuer: "https://id.example.com".into(),
            client_id: "crossfade".into(),
            client_authentication: ClientAuthentication::ClientSecretBasic,
            has_client_secret: true,
            scopes: vec!["openid".into(), "email".into()],
            domains: vec!["example.com".into()],
            groups_claim: "groups".into(),
            acr_values: Vec::new(),
            group_grants: vec![GroupGrant {
                group: "<engineers>".into(),
                role: Role::Viewer,
                property_id: None,
                client_id: None,
                environments: Some(vec!["staging".into()]),
            }],
            groups_from: GroupsFrom::Claim,
            external_id_claim: "sub".into(),
            enabled: true,
            redirect_uri: "https://auth.example.com/console/sign-in/callback/idp_0000000000000000000001"
                .into(),
            back_channel_logout_uri:
                "https://auth.example.com/console/sign-in/back-channel/idp_0000000000000000000001".into(),
            post_logout_redirect_uri: "https://auth.example.com/console/sign-in".into(),
            scim_url: "https://auth.example.com/scim/v2/idp_0000000000000000000001".into(),
            created_at: now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_however_it_is_separated() {
        let fields = Fields::default().with("domains", " a.example,b.example\r\n\r\nc.example ");
        assert_eq!(list_of(&fields, "domains"), ["a.example", "b.example", "c.example"]);
        assert!(list_of(&fields, "none").is_empty());
        let kept = without_secret(Fields::default().with("client_secret", "canary").with("name", "a"));
        assert_eq!((kept.text("client_secret"), kept.text("name")), ("", "a"));
    }
}
