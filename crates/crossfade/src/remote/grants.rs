//! `crossfade grant …`

use super::http::{Api, segment};
use crate::{
    cli::{CreateGrant as Create, Grant as Command},
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_core::api::{CreateGrant, Grant};
use reqwest::Method;

/// Runs the command.
pub(crate) async fn grant(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { user, remote } => {
            let api = Api::new(&remote)?;
            let path = format!("/users/{}/grants", api.find_user(&user).await?);
            let grants: Vec<Grant> = api.list(&path, usize::MAX).await?;
            if remote.json {
                return output::json(&grants);
            }
            shown(&grants)
        }
        Command::Create(Create { user, role, property, client, env, remote }) => {
            let api = Api::new(&remote)?;
            let path = format!("/users/{}/grants", api.find_user(&user).await?);
            let property_id = match property {
                Some(name) => Some(api.find_property(&name).await?.id),
                None => None,
            };
            let client_id = match client {
                Some(name) => Some(api.find_client(&name).await?.id),
                None => None,
            };
            let environments = (!env.is_empty()).then_some(env);
            let body = CreateGrant { role, property_id, client_id, environments };
            let grant: Grant = api.send(Method::POST, &path, &body).await?;
            if remote.json {
                return output::json(&grant);
            }
            shown(&[grant])
        }
        Command::Delete { user, grant, remote } => {
            let api = Api::new(&remote)?;
            let user = api.find_user(&user).await?;
            api.delete(&format!("/users/{user}/grants/{}", segment(&grant))).await?;
            output::note(&format!("The grant {grant} has ended."));
            Ok(())
        }
    }
}

/// A table of grants.
pub(super) fn shown(grants: &[Grant]) -> Result<(), Failure> {
    let row = |it: &Grant| {
        let on = match (&it.property_id, &it.client_id) {
            (_, Some(client)) => client.to_string(),
            (Some(property), None) => property.to_string(),
            (None, None) => "the platform".to_owned(),
        };
        vec![
            it.id.to_string(),
            it.role.as_str().to_owned(),
            on,
            it.environments.as_ref().map_or_else(|| "all".to_owned(), |slugs| slugs.join(", ")),
            time(Some(it.created_at)),
        ]
    };
    output::table(
        &[fixed("grant"), fixed("role"), fixed("on"), text("environments"), fixed("given")],
        grants.iter().map(row).collect(),
    )
}
