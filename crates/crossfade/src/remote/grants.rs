//! The commands under `crossfade grant`.

use super::{
    http::{Api, segment},
    names::Names,
};
use crate::{
    cli::{CreateGrant as Create, Grant as Command},
    failure::Failure,
    output::{self, LINK, Sink, fixed, text, time},
};
use crossfade_core::{
    api::{CreateGrant, Grant},
    roles::Permission,
};
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
            shown(&api, &grants).await
        }
        Command::Create(args) => create(args).await,
        Command::Delete { user, grant, remote } => {
            let api = Api::new(&remote)?;
            let user = api.find_user(&user).await?;
            api.delete(&format!("/users/{user}/grants/{}", segment(&grant))).await?;
            output::note(&format!("Removed the grant {grant}."));
            Ok(())
        }
    }
}

async fn create(args: Create) -> Result<(), Failure> {
    let Create { user, role, property, client, env, output, show, remote } = args;
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
    let request = api.send::<Grant>(Method::POST, &path, &body);
    let (sink, mut grant) = Sink::around(output.as_deref(), request).await?;
    if grant.activation_link.is_some() {
        output::note(&format!(
            "The account of {user} was closed first, because its creator may still have access. Its \
            password, sessions, tokens and links have ended."
        ));
    } else if role.given_by() == Permission::OwnerManage {
        output::note(&format!(
            "If {user} is a program and this is its first such role, its API tokens have ended."
        ));
    }
    if remote.json && show {
        return output::json_value(&grant, &LINK);
    }
    let link = grant.activation_link.as_mut().and_then(|link| Some((link.url.take()?, link.expires_at)));
    if remote.json {
        output::json(&grant)?;
    } else {
        shown(&api, std::slice::from_ref(&grant)).await?;
    }
    match link {
        Some((url, until)) if show || !sink.shows() => {
            output::note(&format!(
                "Give this link to the user yourself. It works once and expires at {}.",
                time(Some(until))
            ));
            sink.put(&url, &LINK)
        }
        link => {
            sink.discard();
            if link.is_some() {
                output::note(&format!(
                    "To create a link for a new password: crossfade user link {user} --show"
                ));
            }
            Ok(())
        }
    }
}

/// Prints a table of grants.
pub(super) async fn shown(api: &Api, grants: &[Grant]) -> Result<(), Failure> {
    let (mut names, mut rows) = (Names::new(api), Vec::new());
    for it in grants {
        let on = match (&it.property_id, &it.client_id) {
            (_, Some(client)) => names.name(client.as_str()).await,
            (Some(property), None) => names.name(property.as_str()).await,
            (None, None) => "the platform".to_owned(),
        };
        rows.push(vec![
            it.id.to_string(),
            it.role.as_str().to_owned(),
            on,
            it.environments.as_ref().map_or_else(|| "all".to_owned(), |slugs| slugs.join(", ")),
            time(Some(it.created_at)),
        ]);
    }
    output::table(&[fixed("grant"), fixed("role"), text("on"), text("environments"), fixed("granted")], rows)
}
