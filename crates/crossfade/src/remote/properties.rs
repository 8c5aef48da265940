//! `crossfade property …`

use super::http::Api;
use crate::{
    cli::Property as Command,
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::api::{Property, PropertyBody};
use reqwest::Method;

/// Runs the command.
pub(crate) async fn property(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(remote) => {
            let properties: Vec<Property> = Api::new(&remote)?.list("/properties", usize::MAX).await?;
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
        Command::Delete { property, remote } => {
            let api = Api::new(&remote)?;
            let found = api.find_property(&property).await?;
            api.delete(&format!("/properties/{}", found.id)).await?;
            output::note(&format!("The property {} is deleted.", found.name));
            Ok(())
        }
    }
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
