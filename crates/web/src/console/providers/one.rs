//! The page of a provider: what to register there, its settings, and the roles that its groups give.

use super::{
    super::{clients::belongs_to_form, people::role_options},
    AUTHENTICATIONS, authentication, list_of, without_secret,
};
use crate::{
    console::{
        error::status,
        form::{Fields, Form},
        layout::{Layout, Section},
        message::redirect_with,
        page, page_with,
        session::{Fresh, SignedIn},
    },
    reply::{Refused, Reply},
};
use askama::Template;
use axum::{extract::Path, response::Response};
use crossfade_app::{Deletion, Input, ListQuery, NO_INPUT, ProviderPath, Request};
use crossfade_core::{
    ClientId, Problem, PropertyId, Timestamp,
    api::{CreateProvisioningToken, GroupGrant, Provider, ProvisioningToken, UpdateProvider},
    provider::GroupsFrom,
    roles::Role,
};

#[derive(Template)]
#[template(path = "console/providers/one.html")]
struct OnePage {
    layout: Layout,
    provider: Provider,
    /// Roles that groups give, each with its scope in words and its number in the list.
    groups: Vec<Line>,
    settings: Form,
    group: Form,
    delete: Form,
    version: i64,
    /// Tokens with which the provider provisions.
    tokens: Vec<ProvisioningToken>,
    token: Form,
    /// Value of a token that was just created, shown only this once.
    created: Option<String>,
    now: Timestamp,
}

/// Where the groups of people come from, on offer.
const GROUPS_FROM: [(&str, &str); 2] =
    [("claim", "Groups claim, at each sign-in"), ("provisioning", "Provisioning, at each change")];

/// A role that a group gives.
struct Line {
    number: usize,
    group: String,
    role: &'static str,
    place: String,
    environments: String,
}

/// Returns the form for a provisioning token as it is offered.
fn new_token() -> Form {
    Form::new("token", Fields::default().with("expires_days", "365").with("allowed_networks", ""))
}

fn path(id: &str) -> String {
    format!("/console/providers/{id}")
}

impl Line {
    fn new(number: usize, entry: &GroupGrant) -> Self {
        let place = match (&entry.property_id, &entry.client_id) {
            (_, Some(client)) => format!("Client {client}"),
            (Some(property), None) => format!("Property {property}"),
            (None, None) => "The whole platform".to_owned(),
        };
        let environments =
            entry.environments.as_ref().map_or_else(|| "All".to_owned(), |list| list.join(", "));
        Self { number, group: entry.group.clone(), role: entry.role.name(), place, environments }
    }
}

impl OnePage {
    async fn load(signed: &SignedIn, id: &str) -> Result<Self, Refused> {
        let found = signed.app.read_provider(signed.principal(), ProviderPath(id)).await?;
        let (provider, version) = (found.object, found.version);
        let mut fields = Fields::default()
            .with("version", version.to_string())
            .with("name", provider.name.clone())
            .with("issuer", provider.issuer.clone())
            .with("client_id", provider.client_id.clone())
            .with("client_authentication", provider.client_authentication.as_str())
            .with("client_secret", "")
            .with("scopes", provider.scopes.join(" "))
            .with("domains", provider.domains.join("\n"))
            .with("groups_claim", provider.groups_claim.clone())
            .with("acr_values", provider.acr_values.join(" "))
            .with("groups_from", provider.groups_from.as_str())
            .with("external_id_claim", provider.external_id_claim.clone())
            .with("confirm_name", "");
        let query = ListQuery { limit: None, cursor: None };
        let tokens =
            signed.app.list_provisioning_tokens(signed.principal(), ProviderPath(id), &query).await?;
        if provider.enabled {
            fields = fields.with("enabled", "true");
        }
        let group = ["group", "scope_id", "environments"];
        let group = group.iter().fold(Fields::default(), |fields, name| fields.with(name, ""));
        let group = group.with("role", Role::Viewer.as_str()).with("version", version.to_string());
        let delete = Fields::default().with("version", version.to_string()).with("confirm_name", "");
        let layout = signed.layout(Section::People, &provider.name).crumb("People", "/console/people");
        Ok(Self {
            layout: layout.crumb("Single sign-on", "/console/providers"),
            groups: provider
                .group_grants
                .iter()
                .enumerate()
                .map(|(number, it)| Line::new(number, it))
                .collect(),
            settings: Form::new("settings", fields),
            group: Form::new("group", group),
            delete: Form::new("delete", delete),
            provider,
            version,
            tokens: tokens.items,
            token: new_token(),
            created: None,
            now: signed.session.now,
        })
    }

    fn page_path(&self) -> String {
        path(self.provider.id.as_str())
    }

    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        role_options(&Role::ALL)
    }

    fn secret_hint(&self) -> &'static str {
        match self.provider.has_client_secret {
            true => "Leave empty to keep the present one. Required with another issuer.",
            false => "Stored encrypted and not shown again.",
        }
    }

    fn confirm_hint(&self) -> String {
        format!("Required for another issuer: linked accounts are unlinked. Enter {}.", self.provider.name)
    }
}

pub(in crate::console) async fn show(Path(id): Path<String>, signed: SignedIn) -> Reply {
    let mut shown = OnePage::load(&signed, &id).await?;
    let done = match signed.said() {
        "created" => Some("The provider was added. Register the redirect URI there, then try to sign in."),
        "saved" => Some("The provider was changed."),
        "added" => Some(
            "The group gives the role: now if the provider provisions it, otherwise from the next sign-in of each person.",
        ),
        "removed" => {
            Some("The group no longer gives the role. It was removed from everyone who had it by this group.")
        }
        "token-deleted" => Some("The provisioning token was ended. Whatever uses it is refused from now on."),
        _ => None,
    };
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

pub(in crate::console) async fn update(Path(id): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let authentication = authentication(&fields);
    let body = UpdateProvider {
        name: Some(fields.text("name").to_owned()),
        issuer: Some(fields.text("issuer").to_owned()),
        client_id: Some(fields.text("client_id").to_owned()),
        client_authentication: Some(authentication),
        client_secret: match fields.filled("client_secret") {
            Some(secret) => Some(Some(secret.to_owned())),
            // A public client has none.
            None => (authentication == crossfade_core::provider::ClientAuthentication::None).then_some(None),
        },
        scopes: Some(list_of(&fields, "scopes")),
        domains: Some(list_of(&fields, "domains")),
        groups_claim: Some(fields.text("groups_claim").to_owned()),
        acr_values: Some(list_of(&fields, "acr_values")),
        group_grants: None,
        groups_from: GroupsFrom::parse(fields.text("groups_from")),
        external_id_claim: Some(fields.text("external_id_claim").to_owned()),
        enabled: Some(fields.ticked("enabled")),
        confirm_name: fields.filled("confirm_name").map(str::to_owned),
    };
    let request = Request { if_match: fields.if_match(), ..signed.request() };
    match signed.app.update_provider(&request, ProviderPath(&id), Input::Value(body)).await {
        Ok(_) => Ok(to(&id, "saved")),
        Err(error) => {
            again(&signed, &id, error, |shown, problem| {
                shown.settings = Form::new("settings", without_secret(fields)).refused(problem);
            })
            .await
        }
    }
}

/// Reads the role that a group gives from a form.
fn entry_of(fields: &Fields) -> Result<GroupGrant, Problem> {
    let role = Role::parse(fields.text("role"));
    let (mut property_id, mut client_id) = (None, None);
    if let Some(scope) = fields.filled("scope_id").map(str::trim) {
        property_id = PropertyId::parse(scope).ok();
        client_id = ClientId::parse(scope).ok();
        if property_id.is_none() && client_id.is_none() {
            return Err(Problem::invalid("scope_id", "must be the ID of a property or client"));
        }
    }
    let environments = list_of(fields, "environments");
    Ok(GroupGrant {
        group: fields.text("group").to_owned(),
        role: role.ok_or_else(|| Problem::invalid("role", "must be one of the choices"))?,
        property_id,
        client_id,
        environments: (!environments.is_empty()).then_some(environments),
    })
}

pub(in crate::console) async fn add_group(Path(id): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let changed = async {
        let found = signed.app.read_provider(signed.principal(), ProviderPath(&id)).await?;
        let mut group_grants = found.object.group_grants;
        group_grants.push(entry_of(&fields)?);
        let body = UpdateProvider { group_grants: Some(group_grants), ..UpdateProvider::default() };
        let request = Request { if_match: fields.if_match(), ..signed.request() };
        signed.app.update_provider(&request, ProviderPath(&id), Input::Value(body)).await
    };
    match changed.await {
        Ok(_) => Ok(to(&id, "added")),
        Err(error) => {
            again(&signed, &id, error, |shown, problem| {
                shown.group = Form::new("group", fields).refused(problem);
            })
            .await
        }
    }
}

pub(in crate::console) async fn remove_group(
    Path(id): Path<String>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let found = signed.app.read_provider(signed.principal(), ProviderPath(&id)).await?;
    let mut group_grants = found.object.group_grants;
    let number = fields.text("number").parse().unwrap_or(usize::MAX);
    let is_there = number < group_grants.len();
    if is_there {
        group_grants.remove(number);
    }
    let body = UpdateProvider { group_grants: Some(group_grants), ..UpdateProvider::default() };
    // Of a list that has changed since, another entry could be removed.
    let request = Request { if_match: fields.if_match(), ..signed.request() };
    signed.app.update_provider(&request, ProviderPath(&id), Input::Value(body)).await?;
    if !is_there {
        return Err(Problem::not_found().into());
    }
    Ok(to(&id, "removed"))
}

pub(in crate::console) async fn delete(Path(id): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let request = Request { if_match: fields.if_match(), ..signed.request() };
    let typed = Deletion::Typed(fields.text("confirm_name"));
    match signed.app.delete_provider(&request, ProviderPath(&id), typed).await {
        Ok(()) => Ok(redirect_with("/console/providers", "deleted")),
        Err(error) => {
            again(&signed, &id, error, |shown, problem| {
                shown.delete = Form::new("delete", fields).refused(problem);
            })
            .await
        }
    }
}

pub(in crate::console) async fn create_token(
    Path(id): Path<String>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let days = match fields.filled("expires_days").map(str::parse::<u32>) {
        None => Ok(None),
        Some(Ok(days)) => Ok(Some(days)),
        Some(Err(_)) => Err(Problem::invalid("expires_days", "must be a whole number from 1 to 365")),
    };
    let networks = list_of(&fields, "allowed_networks");
    let created = match days {
        Ok(expires_days) => {
            let body = CreateProvisioningToken {
                expires_days,
                allowed_networks: (!networks.is_empty()).then_some(networks),
            };
            let input = Input::Value(body);
            signed.app.create_provisioning_token(&signed.request(), ProviderPath(&id), input).await
        }
        Err(problem) => Err(problem.into()),
    };
    match created {
        Ok(created) => {
            let mut shown = OnePage::load(&signed, &id).await?;
            shown.created = created.value;
            Ok(page(&shown))
        }
        Err(error) => {
            again(&signed, &id, error, |shown, problem| {
                shown.token = Form::new("token", fields).refused(problem);
            })
            .await
        }
    }
}

pub(in crate::console) async fn delete_token(
    Path((id, token)): Path<(String, String)>,
    Fresh { signed, .. }: Fresh,
) -> Reply {
    signed.app.delete_provisioning_token(&signed.request(), ProviderPath(&id), &token, NO_INPUT).await?;
    Ok(to(&id, "token-deleted"))
}

fn to(id: &str, done: &'static str) -> Response {
    redirect_with(&path(id), done)
}

async fn again(
    signed: &SignedIn,
    id: &str,
    error: crossfade_app::Error,
    put: impl FnOnce(&mut OnePage, Problem),
) -> Reply {
    if !belongs_to_form(&error.problem) {
        return Err(error.into());
    }
    let answer = status(&error.problem);
    let mut shown = OnePage::load(signed, id).await?;
    put(&mut shown, error.problem);
    Ok(page_with(answer, &shown))
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn the_page_says_what_to_register_and_never_the_secret() {
        let provider = samples::provider();
        let page = OnePage {
            layout: Layout::sample(Section::People, "<Example>"),
            groups: vec![Line::new(0, &provider.group_grants[0])],
            settings: Form::new("settings", Fields::default().with("client_secret", "canary")),
            group: Form::new("group", Fields::default()),
            delete: Form::new("delete", Fields::default()),
            provider,
            version: 1,
            tokens: vec![samples::token()],
            token: new_token(),
            created: None,
            now: crate::console::crossfade::samples::now(),
        };
        let html = page.render().unwrap();
        assert!(html.contains("/scim/v2/idp_0000000000000000000001"), "{html}");
        assert!(html.contains("prov_0000000000000000000001") && html.contains("192.0.2.0/24"), "{html}");
        assert!(html.contains("/console/sign-in/callback/idp_0000000000000000000001"), "{html}");
        assert!(html.contains("/console/sign-in/back-channel/idp_0000000000000000000001"), "{html}");
        assert!(
            html.contains("&#60;engineers&#62;") && html.contains(">staging<") && !html.contains("canary"),
            "{html}"
        );
    }

    #[test]
    fn a_role_of_a_group_is_read_from_its_form() {
        let fields = Fields::default().with("group", "admins").with("role", "viewer").with("scope_id", "x");
        assert_eq!(entry_of(&fields).unwrap_err().field.as_deref(), Some("scope_id"));
        let client = "cl_0000000000000000000001";
        let fields = Fields::default()
            .with("group", "admins")
            .with("role", "secret_viewer")
            .with("scope_id", client)
            .with("environments", "staging, production");
        let entry = entry_of(&fields).unwrap();
        assert_eq!(entry.client_id.unwrap().as_str(), client);
        assert_eq!(entry.environments.unwrap(), ["staging", "production"]);
        assert!(entry_of(&Fields::default().with("role", "king")).is_err());
    }
}
