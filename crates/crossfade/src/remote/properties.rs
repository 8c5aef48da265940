//! The commands under `crossfade property`.

use super::http::{Api, segment};
use crate::{
    cli::{Limits as LimitsCommand, Property as Command, PropertyPlace},
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::api::{Limits, Property, PropertyBody, UpdateLimits};
use reqwest::Method;

/// Runs the command.
pub(crate) async fn property(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(remote) => {
            let properties: Vec<Property> = Api::new(&remote)?.list_readable("/properties").await?;
            if remote.json {
                return output::json(&properties);
            }
            shown(properties)
        }
        Command::Show { property, remote } => {
            one(Api::new(&remote)?.find_property(&property).await?, remote.json)
        }
        Command::Create { name, remote } => {
            let body = PropertyBody { name };
            one(Api::new(&remote)?.send(Method::POST, "/properties", &body).await?, remote.json)
        }
        Command::Update { property, name, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/properties/{}", api.find_property(&property).await?.id);
            one(api.send(Method::PATCH, &path, &PropertyBody { name }).await?, remote.json)
        }
        Command::Limits(LimitsCommand::Show { place, remote }) => {
            let api = Api::new(&remote)?;
            let path = limits_path(&api, &place).await?;
            shown_limits(&api.get(&path).await?, remote.json)
        }
        Command::Limits(LimitsCommand::Set { place, audiences, scopes, remote }) => {
            let api = Api::new(&remote)?;
            let path = limits_path(&api, &place).await?;
            let body = UpdateLimits {
                audiences: audiences.audience,
                scopes: (!scopes.any_scope).then_some(scopes.scope),
            };
            shown_limits(&api.send(Method::PUT, &path, &body).await?, remote.json)
        }
        Command::Delete { property, remote } => {
            let api = Api::new(&remote)?;
            let found = api.find_property(&property).await?;
            api.delete(&format!("/properties/{}", found.id)).await?;
            output::note(&format!("Deleted the property {}.", found.name));
            Ok(())
        }
    }
}

async fn limits_path(api: &Api, place: &PropertyPlace) -> Result<String, Failure> {
    let property = api.find_property(&place.property).await?.id;
    Ok(format!("/properties/{property}/environments/{}/limits", segment(&place.env)))
}

fn shown_limits(limits: &Limits, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(limits);
    }
    let audiences = match limits.audiences.is_empty() {
        true => "the issuer".to_owned(),
        false => format!("the issuer, {}", limits.audiences.join(", ")),
    };
    let scopes = match &limits.scopes {
        None => "any".to_owned(),
        Some(scopes) if scopes.is_empty() => "none".to_owned(),
        Some(scopes) => scopes.join(", "),
    };
    let rows = [("audiences", audiences), ("scopes", scopes)];
    output::table(
        &[fixed("limit"), text("value")],
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect(),
    )
}

fn one(property: Property, json: bool) -> Result<(), Failure> {
    match json {
        true => output::json(&property),
        false => shown(vec![property]),
    }
}

fn shown(properties: Vec<Property>) -> Result<(), Failure> {
    let row = |it: Property| vec![it.id.to_string(), it.name, time(Some(it.created_at))];
    output::table(&[fixed("id"), text("name"), fixed("created")], properties.into_iter().map(row).collect())
}
