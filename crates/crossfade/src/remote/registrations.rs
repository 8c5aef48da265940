//! The commands under `crossfade registration`.

use super::{
    confirm::confirmed,
    http::{Api, segment},
    secrets::note_enforced,
};
use crate::{
    cli::{Place, Registration as Command, UpdateRegistration as Update},
    failure::Failure,
    output::{self, fixed, time},
};
use crossfade_core::api::{Client, Registration, UpdateRegistration};
use reqwest::Method;

/// Runs the command.
pub(crate) async fn registration(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { place, remote } => {
            let api = Api::new(&remote)?;
            let (_, path) = found(&api, &place).await?;
            shown(&api.get(&path).await?, remote.json)
        }
        Command::Update(Update { place, change, confirm, acknowledge_locked_out, reason, remote }) => {
            let api = Api::new(&remote)?;
            let (client, path) = found(&api, &place).await?;
            let confirm_client_name = match change.disable {
                true => {
                    let what =
                        format!("disables {} in {} and refuses all its requests", client.name, place.env);
                    Some(confirmed(confirm, &what)?)
                }
                false => confirm,
            };
            let body = UpdateRegistration {
                enabled: (change.enable || change.disable).then_some(change.enable),
                confirm_client_name,
                token_endpoint_auth_methods: some(change.auth_method),
                scopes: if change.no_scopes { Some(Vec::new()) } else { some(change.scope) },
                audience: change.audience.map(|audience| audience.0),
                access_token_ttl_seconds: change.token_ttl,
                may_introspect: change.may_introspect,
                allowed_networks: match change.allow_all_networks {
                    true => Some(None),
                    false => some(change.allow_network).map(Some),
                },
                acknowledge_locked_out,
                self_rotation: change.self_rotation,
                reason,
            };
            let changed: Registration = api.send(Method::PATCH, &path, &body).await?;
            note_enforced(changed.enforced.as_ref());
            shown(&changed, remote.json)
        }
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

async fn found(api: &Api, place: &Place) -> Result<(Client, String), Failure> {
    let client = api.find_client(&place.client).await?;
    let path = format!("/clients/{}/environments/{}", client.id, segment(&place.env));
    Ok((client, path))
}

fn introspects(all: bool) -> String {
    if all { "all tokens of the environment" } else { "its own tokens" }.to_owned()
}

/// Returns a setting that another issuer decides about if the environment is in front of one.
fn of_issuer(setting: Option<String>) -> String {
    setting.unwrap_or_else(|| "as the upstream issuer decides".to_owned())
}

/// Prints one line per setting, because they are too many for one row.
fn shown(registration: &Registration, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(registration);
    }
    let methods: Vec<&str> =
        registration.token_endpoint_auth_methods.iter().map(|method| method.as_str()).collect();
    let settings = [
        ("id", registration.id.to_string()),
        ("environment", registration.environment.clone()),
        ("client_id", registration.client_id.to_string()),
        ("state", if registration.enabled { "enabled" } else { "disabled" }.to_owned()),
        ("auth methods", methods.join(", ")),
        ("scopes", of_issuer(registration.scopes.as_ref().map(|scopes| scopes.join(" ")))),
        ("audience", of_issuer(registration.audience.clone())),
        ("token lifetime", of_issuer(registration.access_token_ttl_seconds.map(|ttl| format!("{ttl} s")))),
        ("introspects", of_issuer(registration.may_introspect.map(introspects))),
        (
            "allowed networks",
            registration.allowed_networks.as_ref().map_or("all".to_owned(), |networks| networks.join(" ")),
        ),
        ("rotates itself", if registration.self_rotation { "yes" } else { "no" }.to_owned()),
        ("created", time(Some(registration.created_at))),
        ("rotation due", time(registration.rotation_due_at)),
    ];
    let rows = settings.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::table(&[fixed("setting"), fixed("value")], rows)
}
