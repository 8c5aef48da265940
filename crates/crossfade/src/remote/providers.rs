//! The commands under `crossfade provider`.

use super::{
    confirm::{confirm_name, confirmed_name},
    http::Api,
};
use crate::{
    cli::{
        CreateProvider as Create, Provider as Command, ProviderChange, ProvisioningToken as TokenCommand,
        UpdateProvider as Update,
    },
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::{
    ProviderId, ProvisioningTokenId,
    api::{CreateProvider, CreateProvisioningToken, GroupGrant, Provider, ProvisioningToken, UpdateProvider},
};
use reqwest::Method;
use std::{io::Read, path::Path};

/// Maximum number of bytes of a secret that is read.
const MAX_READ: u64 = 4096;

/// Runs the command.
pub(crate) async fn provider(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(remote) => {
            let api = Api::new(&remote)?;
            let providers: Vec<Provider> = api.list("/providers", usize::MAX).await?;
            match remote.json {
                true => output::json(&providers),
                false => shown(providers),
            }
        }
        Command::Show { provider, remote } => {
            let api = Api::new(&remote)?;
            one(find(&api, &provider).await?, remote.json)
        }
        Command::Create(args) => create(args).await,
        Command::Update(args) => update(args).await,
        Command::Token(command) => token(command).await,
        Command::Delete { provider, confirm, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &provider).await?;
            let sentence = format!(
                "This deletes the provider {}, ends its sessions, and removes the roles that its groups gave.",
                found.name
            );
            confirm_name(confirm, &found.name, &sentence, "the provider's name")?;
            api.delete(&path(&found)).await?;
            output::note(&format!("Deleted the provider {}. Its sessions have ended.", found.name));
            Ok(())
        }
    }
}

async fn create(args: Create) -> Result<(), Failure> {
    let api = Api::new(&args.remote)?;
    let body = CreateProvider {
        name: args.name,
        issuer: args.issuer,
        client_id: args.client_id,
        client_secret: args.client_secret_file.as_deref().map(read_secret).transpose()?,
        client_authentication: args.client_authentication,
        scopes: (!args.scope.is_empty()).then_some(args.scope),
        domains: args.domain,
        groups_claim: args.groups_claim,
        acr_values: args.acr,
        group_grants: args.group_role,
        groups_from: args.groups_from,
        external_id_claim: args.external_id_claim,
    };
    one(api.send(Method::POST, "/providers", &body).await?, args.remote.json)
}

async fn update(args: Update) -> Result<(), Failure> {
    let Update { provider, change, confirm, remote } = args;
    let api = Api::new(&remote)?;
    let found = find(&api, &provider).await?;
    let is_moved = change.issuer.as_ref().is_some_and(|issuer| *issuer != found.issuer);
    let confirm = match (confirm, what_ends(&found, &change)) {
        // The server compares the name.
        (given, Some(what)) if is_moved => Some(confirmed_name(given, &what, "the provider's name")?),
        (given, Some(what)) => {
            confirm_name(given, &found.name, &format!("This {what}."), "the provider's name")?;
            None
        }
        (given, None) => given,
    };
    let list = |none: bool, list: Vec<String>| (none || !list.is_empty()).then_some(list);
    let body = UpdateProvider {
        name: change.name,
        issuer: change.issuer,
        client_id: change.client_id,
        client_secret: match (&change.client_secret_file, change.no_client_secret) {
            (Some(file), _) => Some(Some(read_secret(file)?)),
            (None, true) => Some(None),
            (None, false) => None,
        },
        client_authentication: change.client_authentication,
        scopes: list(false, change.scope),
        domains: list(change.no_domains, change.domain),
        groups_claim: change.groups_claim,
        acr_values: list(change.any_acr, change.acr),
        group_grants: (change.no_group_roles || !change.group_role.is_empty()).then_some(change.group_role),
        groups_from: change.groups_from,
        external_id_claim: change.external_id_claim,
        enabled: match (change.enable, change.disable) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        confirm_name: confirm,
    };
    one(api.send(Method::PATCH, &path(&found), &body).await?, remote.json)
}

/// Returns what a change takes away from people, if it does.
fn what_ends(found: &Provider, change: &ProviderChange) -> Option<String> {
    let name = &found.name;
    if change.issuer.as_ref().is_some_and(|issuer| *issuer != found.issuer) {
        return Some(format!("sends the people of the provider {name} to another issuer, and unlinks them"));
    }
    if change.disable && found.enabled {
        return Some(format!(
            "lets nobody sign in with the provider {name}, ends its sessions and its provisioning tokens for good, and removes the roles that its groups gave"
        ));
    }
    if change.groups_from.is_some_and(|from| from != found.groups_from) && !found.group_grants.is_empty() {
        return Some(format!(
            "takes the roles that groups of the provider {name} gave away from everyone who is not in such a group by the other source"
        ));
    }
    if !change.no_group_roles && change.group_role.is_empty() {
        return None;
    }
    let lost = found.group_grants.iter().filter(|it| !change.group_role.contains(it));
    let lost: Vec<_> = lost.map(|it| format!("{}={}", output::line(&it.group), it.role.as_str())).collect();
    (!lost.is_empty()).then(|| {
        format!("removes roles by group of the provider {name}, and takes them away now: {}", lost.join(", "))
    })
}

/// Runs a command about provisioning tokens.
async fn token(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::List { provider, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &provider).await?;
            let tokens: Vec<ProvisioningToken> = api.list(&tokens_path(&found), usize::MAX).await?;
            if remote.json {
                return output::json(&tokens);
            }
            let row = |it: ProvisioningToken| {
                let networks = it.allowed_networks.map_or_else(|| "any".to_owned(), |list| list.join(", "));
                let used = it.last_used_at.map_or_else(|| "never".to_owned(), |at| time(Some(at)));
                vec![it.id.to_string(), networks, time(Some(it.created_at)), used, time(Some(it.expires_at))]
            };
            let columns =
                [fixed("id"), text("networks"), fixed("created"), fixed("last used"), fixed("expires")];
            output::table(&columns, tokens.into_iter().map(row).collect())
        }
        TokenCommand::Create { provider, expires_days, network, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &provider).await?;
            let allowed_networks = (!network.is_empty()).then_some(network);
            let body = CreateProvisioningToken { expires_days, allowed_networks };
            let created: ProvisioningToken = api.send(Method::POST, &tokens_path(&found), &body).await?;
            if remote.json {
                return output::json(&created);
            }
            let until = time(Some(created.expires_at));
            output::note(&format!(
                "Created a provisioning token for {}, which expires {until}. It is not shown again.",
                found.name
            ));
            output::note(&format!("Base URL at the provider: {}", found.scim_url));
            let lost = "End the token with crossfade provider token delete, and create another.";
            output::value(&format!("{}\n", created.value.unwrap_or_default()), lost)
        }
        TokenCommand::Delete { provider, token, remote } => {
            let api = Api::new(&remote)?;
            let found = find(&api, &provider).await?;
            let id = ProvisioningTokenId::parse(&token)
                .map_err(|_| Failure::not_found(format!("{token} is not the ID of a provisioning token.")))?;
            api.delete(&format!("{}/{id}", tokens_path(&found))).await?;
            output::note(&format!("Ended the provisioning token {id}."));
            Ok(())
        }
    }
}

fn tokens_path(provider: &Provider) -> String {
    format!("{}/provisioning-tokens", path(provider))
}

fn path(provider: &Provider) -> String {
    format!("/providers/{}", provider.id)
}

/// Returns the provider with this ID or this name, which is unique.
async fn find(api: &Api, name: &str) -> Result<Provider, Failure> {
    if ProviderId::parse(name).is_ok() {
        return api.get(&format!("/providers/{name}")).await;
    }
    let providers: Vec<Provider> = api.list("/providers", usize::MAX).await?;
    let named = providers.into_iter().find(|provider| provider.name == name);
    named.ok_or_else(|| Failure::not_found(format!("No provider is named {name}.")))
}

/// Reads a client secret from a file, without the end of its line.
fn read_secret(file: &Path) -> Result<String, Failure> {
    let read = || {
        let mut text = String::new();
        std::fs::File::open(file)?.take(MAX_READ).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text.trim_end_matches(['\r', '\n']).to_owned())
    };
    read().map_err(|error| Failure::failed(format!("Cannot read the file {}: {error}.", file.display())))
}

/// Shows a provider with everything that an operator registers there.
fn one(provider: Provider, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&provider);
    }
    let groups: Vec<Vec<String>> = provider.group_grants.iter().map(row_of_group).collect();
    let settings = settings_of(&provider);
    let scim_url = provider.scim_url.clone();
    let addresses = vec![
        vec!["redirect URI".to_owned(), provider.redirect_uri.clone()],
        vec!["back-channel logout URI".to_owned(), provider.back_channel_logout_uri.clone()],
        vec!["post-logout redirect URI".to_owned(), provider.post_logout_redirect_uri.clone()],
        vec!["SCIM base URL, for provisioning".to_owned(), scim_url],
    ];
    shown(vec![provider])?;
    output::table(&[fixed("setting"), text("value")], settings)?;
    output::table(&[fixed("for the provider"), text("address")], addresses)?;
    match groups.is_empty() {
        true => Ok(()),
        false => output::table(&[text("group"), fixed("role"), text("scope"), text("environments")], groups),
    }
}

fn settings_of(provider: &Provider) -> Vec<Vec<String>> {
    let or_any = |list: &[String]| if list.is_empty() { "any".to_owned() } else { list.join(", ") };
    [
        ("scopes", provider.scopes.join(", ")),
        ("client authentication", provider.client_authentication.as_str().to_owned()),
        ("acr values", or_any(&provider.acr_values)),
        ("groups from", provider.groups_from.as_str().to_owned()),
        ("groups claim", provider.groups_claim.clone()),
        ("external ID claim", provider.external_id_claim.clone()),
    ]
    .map(|(name, value)| vec![name.to_owned(), value])
    .into()
}

fn row_of_group(entry: &GroupGrant) -> Vec<String> {
    let client = entry.client_id.as_ref().map(ToString::to_string);
    let scope = client.or_else(|| entry.property_id.as_ref().map(ToString::to_string));
    vec![
        entry.group.clone(),
        entry.role.as_str().to_owned(),
        scope.unwrap_or_else(|| "platform".to_owned()),
        entry.environments.as_ref().map_or_else(|| "all".to_owned(), |list| list.join(", ")),
    ]
}

fn shown(providers: Vec<Provider>) -> Result<(), Failure> {
    let row = |it: Provider| {
        let domains = if it.domains.is_empty() { "-".to_owned() } else { it.domains.join(", ") };
        let state = if it.enabled { "enabled" } else { "disabled" };
        vec![it.id.to_string(), it.name, it.issuer, it.client_id, domains, state.to_owned()]
    };
    let columns =
        [fixed("id"), text("name"), text("issuer"), text("client_id"), text("accounts for"), fixed("state")];
    output::table(&columns, providers.into_iter().map(row).collect())
}
